"""Text to located values and models: nothing is guessed, everything wrong is said, and only InputError comes out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from harness.document import MAX_BYTES, Document, Text, in_order, nearest, parse, read, reader
from harness.errors import InputError, Place, Problem
from harness.matrix.fields import Closed, Words

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]
ROOT = Path(__file__).parents[1]


class Shelf(Closed):
    """A model to validate against."""

    books: Words
    rows: dict[str, Words] = Field(default_factory=dict)


@pytest.fixture(params=LOADERS, ids=lambda loader: str(loader.__name__))
def either_loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LOADER", request.param)


def problems_of(data: bytes) -> tuple[Problem, ...]:
    with pytest.raises(InputError) as caught:
        parse(data, "x.yaml").validate(Shelf)
    return caught.value.problems


@pytest.mark.usefixtures("either_loader")
@pytest.mark.parametrize("written", ["3.10", "no", "0x10", "1_000", "2024-01-01", "~", "null", "1:30", "=", ".inf"])
def test_scalars_stay_the_text_that_was_written(written: str) -> None:
    document = parse(f"books: [{written}]\n".encode(), "x.yaml")
    assert document.root == {"books": [written]}
    assert document.validate(Shelf).books == [written]


@pytest.mark.usefixtures("either_loader")
def test_quotes_are_remembered() -> None:
    root: Any = parse(b"[3.1, '3.1', \"3.1\"]\n", "x.yaml").root
    assert [item.plain for item in root] == [True, False, False]


@pytest.mark.usefixtures("either_loader")
def test_all_mistakes_of_a_file_are_told_at_once_and_in_order() -> None:
    data = b"boks: [&a x]\nrows:\n  one: *a\n  two: y\n  two: [z]\n  three: [[]]\n"
    assert [str(problem) for problem in problems_of(data)] == [
        "error[H0107]: x.yaml:1:1: lacks the key 'books'",
        "error[H0106]: x.yaml:1:1: boks: unknown key; did you mean 'books'?",
        "error[H0104]: x.yaml:1:8: an anchor, &a; leave it out",
        "error[H0104]: x.yaml:3:8: an alias, *a; write the value out",
        "error[H0108]: x.yaml:4:8: rows.two: expects a list, found the text 'y'",
        "error[H0105]: x.yaml:5:3: the key 'two' was already on line 4",
        "error[H0108]: x.yaml:6:11: rows.three[0]: expects a text, found a list",
    ]


@pytest.mark.usefixtures("either_loader")
def test_a_place_counts_characters_not_bytes() -> None:
    (problem,) = problems_of("books: ['é😀', []]\n".encode())
    assert problem.place == Place(path="x.yaml", line=1, column=15)


@pytest.mark.usefixtures("either_loader")
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ("{a: ", "}"), ("- ", ""), ("? ", "")])
def test_any_depth_of_nesting_is_refused_without_recursion(opening: str, closing: str) -> None:
    levels = 100_000 if reader.LOADER is not yaml.SafeLoader else 2_000
    assert problems_of((opening * levels + closing * levels).encode())[-1].id == "H0110"


@pytest.mark.usefixtures("either_loader")
@pytest.mark.parametrize(
    "text",
    ['books: ["\\ud800"]', 'books: ["\\UFFFFFFFF"]', "%YAML " + "9" * 5000 + ".1\n---\n{}", "books: [!<\n"],
    ids=["surrogate", "beyond-unicode", "endless-version", "tag-without-end"],
)
def test_what_makes_a_yaml_library_raise_something_else_is_not_yaml(text: str) -> None:
    assert {problem.id for problem in problems_of(text.encode())} == {"H0103"}


@pytest.mark.usefixtures("either_loader")
def test_an_empty_key_is_reported_and_its_value_left_out() -> None:
    assert [(one.id, one.place) for one in problems_of(b"? \n: x\nbooks: []\n")] == [
        ("H0108", Place(path="x.yaml", line=1, column=2))
    ]


@pytest.mark.usefixtures("either_loader")
@pytest.mark.parametrize("data", [b"books: [" + b"&a a," * 5000 + b"]", b"books: [" + b"[]," * 5000 + b"]"])
def test_two_hundred_problems_are_enough(data: bytes) -> None:
    assert len(problems_of(data)) == 200


def test_a_complaint_without_a_place_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(yaml.SafeLoader):
        def check_event(self, *choices: Any) -> bool:
            raise yaml.YAMLError("no place at all\nsecond line")

    monkeypatch.setattr(reader, "LOADER", Refusing)
    (problem,) = problems_of(b"a: b\n")
    assert str(problem) == "error[H0103]: x.yaml: cannot be read as YAML: no place at all"


def test_a_file_over_four_mebibytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(InputError) as caught:
        read(path)
    assert caught.value.problems[0].id == "H0112"
    path.write_bytes(b"books: [a]\n#" + b"-" * 100_000)
    assert read(path).validate(Shelf).books == ["a"]


@pytest.mark.parametrize("name", [".", "missing.yaml", "a\0b"])
def test_what_cannot_be_read_is_an_input_error_with_the_reason(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path / name, "shown")
    assert str(caught.value).startswith("error[H0101]: shown: cannot be read: ")


def test_a_message_repeats_no_endless_value() -> None:
    (problem,) = problems_of(b"books: []\nrows: {" + b"x" * 900 + b": 1}\n")
    assert problem.id == "H0108"
    assert len(problem.message) < 700


def test_a_message_repeats_no_endless_anchor() -> None:
    assert len(problems_of(b"books: [&" + b"x" * 5000 + b" a]")[0].message) < 700


def test_a_long_text_is_shortened_where_it_is_shown() -> None:
    (problem,) = problems_of(b"books: " + b"x" * 900 + b"\n")
    assert problem.message == f"books: expects a list, found the text {'x' * 40 + '...'!r}"


def test_an_unnested_problem_is_at_the_root() -> None:
    document = parse(b"# one\nbooks: [a]\n", "x.yaml")
    assert str(document.problem("H0108", (), "odd")) == "error[H0108]: x.yaml:2:1: odd"
    assert str(document.problem("H0108", ("absent",), "odd")) == "error[H0108]: x.yaml:2:1: odd"


def test_problems_without_a_place_come_first() -> None:
    placed = Problem(id="H0101", message="b", place=Place(path="a"))
    lost = Problem(id="H0101", message="a")
    assert in_order([placed, lost]) == [lost, placed]


def test_known_words_are_listed_where_none_is_near() -> None:
    assert nearest("zzz", ["a", "b"]) == "there are a, b"
    assert nearest("zzz", ["a"]) == "there is a"
    assert nearest("zzz", []) == "there is none"
    assert nearest("zzz", [str(number) for number in range(20)]).endswith(", 11, ...")


def test_reading_a_document_is_the_first_that_imports_yaml_and_validating_it_pydantic() -> None:
    program = """if True:
        import sys, harness.document
        from pathlib import Path
        assert not {"yaml", "pydantic"} & set(sys.modules)
        harness.document.read(Path("matrix.yaml"))
        assert "yaml" in sys.modules and "pydantic" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


YAMLISH = st.text(st.sampled_from("ab: -?[]{},\n\t#&*!|>'\"%@`<=~0.1\\\u0085\u2028\ufeffé"), max_size=80)


@given(st.binary(max_size=200) | YAMLISH.map(str.encode) | st.text(max_size=80).map(lambda text: text.encode("utf-16")))
def test_no_bytes_raise_anything_but_an_input_error(data: bytes) -> None:
    problems: tuple[Problem, ...] = ()
    document: Document | None = None
    try:
        document = parse(data, "x.yaml")
        document.validate(Shelf)
    except InputError as error:
        problems = error.problems
    assert problems or document


@given(st.lists(st.text(max_size=20), max_size=5))
def test_texts_come_back_as_they_were_dumped(texts: list[str]) -> None:
    dumped = yaml.safe_dump({"books": texts}, default_style='"', allow_unicode=False)
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for text in texts for char in text):
        assert {problem.id for problem in problems_of(dumped.encode())} == {"H0103"}
    else:
        found = parse(dumped.encode(), "x.yaml").validate(Shelf).books
        assert found == texts
        assert not any(isinstance(text, Text) for text in found)
