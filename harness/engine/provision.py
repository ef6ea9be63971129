"""What containers need beforehand and leave afterwards: images pinned or built, and orphans collected."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CATALOGUE, CellUnavailable, Incomplete, Problem, UsageError
from harness.model.cell import Cell
from harness.model.reach import DockerOptions
from harness.runners.daemon import connect_daemon, reap
from harness.runners.docker import DockerRunner
from harness.runners.images import LOCK, Images, Pin, read_lock, recipes, render_lock
from harness.scaffold.writing import create_file, replace_file

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """What became of the lock file. ``missing`` are images that cannot be had here, and why; old pins of them stay."""

    pins: tuple[Pin, ...]
    changed: tuple[Pin, ...]
    missing: tuple[tuple[str, str], ...]


def lock(root: Path, cells: Sequence[Cell], announce: Announce) -> Locked:
    """Pin the images of all cells as they are here and now, pulling what is missing, and write the lock file.

    A pin that no cell needs any more is dropped. Raises InputError for a damaged lock file, LocalTrouble for the disk.
    """
    before = {(pin.image, pin.platform): pin for pin in read_lock(root)}
    runner = DockerRunner(root=root, announce=announce, is_pinned=False)
    pins: dict[tuple[str, str], Pin] = {}
    missing: dict[tuple[str, str], str] = {}
    for cell, options in _containers(cells):
        try:
            wanted = runner.wanted(cell, options)
        except CellUnavailable:
            continue  # no container is meant to serve it
        try:
            pins[wanted] = runner.images.have(*wanted)
        except CellUnavailable as error:
            missing[wanted] = str(error)
            if wanted in before:
                pins[wanted] = before[wanted]
    ordered = tuple(pins[key] for key in sorted(pins))
    changed = tuple(pin for pin in ordered if before.get((pin.image, pin.platform)) != pin)
    if ordered or before:
        text = render_lock(ordered).encode()
        if not create_file(root / LOCK, text):
            replace_file(root / LOCK, text)
    return Locked(
        pins=ordered,
        changed=changed,
        missing=tuple((f"{image} for {platform}", why) for (image, platform), why in missing.items()),
    )


def _containers(cells: Sequence[Cell]) -> list[tuple[Cell, DockerOptions]]:
    return [
        (cell, entry.docker or DockerOptions()) for cell in cells for entry in cell.runners if entry.name == "docker"
    ]


def build(
    root: Path, names: Sequence[str], arguments: Sequence[tuple[str, str]], announce: Announce
) -> tuple[Pin, ...]:
    """Build the images of these recipes, or of all; raise UsageError for no such recipe, Incomplete where one fails."""
    known = recipes(root)
    for name in names:
        if name not in known:
            problem = Problem(id="H0008", message=f"{name!r} is none of {', '.join(known) or 'no recipes at all'}")
            raise UsageError(problem)
    images = _images(DockerRunner(root=root, announce=announce, is_pinned=False))
    built, problems = [], []
    for name in names or known:
        try:
            built.append(images.build(root, name, arguments))
        except CellUnavailable as error:
            problems.append(Problem(id="H0402", message=error.message, hint=error.mend or CATALOGUE["H0402"].mend))
    if problems:
        raise Incomplete(problems)
    return tuple(built)


def _images(runner: DockerRunner) -> Images:
    try:
        return runner.images
    except CellUnavailable as error:
        raise Incomplete(Problem(id="H0402", message=error.message, hint=error.mend)) from None


def collect() -> tuple[str, ...]:
    """Remove the containers of dead runs; return their names. Where there is no daemon there are none."""
    with contextlib.suppress(CellUnavailable), contextlib.closing(connect_daemon()) as client:
        return reap(client)
    return ()
