"""The inventory of hosts: what it says of each, and what the SSH configuration adds."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.errors import CellUnavailable
from harness.model.cell import Cell
from harness.model.platform import Platform, PythonTag
from harness.model.reach import RunnerEntry, SshOptions
from harness.runners.hosts import Host
from harness.runners.hosts_schema import json_schema
from harness.runners.inventory import read_hosts
from harness.runners.ssh import SshRunner
from harness.runners.ssh_config import Destination, resolve

LINUX = Cell(platform=Platform.parse("linux-glibc-x86_64"), python=PythonTag.parse("3.12"))
WINDOWS = Cell(platform=Platform.parse("windows-amd64"), python=PythonTag.parse("3.13t"))
PIN = "SHA256:" + "a" * 43
TEXT = f"""
hosts:
  - name: plain
    cells: linux-*
  - name: full
    cells: ["windows-*", "linux-glibc-x86_64/cp31?"]
    python: {{"*/cp313t": ["C:/Python 3.13/python3.13t.exe"], "*": py}}
    slots: 4
    shell: powershell
    host-key: [{PIN}]
    hostname: 192.0.2.7
    port: 2222
    user: me
    identity: keys/id
    known_hosts: known
    config: ssh_config
""".replace("known_hosts", "known-hosts")


def inventory(root: Path, text: str = TEXT) -> Mapping[str, Host]:
    (root / "runners").mkdir(exist_ok=True)
    (root / "runners" / "hosts.yaml").write_text(text)
    return read_hosts(root)


def test_a_host_says_what_it_serves_and_how(tmp_path: Path) -> None:
    plain, full = inventory(tmp_path).values()
    assert (plain.serves(LINUX), plain.serves(WINDOWS)) == (True, False)
    assert (full.serves(LINUX), full.serves(WINDOWS)) == (True, True)
    assert (plain.python(LINUX), full.python(LINUX)) == ((), ("py",))
    assert full.python(WINDOWS) == ("C:/Python 3.13/python3.13t.exe",)
    assert (plain.shell_of(LINUX), plain.shell_of(WINDOWS), full.shell_of(LINUX)) == ("posix", "cmd", "powershell")
    assert (plain.slots, full.slots, full.pins) == (0, 4, (PIN,))


def test_a_project_without_inventory_has_no_hosts(tmp_path: Path) -> None:
    assert read_hosts(tmp_path) == {}
    with pytest.raises(CellUnavailable) as caught:
        SshRunner(root=tmp_path).place(LINUX)
    assert caught.value.reason == "no-runner"


def test_the_hosts_of_a_cell_are_those_that_name_it_or_that_the_matrix_names(tmp_path: Path) -> None:
    inventory(tmp_path)
    runner = SshRunner(root=tmp_path)
    placement = runner.place(LINUX)
    assert [each.host for each in placement.machines] == ["host plain", "host full"]
    assert [each.subject for each in placement.machines] == [("python3.12",), ("py",)]
    assert [each.slots for each in placement.machines] == [0, 4]
    named = RunnerEntry(name="ssh", ssh=SshOptions(hosts=("full", "alias"), python=("pypy3",)))
    assert [each.machine for each in runner.place(LINUX, named).machines] == ["host full (pypy3)", "host alias (pypy3)"]


def test_the_inventory_comes_before_the_configuration(tmp_path: Path) -> None:
    full = inventory(tmp_path)["full"]
    (tmp_path / "ssh_config").write_text("Host full\n  Port 9\n  User you\n  HostKeyAlias alias\n")
    found = full.destination()
    assert (found.address, found.port, found.user, found.key_name) == ("192.0.2.7", 2222, "me", "alias")
    assert tmp_path / "keys" / "id" in found.identities
    assert found.known_hosts[0] == tmp_path / "known"


CONFIG = """
Host door
  HostName 192.0.2.1
  User keeper
Host behind
  HostName 192.0.2.2
  Port 2200
  ProxyJump door
  HostKeyAlias alias
  IdentitiesOnly yes
  IdentityAgent none
  IdentityFile ~/.ssh/special
  UserKnownHostsFile /tmp/known1 /tmp/known2
  StrictHostKeyChecking no
Host circle
  ProxyJump circle
"""


@pytest.fixture(params=["OpenSSH", "paramiko"])
def config(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration, read by OpenSSH's client where it is, and without it."""
    if request.param == "paramiko":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif not shutil.which("ssh"):
        pytest.skip("this takes OpenSSH's client")
    (tmp_path / "config").write_text(CONFIG)
    return tmp_path / "config"


def test_a_configuration_is_honoured(config: Path) -> None:
    found = resolve("behind", config)
    assert (found.address, found.port, found.user) == ("192.0.2.2", 2200, getpass.getuser())
    assert (found.key_name, found.identities_only, found.agent, found.loosened) == ("alias", True, "", True)
    assert found.identities == (Path.home() / ".ssh" / "special",)
    assert found.known_hosts[:2] == (Path("/tmp/known1"), Path("/tmp/known2"))
    (door,) = found.jumps
    assert (door.address, door.user, door.jumps) == ("192.0.2.1", "keeper", ())


def test_a_host_that_no_configuration_names_is_itself(config: Path) -> None:
    found = resolve("192.0.2.9", config)
    assert (found.address, found.port, found.jumps, found.loosened) == ("192.0.2.9", 22, (), False)
    assert str(found) == f"{getpass.getuser()}@192.0.2.9"
    assert any(path.name == "known_hosts" for path in found.known_hosts)


def test_jumping_in_a_circle_ends(config: Path) -> None:
    with pytest.raises(CellUnavailable):
        resolve("circle", config)


def test_match_and_include_are_left_to_openssh(tmp_path: Path) -> None:
    if not shutil.which("ssh"):
        pytest.skip("this takes OpenSSH's client")
    (tmp_path / "included").write_text("Match host inner\n  Port 77\n")
    (tmp_path / "config").write_text(f"Include {tmp_path / 'included'}\n")
    assert resolve("inner", tmp_path / "config").port == 77


def test_a_configuration_that_is_wrong_is_told(tmp_path: Path) -> None:
    if not shutil.which("ssh"):
        pytest.skip("this takes OpenSSH's client")
    (tmp_path / "config").write_text("Nonsense yes\n")
    with pytest.raises(CellUnavailable, match=r"onsense|bad configuration") as caught:
        resolve("host", tmp_path / "config")
    assert caught.value.reason == "unreachable"


def test_a_destination_is_shown_with_its_port() -> None:
    found = Destination(name="x", address="192.0.2.1", port=2222, user="me", key_name="")
    assert str(found) == "me@192.0.2.1:2222"


def test_the_schema_names_every_key() -> None:
    text = json.dumps(json_schema())
    assert all(f'"{key}"' in text for key in ("host-key", "known-hosts", "cells", "python", "shell", "config"))
    assert json_schema()["title"] == "runners/hosts.yaml of harness"
