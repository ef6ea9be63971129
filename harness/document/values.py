"""Located values: what a configuration file says, each part with its line and column, before any schema."""

from __future__ import annotations

from typing import Any, Protocol

MAX_PROBLEMS = 200  # of one file: more help nobody, and finding the places of a million takes long
_LONGEST = 600


class Mark(Protocol):
    """A 0-based position, as PyYAML counts."""

    @property
    def line(self) -> int:
        """Lines before it."""
        ...

    @property
    def column(self) -> int:
        """Characters before it on its line."""
        ...


class Text(str):
    """A scalar as written; ``plain`` tells that it had no quotes, which is where YAML guesses types."""

    __slots__ = ("mark", "plain")
    mark: Mark
    plain: bool


class Block(dict[Text, Any]):
    """A mapping; its keys know their own places. ``known`` are the keys that its model has, once validated."""

    __slots__ = ("known", "mark")
    mark: Mark
    known: tuple[str, ...]


class Items(list[Any]):
    """A sequence."""

    __slots__ = ("mark",)
    mark: Mark


class Empty:
    """The absence of a value: ``key:`` with nothing behind it, or what could not be read."""

    __slots__ = ("mark",)

    def __init__(self, mark: Mark) -> None:
        self.mark = mark


def shortened(message: str) -> str:
    """A message that repeats no endless value."""
    return message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."


Value = Text | Block | Items | Empty
