"""The schema of ``runners:`` and ``subject:``: how a cell is reached, and what is under test there.

Importing this module imports pydantic: do so only where a file is validated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Discriminator, Field, StrictStr, Tag, WithJsonSchema, model_validator

from harness.document import mismatch
from harness.matrix.fields import (
    Closed,
    Command,
    Reason,
    SafePath,
    Word,
    choice,
    integer,
    matching,
    refuse,
    shape,
    text_of,
)
from harness.model.reach import DockerOptions, RunnerEntry, SshOptions, Subject

RUNNERS = ("local", "docker", "ssh")
# Options that the domain calls otherwise than the matrix does.
_FIELDS = {"root": "writable_root", "privileges": "new_privileges"}
_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}
# An address of the host or of everybody else's containers is no network of one's own.
_SHARED_NETWORKS = ("bridge", "default", "host")


def _bytes(value: object) -> object:
    match = re.fullmatch(r"([1-9]\d{0,5})(MiB|GiB)", text_of(value), re.ASCII)
    if not match:
        refuse("H0108", mismatch("a size such as 512MiB or 2GiB", value))
    return int(match[1]) * _UNITS[match[2]]


def _network(value: object) -> object:
    if value in _SHARED_NETWORKS:
        refuse("H0218", f"the network {value} is not the container's own; name one that `docker network create` made")
    return value


_Image = Annotated[StrictStr, matching(r"[a-z0-9][A-Za-z0-9._/:@-]{0,250}", "name of an image", "H0218")]
_Platform = Annotated[
    StrictStr, matching(r"linux/[a-z0-9]+(/v[0-9]+)?", "platform of an image, such as linux/arm64", "H0218")
]
_User = Annotated[StrictStr, matching(r"\d{1,10}:\d{1,10}", "user and group, such as 1000:1000", "H0218")]
_Network = Annotated[
    StrictStr, matching(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "name of a network", "H0218"), BeforeValidator(_network)
]
_Capability = Annotated[StrictStr, matching(r"(?!ALL$)[A-Z_]{1,40}", "capability, such as SYS_PTRACE", "H0218")]
_Host = Annotated[StrictStr, matching(r"[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,250}", "name of a host", "H0218")]
_Bytes = Annotated[
    int,
    BeforeValidator(_bytes),
    Field(ge=16 << 20),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,5}(MiB|GiB)$"}),
]
_Processes = Annotated[int, BeforeValidator(integer), Field(ge=16, le=1 << 22)]
_Root = Annotated[StrictStr, *choice("state of the root", ("writable",), "H0218")]
_Privileges = Annotated[StrictStr, *choice("rule for privileges", ("new",), "H0218")]
_Python = Annotated[
    Annotated[Word, Tag("<text>")] | Annotated[Command, Tag("<list>")],
    Discriminator(shape),
]


class Loosened(Closed):
    """An option that is not its default, and why."""

    because: Reason = Field(description="why; it is shown beside the cell's isolation")


class OtherUser(Loosened):
    """Who runs in the container."""

    to: _User = Field(description="user and group, as numbers")


class OtherNetwork(Loosened):
    """What the container reaches."""

    to: _Network = Field(description="name of a network made for it")


class OtherRoot(Loosened):
    """Whether the image's own files can be changed."""

    to: _Root = Field(description="writable")


class KeptCapabilities(Loosened):
    """Rights of the administrator that are kept."""

    to: Annotated[list[_Capability], Field(min_length=1)] = Field(description="their names, without CAP_")


class NewPrivileges(Loosened):
    """Whether setuid programs give their rights."""

    to: _Privileges = Field(description="new")


class OtherSize(Loosened):
    """A limit in bytes."""

    to: _Bytes = Field(description="a size such as 512MiB or 2GiB")


class OtherCount(Loosened):
    """A limit in pieces."""

    to: _Processes = Field(description="a whole number")


class Loosen(Closed):
    """The container's options that are not their defaults, each with its reason."""

    user: OtherUser | None = Field(None, description="user and group; by default 1000:1000")
    network: OtherNetwork | None = Field(None, description="a network made for it; by default none")
    root: OtherRoot | None = Field(None, description="writable; by default the root is read-only")
    capabilities: KeptCapabilities | None = Field(None, description="capabilities that are kept; by default none")
    privileges: NewPrivileges | None = Field(None, description="new: setuid programs work; by default they do not")
    tmpfs: OtherSize | None = Field(None, description="size of /tmp; by default 512MiB")
    processes: OtherCount | None = Field(None, description="how many processes and threads; by default 256")
    memory: OtherSize | None = Field(None, description="memory, with what /tmp holds; by default 2GiB")


class DockerEntry(Closed):
    """The container that serves a cell."""

    image: _Image = Field("", description="the image; by default that of runners/images/<cell>/Dockerfile")
    python: _Python | None = Field(
        None, description="the command that hosts the agent in it; by default python and its version"
    )
    platform: _Platform = Field("", description="the image's platform; by default the cell's")
    loosen: Loosen | None = Field(None, description="options that are not their defaults, with reasons")

    def options(self) -> DockerOptions:
        """The domain value."""
        given = {name: getattr(self.loosen, name) for name in Loosen.model_fields} if self.loosen else {}
        loosened: dict[str, Any] = {_FIELDS.get(name, name): _plain(one.to) for name, one in given.items() if one}
        return DockerOptions(
            image=str(self.image),
            python=_words(self.python),
            platform=str(self.platform),
            because=tuple((name, str(one.because)) for name, one in given.items() if one),
            **loosened,
        )


class SshEntry(Closed):
    """The hosts that serve a cell."""

    hosts: list[_Host] = Field(
        default_factory=list, description="names as in `ssh NAME`; by default those of runners/hosts.yaml"
    )
    python: _Python | None = Field(
        None, description="the command that hosts the agent there; by default python and its version"
    )

    def options(self) -> SshOptions:
        """The domain value."""
        return SshOptions(hosts=_words(self.hosts), python=_words(self.python))


class RunnerWithOptions(Closed):
    """A runner and its options: a mapping with one key."""

    docker: DockerEntry | None = Field(None, description="a container of this computer's Docker daemon")
    ssh: SshEntry | None = Field(None, description="a host over SSH")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.docker is None) == (self.ssh is None):
            refuse("H0108", "expects one runner with its options; give each its own item of the list")
        return self


Runner = Annotated[
    Annotated[StrictStr, *choice("runner", RUNNERS, "H0204"), Tag("<text>")]
    | Annotated[RunnerWithOptions, Tag("<mapping>")],
    Discriminator(shape),
]


class SubjectEntry(Closed):
    """The interpreter under test, where it is not the one that hosts the agent."""

    command: Command = Field(description="the command and its first arguments, as the cell sees them")
    files: list[SafePath] = Field(
        default_factory=list,
        description="files and folders beside this file that the command needs; words of the command that name one "
        "become its place in the cell",
    )

    def subject(self) -> Subject:
        """The domain value."""
        return Subject(command=_words(self.command), files=_words(self.files))


def runner_entries(written: Sequence[str | RunnerWithOptions]) -> tuple[RunnerEntry, ...]:
    """The values of a validated ``runners:`` list, each once."""
    return tuple(dict.fromkeys(map(_entry, written)))


def _entry(written: str | RunnerWithOptions) -> RunnerEntry:
    if isinstance(written, str):
        return RunnerEntry(name=str(written))
    if written.docker is not None:
        return RunnerEntry(name="docker", docker=written.docker.options())
    assert written.ssh is not None
    return RunnerEntry(name="ssh", ssh=written.ssh.options())


def _plain(value: Any) -> object:
    """The value of an option, without its place; the two that are only a word are True."""
    if value in ("writable", "new"):
        return True
    return str(value) if isinstance(value, str) else value if isinstance(value, int) else _words(value)


def _words(written: str | Sequence[str] | None) -> tuple[str, ...]:
    """Plain texts: where they were written matters no more."""
    return (str(written),) if isinstance(written, str) else tuple(map(str, written or ()))
