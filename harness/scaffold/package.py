"""What a Python package in the folder means for a project in it: its Pythons, and who else reads the top level.

Read from pyproject.toml, setup.cfg and the folder itself. A file that cannot be read says nothing here.
"""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from harness.scaffold import texts

KNOWN_PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
# Folders that nobody means as a package, among those that setuptools might take for one.
_NO_PACKAGES = frozenset(
    {"tests", "test", "docs", "doc", "examples", "scripts", "tools", "benchmarks", "build", "dist"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """A file that somebody owns, the lines that it lacks, and what shows that it has them."""

    name: str
    lacks: str
    sign: str


@dataclass(frozen=True, slots=True)
class Package:
    """The settings of a folder; all empty where there are none."""

    folder: Path
    project: dict[str, Any] = field(default_factory=dict)
    setup: configparser.ConfigParser = field(default_factory=lambda: configparser.ConfigParser(interpolation=None))

    @classmethod
    def read(cls, folder: Path) -> Package:
        """Read what is there."""
        setup = configparser.ConfigParser(interpolation=None)
        try:
            setup.read(folder / "setup.cfg", encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            setup = configparser.ConfigParser(interpolation=None)
        return cls(folder, _toml(folder / "pyproject.toml"), setup)

    def declared_pythons(self) -> list[str]:
        """The series that its classifiers name."""
        listed = _table(self.project, "project").get("classifiers")
        words = [text for text in listed if isinstance(text, str)] if isinstance(listed, list) else []
        named = {text.removeprefix("Programming Language :: Python :: ") for text in words}
        return [series for series in KNOWN_PYTHONS if series in named]

    def allows(self, python: str) -> bool:
        """Whether requires-python admits the newest of a series, such as 3.12, 3.13t or pp311."""
        try:
            required = SpecifierSet(str(_table(self.project, "project").get("requires-python", "")))
        except InvalidSpecifier:
            return True
        minor = re.search(r"3\.?(\d+)", python)
        return minor is None or required.contains(f"3.{minor[1]}.99")

    def tox(self) -> Addition | None:
        """What the configuration of tox lacks where it is not in tox.ini, which would hide it."""
        tool = _table(self.project, "tool", "tox")
        if (self.folder / "tox.ini").exists():
            return None
        if self.setup.has_section("tox:tox"):
            return Addition(name="setup.cfg", lacks=texts.TOX_CROSS, sign="[testenv:cross]")
        if "legacy_tox_ini" in tool:
            return Addition(name="pyproject.toml", lacks=texts.TOX_CROSS, sign="[testenv:cross]")
        if tool:
            return Addition(
                name="pyproject.toml",
                lacks=texts.TOX_TOML.replace("{table}", "tool.tox.env.cross"),
                sign="[tool.tox.env.cross]",
            )
        if (self.folder / "tox.toml").exists():
            return Addition(name="tox.toml", lacks=texts.TOX_TOML.replace("{table}", "env.cross"), sign="[env.cross]")
        return None

    def setuptools(self) -> Addition | None:
        """What keeps setuptools, which guesses the packages of a flat layout, from refusing to guess among more folders.

        https://setuptools.pypa.io/en/latest/userguide/package_discovery.html#flat-layout
        """
        build = _table(self.project, "build-system")
        settings = _table(self.project, "tool", "setuptools")
        is_guessing = (
            "project" in self.project
            and str(build.get("build-backend", "setuptools")).startswith("setuptools")
            and not {"packages", "py-modules", "package-dir"} & settings.keys()
            and not any(self.setup.has_option("options", name) for name in ("packages", "py_modules", "package_dir"))
            and not (self.folder / "src").is_dir()
            and not (self.folder / "setup.py").exists()
        )
        packages = self._packages() if is_guessing else []
        modules = self._modules() if is_guessing and not packages else []
        if packages:
            include = json.dumps([pattern for name in packages for pattern in (name, f"{name}.*")])
            lacks, sign = f"[tool.setuptools.packages.find]\ninclude = {include}\n", "[tool.setuptools"
        elif modules:
            lacks, sign = f"[tool.setuptools]\npy-modules = {json.dumps(modules)}\n", "[tool.setuptools"
        else:
            return None
        return Addition(name="pyproject.toml", lacks=texts.SETUPTOOLS_WHY + lacks, sign=sign)

    def _packages(self) -> list[str]:
        found = (path.parent.name for path in self.folder.glob("*/__init__.py"))
        return sorted(name for name in found if name.isidentifier() and name not in _NO_PACKAGES)

    def _modules(self) -> list[str]:
        name = str(_table(self.project, "project").get("name", "")).replace("-", "_").replace(".", "_")
        return [name] if name and (self.folder / f"{name}.py").is_file() else []


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return {}


def _table(value: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        found = value.get(name)
        value = found if isinstance(found, dict) else {}
    return value
