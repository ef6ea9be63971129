"""Our own recipes of images: each is for a cell's platform, says whether it has been run, and names no registry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.model.platform import Platform
from harness.runners.images import LOCK, docker_platform, recipes

ROOT = Path(__file__).parents[1]
NAMES = recipes(ROOT)


def text(name: str) -> str:
    return (ROOT / "runners" / "images" / name / "Dockerfile").read_text(encoding="utf-8")


def test_there_is_a_recipe_for_each_libc_and_arch_that_wheels_are_for() -> None:
    kinds = ("linux-glibc-{}", "linux-glibc-{}-manylinux2014", "linux-glibc-{}-manylinux_2_28", "linux-musl-{}")
    assert {kind.format(arch) for kind in kinds for arch in ("x86_64", "aarch64")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_is_and_makes_nothing_up(name: str) -> None:
    recipe = text(name)
    os_name, libc, arch = name.split("-")[:3]
    assert str(Platform(os=os_name, libc=libc, arch=arch)) == f"{os_name}-{libc}-{arch}"
    assert docker_platform(name.split("-"))
    assert "\n# Not run here: " in recipe
    assert "sha256" not in recipe
    base = re.search(r"^ARG BASE=(\S+)\nFROM \$\{BASE\}$", recipe, re.MULTILINE)
    assert base is not None
    assert "." not in base[1].split("/")[0].split(":")[0]


@pytest.mark.parametrize("name", [name for name in NAMES if "aarch64" in name])
def test_the_recipes_of_two_arches_do_the_same(name: str) -> None:
    assert text(name).replace("aarch64", "ARCH") == text(name.replace("aarch64", "x86_64")).replace("x86_64", "ARCH")


def test_there_is_no_lock_file_without_images_that_were_had() -> None:
    assert not (ROOT / LOCK).exists()
