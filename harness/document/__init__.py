"""Configuration text to validated models: every problem of a file at once, each at its line and column.

Scalars stay the text that was written: ``3.10`` is never 3.1, ``no`` is never False. Whatever the bytes, the only
exception is InputError. Neither PyYAML nor pydantic is imported before a file is read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.document.values import MAX_PROBLEMS, Block, Empty, Items, Mark, Text, Value, shortened
from harness.errors import InputError, Place, Problem

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    M = TypeVar("M", bound=BaseModel)

__all__ = ["Block", "Document", "Empty", "Items", "Text", "Value", "in_order", "mismatch", "nearest", "parse", "read"]

MAX_BYTES = 4 * 1024 * 1024
_SMALL = 64 * 1024
_SHOWN = 12
_COMPARED = 500

Path_ = Sequence[str | int]


def nearest(word: str, known: Sequence[str]) -> str:
    """``did you mean 'python'?`` when a known word is near, else the list of the known ones, if there are any."""
    close = difflib.get_close_matches(word, known[:_COMPARED], n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    listed = f"{', '.join(known[:_SHOWN])}{', ...' if len(known) > _SHOWN else ''}"
    return f"there {'is' if len(known) < 2 else 'are'} {listed or 'none'}"


def mismatch(wanted: str, found: object) -> str:
    """``expects a list, found the text 'x'``; of a key without a value, that it has none."""
    return f"has no value; expects {wanted}" if isinstance(found, Empty) else f"expects {wanted}, found {_kind(found)}"


def _kind(value: object) -> str:
    if isinstance(value, str):
        return f"the text {value if len(value) < 40 else value[:40] + '...'!r}"
    return "a mapping" if isinstance(value, Block) else "a list"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One file as located values. ``problems`` are those of the YAML itself; ``validate`` adds the schema's."""

    name: str
    root: Value
    problems: tuple[Problem, ...] = ()

    def problem(self, id: str, path: Path_, message: str, *, at: Value | None = None, hint: str = "") -> Problem:
        """A problem at ``path``, or the part of it that exists; its sentence begins so: ``cells[3].python: ...``."""
        trail = self._trail(path)
        dotted = "".join(_dotted(step, first=not position) for position, (step, _) in enumerate(trail))
        place = _place(self.name, (at or (trail[-1][1] if trail else self.root)).mark)
        message = f"{dotted}: {message}" if dotted else message
        return Problem(id=id, place=place, message=shortened(message), hint=hint)

    def validate(self, model: type[M]) -> M:
        """The file as ``model``; raise InputError with all its problems (at most 200), sorted by place."""
        from pydantic import ValidationError

        try:
            result = model.model_validate(self.root)
        except ValidationError as error:
            # What YAML could not give stands in the tree as Empty: it was reported where it is, once.
            reported = {problem.place for problem in self.problems}
            found = [self._translate(details) for details in error.errors(include_url=False)[:MAX_PROBLEMS]]
            raise InputError(in_order([*self.problems, *(one for one in found if one.place not in reported)])) from None
        if self.problems:
            raise InputError(in_order(self.problems))
        return result

    def _trail(self, path: Path_) -> list[tuple[Text | int, Value]]:
        """The steps of a path that exist, each with what it leads to; pydantic's tags of unions do not exist."""
        node: Any = self.root
        trail: list[tuple[Text | int, Value]] = []
        for step in path:
            if isinstance(node, Block) and step in node:
                key = next(key for key in node if key == step)
                node = node[key]
                trail.append((key, node))
            elif isinstance(node, Items) and isinstance(step, int):
                node = node[step]
                trail.append((step, node))
        return trail

    def _translate(self, error: ErrorDetails) -> Problem:
        path, code = error["loc"], error["type"]
        context: dict[str, Any] = error.get("ctx") or {}
        last = str(path[-1]) if path else ""
        if code == "extra_forbidden":
            trail = self._trail(path)
            owner: Any = trail[-2][1] if len(trail) > 1 else self.root
            return self.problem("H0106", path, f"unknown key; {nearest(last, owner.known)}", at=trail[-1][0])  # type: ignore[arg-type]
        if code == "missing":
            return self.problem("H0209" if last == "because" else "H0107", path, f"lacks the key {last!r}")
        if "message" in context:
            at = error["input"] if last == "[key]" else None
            return self.problem(code, path, context["message"], at=at, hint=context["hint"])
        if code in _RANGES:
            return self.problem("H0109", path, _RANGES[code].format(**context))
        wanted = _WANTED.get(code) or " or ".join(
            f"a {tag}" for tag in re.findall(r"<([\w ]+)>", context["expected_tags"])
        )
        return self.problem("H0108", path, mismatch(wanted, error["input"]))


_WANTED = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "string_type": "a text",
}
_RANGES = {
    "greater_than": "must be more than {gt:.15g}",
    "greater_than_equal": "must be at least {ge:.15g}",
    "less_than_equal": "must be at most {le:.15g}",
    "too_short": "needs at least {min_length} item",
    "string_too_long": "has more than {max_length} characters",
    "too_long": "has more than {max_length} entries",
}


def read(path: Path, name: str = "") -> Document:
    """Read a file; raise InputError when it cannot be read at all. Messages call it ``name``, or else by its path."""
    name = name or path.as_posix()
    try:
        with path.open("rb") as stream:
            data = stream.read(_SMALL)  # a buffer of 4 MiB for each of ten thousand small files costs 0.4 s
            if len(data) == _SMALL:
                data += stream.read(MAX_BYTES + 1 - _SMALL)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(Problem(id="H0101", place=Place(path=name), message=f"cannot be read: {reason}")) from None
    return parse(data, name)


def parse(data: bytes, name: str) -> Document:
    """Read the bytes of a file; raise InputError when they are no single YAML document of bounded size and depth."""
    from harness.document.reader import decoded, located

    if len(data) > MAX_BYTES:
        raise InputError(Problem(id="H0112", place=Place(path=name), message="is larger than 4 MiB"))
    root, problems = located(decoded(data, name), name)
    return Document(name=name, root=root, problems=tuple(problems))


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """Sorted by file, line and column."""
    return sorted(problems, key=lambda problem: _rank(problem.place))


def _rank(place: Place | None) -> tuple[str, int, int]:
    return (place.path, place.line, place.column) if place else ("", 0, 0)


def _place(name: str, mark: Mark) -> Place:
    return Place(path=name, line=mark.line + 1, column=mark.column + 1)


def _dotted(step: str | int, *, first: bool) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if re.fullmatch(r"[\w-]+", step):
        return step if first else f".{step}"
    return f"[{str(step)!r}]"
