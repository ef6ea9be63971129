"""How a cell is reached: the runners it may be served by, in order, each with its options; and its subject.

Only what the matrix says. An option that is empty leaves the choice to the runner, which documents what it takes.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerOptions:
    """The container that serves a cell.

    ``image`` empty means: the one of the cell's recipe. ``python`` is the command that hosts the agent in it, empty
    means by name and version. ``platform`` (``linux/arm64``) empty means: the cell's. The others are the container's
    limits, ``tmpfs`` and ``memory`` in bytes; ``because`` has the reason for each that is not the default, by the
    name that the matrix has for it.
    """

    image: str = ""
    python: tuple[str, ...] = ()
    platform: str = ""
    user: str = "1000:1000"
    network: str = "none"
    writable_root: bool = False
    capabilities: tuple[str, ...] = ()
    new_privileges: bool = False
    tmpfs: int = 512 * MIB
    processes: int = 256
    memory: int = 2048 * MIB
    because: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """The hosts that serve a cell; none means: those that ``runners/hosts.yaml`` names for it.

    ``python`` is the command that hosts the agent there, empty means by name and version.
    """

    hosts: tuple[str, ...] = ()
    python: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerEntry:
    """One of a cell's runners: its name, and the options of the runner that has some."""

    name: str
    docker: DockerOptions | None = None
    ssh: SshOptions | None = None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The interpreter under test, where it is not the one that hosts the agent.

    ``command`` takes a program's path. Its words are as the cell sees them, but for those that name one of ``files``
    (paths relative to the matrix file): these become the file's place in the cell.
    """

    command: tuple[str, ...]
    files: tuple[str, ...] = ()


__all__ = ["DockerOptions", "RunnerEntry", "SshOptions", "Subject"]
