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
from pathlib import Path

from harness.errors import Place, Problem, UsageError
from harness.matrix import json_schema
from harness.matrix.corpora import DEFAULT
from harness.model.cell import Corpus
from harness.scaffold import texts
from harness.scaffold.detection import Detected, detect
from harness.scaffold.writing import create_file

MATRIX_NAMES = ("matrix.yaml", "matrix.yml")
SCHEMA_NAME = "matrix.schema.json"
USUAL_PYTHONS = ("3.12", "3.13")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a file that was there already lacks: for its owner to add."""

    name: str
    lacks: str


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


def scaffold(folder: Path) -> Scaffolded:
    """Write a project into a folder, which is made where there is none.

    Raises UsageError (H0005) when it has a matrix file, before anything is written; LocalTrouble for the disk.
    """
    for name in MATRIX_NAMES:
        if (folder / name).exists():
            raise UsageError(
                Problem(id="H0005", place=Place(path=str(folder / name)), message="there is a matrix file already")
            )
    found = detect(folder) if folder.is_dir() else ()
    written: list[str] = []
    kept: list[str] = []
    shown: list[Shown] = []
    for file in _files(found):
        path = folder / file.name
        if create_file(path, file.text.encode()):
            written.append(file.name)
            continue
        kept.append(file.name)
        if file.sign and file.sign not in _read(path):
            shown.append(Shown(name=file.name, lacks=file.essence))
    return Scaffolded(written=tuple(written), kept=tuple(kept), shown=tuple(shown), corpora=found)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _files(found: Sequence[Detected]) -> list[_File]:
    corpora = [one.corpus for one in found] or [DEFAULT]
    files = [] if found else _first_fixture()
    files += [
        _File(name="runners/hosts.yaml", text=texts.HOSTS),
        _File(name="reports/.gitignore", text=texts.REPORTS_IGNORE),
    ]
    attributes = "".join(f"{'*' if one.path == '.' else f'{one.path}/**'} -text\n" for one in corpora)
    files += [
        _File(
            name=".gitattributes",
            text=texts.ATTRIBUTES_INTRO + attributes,
            essence=texts.ATTRIBUTES_INTRO + attributes,
            sign=attributes.splitlines()[0],
        ),
        _File(name="tox.ini", text=texts.TOX_INTRO + texts.TOX_CROSS, essence=texts.TOX_CROSS, sign="[testenv:cross]"),
    ]
    # Not where something else lies among the fixtures: that may be the user's own tests.
    paths = [one.corpus.path for one in found if _is_pure(one)] if found else [DEFAULT.path]
    if paths:
        ignored = f"collect_ignore = {json.dumps(paths)}\n"
        text = texts.CONFTEST_INTRO + ignored
        files.append(_File(name="conftest.py", text=text, essence=ignored, sign="collect_ignore"))
    schema = json.dumps(json_schema(), indent=1) + "\n"
    files += [_File(name=SCHEMA_NAME, text=schema), _File(name=MATRIX_NAMES[0], text=_matrix(corpora))]
    return files


def _is_pure(one: Detected) -> bool:
    return one.corpus.path != "." and not (one.corpus.exclude or one.loaded.unblessed or one.loaded.problems)


def _first_fixture() -> list[_File]:
    return [
        _File(name="fixtures/hello/main.py", text=texts.HELLO),
        _File(name="fixtures/hello/expected.stdout", text=texts.HELLO_SAYS),
    ]


def _matrix(corpora: Sequence[Corpus]) -> str:
    pythons = "\n".join(f'  - "{version}"' for version in _pythons())
    described = "\n".join(map(_corpus, corpora))
    filled = texts.MATRIX.replace("{schema}", SCHEMA_NAME)
    return filled.replace("{pythons}", pythons).replace("{corpora}", described)


def _pythons() -> list[str]:
    """The usual ones and the Python that runs us, so that at least one cell answers at once."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        here += "t"
    if platform.python_implementation() == "PyPy":
        here = "pp" + here.replace(".", "")
    return sorted({*USUAL_PYTHONS, here}, key=lambda version: (version.startswith("pp"), _number(version), version))


def _number(version: str) -> int:
    return int(re.findall(r"\d+", version)[-1])


def _corpus(corpus: Corpus) -> str:
    lines = [f"path: {_scalar(corpus.path)}"]
    if corpus.layout != "auto":
        lines.append(f"layout: {corpus.layout}")
    if corpus.program != "main.py":
        lines.append(f"program: {_scalar(corpus.program)}")
    if corpus.exclude:
        lines.append("exclude:  # no golden is in them")
        lines += [f"  - {_scalar(pattern)}" for pattern in corpus.exclude]
    return "  - " + "\n    ".join(lines)


def _scalar(text: str) -> str:
    """Text as YAML reads it: plain where that is safe, else in quotes, whose rules are those of JSON."""
    return text if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_/-]*(\.py)?", text) else json.dumps(text, ensure_ascii=False)
