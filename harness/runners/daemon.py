"""The Docker daemon: a client for each thread, its errors as ours, and who owns the containers that are there.

Every container carries the mark of the process that made it; what a dead process of this computer left is removed.
The SDK is imported at the first connection and not before.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import CellUnavailable

if TYPE_CHECKING:
    from docker import APIClient

OWNER, CELL = "harness.owner", "harness.cell"
TIMEOUT = 60
_MEND = "start the daemon (`docker info` must answer), or let another runner serve the cell"


def connect_daemon(timeout: int | None = TIMEOUT) -> APIClient:
    """A client of the daemon that DOCKER_HOST names, or this computer's; for one thread, since it is not thread-safe.

    ``timeout`` bounds each request in seconds, None not at all. Raises CellUnavailable (``no-docker``).
    """
    import docker
    from docker.utils import kwargs_from_env

    with daemon_errors():
        _knock(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")
        return docker.APIClient(version="auto", timeout=timeout, **kwargs_from_env())  # type: ignore[arg-type]  # None is allowed


def _knock(address: str) -> None:
    """Raise OSError where nobody listens on a local socket: the SDK would leave one open for each try."""
    scheme, _, path = address.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(TIMEOUT)
            knocking.connect(path)


@contextlib.contextmanager
def daemon_errors() -> Iterator[None]:
    """What the SDK raises because the daemon is not there, or does not do what it is asked, as CellUnavailable."""
    import docker

    try:
        yield
    except docker.errors.APIError as error:
        raise CellUnavailable("no-docker", f"the Docker daemon refuses: {said(error)}", _MEND) from None
    except (docker.errors.DockerException, OSError) as error:
        message = f"no Docker daemon answers: {_innermost(error)}"
        raise CellUnavailable("no-docker", message, _MEND) from None


def said(error: Exception) -> str:
    """The daemon's own words of an error, on one line."""
    return " ".join(str(getattr(error, "explanation", None) or error).split())


def _innermost(error: BaseException) -> str:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return getattr(error, "strerror", None) or str(error)


def owner_mark() -> str:
    """What a container of this process is marked with: the running system, its view of processes, and the process."""
    return "/".join((*_system(), str(os.getpid()), _began(os.getpid())))


def _system() -> tuple[str, str]:
    """This boot and process namespace: where both are equal, process numbers mean the same."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return boot, os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it leads to no path
    except OSError:
        return socket.gethostname(), ""


def _began(pid: int) -> str:
    """When a process began, as its kernel tells; empty where it does not, or there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_orphan(mark: str, *, is_running: bool) -> bool:
    """Whether nobody will come back for a container with this mark.

    Of another system only what does not run is given up: its owner may live there, and its agent ends without it.
    """
    *system, pid, began = mark.split("/") if mark.count("/") == 3 else ("", "", "0", "")
    if tuple(system) != _system():
        return not is_running
    return _began(int(pid)) != began if began else not _is_alive(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def reap(client: APIClient) -> tuple[str, ...]:
    """Remove the containers of dead runs; return their names. Raises CellUnavailable (``no-docker``)."""
    import docker

    removed = []
    with daemon_errors():
        for found in client.containers(all=True, filters={"label": OWNER}):
            if is_orphan(found["Labels"][OWNER], is_running=found["State"] == "running"):
                # It may go by itself meanwhile, or be reaped by somebody else.
                with contextlib.suppress(docker.errors.NotFound, docker.errors.APIError):
                    client.remove_container(found["Id"], force=True, v=True)
                    removed.append(found["Names"][0].removeprefix("/"))
    return tuple(sorted(removed))
