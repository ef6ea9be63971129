"""Outputs above 8 MiB: shown around their first difference by a repeat, which is judged like any other."""

from __future__ import annotations

import base64
import json
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import CELL, HERE, TAG, Project

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the local runner does not serve Windows")

LINES = 700_000
COUNTING = "import sys\nout = sys.stdout.buffer\nsaid = b''.join(b'line %08d\\n' % n for n in range({lines}))\n"
WRITE = "out.write(said)\n"
CHANGE = "at = {at}\nsaid = said[:at] + {new!r} + said[at + {gone}:]\n"


def counted(lines: int = LINES) -> bytes:
    return b"".join(b"line %08d\n" % number for number in range(lines))


def counting(*changes: str, lines: int = LINES) -> str:
    return "".join((COUNTING.format(lines=lines), *changes, WRITE))


def change(at: int, new: bytes, gone: int = 1) -> str:
    return CHANGE.format(at=at, new=new, gone=gone)


def without_run(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith(' "run":'))


def with_golden(project: Project, name: str, program: str, golden: bytes) -> None:
    (project.fixture(name, program, "") / "expected.stdout").write_bytes(golden)


def attempts(project: Project) -> list[int]:
    return [one["attempts"] for one in project("report", "--json").report["run"]["attempts"]]


AT = 400_000 * 14 + 12  # the last digit of the line's number


def test_one_byte_in_the_middle_of_a_large_output_is_shown_at_its_place(project: Project) -> None:
    with_golden(project, "large", counting(change(AT, b"X")), counted())
    done = project("run")
    assert done.status == 1
    assert f"line 400001, column 13 (byte {AT})" in done.out
    for row in ("@@ -399998,7 +399998,7 @@", "-line 00400000", "+line 0040000X", " line 00400003"):
        assert f"    {row}\n" in done.out
    assert "'line 0040000X\\n'" in done.out
    assert attempts(project) == [2]
    for arguments in (("diff",), ("report",), ("report", "--output-format", "markdown")):
        assert f"line 400001, column 13 (byte {AT})" in project(*arguments).out
    junit = project("report", "--output-format", "junit").out
    assert f"line 400001, column 13 (byte {AT})" in junit
    assert "+line 0040000X" in junit
    first, second = project("run", "--json"), project("run", "--json")
    assert without_run(first.out) == without_run(second.out)
    assert without_run(project("report", "--json").out) == without_run(first.out)
    (divergence,) = first.report["divergences"]
    (said,) = divergence["classes"]
    assert (said["difference"]["line"], said["difference"]["column"], said["difference"]["offset"]) == (400_001, 13, AT)
    assert b"line 0040000X\n" in base64.b64decode(said["output"]["base64"])


@pytest.mark.parametrize(
    ("lines", "place", "side"),
    [
        (LINES + 3, f"line {LINES + 1}, column 1 (byte {LINES * 14})", "expected:"),
        (LINES - 3, f"line {LINES - 2}, column 1 (byte {(LINES - 3) * 14})", "class b:"),
        (1000, "line 1001, column 1 (byte 14000)", "class b:"),
    ],
)
def test_a_large_golden_and_an_output_of_another_length(project: Project, lines: int, place: str, side: str) -> None:
    with_golden(project, "large", counting(lines=lines), counted())
    done = project("run")
    assert done.status == 1
    assert place in done.out
    assert f"{side} the end of the output" in " ".join(done.out.split())


def test_a_small_golden_and_a_large_output(project: Project) -> None:
    with_golden(project, "large", counting(), counted(1000))
    assert "line 1001, column 1 (byte 14000)" in project("run").out


def test_a_large_output_that_agrees_is_not_repeated(project: Project) -> None:
    with_golden(project, "large", counting(), counted())
    with_golden(project, "small", "print(1)", b"2\n")
    assert project("run").status == 1
    assert attempts(project) == []


def test_a_large_output_that_is_another_on_its_repeat_is_flaky(project: Project) -> None:
    note = project.folder / "note"
    once = f"import os\nif os.path.exists({str(note)!r}): said += b'again\\n'\nopen({str(note)!r}, 'w').close()\n"
    with_golden(project, "large", counting(change(AT, b"X"), once), counted())
    done = project("run")
    assert done.status == 1
    assert "large: flaky in 1 cell" in done.out
    assert "2 different outcomes in 2 executions" in " ".join(done.out.split())


def test_a_large_output_that_was_found_flaky_is_not_repeated_once_more(project: Project) -> None:
    with_golden(project, "large", counting("import time\nsaid += b'%d' % time.time_ns()\n"), counted())
    assert "large: flaky in 1 cell" in project("run", "--repeat", "2").out
    assert attempts(project) == [2]


def test_what_was_cut_off_at_its_limit_is_not_repeated_and_compared_as_far_as_it_is_known(project: Project) -> None:
    folder = project.fixture("large", counting(change(4, b"X")), "line 1\n", declared="output-limit: 9437184\n")
    (folder / "expected.stdout").write_bytes(counted())
    done = project("run")
    assert "large: output-limit in 1 cell" in done.out
    assert "line 1, column 5 (byte 4)" in done.out
    assert attempts(project) == []


def test_the_last_words_of_a_large_stderr_are_told(project: Project) -> None:
    project.fixture(
        "loud", f"import sys\nsys.stderr.write('x' * 99 * {1 << 17} + '\\nthe last words\\n')\nsys.exit(3)", ""
    )
    done = project("run")
    assert "large" not in done.last
    assert "the last words" in done.out
    assert attempts(project) == []


def two_cells(project: Project, pythons: tuple[str, ...], oracle: str) -> list[str]:
    here, other = pythons[:2]
    tags = [f"cp{series.replace('.', '')}" for series in (here, other)]
    project.matrix(
        f'platforms: [local]\npythons: ["{here}", "{other}"]\ncorpora:\n'
        f"  - {{path: fixtures, oracle: {oracle.format(tags[0])}}}\n"
    )
    return tags


@pytest.mark.parametrize("oracle", ["{{reference: local/{0}}}", "consensus"])
def test_two_large_outputs_of_cells_are_shown_where_they_differ(
    project: Project, pythons: tuple[str, ...], oracle: str
) -> None:
    two_cells(project, pythons, oracle)
    differs = f"if sys.version_info[:2] != {tuple(map(int, pythons[0].split('.')))}:\n    said = said[:{AT}] + b'X' + said[{AT + 1}:]\n"
    project.fixture("large", counting(differs), None)
    done = project("run", "--json")
    assert done.status == 1
    (divergence,) = done.report["divergences"]
    (found,) = [one["difference"] for one in divergence["classes"] if one.get("difference")]
    assert (found["offset"], found["line"], found["column"]) == (AT, None, None)
    assert attempts(project) == [2, 2]
    text = project("report").out
    assert f"byte {AT}" in text
    assert "line 0040000X" in text
    assert "line 00400000" in text
    assert without_run(project("run", "--json").out) == without_run(done.out)


def test_a_large_answer_of_a_command_is_shown_where_the_output_differs(project: Project) -> None:
    (project.folder / "oracle.py").write_text(counting())
    project.matrix(
        f'platforms: [local]\npythons: ["{HERE}"]\ncorpora:\n'
        f"  - {{path: fixtures, oracle: {{command: ['{Path(sys.executable).as_posix()}', oracle.py]}}}}\n"
    )
    project.fixture("large", counting(change(AT, b"X")), None)
    done = project("run")
    assert done.status == 1
    assert f"byte {AT}" in done.out
    assert "+line 0040000X" in done.out
    assert "-line 00400000" in done.out
    project.fixture("large", counting(lines=1000), None)
    assert "line 1001, column 1 (byte 14000)" in project("run").out


def test_a_run_that_was_killed_in_its_close_up_is_resumed_with_it(project: Project) -> None:
    note, started = project.folder / "note", project.folder / "started"
    waits = (
        f"import os, time\nif os.path.exists({str(note)!r}):\n    open({str(started)!r}, 'w').close()\n"
        f"    while not os.path.exists({str(project.folder / 'go')!r}): time.sleep(0.01)\n"
        f"open({str(note)!r}, 'w').close()\n"
    )
    with_golden(project, "large", counting(change(AT, b"X"), waits), counted())
    process = project.start("run")
    deadline = time.monotonic() + 60
    while not started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    (project.folder / "go").touch()
    done = project("run", "--resume", "--json")
    assert done.verdicts() == {f"large@{TAG}": "diverged"}
    assert done.report["run"]["resumed"] == 1
    assert done.report["run"]["attempts"] == [{"attempts": 2, "cell": CELL, "fixture": "fixtures/large"}]
    assert done.report["divergences"][0]["classes"][0]["difference"]["offset"] == AT


def test_a_close_up_that_was_recorded_is_not_made_again(project: Project) -> None:
    """A run that was killed after its close-up, before its report."""
    count = project.folder / "count"
    with_golden(project, "large", counting(change(AT, b"X"), f"open({str(count)!r}, 'a').write('x')\n"), counted())
    first = project("run", "--json")
    assert count.read_text() == "xx"
    import sqlite3

    with sqlite3.connect(project.folder / ".harness" / "harness.db") as database:
        database.execute("DELETE FROM reports")
        database.execute("UPDATE runs SET finished = NULL")
    resumed = project("run", "--resume", "--json")
    assert count.read_text() == "xx"
    assert without_run(resumed.out) == without_run(first.out)
    assert json.loads(resumed.out)["run"]["resumed"] == 2
