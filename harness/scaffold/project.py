"""A new project in a folder: what each of its files says, and which of them are written.

The matrix file is written last: as long as it is missing, the same command can be given again.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from harness.fixtures import load_corpus
from harness.matrix import json_schema, load_matrix
from harness.matrix.corpora import DEFAULT
from harness.model.cell import Corpus
from harness.model.fixture import Fixture
from harness.runners.local import this_platform
from harness.scaffold import texts
from harness.scaffold.detection import Detected, detect, first_corpus
from harness.scaffold.package import KNOWN_PYTHONS, Package
from harness.scaffold.writing import create_file

MATRIX_NAMES = ("matrix.yaml", "matrix.yml")
SCHEMA_NAME = "matrix.schema.json"
USUAL_PYTHONS = ("3.12", "3.13")
_ADD = "add this to it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a file that was there already lacks, for its owner to add, and in words what to do with it."""

    name: str
    lacks: str
    how: str = _ADD


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaffolded:
    """What came of it. Names are relative to the folder; ``corpora`` are those that were there."""

    written: tuple[str, ...]
    kept: tuple[str, ...]
    shown: tuple[Shown, ...]
    corpora: tuple[Detected, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One file of a project: its text where there is none, and what another's must have of it."""

    name: str
    text: str
    essence: str = ""
    sign: str = ""
    how: str = _ADD


def scaffold(folder: Path) -> Scaffolded:
    """Write what a folder lacks to be a project; the folder is made where there is none.

    A file that is there is kept, and a matrix file is heard: its corpora are those of the project. Raises InputError,
    before anything is written, when it is wrong; LocalTrouble for the disk.
    """
    matrix = next((name for name in MATRIX_NAMES if (folder / name).exists()), MATRIX_NAMES[0])
    package = Package.read(folder)
    if (folder / matrix).exists():
        there = load_matrix(folder / matrix, local=this_platform()).corpora
        found = tuple(Detected(corpus=one, loaded=load_corpus(folder, one)) for one in there)
    else:
        found = detect(folder) if folder.is_dir() else ()
    written: list[str] = []
    kept: list[str] = []
    shown: list[Shown] = []
    for file in _files(folder, found, package, matrix):
        path = folder / file.name
        if file.text and create_file(path, file.text.encode()):
            written.append(file.name)
            continue
        kept.append(file.name)
        if file.sign and file.sign not in _read(path):
            shown.append(Shown(name=file.name, lacks=file.essence, how=file.how))
    return Scaffolded(written=tuple(written), kept=tuple(dict.fromkeys(kept)), shown=tuple(shown), corpora=found)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _files(folder: Path, found: Sequence[Detected], package: Package, matrix: str) -> list[_File]:
    """The files of a project in the order in which they are written; the matrix is the last."""
    corpora = [one.corpus for one in found] or [first_corpus(folder)]
    attributes = "".join(f"{'*' if one.path == '.' else f'{one.path}/**'} -text\n" for one in corpora)
    schema = json.dumps(json_schema(), indent=2) + "\n"
    return [
        *([] if found else _first_fixture()),
        _File(name="runners/hosts.yaml", text=texts.HOSTS),
        _File(name="reports/.gitignore", text=texts.REPORTS_IGNORE),
        _File(
            name=".gitattributes",
            text=texts.ATTRIBUTES_INTRO + attributes,
            essence=texts.ATTRIBUTES_INTRO + attributes,
            sign=attributes.splitlines()[0],
        ),
        *_tool_files(folder, found, package),
        _File(
            name=SCHEMA_NAME,
            text=schema,
            essence=f"harness schema > {SCHEMA_NAME}\n",
            sign=schema,
            how="it is another version's, and this renews it",
        ),
        _File(
            name=matrix,
            text=_matrix(corpora, _pythons(package)),
            essence=texts.SCHEMA_LINE.replace("{schema}", SCHEMA_NAME),
            sign="$schema=",
            how="as its first line this lets editors help with it",
        ),
    ]


def _tool_files(folder: Path, found: Sequence[Detected], package: Package) -> list[_File]:
    """The files of tox, pytest and setuptools; without text, one that is there under another name than ours."""
    elsewhere = package.tox()
    tox = _File(name="tox.ini", text=texts.TOX_INTRO + texts.TOX_CROSS, essence=texts.TOX_CROSS, sign="[testenv:cross]")
    if elsewhere:
        tox = _File(name=elsewhere.name, text="", essence=elsewhere.lacks, sign=elsewhere.sign)
    files = [tox]
    # Not where tests lie among the fixtures: they are the user's own.
    paths = [one.corpus.path for one in found if _has_no_tests(folder, one)] if found else [DEFAULT.path]
    if paths:
        ignored = texts.CONFTEST.replace("{paths}", json.dumps(paths))
        files.append(
            _File(name="conftest.py", text=texts.CONFTEST_INTRO + ignored, essence=ignored, sign="collect_ignore")
        )
    if guessing := package.setuptools():
        files.append(_File(name=guessing.name, text="", essence=guessing.lacks, sign=guessing.sign))
    return files


def _has_no_tests(folder: Path, one: Detected) -> bool:
    """Whether pytest may pass over the folder of a corpus: what looks like a test there is a part of a fixture."""
    if one.corpus.path == ".":
        return False
    parts = {path for fixture in one.loaded.fixtures for path in _parts(fixture)}
    modules = set((folder / one.corpus.path).rglob("*.py")) - parts
    return not any(fnmatchcase(path.name, name) for path in modules for name in ("test_*", "*_test.py", "conftest.py"))


def _parts(fixture: Fixture) -> list[Path]:
    return [path for _, path in fixture.files]


def _first_fixture() -> list[_File]:
    return [
        _File(name="fixtures/hello/main.py", text=texts.HELLO),
        _File(name="fixtures/hello/expected.stdout", text=texts.HELLO_SAYS),
    ]


def _matrix(corpora: Sequence[Corpus], pythons: Sequence[str]) -> str:
    listed = "\n".join(f'  - "{version}"' for version in pythons)
    described = "\n".join(map(_corpus, corpora))
    filled = (texts.SCHEMA_LINE + texts.MATRIX).replace("{schema}", SCHEMA_NAME)
    return filled.replace("{pythons}", listed).replace("{corpora}", described)


def _pythons(package: Package) -> list[str]:
    """Those that the package is for, else the usual ones; and the Python that runs us, so that one cell answers."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        here += "t"
    if platform.python_implementation() == "PyPy":
        here = "pp" + here.replace(".", "")
    wanted = {*(package.declared_pythons() or USUAL_PYTHONS), here}
    fit = [one for one in wanted if package.allows(one)] or [one for one in KNOWN_PYTHONS if package.allows(one)][-2:]
    return sorted(fit or wanted, key=lambda version: (version.startswith("pp"), _number(version), version))


def _number(version: str) -> int:
    return int(re.findall(r"\d+", version)[-1])


def _corpus(corpus: Corpus) -> str:
    lines = [f"path: {_scalar(corpus.path)}"]
    if corpus.layout != "auto":
        lines.append(f"layout: {corpus.layout}")
    if corpus.program != "main.py":
        lines.append(f"program: {_scalar(corpus.program)}")
    if corpus.exclude:
        lines.append("exclude:  # no fixtures: nothing says what they must print")
        lines += [f"  - {_scalar(pattern)}" for pattern in corpus.exclude]
    return "  - " + "\n    ".join(lines)


def _scalar(text: str) -> str:
    """Text as YAML reads it: plain where that is safe, else in quotes, whose rules are those of JSON."""
    return text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_/-]*(\.py)?", text) else json.dumps(text, ensure_ascii=False)
