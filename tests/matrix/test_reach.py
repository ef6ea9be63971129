"""A runner entry is a name or a runner with its options; a subject is what is under test beside the agent."""

from __future__ import annotations

from pathlib import Path

from harness.matrix import load_matrix
from harness.model.cell import Cell
from harness.model.codec import from_json, to_json
from harness.model.platform import Platform
from harness.model.reach import DockerOptions, RunnerEntry, SshOptions, Subject

LOCAL = Platform.parse("linux-glibc-x86_64")


def only_cell(folder: Path, settings: str) -> Cell:
    path = folder / "matrix.yaml"
    path.write_text(f"cells:\n  - platform: linux-musl-aarch64\n    python: '3.13'\n{settings}", encoding="utf-8")
    (cell,) = load_matrix(path, local=LOCAL).cells
    return cell


def test_a_runner_without_options_is_a_name(tmp_path: Path) -> None:
    cell = only_cell(tmp_path, "    runners: [docker, local]\n")
    assert cell.runners == (RunnerEntry(name="docker"), RunnerEntry(name="local"))
    assert str(cell.runners[0]) == "docker"


def test_a_container_has_an_image_a_python_and_a_platform(tmp_path: Path) -> None:
    cell = only_cell(
        tmp_path,
        "    runners: [{docker: {image: 'lab/wine:1', python: [winpy, 3.12.1], platform: linux/amd64}},\n"
        "              {docker: {python: python3}}, local]\n",
    )
    assert cell.runners == (
        RunnerEntry(
            name="docker",
            docker=DockerOptions(image="lab/wine:1", python=("winpy", "3.12.1"), platform="linux/amd64"),
        ),
        RunnerEntry(name="docker", docker=DockerOptions(python=("python3",))),
        RunnerEntry(name="local"),
    )


def test_what_is_loosened_keeps_its_reason(tmp_path: Path) -> None:
    loosened = "\n".join(
        f"          {name}: {{to: {to}, because: {name} is needed}}"
        for name, to in {
            "user": "'0:0'",
            "network": "mine",
            "root": "writable",
            "capabilities": "[SYS_PTRACE]",
            "privileges": "new",
            "tmpfs": "64MiB",
            "processes": "'32'",
            "memory": "2GiB",
        }.items()
    )
    cell = only_cell(tmp_path, f"    runners:\n      - docker:\n         loosen:\n{loosened}\n")
    options = cell.runners[0].docker
    assert options is not None
    assert options == DockerOptions(
        user="0:0",
        network="mine",
        writable_root=True,
        capabilities=("SYS_PTRACE",),
        new_privileges=True,
        tmpfs=64 << 20,
        processes=32,
        memory=2 << 30,
        because=options.because,
    )
    assert dict(options.because)["memory"] == "memory is needed"
    assert len(options.because) == 8


def test_a_host_is_named_or_left_to_the_hosts_file(tmp_path: Path) -> None:
    cell = only_cell(tmp_path, "    runners: [{ssh: {hosts: [build1, me@build2], python: python3.13}}, {ssh: {}}]\n")
    assert cell.runners == (
        RunnerEntry(name="ssh", ssh=SshOptions(hosts=("build1", "me@build2"), python=("python3.13",))),
        RunnerEntry(name="ssh", ssh=SshOptions()),
    )


def test_a_subject_is_a_command_with_the_files_it_needs(tmp_path: Path) -> None:
    cell = only_cell(tmp_path, "    subject: {command: [node, --no-warnings, pyrun.mjs], files: [pyrun.mjs, lib]}\n")
    assert cell.subject == Subject(command=("node", "--no-warnings", "pyrun.mjs"), files=("pyrun.mjs", "lib"))


def test_a_cell_with_options_travels_in_a_bundle(tmp_path: Path) -> None:
    cell = only_cell(tmp_path, "    runners: [{docker: {image: x}}, {ssh: {}}]\n    subject: {command: [x]}\n")
    assert from_json(Cell, to_json(cell)) == cell
