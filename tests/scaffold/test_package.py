"""What a package's own files say, and what they lack once a project lies beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.scaffold.package import Package

SETUPTOOLS = (
    '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "a-b"\n'
)


def fill(folder: Path, files: dict[str, str]) -> Package:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return Package.read(folder)


@pytest.mark.parametrize(
    ("required", "python", "is_allowed"),
    [
        ("", "3.8", True),
        (">=3.11.4", "3.11", True),
        (">=3.12", "3.11", False),
        ("<3.14,>=3.10", "3.13t", True),
        (">=3.12", "pp311", False),
        ("no specifier", "3.11", True),
    ],
)
def test_a_requirement_admits_a_series_when_it_admits_its_newest(
    required: str, python: str, is_allowed: bool, tmp_path: Path
) -> None:
    package = fill(tmp_path, {"pyproject.toml": f'[project]\nrequires-python = "{required}"\n'})
    assert package.allows(python) is is_allowed


def test_classifiers_name_the_pythons_of_a_package(tmp_path: Path) -> None:
    prefix = "Programming Language :: Python :: "
    listed = ", ".join(f'"{prefix}{name}"' for name in ("3", "3 :: Only", "3.10", "3.12", "3.6"))
    assert fill(tmp_path, {"pyproject.toml": f"[project]\nclassifiers = [{listed}]\n"}).declared_pythons() == [
        "3.10",
        "3.12",
    ]


@pytest.mark.parametrize(
    ("files", "name", "first"),
    [
        ({"setup.cfg": "[tox:tox]\nenvlist = py\n"}, "setup.cfg", "[testenv:cross]"),
        ({"pyproject.toml": "[tool.tox]\nlegacy_tox_ini = '[tox]'\n"}, "pyproject.toml", "[testenv:cross]"),
        ({"pyproject.toml": "[tool.tox]\nenv_list = []\n"}, "pyproject.toml", "[tool.tox.env.cross]"),
        ({"tox.toml": "env_list = []\n"}, "tox.toml", "[env.cross]"),
    ],
)
def test_a_tox_ini_would_hide_what_tox_reads_elsewhere(
    files: dict[str, str], name: str, first: str, tmp_path: Path
) -> None:
    addition = fill(tmp_path, files).tox()
    assert addition
    assert (addition.name, addition.lacks.splitlines()[0], addition.sign) == (name, first, first)


@pytest.mark.parametrize("files", [{}, {"tox.ini": "", "tox.toml": ""}, {"pyproject.toml": "[tool.ruff]\n"}])
def test_otherwise_tox_reads_tox_ini(files: dict[str, str], tmp_path: Path) -> None:
    assert fill(tmp_path, files).tox() is None


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (
            {"one/__init__.py": "", "two/__init__.py": "", "tests/__init__.py": ""},
            'include = ["one", "one.*", "two", "two.*"]',
        ),
        ({"a_b.py": ""}, 'py-modules = ["a_b"]'),
    ],
)
def test_a_flat_layout_that_setuptools_guesses_is_to_be_named(files: dict[str, str], line: str, tmp_path: Path) -> None:
    addition = fill(tmp_path, {"pyproject.toml": SETUPTOOLS, **files}).setuptools()
    assert addition
    assert addition.lacks.splitlines()[-1] == line
    named = fill(tmp_path, {"pyproject.toml": f"{SETUPTOOLS}\n{addition.lacks}"})
    assert named.setuptools() is None


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": SETUPTOOLS.replace("setuptools.build_meta", "hatchling.build")},
        {"pyproject.toml": "[tool.ruff]\n"},
        {"pyproject.toml": "not toml ["},
        {"pyproject.toml": SETUPTOOLS, "src/one/__init__.py": ""},
        {"pyproject.toml": SETUPTOOLS, "setup.py": ""},
        {"pyproject.toml": SETUPTOOLS, "setup.cfg": "[options]\npackages = find:\n"},
        {"pyproject.toml": f"{SETUPTOOLS}[tool.setuptools]\npackages = []\n"},
    ],
)
def test_where_nothing_is_guessed_nothing_is_lacking(files: dict[str, str], tmp_path: Path) -> None:
    assert fill(tmp_path, {"one/__init__.py": "", **files}).setuptools() is None


def test_a_setup_file_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    assert fill(tmp_path, {"setup.cfg": "no section\n"}).tox() is None
