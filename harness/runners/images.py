"""Images: found here, pulled with progress, built from recipes, and held to the digests of the lock file.

The lock file is ``runners/images.lock``, written by ``harness lock``: for each image and platform the digest of its
content (its id), and where it came from a registry the digest to pull it by. A digest is never made up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import CellUnavailable, InputError, Place, Problem
from harness.model.codec import from_json, to_json
from harness.runners.daemon import daemon_errors, said

if TYPE_CHECKING:
    from docker import APIClient

LOCK = "runners/images.lock"
RECIPES = "runners/images"
LOCAL = "harness/"
_MAX_LOCK = 1 << 20
_SAID_EVERY = 2.0

Announce = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One image of the lock file. ``pull`` is the reference that gives just this one; empty for one built here."""

    image: str
    platform: str
    id: str
    pull: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The lock file: its pins by image and platform."""

    version: int
    images: tuple[Pin, ...]


def read_lock(root: Path) -> tuple[Pin, ...]:
    """The pins of a project, none without a lock file; raise InputError for one that is damaged."""
    path = root / LOCK
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_LOCK)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(Problem(id="H0101", message=f"cannot be read: {error.strerror}", place=_place(path))) from None
    try:
        lock = from_json(Lock, text)
        if lock.version != 1:
            raise ValueError(f"version {lock.version} is not known here")
    except ValueError as error:
        raise InputError(Problem(id="H0220", message=str(error), place=_place(path))) from None
    return lock.images


def render_lock(pins: Sequence[Pin]) -> str:
    """The text of the lock file: a pin a line, in order, so that a change of one is a change of one line."""
    ordered = sorted(pins, key=lambda pin: (pin.image, pin.platform))
    lines = ",\n".join("  " + to_json(pin) for pin in ordered)
    return f'{{"version": 1, "images": [\n{lines}\n]}}\n'


def _place(path: Path) -> Place:
    return Place(path=path.as_posix())


def recipe_names(platform: str, python: str) -> tuple[str, ...]:
    """The folders of ``runners/images`` that may have a cell's recipe, the nearest first."""
    return (f"{platform}-{python}".replace("+", "."), platform)


def recipes(root: Path) -> tuple[str, ...]:
    """The recipes of a project, by name."""
    return tuple(sorted(path.parent.name for path in (root / RECIPES).glob("*/Dockerfile")))


class Images:
    """The images of one daemon, held to the lock file of one project. Each is looked at once."""

    def __init__(self, client: APIClient, pins: Sequence[Pin], announce: Announce) -> None:
        self._client = client
        self._pins = {(pin.image, pin.platform): pin for pin in pins}
        self._announce = announce
        self._found: dict[tuple[str, str], Pin | CellUnavailable] = {}
        self.unpinned: list[str] = []

    def have(self, image: str, platform: str) -> Pin:
        """The image, pulled if it is missing. Raises CellUnavailable: ``no-image``, ``image-changed``, ``no-docker``."""
        key = (image, platform)
        if key not in self._found:
            try:
                self._found[key] = self._have(image, platform)
            except CellUnavailable as error:
                self._found[key] = error
            finally:
                self._client.close()  # its connections; it may be used again
        found = self._found[key]
        if isinstance(found, CellUnavailable):
            raise found
        return found

    def _have(self, image: str, platform: str) -> Pin:
        pin = self._pins.get((image, platform))
        found = self._look(image, platform) or (self._look(pin.pull, platform) if pin and pin.pull else None)
        if found is None:
            self._pull(pin.pull if pin and pin.pull else image, image, platform)
            found = self._look(pin.pull if pin and pin.pull else image, platform)
        if found is None:
            raise CellUnavailable("no-image", f"the image {image} is not for {platform}", "name one that is")
        actual = _pin(image, platform, found)
        if pin is not None and pin.id != actual.id:
            raise CellUnavailable(
                "image-changed",
                f"the image {image} is {actual.id}, and {LOCK} has {pin.id}",
                "find out who changed it; if it is meant, `harness lock` and commit the lock file",
            )
        if pin is None and self._pins:
            self.unpinned.append(image)
        return actual

    def _look(self, reference: str, platform: str) -> Mapping[str, Any] | None:
        """An image that is here; None when it is not, or is another platform's."""
        import docker

        with daemon_errors():
            try:
                found: Mapping[str, Any] = self._client.inspect_image(reference)  # type: ignore[no-untyped-call]
            except docker.errors.NotFound:
                return None
        return found if _fits(platform, found) else None

    def _pull(self, reference: str, image: str, platform: str) -> None:
        """Fetch an image, saying how far it is."""
        import docker

        if image.startswith(LOCAL):
            name = image.removeprefix(LOCAL).partition(":")[0]
            raise CellUnavailable("no-image", f"the image of the recipe {name} is not built", _build(name))
        self._announce(f"pulling {reference} for {platform}")
        try:
            with daemon_errors():
                events = self._client.pull(_tagged(reference), platform=platform, stream=True, decode=True)
                _follow(events, reference, self._announce)
        except CellUnavailable as error:
            raise CellUnavailable(
                "no-image", f"no registry gives the image {image}: {error.message}", _no_image(image)
            ) from None
        except (docker.errors.APIError, ValueError) as error:
            raise CellUnavailable(
                "no-image", f"no registry gives the image {image}: {said(error)}", _no_image(image)
            ) from None

    def build(self, root: Path, name: str, arguments: Sequence[tuple[str, str]] = ()) -> Pin:
        """Build a recipe's image, saying each step; raise CellUnavailable (``no-image``) where it cannot be built.

        ``arguments`` are the recipe's ARGs. Nothing but the recipe's folder is sent to the daemon.
        """
        words = name.split("-")
        # An image for another system's cell has an emulator in it, and is itself Linux.
        platform = docker_platform(words if words[0] == "linux" else ["linux", "", *words[1:]])
        image = f"{LOCAL}{name}"
        self._announce(f"building {image} for {platform}")
        try:
            with daemon_errors():
                events = self._client.build(
                    path=str(root / RECIPES / name),
                    tag=image,
                    platform=platform,
                    buildargs=dict(arguments),
                    rm=True,
                    forcerm=True,
                    decode=True,
                )
                for event in events:
                    if "error" in event:
                        raise ValueError(event["error"])
                    for line in filter(str.strip, event.get("stream", "").splitlines()):
                        self._announce(f"  {line}")
        except (CellUnavailable, ValueError) as error:
            message = error.message if isinstance(error, CellUnavailable) else said(error)
            raise CellUnavailable("no-image", f"{image} cannot be built here: {message}", "mend its recipe") from None
        found = self._look(image, platform)
        if found is None:
            raise CellUnavailable("no-image", f"what was built as {image} is not for {platform}", "mend its recipe")
        return _pin(image, platform, found)


_ARCHES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "armv7l": "arm/v7",
    "arm": "arm/v7",
    "armv6l": "arm/v6",
    "loongarch64": "loong64",
    "mips64le": "mips64le",
}


def docker_platform(words: Sequence[str]) -> str:
    """The platform of an image for ``linux-musl-x86_64``, in words; empty for what no container has."""
    from harness.model.platform import canonical_arch

    if words[0] != "linux" or len(words) < 3 or not words[2]:
        return ""
    arch = canonical_arch(words[2])
    return f"linux/{_ARCHES.get(arch, arch)}"


def _fits(platform: str, found: Mapping[str, Any]) -> bool:
    os_name, arch, *variant = platform.split("/")
    same = (found["Os"], found["Architecture"]) == (os_name, arch)
    # Many images do not say which variant they are for.
    return same and (not variant or found.get("Variant") in (None, "", variant[0]))


def _pin(image: str, platform: str, found: Mapping[str, Any]) -> Pin:
    repository = _repository(image)
    digests = sorted(one for one in found.get("RepoDigests") or () if one.partition("@")[0] == repository)
    return Pin(image=image, platform=platform, id=found["Id"], pull=digests[0] if digests else "")


def _repository(image: str) -> str:
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _tagged(reference: str) -> str:
    """With a tag or digest: without one the daemon would pull every tag."""
    last = reference.rpartition("/")[2]
    return reference if ":" in last or "@" in last else f"{reference}:latest"


def _follow(events: Any, reference: str, announce: Announce) -> None:
    """Say every moment how much of a pull has come; raise ValueError with what the daemon says is wrong."""
    layers: dict[str, tuple[int, int]] = {}
    last = time.monotonic()
    for event in events:
        if "error" in event:
            raise ValueError(event["error"])
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            layers[event["id"]] = (detail["current"], detail["total"])
        if layers and time.monotonic() - last > _SAID_EVERY:
            last = time.monotonic()
            done, total = (sum(part) / 1e6 for part in zip(*layers.values(), strict=True))
            announce(f"pulling {reference}: {done:.0f} of {total:.0f} MB")


def _build(name: str) -> str:
    return f"harness images build {name}"


def _no_image(image: str) -> str:
    return f"docker pull {image}, or build one and name it in the runner's `image:`"
