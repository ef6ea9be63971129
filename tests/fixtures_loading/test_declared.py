"""What fixture.yaml adds: arguments, environment, conditions, files, and goldens that vary with the cell."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.fixtures import Loaded, load_corpus
from harness.fixtures.schema import json_schema
from harness.model.cell import Corpus, Normalisation, Oracle
from harness.model.fixture import Condition, Fixture, Limits
from harness.model.rule import Rule

Fill = Callable[..., Loaded]
PLAIN: dict[str, str | bytes] = {"a/main.py": "", "a/expected.stdout": ""}


def only(found: Loaded) -> Fixture:
    assert not found.problems, found.problems
    (fixture,) = (*found.fixtures, *found.unblessed)
    return fixture


def test_a_declaration_says_everything_that_it_can_say(loaded: Fill, tmp_path: Path) -> None:
    declaration = """
args: [-n, 3.10, no, ""]
env: {LANG: de_DE.UTF-8, EMPTY: ""}
files: {shared/table.csv: common/table.csv}
timeout: 2.5
output-limit: 1000
tags: [slow, text, slow]
requires-python: ">=3.12"
only: {when: os=linux, because: "reads /proc"}
skip:
  - {when: libc=musl, because: "no locales"}
  - {when: "python<3.13", because: "new syntax"}
normalise: [final-newline, crlf]
"""
    files = {**PLAIN, "a/fixture.yaml": declaration, "common/table.csv": "1"}
    fixture = only(loaded(files, normalise=(Normalisation(name="crlf"),)))
    assert fixture.args == ("-n", "3.10", "no", "")
    assert fixture.env == (("LANG", "de_DE.UTF-8"), ("EMPTY", ""))
    assert fixture.files[1] == ("shared/table.csv", tmp_path / "fixtures/common/table.csv")
    assert fixture.limits == Limits(timeout=2.5, output=1000)
    assert fixture.tags == ("slow", "text")
    assert fixture.requires_python == ">=3.12"
    assert fixture.only == (Condition(rule=Rule.parse("os=linux"), because="reads /proc"),)
    assert [condition.because for condition in fixture.skip] == ["no locales", "new syntax"]
    assert [one.name for one in fixture.normalise] == ["crlf", "final-newline"]


def test_what_is_not_said_comes_from_the_corpus(loaded: Fill) -> None:
    fixture = only(loaded({**PLAIN, "a/fixture.yaml": "tags: [x]"}, timeout=3.0))
    assert fixture.limits == Limits(timeout=3.0)


def test_an_empty_list_of_normalisations_asks_for_raw_bytes(loaded: Fill) -> None:
    fixture = only(loaded({**PLAIN, "a/fixture.yaml": "normalise: []"}, normalise=(Normalisation(name="crlf"),)))
    assert fixture.is_raw
    assert fixture.normalise == ()
    assert not only(loaded({**PLAIN, "a/fixture.yaml": "tags: [x]"})).is_raw


def test_goldens_vary_with_the_cell_and_are_no_data(loaded: Fill, tmp_path: Path) -> None:
    declaration = """
goldens:
  - {when: libc=musl, stdout: expected.musl.stdout, because: "other strerror"}
  - {when: os=windows, stderr: windows.stderr, exit: 4294967295, because: "other status"}
  - {exit: 2}
"""
    files = {**PLAIN, "a/fixture.yaml": declaration, "a/expected.musl.stdout": "", "a/windows.stderr": "", "a/data": ""}
    fixture = only(loaded(files))
    folder = tmp_path / "fixtures/a"
    musl, windows, linux = (fixture.golden_for(axes) for axes in ({"libc": "musl"}, {"os": "windows"}, {"os": "linux"}))
    assert (musl.stdout, musl.exit, musl.because) == (folder / "expected.musl.stdout", 2, "other strerror")
    assert (windows.stdout, windows.stderr, windows.exit) == (
        folder / "expected.stdout",
        folder / "windows.stderr",
        4294967295,
    )
    assert (linux.stdout, linux.stderr, linux.exit, linux.when) == (folder / "expected.stdout", None, 2, None)
    assert [name for name, _ in fixture.files] == ["data", "main.py"]


def test_one_file_may_serve_several_goldens(loaded: Fill) -> None:
    declaration = """
goldens:
  - {stdout: out}
  - {when: libc=musl, stdout: expected.musl, because: x}
  - {when: libc=bionic, stdout: expected.musl, because: x}
  - {when: os=macos, stdout: out, because: x}
"""
    fixture = only(loaded({"a/main.py": "", "a/out": "", "a/expected.musl": "", "a/fixture.yaml": declaration}))
    assert [golden.stdout.name for golden in fixture.goldens if golden.stdout] == [
        "expected.musl",
        "expected.musl",
        "out",
        "out",
    ]


def test_the_general_entry_may_name_the_usual_file(loaded: Fill) -> None:
    fixture = only(loaded({**PLAIN, "a/fixture.yaml": "goldens: [{stdout: expected.stdout}]"}))
    assert [name for name, _ in fixture.files] == ["main.py"]


def test_an_exit_status_is_said_once(loaded: Fill) -> None:
    found = loaded({**PLAIN, "a/expected.exit": "1", "a/fixture.yaml": "goldens: [{exit: 2}]"})
    assert [problem.id for problem in found.problems] == ["H0310"]


def test_variants_need_no_general_golden_where_the_oracle_is_another(loaded: Fill) -> None:
    declaration = "goldens: [{when: os=windows, exit: 3, because: x}]"
    fixture = only(loaded({"a/main.py": "", "a/fixture.yaml": declaration}, oracle=Oracle(kind="consensus")))
    assert fixture.goldens[-1].stdout is None


def test_a_declared_fixture_without_golden_waits_for_one(loaded: Fill) -> None:
    found = loaded({"a/main.py": "", "a/fixture.yaml": "args: [x]"})
    assert [fixture.id for fixture in found.unblessed] == ["fixtures/a"]


def test_the_declaration_may_name_the_program(loaded: Fill) -> None:
    assert (
        only(loaded({"a/run.py": "", "a/expected.stdout": "", "a/fixture.yaml": "program: run.py"})).program == "run.py"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there that tests lack")
def test_files_are_not_taken_through_links(loaded: Fill, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"")
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "fixtures/out").symlink_to(tmp_path)
    found = loaded({**PLAIN, "a/fixture.yaml": "files: {data: out/secret}"}, exclude=("out",))
    assert [problem.id for problem in found.problems] == ["H0211"]


@pytest.mark.parametrize("name", ["data", "data/inner/x"])
def test_a_file_cannot_be_a_folder_too(loaded: Fill, name: str) -> None:
    other = "data" if "/" in name else "data/inner"
    found = loaded({**PLAIN, f"a/{name}": "", "a/fixture.yaml": f"files: {{{other}: a/main.py}}"})
    assert [problem.id for problem in found.problems] == ["H0304"]


def test_the_json_schema_names_every_key() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert {"args", "goldens", "output-limit", "requires-python"} <= set(schema["properties"])
    assert all("description" in value for value in schema["properties"].values())


KEYS = st.sampled_from(
    [
        "args",
        "env",
        "files",
        "timeout",
        "output-limit",
        "tags",
        "requires-python",
        "goldens",
        "when",
        "stdout",
        "stderr",
        "exit",
        "because",
        "only",
        "skip",
        "normalise",
        "program",
        "zzz",
    ]
)
VALUES = st.sampled_from(
    ["x", "1", "[x]", "[]", "{}", "os=linux", "{when: os=linux, because: y}", "main.py", "", "'\\0'"]
)
LINES = st.lists(st.tuples(KEYS, VALUES).map(lambda pair: f"{pair[0]}: {pair[1]}\n"), max_size=4).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES.map(str.encode) | st.binary(max_size=60))
def test_whatever_stands_in_a_declaration_is_loaded_or_told(tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / "fixtures/a"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_bytes(b"")
    (folder / "expected.stdout").write_bytes(b"")
    (folder / "fixture.yaml").write_bytes(data)
    found = load_corpus(tmp_path, Corpus(path="fixtures"))
    assert bool(found.fixtures) != bool(found.problems)
