"""The inventory of hosts, ``runners/hosts.yaml``: which hosts serve which cells, and what is known of each.

A closed schema; every problem is told at its line and column. A host that only the matrix names is one of
``~/.ssh/config``. No secret has a place here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.document import read
from harness.errors import InputError
from harness.runners.hosts import Host

INVENTORY = Path("runners") / "hosts.yaml"


def read_hosts(root: Path) -> Mapping[str, Host]:
    """The hosts of a project by name, in the order of the file; none where it has no such file. Raises InputError."""
    path = root / INVENTORY
    if not path.is_file():
        return {}
    from harness.runners.hosts_schema import HostsFile

    document = read(path, INVENTORY.as_posix())
    file = document.validate(HostsFile)
    found: dict[str, Host] = {}
    problems = []
    for position, entry in enumerate(file.hosts):
        host = entry.host(root)
        if host.name in found:
            problems.append(document.problem("H0222", ("hosts", position, "name"), f"{host.name} is there already"))
        found[host.name] = host
    if problems:
        raise InputError(problems)
    return found
