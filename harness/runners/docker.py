"""The docker runner: one container for each cell, the agent its main process, shut in as tightly as it still works.

What a container may not do is said in full in ``harness.runners.container``; what a cell loosens, and why, is part
of its isolation in every report.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import CellUnavailable
from harness.model.cell import Cell
from harness.model.reach import DockerOptions, RunnerEntry, Subject
from harness.runners.base import Placement, python_of
from harness.runners.container import Container, DockerChannel
from harness.runners.daemon import connect_daemon, reap
from harness.runners.images import LOCAL, RECIPES, Images, docker_platform, read_lock, recipe_names
from harness.runners.local import MACHINE, slots_here

INPUTS = "/harness"


class DockerRunner:
    """Serves cells with containers of the daemon that DOCKER_HOST names, or of this computer's.

    ``root`` is the project's folder, ``slots`` bounds the jobs at once on this computer (0: its cores), ``announce``
    is told what takes long; images are held to the lock file unless ``is_pinned`` is false. The daemon is spoken to at first need; what dead runs left there is then removed.
    """

    name = "docker"

    def __init__(
        self,
        *,
        root: Path = Path(),
        slots: int = 0,
        announce: Callable[[str], None] = lambda message: None,
        is_pinned: bool = True,
    ) -> None:
        self._root = root.absolute()
        self._slots = slots or slots_here()
        self._announce = announce
        self._is_pinned = is_pinned
        self._images: Images | CellUnavailable | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """The images that no digest pins, where others are pinned."""
        if not isinstance(self._images, Images):
            return ()
        return tuple(
            f"the image {image} is not in the lock file; `harness lock` pins it"
            for image in dict.fromkeys(self._images.unpinned)
        )

    @property
    def images(self) -> Images:
        """The daemon's images; raises CellUnavailable (``no-docker``), the same each time."""
        if self._images is None:
            try:
                client = connect_daemon()
                for name in reap(client):
                    self._announce(f"removed the container {name} of a run that was killed")
                client.close()  # its connections; it may be used again
                pins = read_lock(self._root) if self._is_pinned else ()
                self._images = Images(client, pins, self._announce)
            except CellUnavailable as error:
                self._images = error
        if isinstance(self._images, CellUnavailable):
            raise self._images
        return self._images

    def place(self, cell: Cell, entry: RunnerEntry | None = None) -> Placement:
        """Find, or pull, the image that serves a cell."""
        options = entry.docker if entry and entry.docker else DockerOptions()
        image, platform = self.wanted(cell, options)
        pin = self.images.have(image, platform)
        python = options.python or (python_of(cell),)
        container = Container(
            name=f"harness-{cell.id.replace('/', '-').replace('+', '.')}-{secrets.token_hex(4)}",
            cell=cell.id,
            image=pin.id,
            shown=image,
            platform=platform,
            python=python,
            options=options,
            inputs=self._inputs(cell.subject),
        )
        return Placement(
            cell=cell,
            runner=self.name,
            machine=f"container {cell.id} of {image}@{pin.id[:19]}",
            host=MACHINE,
            slots=self._slots,
            subject=_subject(cell, python),
            isolation=isolation_of(options),
            connect=lambda: DockerChannel(container),
        )

    def wanted(self, cell: Cell, options: DockerOptions) -> tuple[str, str]:
        """The image and its platform; raises CellUnavailable (``no-runner``) when nothing names them."""
        image = options.image or self._of_recipe(cell)
        platform = options.platform or docker_platform(str(cell.platform).split("-"))
        if not image:
            message = "no image is named for it, and it has no recipe in runners/images"
            raise CellUnavailable("no-runner", message, "name one: `runners: [{docker: {image: ...}}]`")
        if not platform:
            message = f"no container is a {cell.platform}"
            raise CellUnavailable("no-runner", message, "name the `platform:` of the image, if an emulator in it is")
        return image, platform

    def _of_recipe(self, cell: Cell) -> str:
        for name in recipe_names(str(cell.platform), str(cell.python)):
            if (self._root / RECIPES / name / "Dockerfile").is_file():
                return f"{LOCAL}{name}"
        return ""

    def _inputs(self, subject: Subject | None) -> tuple[tuple[str, str], ...]:
        """What a subject needs, laid read-only where a cell sees it."""
        found = []
        for name in subject.files if subject else ():
            path = self._root / name
            if not path.exists():
                raise CellUnavailable("no-interpreter", f"{path} is not there", "mend the cell's `subject:`")
            found.append((str(path.resolve()), posixpath.join(INPUTS, name)))
        return tuple(found)


def isolation_of(options: DockerOptions) -> str:
    """What keeps a fixture from the rest of the machine: a container, and which of its walls were taken down."""
    loosened = [f"{name} loosened: {reason}" for name, reason in options.because]
    return "; ".join(["container", *loosened])


def _subject(cell: Cell, python: Sequence[str]) -> tuple[str, ...]:
    if cell.subject is not None:
        laid = {name: posixpath.join(INPUTS, name) for name in cell.subject.files}
        return tuple(laid.get(word.removeprefix("./"), word) for word in cell.subject.command)
    if cell.interpreter:
        return (cell.interpreter,)
    # What wine starts is found beside the agent's own executable; the command that starts wine is not in there.
    return ("python",) if cell.platform.os == "windows" else tuple(python)
