"""SSH servers for tests: OpenSSH's own, on loopback, with keys made for the test; or a skip that names what is missing."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.model.cell import Cell
from harness.model.platform import PythonTag
from harness.model.reach import RunnerEntry, SshOptions
from harness.runners.base import Placement
from harness.runners.local import this_platform
from harness.runners.ssh import SshRunner
from tests.rig import PYTHON, eventually

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
MISSING = "" if SSHD and shutil.which("ssh-keygen") else "this takes OpenSSH's server and ssh-keygen"
needs_sshd = pytest.mark.skipif(bool(MISSING), reason=MISSING or "there")
KINDS = ("ed25519", "ecdsa", "rsa")


@dataclass
class Server:
    """A server that runs, and the client's files for it, all in ``folder``."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    address: str = "127.0.0.1"
    hosts: dict[str, list[str]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def key(self, kind: str = "ed25519") -> str:
        """The public half of its key, as known_hosts has it."""
        return " ".join((self.folder / f"host_{kind}.pub").read_text().split()[:2])

    def know(self, *lines: str) -> None:
        """This is all that known_hosts says."""
        self.known_hosts.write_text("".join(f"{line}\n" for line in lines))

    def add(self, name: str, *options: str) -> str:
        """Another name for it in the client's configuration; options come first, since the first one counts."""
        self.hosts[name] = [*options]
        text = ""
        for each, extra in self.hosts.items():
            common = [
                f"HostName {self.address}",
                f"Port {self.port}",
                f"User {getpass.getuser()}",
                *([] if any("IdentityFile" in one for one in extra) else [f"IdentityFile {self.folder / 'id'}"]),
                "IdentitiesOnly yes",
                f"UserKnownHostsFile {self.known_hosts}",
                "GlobalKnownHostsFile none",
            ]
            text += f"Host {each}\n" + "".join(f"  {line}\n" for line in (*extra, *common))
        self.config.write_text(text)
        return name

    @property
    def was_authenticated(self) -> bool:
        """Whether anybody got so far as to say who they are."""
        return any(word in self.log for word in ("Accepted", "Failed", "userauth-request", "Postponed"))

    def sessions(self) -> list[int]:
        """The processes that serve its connections."""
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(word) for word in found.stdout.split()]

    def close(self) -> None:
        children = self.sessions()
        self.process.terminate()
        self.process.wait()
        for pid in children:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue


def keygen(path: Path, kind: str = "ed25519", *more: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path), *more], check=True, stdin=subprocess.DEVNULL
    )


@contextmanager
def serving(
    folder: Path,
    *options: str,
    kinds: Sequence[str] = ("ed25519",),
    prefix: Sequence[str] = (),
    address: str = "127.0.0.1",
) -> Iterator[Server]:
    """A server with keys of these kinds, known to its client as ``host``; ``prefix`` starts it elsewhere."""
    assert SSHD is not None
    folder.mkdir(parents=True, exist_ok=True)
    for kind in kinds:
        keygen(folder / f"host_{kind}", kind)
    keygen(folder / "id")
    (folder / "authorized").write_text((folder / "id.pub").read_text())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    lines = [
        *options,
        f"Port {port}",
        f"ListenAddress {address}",
        f"PidFile {folder / 'pid'}",
        f"AuthorizedKeysFile {folder / 'authorized'}",
        *(f"HostKey {folder / f'host_{kind}'}" for kind in kinds),
        "StrictModes no",
        "UsePAM no",
        "PermitRootLogin prohibit-password",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "MaxStartups 100",
        "LogLevel DEBUG1",
    ]
    (folder / "sshd_config").write_text("".join(f"{line}\n" for line in lines))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [*prefix, SSHD, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = Server(folder=folder, port=port, process=process, address=address)
    try:
        assert eventually(lambda: (folder / "log").exists() and "Server listening" in server.log, within=20), "no sshd"
        server.know(f"[{address}]:{port} {server.key(kinds[0])}")
        server.add("host")
        yield server
    finally:
        server.close()


def cell_on(*hosts: str, python: str = PYTHON) -> Cell:
    """A cell that these hosts serve."""
    options = SshOptions(hosts=hosts, python=(python,))
    return Cell(
        platform=this_platform(), python=PythonTag.parse("here"), runners=(RunnerEntry(name="ssh", ssh=options),)
    )


def write_inventory(root: Path, server: Server, **more: object) -> None:
    """An inventory that leads to the server's configuration, with further keys for each host."""
    (root / "runners").mkdir(parents=True, exist_ok=True)
    rows = ["hosts:"]
    for name in server.hosts:
        rows += [
            f"  - name: {name}",
            f"    config: {server.config}",
            *(f"    {key}: {value}" for key, value in more.items()),
        ]
    (root / "runners" / "hosts.yaml").write_text("\n".join(rows) + "\n")


def serve_on(server: Server, *hosts: str, python: str = PYTHON, **more: object) -> Placement:
    """Where the server's names serve a cell of this computer's own platform."""
    write_inventory(server.folder, server, **more)
    cell = cell_on(*(hosts or ("host",)), python=python)
    return SshRunner(root=server.folder).place(cell, cell.runners[0])
