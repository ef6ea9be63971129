"""What a user of pytest sees: selection, failures, skips, header and summary, and silence where there is no matrix."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.runners.local import this_platform
from harness.store.database import Store
from tests.cli.conftest import Project
from tests.plugin.conftest import ABSENT, CELLS, NO, WHICH, YES, Pytest
from tests.rig import eventually

CLASS = "matrix.yaml::TestCrossPythonDifferential"
ONE = f"{this_platform()}/one"
TWO = f"{this_platform()}/two"


def test_an_item_is_named_by_its_fixture_and_cell_and_can_be_given_by_its_id(
    project: Project, run_pytest: Pytest
) -> None:
    project.matrix(f"cells:\n{CELLS}")
    project.fixture("good", YES)
    project.fixture("other", YES)
    listed = run_pytest("--collect-only", "-q")
    listed.stdout.fnmatch_lines([f"{CLASS}::fixtures/good@{ONE}", f"{CLASS}::fixtures/good@{TWO}"])
    run_pytest(f"{CLASS}::fixtures/good@{TWO}").assert_outcomes(passed=1)
    assert [job["cell"] for job in project("report", "--json").report["jobs"]] == [TWO]


def test_keywords_and_marks_select_by_id_cell_and_tag(project: Project, run_pytest: Pytest) -> None:
    project.matrix(f"cells:\n{CELLS}")
    project.fixture("good", YES, declared="tags: [dates, skip, timeout]\n")
    project.fixture("other", YES)
    run_pytest("-k", "good and not three").assert_outcomes(passed=2, deselected=4)
    done = run_pytest("-m", "dates", "--strict-markers", "-k", "one")
    done.assert_outcomes(passed=1, deselected=5)


def test_cells_can_be_selected_before_collection(project: Project, run_pytest: Pytest) -> None:
    project.matrix(f"cells:\n{CELLS}")
    project.fixture("good", YES)
    done = run_pytest("--harness-cell", "*/t*", "--harness-python", "two", "--harness-platform", "*")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["harness: matrix.yaml, 1 fixture x 1 cell"])
    wrong = run_pytest("--harness-cell", "*/tow")
    assert wrong.ret == pytest.ExitCode.INTERRUPTED
    wrong.stdout.fnmatch_lines(["*error?H0003?: --cell '??tow' matches no cell of the matrix*", "*hint:*"])


def test_a_failure_shows_what_harness_run_shows(project: Project, run_pytest: Pytest) -> None:
    project.fixture("wrong", "print('no\\x1b[2J')")
    done = run_pytest()
    done.assert_outcomes(failed=1)
    said = project("run").out
    shown = said[said.index("fixtures/wrong: diverged") : said.index("\n\n")]
    assert f"harness run fixtures/wrong --cell {ONE}" in shown
    assert "\\x1b" in shown
    assert "\x1b[2J" not in done.stdout.str()
    for line in shown.splitlines():
        assert line in done.outlines
    done.stdout.no_fnmatch_line("*Traceback*")


def test_a_failure_in_a_cell_that_does_not_gate_is_expected(project: Project, run_pytest: Pytest) -> None:
    project.matrix(f"cells:\n{CELLS}")
    project.fixture("twofold", WHICH, "two\n")
    done = run_pytest("--harness-cell", "*/three", "-rx")
    done.assert_outcomes(xfailed=1)
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines(["nothing that gates failed: *", "XFAIL * - diverged"])
    assert run_pytest("--harness-cell", "*/three", "--runxfail").ret == pytest.ExitCode.TESTS_FAILED


def test_an_unreachable_cell_is_skipped_unless_it_is_required(project: Project, run_pytest: Pytest) -> None:
    project.matrix(f"cells:\n{CELLS.splitlines()[0]}\n{ABSENT}")
    project.fixture("good", YES)
    done = run_pytest("-rs")
    done.assert_outcomes(passed=1, skipped=1)
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines(["SKIPPED [[]1] matrix.yaml: unavailable(no-interpreter): * is not there"])
    run_pytest("--harness-require", "tier-1").assert_outcomes(passed=1, errors=1)
    (project.folder / "pytest.ini").write_text("[pytest]\nharness_require = all\n", encoding="utf-8")
    run_pytest("--strict-config").assert_outcomes(passed=1, errors=1)
    (project.folder / "pytest.ini").write_text("[pytest]\nharness_require = most\n", encoding="utf-8")
    assert run_pytest().ret == pytest.ExitCode.USAGE_ERROR


def test_skips_alone_are_no_success(project: Project, run_pytest: Pytest) -> None:
    project.matrix(f"cells:\n{ABSENT}")
    project.fixture("good", YES)
    done = run_pytest()
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    done.stdout.fnmatch_lines(["nothing ran: no job could be executed*"])


def test_what_failed_last_runs_alone_the_next_time(project: Project, run_pytest: Pytest) -> None:
    project.fixture("good", YES)
    project.fixture("wrong", NO)
    run_pytest("-n2", "--dist", "loadgroup").assert_outcomes(passed=1, failed=1)
    run_pytest("--lf").assert_outcomes(failed=1, deselected=1)


def test_stopping_at_a_failure_leaves_the_rest_unasked(project: Project, run_pytest: Pytest) -> None:
    project.fixture("a-good", YES)
    project.fixture("b-wrong", NO)
    for number in range(30):
        project.fixture(f"c-{number}", NO)
    done = run_pytest("-x")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["coverage: * of 32 planned jobs executed, * skipped"])
    report = project("report", "--json").report
    assert sum(job["verdict"]["kind"] == "skipped" for job in report["jobs"]) > 10


@pytest.mark.parametrize("option", ["--strict-config", "-pno:cacheprovider", "-pno:xdist", "-pno:terminal", "-q"])
def test_it_does_with_less(option: str, project: Project, run_pytest: Pytest) -> None:
    project.fixture("good", YES)
    assert run_pytest(option).ret == pytest.ExitCode.OK


def test_it_can_be_switched_off(project: Project, run_pytest: Pytest) -> None:
    project.fixture("good", YES)
    done = run_pytest("-p", "no:harness")
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    done.stdout.no_fnmatch_line("*harness: *")
    (project.folder / "pytest.ini").write_text("[pytest]\nharness_matrix =\n", encoding="utf-8")
    assert run_pytest().ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_the_matrix_may_have_another_name_and_place(project: Project, run_pytest: Pytest) -> None:
    (project.folder / "cross").mkdir()
    (project.folder / "matrix.yaml").rename(project.folder / "cross" / "cells.yaml")
    project.fixture("wrong", NO, corpus="cross/fixtures")
    (project.folder / "pytest.ini").write_text("[pytest]\nharness_matrix = cross/cells.yaml\n", encoding="utf-8")
    done = run_pytest()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([f"*harness run -c cross/cells.yaml fixtures/wrong --cell {ONE}"])


def test_a_project_without_a_matrix_notices_nothing(pytester: pytest.Pytester, run_pytest: Pytest) -> None:
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef harness():\n    return 1\n")
    pytester.makepyfile(
        "def test_mine(harness):\n    import sys\n    assert 'harness.plugin.hooks' not in sys.modules\n"
    )
    for options in ((), ("-n2", "--strict-config")):
        done = run_pytest(*options)
        done.assert_outcomes(passed=1)
        done.stdout.no_fnmatch_line("*harness:*")
        done.stdout.no_fnmatch_line("* harness *")


def test_tests_of_a_folder_beside_the_matrix_run_without_it(project: Project, run_pytest: Pytest) -> None:
    project.fixture("wrong", NO)
    (project.folder / "tests").mkdir()
    (project.folder / "tests" / "test_mine.py").write_text("def test_mine(): pass\n", encoding="utf-8")
    done = run_pytest("tests")
    done.assert_outcomes(passed=1)
    done.stdout.no_fnmatch_line("*harness: *")
    run_pytest().assert_outcomes(passed=1, failed=1)
    run_pytest("-n2", "tests", "matrix.yaml").assert_outcomes(passed=1, failed=1)


def test_every_problem_of_the_files_is_told_at_collection(project: Project, run_pytest: Pytest) -> None:
    project.fixture("unblessed", YES, None)
    done = run_pytest()
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["harness: error?H0301?: fixtures/unblessed: there is no expected stdout", "  hint: *"])
    project.matrix("cells: [3.1]\n")
    run_pytest().stdout.fnmatch_lines(["harness: error?H*?: *matrix.yaml:1:*"])


def test_trouble_with_the_store_is_an_error_of_the_job(project: Project, run_pytest: Pytest) -> None:
    project.fixture("good", YES)
    (project.folder / ".harness").write_text("in the way", encoding="utf-8")
    done = run_pytest()
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines(["harness: error?H0701?: *", "  hint: *"])
    distributed = run_pytest("-n2", "--dist", "loadgroup")
    assert distributed.ret == pytest.ExitCode.TESTS_FAILED
    distributed.stdout.fnmatch_lines(["harness: error?H0701?: *"])


def test_an_interrupted_session_can_be_resumed(project: Project, run_pytest: Pytest) -> None:
    project.fixture("a-good", YES)
    (project.folder / "conftest.py").write_text(
        "def pytest_runtest_logfinish(nodeid):\n    raise KeyboardInterrupt\n", encoding="utf-8"
    )
    project.fixture("b-slow", "import time; time.sleep(0.5); print('yes')")
    done = run_pytest()
    assert done.ret == pytest.ExitCode.INTERRUPTED
    (hint,) = (line for line in done.outlines if "harness run --resume" in line)
    resumed = project(*hint.partition("`harness ")[2].rstrip("`").split(), "--json")
    assert resumed.status == 0
    assert resumed.report["run"]["resumed"] >= 1
    assert len(resumed.report["jobs"]) == 2


def test_after_a_crash_of_a_worker_the_run_is_not_at_its_end(project: Project, run_pytest: Pytest) -> None:
    project.matrix(f"cells:\n{CELLS}")
    project.fixture("good", YES)
    (project.folder / "conftest.py").write_text(
        "import os, xdist\ndef pytest_runtest_protocol(item, nextitem):\n"
        "    global is_worker\n    is_worker = xdist.is_xdist_worker(item)\n"
        "def pytest_runtest_logfinish(nodeid):\n"
        "    if nodeid.endswith('/one') and is_worker:\n        os._exit(9)\n"
        "is_worker = False\n",
        encoding="utf-8",
    )
    done = run_pytest("-n2", "--dist", "loadgroup", "--max-worker-restart=0")
    assert done.ret != pytest.ExitCode.OK
    done.stdout.fnmatch_lines(["what is done is kept; go on with `harness run --resume *`"])
    resumed = project("run", "--resume", "--json")
    assert resumed.status == 0
    assert {job["cell"].rpartition("/")[2] for job in resumed.report["jobs"]} == {"one", "two", "three"}


def test_a_session_leaves_no_process_and_no_folder_behind(
    project: Project, run_pytest: Pytest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground = tmp_path_factory.mktemp("ground")
    monkeypatch.setenv("TMPDIR", str(ground))
    project.matrix(f"cells:\n{CELLS}")
    project.fixture("good", YES)
    run_pytest("-n2", "--dist", "loadgroup", "-p", "no:tmpdir").assert_outcomes(passed=3)
    assert eventually(lambda: not [one for one in ground.iterdir() if one.name.startswith("harness")])


def test_a_wait_for_another_run_is_said(project: Project, run_pytest: Pytest) -> None:
    project.fixture("good", YES)
    command = [sys.executable, "-m", "pytest"]
    with (
        Store.open(project.folder / ".harness") as store,
        subprocess.Popen(command, cwd=project.folder, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process,
    ):
        assert process.stdout is not None
        assert any("waiting for it to end" in line for line in process.stdout)
        store.close()
        process.stdout.read()
    assert process.returncode == 0


def test_a_match_thanks_to_a_normalisation_is_told(project: Project, run_pytest: Pytest) -> None:
    project.fixture("loose", "print('yes', end='')", declared="normalise: [final-newline]\n")
    done = run_pytest()
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*1 job matches only thanks to final-newline"])
