"""Judging: from the observations of one job and what was expected of it to exactly one verdict. Pure.

The first that holds, in the order of ``Kind``, is the verdict; the others become its details. Infrastructure
trouble is never a divergence and never a pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.divergence.difference import difference
from harness.model.cell import Normalisation
from harness.model.observation import Ending, Observation
from harness.model.verdict import PRECEDENCE, Kind, Verdict

_LIMITS: Mapping[Ending, str] = {
    Ending.MEMORY_LIMIT: "memory",
    Ending.PROCESS_LIMIT: "processes",
    Ending.DISK_LIMIT: "disk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a job must do. A stream digest of "" is not compared; a negative ``exit`` is the number of a signal."""

    stdout: str = ""
    stderr: str = ""
    exit: int = 0
    normalise: tuple[Normalisation, ...] = ()


Fetch = Callable[[str], bytes | None]


def normalise(data: bytes, normalisations: Sequence[Normalisation]) -> bytes:
    """Apply named loosenings in their order. ``regex`` is UTF-8 and sees bytes."""
    for normalisation in normalisations:
        if normalisation.name == "crlf":
            data = data.replace(b"\r\n", b"\n")
        elif normalisation.name == "final-newline":
            data = data[:-1] if data.endswith(b"\n") else data
        else:
            pattern, replacement = normalisation.pattern.encode(), normalisation.replacement.encode()
            data = re.sub(pattern, replacement, data, flags=re.MULTILINE)
    return data


def judge(expectation: Expectation, attempts: Sequence[Observation], fetch: Fetch) -> Verdict:
    """The verdict of one job from all its attempts, oldest first, of which there is at least one.

    ``fetch`` gives the bytes of a stream by digest, None where they are not at hand. Attempts that were lost count
    only when no other is left; executions that differ in what they did are ``flaky``.
    """
    finished = [attempt for attempt in attempts if attempt.ending is not Ending.LOST]
    if not finished:
        last = attempts[-1]
        message = f"{last.lost} ({len(attempts)} attempts)"
        return Verdict(kind=Kind.LOST, reason=last.lost.split(":")[0], message=message)
    found: list[Verdict] = []
    for attempt in finished:
        found += _of_one(expectation, attempt, fetch)
    outcomes = {(attempt.stdout.digest, attempt.ending, attempt.code) for attempt in finished}
    if len(outcomes) > 1:
        message = f"{len(outcomes)} different outcomes in {len(finished)} executions"
        found.append(Verdict(kind=Kind.FLAKY, message=message))
    unique = {str(verdict): verdict for verdict in reversed(found)}
    ranked = sorted(unique.values(), key=lambda verdict: PRECEDENCE[verdict.kind])
    first, *others = ranked
    details = tuple(other for other in others if other.kind is not Kind.AGREE)
    return Verdict(
        kind=first.kind, reason=first.reason, message=first.message, normalised=first.normalised, details=details
    )


def is_bad(expectation: Expectation, attempt: Observation, fetch: Fetch) -> bool:
    """Whether this one attempt would not pass by itself."""
    return attempt.ending is Ending.LOST or any(
        not verdict.kind.is_pass for verdict in _of_one(expectation, attempt, fetch)
    )


def _of_one(expectation: Expectation, attempt: Observation, fetch: Fetch) -> list[Verdict]:
    """Every verdict that holds for one finished execution; never empty."""
    found = []
    ending, code = attempt.ending, attempt.code
    if ending in _LIMITS:
        found.append(Verdict(kind=Kind.RESOURCE_LIMIT, reason=_LIMITS[ending]))
    elif ending is Ending.TIMEOUT:
        found.append(Verdict(kind=Kind.TIMEOUT, message=f"stopped after {attempt.duration_ns / 1e9:.1f} s"))
    elif ending is Ending.OUTPUT_LIMIT:
        size = max(attempt.stdout.size, attempt.stderr.size)
        found.append(Verdict(kind=Kind.OUTPUT_LIMIT, message=f"stopped after {size} bytes of output"))
    elif ending is Ending.SIGNALLED and expectation.exit != -code:
        found.append(Verdict(kind=Kind.SIGNAL, reason=str(code), message=_expected_status(expectation)))
    elif ending is Ending.EXITED and code != expectation.exit:
        found.append(Verdict(kind=Kind.EXIT_STATUS, reason=str(code), message=_expected_status(expectation)))
    if attempt.leaked:
        found.append(Verdict(kind=Kind.LEAKED, message=f"{attempt.leaked} processes outlived the program"))
    loosened: list[str] = []
    for name, wanted, stream in (
        ("stdout", expectation.stdout, attempt.stdout.digest),
        ("stderr", expectation.stderr, attempt.stderr.digest),
    ):
        if wanted and wanted != stream:
            verdict = _compare(name, wanted, stream, expectation.normalise, fetch)
            loosened += verdict.normalised
            if not verdict.kind.is_pass:
                found.append(verdict)
    return found or [Verdict(kind=Kind.AGREE, normalised=tuple(dict.fromkeys(loosened)))]


def _expected_status(expectation: Expectation) -> str:
    if expectation.exit < 0:
        return f"expected signal {-expectation.exit}"
    return f"expected exit status {expectation.exit}"


def _compare(name: str, wanted: str, actual: str, normalisations: tuple[Normalisation, ...], fetch: Fetch) -> Verdict:
    """Two unequal streams: equal after the normalisations asked for, or diverged and how."""
    message = "" if name == "stdout" else f"{name} differs"
    expected_bytes, actual_bytes = fetch(wanted), fetch(actual)
    if expected_bytes is None or actual_bytes is None:
        return Verdict(kind=Kind.DIVERGED, message=message or "the output is too large to be shown")
    used: list[str] = []
    for normalisation in normalisations:
        before = (expected_bytes, actual_bytes)
        expected_bytes = normalise(expected_bytes, [normalisation])
        actual_bytes = normalise(actual_bytes, [normalisation])
        if before != (expected_bytes, actual_bytes):
            used.append(str(normalisation))
        if expected_bytes == actual_bytes:
            return Verdict(kind=Kind.AGREE, normalised=tuple(used))
    found = difference(expected_bytes, actual_bytes)
    return Verdict(kind=Kind.DIVERGED, reason=found.kind if found else "", message=message)
