"""A report with something of everything, hostile text in every field, and the bytes behind it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from harness.divergence.classes import classify, rank_of
from harness.model.cell import Cell, Facts, Tier
from harness.model.observation import Ending, Observation, Stream
from harness.model.outline import Outline
from harness.model.platform import Platform, PythonTag
from harness.model.report import CellReport, Coverage, Divergence, FixtureReport, JobReport, Report, RunInfo
from harness.model.verdict import Kind, Verdict

HOSTILE = (
    bytes(range(256)),  # F1
    b"a\r\nb\rc" + b"x" * 1_000_000,  # F2
    b"\x1b[31mred\x1b]52;c;eA==\x07\x1b]8;;http://e.example\x07 \xe2\x80\xae gpj.exe",  # F3
    b"::error::x\n  ::set-env name=a::b\n##[error]y ##vso[task.z]",  # F4
    b"]]><script>alert(1)</script><img src=x onerror=y>\n```\n| a | @someone [l](http://e.example)\n# h",  # F5
)
HOSTILE_TEXT = tuple(data[:300].decode("utf-8", "surrogateescape") for data in HOSTILE)


@dataclass
class Store:
    """Bytes by sha256."""

    held: dict[str, bytes] = field(default_factory=dict)
    outlines: dict[str, Outline] = field(default_factory=dict)

    def keep(self, data: bytes) -> Stream:
        """Keep bytes and return what an observation would say of them."""
        digest = hashlib.sha256(data).hexdigest()
        self.held[digest] = data
        return Stream(size=len(data), digest=digest)

    def get(self, digest: str, /) -> bytes | None:
        """Return what was kept."""
        return self.held.get(digest)

    def outline(self, digest: str, /) -> Outline | None:
        """Return what was kept in outline."""
        return self.outlines.get(digest)


def a_cell(id: str, tier: Tier = Tier.ONE, version: str = "3.12.1", emulation: str = "native") -> CellReport:
    """A cell that could be used."""
    platform, python = id.split("/")
    cell = Cell(platform=Platform.parse(platform), python=PythonTag.parse(python), tier=tier)
    facts = Facts(os=cell.platform.os, arch=cell.platform.arch, implementation="cpython", version=version)
    return CellReport(
        cell=cell,
        runner="docker",
        machine="builder",
        isolation="container",
        facts=replace(facts, emulation=emulation, executable="/usr/bin/python3"),
    )


def an_unusable_cell(id: str, verdict: Verdict, tier: Tier = Tier.ONE) -> CellReport:
    """A cell that could not be used."""
    return replace(a_cell(id, tier), runner="", machine="", isolation="", facts=None, verdict=verdict)


def an_observation(fixture: str, cell: str, stdout: Stream, stderr: Stream, code: int = 0) -> Observation:
    """One execution that ended by itself."""
    return Observation(
        fixture=fixture,
        fixture_digest="f" * 64,
        cell=cell,
        fingerprint="c" * 64,
        attempt=0,
        ending=Ending.EXITED,
        code=code,
        stdout=stdout,
        stderr=stderr,
        duration_ns=12_345_678,
    )


GLIBC, GLIBC_OLD, MUSL = "linux-glibc-x86_64/cp312", "linux-glibc-x86_64/cp311", "linux-musl-x86_64/cp312"
WINDOWS, ADVISORY, FLAKY = "windows-amd64/cp312", "linux-glibc-riscv64/pp311", "linux-glibc-aarch64/cp313t"
NO_DOCKER = Verdict(
    kind=Kind.UNAVAILABLE,
    reason="no-docker",
    message="the Docker daemon does not answer at unix:///var/run/docker.sock",
)


def cells() -> tuple[CellReport, ...]:
    """Six cells that run, eight that do not."""
    return (
        replace(a_cell(GLIBC), runner="local", isolation="none"),
        a_cell(GLIBC_OLD, version="3.11.7"),
        a_cell(MUSL),
        a_cell(WINDOWS, Tier.TWO, emulation="wine"),
        a_cell(ADVISORY, Tier.ADVISORY, version="3.11.13", emulation="qemu"),
        a_cell(FLAKY, version="3.13.0", emulation="qemu"),
        *(an_unusable_cell(f"linux-musl-aarch64/cp3{minor}", NO_DOCKER) for minor in range(8, 14)),
        an_unusable_cell(
            "macos-arm64/cp312", Verdict(kind=Kind.UNAVAILABLE, reason="unreachable", message=HOSTILE_TEXT[3])
        ),
        an_unusable_cell(
            "macos-x86_64/cp312",
            Verdict(kind=Kind.MISPLACED, message="arch is aarch64, claimed x86_64"),
            Tier.ADVISORY,
        ),
    )


def a_report() -> tuple[Report, Store]:
    """The rich report, and its bytes."""
    store = Store()
    sample = _Sample(store)
    ids = [cell.cell.id for cell in cells() if cell.is_verified]
    golden = b"".join(b"%d: %r\n" % (n, n / 7) for n in range(60))
    sample.diverge("floats/shortest-repr", golden, golden.replace(b"3: 0.42", b"3: 0.43"), ids, (MUSL, FLAKY))
    sample.diverge("text/newlines", b"one\ntwo\n", b"one\r\ntwo\r\n", ids, (WINDOWS,), "newline-only")
    sample.diverge("text/only-advisory", b"a\n", b"b\n", ids, (ADVISORY,))
    for number, data in enumerate(HOSTILE):
        sample.diverge(f"hostile/F{number + 1} {HOSTILE_TEXT[number]}", data, data[::-1], ids, (MUSL,))
    sample.others(ids)
    unusable = [(cell.cell.id, cell.verdict) for cell in cells() if cell.verdict is not None]
    for cell, verdict in unusable:
        sample.add("integers/modular", cell, verdict, b"1\n", None)
    report = Report(
        run=RunInfo(
            id="01JD3Q8",
            started="2026-11-21T08:00:00Z",
            duration=12.34,
            version="0.1.0",
            arguments=("harness", "run", HOSTILE_TEXT[2]),
            resumed=1,
            durations=(("floats/shortest-repr", MUSL, 1.5), ("integers/modular", GLIBC, 0.25)),
        ),
        cells=cells(),
        jobs=tuple(sample.jobs),
        fixtures=(
            FixtureReport(fixture="text/only-advisory", result="drifted", message=HOSTILE_TEXT[4]),
            FixtureReport(fixture="broken/prepare", result="prepare-failed", message="cc: not found\n\x1b[2J"),
        ),
        divergences=tuple(sample.divergences),
        coverage=Coverage(
            planned=len(sample.jobs) + 6,
            executed=len(sample.jobs) - len(unusable) - 2,
            skipped=2,
            unverified=tuple((cell, str(verdict)) for cell, verdict in unusable),
            unverified_gating=tuple(cell for cell, _ in unusable[:3]),
        ),
        warnings=("a shim was ignored: /opt/\u202eshims/python", *HOSTILE_TEXT),
        exit_code=1,
        sentence="harness: no: 8 fixtures diverge, 9 of 14 cells verified",
    )
    return report, store


@dataclass
class _Sample:
    store: Store
    jobs: list[JobReport] = field(default_factory=list)
    divergences: list[Divergence] = field(default_factory=list)

    def add(self, fixture: str, cell: str, verdict: Verdict, golden: bytes, said: bytes | None, code: int = 0) -> None:
        expected = self.store.keep(golden)
        stderr = self.store.keep(b"Traceback (most recent call last):\n  \x1b[1mboom\n" if code else b"")
        self.jobs.append(
            JobReport(
                fixture=fixture,
                cell=cell,
                verdict=verdict,
                expected=expected.digest,
                observation=None
                if said is None
                else an_observation(fixture, cell, self.store.keep(said), stderr, code),
                attempts=1,
            )
        )

    def diverge(
        self, fixture: str, golden: bytes, other: bytes, ids: list[str], where: tuple[str, ...], reason: str = ""
    ) -> None:
        outputs = {cell: self.store.keep(other if cell in where else golden) for cell in ids}
        found = classify(fixture, self.store.keep(golden).digest, outputs, rank_of(cells()))
        assert found is not None
        self.divergences.append(found)
        for cell in ids:
            bad = Verdict(kind=Kind.DIVERGED, reason=reason, message=f"other bytes than expected in {fixture}")
            is_bad = cell in where
            said = other if is_bad else golden
            self.add(fixture, cell, bad if is_bad else Verdict(kind=Kind.AGREE), golden, said)

    def others(self, ids: list[str]) -> None:
        golden = b"1\n"
        endings = [
            Verdict(kind=Kind.AGREE, normalised=("crlf",)),
            Verdict(kind=Kind.SKIPPED, reason="requires-python", message="needs >=3.13"),
            Verdict(kind=Kind.EXIT_STATUS, message="exited with 1, expected 0"),
            Verdict(kind=Kind.TIMEOUT, message="still running after 10 s", details=(Verdict(kind=Kind.DIVERGED),)),
            Verdict(kind=Kind.FLAKY, message="said other bytes on a repeat"),
            Verdict(kind=Kind.LOST, reason="channel", message="the stream ended without a goodbye"),
        ]
        said = [b"1\r\n", None, b"", b"", b"2\n", None]
        for cell, verdict, output in zip(ids, endings, said, strict=True):
            self.add("integers/modular", cell, verdict, golden, output, int(verdict.kind is Kind.EXIT_STATUS))
        for cell, kind in zip(ids, (Kind.AGREE, Kind.ACCEPTED, Kind.FIXED, Kind.CHANGED), strict=False):
            self.add("text/accepted", cell, Verdict(kind=kind, message=kind.value), golden, b"2\n")
        self.add(
            "text/accepted", ids[4], Verdict(kind=Kind.SKIPPED, reason="rule", message=HOSTILE_TEXT[4]), golden, None
        )
        not_kept = self.jobs[-1]
        lost = an_observation(
            "text/lost-bytes", ids[0], Stream(size=9, digest="0" * 64), Stream(size=0, digest="1" * 64)
        )
        self.jobs.append(
            replace(
                not_kept, fixture="text/lost-bytes", cell=ids[0], verdict=Verdict(kind=Kind.DIVERGED), observation=lost
            )
        )


def a_green_report() -> tuple[Report, Store]:
    """One cell, one job, agreement."""
    store = Store()
    stream = store.keep(b"1\n")
    job = JobReport(
        fixture="a",
        cell=GLIBC,
        verdict=Verdict(kind=Kind.AGREE),
        expected=stream.digest,
        observation=an_observation("a", GLIBC, stream, store.keep(b"")),
        attempts=1,
    )
    report = Report(
        run=RunInfo(id="r", started="2026-11-21T08:00:00Z", duration=0.1, version="0.1.0", arguments=()),
        cells=(a_cell(GLIBC),),
        jobs=(job,),
        fixtures=(),
        divergences=(),
        coverage=Coverage(planned=1, executed=1, skipped=0, unverified=()),
        warnings=(),
        exit_code=0,
        sentence="harness: all agree: 1 job in 1 cell",
    )
    return report, store
