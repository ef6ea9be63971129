"""Field types that matrix and fixture files share: text in, domain values out, refusals with a stable id.

Everything arrives as located text (see ``harness.document``); a field reads it and says what is wrong in one
sentence. Importing this module imports pydantic: do so only where a file is validated.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, NoReturn, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    StrictStr,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from harness.document import Block, Items, Text, mismatch, nearest
from harness.model.cell import Normalisation, Tier
from harness.model.expression import ExpressionError
from harness.model.paths import path_trouble
from harness.model.platform import Platform, PythonTag
from harness.model.rule import Rule

LOCAL = "local"
NORMALISATIONS = ("final-newline", "crlf")


class Closed(BaseModel):
    """A mapping with these keys and no others; ``timeout_scale`` is written ``timeout-scale``."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=lambda name: name.replace("_", "-"))

    @model_validator(mode="before")
    @classmethod
    def _note_keys(cls, data: Any) -> Any:
        if isinstance(data, Block):
            data.known = tuple(field.alias or name for name, field in cls.model_fields.items())
        return data


class ClosedSchema(GenerateJsonSchema):
    """JSON Schema of what may be written: an absent key is absent, never null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """The schema of the value itself."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The default where there is one to show."""
        shown = super().default_schema(schema)
        return {key: value for key, value in shown.items() if (key, value) != ("default", None)}

    def field_title_should_be_set(self, schema: object) -> bool:
        """Keys are their own titles."""
        return False


def refuse(id: str, message: str, hint: str = "") -> NoReturn:
    """End the reading of a field with this error of the catalogue."""
    raise PydanticCustomError(id, "{message}", {"message": message, "hint": hint})


def shape(value: object) -> str:
    """The tag of what was written, to choose between the shapes that one key may have."""
    if isinstance(value, Block):
        return "<mapping>"
    return "<list>" if isinstance(value, Items) else "<text>" if isinstance(value, str) else "<nothing>"


def text_of(value: object) -> str:
    """The text that was written; anything else is refused."""
    if not isinstance(value, str):
        refuse("H0108", mismatch("a text", value))
    return value


def _reading(read: Callable[[str], object], id: str) -> PlainValidator:
    """A field read by a parser of the model; what it raises becomes the message."""

    def validate(value: object) -> object:
        text = text_of(value)
        try:
            return read(text)
        except ValueError as error:
            refuse(id, str(error))

    return PlainValidator(validate)


def _checked(check: Callable[[str], None]) -> BeforeValidator:
    def validate(value: object) -> object:
        check(text_of(value))
        return value

    return BeforeValidator(validate)


def matching(pattern: str, what: str, id: str) -> BeforeValidator:
    """A text of which all matches the pattern, or is refused as no ``what``."""

    def check(value: object) -> object:
        text = text_of(value)
        if not re.fullmatch(pattern, text, re.ASCII):
            refuse(id, f"{text!r} is no {what}")
        return value

    return BeforeValidator(check)


def choice(what: str, known: Sequence[str], id: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """The annotations of a field that takes one of a few words."""

    def check(text: str) -> None:
        if text not in known:
            refuse(id, f"{text!r} is no {what}; {nearest(text, known)}")

    return _checked(check), WithJsonSchema({"enum": list(known)})


def _platform(text: str) -> None:
    if text != LOCAL:
        try:
            Platform.parse(text)
        except ValueError as error:
            refuse("H0201", str(error))


def _python(text: str) -> None:
    # A plain 3.1 is what becomes of 3.10 in whatever reads YAML 1.1; nobody means Python 3.1.
    if isinstance(text, Text) and text.plain and re.fullmatch(r"3\.[0-4]", text):
        wanted = "3.10" if text == "3.0" else f"{text}0"
        refuse("H0217", f'{text} is a number; write "{wanted}" in quotes')
    if not text.isascii():  # other scripts have digits too, and int() reads them
        refuse("H0202", f"{text!r} is not an interpreter; write 3.12, 3.13t, cp312, pp311 or a lower-case name")
    try:
        PythonTag.parse(text)
    except ValueError as error:
        refuse("H0202", str(error))


def _tier(text: str) -> Tier:
    known = [tier.value for tier in Tier]
    if text not in known:
        raise ValueError(f"{text!r} is not a tier; {nearest(text, known)}")
    return Tier(text)


@lru_cache(maxsize=1000)
def _rule(text: str) -> Rule:
    try:
        return Rule.parse(str(text))
    except ExpressionError as error:
        raise ValueError(f"{error} (character {error.offset + 1} of the rule)") from None


def _reason(text: object) -> object:
    if not isinstance(text, str) or not text.strip():
        refuse("H0209", "needs a reason")
    return text


def _path(text: str) -> None:
    trouble = path_trouble(text)
    if trouble:
        refuse("H0211", trouble)


def _folder(text: str) -> None:
    if text != ".":
        _path(text)


def _without_slash(text: object) -> object:
    if isinstance(text, str) and len(text) > 1 and text.endswith("/"):
        return text[:-1]
    return text


def _variable(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        refuse("H0213", f"{text!r} is no name of an environment variable")


def _tag(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", text) or text in ("and", "or", "not"):
        refuse("H0108", f"{text!r} is no tag; write letters, digits, '_', '.' and '-'")


def _try_regex(pattern: str, replacement: str = "") -> None:
    """Try both as what they will be: output is bytes, so these are patterns over bytes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an odd but valid pattern
        try:
            compiled = re.compile(pattern.encode())
        except (re.error, RecursionError, OverflowError) as error:
            refuse("H0216", f"{pattern!r} is no regular expression: {error}")
        try:
            compiled.sub(replacement.encode(), b"")
        except (re.error, IndexError) as error:
            refuse("H0216", f"{replacement!r} cannot replace what {pattern!r} matches: {error}")


def _normalisation(text: str) -> Normalisation:
    if text == "regex":
        raise ValueError('regex needs its pattern; write {regex: "...", replacement: "..."}')
    if text not in NORMALISATIONS:
        raise ValueError(f"{text!r} is no normalisation; {nearest(text, (*NORMALISATIONS, 'regex'))}")
    return Normalisation(name=str(text))  # plain text: where it was written matters no more


def _number(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", value, re.ASCII):
        refuse("H0108", mismatch("a number", value))
    return float(value)


def integer(value: object) -> object:
    """Reads a whole number."""
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,15}", value, re.ASCII):
        refuse("H0108", mismatch("a whole number", value))
    return int(value)


_REASON = {"type": "string", "minLength": 1}
_SCALAR = {"type": ["string", "number", "boolean"]}
Word = Annotated[StrictStr, WithJsonSchema(_SCALAR)]
PlatformText = Annotated[
    StrictStr, _checked(_platform), Field(description="os-arch, linux-libc-arch, or local for this computer's own")
]
PythonText = Annotated[
    StrictStr,
    _checked(_python),
    WithJsonSchema({"type": ["string", "number"], "description": "3.12, 3.13t, cp312, pp311, or a name of your own"}),
]
TierField = Annotated[Tier, _reading(_tier, "H0203"), WithJsonSchema({"enum": ["1", "2", "3", "advisory", 1, 2, 3]})]
RuleField = Annotated[Rule, _reading(_rule, "H0207"), WithJsonSchema({"type": "string", "examples": ["libc=musl"]})]
Reason = Annotated[StrictStr, BeforeValidator(_reason), WithJsonSchema(_REASON)]
Glob = Annotated[StrictStr, Field(max_length=200)]  # matching against a long one takes long
SafePath = Annotated[StrictStr, _checked(_path)]
Folder = Annotated[StrictStr, _checked(_folder), BeforeValidator(_without_slash)]
Variable = Annotated[StrictStr, _checked(_variable)]
Env = dict[Variable, Word]
TagName = Annotated[StrictStr, _checked(_tag)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=86_400)]
Scale = Annotated[float, BeforeValidator(_number), Field(gt=0, le=1000)]
Size = Annotated[int, BeforeValidator(integer), Field(gt=0, le=1 << 40)]
ExitStatus = Annotated[int, BeforeValidator(integer), Field(ge=-255, le=4_294_967_295)]
Words = list[Word]
Command = Annotated[list[Word], Field(min_length=1)]


class Substitution(Closed):
    """A normalisation that replaces what a regular expression matches."""

    regex: Annotated[StrictStr, _checked(_try_regex)] = Field(description="what is replaced, over bytes")
    replacement: StrictStr = Field(default="", description="what it is replaced by; \\1 is the first group")

    @model_validator(mode="after")
    def _replacement_fits(self) -> Self:
        _try_regex(self.regex, self.replacement)
        return self


_Normalise = Annotated[
    Annotated[
        Normalisation, _reading(_normalisation, "H0208"), WithJsonSchema({"enum": list(NORMALISATIONS)}), Tag("<text>")
    ]
    | Annotated[Substitution, Tag("<mapping>")],
    Discriminator(shape),
]
Normalise = list[_Normalise]


def normalisations(written: Normalise) -> tuple[Normalisation, ...]:
    """The values of a validated ``normalise:`` list."""
    return tuple(
        Normalisation(name="regex", pattern=one.regex, replacement=one.replacement)
        if isinstance(one, Substitution)
        else one
        for one in written
    )
