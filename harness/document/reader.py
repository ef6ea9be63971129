"""YAML text to located values, from parser events, and with an InputError for whatever is no plain YAML.

Events, not ``yaml.compose``: that recurses in C, and 200 000 brackets end the process with a segmentation fault.
Here the depth is counted while the values are built, and anchors, tags and double keys are met where they stand.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from harness.document.values import MAX_PROBLEMS, Block, Empty, Items, Mark, Text, Value, shortened
from harness.errors import InputError, Place, Problem

MAX_DEPTH = 32
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNSPEAKABLE = re.compile("[\x00\ud800-\udfff]")


def decoded(data: bytes, name: str) -> str:
    """The text of a file; raise InputError at the first byte that is not UTF-8 or cannot stand in YAML."""

    def refusal(id: str, message: str, before: str) -> InputError:
        place = Place(path=name, line=before.count("\n") + 1, column=len(before) - before.rfind("\n"))
        return InputError(Problem(id=id, place=place, message=message))

    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        found = "a byte order mark" if data[0] == 0xEF else "the byte order mark of UTF-16"
        raise refusal("H0102", f"begins with {found}", "")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        raise refusal("H0102", f"byte 0x{data[error.start]:02X} is not UTF-8", before) from None
    odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if odd:
        raise refusal("H0103", f"the character U+{ord(odd[0]):04X} cannot stand in YAML", text[: odd.start()])
    return text


def located(text: str, name: str) -> tuple[Value, list[Problem]]:
    """The one document of a text with what is wrong with it but lets the rest be read; raise InputError otherwise."""
    reading = _Reading(name)
    try:
        root = reading.root(text)
    except yaml.MarkedYAMLError as error:
        reading.report("H0103", _syntax(error, text), error.problem_mark or error.context_mark)
        root = None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # escapes and versions beyond any bound
        reading.report("H0103", f"cannot be read as YAML: {str(error).splitlines()[0]}", None)
        root = None
    if root is None:
        raise InputError(reading.problems)
    return root, reading.problems


class _Reading:
    """The state of one reading: problems so far, and the mappings and sequences that are still open."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[Problem] = []
        self.open: list[_Open] = []

    def report(self, id: str, message: str, mark: Mark | None) -> None:
        place = Place(path=self.name, line=mark.line + 1, column=mark.column + 1) if mark else Place(path=self.name)
        self.problems.append(Problem(id=id, place=place, message=shortened(message)))

    def root(self, text: str) -> Value | None:
        """The value of the one document; None when there is none or it is too deep."""
        root: Value | None = None
        top: _Open | None = None
        event: Any
        for event in yaml.parse(text, Loader=LOADER):
            kind: Any = type(event)
            if kind in _NODES:
                value = self._value(event, kind)
                if len(self.problems) >= MAX_PROBLEMS:
                    return None
                if top is None:
                    root = value
                else:
                    top.add(value, self)
                if kind in _STARTS:
                    top = _Open(value)
                    self.open.append(top)
                    if len(self.open) > MAX_DEPTH:
                        self.report("H0110", f"nested more than {MAX_DEPTH} levels deep", value.mark)
                        return None
            elif kind in _ENDS:
                self.open.pop()
                top = self.open[-1] if self.open else None
            elif isinstance(event, DocumentStartEvent):
                if root is not None:
                    self.report("H0104", "a second document; keep one to a file", event.start_mark)
                    return root
                if event.version or event.tags:
                    self.report("H0104", "a %-directive; leave it out", event.start_mark)
        if root is None or (isinstance(root, Empty) and not self.problems):
            self.report("H0111", "is empty", None)
            return None
        return root

    def _value(self, event: Any, kind: Any) -> Any:
        mark = event.start_mark
        if kind is AliasEvent:
            self.report("H0104", f"an alias, *{event.anchor}; write the value out", mark)
            return Empty(mark)
        if event.anchor is not None:
            self.report("H0104", f"an anchor, &{event.anchor}; leave it out", mark)
        if event.tag is not None:
            self.report("H0104", f"a tag, {event.tag}; leave it out", mark)
        if kind is ScalarEvent:
            written = event.value
            plain = not event.style
            if plain and not written:
                return Empty(mark)
            if not plain and (odd := _UNSPEAKABLE.search(written)):
                self.report("H0103", f"the character U+{ord(odd[0]):04X} fits no argument, path or variable", mark)
                return Empty(mark)
            text = Text(written)
            text.mark, text.plain = mark, plain
            return text
        value = Block() if kind is MappingStartEvent else Items()
        value.mark = mark
        return value

    def key(self, value: Value, block: Block) -> Text | None:
        """The value as a key of ``block``; None when it was refused, and what it leads to is then left out."""
        if isinstance(value, Empty):
            self.report("H0108", "a key is missing before ':'", value.mark)
        elif not isinstance(value, Text):
            self.report("H0104", "a list or a mapping as a key; write a text", value.mark)
        elif value.plain and value == "<<":
            self.report("H0104", "a merge key, <<; write the keys out", value.mark)
        elif value in block:
            first = next(key for key in block if key == value)
            self.report("H0105", f"the key {str(value)!r} was already on line {first.mark.line + 1}", value.mark)
        else:
            return value
        return None


_STARTS = frozenset({MappingStartEvent, SequenceStartEvent})
_ENDS = frozenset({MappingEndEvent, SequenceEndEvent})
_NODES = _STARTS | {ScalarEvent, AliasEvent}


class _Open:
    """A mapping or sequence whose end has not been read; refuses keys that configuration cannot have."""

    def __init__(self, block: Block | Items) -> None:
        self.block = block
        self.wants_key = True
        self.key: Text | None = None

    def add(self, value: Value, reading: _Reading) -> None:
        if isinstance(self.block, Items):
            self.block.append(value)
        elif self.wants_key:
            self.key, self.wants_key = reading.key(value, self.block), False
        else:
            self.wants_key = True
            if self.key is not None:
                self.block[self.key] = value


def _syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    """The parser's complaint, with the one that everybody meets put plainly."""
    mark = error.problem_mark
    if mark and text[mark.index : mark.index + 1] == "\t":
        return "a tab cannot indent YAML; use blanks"
    return ", ".join(part for part in (error.context, error.problem) if part)
