"""The closed schema of matrix.yaml, as pydantic models, and the JSON Schema that editors get from it.

Models hold what one field can tell about itself; what needs the whole file (duplicates, patterns that match
nothing) is checked in ``harness.matrix.load``.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, StrictStr, Tag, model_validator

from harness.matrix.fields import (
    Closed,
    ClosedSchema,
    Command,
    Env,
    Folder,
    Glob,
    Normalise,
    PlatformText,
    PythonText,
    Reason,
    SafePath,
    Scale,
    Seconds,
    TierField,
    Variable,
    choice,
    refuse,
    shape,
)
from harness.matrix.reach import Runner, SubjectEntry

# Bounds what a hostile file costs: each list is combined with the others.
MANY = Field(max_length=1000)


class Settings(Closed):
    """What can be said about cells."""

    tier: TierField | None = Field(
        None, description="1 gates, 2 runs nightly, 3 is tolerated, advisory is only shown; the weaker one counts"
    )
    runners: Annotated[list[Runner], Field(min_length=1)] | None = Field(
        None, description="ways to reach the cell; the first that is available serves it"
    )
    env: Env = Field(default_factory=dict, description="variables of every job in the cell")
    carry: list[Variable] = Field(
        default_factory=list, description="variables taken from the machine, such as QEMU_CPU"
    )
    normalise: Normalise = Field(default_factory=list, description="named loosenings of byte equality")
    timeout_scale: Scale | None = Field(None, description="multiplies every time limit")


class Group(Settings):
    """Settings of a platform or an interpreter."""

    because: Reason | None = Field(None, description="why; for the next reader")


class Exclude(Closed):
    """Cells that are left out."""

    cells: Glob = Field(description="a shell pattern over cell ids, such as windows-arm64/cp3*t")
    because: Reason = Field(description="why they are left out")


class Include(Group):
    """Settings for some of the cells; a later entry wins."""

    cells: Glob = Field(description="a shell pattern over cell ids")


class ExplicitCell(Group):
    """One cell beyond platforms x pythons."""

    platform: PlatformText
    python: PythonText
    interpreter: StrictStr = Field("", description="the command that is the interpreter, where it is not found by name")
    subject: SubjectEntry | None = Field(
        None, description="the interpreter under test, where it is not the one that hosts the agent"
    )

    @model_validator(mode="after")
    def _has_one_interpreter(self) -> Self:
        if self.interpreter and self.subject:
            refuse("H0219", "interpreter and subject both name what is under test; keep one of the two")
        return self


class Reference(Closed):
    """What another cell says is what is expected."""

    reference: StrictStr = Field(description="id of the cell")


class ByCommand(Closed):
    """What a command says, run on this computer with the program's path appended, is what is expected."""

    command: Command = Field(description="the command and its first arguments")


def _oracle_shape(value: object) -> str:
    if isinstance(value, dict):
        return "<mapping with command>" if "command" in value else "<mapping with reference>"
    return shape(value)


class CorpusEntry(Closed):
    """A folder of fixtures."""

    path: Folder = Field(description="the folder, relative to this file")
    layout: Annotated[StrictStr, *choice("layout", ("auto", "folder", "flat"), "H0108")] = Field(
        "auto", description="folder: one folder a fixture; flat: name.py beside name.out; auto: whichever is found"
    )
    program: SafePath = Field("main.py", description="name of the program in a fixture's folder")
    oracle: Annotated[
        Annotated[StrictStr, *choice("oracle", ("golden", "consensus"), "H0210"), Tag("<text>")]
        | Annotated[Reference, Tag("<mapping with reference>")]
        | Annotated[ByCommand, Tag("<mapping with command>")],
        Discriminator(_oracle_shape),
    ] = Field("golden", description="where the expectation comes from")
    prepare: Command | None = Field(
        None, description="command that makes the program: {source} is read, {output} is written"
    )
    source: Glob = Field("", description="glob over the names that prepare starts from, such as *.mochi")
    normalise: Normalise = Field(default_factory=list, description="named loosenings of byte equality")
    exclude: list[Glob] = Field(
        default_factory=list, description="globs over paths in the folder that are no fixtures, such as drafts/*"
    )
    timeout: Seconds = Field(10.0, description="seconds a fixture may take, unless it says otherwise")


Platforms = Annotated[
    Annotated[list[PlatformText], MANY, Tag("<list>")] | Annotated[dict[PlatformText, Group], MANY, Tag("<mapping>")],
    Discriminator(shape),
]
Pythons = Annotated[
    Annotated[list[PythonText], MANY, Tag("<list>")] | Annotated[dict[PythonText, Group], MANY, Tag("<mapping>")],
    Discriminator(shape),
]


class MatrixFile(Closed):
    """The cells of a project, how they are reached, and the fixtures that run in them."""

    platforms: Platforms | None = Field(None, description="platforms; each is combined with each of pythons")
    pythons: Pythons | None = Field(None, description="interpreters; each is combined with each of platforms")
    exclude: Annotated[list[Exclude], MANY] = Field(
        default_factory=list, description="cells to leave out, each with its reason"
    )
    include: Annotated[list[Include], MANY] = Field(
        default_factory=list, description="settings for some cells; the last that fits wins"
    )
    cells: Annotated[list[ExplicitCell], MANY] = Field(
        default_factory=list, description="single cells beyond platforms x pythons"
    )
    corpora: Annotated[list[CorpusEntry], MANY] | None = Field(
        None, description="folders of fixtures; by default the folder fixtures"
    )
    store: SafePath = Field(".harness", description="folder of the store, relative to this file")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of matrix.yaml, with a description at each key."""
    schema = MatrixFile.model_json_schema(schema_generator=ClosedSchema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "matrix.yaml of harness",
        **{key: value for key, value in schema.items() if key != "title"},
    }
