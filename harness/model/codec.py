"""Values to JSON and back: every frozen dataclass of the model, without loss and without knowing any of them.

``decode(type(value), encode(value)) == value``. The shape is closed in both directions: what is unknown,
missing or of another type is a ValueError that names its dotted path, never a guess.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from harness.model.rule import Rule

T = TypeVar("T")
_INT64 = range(-(2**63), 2**63)


class CodecError(ValueError):
    """A value or a piece of JSON that does not fit its type; ``path`` leads to it from the top."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []

    def within(self, part: str) -> CodecError:
        """The same error, seen from one level further out."""
        self.path.insert(0, part)
        return self

    def __str__(self) -> str:
        path = "".join(self.path).removeprefix(".")
        return f"{path}: {self.message}" if path else self.message


@dataclass(frozen=True, slots=True)
class _Form:
    """How one type is written and read."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def encode(value: object) -> Any:
    """Turn a dataclass or enum of the model into what ``json.dumps`` takes; fields keep their order.

    Fields that are not given to the constructor are left out: they follow from the others. Raises CodecError (a
    ValueError) where a value is not of its field's declared type, TypeError for a type that has no form here.
    """
    return _form(type(value)).encode(value)


def decode(wanted: type[T], data: object) -> T:
    """Build a value of a type from parsed JSON; raise CodecError (a ValueError) with the dotted path where it differs."""
    value: T = _form(wanted).decode(data)
    return value


# json.dumps would make an encoder for each call: three times the cost for a small value.
canonical: Callable[[object], str] = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def to_json(value: object) -> str:
    """Encode as the one JSON text of a value: ASCII, keys sorted, no blanks. Equal values have equal texts."""
    return canonical(encode(value))


def from_json(wanted: type[T], text: str | bytes) -> T:
    """Decode JSON text; raise CodecError (a ValueError) when it is no JSON, too deep, or does not fit the type."""
    try:
        return decode(wanted, json.loads(text))
    except RecursionError:
        raise CodecError("nested too deeply") from None
    except json.JSONDecodeError as error:
        raise CodecError(f"not JSON: {error}") from None


_FORMS: dict[Any, _Form] = {}


def _form(wanted: Any) -> _Form:
    if wanted not in _FORMS:
        # Built aside and published whole, so that another thread never meets half a form.
        known = dict(_FORMS)
        _compile(wanted, known)
        _FORMS.update(known)
    return _FORMS[wanted]


def _compile(wanted: Any, known: dict[Any, _Form]) -> _Form:
    if wanted in known:
        return known[wanted]
    if wanted in _PLAIN:
        form = _plain(wanted, _PLAIN[wanted])
    elif wanted in _NUMBERS:
        form = _number(wanted, *_NUMBERS[wanted])
    elif wanted in _TEXTS:
        form = _text(wanted, *_TEXTS[wanted])
    elif isinstance(wanted, type) and issubclass(wanted, Enum):
        form = _enum(wanted)
    elif get_origin(wanted) is tuple:
        form = _tuple(get_args(wanted), known)
    elif get_origin(wanted) in (Union, types.UnionType):
        form = _optional(get_args(wanted), known)
    elif isinstance(wanted, type) and is_dataclass(wanted):
        return _record(wanted, known)
    else:
        raise TypeError(f"{wanted!r} has no form in JSON here")
    known[wanted] = form
    return form


def _wrong(data: object, wanted: str) -> CodecError:
    shown = repr(data)
    return CodecError(f"{shown if len(shown) <= 60 else shown[:57] + '...'} is not {wanted}")


def _is_int64(value: int) -> bool:
    return value in _INT64  # what SQLite and every other reader of the JSON can hold


_PLAIN: dict[Any, str] = {bool: "true or false", str: "text"}
_NUMBERS: dict[Any, tuple[tuple[type, ...], Callable[[Any], bool], str]] = {
    int: ((int,), _is_int64, "an integer of 64 bits"),
    float: ((float, int), math.isfinite, "a finite number"),
}
_TEXTS: dict[Any, tuple[Callable[[Any], str], Callable[[str], Any], str]] = {
    Path: (Path.as_posix, Path, "a path"),
    Rule: (str, Rule.parse, "a rule"),
}


def _plain(wanted: Any, name: str) -> _Form:
    def same(data: Any) -> Any:
        if type(data) is not wanted:
            raise _wrong(data, name)
        return data

    return _Form(same, same)


def _number(wanted: Any, accepted: tuple[type, ...], holds: Callable[[Any], bool], name: str) -> _Form:
    def number(data: Any) -> Any:
        # type() and not isinstance(): True is no number here, and an IntEnum would not come back as one.
        if type(data) not in accepted or not holds(data):
            raise _wrong(data, name)
        return wanted(data)  # 5 in a float field is written as 5.0: equal values have equal bytes

    return _Form(number, number)


def _text(wanted: Any, write: Callable[[Any], str], read: Callable[[str], Any], name: str) -> _Form:
    def encode_text(value: Any) -> str:
        if not isinstance(value, wanted):
            raise _wrong(value, name)
        return write(value)

    def decode_text(data: Any) -> Any:
        if type(data) is not str:
            raise _wrong(data, name)
        try:
            return read(data)
        except ValueError as error:
            raise CodecError(str(error)) from None

    return _Form(encode_text, decode_text)


def _enum(wanted: type[Enum]) -> _Form:
    members: dict[object, Enum] = {member.value: member for member in wanted}
    if not all(type(value) is str for value in members):
        raise TypeError(f"{wanted!r} has members that are not text")

    def encode_member(value: Any) -> Any:
        if type(value) is not wanted:
            raise _wrong(value, f"of type {wanted.__name__}")
        return value.value

    def decode_member(data: Any) -> Any:
        if type(data) is not str or data not in members:
            raise _wrong(data, f"one of {', '.join(map(str, members))}")
        return members[data]

    return _Form(encode_member, decode_member)


def _optional(arguments: tuple[Any, ...], known: dict[Any, _Form]) -> _Form:
    present = [argument for argument in arguments if argument is not types.NoneType]
    if len(present) != 1:
        raise TypeError(f"{arguments!r}: only a union of one type and None has a form in JSON here")
    inner = _compile(present[0], known)

    def encode_optional(value: Any) -> Any:
        return None if value is None else inner.encode(value)

    def decode_optional(data: Any) -> Any:
        return None if data is None else inner.decode(data)

    return _Form(encode_optional, decode_optional)


def _tuple(arguments: tuple[Any, ...], known: dict[Any, _Form]) -> _Form:
    variadic = len(arguments) == 2 and arguments[1] is Ellipsis
    items = [_compile(argument, known) for argument in (arguments[:1] if variadic else arguments)]
    wanted = "a list" if variadic else f"a list of {len(items)}"

    def walk(data: Any, sequence: type[Any], steps: list[Callable[[Any], Any]]) -> list[Any]:
        if not (type(data) is sequence and (variadic or len(data) == len(steps))):
            raise _wrong(data, wanted)
        done: list[Any] = []
        try:
            if variadic:
                step = steps[0]
                for item in data:
                    done.append(step(item))  # the length so far is the index of the culprit
            else:
                for step, item in zip(steps, data, strict=True):
                    done.append(step(item))
        except CodecError as error:
            raise error.within(f"[{len(done)}]") from None
        return done

    encoders = [item.encode for item in items]
    decoders = [item.decode for item in items]
    return _Form(lambda value: walk(value, tuple, encoders), lambda data: tuple(walk(data, list, decoders)))


def _record(wanted: type[Any], known: dict[Any, _Form]) -> _Form:
    encoders: list[tuple[str, Callable[[Any], Any]]] = []
    decoders: list[tuple[str, Callable[[Any], Any]]] = []

    def encode_record(value: Any) -> dict[str, Any]:
        if type(value) is not wanted:
            raise _wrong(value, f"of type {wanted.__name__}")
        done: dict[str, Any] = {}
        name = ""
        try:
            for name, step in encoders:  # the name is the place in case of an error
                done[name] = step(getattr(value, name))
        except CodecError as error:
            raise error.within(f".{name}") from None
        return done

    def decode_record(data: Any) -> Any:
        if type(data) is not dict:
            raise _wrong(data, f"an object ({wanted.__name__})")
        done: dict[str, Any] = {}
        name = ""
        try:
            for name, step in decoders:
                if name not in data:
                    raise CodecError("missing")
                done[name] = step(data[name])
        except CodecError as error:
            raise error.within(f".{name}") from None
        if len(data) != len(done):
            raise CodecError("unknown").within(f".{min(key for key in data if key not in done)}")
        try:
            return wanted(**done)
        except ValueError as error:  # a type that checks its own values
            raise CodecError(str(error)) from None

    # Known before its fields are: a verdict holds verdicts.
    form = known[wanted] = _Form(encode_record, decode_record)
    hints = get_type_hints(wanted)
    for member in fields(wanted):
        if member.init:
            step = _compile(hints[member.name], known)
            encoders.append((member.name, step.encode))
            decoders.append((member.name, step.decode))
    return form
