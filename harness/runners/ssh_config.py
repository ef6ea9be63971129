"""Where a host is and what it may be trusted by: what OpenSSH's own client makes of its configuration.

``ssh -G HOST`` reads Match, Include and tokens as only OpenSSH does; where that client is missing, paramiko's reader
of the plain parts stands in. What the inventory says of a host comes before both.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import CellUnavailable

DEFAULT_PORT = 22
_MOST_JUMPS = 8
_ANSWER_WITHIN = 20.0
_NO = ("no", "off", "false", "accept-new")
_HOP = re.compile(r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<host>\[[^\]]+\]|[^:\[\]/]+)(?::(?P<port>\d{1,5}))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One host, as configured.

    ``name`` is what the user calls it, ``key_name`` what its key is recorded under. ``identities`` are key files,
    ``agent`` is the socket of an agent, or empty. ``known_hosts`` and ``revoked`` are files that may be missing.
    ``jumps`` are the hosts on the way, the first one first, none of which has jumps of its own. ``algorithms`` are the allowed kinds of host keys, all
    when empty. ``loosened`` says that the configuration asks not to check the host's key; it is checked all the same.
    """

    name: str
    address: str
    port: int
    user: str
    key_name: str
    identities: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str = ""
    known_hosts: tuple[Path, ...] = ()
    revoked: tuple[Path, ...] = ()
    jumps: tuple[Destination, ...] = ()
    proxy_command: str = ""
    algorithms: tuple[str, ...] = ()
    connect_timeout: float = 0.0
    loosened: bool = False

    def __str__(self) -> str:
        port = f":{self.port}" if self.port != DEFAULT_PORT else ""
        return f"{self.user}@{self.address}{port}"


def resolve(
    name: str, config: Path | None = None, options: Mapping[str, Sequence[str]] | None = None, *, depth: int = 0
) -> Destination:
    """What ``ssh -F config NAME`` would connect to; ``options`` (by lower-case keyword) come before the file's.

    Raises CellUnavailable (``unreachable``) when the configuration cannot be read, or jumps in a circle.
    """
    options = options or {}
    client = shutil.which("ssh")
    values = _asked(client, name, config, options) if client else _read(name, config)
    values |= {key: list(given) for key, given in options.items()}
    hops = [word for word in (values.get("proxyjump") or ["none"])[0].split(",") if word not in ("", "none")]
    if depth + len(hops) > _MOST_JUMPS:
        message = f"{name}: more than {_MOST_JUMPS} jump hosts on the way"
        raise CellUnavailable("unreachable", message, "mend ProxyJump; a jump host may not need itself")
    jumps: list[Destination] = []
    for text in hops:
        host, given = _hop(text)
        each = resolve(host, config, given, depth=depth + len(hops))
        # Only the first one may need others, or a command, to be reached.
        jumps += [replace(each, proxy_command="")] if jumps else [*each.jumps, replace(each, jumps=())]
    return replace(_destination(name, values), jumps=tuple(replace(each, jumps=()) for each in jumps))


def _hop(text: str) -> tuple[str, dict[str, Sequence[str]]]:
    """A jump host as ProxyJump names it: its name, and the options that the text itself has."""
    match = _HOP.fullmatch(text.strip())
    if not match or match["host"].startswith("-"):
        raise CellUnavailable("unreachable", f"{text!r} is no jump host", "write [user@]host[:port]")
    options: dict[str, Sequence[str]] = {}
    if match["user"]:
        options["user"] = [match["user"]]
    if match["port"]:
        options["port"] = [match["port"]]
    return match["host"].strip("[]"), options


def _asked(client: str, name: str, config: Path | None, options: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    given = [word for key, values in options.items() for value in values for word in ("-o", f'{key}="{value}"')]
    command = [client, "-G", *(["-F", str(config)] if config else []), *given, "--", name]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ANSWER_WITHIN, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CellUnavailable("unreachable", f"ssh -G {name}: {error}", "mend the SSH configuration") from None
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise CellUnavailable("unreachable", f"ssh -G {name}: {words[-1]}", "mend the SSH configuration")
    values: dict[str, list[str]] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition(" ")
        values.setdefault(key.lower(), []).append(value)
    return values


def _read(name: str, config: Path | None) -> dict[str, list[str]]:
    """The plain parts of a configuration file, without Match and Include."""
    import paramiko

    found: Mapping[str, str | Sequence[str]]
    path = config or Path.home() / ".ssh" / "config"
    try:
        found = paramiko.SSHConfig.from_path(str(path)).lookup(name) if path.exists() else {}
    except (OSError, ValueError, paramiko.SSHException) as error:
        raise CellUnavailable("unreachable", f"{path}: {error}", "mend the SSH configuration") from None
    return {key: [value] if isinstance(value, str) else list(value) for key, value in found.items()}


def _destination(name: str, values: Mapping[str, Sequence[str]]) -> Destination:
    def one(key: str, otherwise: str = "") -> str:
        found = values.get(key) or [otherwise]
        return otherwise if found[0] in ("", "none") else found[0]

    user = one("user") or getpass.getuser()
    address = one("hostname", name)
    port = int(one("port", str(DEFAULT_PORT)))
    tokens = {"%d": str(Path.home()), "%h": address, "%p": str(port), "%r": user, "%n": name, "%u": getpass.getuser()}
    tokens |= {"%l": socket.gethostname(), "%k": one("hostkeyalias", name), "%%": "%"}

    def expanded(text: str) -> str:
        return re.sub("%.", lambda match: tokens.get(match[0], match[0]), text)

    def path(text: str) -> Path:
        return Path(expanded(text.strip('"'))).expanduser()

    own = values.get("userknownhostsfile") or ["~/.ssh/known_hosts ~/.ssh/known_hosts2"]
    common = values.get("globalknownhostsfile") or ["/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"]
    agent = one("identityagent", "SSH_AUTH_SOCK")
    agent = os.environ.get(agent.removeprefix("$"), "") if agent in ("SSH_AUTH_SOCK",) or agent[:1] == "$" else agent
    identities = values.get("identityfile") or [f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa")]
    return Destination(
        name=name,
        address=address,
        port=port,
        user=user,
        key_name=one("hostkeyalias"),
        identities=tuple(path(text) for text in identities if text != "none"),
        identities_only=one("identitiesonly", "no") in ("yes", "true"),
        agent="" if "none" in values.get("identityagent", ()) else str(path(agent)) if agent else "",
        known_hosts=tuple(path(word) for text in (*own, *common) for word in _words(text)),
        revoked=(path(one("revokedhostkeys")),) if one("revokedhostkeys") else (),
        proxy_command=expanded(one("proxycommand")),
        algorithms=tuple(filter(None, one("hostkeyalgorithms").split(","))),
        connect_timeout=_seconds(one("connecttimeout")),
        loosened=one("stricthostkeychecking", "ask") in _NO,
    )


def _words(text: str) -> list[str]:
    """File names of a list; in quotes where there are blanks in them."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]+)"|(\S+)', text) if plain != "none"]


def _seconds(text: str) -> float:
    return float(text) if re.fullmatch(r"\d{1,6}", text) else 0.0
