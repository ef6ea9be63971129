"""``harness run`` from end to end: what a user sees, and the status that a script sees."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.cli.conftest import CELL, HERE, TAG, Project

YES = "print('yes')"
NO = "print('no')"


def without_run(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith(' "run":'))


def test_a_first_run_says_that_all_agree_and_where(project: Project) -> None:
    project.fixture("one", YES)
    done = project("run")
    assert (done.status, done.err) == (0, "")
    assert done.last == "all agree: 1 job in 1 cell as declared"
    assert CELL in done.out
    assert "isolation: none" in done.out


def test_two_runs_give_equal_bytes_but_for_the_block_about_the_run(project: Project) -> None:
    for number in range(6):
        project.fixture(f"f{number}", NO if number % 2 else YES)
    first, second = project("run", "--json"), project("run", "--json", "-n", "1")
    assert first.status == second.status == 1
    assert first.report["run"]["id"] != second.report["run"]["id"]
    assert without_run(first.out) == without_run(second.out)
    assert without_run(project("report", "--json").out) == without_run(first.out)


def test_a_divergence_between_two_pythons_is_found_shown_and_gone_when_mended(
    project: Project, pythons: tuple[str, ...]
) -> None:
    here, other = pythons[:2]
    project.matrix(f'platforms: [local]\npythons: ["{here}", "{other}"]\n')
    planted = "import sys\nprint(sys.version_info[:2])"
    project.fixture("planted", planted, f"({here.replace('.', ', ')})\n")
    project.fixture("steady", YES)
    run = project("run")
    assert run.status == 1
    assert run.last.startswith("the answer is no: 1 of 4 jobs in 2 cells failed (1 diverged)")
    diff = project("diff")
    assert diff.status == 1
    assert "fixtures/planted" in diff.out
    assert f"({other.replace('.', ', ')})" in diff.out
    assert "steady" not in diff.out
    project.fixture("planted", "print(2)", "2\n")
    assert project("run").status == 0
    assert project("diff").status == 0


def test_the_coverage_line_names_what_was_not_verified_and_only_tier_1_can_require_it(project: Project) -> None:
    project.matrix(f'platforms: [local]\npythons: ["{HERE}", "3.99"]\n')
    project.fixture("one", YES)
    done = project("run")
    assert done.status == 0
    coverage = " ".join(done.out.split())
    assert "coverage: 1 of 2 planned jobs executed, 1 missing" in coverage
    assert "not verified: unavailable(no-interpreter):" in coverage
    assert "`harness doctor` tells what would mend that" in coverage
    assert done.last.endswith("1 of 2 cells not verified")
    required = project("run", "--require", "tier-1")
    assert (required.status, required.last.partition(":")[0]) == (3, "incomplete")
    project.matrix(f'platforms: [local]\npythons: {{"{HERE}": {{tier: 1}}, "3.99": {{tier: advisory}}}}\n')
    assert project("run", "--require", "tier-1").status == 0
    assert project("run", "--require", "all").status == 3


def test_a_failure_outranks_an_incomplete_run(project: Project) -> None:
    project.matrix(f'platforms: [local]\npythons: ["{HERE}", "3.99"]\n')
    project.fixture("one", NO)
    assert project("run", "--require", "all").status == 1


def test_a_tolerated_cell_is_shown_and_does_not_fail_the_run(project: Project) -> None:
    project.matrix(f'platforms: [local]\npythons: {{"{HERE}": {{tier: 3}}}}\n')
    project.fixture("one", NO)
    done = project("run")
    assert done.status == 0
    assert "diverged" in done.out
    assert done.last.startswith("nothing that gates failed: ")


def test_nothing_is_an_answer_of_its_own(project: Project) -> None:
    assert project("run").status == 4
    project.fixture("one", YES)
    assert project("run", "-k", "absent").status == 4
    assert project("run", "--tier", "1", "-k", "one").status == 0


def test_a_run_in_which_no_cell_can_be_reached_ran_nothing(project: Project) -> None:
    project.matrix('platforms: [local]\npythons: ["3.99"]\n')
    project.fixture("one", YES)
    done = project("run")
    assert (done.status, done.last.partition(":")[0]) == (4, "nothing ran")
    assert "uv python install 3.99" in done.out


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("import sys; print('yes'); sys.exit(3)", "exit-status"),
        ("import os; os.kill(os.getpid(), 9)", "signal"),
        ("import time; time.sleep(60)", "timeout"),
        ("print('yes', end='')", "diverged"),
    ],
)
def test_each_way_to_fail_has_its_verdict(project: Project, program: str, verdict: str) -> None:
    project.fixture("one", program)
    done = project("run", "--json", "--timeout", "0.5")
    assert (done.status, done.verdicts()) == (1, {f"one@{TAG}": verdict})


def test_a_repeat_that_says_something_else_is_flaky(project: Project) -> None:
    project.fixture("random", "import os; print(os.urandom(8))", None, declared="goldens: []\n")
    project.fixture("random", "import os; print(os.urandom(8))")
    project.fixture("steady", YES)
    done = project("run", "--repeat", "3", "--json")
    assert done.status == 1
    assert done.verdicts() == {f"random@{TAG}": "flaky", f"steady@{TAG}": "agree"}
    assert [row["attempts"] for row in done.report["run"]["attempts"]] == [3, 3]


def test_a_dry_run_runs_nothing_and_leaves_nothing(project: Project) -> None:
    folder = project.fixture("one", f"open({str(project.folder / 'ran')!r}, 'w')")
    done = project("run", "--dry-run")
    assert done.status == 0
    assert done.last == "1 job: 1 fixture in 1 cell"
    assert sorted(path.name for path in project.folder.iterdir()) == ["fixtures", "matrix.yaml"]
    assert folder.exists()


@pytest.mark.parametrize("name", ["text", "json", "jsonl", "markdown", "junit"])
def test_each_format_can_be_asked_for(project: Project, name: str) -> None:
    project.fixture("one", NO)
    done = project("run", "--output-format", name)
    assert done.status == 1
    assert "fixtures/one" in done.out
    again = project("report", "--output-format", name)
    assert (again.status, again.out) == (1, done.out)


def test_a_report_goes_to_a_file_whose_ending_chooses_the_format(project: Project) -> None:
    project.fixture("one", NO)
    out = project("run", "--json").out
    assert project("report", "-o", "kept.json").status == 1
    assert (project.folder / "kept.json").read_text() == out
    assert project("report", "-o", "no/such/folder.json").status == 6


def test_another_matrix_file_can_be_named_from_anywhere(project: Project, tmp_path: Path) -> None:
    project.fixture("one", YES)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert project("run", cwd=elsewhere).status == 2
    assert project("run", "-c", "../project/matrix.yaml", cwd=elsewhere).status == 0
    assert project("run", "one", cwd=project.folder / "fixtures").status == 0


def test_the_repeat_command_of_a_failing_report_repeats_just_that_job(
    project: Project, pythons: tuple[str, ...]
) -> None:
    project.matrix(f'platforms: [local]\npythons: ["{pythons[0]}", "{pythons[1]}"]\n')
    project.fixture("a b's", NO)
    project.fixture("other", YES)
    lines = project("run").out.splitlines()
    commands = [line.strip() for line in lines if line.strip().startswith("harness run ")]
    assert len(commands) == 2
    for command in commands:
        words = shlex.split(command)[1:]
        done = project(*words, "--json")
        assert (done.status, len(done.report["jobs"])) == (1, 1)
        assert done.report["jobs"][0]["fixture"] == "fixtures/a b's"
        assert done.report["jobs"][0]["cell"] in words


def test_normalisations_are_said_where_a_match_needs_them(project: Project) -> None:
    crlf = "import sys; sys.stdout.buffer.write(b'yes\\r\\n')"
    project.fixture("crlf", crlf, declared="normalise: [crlf]\n")
    project.fixture("end", "print('yes', end='')", declared="normalise: [final-newline]\n")
    project.fixture(
        "digits", "print('yes 42')", "yes 17\n", declared="normalise: [{regex: '[0-9]+', replacement: N}]\n"
    )
    project.fixture("raw", YES, declared="normalise: [crlf]\n")
    done = project("run")
    assert done.status == 0
    said = " ".join(done.out.split())
    for name in ("crlf", "final-newline", "regex"):
        assert f"1 job matches only thanks to {name}" in said
    by_fixture = {job["fixture"]: job["verdict"] for job in project("report", "--json").report["jobs"]}
    assert "normalised" not in by_fixture["fixtures/raw"]


def test_a_fixture_can_ask_for_raw_bytes_where_its_corpus_and_its_cell_are_normalised(project: Project) -> None:
    crlf = "import sys; sys.stdout.buffer.write(b'yes\\r\\n')"
    project.matrix(
        f"cells: [{{platform: local, python: '{HERE}', normalise: [crlf]}}]\n"
        "corpora: [{path: fixtures, normalise: [final-newline]}]\n"
    )
    project.fixture("loose", crlf)
    project.fixture("raw", crlf, declared="normalise: []\n")
    project.fixture("exact", crlf, "yes\r\n", declared="normalise: []\n")
    done = project("run", "--json")
    assert done.verdicts() == {f"exact@{TAG}": "agree", f"loose@{TAG}": "agree", f"raw@{TAG}": "diverged"}


def test_what_a_silent_program_did_not_say_is_shown(project: Project) -> None:
    project.fixture("silent", "pass")
    project.fixture("chatty", YES, "")
    done = project("run")
    assert done.status == 1
    assert "the end of the output" in done.out
    assert "too large" not in done.out


def test_golden_variants_only_and_skip_are_declared_with_their_reasons(
    project: Project, pythons: tuple[str, ...]
) -> None:
    here, other = pythons[:2]
    project.matrix(f'platforms: [local]\npythons: ["{here}", "{other}"]\n')
    variant = f"goldens: [{{when: python={other}, stdout: other.stdout, because: it says its version}}]\n"
    folder = project.fixture(
        "variant", "import sys\nprint('%d.%d' % sys.version_info[:2])", f"{here}\n", declared=variant
    )
    (folder / "other.stdout").write_text(f"{other}\n")
    project.fixture("only", YES, declared=f"only: {{when: python={here}, because: first reason}}\n")
    project.fixture("skip", YES, declared=f"skip: {{when: python={here}, because: second reason}}\n")
    project.fixture("future", YES, declared="requires-python: '>=3.98'\n")
    done = project("run", "--json")
    assert done.status == 0
    tags = [f"cp{series.replace('.', '')}" for series in (here, other)]
    expected = [("variant", "agree", "agree"), ("only", "agree", "skipped"), ("skip", "skipped", "agree")]
    expected.append(("future", "skipped", "skipped"))
    assert done.verdicts() == {
        f"{name}@{tag}": kind for name, *kinds in expected for tag, kind in zip(tags, kinds, strict=True)
    }
    text = " ".join(project("report").out.split())
    for reason in ("first reason", "second reason", "needs Python >=3.98"):
        assert reason in text


def test_what_a_variant_expects_can_be_shown_after_its_file_has_gone(project: Project) -> None:
    variant = f"goldens: [{{when: python={HERE}, stdout: other.stdout, because: of a test}}]\n"
    folder = project.fixture("variant", NO, declared=variant)
    (folder / "other.stdout").write_text("what was declared\n")
    assert project("run").status == 1
    (folder / "other.stdout").unlink()
    (folder / "fixture.yaml").unlink()
    assert "what was declared" in project("report").out


def test_a_traceback_does_not_make_two_runs_differ(project: Project) -> None:
    project.fixture("one", "print(1)\nraise ValueError('no')", "1\n")
    first, second = (project("run", "--json").report for _ in range(2))
    assert {key: value for key, value in first.items() if key != "run"} == {
        key: value for key, value in second.items() if key != "run"
    }
    assert first["run"]["stderr"][0]["fixture"] == "fixtures/one"
    for form in ("text", "markdown", "junit"):
        said = project("report", "--output-format", form).out
        assert "ValueError: no" in said
        assert "harness-agent-" not in said


@pytest.mark.skipif(sys.platform == "win32", reason="a shim of a POSIX shell")
def test_a_broken_shim_is_a_warning_and_stops_nothing(project: Project, tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "python3.12"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\necho 'version 3.12 is not installed' >&2\nexit 127\n")
    shim.chmod(0o755)
    project.fixture("one", "print(1)", "1\n")
    done = project("run", env={"PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"})
    assert done.status == 0
    assert [line for line in done.err.splitlines() if line.startswith("harness: warning: ") and str(shim) in line]


def test_a_cell_can_name_its_interpreter(project: Project) -> None:
    venv.create(project.folder / "env", with_pip=False)
    python = "env/Scripts/python.exe" if sys.platform == "win32" else "env/bin/python"
    project.matrix(
        "cells:\n"
        f"  - {{platform: local, python: inside, interpreter: {python}}}\n"
        "  - {platform: local, python: broken, interpreter: fixtures/one/expected.stdout}\n"
        "  - {platform: local, python: absent, interpreter: nowhere/python}\n"
        f"  - {{platform: local, python: '3.99', interpreter: {python}}}\n"
    )
    project.fixture("one", "import sys; print(sys.prefix != sys.base_prefix)", "True\n")
    done = project("run", "--json")
    cells = {cell["cell"].rpartition("/")[2]: cell for cell in done.report["cells"]}
    assert cells["inside"]["verified"]
    reasons = {name: (cell["verdict"] or {}).get("reason") for name, cell in cells.items()}
    assert reasons["broken"] == "broken-interpreter"
    assert reasons["absent"] == "no-interpreter"
    assert cells["cp399"]["verdict"]["kind"] == "misplaced"
    assert done.verdicts() == {
        "one@inside": "agree",
        "one@broken": "unavailable",
        "one@absent": "unavailable",
        "one@cp399": "misplaced",
    }
    assert done.status == 3  # misplaced, in a cell that gates


def test_two_runs_at_once_end_as_if_one_had_followed_the_other(project: Project) -> None:
    for number in range(8):
        project.fixture(f"f{number}", YES)
    processes = [project.start("run", "--json") for _ in range(3)]
    said = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({without_run(text) for text in said}) == 1
    assert len({json.loads(text)["run"]["id"] for text in said}) == 3


def test_a_fixture_without_a_golden_stops_only_a_run_that_would_need_it(project: Project) -> None:
    project.fixture("blessed", YES)
    project.fixture("unblessed", YES, None)
    done = project("run")
    assert (done.status, "H0301" in done.err, "fixtures/unblessed" in done.err) == (2, True, True)
    assert project("run", "fixtures/unblessed").status == 2
    assert project("run", "fixtures/blessed").status == 0


def test_a_run_can_be_written_to_a_bundle(project: Project) -> None:
    project.fixture("one", YES)
    assert project("run", "--bundle", "run.bundle").status == 0
    assert (project.folder / "run.bundle").stat().st_size > 0


def test_the_tool_is_one_module_and_one_command_with_the_same_words(project: Project) -> None:
    entry = Path(sys.executable).with_name("harness")
    if not entry.exists():
        pytest.skip("harness is importable here but not installed: there is no command beside the interpreter")
    command = subprocess.run([entry, "--version"], capture_output=True, text=True, check=True)
    assert command.stdout == project("--version").out
