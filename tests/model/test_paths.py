"""Names that every platform can take, and paths that stay under their root."""

from __future__ import annotations

import pytest

from harness.model.paths import folded, name_trouble, path_trouble


@pytest.mark.parametrize(
    "name", ["a", "a b", "main.py", "naïve", "日本語", "-x", "@", "console", "com", "a" * 255, ".x"]
)
def test_an_ordinary_name_is_no_trouble(name: str) -> None:
    assert not name_trouble(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "con", "CON.txt", "conin$", "lpt9.x.y", "a\n", "\ud800", "a" * 256, "é" * 128, "a\t.py"],
)
def test_a_name_that_is_refused_somewhere_is_trouble_everywhere(name: str) -> None:
    assert name_trouble(name)


@pytest.mark.parametrize("path", ["a", "a/b.txt", "a b/c"])
def test_a_relative_path_is_no_trouble(path: str) -> None:
    assert not path_trouble(path)


@pytest.mark.parametrize(
    "path",
    ["", "/a", "../a", "a/../b", "a//b", "a/", "./a", "c:/a", "C:a", "\\\\host\\share", "a\\b", "a/nul", "a\0b", "a."],
)
def test_a_path_that_may_leave_its_root_is_trouble(path: str) -> None:
    assert path_trouble(path)


def test_names_that_differ_in_case_or_form_fold_together() -> None:
    assert folded("Straße") == folded("STRASSE")
    assert folded("\u00e9") == folded("E\u0301")
