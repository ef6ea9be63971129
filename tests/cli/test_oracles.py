"""Who says what is expected: a command, a reference cell, a consensus; and programs that are made before they run."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cli.conftest import HERE, TAG, Project

TRANSPILER = """\
import sys
source, output = sys.argv[1:]
text = open(source).read()
if text.startswith("broken"):
    sys.exit("cannot make sense of " + text.strip())
with open(output, "w") as file:
    file.write("print(%r)\\n" % text.strip())
with open("made.log", "a") as log:
    log.write(source + "\\n")
"""


def transpiled(project: Project, **sources: str) -> list[str]:
    """A corpus whose programs are made from .txt files; return the arguments that make it the only one."""
    (project.folder / "transpile.py").write_text(TRANSPILER)
    corpus = project.folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for name, text in sources.items():
        (corpus / f"{name}.txt").write_text(text)
        (corpus / f"{name}.out").write_text(f"{text}\n")
    python = Path(sys.executable).as_posix()
    project.matrix(
        f'platforms: [local]\npythons: ["{HERE}"]\ncorpora:\n'
        "  - path: corpus\n    layout: flat\n    source: '*.txt'\n"
        f"    prepare: ['{python}', transpile.py, '{{source}}', '{{output}}']\n"
    )
    return []


def made(project: Project) -> int:
    log = project.folder / "made.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_programs_are_made_from_their_sources_once_for_as_long_as_nothing_changes(project: Project) -> None:
    transpiled(project, one="first", two="second")
    assert project("run").status == 0
    assert project("run", cwd=project.folder / "corpus").status == 0
    assert made(project) == 2
    (project.folder / "transpile.py").write_text(TRANSPILER + "# better\n")
    assert project("run").status == 0
    assert made(project) == 4


def test_a_program_that_was_damaged_since_it_was_made_is_made_again(project: Project) -> None:
    transpiled(project, one="first")
    assert project("run").status == 0
    (program,) = (project.folder / ".harness" / "prepared").rglob("main.py")
    program.write_text("print('first')  # but not by the transpiler")
    assert project("run").status == 0
    assert made(project) == 2


def test_a_source_that_cannot_be_prepared_is_a_result_of_its_own(project: Project) -> None:
    transpiled(project, good="fine", bad="broken thing")
    done = project("run")
    assert done.status == 1
    assert "prepare-failed" in done.out
    assert "cannot make sense of broken thing" in " ".join(done.out.split())
    assert "1 fixture could not be prepared" in done.last
    assert project("run", "--lf", "--json").verdicts() == {f"bad.txt@{TAG}": "skipped"}
    (project.folder / "corpus" / "bad.txt").write_text("broken thing is not the first word: it is\n".replace("b", "B"))
    (project.folder / "corpus" / "bad.out").write_text("Broken thing is not the first word: it is\n")
    assert project("run").status == 0


def test_a_prepared_program_is_found_from_any_folder(project: Project) -> None:
    transpiled(project, one="first")
    assert project("run", cwd=project.folder / "corpus").status == 0
    assert (project.folder / "made.log").exists()


def test_a_command_can_say_what_is_expected(project: Project) -> None:
    (project.folder / "oracle.py").write_text("import sys; print(open(sys.argv[-1]).read().count('x')); sys.exit(2)\n")
    project.matrix(
        f'platforms: [local]\npythons: ["{HERE}"]\ncorpora:\n'
        f"  - {{path: fixtures, oracle: {{command: ['{Path(sys.executable).as_posix()}', oracle.py]}}}}\n"
    )
    project.fixture("right", "import sys; print(3); sys.exit(2)  # xx", None)
    project.fixture("wrong", "print(1)", None)
    done = project("run", "--json")
    assert done.verdicts() == {f"right@{TAG}": "agree", f"wrong@{TAG}": "exit-status"}
    assert done.status == 1


def test_a_command_that_gives_no_answer_leaves_nothing_to_compare_with_not_even_an_old_golden(project: Project) -> None:
    (project.folder / "oracle.py").write_text("import time; time.sleep(60)\n")
    project.matrix(
        f'platforms: [local]\npythons: ["{HERE}"]\ncorpora:\n'
        f"  - {{path: fixtures, oracle: {{command: ['{Path(sys.executable).as_posix()}', oracle.py]}}, timeout: 0.5}}\n"
    )
    project.fixture("one", "print('no')")
    done = project("run", "--json")
    (job,) = done.report["jobs"]
    assert (job["verdict"]["kind"], job["verdict"]["reason"]) == ("skipped", "no-oracle")


def test_a_command_that_is_not_there_is_an_error_before_anything_is_judged(project: Project) -> None:
    project.matrix(
        f'platforms: [local]\npythons: ["{HERE}"]\ncorpora:\n'
        "  - {path: fixtures, oracle: {command: [no-such-oracle]}}\n"
    )
    project.fixture("one", "print(1)", None)
    done = project("run")
    assert (done.status, "'no-such-oracle'" in done.err) == (2, True)


def test_a_reference_cell_or_the_majority_says_what_is_expected(project: Project, pythons: tuple[str, ...]) -> None:
    here, other = pythons[:2]
    both = f'platforms: [local]\npythons: ["{here}", "{other}"]\ncorpora:\n'
    tags = [f"cp{series.replace('.', '')}" for series in (here, other)]
    project.fixture("same", "print('same')", None)
    project.fixture("version", "import sys; print(sys.version_info[:2])", None)
    project.matrix(both + f"  - {{path: fixtures, oracle: {{reference: local/{tags[0]}}}}}\n")
    done = project("run", "--json")
    assert done.status == 1
    assert done.verdicts() == {
        **{f"same@{tag}": "agree" for tag in tags},
        f"version@{tags[0]}": "agree",
        f"version@{tags[1]}": "diverged",
    }
    project.matrix(both + "  - {path: fixtures, oracle: consensus}\n")
    done = project("run", "--json")
    assert done.status == 1
    assert {name for name, kind in done.verdicts().items() if kind == "diverged"} == {f"version@{tag}" for tag in tags}
    alone = project("run", "--python", here, "--json")
    assert set(alone.verdicts().values()) == {"skipped"}
    assert {job["verdict"]["reason"] for job in alone.report["jobs"]} == {"no-oracle"}
