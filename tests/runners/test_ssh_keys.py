"""Host keys, against servers with keys made for the test: what is not known for certain is refused, and told apart.

Refused means before authentication: the server's own log says whether anybody got so far.
"""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import CellUnavailable
from harness.runners.ssh_config import Destination, resolve
from harness.runners.ssh_connection import Connection
from harness.runners.ssh_keys import fingerprint, names_of, pin_trouble, read_keys
from tests.hosts import KINDS, Server, keygen, needs_sshd, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path) as found:
        yield found


@pytest.fixture
def rich(tmp_path: Path) -> Iterator[Server]:
    """A server that has a key of each kind."""
    with serving(tmp_path, kinds=KINDS) as found:
        yield found


def connect(server: Server, *pins: str, name: str = "host") -> Connection:
    connection = Connection()
    try:
        connection.open(resolve(name, server.config), pins)
    finally:
        connection.close()
    return connection


def refused(server: Server, *pins: str, name: str = "host") -> str:
    """What is said when the server's key is refused; that nothing was sent is checked."""
    with pytest.raises(CellUnavailable) as caught:
        connect(server, *pins, name=name)
    assert caught.value.reason == "host-key", caught.value
    assert caught.value.mend
    assert not server.was_authenticated
    return caught.value.message


def other_key(folder: Path, kind: str = "ed25519") -> str:
    keygen(folder / f"other_{kind}", kind)
    return " ".join((folder / f"other_{kind}.pub").read_text().split()[:2])


def where(server: Server) -> str:
    return f"[{server.address}]:{server.port}"


@needs_sshd
class TestAServer:
    def test_whose_key_is_recorded_is_taken(self, server: Server) -> None:
        connect(server)
        assert server.was_authenticated

    def test_that_is_unknown_is_refused(self, server: Server) -> None:
        server.know()
        assert "is not known" in refused(server)

    def test_whose_known_hosts_is_missing_is_refused(self, server: Server) -> None:
        server.known_hosts.unlink()
        assert "is not known" in refused(server)

    def test_whose_key_has_changed_is_refused(self, server: Server) -> None:
        server.know(f"{where(server)} {other_key(server.folder)}")
        message = refused(server)
        assert "has changed" in message
        assert f"{server.known_hosts}:1" in message

    def test_of_another_type_than_recorded_is_refused(self, server: Server) -> None:
        server.know(f"{where(server)} {other_key(server.folder, 'rsa')}")
        assert "only a key of another type, ssh-rsa" in refused(server)

    @pytest.mark.parametrize("kind", KINDS)
    def test_with_several_keys_shows_the_one_that_is_recorded(self, kind: str, rich: Server) -> None:
        rich.know(f"{where(rich)} {rich.key(kind)}")
        connect(rich)

    def test_whose_key_is_revoked_is_refused(self, server: Server) -> None:
        server.know(f"{where(server)} {server.key()}", f"@revoked * {server.key()}")
        assert "is revoked" in refused(server)

    def test_whose_key_is_in_the_list_of_revoked_keys_is_refused(self, server: Server) -> None:
        (server.folder / "revoked").write_text(server.key() + "\n")
        server.add("host", f"RevokedHostKeys {server.folder / 'revoked'}")
        assert "is revoked" in refused(server)
        assert "is revoked" in refused(server, server.key())

    @pytest.mark.parametrize("content", [None, b"SSHKRL\n\0"])
    def test_is_refused_when_the_revoked_keys_cannot_be_read(self, content: bytes | None, server: Server) -> None:
        if content is not None:
            (server.folder / "revoked").write_bytes(content)
        server.add("host", f"RevokedHostKeys {server.folder / 'revoked'}")
        assert "revo" in refused(server)

    def test_that_only_an_authority_vouches_for_is_refused_and_why_is_said(self, server: Server) -> None:
        server.know(f"@cert-authority * {server.key()}")
        assert "certificates of hosts are not supported" in refused(server)

    def test_with_a_hashed_name_is_taken(self, server: Server) -> None:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", server.known_hosts], check=True, capture_output=True)
        assert server.known_hosts.read_text().startswith("|1|")
        connect(server)

    def test_with_a_hashed_name_and_another_key_is_refused(self, server: Server) -> None:
        server.know(f"{where(server)} {other_key(server.folder)}")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", server.known_hosts], check=True, capture_output=True)
        assert "has changed" in refused(server)

    def test_on_another_port_than_recorded_is_refused(self, server: Server) -> None:
        server.know(f"[{server.address}]:{server.port + 1} {server.key()}")
        assert "is not known" in refused(server)

    def test_whose_key_is_recorded_without_a_port_is_taken(self, server: Server) -> None:
        server.know(f"{server.address} {server.key()}")
        connect(server)

    @pytest.mark.parametrize("value", ["no", "off", "accept-new"])
    def test_is_refused_whatever_the_configuration_asks(self, value: str, server: Server) -> None:
        server.know()
        server.add("host", f"StrictHostKeyChecking {value}")
        refused(server)
        server.know(f"{where(server)} {server.key()}")
        assert ["asks not to check" in note for note in connect(server).notes] == [True]

    def test_is_known_by_its_alias(self, server: Server) -> None:
        server.know(f"alias {server.key()}")
        refused(server)
        server.add("host", "HostKeyAlias alias")
        connect(server)

    def test_that_is_pinned_is_taken_without_known_hosts(self, rich: Server) -> None:
        rich.know()
        for kind in KINDS:
            connect(rich, rich.key(kind))
        connect(rich, fingerprint(base64.b64decode(rich.key("ed25519").split()[1])))

    def test_that_shows_another_key_than_pinned_is_refused_even_when_it_is_known(self, server: Server) -> None:
        other = other_key(server.folder)
        message = refused(server, other)
        assert fingerprint(base64.b64decode(other.split()[1])) in message
        assert "pinned is" in message
        refused(server, "SHA256:" + "A" * 43)

    def test_that_is_a_jump_host_is_checked_itself(self, server: Server) -> None:
        server.add("door", "HostKeyAlias door")
        server.add("behind", "ProxyJump door")
        assert "door" in refused(server, name="behind")
        server.know(f"{where(server)} {server.key()}", f"door {server.key()}")
        connect(server, name="behind")


def destination(tmp_path: Path, *lines: str, address: str = "host.example", port: int = 22) -> Destination:
    (tmp_path / "known").write_text("\n".join(lines) + "\n")
    return Destination(
        name="host", address=address, port=port, user="me", key_name="", known_hosts=(tmp_path / "known",)
    )


KEY = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(32)).decode()
BLOB = base64.b64decode(KEY)


@pytest.mark.parametrize(
    ("patterns", "is_meant"),
    [
        ("host.example", True),
        ("HOST.example", True),
        ("other,host.example", True),
        ("*.example", True),
        ("host.exampl?", True),
        ("*.example,!host.example", False),
        ("!host.example,*.example", False),
        ("host.exampl", False),
        ("[host].example", False),
        ("|1|damaged", False),
        ("|1|AAAA|AAAA", False),
    ],
)
def test_names_in_known_hosts_are_patterns(patterns: str, is_meant: bool, tmp_path: Path) -> None:
    keys = read_keys(destination(tmp_path, f"{patterns} ssh-ed25519 {KEY} comment"))
    assert bool(keys.lines) is is_meant


@pytest.mark.parametrize(
    "line", ["", "# host.example x y", "host.example", "host.example ssh-ed25519", "host.example ssh-ed25519 %%%", "@x"]
)
def test_a_damaged_line_is_about_nobody(line: str, tmp_path: Path) -> None:
    keys = read_keys(destination(tmp_path, line, f"host.example ssh-ed25519 {KEY}"))
    assert len(keys.lines) == 1
    keys.check("ssh-ed25519", BLOB)


def test_a_name_with_a_port_is_in_brackets(tmp_path: Path) -> None:
    assert names_of(destination(tmp_path)) == ("host.example",)
    assert names_of(destination(tmp_path, port=2222)) == ("[host.example]:2222", "host.example")
    assert names_of(destination(tmp_path, address="FE80::1", port=2222))[0] == "[fe80::1]:2222"


def test_recorded_kinds_are_negotiated_first(tmp_path: Path) -> None:
    known = ("ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512", "rsa-sha2-256")
    keys = read_keys(destination(tmp_path, f"host.example ssh-rsa {KEY}"))
    assert keys.algorithms(known) == ("rsa-sha2-512", "rsa-sha2-256", "ssh-ed25519", "ecdsa-sha2-nistp256")


@pytest.mark.parametrize("pin", [f"ssh-ed25519 {KEY}", f"ssh-ed25519 {KEY} comment", "SHA256:" + "a" * 43])
def test_pins_are_keys_or_fingerprints(pin: str) -> None:
    assert pin_trouble(pin) == ""


@pytest.mark.parametrize("pin", ["", "yes", "MD5:aa:bb", "SHA256:short", KEY, f"ssh-rsa {KEY}", "ssh-ed25519 AAAA"])
def test_what_is_no_key_is_no_pin(pin: str) -> None:
    assert pin_trouble(pin)
