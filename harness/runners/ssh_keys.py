"""Host keys: pinned in the inventory or recorded in known_hosts, else refused before anything is authenticated.

The rules are those of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT", with checking always on. Certificates of hosts are not
verified: an authority alone vouches for nobody here, and the message says so.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CellUnavailable
from harness.runners.ssh_config import DEFAULT_PORT, Destination

_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_PIN = re.compile(r"(?P<print>SHA256:[A-Za-z0-9+/]{43}=?)|(?P<kind>[a-z0-9@.-]+) (?P<blob>[A-Za-z0-9+/]+={0,2})( .*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One line about a host: its marker (empty, ``@revoked``, ``@cert-authority``), the key's kind and bytes."""

    marker: str
    kind: str
    blob: bytes
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeys:
    """All that is recorded about a host. ``prints`` are pinned fingerprints, ``is_pinned`` says that only pins count."""

    destination: Destination
    lines: tuple[Recorded, ...] = ()
    prints: tuple[str, ...] = ()
    is_pinned: bool = False
    revoked: frozenset[bytes] = frozenset()

    def algorithms(self, known: Sequence[str]) -> tuple[str, ...]:
        """The signature algorithms to negotiate, out of ``known``: those of recorded kinds first, like OpenSSH does.

        Otherwise a server with keys of several kinds shows one that is not recorded, and looks changed.
        """
        allowed = [one for one in known if not self.destination.algorithms or one in self.destination.algorithms]
        kinds = {line.kind for line in self.lines if not line.marker}
        recorded = [one for one in allowed if ("ssh-rsa" if one in _RSA else one) in kinds]
        return tuple(dict.fromkeys((*recorded, *(allowed or known))))

    def check(self, kind: str, blob: bytes) -> None:
        """Accept the key that a host has shown and proven to own; raise CellUnavailable (``host-key``) for any other."""
        shown = f"{kind} {fingerprint(blob)}"
        if blob in self.revoked or any(line.marker == "@revoked" and line.blob == blob for line in self.lines):
            raise self._refusal(
                f"the key {shown} is revoked", "ask the host's owner what happened; it needs another key"
            )
        if fingerprint(blob) in self.prints:
            return
        recorded = [line for line in self.lines if not line.marker]
        if any(hmac.compare_digest(line.blob, blob) and line.kind == kind for line in recorded):
            return
        if self.is_pinned:
            pins = [*self.prints, *(f"{line.kind} {fingerprint(line.blob)}" for line in recorded)]
            message = f"the host shows {shown}, pinned is {', '.join(pins)}"
            raise self._refusal(message, "compare the key with the host's owner, then pin the new one in hosts.yaml")
        same = [line for line in recorded if line.kind == kind]
        if same:
            message = f"the key has changed: the host shows {shown}, {same[0].place} has {fingerprint(same[0].blob)}"
            raise self._refusal(message, f"compare it with the host's owner; then ssh-keygen -R '{self._recorded_as}'")
        if recorded:
            kinds = ", ".join(dict.fromkeys(line.kind for line in recorded))
            message = f"the host shows {shown}; recorded is only a key of another type, {kinds}"
            raise self._refusal(message, "compare the key with the host's owner, then add it to known_hosts")
        message = f"the key {shown} is not known"
        if any(line.marker == "@cert-authority" for line in self.lines):
            message += "; certificates of hosts are not supported, so the recorded authority does not vouch for it"
        raise self._refusal(message, "compare the key with the host's owner, then add it to known_hosts or pin it")

    @property
    def _recorded_as(self) -> str:
        return names_of(self.destination)[0]

    def _refusal(self, message: str, mend: str) -> CellUnavailable:
        return CellUnavailable("host-key", f"{self.destination.name} ({self._recorded_as}): {message}", mend)


def fingerprint(blob: bytes) -> str:
    """As ssh-keygen shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def names_of(destination: Destination) -> tuple[str, ...]:
    """What a host's key is recorded under, the best name first.

    A key recorded without a port counts for every port of the host, as it does for OpenSSH (sshconnect.c).
    """
    if destination.key_name:
        return (destination.key_name.lower(),)
    address = destination.address.lower()
    if destination.port == DEFAULT_PORT:
        return (address,)
    return (f"[{address}]:{destination.port}", address)


def read_keys(destination: Destination, pins: Sequence[str] = ()) -> HostKeys:
    """Read all that is recorded about a host; raise CellUnavailable (``host-key``) for a file that cannot be judged."""
    revoked = frozenset(blob for path in destination.revoked for blob in _revoked(path, destination))
    if pins:
        matches = [match for match in map(_PIN.fullmatch, pins) if match]
        lines = [
            Recorded(marker="", kind=match["kind"], blob=_blob(match["blob"]) or b"", place="hosts.yaml")
            for match in matches
            if match["kind"]
        ]
        prints = tuple(match["print"].rstrip("=") for match in matches if match["print"])
        return HostKeys(destination=destination, lines=tuple(lines), prints=prints, is_pinned=True, revoked=revoked)
    names = names_of(destination)
    found = [line for path in destination.known_hosts for line in _lines(path, names)]
    return HostKeys(destination=destination, lines=tuple(found), revoked=revoked)


def pin_trouble(text: str) -> str:
    """What is wrong with a pin; empty when nothing is."""
    match = _PIN.fullmatch(text)
    if match and (match["print"] or _kind_of(_blob(match["blob"])) == match["kind"]):
        return ""
    return "write a key as in known_hosts, such as ssh-ed25519 AAAA..., or its fingerprint, SHA256:..."


def _kind_of(blob: bytes | None) -> str:
    """The kind that the key's own bytes name."""
    size = int.from_bytes(blob[:4], "big") if blob else 0
    return blob[4 : 4 + size].decode("ascii", "replace") if blob and size < 100 else ""


def _blob(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _lines(path: Path, names: Sequence[str]) -> list[Recorded]:
    """The lines of a file that are about one of the names; what cannot be read is about nobody."""
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return []
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#"):
            continue
        blob = _blob(words[2])
        if blob is not None and any(_fits(words[0], name) for name in names):
            found.append(Recorded(marker=marker, kind=words[1], blob=blob, place=f"{path}:{number}"))
    return found


def _fits(patterns: str, name: str) -> bool:
    """Whether the first field of a line means a host: a hash of its name, or patterns of which none negates it."""
    if patterns.startswith("|1|"):
        try:
            _, _, salt, digest = patterns.split("|")
            wanted = base64.b64decode(digest, validate=True)
            return hmac.compare_digest(hmac.digest(base64.b64decode(salt), name.encode(), "sha1"), wanted)
        except (ValueError, binascii.Error):
            return False
    is_meant = False
    for pattern in patterns.lower().split(","):
        # Only * and ? are special; the brackets around an address are not.
        fits = fnmatch.fnmatchcase(name, pattern.removeprefix("!").replace("[", "[[]"))
        if fits and pattern.startswith("!"):
            return False
        is_meant = is_meant or fits
    return is_meant


def _revoked(path: Path, destination: Destination) -> list[bytes]:
    """The keys of RevokedHostKeys. As OpenSSH does, refuse every host when the file cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        message = f"{destination.name}: the revoked keys in {path} cannot be read: {error.strerror}"
        raise CellUnavailable("host-key", message, "mend RevokedHostKeys") from None
    if data.startswith(b"SSHKRL"):
        message = f"{destination.name}: {path} is a binary revocation list, which cannot be read here"
        raise CellUnavailable("host-key", message, "let RevokedHostKeys name a list of public keys, one a line")
    words = [line.split() for line in data.decode("utf-8", "replace").splitlines() if not line.startswith("#")]
    return [blob for line in words for blob in [_blob(line[1]) if len(line) > 1 else None] if blob]
