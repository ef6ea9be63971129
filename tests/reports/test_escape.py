"""Nothing that a cell says may become a command, markup or a broken file."""

from __future__ import annotations

import re
import unicodedata
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.reports.escape import attribute, fence, markdown, terminal, workflow_safe, xml

NASTY = st.lists(
    st.one_of(
        st.text(st.characters(), max_size=5),
        st.text(st.characters(categories=["Cs", "Cc", "Cf", "Zl", "Zp", "Zs"]), max_size=2),
        st.sampled_from(
            [
                *"\n\r\t`~*_[]()<>|\\!#@&:-+=1. \x00\x1b\x7f\x85\xa0\u2028\ufeff",
                "::error::x",
                "##[error]",
                "##vso[task.x]",
                "]]>",
                "<script>",
                "@someone",
                "https://e.example",
                "www.e.example",
                "a@e.example",
                "\x1b]52;c;x\x07",
                "\u202e",
                "```",
                "GH-12",
                "&#64;",
                "&lt;b&gt;",
                "\ud800",
                "<!-- ",
                "| a |\n|---|\n",
            ]
        ),
    ),
    max_size=12,
).map("".join)


@given(NASTY)
def test_a_terminal_is_given_only_what_it_prints(text: str) -> None:
    shown = terminal(text)
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(char) for char in shown} & {
        "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN", "B",
    }  # fmt: skip
    shown.encode()
    assert terminal(shown) == shown


@given(st.binary())
def test_any_bytes_can_be_shown_on_a_terminal(data: bytes) -> None:
    assert terminal(terminal(data)) == terminal(data)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("a\n\tb\r", "a\\n\\tb\\r"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff", "\\udcff"),
        (b"\xff\x00z", "\\xff\\x00z"),
        ("naïve 語 👍", "naïve 語 👍"),
    ],
)
def test_escapes_are_visible_and_ordinary_text_is_untouched(data: str | bytes, shown: str) -> None:
    assert terminal(data) == shown


def test_newlines_and_tabs_are_kept_only_on_request() -> None:
    assert terminal("a\n\tb\r\n", keep="\n\t") == "a\n\tb\\r\n"


@given(NASTY)
def test_no_text_can_form_a_workflow_command(text: str) -> None:
    safe = workflow_safe(text)
    assert not re.search(r"##\w*\[", safe)
    assert not any(re.match(r"[\s\ufeff]*::", line) for line in re.split("[\n\r]", safe.replace("\r", "\n")))


@given(NASTY)
def test_a_text_without_commands_is_left_alone_in_a_log(text: str) -> None:
    if "#" not in text and ":" not in text:
        assert workflow_safe(text) == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("::error::x", "\\x3a:error::x"),
        ("a\n \t ::x::", "a\n \t \\x3a:x::"),
        ("a ::x::", "a ::x::"),
        ("b ###[error]", "b ##\\x23[error]"),
        ("##vso[task]", "#\\x23vso[task]"),
        ("## heading", "## heading"),
    ],
)
def test_workflow_commands_are_broken_visibly(text: str, safe: str) -> None:
    assert workflow_safe(text) == safe


def markdown_tokens(source: str) -> list[str]:
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    found: list[str] = []
    for token in parser.parse(source):
        found += [child.type for child in token.children] if token.children else [token.type]
    return found


def markdown_text(source: str) -> str:
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return "".join(child.content for token in parser.parse(source) for child in token.children or ())


@given(NASTY)
def test_text_in_markdown_stays_text(text: str) -> None:
    source = markdown(text)
    assert "\n" not in source
    assert set(markdown_tokens(source)) <= {"paragraph_open", "text", "paragraph_close", "text_special"}
    assert markdown_text(source).replace("\u200b", "") == terminal(text)
    assert workflow_safe(source) == source


@given(NASTY)
def test_what_a_renderer_of_markdown_sees_holds_no_reference(text: str) -> None:
    seen = markdown_text(markdown(text))
    assert not re.search(r"[@#]\w|://|www\.|GH-\d", seen, re.IGNORECASE)


@given(NASTY)
def test_text_in_a_markdown_table_breaks_no_cell(text: str) -> None:
    tokens = markdown_tokens(f"| a | b |\n|---|---|\n| {markdown(text)} | end |\n")
    assert tokens.count("td_open") == 2
    assert "html_inline" not in tokens
    assert not [token for token in tokens if token.startswith(("link", "code", "image", "em_", "strong"))]


@given(NASTY)
def test_lines_cannot_leave_their_fence(text: str) -> None:
    parsed = MarkdownIt().parse(fence(text, "diff"))
    assert [token.type for token in parsed] == ["fence"]
    assert workflow_safe(fence(text)) == fence(text)


@given(NASTY)
def test_xml_is_well_formed_and_says_the_text(text: str) -> None:
    element = ElementTree.fromstring(f'<?xml version="1.0"?><a b="{attribute(text)}">{xml(text)}</a>')
    said = workflow_safe(terminal(text, keep="\n\t")).encode("utf-16", "backslashreplace").decode("utf-16")
    assert element.get("b") == said
    assert (element.text or "") == said


def test_a_closed_cdata_section_is_only_text_in_xml() -> None:
    assert xml("]]>") == "]]&gt;"
