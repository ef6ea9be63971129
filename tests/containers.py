"""Containers for tests: a daemon and the images of the lab, or a skip that names what is missing."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

import pytest

from harness.errors import CellUnavailable
from harness.model.cell import Cell
from harness.model.platform import Platform, PythonTag
from harness.model.reach import DockerOptions, RunnerEntry, Subject
from harness.runners.base import Placement
from harness.runners.daemon import OWNER, connect_daemon, owner_mark
from harness.runners.docker import DockerRunner

GLIBC = "lab/glibc-amd64-3.13"
MUSL = "lab/musl-amd64-3.13"


@cache
def missing(*images: str) -> str:
    """Why these images cannot be used here; empty when they can."""
    import docker

    try:
        client = connect_daemon(timeout=10)
    except CellUnavailable as error:
        return f"this takes a Docker daemon: {error.message}"
    with closing(client):
        for image in images:
            try:
                client.inspect_image(image)  # type: ignore[no-untyped-call]
            except docker.errors.NotFound:
                return f"this takes the lab's image {image}"
    return ""


def needs(*images: str) -> pytest.MarkDecorator:
    """Skip a test where there is no daemon, or it lacks one of these images."""
    return pytest.mark.skipif(bool(missing(*images)), reason=missing(*images) or "there")


def cell_in(
    image: str = GLIBC,
    platform: str = "linux-glibc-x86_64",
    python: str = "3.13",
    *,
    host: tuple[str, ...] = ("python3",),
    subject: Subject | None = None,
    options: DockerOptions | None = None,
) -> Cell:
    """A cell that a container of this image serves."""
    docker = options or DockerOptions(image=image, python=host)
    return Cell(
        platform=Platform.parse(platform),
        python=PythonTag.parse(python),
        runners=(RunnerEntry(name="docker", docker=docker),),
        subject=subject,
    )


def serve_in(cell: Cell, root: Path = Path(), slots: int = 2) -> Placement:
    """Where a container serves the cell."""
    return DockerRunner(root=root, slots=slots).place(cell, cell.runners[0])


def ours() -> list[str]:
    """The containers of this process that are there, by name."""
    with closing(connect_daemon()) as client:
        found: Iterable[dict[str, list[str]]] = client.containers(
            all=True, filters={"label": f"{OWNER}={owner_mark()}"}
        )
        return sorted(one["Names"][0] for one in found)


def forget(image: str) -> None:
    """Take the names of one repository from an image, so that it has to be pulled again; others may need the rest."""
    import docker

    head, _, last = image.partition("@")[0].rpartition("/")
    repository = f"{head}/{last.partition(':')[0]}"
    with closing(connect_daemon()) as client:
        try:
            found = client.inspect_image(image)  # type: ignore[no-untyped-call]
        except docker.errors.ImageNotFound:
            return
        for name in (*found["RepoTags"], *found["RepoDigests"]):
            if name.startswith((f"{repository}:", f"{repository}@")):
                with suppress(docker.errors.ImageNotFound):
                    client.remove_image(name)
