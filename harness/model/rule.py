"""Rules: conditions over facts, one syntax wherever the matrix, a fixture or the ledger needs a condition.

``libc=musl``, ``os=windows and python<3.13``, ``not (arch=aarch64 or bits=32)``. ``and`` binds tighter than
``or``. Values of the version axes compare as versions, all others as text; an unknown fact satisfies nothing
but ``!=``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.model.expression import ExpressionError, Parser
from harness.model.platform import canonical_arch

AXES: Mapping[str, str] = {
    "os": "operating system",
    "libc": "C library",
    "libc-version": "version of the C library",
    "arch": "machine architecture",
    "bits": "width of a pointer",
    "byteorder": "byte order",
    "implementation": "Python implementation",
    "python": "Python series, major.minor",
    "patch": "full Python version",
    "build": "build of the interpreter: default, free-threaded, debug",
    "emulation": "native, qemu, wine, wasm, rosetta or unknown",
    "fs-case": "whether file names are case-sensitive",
    "encoding": "encoding of a piped stdout",
    "platform": "platform slug",
    "interpreter": "interpreter tag or name",
    "machine": "the machine that serves the cell",
}
VERSION_AXES = frozenset({"libc-version", "python", "patch", "bits"})

_COMPARISONS: Mapping[str, Callable[[object, object], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,  # type: ignore[dict-item]  # versions are tuples of ints here
    "<=": operator.le,  # type: ignore[dict-item]
    ">": operator.gt,  # type: ignore[dict-item]
    ">=": operator.ge,  # type: ignore[dict-item]
}
Axes = Mapping[str, str]


def _comparable(axis: str, value: str) -> object:
    """What compares as the axis does; None for what is unknown, and for a version without a number."""
    if axis in VERSION_AXES:
        return _version(value)
    return (canonical_arch(value) if axis == "arch" else value) or None


def _version(text: str) -> object:
    # Numbers as (length, digits): a cell may claim a number longer than Python converts to an integer.
    numbers = [number.lstrip("0") for number in re.findall(r"[0-9]+", text)]
    if not numbers:
        return None
    while numbers and not numbers[-1]:  # 3.12 and 3.12.0 are one version
        numbers.pop()
    return tuple((len(number), number) for number in numbers)


@dataclass(frozen=True, slots=True)
class Rule:
    """A parsed condition. Equal texts are equal rules; ``str`` gives back what was written."""

    text: str
    _holds: Callable[[Axes], bool] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read a rule; raise ExpressionError naming the place and, for an unknown axis, the axes there are."""
        return cls(text, _RuleParser(text).parse())

    def matches(self, axes: Axes) -> bool:
        """Tell whether the condition holds for these facts (axis name to value; missing means unknown)."""
        return self._holds(axes)

    def __str__(self) -> str:
        return self.text


class _RuleParser(Parser[Axes]):
    token = re.compile(r"\s*(?:(?P<paren>[()])|(?P<op>!=|<=|>=|==|=|<|>)|(?P<word>[A-Za-z0-9_.+/*-]+))")
    what = "a rule"

    def leaf(self) -> Callable[[Axes], bool]:
        axis, at = self.take("word", "the name of a fact")
        if axis not in AXES:
            raise ExpressionError(f"{axis!r} is no fact; there are {', '.join(AXES)}", at)
        op, op_at = self.take("op", "one of = != < <= > >=")
        value, value_at = self.take("word", "a value")
        op = "=" if op == "==" else op
        if op not in ("=", "!=") and axis not in VERSION_AXES:
            raise ExpressionError(f"{axis} has no order; use = or !=", op_at)
        if axis in VERSION_AXES and not re.fullmatch(r"[0-9]+(\.[0-9]+)*", value):
            raise ExpressionError(f"{axis} compares as a version; {value!r} is none", value_at)
        wanted, compare = _comparable(axis, value), _COMPARISONS[op]

        def holds(axes: Axes) -> bool:
            actual = _comparable(axis, axes.get(axis, ""))
            return op == "!=" if actual is None else compare(actual, wanted)

        return holds
