"""Who we are to a host: keys of an agent and key files, in the order in which OpenSSH tries them.

Nothing is asked for and no password is sent. A key that needs a passphrase is left to the agent.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.runners.ssh_config import Destination

if TYPE_CHECKING:
    import paramiko

_MOST_KEYS = 6  # MaxAuthTries of sshd


def authenticate(transport: paramiko.Transport, destination: Destination) -> None:
    """Be let in; raise AuthenticationException that names what was tried, or SSHException."""
    import paramiko

    tried: list[str] = []
    skipped: list[str] = []
    for what, key in _keys(destination, skipped):
        try:
            if not transport.auth_publickey(destination.user, key):
                return
            raise paramiko.AuthenticationException("the host asks for more than a key")
        except paramiko.BadAuthenticationType as error:
            allowed = ", ".join(error.allowed_types)
            raise paramiko.AuthenticationException(f"it takes no keys, only {allowed}") from None
        except paramiko.AuthenticationException:
            tried.append(what)
            if not transport.is_active() or len(tried) == _MOST_KEYS:
                break
    said = f"it takes none of the keys {', '.join(tried)}" if tried else "there is no key to try"
    raise paramiko.AuthenticationException("; ".join([said, *skipped]))


def _keys(destination: Destination, skipped: list[str]) -> Iterator[tuple[str, paramiko.PKey]]:
    """The keys to try; ``skipped`` is told why others are not."""
    import paramiko

    offered = _of_agent(destination.agent)
    wanted = {blob: path for path in destination.identities for blob in [_public(path)] if blob}
    used = set()
    for key in sorted(offered, key=lambda key: key.asbytes() not in wanted):
        blob = key.asbytes()
        if blob in wanted or not destination.identities_only:
            used.add(blob)
            yield f"{wanted.get(blob, key.get_name())} of the agent", key
    for path in destination.identities:
        if not path.is_file() or _public(path) in used:
            continue
        try:
            yield str(path), paramiko.PKey.from_path(str(path))
        except (paramiko.SSHException, ValueError, TypeError, OSError) as error:
            why = "needs a passphrase; add it to the agent" if "ass" in str(error) else str(error)
            skipped.append(f"{path} {why}")


def _of_agent(address: str) -> list[paramiko.PKey]:
    """The keys that an agent offers; none when there is no agent."""
    if not address:
        return []
    from paramiko.agent import AgentSSH

    with contextlib.suppress(Exception):  # a damaged agent is as good as none
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(5.0)
        stream.connect(address)
        agent = AgentSSH()
        agent._connect(stream)  # type: ignore[attr-defined]  # its public subclass knows only SSH_AUTH_SOCK
        return list(agent.get_keys())
    return []


def _public(path: Path) -> bytes:
    """The public half of a key file, where it lies beside it."""
    import base64

    try:
        words = path.with_name(path.name + ".pub").read_text(encoding="utf-8").split()
        return base64.b64decode(words[1])
    except (OSError, ValueError, IndexError):
        return b""
