"""Fixtures are found where they are, in either layout, and what is no fixture is said."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.fixtures import Loaded, load_corpus
from harness.model.cell import Corpus, Normalisation, Oracle
from harness.model.fixture import Fixture, Golden, Limits

Fill = Callable[..., Loaded]
ROOT = Path(__file__).parents[2]
any_name = pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes as a name")
links = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there that tests lack")
CONSENSUS = Oracle(kind="consensus")
PREPARED = {"source": "*.mochi", "prepare": ("mochi", "{source}", "{output}")}


def ids(fixtures: tuple[Fixture, ...]) -> list[str]:
    return [fixture.id for fixture in fixtures]


def names(fixture: Fixture) -> list[str]:
    return [name for name, _ in fixture.files]


def told(loaded: Loaded) -> list[str]:
    return [f"{problem.id} {problem.place}: {problem.message}" for problem in loaded.problems]


def test_a_folder_is_a_fixture_with_all_its_parts(loaded: Fill, tmp_path: Path) -> None:
    found = loaded(
        {
            "text/casefold/main.py": "print(input())",
            "text/casefold/expected.stdout": "x\n",
            "text/casefold/expected.stderr": "",
            "text/casefold/expected.exit": " 3\n",
            "text/casefold/stdin": "x",
            "text/casefold/data/deep/README.md": "seen by the program",
            "text/casefold/table.csv": "1",
            "text/casefold/README.md": "for people",
            "text/casefold/main.certificate.json": "{}",
            "text/casefold/.gitignore": "*",
            "text/casefold/__pycache__/main.pyc": "",
        },
        timeout=4.0,
        normalise=(Normalisation(name="crlf"),),
    )
    folder = tmp_path / "fixtures/text/casefold"
    assert found == Loaded(
        fixtures=(
            Fixture(
                id="fixtures/text/casefold",
                corpus="fixtures",
                program="main.py",
                files=tuple((name, folder / name) for name in ("data/deep/README.md", "main.py", "table.csv")),
                goldens=(Golden(stdout=folder / "expected.stdout", stderr=folder / "expected.stderr", exit=3),),
                stdin=folder / "stdin",
                limits=Limits(timeout=4.0),
                normalise=(Normalisation(name="crlf"),),
            ),
        )
    )


@pytest.mark.parametrize("golden", ["expected.stdout", "expect.txt"])
@pytest.mark.parametrize(("exit", "status"), [("expected.exit", "-9"), ("expect.exit", "4294967295")])
def test_goldens_have_either_name(loaded: Fill, golden: str, exit: str, status: str) -> None:
    (fixture,) = loaded({"a/main.py": "", f"a/{golden}": "", f"a/{exit}": status}).fixtures
    assert fixture.goldens[0].stdout is not None
    assert fixture.goldens[0].stdout.name == golden
    assert fixture.goldens[0].exit == int(status)


def test_flat_pairs_and_folders_stand_in_one_corpus(loaded: Fill, tmp_path: Path) -> None:
    found = loaded(
        {
            "flat/hello.py": "",
            "flat/hello.out": "",
            "flat/hello.in": "",
            "flat/hello.exit": "1",
            "flat/bye.py": "",
            "flat/bye.out": "",
            "folder/main.py": "",
            "folder/expected.stdout": "",
            "folder/helper.py": "",
        }
    )
    assert ids(found.fixtures) == ["fixtures/flat/bye.py", "fixtures/flat/hello.py", "fixtures/folder"]
    assert not found.problems
    hello = found.fixtures[1]
    assert hello.program == "hello.py"
    assert hello.files == (("hello.py", tmp_path / "fixtures/flat/hello.py"),)
    assert hello.stdin == tmp_path / "fixtures/flat/hello.in"
    assert hello.goldens == (Golden(stdout=tmp_path / "fixtures/flat/hello.out", exit=1),)


def test_the_corpus_itself_may_be_a_fixture(loaded: Fill) -> None:
    found = loaded({"main.py": "", "expected.stdout": "", "inner/main.py": ""})
    assert ids(found.fixtures) == ["fixtures"]
    assert names(found.fixtures[0]) == ["inner/main.py", "main.py"]


def test_ids_in_the_matrix_files_own_folder_have_no_prefix(loaded: Fill, tmp_path: Path) -> None:
    loaded({"x.py": "", "x.out": "", "a/main.py": "", "a/expected.stdout": ""})
    assert ids(load_corpus(tmp_path / "fixtures", Corpus(path=".")).fixtures) == ["a", "x.py"]


def test_fixtures_without_golden_wait_for_one(loaded: Fill) -> None:
    found = loaded(
        {"a/main.py": "", "b/new.py": "", "b/old.py": "", "b/old.out": "", "b/_helper.py": "", "conftest.py": ""}
    )
    assert ids(found.fixtures) == ["fixtures/b/old.py"]
    assert ids(found.unblessed) == ["fixtures/a", "fixtures/b/new.py"]
    assert found.unblessed[0].goldens == (Golden(stdout=None),)
    assert not found.problems


def test_without_a_golden_oracle_no_golden_is_needed(loaded: Fill) -> None:
    found = loaded({"a/main.py": "", "b/new.py": ""}, oracle=CONSENSUS)
    assert ids(found.fixtures) == ["fixtures/a", "fixtures/b/new.py"]
    assert not found.unblessed


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("auto", ["fixtures/a", "fixtures/b/x.py"]),
        ("folder", ["fixtures/a"]),
        ("flat", ["fixtures/a/main.py", "fixtures/b/x.py"]),
    ],
)
def test_a_layout_can_be_asked_for(loaded: Fill, layout: str, expected: list[str]) -> None:
    found = loaded({"a/main.py": "", "b/x.py": ""}, layout=layout, oracle=CONSENSUS)
    assert ids(found.fixtures) == expected


def test_a_folder_that_may_be_both_is_ambiguous_until_the_layout_is_set(loaded: Fill) -> None:
    files: dict[str, str | bytes] = {"a/main.py": "", "a/main.out": ""}
    assert [problem.id for problem in loaded(files).problems] == ["H0309"]
    assert ids(loaded(files, layout="flat").fixtures) == ["fixtures/a/main.py"]
    assert names(loaded(files, layout="folder").unblessed[0]) == ["main.out", "main.py"]


def test_the_program_may_have_another_name(loaded: Fill) -> None:
    (fixture,) = loaded({"a/run.py": "", "a/expected.stdout": ""}, program="run.py").fixtures
    assert fixture.program == "run.py"


@links
def test_what_is_excluded_is_not_even_looked_at(loaded: Fill, tmp_path: Path) -> None:
    (tmp_path / "fixtures/drafts").mkdir(parents=True)
    (tmp_path / "fixtures/drafts/link").symlink_to("nowhere")
    found = loaded({"a/main.py": "", "a/expected.stdout": "", "a/notes.txt": ""}, exclude=("drafts", "*/notes.txt"))
    assert ids(found.fixtures) == ["fixtures/a"]
    assert names(found.fixtures[0]) == ["main.py"]
    assert not found.problems


def test_sources_stand_in_for_programs_that_are_prepared(loaded: Fill, tmp_path: Path) -> None:
    found = loaded(
        {
            "flat/one.mochi": "",
            "flat/one.out": "",
            "flat/ignored.py": "",
            "folder/two.mochi": "",
            "folder/expect.txt": "",
            "folder/data.txt": "",
            "new/three.mochi": "",
        },
        **PREPARED,
    )
    assert ids(found.fixtures) == ["fixtures/flat/one.mochi", "fixtures/folder"]
    assert ids(found.unblessed) == ["fixtures/new/three.mochi"]
    flat, folder = found.fixtures
    assert (flat.source, flat.program, flat.files) == (tmp_path / "fixtures/flat/one.mochi", "main.py", ())
    assert (folder.source, names(folder)) == (tmp_path / "fixtures/folder/two.mochi", ["data.txt"])


def test_a_folder_has_one_source_and_no_program_yet(loaded: Fill) -> None:
    found = loaded(
        {
            "none/expect.txt": "",
            "two/a.mochi": "",
            "two/b.mochi": "",
            "two/expect.txt": "",
            "made/a.mochi": "",
            "made/expect.txt": "",
            "made/main.py": "",
            "asked/a.mochi": "",
        },
        layout="folder",
        **PREPARED,
    )
    assert [problem.id for problem in found.problems] == ["H0304", "H0302", "H0309"]
    assert ids(found.unblessed) == ["fixtures/asked"]


@any_name
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("aux", "is a device on Windows"),
        ("Com1.txt", "is a device on Windows"),
        ("nul .txt", "is a device on Windows"),
        ("COM¹", "is a device on Windows"),
        ("a.", "ends with a dot"),
        ("a ", "ends with a blank"),
        ("a:b", "has the reserved character ':'"),
        ("a?", "has the reserved character '?'"),
        ("a\\b", "has the reserved character '\\\\'"),
        ("a\x1bb", "has the character U+001B"),
        ("a\x85b", "has the character U+0085"),
        ("e\u0301", "is not in Unicode normal form C"),
    ],
)
def test_a_name_that_some_platform_cannot_take_is_refused(loaded: Fill, name: str, reason: str) -> None:
    found = loaded({"a/main.py": "", "a/expected.stdout": "", f"a/{name}": ""})
    assert not found.fixtures
    assert [problem.id for problem in found.problems] == ["H0306"]
    assert reason in found.problems[0].message


@any_name
def test_a_name_that_is_no_text_is_refused_in_words_that_can_be_written(loaded: Fill, tmp_path: Path) -> None:
    loaded({"a/main.py": "", "a/expected.stdout": ""})
    (tmp_path / os.fsdecode(b"fixtures/a/\xff")).write_bytes(b"")
    (problem,) = loaded({}).problems
    assert problem.id == "H0306"
    assert str(problem).encode()


@any_name
@pytest.mark.parametrize(
    ("first", "second"), [("readme", "Readme"), ("straße", "STRASSE"), ("d/x", "D/y"), ("k", "\N{KELVIN SIGN}x/y")]
)
def test_names_that_fall_together_somewhere_are_refused(loaded: Fill, first: str, second: str) -> None:
    found = loaded({"a/main.py": "", "a/expected.stdout": "", f"a/{first}": "", f"a/{second}": ""})
    expected = [] if "\N{KELVIN SIGN}" in second else ["H0304"]
    assert [problem.id for problem in found.problems if problem.id != "H0306"] == expected


@links
@pytest.mark.parametrize("link", ["a/data.txt", "a/inner", "b", "a/main.py"])
def test_links_are_told_and_not_followed(loaded: Fill, tmp_path: Path, link: str) -> None:
    (tmp_path / "fixtures/a").mkdir(parents=True)
    (tmp_path / "fixtures" / link).symlink_to(tmp_path)
    files: dict[str, str | bytes] = {"a/expected.stdout": ""}
    if link != "a/main.py":
        files["a/main.py"] = ""
    found = loaded(files)
    assert f"H0211 fixtures/{link}: is a symbolic link" in told(found)


@links
def test_a_pipe_is_no_file(loaded: Fill, tmp_path: Path) -> None:
    loaded({"a/main.py": "", "a/expected.stdout": ""})
    os.mkfifo(tmp_path / "fixtures/a/pipe")
    assert told(loaded({})) == ["H0101 fixtures/a/pipe: is neither a file nor a folder"]


def test_a_folder_that_is_not_there_is_told() -> None:
    found = load_corpus(Path("/nonexistent"), Corpus(path="fixtures"))
    assert told(found) == ["H0101 fixtures: the folder cannot be read: No such file or directory"]
    assert load_corpus(Path("/"), Corpus(path="a\0b")).problems


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs to become another user")
def test_unreadable_parts_are_told(loaded: Fill, open_folder: Path) -> None:
    loaded({"a/main.py": "", "a/expected.stdout": "", "a/expected.exit": "1", "b/main.py": ""})
    (open_folder / "fixtures/a/expected.exit").chmod(0)
    (open_folder / "fixtures/b").chmod(0)
    program = f"""if True:
        import os, sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from harness.fixtures import load_corpus
        from harness.model.cell import Corpus
        os.seteuid(65534)
        for problem in load_corpus(Path({str(open_folder)!r}), Corpus(path="fixtures")).problems:
            print(problem)
        os.seteuid(0)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "error[H0101]: fixtures/a: expected.exit cannot be read: Permission denied",
        "error[H0101]: fixtures/b: the folder cannot be read: Permission denied",
    ], done.stderr


def test_the_projects_own_corpus_is_whole() -> None:
    found = load_corpus(ROOT, Corpus(path="fixtures"))
    assert found.fixtures
    assert not told(found)
    assert not found.unblessed


def test_folders_without_fixture_yaml_load_neither_yaml_nor_pydantic(loaded: Fill, tmp_path: Path) -> None:
    loaded({"a/main.py": "", "a/expected.stdout": ""})
    program = f"""if True:
        import sys
        from pathlib import Path
        from harness.fixtures import load_corpus, read_payload
        from harness.model.cell import Corpus
        (one,) = load_corpus(Path({str(tmp_path)!r}), Corpus(path="fixtures")).fixtures
        read_payload(one)
        assert not {{"yaml", "pydantic", "packaging"}} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
