"""What every renderer promises, asked of each: a new one cannot be forgotten."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from harness.model.report import Report, RunInfo
from harness.reports import RENDERERS
from tests.reports.samples import HOSTILE_TEXT, Store, a_green_report, a_report

OTHER_RUN = RunInfo(
    id="another",
    started="2027-01-01T00:00:00Z",
    duration=99.9,
    version="0.2.0",
    arguments=("other",),
    durations=(("text/newlines", "linux-musl-x86_64/cp312", 9.0),),
)


def _json(text: str) -> None:
    assert set(json.loads(text)) == {
        *("cells", "counts", "coverage", "divergences", "fixtures", "jobs", "run", "schema", "verdict", "warnings")
    }
    assert text.isascii()


def _jsonl(text: str) -> None:
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert events[0] == "run"
    assert events[-1] == "verdict"
    assert set(events) <= {"run", "cell", "fixture", "job", "divergence", "warning", "verdict"}


def _markdown(text: str) -> None:
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    inline = {child.type for token in tokens for child in token.children or ()}
    assert inline <= {"text", "text_special", "softbreak", "strong_open", "strong_close"}
    html = {token.content.strip() for token in tokens if token.type == "html_block"}
    assert html == {"<!-- run -->", "<!-- /run -->"}


def _junit(text: str) -> None:
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    for element in (root, *root.iter("testsuite")):
        cases = list(element.iter("testcase"))
        assert int(element.get("tests", "-1")) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(element.get(name, "-1")) == sum(case.find(tag) is not None for case in cases)


def _text(text: str) -> None:
    assert all(line.isprintable() for line in text.splitlines())


def _without_run_json(text: str) -> str:
    return re.sub(r'^ "run": .*$', "", text, flags=re.MULTILINE)


def _without_run_xml(text: str) -> str:
    text = re.sub(r' (time|timestamp)="[^"]*"', "", text)
    return re.sub(r'<property name="run\.[^>]*/>\n', "", text)


CHECKS: dict[str, Callable[[str], None]] = {
    "text": _text,
    "json": _json,
    "jsonl": _jsonl,
    "markdown": _markdown,
    "junit": _junit,
}
WITHOUT_RUN: dict[str, Callable[[str], str]] = {
    "text": lambda text: re.sub(r"^=+ run =+\n( .*\n)*", "", text, flags=re.MULTILINE),
    "json": _without_run_json,
    "jsonl": lambda text: text.partition("\n")[2],
    "markdown": lambda text: re.sub(r"<!-- run -->.*<!-- /run -->", "", text, flags=re.DOTALL),
    "junit": _without_run_xml,
}
NAMES = sorted(RENDERERS)


def render(name: str, report: Report, store: Store) -> str:
    return RENDERERS[name].render(report, store)


def test_listing_the_renderers_imports_none_of_them() -> None:
    program = "import sys, harness.reports as r; list(r.RENDERERS); print([m for m in sys.modules if 'harness.reports.' in m or m == 'rich'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_suffixes_tell_the_renderers_apart() -> None:
    assert len({renderer.suffix for renderer in RENDERERS.values()}) == len(RENDERERS)
    assert all(name == renderer.name for name, renderer in RENDERERS.items())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [a_report, a_green_report])
def test_every_rendering_is_well_formed(name: str, make: Callable[[], tuple[Report, Store]]) -> None:
    text = render(name, *make())
    assert text.endswith("\n")
    CHECKS[name](text)


@pytest.mark.parametrize("name", NAMES)
def test_every_rendering_ends_with_or_holds_the_sentence(name: str) -> None:
    report, store = a_report()
    assert "8 fixtures diverge, 9 of 14 cells verified" in render(name, report, store)


@pytest.mark.parametrize("name", NAMES)
def test_only_the_run_block_differs_between_two_runs(name: str) -> None:
    report, store = a_report()
    first, second = render(name, report, store), render(name, replace(report, run=OTHER_RUN), store)
    assert first != second
    assert WITHOUT_RUN[name](first) == WITHOUT_RUN[name](second)
    assert "01JD3Q8" in first
    assert "01JD3Q8" not in WITHOUT_RUN[name](first)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_in_which_jobs_ended_does_not_show(name: str) -> None:
    report, store = a_report()
    turned = replace(
        report, jobs=report.jobs[::-1], divergences=report.divergences[::-1], fixtures=report.fixtures[::-1]
    )
    assert render(name, turned, store) == render(name, report, store)


@pytest.mark.parametrize("name", NAMES)
def test_no_rendering_holds_a_control_or_a_workflow_command(name: str) -> None:
    text = render(name, *a_report())
    assert not re.search(r"##\w*\[", text)
    assert not re.search(r"^\s*::", text, re.MULTILINE)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\ud800-\udfff]", text)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("hostile", HOSTILE_TEXT)
def test_hostile_text_in_every_field_stays_text(name: str, hostile: str) -> None:
    report, store = a_green_report()
    job, cell = report.jobs[0], report.cells[0]
    evil = replace(
        report,
        jobs=(replace(job, fixture=hostile), replace(job, cell=hostile)),
        cells=(replace(cell, runner=hostile, machine=hostile, isolation=hostile),),
        warnings=(hostile,),
        sentence=hostile,
        coverage=replace(report.coverage, unverified=((hostile, hostile),), unverified_gating=(hostile,)),
        run=replace(report.run, id=hostile, started=hostile, version=hostile, arguments=(hostile,)),
    )
    text = render(name, evil, store)
    CHECKS[name](text)
    assert not re.search(r"##\w*\[|^\s*::", text, re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_that_were_not_kept_are_no_trouble(name: str) -> None:
    report, _ = a_report()
    CHECKS[name](render(name, report, Store()))
