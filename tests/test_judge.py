"""One job, all its attempts, one verdict: the first that holds, whatever else holds too."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judge import Expectation, is_bad, judge, normalise
from harness.model.cell import Normalisation
from harness.model.observation import Ending, Observation, Stream
from harness.model.verdict import PRECEDENCE, Kind, Verdict
from tests.reports.samples import Store, an_observation

STORE = Store()
GOLDEN, OTHER, THIRD, EMPTY = (STORE.keep(data) for data in (b"one\n", b"two\n", b"three\n", b""))
CRLF_BYTES, BARE_BYTES, ADDRESS, ADDRESSES = (
    STORE.keep(data) for data in (b"one\r\n", b"one", b"at 0xbeef\n", b"at 0xcafe\n")
)
UNKNOWN = Stream(size=1 << 30, digest="9" * 64)
EXPECTED = Expectation(stdout=GOLDEN.digest)
CRLF, FINAL = Normalisation(name="crlf"), Normalisation(name="final-newline")
HEX = Normalisation(name="regex", pattern="0x[0-9a-f]+", replacement="0x")
LIMITED = (
    Ending.TIMEOUT,
    Ending.OUTPUT_LIMIT,
    Ending.MEMORY_LIMIT,
    Ending.PROCESS_LIMIT,
    Ending.DISK_LIMIT,
)


def ended(
    stdout: Stream = GOLDEN,
    ending: Ending = Ending.EXITED,
    code: int = 0,
    *,
    stderr: Stream = EMPTY,
    leaked: int = 0,
    lost: str = "",
) -> Observation:
    seen = an_observation("f", "c", stdout, stderr, code)
    return replace(seen, ending=ending, leaked=leaked, lost=lost)


LOST = ended(EMPTY, Ending.LOST, lost="channel: the stream ended without a goodbye")


def verdict_of(*attempts: Observation, expected: Expectation = EXPECTED) -> Verdict:
    return judge(expected, attempts, STORE.get)


def kinds(verdict: Verdict) -> list[Kind]:
    return [verdict.kind, *(detail.kind for detail in verdict.details)]


def test_a_program_that_says_what_was_declared_agrees() -> None:
    assert verdict_of(ended()) == Verdict(kind=Kind.AGREE)
    assert verdict_of(ended(OTHER), expected=Expectation()) == Verdict(kind=Kind.AGREE)  # nothing is compared


@pytest.mark.parametrize(
    ("seen", "said", "message"),
    [
        (ended(ending=Ending.MEMORY_LIMIT), "resource-limit(memory)", "hit the machine's limit of memory"),
        (ended(ending=Ending.PROCESS_LIMIT), "resource-limit(processes)", "hit the machine's limit of processes"),
        (ended(ending=Ending.DISK_LIMIT), "resource-limit(disk)", "hit the machine's limit of disk"),
        (ended(ending=Ending.TIMEOUT, code=15), "timeout", "still running at its time limit"),
        (ended(ending=Ending.OUTPUT_LIMIT, code=9), "output-limit", "said more than its limit of output"),
        (ended(ending=Ending.SIGNALLED, code=11), "signal(11)", "expected exit status 0"),
        (ended(code=3), "exit-status(3)", "expected exit status 0"),
        (ended(leaked=2), "leaked", "2 processes outlived the program"),
        (ended(leaked=1), "leaked", "1 process outlived the program"),
        (ended(OTHER), "diverged", ""),
        (ended(CRLF_BYTES), "diverged(newline-only)", ""),
        (ended(UNKNOWN), "diverged", ""),
    ],
)
def test_each_way_to_fail_has_its_verdict(seen: Observation, said: str, message: str) -> None:
    verdict = verdict_of(seen)
    assert (str(verdict), verdict.message, verdict.details) == (said, message, ())
    assert is_bad(EXPECTED, seen, STORE.get)


def test_an_output_in_another_encoding_is_named() -> None:
    utf8, latin = STORE.keep("grün\n".encode()), STORE.keep("grün\n".encode("latin-1"))
    assert str(verdict_of(ended(latin), expected=Expectation(stdout=utf8.digest))) == "diverged(encoding-only)"


def test_stderr_is_compared_only_when_declared() -> None:
    noisy = ended(stderr=OTHER)
    assert verdict_of(noisy).kind is Kind.AGREE
    declared = replace(EXPECTED, stderr=THIRD.digest)
    assert verdict_of(noisy, expected=declared) == Verdict(kind=Kind.DIVERGED, message="stderr differs")


def test_both_streams_that_differ_are_named() -> None:
    verdict = verdict_of(ended(OTHER, stderr=OTHER), expected=replace(EXPECTED, stderr=THIRD.digest))
    assert verdict == Verdict(kind=Kind.DIVERGED, details=(Verdict(kind=Kind.DIVERGED, message="stderr differs"),))


def test_a_declared_signal_is_agreement_and_a_status_of_that_number_is_not() -> None:
    killed = replace(EXPECTED, exit=-9)
    assert verdict_of(ended(ending=Ending.SIGNALLED, code=9), expected=killed).kind is Kind.AGREE
    wrong = verdict_of(ended(code=9), expected=killed)
    assert (str(wrong), wrong.message) == ("exit-status(9)", "expected signal 9")
    other = verdict_of(ended(ending=Ending.SIGNALLED, code=15), expected=killed)
    assert (str(other), other.message) == ("signal(15)", "expected signal 9")
    assert verdict_of(ended(code=3), expected=replace(EXPECTED, exit=3)).kind is Kind.AGREE


def test_everything_else_that_holds_is_a_detail_in_its_order() -> None:
    verdict = verdict_of(ended(OTHER, Ending.TIMEOUT, 9, leaked=3))
    assert kinds(verdict) == [Kind.TIMEOUT, Kind.LEAKED, Kind.DIVERGED]
    assert verdict_of(ended(OTHER, code=1)).details == (Verdict(kind=Kind.DIVERGED),)


# Losses


def test_a_job_whose_every_attempt_was_lost_is_lost_with_its_layer() -> None:
    link = ended(EMPTY, Ending.LOST, lost="link: no heartbeat for 15 s")
    verdict = verdict_of(link, LOST)
    assert str(verdict) == "lost(channel)"
    assert verdict.message == "channel: the stream ended without a goodbye (2 attempts)"
    assert verdict_of(LOST).message.endswith("(1 attempt)")
    assert is_bad(EXPECTED, LOST, STORE.get)


def test_a_loss_that_was_made_good_leaves_no_trace_in_the_verdict() -> None:
    assert verdict_of(LOST, ended()) == Verdict(kind=Kind.AGREE)
    assert verdict_of(LOST, LOST, ended(OTHER)) == Verdict(kind=Kind.DIVERGED)


# Several executions


@pytest.mark.parametrize(
    "other",
    [ended(OTHER), ended(code=1), ended(ending=Ending.SIGNALLED, code=11), ended(ending=Ending.TIMEOUT)],
)
def test_executions_that_differ_are_flaky(other: Observation) -> None:
    verdict = verdict_of(ended(), other, ended())
    assert Kind.FLAKY in kinds(verdict)
    assert Kind.AGREE not in kinds(verdict)
    flaky = next(one for one in (verdict, *verdict.details) if one.kind is Kind.FLAKY)
    assert flaky.message == "2 different outcomes in 3 executions"


def test_other_bytes_each_time_are_flaky_rather_than_diverged() -> None:
    verdict = verdict_of(ended(OTHER), ended(THIRD))
    assert kinds(verdict) == [Kind.FLAKY, Kind.DIVERGED]


def test_a_declared_stderr_that_changes_is_flaky() -> None:
    declared = replace(EXPECTED, stderr=EMPTY.digest)
    assert verdict_of(ended(), ended(stderr=OTHER), expected=declared).kind is Kind.FLAKY
    assert verdict_of(ended(), ended(stderr=OTHER)).kind is Kind.AGREE


def test_equal_executions_are_one_verdict_without_repetition() -> None:
    slow, slower = ended(ending=Ending.TIMEOUT), replace(ended(ending=Ending.TIMEOUT), duration_ns=99 * 10**9)
    assert verdict_of(slow, slower) == verdict_of(slow)
    assert verdict_of(ended(OTHER), ended(OTHER)) == Verdict(kind=Kind.DIVERGED)


def test_how_long_it_took_is_not_part_of_a_verdict() -> None:
    for ending in Ending:
        seen = ended(OTHER, ending, lost="agent: x")
        assert verdict_of(seen) == verdict_of(replace(seen, duration_ns=5 * 10**9))


def test_of_equal_rank_the_first_attempt_gives_the_verdict() -> None:
    verdict = verdict_of(ended(code=1), ended(code=2))
    assert [str(one) for one in (verdict, *verdict.details)] == ["exit-status(1)", "exit-status(2)", "flaky"]
    verdict = verdict_of(ended(CRLF_BYTES), ended(OTHER))
    assert [str(one) for one in (verdict, *verdict.details)] == ["flaky", "diverged(newline-only)", "diverged"]


def test_figures_that_differ_do_not_repeat_a_verdict() -> None:
    verdict = verdict_of(ended(leaked=1), ended(leaked=2))
    assert kinds(verdict) == [Kind.LEAKED]
    assert verdict.message == "1 process outlived the program"


# Normalisations


@pytest.mark.parametrize(
    ("normalisation", "data", "wanted"),
    [
        (CRLF, b"a\r\nb\r\rc\n", b"a\nb\r\rc\n"),
        (FINAL, b"a\n\n", b"a\n"),
        (FINAL, b"a", b"a"),
        (FINAL, b"", b""),
        (HEX, b"\xff 0xbeef \x00", b"\xff 0x \x00"),
        (Normalisation(name="regex", pattern="^(.)é$", replacement=r"\1"), "aé\nbé\n".encode(), b"a\nb\n"),
    ],
)
def test_a_normalisation_sees_bytes(normalisation: Normalisation, data: bytes, wanted: bytes) -> None:
    assert normalise(data, [normalisation]) == wanted


def test_normalisations_apply_in_their_order() -> None:
    assert normalise(b"a\r\n", [CRLF, FINAL]) == b"a"
    assert normalise(b"a\r\n", [FINAL, CRLF]) == b"a\r"
    assert normalise(b"a\r\n", []) == b"a\r\n"


@pytest.mark.parametrize(
    ("said", "asked", "named"),
    [
        (GOLDEN, (CRLF, FINAL, HEX), ()),
        (CRLF_BYTES, (CRLF,), ("crlf",)),
        (CRLF_BYTES, (CRLF, FINAL, HEX), ("crlf",)),
        (BARE_BYTES, (FINAL,), ("final-newline",)),
        (BARE_BYTES, (CRLF, FINAL), ("final-newline",)),
    ],
)
def test_a_match_only_thanks_to_a_normalisation_says_so(
    said: Stream, asked: tuple[Normalisation, ...], named: tuple[str, ...]
) -> None:
    verdict = verdict_of(ended(said), expected=replace(EXPECTED, normalise=asked))
    assert verdict == Verdict(kind=Kind.AGREE, normalised=named)


def test_a_normalisation_that_changes_both_sides_alike_is_not_named() -> None:
    one, other = STORE.keep(b"0xbeef\n"), STORE.keep(b"0xbeef\r\n")
    expected = Expectation(stdout=one.digest, normalise=(HEX, CRLF))
    assert verdict_of(ended(other), expected=expected).normalised == ("crlf",)


def test_two_normalisations_that_are_both_needed_are_both_named() -> None:
    one, other = STORE.keep(b"0xbeef\n"), STORE.keep(b"0xcafe\r\n")
    expected = Expectation(stdout=one.digest, normalise=(HEX, CRLF, FINAL))
    assert verdict_of(ended(other), expected=expected).normalised == ("regex:0x[0-9a-f]+", "crlf")


def test_a_normalisation_that_does_not_help_leaves_a_divergence() -> None:
    verdict = verdict_of(ended(OTHER), expected=replace(EXPECTED, normalise=(CRLF, FINAL)))
    assert verdict == Verdict(kind=Kind.DIVERGED)


def test_what_is_not_at_hand_cannot_be_normalised_and_diverges() -> None:
    verdict = verdict_of(ended(UNKNOWN), expected=replace(EXPECTED, normalise=(CRLF,)))
    assert verdict == Verdict(kind=Kind.DIVERGED, message="the output is too large to be normalised")


def test_every_attempt_and_every_stream_names_its_normalisations() -> None:
    expected = Expectation(stdout=GOLDEN.digest, stderr=ADDRESS.digest, normalise=(CRLF, FINAL, HEX))
    verdict = verdict_of(
        ended(stderr=ADDRESS), ended(CRLF_BYTES, stderr=ADDRESSES), ended(BARE_BYTES, stderr=ADDRESS), expected=expected
    )
    assert verdict == Verdict(kind=Kind.AGREE, normalised=("crlf", "regex:0x[0-9a-f]+", "final-newline"))


def test_bytes_that_differ_only_in_what_is_normalised_are_not_flaky() -> None:
    expected = Expectation(stdout=ADDRESS.digest, normalise=(HEX,))
    assert verdict_of(ended(ADDRESSES), ended(ADDRESS), expected=expected).kind is Kind.AGREE
    expected = Expectation(stdout=GOLDEN.digest, normalise=(HEX,))
    assert kinds(verdict_of(ended(ADDRESSES), ended(ADDRESS), expected=expected)) == [Kind.DIVERGED]
    assert verdict_of(ended(UNKNOWN), ended(ADDRESS), expected=expected).kind is Kind.FLAKY


def test_a_failure_names_the_normalisations_that_its_output_needed() -> None:
    expected = replace(EXPECTED, normalise=(CRLF,))
    verdict = verdict_of(ended(CRLF_BYTES, code=1), expected=expected)
    assert verdict == Verdict(kind=Kind.EXIT_STATUS, reason="1", message="expected exit status 0", normalised=("crlf",))


# For all attempts

STREAMS = st.sampled_from([GOLDEN, OTHER, THIRD, CRLF_BYTES, BARE_BYTES, ADDRESS, UNKNOWN, EMPTY])
ATTEMPT = st.builds(
    ended,
    STREAMS,
    st.sampled_from(Ending),
    st.sampled_from([0, 1, 9]),
    stderr=STREAMS,
    leaked=st.sampled_from([0, 0, 2]),
    lost=st.just("agent: died"),
)
ATTEMPTS = st.lists(ATTEMPT, min_size=1, max_size=4)
EXPECTATIONS = st.builds(
    Expectation,
    stdout=st.sampled_from(["", GOLDEN.digest, UNKNOWN.digest]),
    stderr=st.sampled_from(["", EMPTY.digest]),
    exit=st.sampled_from([0, 1, -9]),
    normalise=st.sampled_from([(), (CRLF,), (CRLF, FINAL), (HEX, CRLF)]),
)


@given(EXPECTATIONS, ATTEMPTS)
def test_the_verdict_is_the_first_in_order_and_nothing_is_said_twice(
    expected: Expectation, attempts: list[Observation]
) -> None:
    verdict = judge(expected, attempts, STORE.get)
    said = [verdict, *verdict.details]
    ranks = [PRECEDENCE[one.kind] for one in said]
    assert ranks == sorted(ranks)
    assert len({(one.kind, one.reason, one.message) for one in said}) == len(said)
    assert all(not detail.details and detail.kind is not Kind.AGREE for detail in verdict.details)
    assert (verdict.kind is Kind.AGREE) <= (not verdict.details)


@given(EXPECTATIONS, ATTEMPTS, st.randoms(use_true_random=False))
def test_the_verdict_does_not_depend_on_duplicates_or_on_order(
    expected: Expectation, attempts: list[Observation], random: Random
) -> None:
    verdict = judge(expected, attempts, STORE.get)
    twice = judge(expected, [*attempts, *attempts], STORE.get)
    counted = re.compile(r"\d+ (executions|attempts?)")
    assert (twice.kind, twice.reason, twice.normalised) == (verdict.kind, verdict.reason, verdict.normalised)
    assert counted.sub("", twice.message) == counted.sub("", verdict.message)
    assert [str(one) for one in twice.details] == [str(one) for one in verdict.details]
    shuffled = list(attempts)
    random.shuffle(shuffled)
    assert sorted(kinds(judge(expected, shuffled, STORE.get)), key=str) == sorted(kinds(verdict), key=str)


@given(EXPECTATIONS, ATTEMPTS)
def test_nothing_agrees_if_the_harness_ended_the_program(expected: Expectation, attempts: list[Observation]) -> None:
    if any(seen.ending in LIMITED for seen in attempts):
        assert not judge(expected, attempts, STORE.get).kind.is_pass


@given(EXPECTATIONS, st.lists(ATTEMPT.map(lambda seen: replace(seen, ending=Ending.LOST)), min_size=1, max_size=3))
def test_what_was_lost_neither_agrees_nor_diverges(expected: Expectation, attempts: list[Observation]) -> None:
    assert kinds(judge(expected, attempts, STORE.get)) == [Kind.LOST]


@given(EXPECTATIONS, ATTEMPTS, st.lists(st.just(LOST), max_size=2))
def test_losses_beside_an_execution_change_nothing(
    expected: Expectation, attempts: list[Observation], losses: Sequence[Observation]
) -> None:
    if any(seen.ending is not Ending.LOST for seen in attempts):
        assert judge(expected, [*losses, *attempts], STORE.get) == judge(expected, attempts, STORE.get)


@given(EXPECTATIONS, ATTEMPT)
def test_one_attempt_is_bad_exactly_if_it_does_not_pass_by_itself(expected: Expectation, seen: Observation) -> None:
    assert is_bad(expected, seen, STORE.get) is not judge(expected, [seen], STORE.get).kind.is_pass


def test_every_kind_that_one_job_can_earn_is_earned_here() -> None:
    """The others are given by planning and concluding, or by the ledger and rehearsals."""
    earned = (
        {
            kind
            for ending in Ending
            for code in (0, 1)
            for leaked in (0, 1)
            for stdout in (GOLDEN, OTHER)
            for kind in kinds(verdict_of(ended(), ended(stdout, ending, code, leaked=leaked, lost="agent: x")))
        }
        | set(kinds(verdict_of(LOST)))
        | set(kinds(verdict_of(ended())))
    )
    assert earned == set(Kind) - {
        Kind.UNAVAILABLE,
        Kind.MISPLACED,
        Kind.SKIPPED,
        Kind.REFUSED,
        Kind.NOT_REFUSED,
        Kind.CHANGED,
        Kind.FIXED,
        Kind.ACCEPTED,
    }
