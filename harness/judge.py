"""Judging: from the observations of one job and what was expected of it to exactly one verdict. Pure.

The first that holds, in the order of ``Kind``, is the verdict; the others become its details. Infrastructure
trouble is never a divergence and never a pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

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


NO_MAJORITY = "0" * 64
"""The expected stdout where cells were asked and no output has a majority: every output diverges from it."""

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


def essence_of(digest: str, normalisations: Sequence[Normalisation], fetch: Fetch) -> str:
    """The digest of a stream once it is normalised; its own where nothing is, or its bytes are not at hand."""
    data = fetch(digest) if normalisations else None
    return digest if data is None else sha256(normalise(data, normalisations)).hexdigest()


def judge(expectation: Expectation, attempts: Sequence[Observation], fetch: Fetch) -> Verdict:
    """The verdict of one job from all its attempts, oldest first, of which there is at least one.

    ``fetch`` gives the bytes of a stream by digest, None where they are not at hand. Attempts that were lost count
    only when no other is left; executions that differ in what they did, but for what is normalised, are ``flaky``.
    Of verdicts of one kind the earlier attempt's comes first, and none comes twice.
    """
    finished = [attempt for attempt in attempts if attempt.ending is not Ending.LOST]
    if not finished:
        last = attempts[-1]
        message = f"{last.lost} ({_count(len(attempts), 'attempt')})"
        return Verdict(kind=Kind.LOST, reason=last.lost.split(":")[0], message=message)
    found: list[Verdict] = []
    for attempt in finished:
        found += _of_one(expectation, attempt, fetch)
    outcomes = _outcomes(expectation, finished, fetch)
    if outcomes > 1:
        message = f"{outcomes} different outcomes in {len(finished)} executions"
        found.append(Verdict(kind=Kind.FLAKY, message=message))
    unique: dict[tuple[str, str], Verdict] = {}
    for verdict in found:
        # A divergence's message names the stream; the others' hold figures, which differ from attempt to attempt.
        stream = verdict.message if verdict.kind is Kind.DIVERGED else ""
        unique.setdefault((str(verdict), stream), verdict)
    first, *others = sorted(unique.values(), key=lambda verdict: PRECEDENCE[verdict.kind])
    return replace(
        first,
        normalised=tuple(dict.fromkeys(name for verdict in found for name in verdict.normalised)),
        details=tuple(other for other in others if other.kind is not Kind.AGREE),
    )


def is_bad(expectation: Expectation, attempt: Observation, fetch: Fetch) -> bool:
    """Whether this one attempt would not pass by itself."""
    return attempt.ending is Ending.LOST or any(
        not verdict.kind.is_pass for verdict in _of_one(expectation, attempt, fetch)
    )


def _outcomes(expectation: Expectation, attempts: Sequence[Observation], fetch: Fetch) -> int:
    """In how many ways executions ended and spoke."""
    if len(attempts) == 1:
        return 1
    said = [(one.stdout.digest, one.stderr.digest if expectation.stderr else "") for one in attempts]
    digests = {digest for pair in said for digest in pair} - {""}
    essences = {digest: essence_of(digest, expectation.normalise, fetch) for digest in digests}
    return len(
        {
            (essences.get(stdout, stdout), essences.get(stderr, stderr), one.ending, one.code)
            for one, (stdout, stderr) in zip(attempts, said, strict=True)
        }
    )


def _of_one(expectation: Expectation, attempt: Observation, fetch: Fetch) -> list[Verdict]:
    """Every verdict that holds for one finished execution; never empty.

    Beside others, agreement only tells which normalisations a stream needed.
    """
    found = []
    ending, code = attempt.ending, attempt.code
    if ending in _LIMITS:
        what = _LIMITS[ending]
        found.append(Verdict(kind=Kind.RESOURCE_LIMIT, reason=what, message=f"hit the machine's limit of {what}"))
    elif ending is Ending.TIMEOUT:
        found.append(Verdict(kind=Kind.TIMEOUT, message="still running at its time limit"))
    elif ending is Ending.OUTPUT_LIMIT:
        found.append(Verdict(kind=Kind.OUTPUT_LIMIT, message="said more than its limit of output"))
    elif ending is Ending.SIGNALLED and expectation.exit != -code:
        found.append(Verdict(kind=Kind.SIGNAL, reason=str(code), message=_expected_status(expectation)))
    elif ending is Ending.EXITED and code != expectation.exit:
        found.append(Verdict(kind=Kind.EXIT_STATUS, reason=str(code), message=_expected_status(expectation)))
    if attempt.leaked:
        found.append(Verdict(kind=Kind.LEAKED, message=f"{_count(attempt.leaked, 'process')} outlived the program"))
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
    if loosened or not found:
        found.append(Verdict(kind=Kind.AGREE, normalised=tuple(dict.fromkeys(loosened))))
    return found


def _expected_status(expectation: Expectation) -> str:
    if expectation.exit < 0:
        return f"expected signal {-expectation.exit}"
    return f"expected exit status {expectation.exit}"


def _compare(name: str, wanted: str, actual: str, normalisations: tuple[Normalisation, ...], fetch: Fetch) -> Verdict:
    """Two unequal streams: equal after the normalisations asked for, or diverged and how."""
    if wanted == NO_MAJORITY:
        return Verdict(kind=Kind.DIVERGED, message="no output has a majority among the cells")
    message = "" if name == "stdout" else f"{name} differs"
    expected_bytes, actual_bytes = fetch(wanted), fetch(actual)
    if expected_bytes is None or actual_bytes is None:
        silent = "the output is too large to be normalised" if normalisations else ""
        return Verdict(kind=Kind.DIVERGED, message=message or silent)

    def match(some: Sequence[Normalisation]) -> bool:
        return normalise(expected_bytes, some) == normalise(actual_bytes, some)

    if match(normalisations):
        needed = list(normalisations)
        for normalisation in normalisations:
            fewer = [one for one in needed if one != normalisation]
            needed = fewer if match(fewer) else needed
        return Verdict(kind=Kind.AGREE, normalised=tuple(map(str, needed)))
    from harness.divergence.difference import difference  # a run in which all agree needs none of it

    found = difference(normalise(expected_bytes, normalisations), normalise(actual_bytes, normalisations))
    return Verdict(kind=Kind.DIVERGED, reason=found.kind if found else "", message=message)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}{'es' if noun.endswith('s') else 's'}"
