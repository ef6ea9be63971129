"""The agent removes its folders whatever a fixture did to them, and touches nothing outside."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness import agent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def remove_as_nobody(folder: Path) -> None:
    """Remove in a process without root's rights, for which permissions count."""
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from harness import agent\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "agent._remove(sys.argv[2])\n"
    )
    root = str(Path(agent.__file__).parents[1])
    subprocess.run([sys.executable, "-c", program, root, str(folder)], check=True)


def test_a_folder_that_is_gone_already_leaves_the_one_above_as_it_was(tmp_path: Path) -> None:
    tmp_path.chmod(0o751)
    agent._remove(str(tmp_path / "gone"))
    assert mode(tmp_path) == 0o751


def test_folders_without_permissions_are_removed(open_folder: Path) -> None:
    job = open_folder / "job"
    make = (
        "import os, sys\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "os.umask(0); os.makedirs(sys.argv[1] + '/a/b/c'); open(sys.argv[1] + '/a/b/c/f', 'w').close()\n"
        "for name in ('/a/b/c', '/a/b', '/a', ''): os.chmod(sys.argv[1] + name, 0)\n"
    )
    subprocess.run([sys.executable, "-c", make, str(job)], check=True)
    remove_as_nobody(job)
    assert not job.exists()


def test_what_a_link_points_to_keeps_its_permissions(open_folder: Path) -> None:
    outside = open_folder / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    outside.chmod(0o555)
    job = open_folder / "job"
    make = (
        "import os, sys\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "os.makedirs(sys.argv[1]); os.symlink(sys.argv[2], sys.argv[1] + '/link')\n"
        "os.symlink(sys.argv[2] + '/kept', sys.argv[1] + '/file'); os.chmod(sys.argv[1], 0o500)\n"
    )
    subprocess.run([sys.executable, "-c", make, str(job), str(outside)], check=True)
    remove_as_nobody(job)
    assert not job.exists()
    assert mode(outside) == 0o555
    assert (outside / "kept").read_text() == "kept"
