"""From what was planned and observed to the report: who is right, what fails, and with which status and words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.conclude import REQUIREMENTS, Evidence, conclude
from harness.judge import Expectation
from harness.model.cell import Normalisation, Oracle, Tier
from harness.model.fixture import Condition, Fixture, Golden
from harness.model.observation import Ending, Observation, Stream
from harness.model.report import CellReport, FixtureReport, JobReport, Report, RunInfo
from harness.model.rule import Rule
from harness.model.verdict import Kind, Verdict
from harness.plan import Selection, plan
from tests.reports.samples import NO_DOCKER, Store, a_cell, an_observation, an_unusable_cell

STORE = Store()
GOLDEN, OTHER, THIRD, CRLF, EMPTY = (STORE.keep(data) for data in (b"1\n", b"2\n", b"3\n", b"1\r\n", b""))
ONE, TWO, THREE, FOUR = (f"linux-glibc-x86_64/cp3{minor}" for minor in (10, 11, 12, 13))
RUN = RunInfo(id="r", started="2026-11-21T08:00:00Z", duration=0.1, version="0.1.0", arguments=())
HOST_KEY = Verdict(kind=Kind.UNAVAILABLE, reason="host-key", message="the key of builder is not known")
MISPLACED = Verdict(kind=Kind.MISPLACED, message="libc is musl, claimed glibc")
REFERENCE, CONSENSUS = Oracle(kind="reference", cell=ONE), Oracle(kind="consensus")
COMMAND, GOLDENS = Oracle(kind="command", command=("oracle",)), Oracle()
EXPECTED = Expectation(stdout=GOLDEN.digest)


def a_fixture(id: str = "a", *goldens: Golden) -> Fixture:
    return Fixture(
        id=id,
        corpus="fixtures",
        program="main.py",
        files=(("main.py", Path("main.py")),),
        goldens=(*goldens, Golden(stdout=Path("expected.stdout"))),
    )


def said(
    stdout: Stream = GOLDEN,
    ending: Ending = Ending.EXITED,
    code: int = 0,
    *,
    leaked: int = 0,
    duration: int = 0,
) -> Observation:
    seen = an_observation("f", "c", stdout, EMPTY, code)
    lost = "channel: cut" if ending is Ending.LOST else ""
    return replace(seen, ending=ending, leaked=leaked, lost=lost, duration_ns=duration)


LOST, TIMEOUT = said(EMPTY, Ending.LOST), said(EMPTY, Ending.TIMEOUT, 15)
Answers = Mapping[str, Observation | Sequence[Observation]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run of fixtures in cells; ``answers`` are by cell, the same for each fixture."""

    cells: Sequence[CellReport] = ()
    fixtures: Sequence[Fixture] = (a_fixture(),)
    answers: Answers
    oracle: Oracle = GOLDENS
    expected: Expectation = EXPECTED
    variants: Mapping[str, Expectation] | None = None
    failed: tuple[FixtureReport, ...] = ()
    require: str = "available"

    def evidence(self) -> Evidence:
        cells = tuple(self.cells) or tuple(a_cell(id) for id in self.answers)
        planned = plan([one.cell for one in cells], self.fixtures, Selection(), {})
        seen = {id: (one,) if isinstance(one, Observation) else tuple(one) for id, one in self.answers.items()}
        expected = (
            replace(self.expected, stdout="") if self.oracle.kind in ("reference", "consensus") else self.expected
        )
        keys = [job.key for job in planned.jobs]
        return Evidence(
            run=RUN,
            cells=cells,
            plan=planned,
            oracles={"fixtures": self.oracle},
            expectations={key: (self.variants or {}).get(key[1], expected) for key in keys},
            observations={key: seen[key[1]] for key in keys if key[1] in seen},
            failed=self.failed,
            notes=("a note",),
            require=self.require,
        )

    def report(self) -> Report:
        return conclude(self.evidence(), STORE.get)


def verdicts(report: Report) -> dict[str, str]:
    return {job.cell: str(job.verdict) for job in report.jobs}


def the_job(report: Report, cell: str = ONE) -> JobReport:
    (job,) = [job for job in report.jobs if job.cell == cell]
    return job


# The golden


def test_all_that_agree_end_well_in_words_that_fit_a_line() -> None:
    missing = [an_unusable_cell(f"linux-musl-x86_64/cp3{minor}", NO_DOCKER) for minor in range(67)]
    report = Case(
        cells=[*missing, *map(a_cell, (ONE, TWO, THREE))],
        fixtures=[a_fixture(str(number)) for number in range(125)],
        answers=dict.fromkeys((ONE, TWO, THREE), said()),
    ).report()
    assert report
    assert report.sentence == "all agree: 375 jobs in 3 cells as declared; 67 of 70 cells not verified"
    assert len(f"harness: {report.sentence}") <= 80
    assert report.warnings == ("a note",)
    assert (report.divergences, report.fixtures) == ((), ())


def test_one_job_in_one_cell_is_said_in_the_singular() -> None:
    assert Case(answers={ONE: said()}).report().sentence == "all agree: 1 job in 1 cell as declared"


def test_a_divergence_is_a_failure_with_its_classes() -> None:
    report = Case(answers={ONE: said(), TWO: said(OTHER), THREE: said()}).report()
    assert verdicts(report) == {ONE: "agree", TWO: "diverged", THREE: "agree"}
    assert report.exit_code == 1
    assert report.sentence == "the answer is no: 1 of 3 jobs in 3 cells failed (1 diverged)"
    (divergence,) = report.divergences
    assert divergence.expected == GOLDEN.digest
    assert [(group.cells, group.is_expected) for group in divergence.classes] == [((ONE, THREE), True), ((TWO,), False)]
    assert report.fixtures == ()


def test_failures_are_counted_by_kind_in_the_order_of_kinds() -> None:
    report = Case(answers={ONE: said(OTHER), TWO: TIMEOUT, THREE: said(code=2), FOUR: TIMEOUT}).report()
    assert report.sentence == ("the answer is no: 4 of 4 jobs in 4 cells failed (2 timeout, 1 exit-status, 1 diverged)")
    assert report.divergences[0].classes[0].cells == (THREE,)  # a cut output stands in no class


def test_jobs_come_in_the_order_of_fixtures_and_cells() -> None:
    case = Case(
        cells=[a_cell(TWO), a_cell(ONE)],
        fixtures=[a_fixture("b"), a_fixture("a")],
        answers={ONE: said(), TWO: said()},
    )
    assert [(job.fixture, job.cell) for job in case.report().jobs] == [("a", ONE), ("a", TWO), ("b", ONE), ("b", TWO)]


def test_a_stale_golden_is_named_when_all_cells_agree_with_each_other() -> None:
    report = Case(answers={ONE: said(OTHER), TWO: said(OTHER)}).report()
    assert report.fixtures == (
        FixtureReport(
            fixture="a",
            result="drifted",
            message="all 2 cells agree with each other and none with the golden: it may be stale",
        ),
    )
    assert report.exit_code == 1


@pytest.mark.parametrize(
    "case",
    [
        Case(answers={ONE: said(OTHER)}),  # one cell alone says nothing of the golden
        Case(answers={ONE: said(OTHER), TWO: said(THIRD)}),
        Case(answers={ONE: said(OTHER), TWO: said()}),
        Case(answers={ONE: said(OTHER), TWO: said(OTHER)}, oracle=COMMAND),
        Case(answers={ONE: said(OTHER), TWO: said(OTHER)}, variants={TWO: Expectation(stdout=OTHER.digest)}),
        Case(
            answers={ONE: said(OTHER), TWO: said(OTHER), THREE: TIMEOUT},
            variants={TWO: Expectation(stdout=OTHER.digest)},
        ),
    ],
)
def test_a_golden_that_some_cell_confirms_or_too_few_deny_has_not_drifted(case: Case) -> None:
    report = case.report()
    assert report.exit_code == 1
    assert report.fixtures == ()


def test_a_cell_is_held_to_its_own_variant() -> None:
    variants = {TWO: Expectation(stdout=OTHER.digest)}
    assert Case(answers={ONE: said(), TWO: said(OTHER)}, variants=variants).report()
    report = Case(answers={ONE: said(), TWO: said()}, variants=variants).report()
    assert verdicts(report) == {ONE: "agree", TWO: "diverged"}
    assert the_job(report, TWO).expected == OTHER.digest
    assert report.divergences[0].expected == OTHER.digest


def test_a_fixture_without_its_golden_is_skipped() -> None:
    report = Case(answers={ONE: said()}, expected=Expectation()).report()
    assert the_job(report).verdict == Verdict(
        kind=Kind.SKIPPED, reason="no-oracle", message="there is no golden output"
    )
    assert report.exit_code == 4
    assert report.sentence == "nothing ran: no job could be executed"


def test_a_match_only_thanks_to_a_normalisation_says_so() -> None:
    loose = Expectation(stdout=GOLDEN.digest, normalise=(Normalisation(name="crlf"),))
    report = Case(answers={ONE: said(CRLF), TWO: said()}, expected=loose).report()
    assert report
    assert [job.verdict.normalised for job in report.jobs] == [("crlf",), ()]


# Other oracles


def test_a_command_that_gave_no_answer_leaves_nothing_to_compare_with() -> None:
    assert Case(answers={ONE: said()}, oracle=COMMAND).report()
    report = Case(answers={ONE: said()}, oracle=COMMAND, expected=Expectation()).report()
    assert the_job(report).verdict.message == "the oracle's command gave no answer"


def test_a_reference_cell_says_what_all_others_must_say_and_how_they_must_end() -> None:
    killed = said(OTHER, Ending.SIGNALLED, 9)
    report = Case(
        answers={ONE: killed, TWO: killed, THREE: said(OTHER), FOUR: said(GOLDEN, Ending.SIGNALLED, 9)},
        oracle=REFERENCE,
    ).report()
    assert verdicts(report) == {ONE: "agree", TWO: "agree", THREE: "exit-status(0)", FOUR: "diverged"}
    assert {(job.expected, job.expected_exit) for job in report.jobs} == {(OTHER.digest, -9)}


def test_without_an_answer_of_the_reference_nothing_is_compared() -> None:
    for silent in (LOST, TIMEOUT, said(leaked=1)):
        report = Case(answers={ONE: silent, TWO: said()}, oracle=REFERENCE).report()
        assert the_job(report, TWO).verdict == Verdict(
            kind=Kind.SKIPPED, reason="no-oracle", message=f"the reference cell {ONE} gave no answer"
        )
    report = Case(
        cells=[an_unusable_cell(ONE, NO_DOCKER), a_cell(TWO)], answers={TWO: said()}, oracle=REFERENCE
    ).report()
    assert verdicts(report) == {ONE: "unavailable(no-docker)", TWO: "skipped(no-oracle)"}


def test_the_answer_of_a_reference_is_its_first_finished_execution() -> None:
    report = Case(answers={ONE: (LOST, said(OTHER), said()), TWO: said(OTHER)}, oracle=REFERENCE).report()
    assert verdicts(report) == {ONE: "flaky", TWO: "agree"}


def test_a_majority_says_what_all_must_say() -> None:
    report = Case(answers={ONE: said(OTHER), TWO: said(), THREE: said()}, oracle=CONSENSUS).report()
    assert verdicts(report) == {ONE: "diverged", TWO: "agree", THREE: "agree"}
    assert report.divergences[0].expected == GOLDEN.digest
    report = Case(answers={ONE: said(code=1), TWO: said(code=1), THREE: said()}, oracle=CONSENSUS).report()
    assert verdicts(report) == {ONE: "agree", TWO: "agree", THREE: "exit-status(0)"}


def test_without_a_majority_everybody_diverges_and_nothing_is_expected() -> None:
    report = Case(answers={ONE: said(OTHER), TWO: said(OTHER), THREE: said(), FOUR: said()}, oracle=CONSENSUS).report()
    assert {str(job.verdict) for job in report.jobs} == {"diverged"}
    assert {job.verdict.message for job in report.jobs} == {"no output has a majority among the cells"}
    assert {job.expected for job in report.jobs} == {""}
    (divergence,) = report.divergences
    assert divergence.expected == ""
    assert [group.is_expected for group in divergence.classes] == [False, False]
    assert report.fixtures == ()
    assert report.exit_code == 1


def test_a_consensus_is_sought_after_each_cell_is_normalised() -> None:
    """Two cells end lines with CR LF, which they normalise, two do not: all four say the same."""
    crlf = Expectation(normalise=(Normalisation(name="crlf"),))
    report = Case(
        answers={ONE: said(), TWO: said(CRLF), THREE: said(CRLF), FOUR: said()},
        oracle=CONSENSUS,
        expected=Expectation(),
        variants={TWO: crlf, THREE: crlf},
    ).report()
    assert [(job.verdict.kind, job.verdict.normalised) for job in report.jobs] == [
        (Kind.AGREE, ()),
        (Kind.AGREE, ("crlf",)),
        (Kind.AGREE, ("crlf",)),
        (Kind.AGREE, ()),
    ]


def test_a_consensus_of_one_is_none() -> None:
    for answers in ({ONE: said()}, {ONE: said(), TWO: LOST}, {ONE: said(), TWO: TIMEOUT}):
        report = Case(answers=answers, oracle=CONSENSUS).report()
        assert the_job(report).verdict == Verdict(
            kind=Kind.SKIPPED, reason="no-oracle", message="a consensus needs two cells"
        )


@pytest.mark.parametrize("oracle", [REFERENCE, CONSENSUS, COMMAND, GOLDENS], ids=lambda oracle: oracle.kind)
@pytest.mark.parametrize(
    ("seen", "verdict", "status"),
    [
        (LOST, "lost(channel)", 3),
        (TIMEOUT, "timeout", 1),
        (said(ending=Ending.MEMORY_LIMIT), "resource-limit(memory)", 1),
        (said(leaked=1), "leaked", 1),
    ],
)
def test_without_an_oracle_what_needs_none_is_still_told(
    oracle: Oracle, seen: Observation, verdict: str, status: int
) -> None:
    report = Case(answers={ONE: seen, TWO: seen}, oracle=oracle, expected=Expectation()).report()
    assert verdicts(report) == {ONE: verdict, TWO: verdict}
    assert report.exit_code == status
    assert {job.expected for job in report.jobs} == {""}


def test_executions_that_differ_are_flaky_even_without_an_oracle() -> None:
    report = Case(answers={ONE: (said(), said(OTHER))}, oracle=CONSENSUS).report()
    assert verdicts(report) == {ONE: "flaky"}


def test_a_cell_that_is_not_what_it_claims_has_no_vote() -> None:
    cells = [replace(a_cell(ONE), verdict=MISPLACED), a_cell(TWO), a_cell(THREE)]
    report = Case(cells=cells, answers={ONE: said(OTHER), TWO: said(OTHER), THREE: said()}, oracle=CONSENSUS).report()
    assert verdicts(report) == {ONE: "misplaced", TWO: "diverged", THREE: "diverged"}
    report = Case(cells=cells, answers={ONE: said(), TWO: said()}, oracle=REFERENCE).report()
    assert verdicts(report)[TWO] == "skipped(no-oracle)"


# Attempts


def test_the_first_bad_attempt_is_the_one_shown() -> None:
    first, second = said(OTHER), said(THIRD)
    shown = the_job(Case(answers={ONE: (LOST, said(), first, second)}).report())
    assert (shown.observation, shown.attempts) == (first, 3)
    assert str(shown.verdict) == "flaky"
    assert the_job(Case(answers={ONE: (said(code=3), said(code=2))}).report()).observation == said(code=3)


def test_without_a_bad_attempt_the_first_is_shown_and_of_losses_the_first() -> None:
    assert the_job(Case(answers={ONE: (LOST, said(), said())}).report()).observation == said()
    job = the_job(Case(answers={ONE: (LOST, LOST)}).report())
    assert (job.observation, job.attempts) == (LOST, 0)


def test_how_long_it_took_changes_nothing_in_the_report() -> None:
    slow = Case(answers={ONE: said(duration=10**9), TWO: replace(TIMEOUT, duration_ns=5 * 10**9)}).report()
    assert slow == Case(answers={ONE: said(), TWO: TIMEOUT}).report()


# What could not be judged


def test_an_unusable_cell_gives_its_verdict_to_all_its_jobs_and_is_no_divergence() -> None:
    report = Case(cells=[an_unusable_cell(ONE, NO_DOCKER), a_cell(TWO)], answers={TWO: said()}).report()
    assert the_job(report).verdict == NO_DOCKER
    assert report
    assert report.divergences == ()
    assert report.coverage.unverified == ((ONE, "unavailable(no-docker)"),)
    assert report.coverage.unverified_gating == (ONE,)
    assert (report.coverage.executed, report.coverage.skipped, report.coverage.missing) == (1, 0, 1)


def test_a_job_that_a_stopped_run_did_not_reach_is_deselected() -> None:
    report = Case(cells=[a_cell(ONE), a_cell(TWO)], answers={ONE: said()}).report()
    assert the_job(report, TWO).verdict == Verdict(
        kind=Kind.SKIPPED, reason="deselected", message="not run: the run was stopped before it"
    )


def test_a_job_skipped_by_the_plan_keeps_its_reason_unless_its_cell_is_unusable() -> None:
    fixture = replace(a_fixture(), skip=(Condition(rule=Rule.parse("os=linux"), because="no"),))
    cells = [a_cell(ONE), an_unusable_cell(TWO, NO_DOCKER)]
    report = Case(cells=cells, fixtures=[fixture], answers={}).report()
    assert verdicts(report) == {ONE: "skipped(rule)", TWO: "unavailable(no-docker)"}
    assert (report.coverage.skipped, report.coverage.missing) == (1, 1)


def test_a_fixture_that_could_not_be_prepared_makes_the_answer_no() -> None:
    failed = FixtureReport(fixture="b", result="prepare-failed", message="cc: not found")
    case = Case(
        cells=[a_cell(ONE), an_unusable_cell(TWO, NO_DOCKER)],
        fixtures=[a_fixture("a"), a_fixture("b")],
        answers={ONE: said()},
        failed=(failed,),
    )
    report = case.report()
    assert [(job.fixture, job.cell, str(job.verdict)) for job in report.jobs] == [
        ("a", ONE, "agree"),
        ("a", TWO, "unavailable(no-docker)"),
        ("b", ONE, "skipped(prepare-failed)"),
        ("b", TWO, "unavailable(no-docker)"),
    ]
    assert report.jobs[2].verdict.message == "cc: not found"
    assert report.fixtures == (failed,)
    assert report.exit_code == 1
    assert report.sentence == (
        "the answer is no: 1 job in 1 cell as declared; 1 fixture could not be prepared; 1 of 2 cells not verified"
    )


def test_results_of_fixtures_come_in_their_order() -> None:
    failed = tuple(FixtureReport(fixture=id, result="prepare-failed", message="") for id in ("d", "b"))
    fixtures = [a_fixture(id) for id in "dcba"]
    report = Case(fixtures=fixtures, answers={ONE: said(OTHER), TWO: said(OTHER)}, failed=failed).report()
    assert [(one.fixture, one.result) for one in report.fixtures] == [
        ("a", "drifted"),
        ("b", "prepare-failed"),
        ("c", "drifted"),
        ("d", "prepare-failed"),
    ]
    assert "2 fixtures could not be prepared" in report.sentence


def test_a_loss_leaves_its_cell_unverified_and_the_run_incomplete() -> None:
    report = Case(answers={ONE: LOST, TWO: said()}).report()
    assert report.exit_code == 3
    assert report.sentence == "incomplete: 1 job in 1 cell as declared; 1 job lost; 1 of 2 cells not verified"
    assert report.coverage.unverified == ((ONE, "lost"),)
    assert report.coverage.missing == 1


# Exit status


FAILS, LOSES, AGREES = said(OTHER), LOST, said()


@pytest.mark.parametrize(
    ("tier", "seen", "status"),
    [
        (Tier.ONE, FAILS, 1),
        (Tier.TWO, FAILS, 1),
        (Tier.THREE, FAILS, 0),
        (Tier.ADVISORY, FAILS, 0),
        (Tier.ONE, LOSES, 3),
        (Tier.TWO, LOSES, 3),
        (Tier.THREE, LOSES, 0),
        (Tier.ADVISORY, LOSES, 0),
    ],
)
def test_only_cells_that_gate_change_the_exit(tier: Tier, seen: Observation, status: int) -> None:
    report = Case(cells=[a_cell(ONE), a_cell(TWO, tier)], answers={ONE: AGREES, TWO: seen}).report()
    assert report.exit_code == status


@pytest.mark.parametrize("tier", [Tier.THREE, Tier.ADVISORY])
def test_failures_in_cells_that_do_not_gate_are_shown_and_said_to_be_so(tier: Tier) -> None:
    cells = [a_cell(ONE), a_cell(TWO, tier)]
    report = Case(cells=cells, answers={ONE: AGREES, TWO: FAILS}).report()
    assert verdicts(report)[TWO] == "diverged"
    assert report.sentence == ("nothing that gates failed: 1 of 2 jobs in 2 cells failed (1 diverged)")
    report = Case(cells=cells, answers={ONE: LOST, TWO: FAILS}).report()
    assert report.exit_code == 3
    assert "none of them in a cell that gates" in report.sentence


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize("require", REQUIREMENTS)
@pytest.mark.parametrize(
    ("verdict", "gating_status"), [(NO_DOCKER, 0), (MISPLACED, 3)], ids=["unavailable", "misplaced"]
)
def test_an_unverified_cell_is_incomplete_where_it_is_required(
    tier: Tier, require: str, verdict: Verdict, gating_status: int
) -> None:
    cells = [a_cell(ONE), an_unusable_cell(TWO, verdict, tier)]
    report = Case(cells=cells, answers={ONE: AGREES}, require=require).report()
    is_required = require == "all" or (require == "tier-1" and tier is Tier.ONE)
    assert report.exit_code == (3 if is_required else gating_status if tier.gates else 0)


@pytest.mark.parametrize("tier", Tier)
def test_an_unknown_host_key_is_a_refusal_whatever_else_happened(tier: Tier) -> None:
    cells = [a_cell(ONE), an_unusable_cell(TWO, HOST_KEY, tier)]
    for seen in (AGREES, FAILS, LOSES):
        report = Case(cells=cells, answers={ONE: seen}).report()
        assert report.exit_code == 5
        assert report.sentence.startswith("refused for security: ")


def test_a_failure_outweighs_a_loss() -> None:
    assert Case(answers={ONE: FAILS, TWO: LOSES}).report().exit_code == 1


def test_nothing_executed_is_not_success() -> None:
    report = Case(cells=[an_unusable_cell(ONE, NO_DOCKER)], answers={}).report()
    assert report.exit_code == 4
    assert report.sentence == "nothing ran: no job could be executed; 1 of 1 cell not verified"
    assert Case(cells=[a_cell(ONE)], fixtures=[], answers={}).report().exit_code == 4
    assert Case(answers={ONE: LOST}).report().exit_code == 3


# For all runs

CELLS = (ONE, TWO, THREE, FOUR)
ENDED = st.builds(said, st.sampled_from([GOLDEN, OTHER, CRLF]), st.sampled_from(Ending), st.sampled_from([0, 1]))
ORACLES = st.sampled_from([GOLDENS, COMMAND, REFERENCE, CONSENSUS])
CASES = st.builds(
    Case,
    cells=st.tuples(
        *(
            st.one_of(
                st.sampled_from(Tier).map(lambda tier, id=id: a_cell(id, tier)),  # type: ignore[misc]
                st.sampled_from([NO_DOCKER, MISPLACED]).map(lambda verdict, id=id: an_unusable_cell(id, verdict)),  # type: ignore[misc]
            )
            for id in CELLS
        )
    ),
    fixtures=st.sampled_from([(a_fixture("a"),), (a_fixture("b"), a_fixture("a")), ()]),
    answers=st.dictionaries(st.sampled_from(CELLS), st.lists(ENDED, max_size=3).map(tuple)),
    oracle=ORACLES,
    failed=st.sampled_from([(), (FixtureReport(fixture="a", result="prepare-failed", message=""),)]),
    require=st.sampled_from(REQUIREMENTS),
)


def kinds(jobs: Iterable[JobReport]) -> set[Kind]:
    return {one.kind for job in jobs for one in (job.verdict, *job.verdict.details)}


@given(CASES)
def test_every_job_ends_in_one_verdict_and_the_totals_are_fixtures_times_cells(case: Case) -> None:
    report = case.report()
    keys = [(job.fixture, job.cell) for job in report.jobs]
    assert len(set(keys)) == len(keys) == len(case.fixtures) * len(case.cells)
    assert sum(report.counts().values()) == len(keys) == report.coverage.planned
    incomplete = sum(job.verdict.kind.is_incomplete for job in report.jobs)
    assert report.coverage.executed + report.coverage.skipped + incomplete == len(keys)
    assert report.coverage.missing == incomplete


@given(CASES)
def test_no_pass_without_a_program_that_ended_by_itself(case: Case) -> None:
    for job in case.report().jobs:
        seen = case.answers.get(job.cell, ())
        assert not isinstance(seen, Observation)
        finished = [one for one in seen if one.ending is not Ending.LOST]
        if job.verdict.kind.is_pass:
            assert finished
            assert all(one.ending in (Ending.EXITED, Ending.SIGNALLED) for one in finished)
        if not finished:
            assert kinds([job]) <= {Kind.UNAVAILABLE, Kind.MISPLACED, Kind.LOST, Kind.SKIPPED}


@given(CASES)
def test_infrastructure_is_in_no_class_of_a_divergence(case: Case) -> None:
    report = case.report()
    diverging = {cell for one in report.divergences for group in one.classes for cell in group.cells}
    assert all(not job.verdict.kind.is_incomplete for job in report.jobs if job.cell in diverging)


@given(CASES)
def test_success_means_that_no_gating_job_failed_or_was_lost(case: Case) -> None:
    report = case.report()
    gating = {one.cell.id for one in report.cells if one.cell.tier.gates}
    wrong = {job.verdict.kind for job in report.jobs if job.cell in gating} - {
        Kind.AGREE,
        Kind.SKIPPED,
        Kind.UNAVAILABLE,
    }
    if report:
        assert not wrong
        assert report.coverage.executed
        assert not any(one.is_failure for one in report.fixtures)
    assert report.sentence.count("\n") == 0


@given(CASES, st.randoms(use_true_random=False))
def test_the_report_does_not_depend_on_the_order_in_which_things_were_found(case: Case, random: Random) -> None:
    evidence = case.evidence()
    jobs = list(evidence.plan.jobs)
    random.shuffle(jobs)
    shuffled = replace(
        evidence,
        plan=replace(evidence.plan, jobs=tuple(jobs)),
        observations=dict(reversed(list(evidence.observations.items()))),
    )
    assert conclude(shuffled, STORE.get) == conclude(evidence, STORE.get)


def test_every_kind_that_a_run_can_end_in_today_is_reached() -> None:
    """What the ledger accepts and what a rehearsal refuses is not judged here."""
    later = {Kind.NOT_REFUSED, Kind.REFUSED, Kind.CHANGED, Kind.FIXED, Kind.ACCEPTED}
    attempts: tuple[tuple[Observation, ...], ...] = (
        *((said(OTHER, ending, code, leaked=1),) for ending in Ending for code in (0, 1)),
        (said(), said(OTHER)),
        (said(),),
        (),
    )
    reports = [Case(answers={ONE: seen}).report() for seen in attempts]
    reports += [Case(cells=[an_unusable_cell(ONE, one)], answers={}).report() for one in (NO_DOCKER, MISPLACED)]
    assert kinds(job for report in reports for job in report.jobs) == set(Kind) - later
