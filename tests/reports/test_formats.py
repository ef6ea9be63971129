"""What single formats promise: JSON's outputs, JUnit's outcomes, Markdown's size, the commands to paste."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.divergence.classes import classify
from harness.model.cell import Tier
from harness.model.outline import CHUNK, Outline
from harness.model.report import Coverage, Divergence, FixtureReport, JobReport, Report
from harness.model.verdict import Kind, Verdict
from harness.reports import RENDERERS, summary
from harness.reports import json as json_report
from harness.reports import markdown as markdown_report
from harness.reports.commands import repeat_command
from harness.reports.evidence import class_names
from tests.reports.samples import (
    ADVISORY,
    GLIBC,
    GLIBC_OLD,
    HOSTILE,
    MUSL,
    NO_DOCKER,
    Store,
    a_cell,
    a_green_report,
    a_report,
    an_observation,
    an_unusable_cell,
)


def as_json(report: Report, store: Store) -> Any:
    return json.loads(json_report.render(report, store))


def junit(report: Report, store: Store) -> ElementTree.Element:
    return ElementTree.fromstring(RENDERERS["junit"].render(report, store))


def with_outputs(outputs: list[tuple[bytes, bytes]]) -> tuple[Report, Store]:
    """One diverging fixture for each pair of golden and output."""
    report, store = a_green_report()
    found: list[Divergence] = []
    for number, (golden, said) in enumerate(outputs):
        made = classify(f"f{number:05}", store.keep(golden).digest, {MUSL: store.keep(said)}, lambda _: (0,))
        assert made is not None
        found.append(made)
    return replace(report, divergences=tuple(found), exit_code=1), store


def test_json_keeps_small_outputs_whole_as_base64() -> None:
    report, store = with_outputs([(HOSTILE[0], HOSTILE[0][::-1])])
    (divergence,) = as_json(report, store)["divergences"]
    (said,) = divergence["classes"]
    assert base64.b64decode(said["output"]["base64"]) == HOSTILE[0][::-1]
    assert base64.b64decode(divergence["reference"]["output"]["base64"]) == HOSTILE[0]
    assert said["difference"]["offset"] == 0
    assert said["output"]["is_whole"] is True


def test_json_keeps_of_large_outputs_the_part_that_differs() -> None:
    golden = b"x" * 1_000_000
    report, store = with_outputs([(golden, golden[:700_000] + b"y" + golden[700_001:])])
    (divergence,) = as_json(report, store)["divergences"]
    (said,) = divergence["classes"]
    assert b"y" in base64.b64decode(said["output"]["base64"])
    assert said["output"]["start"] == divergence["reference"]["output"]["start"] == 700_000 - 4096
    assert said["output"]["is_whole"] is False
    assert said["difference"]["line"] == 1
    assert said["difference"]["column"] == 700_001


def test_json_stays_bounded_and_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_report, "TOTAL_LIMIT", 100)
    report, store = with_outputs([(b"a" * 40, b"b" * 40), (b"c" * 40, b"d" * 40)])
    first, second = as_json(report, store)["divergences"]
    assert first["classes"][0]["output"]["base64"]
    assert second["classes"][0]["output"]["base64"] is None
    assert "keeps" in second["classes"][0]["output"]["omitted"]


def test_json_says_when_bytes_were_not_kept() -> None:
    report, _ = with_outputs([(b"a", b"b")])
    (divergence,) = as_json(report, Store())["divergences"]
    assert divergence["classes"][0]["output"] == {"base64": None, "omitted": "not kept"}
    assert divergence["classes"][0]["difference"] is None


def in_outline(golden: bytes, said: bytes, window: tuple[int, int] | None, *, whole: bool) -> tuple[Report, Store]:
    """A report on an output that was too large to be kept, and on a golden that may have been."""
    report, store = with_outputs([(golden, said)])
    (made,) = report.divergences
    seen = an_observation(made.fixture, MUSL, store.keep(said), store.keep(b""))
    failed = JobReport(
        fixture=made.fixture, cell=MUSL, verdict=Verdict(kind=Kind.DIVERGED), expected=made.expected, observation=seen
    )
    for data in (said,) if whole else (golden, said):
        digest = hashlib.sha256(data).hexdigest()
        del store.held[digest]
        store.outlines[digest] = Outline.of(data, window)
    return replace(report, jobs=(failed,)), store


NUMBERS = b"".join(b"%015d\n" % number for number in range(30_000))
CHANGED = NUMBERS[:320_009] + b"X" + NUMBERS[320_010:]
WINDOW = (3 * CHUNK, 3 * CHUNK)
EVERY = ["text", "markdown", "junit"]


@pytest.mark.parametrize("name", EVERY)
def test_a_large_output_is_shown_where_it_differs(name: str) -> None:
    text = RENDERERS[name].render(*in_outline(NUMBERS, CHANGED, WINDOW, whole=True))
    assert "line 20001, column 10 (byte 320009)" in text
    for row in ("@@ -19998,7 +19998,7 @@", "-000000000020000", "+000000000X20000", " 000000000020003"):
        assert row in text
    assert "only this part of the outputs is at hand" in text


@pytest.mark.parametrize("name", EVERY)
def test_two_large_outputs_are_shown_where_they_differ(name: str) -> None:
    text = RENDERERS[name].render(*in_outline(NUMBERS, CHANGED, WINDOW, whole=False))
    assert "byte 320009" in text
    assert "column" not in text
    for row in ("@@ byte 319952 @@", "-000000000020000", "+000000000X20000", " 000000000020003"):
        assert row in text


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("whole", [False, True])
def test_a_large_output_without_a_window_differs_in_a_chunk(name: str, whole: bool) -> None:
    text = RENDERERS[name].render(*in_outline(NUMBERS, CHANGED, None, whole=whole))
    assert "somewhere in bytes 262144 to 327679, which were not kept" in " ".join(text.split())


def test_json_has_the_part_of_a_large_output_that_differs() -> None:
    for whole, place in ((True, (20_001, 10)), (False, (None, None))):
        (divergence,) = as_json(*in_outline(NUMBERS, CHANGED, WINDOW, whole=whole))["divergences"]
        (said,) = divergence["classes"]
        found = said["difference"]
        assert (found["offset"], found["line"], found["column"]) == (320_009, *place)
        for output, data in ((said["output"], CHANGED), (divergence["reference"]["output"], NUMBERS)):
            start = output["start"]
            assert start == 320_009 - 4096
            assert base64.b64decode(output["base64"]) == data[start : start + 16_384]
            assert output["is_whole"] is False


def test_json_has_the_start_of_large_outputs_when_nobody_knows_where_they_differ() -> None:
    (divergence,) = as_json(*in_outline(NUMBERS, CHANGED, None, whole=False))["divergences"]
    (said,) = divergence["classes"]
    assert said["difference"] is None
    for output in (said["output"], divergence["reference"]["output"]):
        assert output["start"] == 0
        assert base64.b64decode(output["base64"]) == NUMBERS[:16_384]
        assert output["is_whole"] is False


def test_json_replaces_lone_surrogates_that_other_readers_refuse() -> None:
    report, store = a_green_report()
    text = json_report.render(replace(report, warnings=("a\udcffb", "👍", "##[error]")), store)
    assert "\\\\udcff" in text
    assert json.loads(text)["warnings"] == ["a\\udcffb", "👍", "##[error]"]


def test_attempts_belong_to_the_run() -> None:
    report, store = a_green_report()
    retried = replace(report, jobs=(replace(report.jobs[0], attempts=3),))
    assert as_json(retried, store)["run"]["attempts"] == [{"attempts": 3, "cell": GLIBC, "fixture": "a"}]
    assert as_json(retried, store)["jobs"] == as_json(report, store)["jobs"]


def test_what_a_passing_job_says_on_stderr_does_not_show() -> None:
    report, store = a_green_report()
    seen = report.jobs[0].observation
    assert seen is not None
    noisy = replace(seen, stderr=store.keep(b"/tmp/xyz/main.py: warning"), duration_ns=1, attempt=2)
    again = replace(report, jobs=(replace(report.jobs[0], observation=noisy),))
    for name in RENDERERS:
        assert RENDERERS[name].render(again, store) == RENDERERS[name].render(report, store)


def test_json_names_the_layer_that_was_lost_and_what_leaked() -> None:
    report, store = a_green_report()
    seen = report.jobs[0].observation
    assert seen is not None
    job = replace(report.jobs[0], observation=replace(seen, leaked=2, lost="agent"))
    observed = as_json(replace(report, jobs=(job,)), store)["jobs"][0]["observation"]
    assert (observed["leaked"], observed["lost"]) == (2, "agent")


@pytest.mark.parametrize(
    ("kind", "cell", "gating", "outcome"),
    [
        (Kind.AGREE, MUSL, (), None),
        (Kind.ACCEPTED, MUSL, (), None),
        (Kind.DIVERGED, MUSL, (), "failure"),
        (Kind.DIVERGED, ADVISORY, (), "skipped"),
        (Kind.SKIPPED, MUSL, (), "skipped"),
        (Kind.LOST, MUSL, (), "error"),
        (Kind.LOST, ADVISORY, (), "skipped"),
        (Kind.MISPLACED, MUSL, (), "error"),
        (Kind.UNAVAILABLE, MUSL, (), "skipped"),
        (Kind.UNAVAILABLE, MUSL, (MUSL,), "error"),
    ],
)
def test_junit_shows_red_only_what_gates(kind: Kind, cell: str, gating: tuple[str, ...], outcome: str | None) -> None:
    report, store = a_green_report()
    verdict = Verdict(kind=kind, reason="word")
    one = replace(
        report,
        cells=(a_cell(MUSL), a_cell(ADVISORY, Tier.ADVISORY)),
        jobs=(JobReport(fixture="x", cell=cell, verdict=verdict),),
        coverage=Coverage(planned=1, executed=1, skipped=0, unverified=(), unverified_gating=gating),
    )
    (case,) = junit(one, store).iter("testcase")
    assert [child.tag for child in case] == ([outcome] if outcome else [])


def test_junit_puts_the_cell_into_the_class_name_and_the_time_from_the_run() -> None:
    cases = {(case.get("classname"), case.get("name")): case for case in junit(*a_report()).iter("testcase")}
    case = cases[("harness.linux-musl-x86_64.cp312", "floats/shortest-repr")]
    assert case.get("time") == "1.500"
    assert "-3: 0.42857142857142855\n" in (case.findtext("failure") or "")
    other = cases[("harness.linux-glibc-aarch64.cp313t", "floats/shortest-repr")]
    assert "the same output as in linux-musl-x86_64/cp312" in (other.findtext("failure") or "")
    assert ("harness.fixtures", "broken/prepare") in cases
    assert "the end of stderr:" in (
        cases[("harness.linux-musl-x86_64.cp312", "integers/modular")].findtext("failure") or ""
    )


def test_junit_tells_of_a_cell_that_no_job_tells_of() -> None:
    report, store = a_green_report()
    silent = replace(
        report,
        cells=(*report.cells, an_unusable_cell(MUSL, NO_DOCKER), a_cell(GLIBC_OLD)),
        coverage=replace(report.coverage, unverified_gating=(MUSL,)),
    )
    (case,) = (case for case in junit(silent, store).iter("testcase") if case.get("name") == "(cell)")
    assert case.find("error") is not None


def test_markdown_stays_under_its_limit_and_says_what_it_cut() -> None:
    report, store = a_green_report()
    jobs: list[JobReport] = []
    for number in range(3000):
        message = f"{number} " + "<|>" * 200
        jobs.append(JobReport(fixture=f"f{number:05}", cell=GLIBC, verdict=Verdict(kind=Kind.TIMEOUT, message=message)))
    cells = tuple(a_cell(f"linux-musl-x86_64/c{number}") for number in range(500))
    huge = replace(
        report,
        jobs=tuple(jobs),
        cells=(*report.cells, *cells),
        warnings=("|" * 10_000,) * 100,
        sentence="no: " + "<" * 5000,
        exit_code=1,
    )
    text = markdown_report.render(huge, store)
    assert 500_000 < len(text.encode()) < 900 * 1024
    assert "of 3000 failing fixtures are only in the other reports.**" not in text
    assert "**Cut here:** " in text
    assert "and 301 cells more" in text
    assert "and 80 more" in text
    assert text.rstrip().endswith("**")


def test_markdown_says_the_verdict_first() -> None:
    assert markdown_report.render(*a_report()).startswith("## harness: no: 8 fixtures diverge")


def test_markdown_counts_classes_beyond_the_first() -> None:
    report, store = a_green_report()
    ids = [f"linux-musl-x86_64/c{number}" for number in range(30)]
    outputs = {cell: store.keep(cell.encode()) for cell in ids}
    found = classify("f", store.keep(b"x").digest, outputs, lambda _: (0,))
    assert found is not None
    assert len(set(class_names(found).values())) == 31
    assert class_names(found)[found.classes[-1].digest] == "class 31"
    jobs = tuple(JobReport(fixture="f", cell=cell, verdict=Verdict(kind=Kind.TIMEOUT)) for cell in ids)
    text = markdown_report.render(replace(report, jobs=jobs, divergences=(found,)), store)
    assert "- and 23 more classes\n" in text


def test_a_command_to_paste_names_the_fixture_and_the_cell() -> None:
    assert repeat_command("text/a", GLIBC) == f"harness run text/a --cell {GLIBC}"
    assert repeat_command("it's; rm -rf $HOME", GLIBC) == f"harness run 'it'\"'\"'s; rm -rf $HOME' --cell {GLIBC}"
    assert repeat_command("-x", GLIBC) == f"harness run --cell {GLIBC} -- -x"
    assert repeat_command("a", GLIBC, "my matrix.yaml") == f"harness run -c 'my matrix.yaml' a --cell {GLIBC}"


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_command_to_paste_gives_the_shell_back_what_it_was_made_of(fixture: str, cell: str) -> None:
    words = shlex.split(repeat_command(fixture, cell))
    assert sorted(words) == sorted(
        ["harness", "run", "--cell", cell, fixture, *(["--"] if fixture.startswith("-") else [])]
    )


def test_totals_add_up() -> None:
    report, _ = a_report()
    counted = summary.tallies(report).values()
    assert sum(tally.passed + tally.failed + tally.skipped + tally.other for tally in counted) == len(report.jobs)


def test_notes_agree_in_number_and_skip_what_a_failure_already_says() -> None:
    report, _ = a_green_report()
    passing = [
        replace(report.jobs[0], fixture=name, verdict=Verdict(kind=kind, normalised=normalised))
        for name, kind, normalised in (
            ("a", Kind.AGREE, ("crlf",)),
            ("b", Kind.AGREE, ("crlf",)),
            ("c", Kind.ACCEPTED, ()),
            ("d", Kind.ACCEPTED, ("crlf", "final-newline")),
        )
    ]
    failing = replace(report.jobs[0], fixture="e", verdict=Verdict(kind=Kind.DIVERGED))
    drifted = FixtureReport(fixture="e", result="drifted", message="all cells agree")
    assert summary.notes(replace(report, jobs=(*passing, failing), fixtures=(drifted,))) == (
        "2 jobs match only thanks to crlf",
        "1 job matches only thanks to crlf and final-newline",
        "2 jobs differ as the ledger accepts",
    )


def test_long_names_are_cut_in_their_middle() -> None:
    assert summary.brief("a" * 10 + "b" * 10, 10) == "aaaaa [... 10 characters ...] bbbbb"
    assert summary.listed(["a", "b", "c"], 2) == "a, b and 1 more"
