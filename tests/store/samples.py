"""Values for the tests of the store, each with a name of its own."""

from __future__ import annotations

import hashlib

from harness.model.cell import Cell, Facts, Tier
from harness.model.observation import Ending, Observation, Stream
from harness.model.platform import Platform, PythonTag
from harness.model.report import CellReport, Coverage, Divergence, JobReport, OutputClass, Report, RunInfo
from harness.model.verdict import Kind, Verdict
from harness.store.database import RunRecord

LINUX = "linux-glibc-x86_64/cp312"
MACOS = "macos-arm64/cp312"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def run_record(run_id: str = "run-1", *, inputs: str = "inputs") -> RunRecord:
    return RunRecord(
        id=run_id, started="2026-11-21T09:00:00Z", arguments=("run", "--cell", "\udcff*"), inputs=inputs, selection="{}"
    )


def observation(
    number: int = 0,
    *,
    cell: str = LINUX,
    says: str = "hello\n",
    ending: Ending = Ending.EXITED,
    attempt: int = 0,
    duration_ns: int = 7_000_000,
) -> Observation:
    return Observation(
        fixture=f"fixtures/été-{number}",
        fixture_digest=digest(f"fixture {number}"),
        cell=cell,
        fingerprint=digest(cell),
        attempt=attempt,
        ending=ending,
        stdout=Stream(size=len(says), digest=digest(says)),
        stderr=Stream(size=0, digest=digest("")),
        duration_ns=duration_ns,
    )


def batch(first: int, size: int = 8) -> tuple[Observation, ...]:
    return tuple(observation(number) for number in range(first, first + size))


def cell_report(slug: str, *, verified: bool = True) -> CellReport:
    platform, _, tag = slug.partition("/")
    facts = Facts(os="linux", arch="x86_64", implementation="cpython", version="3.12.1", bits=64)
    lost = Verdict(kind=Kind.UNAVAILABLE, reason="unreachable")
    return CellReport(
        cell=Cell(platform=Platform.parse(platform), python=PythonTag.parse(tag), tier=Tier.TWO),
        facts=facts if verified else None,
        verdict=None if verified else lost,
    )


def report(run_id: str = "run-1", *, cells: tuple[CellReport, ...] | None = None) -> Report:
    seen = observation(1, says="other\n")
    verdict = Verdict(
        kind=Kind.DIVERGED, reason="newline-only", message="a sentence", details=(Verdict(kind=Kind.LEAKED),)
    )
    return Report(
        run=RunInfo(id=run_id, started="2026-11-21T09:00:00Z", duration=1, version="0", arguments=("run",)),
        cells=(cell_report(LINUX), cell_report(MACOS, verified=False)) if cells is None else cells,
        jobs=(
            JobReport(fixture="fixtures/a", cell=LINUX, verdict=Verdict(kind=Kind.AGREE), expected=digest("golden")),
            JobReport(fixture=seen.fixture, cell=LINUX, verdict=verdict, observation=seen, attempts=2),
            JobReport(fixture="fixtures/c", cell=MACOS, verdict=Verdict(kind=Kind.UNAVAILABLE)),
        ),
        fixtures=(),
        divergences=(
            Divergence(
                fixture=seen.fixture,
                expected=digest("hello\n"),
                classes=(
                    OutputClass(
                        digest=seen.stdout.digest, size=6, cells=(LINUX,), representative=LINUX, is_expected=False
                    ),
                ),
            ),
        ),
        coverage=Coverage(planned=3, executed=2, skipped=0, unverified=((MACOS, "unreachable"),)),
        warnings=("a warning",),
        exit_code=1,
        sentence="the answer is no",
    )
