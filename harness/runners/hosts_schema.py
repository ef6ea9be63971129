"""The schema of ``runners/hosts.yaml``: text in, hosts out, refusals with a stable id.

Importing this module imports pydantic: do so only where the file is validated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, StrictStr, Tag, WithJsonSchema

from harness.matrix.fields import (
    Closed,
    ClosedSchema,
    Command,
    Glob,
    Word,
    choice,
    integer,
    matching,
    refuse,
    shape,
    text_of,
)
from harness.runners.hosts import Host
from harness.runners.ssh_keys import pin_trouble

SHELLS = ("posix", "cmd", "powershell")


def _pin(value: object) -> object:
    text = text_of(value)
    trouble = pin_trouble(text)
    if trouble:
        refuse("H0223", f"{text if len(text) < 40 else text[:40] + '...'!r} is no host key", trouble)
    return value


def _python_shape(value: object) -> str:
    return "<mapping of cells>" if isinstance(value, dict) else shape(value)


_ADDRESS = r"[A-Za-z0-9_:][A-Za-z0-9_.:-]{0,253}"
_Name = Annotated[StrictStr, matching(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,250}", "name of a host", "H0221")]
_Address = Annotated[StrictStr, matching(_ADDRESS, "name or address of a host", "H0221")]
_User = Annotated[StrictStr, matching(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,100}", "name of a user", "H0221")]
_Path = Annotated[StrictStr, matching(r'[^\x00-\x1f"%]{1,1000}', "path", "H0221")]
_Port = Annotated[int, BeforeValidator(integer), Field(ge=1, le=65535)]
_Slots = Annotated[int, BeforeValidator(integer), Field(ge=1, le=1024)]
_Pin = Annotated[StrictStr, BeforeValidator(_pin), WithJsonSchema({"type": "string", "minLength": 40})]
_Globs = Annotated[
    Annotated[Glob, Tag("<text>")] | Annotated[list[Glob], Field(min_length=1), Tag("<list>")], Discriminator(shape)
]
_Pins = Annotated[
    Annotated[_Pin, Tag("<text>")] | Annotated[list[_Pin], Field(min_length=1), Tag("<list>")], Discriminator(shape)
]
_OnePython = Annotated[Annotated[Word, Tag("<text>")] | Annotated[Command, Tag("<list>")], Discriminator(shape)]
_Pythons = Annotated[
    Annotated[Word, Tag("<text>")]
    | Annotated[Command, Tag("<list>")]
    | Annotated[dict[Glob, _OnePython], Field(min_length=1), Tag("<mapping of cells>")],
    Discriminator(_python_shape),
]


class HostEntry(Closed):
    """One host: a name of ~/.ssh/config, or all that is needed to reach it."""

    name: _Name = Field(description="what it is called, as in `ssh NAME`")
    cells: _Globs | None = Field(None, description="shell patterns over the ids of the cells that it serves")
    python: _Pythons | None = Field(
        None,
        description="the command that is Python there, for all cells or by pattern; by default python and its version",
    )
    slots: _Slots | None = Field(None, description="how many jobs it takes at once; by default its cores")
    shell: Annotated[StrictStr, *choice("shell", SHELLS, "H0221")] | None = Field(
        None, description="the shell that runs commands; by default posix, under Windows cmd"
    )
    host_key: _Pins | None = Field(
        None, description="the only host keys that are taken: ssh-ed25519 AAAA..., or a fingerprint SHA256:..."
    )
    hostname: _Address | None = Field(None, description="its name or address")
    port: _Port | None = Field(None, description="the port of its SSH server")
    user: _User | None = Field(None, description="who we are there")
    identity: _Path | None = Field(None, description="a key file; its content is never written here")
    known_hosts: _Path | None = Field(None, description="the file that has its host key")
    config: _Path | None = Field(None, description="an SSH configuration file, in place of ~/.ssh/config")

    def host(self, root: Path) -> Host:
        """The domain value; relative paths start from ``root``."""
        options: dict[str, tuple[str, ...]] = {}
        for key, value in (("hostname", self.hostname), ("port", self.port), ("user", self.user)):
            if value is not None:
                options[key] = (str(value),)
        for key, path in (("identityfile", self.identity), ("userknownhostsfile", self.known_hosts)):
            if path is not None:
                options[key] = (str(_under(root, path)),)
        return Host(
            name=str(self.name),
            cells=_words(self.cells),
            pythons=_pythons(self.python),
            slots=self.slots or 0,
            shell=str(self.shell or ""),
            pins=_words(self.host_key),
            config=_under(root, self.config) if self.config else None,
            options=tuple(options.items()),
        )


class HostsFile(Closed):
    """The hosts that serve cells over SSH."""

    hosts: Annotated[list[HostEntry], Field(max_length=1000)] = Field(
        default_factory=list, description="the hosts; several that serve one cell share its jobs"
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of hosts.yaml, with a description at each key."""
    schema = HostsFile.model_json_schema(schema_generator=ClosedSchema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "runners/hosts.yaml of harness",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _under(root: Path, path: str) -> Path:
    return (root / Path(str(path)).expanduser()).absolute()


def _words(written: Any) -> tuple[str, ...]:
    return (str(written),) if isinstance(written, str) else tuple(map(str, written or ()))


def _pythons(written: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if written is None:
        return ()
    if isinstance(written, dict):
        return tuple((str(pattern), _words(command)) for pattern, command in written.items())
    return (("*", _words(written)),)
