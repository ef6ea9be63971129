"""Boolean expressions: ``and``, ``or``, ``not`` and parentheses over leaves that each user defines.

One grammar serves rules (``libc=musl and python<3.13``) and selections (``-k "json and not slow"``). ``and`` binds
tighter than ``or``. A parsed expression is a function of whatever its leaves look at.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

Subject = TypeVar("Subject")


class ExpressionError(ValueError):
    """A text that is no expression; ``offset`` is the 0-based character at which reading stopped."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class Parser(ABC, Generic[Subject]):
    """A recursive-descent reader. ``token`` is a pattern with the groups ``paren`` and ``word`` (and others)."""

    token: re.Pattern[str]
    what = "expression"

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        position, end = 0, len(text.rstrip())
        while position < end:
            match = self.token.match(text, position)
            if match is None:
                start = len(text) - len(text[position:].lstrip())
                raise ExpressionError(f"{text[start]!r} has no meaning in {self.what}", start)
            kind = match.lastgroup or ""
            self._tokens.append((kind, match[kind], match.start(kind)))
            position = match.end()

    @abstractmethod
    def leaf(self) -> Callable[[Subject], bool]:
        """Read one leaf; the word or sign that starts it has not been taken yet."""

    def parse(self) -> Callable[[Subject], bool]:
        """Read the whole text; raise ExpressionError with the place when it is none."""
        if not self._tokens:
            raise ExpressionError(f"{self.what} is empty", 0)
        node = self._either()
        _, text, offset = self._peek()
        if text:
            raise ExpressionError(f"{text!r} is too much here; join conditions with 'and' or 'or'", offset)
        return node

    def take(self, kind: str, wanted: str) -> tuple[str, int]:
        """Take the next token, which must be of this kind; return its text and offset."""
        found, text, offset = self._peek()
        if found != kind:
            raise ExpressionError(f"expected {wanted}, found {repr(text) if text else 'the end'}", offset)
        self._next += 1
        return text, offset

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "", len(self.text))

    def _takes(self, kind: str, text: str) -> bool:
        if self._peek()[:2] != (kind, text):
            return False
        self._next += 1
        return True

    def _either(self) -> Callable[[Subject], bool]:
        parts = [self._both()]
        while self._takes("word", "or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda subject: any(part(subject) for part in parts)

    def _both(self) -> Callable[[Subject], bool]:
        parts = [self._term()]
        while self._takes("word", "and"):
            parts.append(self._term())
        return parts[0] if len(parts) == 1 else lambda subject: all(part(subject) for part in parts)

    def _term(self) -> Callable[[Subject], bool]:
        # Iterative over "not", and depth-limited below, so that no input can exhaust the stack.
        negated = False
        while self._takes("word", "not"):
            negated = not negated
        if self._takes("paren", "("):
            if self.text.count("(") > 50:
                raise ExpressionError("more than 50 parentheses", self._peek()[2])
            inner = self._either()
            _, text, offset = self._peek()
            if not self._takes("paren", ")"):
                raise ExpressionError(f"expected ')', found {repr(text) if text else 'the end'}", offset)
        else:
            inner = self.leaf()
        return (lambda subject: not inner(subject)) if negated else inner
