"""pytest, pytest -n2 and harness run give the same verdicts, job by job."""

from __future__ import annotations

import configparser
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.runners.local import this_platform
from tests.cli.conftest import Project
from tests.plugin.conftest import ABSENT, CELLS, NO, WHICH, YES, Pytest

PYTHON = Path(sys.executable).as_posix()
ORACLES = (
    "corpora:\n"
    "  - {path: fixtures}\n"
    "  - {path: voted, oracle: consensus}\n"
    f"  - {{path: followed, oracle: {{reference: {this_platform()}/two}}}}\n"
)
MADE = (
    f"  - {{path: asked, oracle: {{command: ['{PYTHON}', oracle.py]}}}}\n"
    "  - path: made\n    layout: flat\n    source: '*.txt'\n"
    f"    prepare: ['{PYTHON}', transpile.py, '{{source}}', '{{output}}']\n"
)
TRANSPILER = """\
import sys
text = open(sys.argv[1]).read().strip()
if text == "broken":
    sys.exit("cannot make sense of it")
open(sys.argv[2], "w").write("print(%r)" % text)
"""
WAYS = {
    "alone": (),
    "groups": ("-n2", "--dist", "loadgroup"),
    "anyhow": ("-n2", "--dist", "load"),
}


def of_everything(project: Project) -> None:
    """A job for each way to end that needs no luck."""
    project.matrix(f"cells:\n{CELLS}{ABSENT}{ORACLES}{MADE}")
    project.fixture("good", YES)
    project.fixture("wrong", NO)
    project.fixture("status", "import sys; print('yes'); sys.exit(3)")
    project.fixture("signal", "import os; os.kill(os.getpid(), 9)")
    project.fixture("slow", "import time; time.sleep(60)", declared="timeout: 0.5\n")
    project.fixture("newline", "print('yes', end='')")
    project.fixture("twofold", WHICH, "one\n")
    project.fixture("left-out", YES, declared="skip:\n  - when: os=linux or os=macos\n    because: a reason\n")
    project.fixture("agreed", YES, None, corpus="voted")
    project.fixture("split", "import os; print(os.environ['CELL'] == 'two')", None, corpus="voted")
    project.fixture("scattered", WHICH, None, corpus="voted")
    project.fixture("led", WHICH, None, corpus="followed")
    (project.folder / "oracle.py").write_text("print('one')\n", encoding="utf-8")
    project.fixture("answered", WHICH, None, corpus="asked")
    (project.folder / "transpile.py").write_text(TRANSPILER, encoding="utf-8")
    (project.folder / "made").mkdir()
    for name in ("whole", "broken"):
        (project.folder / "made" / f"{name}.txt").write_text(name, encoding="utf-8")
        (project.folder / "made" / f"{name}.out").write_text(f"{name}\n", encoding="utf-8")


def verdicts_of(report: dict[str, object]) -> dict[str, str]:
    found = {}
    jobs = report["jobs"]
    assert isinstance(jobs, list)
    for job in jobs:
        verdict = job["verdict"]
        reason = f"({verdict['reason']})" if "reason" in verdict else ""
        found[f"{job['fixture']}@{job['cell']}"] = verdict["kind"] + reason
    return found


def told_by(path: Path) -> dict[str, str]:
    """The verdict of each job by its name, as pytest's own JUnit report has it."""
    told = {}
    for case in ET.parse(path).iter("testcase"):
        assert case.get("classname") == "matrix.yaml.TestCrossPythonDifferential"
        (verdict,) = (one.get("value") for one in case.iter("property") if one.get("name") == "harness.verdict")
        told[str(case.get("name"))] = str(verdict)
    return told


@pytest.fixture
def expected(project: Project) -> dict[str, str]:
    of_everything(project)
    done = project("run", "--json")
    assert done.status == 1
    return verdicts_of(done.report)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_run_gives_the_same_verdicts(
    way: str, project: Project, run_pytest: Pytest, expected: dict[str, str]
) -> None:
    done = run_pytest("--junitxml=said.xml", *WAYS[way])
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    assert told_by(project.folder / "said.xml") == expected
    kept = project("report", "--json")
    assert verdicts_of(kept.report) == expected
    assert kept.report["run"]["arguments"][0] == "pytest"
    done.stdout.fnmatch_lines(
        ["harness: matrix.yaml, 15 fixtures x 4 cells", "*harness*", "coverage: *", "the answer is no: *"]
    )


def test_the_tox_environment_is_the_command_itself() -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(Path(__file__).parents[2] / "tox.ini", encoding="utf-8")
    assert tox["testenv:cross"]["commands"] == "harness run {posargs}"


def test_what_pytest_ran_is_answered_from_like_any_run(project: Project, run_pytest: Pytest) -> None:
    project.matrix(f"cells:\n{CELLS}")
    project.fixture("twofold", WHICH, "one\n")
    run_pytest("-n2", "--dist", "loadgroup").assert_outcomes(passed=1, failed=1, xfailed=1)
    first = project("report", "--json").report
    project("run")
    second = project("report", "--json").report
    assert {key: value for key, value in first.items() if key != "run"} == {
        key: value for key, value in second.items() if key != "run"
    }
    assert "two" in project("diff").out
