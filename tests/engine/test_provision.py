"""Images against a real registry on loopback: pulled, pinned, refused when they change; and orphans collected."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.engine.cells import place_cells
from harness.engine.provision import Locked, build, collect, lock
from harness.errors import CellUnavailable, Incomplete, InputError, UsageError
from harness.model.cell import Cell
from harness.model.reach import DockerOptions, RunnerEntry
from harness.runners.base import Placement, Runner
from harness.runners.daemon import OWNER, connect_daemon, owner_mark, reap
from harness.runners.docker import DockerRunner
from harness.runners.images import LOCK, read_lock
from harness.runners.local import LocalRunner
from tests.containers import GLIBC, MUSL, cell_in, forget, needs
from tests.rig import eventually, execute, task

REGISTRY = """\
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
pytestmark = needs(GLIBC)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty registry."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("this takes a registry: Debian's package docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(REGISTRY.format(folder=folder / "data", port=port))
    process = subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        assert eventually(answers)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()


def publish(image: str, label: str) -> str:
    """Push an image that differs from others by a label, leave none of it here, and return its id."""
    recipe = f"FROM {GLIBC}\nLABEL which={label}\n".encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(recipe)
        archive.addfile(info, io.BytesIO(recipe))
    context.seek(0)
    with closing(connect_daemon()) as client:
        for event in client.build(fileobj=context, custom_context=True, tag=image, decode=True, rm=True):
            assert "error" not in event, event
        for event in client.push(image, stream=True, decode=True):
            assert "error" not in event, event
        found: str = client.inspect_image(image)["Id"]  # type: ignore[no-untyped-call]
    forget(image)
    return found


@pytest.fixture
def image(registry: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name in the registry that nobody has used."""
    name = f"{registry}/{request.node.name.replace('[', '-').replace(']', '')[:60].strip('_-')}:1"
    yield name
    forget(name)


def place(root: Path, cell: Cell, heard: list[str] | None = None) -> Placement:
    said = heard if heard is not None else []
    return DockerRunner(root=root, announce=said.append).place(cell, cell.runners[0])


def locked(root: Path, *cells: Cell) -> Locked:
    return lock(root, cells, lambda message: None)


def test_a_missing_image_is_pulled_and_serves_its_cell(image: str, tmp_path: Path) -> None:
    publish(image, "one")
    heard: list[str] = []
    placement = place(tmp_path, cell_in(image), heard)
    assert heard[0] == f"pulling {image} for linux/amd64"
    assert execute(task(placement, "a", "print('pulled')")).stdout("a") == b"pulled\n"
    place(tmp_path, cell_in(image), heard)
    assert len([line for line in heard if line.startswith(f"pulling {image} for")]) == 1


def test_a_pinned_image_is_the_same_when_its_tag_has_moved(image: str, tmp_path: Path) -> None:
    first = publish(image, "first")
    done = locked(tmp_path, cell_in(image))
    assert [(pin.image, pin.id) for pin in done.pins] == [(image, first)]
    assert done.pins[0].pull.startswith(image.rpartition(":")[0] + "@sha256:")
    forget(image)
    publish(image, "second")
    placement = place(tmp_path, cell_in(image))
    said = execute(task(placement, "a", "print(1)")).stdout("a")
    assert said == b"1\n"
    with closing(connect_daemon()) as client:
        assert client.inspect_image(done.pins[0].pull)["Id"] == first  # type: ignore[no-untyped-call]
    forget(done.pins[0].pull)


def test_a_changed_digest_is_refused_and_no_other_runner_is_tried(image: str, tmp_path: Path) -> None:
    cell = cell_in(image)
    publish(image, "agreed")
    agreed = locked(tmp_path, cell).pins[0]
    forget(image)
    changed = publish(image, "smuggled")
    with closing(connect_daemon()) as client:
        client.pull(image)  # as somebody did by hand
    both = Cell(platform=cell.platform, python=cell.python, runners=(*cell.runners, RunnerEntry(name="local")))
    runners: dict[str, Runner] = {"docker": DockerRunner(root=tmp_path), "local": LocalRunner()}
    ((_, refusal),) = place_cells((both,), runners)
    assert isinstance(refusal, CellUnavailable)
    assert refusal.reason == "image-changed"
    assert changed in refusal.message
    assert agreed.id in refusal.message
    assert locked(tmp_path, cell).changed == read_lock(tmp_path)
    assert place(tmp_path, cell).machine.startswith(f"container {cell.id} of {image}@sha256:")


def test_where_no_registry_has_the_image_the_cell_has_no_image(registry: str, tmp_path: Path) -> None:
    for name in (f"{registry}/nobody/made-this:1", "localhost:9/nowhere", "harness/linux-musl-x86_64"):
        with pytest.raises(CellUnavailable) as caught:
            place(tmp_path, cell_in(name))
        assert caught.value.reason == "no-image"
        assert caught.value.mend


def test_an_image_of_another_platform_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(CellUnavailable, match="no registry gives") as caught:
        place(tmp_path, cell_in(GLIBC, platform="linux-glibc-s390x"))
    assert caught.value.reason == "no-image"


def test_the_lock_file_has_a_line_for_each_image_and_equal_images_give_equal_bytes(tmp_path: Path) -> None:
    cells = (cell_in(GLIBC, python="3.13"), cell_in(GLIBC, python="3.12"), cell_in("nobody/has-this"))
    done = locked(tmp_path, *cells)
    text = (tmp_path / LOCK).read_bytes()
    assert [pin.image for pin in done.pins] == [GLIBC]
    assert [name for name, _ in done.missing] == ["nobody/has-this for linux/amd64"]
    assert len(text.splitlines()) == 3
    assert locked(tmp_path, *reversed(cells)).changed == ()
    assert (tmp_path / LOCK).read_bytes() == text


@needs(MUSL)
def test_what_is_not_pinned_beside_pinned_ones_is_a_warning(tmp_path: Path) -> None:
    locked(tmp_path, cell_in(GLIBC))
    runner = DockerRunner(root=tmp_path)
    other = cell_in(MUSL, platform="linux-musl-x86_64")
    runner.place(other, other.runners[0])
    assert runner.warnings == (f"the image {MUSL} is not in the lock file; `harness lock` pins it",)


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2, "images": []}', '{"version": 1}', "\0"])
def test_a_damaged_lock_file_is_wrong_input(text: str, tmp_path: Path) -> None:
    (tmp_path / "runners").mkdir()
    (tmp_path / LOCK).write_text(text)
    with pytest.raises(InputError) as caught:
        place(tmp_path, cell_in(GLIBC))
    assert caught.value.problems[0].id == "H0220"


def test_a_recipe_is_built_and_then_serves_its_cell_by_itself(tmp_path: Path) -> None:
    folder = tmp_path / "runners" / "images" / "linux-glibc-x86_64-rehearsed"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("ARG BASE\nFROM $BASE\nRUN echo built >/built\n")
    heard: list[str] = []
    cell = cell_in(python="rehearsed", options=DockerOptions())
    with pytest.raises(CellUnavailable, match="is not built") as caught:
        place(tmp_path, cell)
    assert caught.value.mend == "harness images build linux-glibc-x86_64-rehearsed"
    try:
        (pin,) = build(tmp_path, (), (("BASE", GLIBC),), heard.append)
        assert (pin.image, pin.pull) == ("harness/linux-glibc-x86_64-rehearsed", "")
        assert any("built" in line for line in heard)
        kept = execute(task(place(tmp_path, cell), "a", "print(open('/built').read())"))
        assert kept.stdout("a") == b"built\n\n"
    finally:
        forget("harness/linux-glibc-x86_64-rehearsed")


def test_a_recipe_that_fails_or_is_not_there_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "runners" / "images" / "linux-glibc-x86_64"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text(f"FROM {GLIBC}\nRUN exit 3\n")
    with pytest.raises(Incomplete, match="returned a non-zero code: 3"):
        build(tmp_path, (), (), lambda message: None)
    with pytest.raises(UsageError, match="'linux' is none of linux-glibc-x86_64"):
        build(tmp_path, ("linux",), (), lambda message: None)


OWNER_OF_TWO = f"""
import sys
from tests.containers import cell_in, serve_in
from harness.runners.daemon import OWNER, connect_daemon, owner_mark
client = connect_daemon()
host = client.create_host_config(network_mode="none", auto_remove=True)
for command in (["sleep", "600"], ["true"]):
    made = client.create_container({GLIBC!r}, command, labels={{OWNER: owner_mark()}}, host_config=host)
    if command[0] == "sleep":
        client.start(made["Id"])
    print(made["Id"], flush=True)
sys.stdin.read()
"""


def test_the_containers_of_a_killed_run_are_reaped_and_those_of_a_living_one_are_not() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER_OF_TWO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process, closing(connect_daemon()) as client:
        made = [process.stdout.readline().strip() for _ in range(2)]

        def present() -> list[str]:
            return [one for one in made if client.containers(all=True, filters={"id": one})]

        reap(client)
        assert present() == made
        process.kill()
        process.wait()
        assert len(collect()) >= 2
        assert present() == []


def test_what_another_system_left_is_reaped_when_it_does_not_run() -> None:
    with closing(connect_daemon()) as client:
        host = client.create_host_config(network_mode="none")
        made = client.create_container(GLIBC, ["true"], labels={OWNER: "another/system/1/2"}, host_config=host)
        reap(client)
        assert client.containers(all=True, filters={"id": made["Id"]}) == []
        assert owner_mark().count("/") == 3
