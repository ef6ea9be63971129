"""The matrix of the cells that the lab has built: `python -m tests.lab.matrix FOLDER` writes it, with its inventory.

Every cell is named as the lab names it, since it has several of one platform and version; what each really is, is
measured when it runs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT.parent / "shared" / "lab" / "lab"
REQUIRED = (
    "pyenv-3.12.1",
    "glibc-amd64-3.13",
    "musl-amd64-3.13",
    "glibc-arm64-3.13",
    "glibc-i386-3.13",
    "glibc-s390x-3.13",
    "nogil-amd64-3.13t",
    "windows-wine-3.12.1",
    "windows-wine-3.13.0",
    "pyodide-0.27.7",
    "pypy-amd64",
    "glibc-amd64-3.11",
    "pyenv-3.13.0",
)
"""What has to be there where the lab is; `lab up` builds it."""

_SCALE = {"qemu": 15, "wine": 3, "wasm": 3}
_WINE = "the prefix that wine works in belongs to root, and is where Windows keeps its temporary files"


def lab_cells() -> list[dict[str, Any]]:
    """What `lab cells` says; empty where there is no lab."""
    if not LAB.exists():
        return []
    done = subprocess.run([sys.executable, LAB, "cells"], capture_output=True, text=True, check=True)
    cells: list[dict[str, Any]] = json.loads(done.stdout)
    return cells


def matrix(cells: list[dict[str, Any]], corpus: str) -> dict[str, Any]:
    """The matrix of these cells over the corpus in a folder, as data; JSON is YAML."""
    return {"cells": [_cell(cell) for cell in cells if _is_served(cell)], "corpora": [{"path": corpus}]}


def _is_served(cell: dict[str, Any]) -> bool:
    return cell["kind"] in ("docker", "pyodide") and cell["facts"]["implementation"] != "micropython"


def _cell(cell: dict[str, Any]) -> dict[str, Any]:
    facts = cell["facts"]
    entry: dict[str, Any] = {"platform": _platform(facts), "python": cell["name"], "tier": 1}
    if cell["kind"] == "pyodide":
        entry |= {"runners": ["local"], "subject": {"command": cell["python"]}}
    else:
        options: dict[str, Any] = {"image": cell["image"], "python": cell["python"], "platform": cell["platform"]}
        if facts["emulated"] == "wine":
            loosened = {"user": "0:0", "root": "writable"}
            options["loosen"] = {name: {"to": to, "because": _WINE} for name, to in loosened.items()}
            entry["subject"] = {"command": [rf"Z:\py\{facts['version']}\python.exe"]}
            entry |= {"normalise": ["crlf"], "env": {"PYTHONUTF8": "1"}}
        entry["runners"] = [{"docker": options}]
    if facts["arch"] == "aarch64":
        entry["env"] = {"QEMU_CPU": "cortex-a72"}
    if facts["emulated"] in _SCALE:
        entry["timeout-scale"] = _SCALE[facts["emulated"]]
    return entry


def _platform(facts: dict[str, Any]) -> str:
    if facts["os"] == "linux":
        return f"linux-{facts['libc'].split()[0]}-{facts['arch']}"
    return {"windows": "windows-amd64", "emscripten": "emscripten-wasm32"}[facts["os"]]


def main(folder: Path) -> None:
    """Write matrix.yaml into a folder, over this repository's corpus."""
    cells = lab_cells()
    missing = sorted(set(REQUIRED) - {cell["name"] for cell in cells})
    if missing:
        sys.exit(f"the lab has not built {', '.join(missing)}")
    folder.mkdir(parents=True, exist_ok=True)
    # A corpus lies below its matrix, and no link leads to it.
    shutil.copytree(ROOT / "fixtures", folder / "fixtures", dirs_exist_ok=True)
    text = json.dumps(matrix(cells, "fixtures"), indent=1)
    (folder / "matrix.yaml").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
