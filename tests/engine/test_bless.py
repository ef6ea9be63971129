"""What is proposed as a golden and what is refused, from programs that really run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.engine.bless import Examined, examine, write
from harness.engine.project import Project
from harness.errors import Incomplete, NothingRan, UsageError
from harness.plan import Selection
from harness.runners.local import LocalRunner, this_platform

SERIES = f"{sys.version_info.major}.{sys.version_info.minor}"
HERE = f"{this_platform()}/cp{SERIES.replace('.', '')}"
CELL = f'{{platform: local, python: "{SERIES}", interpreter: "{sys.executable}"}}'
MATRIX = f"cells:\n  - {CELL}\n"


class Folder:
    """A project under construction."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("matrix.yaml", MATRIX)

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def project(self) -> Project:
        return Project.load(self.root / "matrix.yaml", local=this_platform())

    def examine(self, *paths: str, cell: str = "", command: tuple[str, ...] = ()) -> Examined:
        store = self.root / ".harness"
        store.mkdir(exist_ok=True)
        runners = {"local": LocalRunner(root=self.root)}
        return examine(self.project(), Selection(paths=paths), store, runners, cell=cell, command=command)

    def bless(self, *paths: str, cell: str = "") -> Examined:
        examined = self.examine(*paths, cell=cell)
        write(examined.proposals)
        return examined


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("program", "golden"),
    [("fixtures/a/main.py", "fixtures/a/expected.stdout"), ("fixtures/a.b.py", "fixtures/a.b.out")],
)
def test_a_new_golden_is_named_as_its_layout_asks_for(program: str, golden: str, folder: Folder) -> None:
    folder.write(program, "print('said')")
    (proposal,) = folder.bless().proposals
    assert proposal.is_new
    assert folder.read(golden) == b"said\n"
    assert not folder.project().unblessed
    assert folder.bless().proposals[0].changes == ()


def test_a_golden_keeps_the_name_and_the_bytes_that_it_has(folder: Folder) -> None:
    folder.write("fixtures/a/main.py", "import sys; sys.stdout.buffer.write(bytes(range(256)))")
    folder.write("fixtures/a/expect.txt", "old")
    (proposal,) = folder.bless().proposals
    assert not proposal.is_new
    assert folder.read("fixtures/a/expect.txt") == bytes(range(256))
    assert not (folder.root / "fixtures/a/expected.stdout").exists()


def test_an_exit_status_that_is_not_0_is_blessed_too_and_remarked(folder: Folder) -> None:
    folder.write("fixtures/a/main.py", "import sys; print(1); sys.exit('no such thing')")
    folder.write("fixtures/b.py", "raise SystemExit(3)")
    first, _ = folder.bless().proposals
    assert first.remark == "it ends with status 1: no such thing"
    assert folder.read("fixtures/a/expected.exit") == b"1\n"
    assert folder.read("fixtures/b.exit") == b"3\n"
    assert all(not proposal.changes for proposal in folder.bless().proposals)


def test_a_status_that_became_0_is_written_into_its_file(folder: Folder) -> None:
    folder.write("fixtures/a.py", "")
    folder.write("fixtures/a.out", "")
    folder.write("fixtures/a.exit", "7")
    folder.bless()
    assert folder.read("fixtures/a.exit") == b"0\n"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; print(os.urandom(8))", "its runs differ: line 1 has"),
        ("print({'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'})", "it depends on the hash seed"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it was ended by signal 9"),
        ("import time; time.sleep(60)", "it was stopped after"),
        (
            "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
            "it left 1 process behind",
        ),
        ("print('x' * (9 << 20))", "a golden has at most 8 MiB"),
    ],
)
def test_a_program_that_promises_nothing_is_refused(program: str, reason: str, folder: Folder) -> None:
    folder.write("fixtures/a/main.py", program)
    folder.write("fixtures/a/fixture.yaml", "timeout: 2\n")
    (proposal,) = folder.bless().proposals
    assert reason in proposal.refusal
    assert not proposal.changes
    assert not (folder.root / "fixtures/a/expected.stdout").exists()


def test_a_signal_that_is_expected_is_no_reason_to_refuse(folder: Folder) -> None:
    folder.write("fixtures/a/main.py", "import os, signal; os.write(1, b'x'); os.kill(os.getpid(), signal.SIGKILL)")
    folder.write("fixtures/a/expected.exit", "-9")
    assert folder.bless().proposals[0].refusal == ""
    assert folder.read("fixtures/a/expected.stdout") == b"x"


def test_only_the_golden_that_applies_in_the_reference_cell_is_written(folder: Folder) -> None:
    folder.write("fixtures/a/main.py", "print('here')")
    folder.write("fixtures/a/expected.stdout", "general")
    folder.write("fixtures/a/expected.here.stdout", "old")
    os_name = this_platform().os
    golden = f"{{when: os={os_name}, stdout: expected.here.stdout, because: it says where it is}}"
    folder.write("fixtures/a/fixture.yaml", f"goldens: [{golden}]\n")
    folder.bless()
    assert folder.read("fixtures/a/expected.here.stdout") == b"here\n"
    assert folder.read("fixtures/a/expected.stdout") == b"general"


def test_a_status_that_fixture_yaml_declares_is_not_contradicted_by_a_file(folder: Folder) -> None:
    folder.write("fixtures/a/main.py", "")
    folder.write("fixtures/a/expected.stdout", "")
    folder.write("fixtures/a/fixture.yaml", "goldens: [{exit: 4}]\n")
    (proposal,) = folder.bless().proposals
    assert proposal.refusal == "it ends with status 0, and fixture.yaml says 4: change it there"


def test_what_a_normalisation_makes_equal_is_not_rewritten(folder: Folder) -> None:
    folder.write("matrix.yaml", MATRIX + "corpora: [{path: fixtures, normalise: [final-newline]}]\n")
    folder.write("fixtures/a.py", "print('said')")
    folder.write("fixtures/a.out", "said")
    assert folder.bless().proposals[0].changes == ()


def test_a_stderr_that_counts_is_blessed_with_the_rest(folder: Folder) -> None:
    folder.write("fixtures/a/main.py", "import sys; print('out'); print('err', file=sys.stderr)")
    folder.write("fixtures/a/expected.stdout", "out\n")
    folder.write("fixtures/a/expected.stderr", "old\n")
    folder.bless()
    assert folder.read("fixtures/a/expected.stderr") == b"err\n"


def test_a_fixture_that_does_not_run_in_the_reference_cell_is_refused_with_the_reason(folder: Folder) -> None:
    folder.write("fixtures/a/main.py", "")
    folder.write("fixtures/a/fixture.yaml", 'requires-python: ">=4"\n')
    assert folder.bless().proposals[0].refusal == "needs Python >=4"


def test_a_command_may_speak_in_place_of_a_cell(folder: Folder) -> None:
    folder.write("fixtures/a.py", "import sys; print(sys.flags.no_site)")
    examined = folder.examine(command=(sys.executable, "-S"))
    assert examined.reference == f"{sys.executable} -S"
    assert [change.after for change in examined.proposals[0].changes] == [b"1\n"]


def test_a_prepared_program_is_blessed_under_the_name_of_its_source(folder: Folder) -> None:
    prepare = f"['{sys.executable}', copy.py, '{{source}}', '{{output}}']"
    folder.write("copy.py", "import shutil, sys; shutil.copy(*sys.argv[1:])")
    folder.write("matrix.yaml", f"{MATRIX}corpora: [{{path: fixtures, source: '*.mochi', prepare: {prepare}}}]\n")
    folder.write("fixtures/a.mochi", "print('made')")
    folder.bless()
    assert folder.read("fixtures/a.out") == b"made\n"


def test_the_reference_is_the_lowest_cpython_of_tier_1_that_answers(folder: Folder) -> None:
    lower = '{platform: local, python: "3.6", interpreter: /nowhere/python}'
    second = f'{{platform: local, python: "{SERIES}", tier: 2, interpreter: "{sys.executable}"}}'
    folder.write("matrix.yaml", f"cells:\n  - {CELL}\n  - {lower}\n")
    folder.write("fixtures/a.py", "")
    assert folder.examine().reference == HERE
    folder.write("matrix.yaml", f"cells:\n  - {second}\n  - {lower}\n")
    with pytest.raises(Incomplete, match="cp36"):
        folder.examine()
    assert folder.examine(cell=HERE).reference == HERE
    assert folder.examine(cell="local/*" + SERIES[2:]).reference == HERE


def test_a_pattern_of_many_cells_names_no_reference(folder: Folder) -> None:
    folder.write("matrix.yaml", f'platforms: [local]\npythons: ["{SERIES}", "3.99"]\n')
    folder.write("fixtures/a.py", "")
    with pytest.raises(UsageError, match="matches 2 cells"):
        folder.examine(cell="*")


def test_a_corpus_without_goldens_leaves_nothing_to_bless(folder: Folder) -> None:
    folder.write("matrix.yaml", MATRIX + "corpora: [{path: fixtures, oracle: consensus}]\n")
    folder.write("fixtures/a.py", "")
    with pytest.raises(NothingRan):
        folder.examine()
