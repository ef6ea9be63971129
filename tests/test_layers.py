"""The architecture, held over the syntax trees: who may import whom, who may print, what a command may load.

The layers are those of CONTRIBUTING.md. A module without a layer fails: deciding where it belongs comes first.
Imports under TYPE_CHECKING and inside functions count like any other.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "harness"

LAYERS = (
    ("cli", "plugin", "__main__"),
    ("engine", "store", "scaffold"),
    ("runners", "reports", "wheels"),
    ("plan", "judge", "conclude", "conformance", "divergence", "wire", "facts"),
    ("matrix", "fixtures", "ledger", "document"),
    ("model", "errors"),
    ("", "agent", "probe"),  # the version, and what stands alone
)
DEPTH = {unit: depth for depth, units in enumerate(LAYERS) for unit in units}
ADAPTERS = frozenset({"runners", "reports", "wheels"})
# Programs that are sent to cells as text: whoever needs them may have them, they may have nothing of ours.
SENT = frozenset({"harness.agent", "harness.probe"})
EDGES = frozenset({"cli", "__main__"})

HEAVY = ("deepdiff", "docker", "jinja2", "paramiko", "pydantic", "pytest", "rich", "yaml")
NOT_FOR_A_PLAN = ("deepdiff", "docker", "jinja2", "paramiko", "pytest")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(PATHS[module].read_bytes(), module)


def unit(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


OURS = [name for name in PATHS if name not in SENT and unit(name) in DEPTH]


def imported(module: str) -> Iterator[str]:
    """Every module that is imported anywhere in this one; of ours the very module, not the package it is in."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: write imports of our own modules in full"
            base = node.module or ""
            for name in (f"{base}.{alias.name}" for alias in node.names):
                yield name if name in PATHS else base


def of_ours(module: str) -> set[str]:
    return {name for name in imported(module) if name.split(".")[0] == "harness"}


def test_every_module_has_a_layer() -> None:
    homeless = {unit(name) for name in PATHS} - set(DEPTH)
    assert not homeless, "decide on a layer in LAYERS and in CONTRIBUTING.md"


@pytest.mark.parametrize("module", OURS)
def test_imports_only_go_down(module: str) -> None:
    upward = {name for name in of_ours(module) if DEPTH.get(unit(name), -1) < DEPTH[unit(module)]}
    assert not upward


@pytest.mark.parametrize("module", [name for name in OURS if unit(name) in ADAPTERS])
def test_adapters_do_not_know_each_other(module: str) -> None:
    assert not {unit(name) for name in of_ours(module)} & (ADAPTERS - {unit(module)})


def test_no_imports_go_round_in_circles() -> None:
    try:
        TopologicalSorter({name: of_ours(name) - {name} for name in PATHS}).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", sorted(SENT))
def test_what_is_sent_to_cells_needs_the_standard_library_alone(module: str) -> None:
    assert {name.split(".")[0] for name in imported(module)} <= sys.stdlib_module_names | {"__future__"}


@pytest.mark.parametrize("module", sorted(SENT))
def test_what_is_sent_to_cells_is_python_3_8(module: str) -> None:
    ast.parse(PATHS[module].read_bytes(), module, feature_version=(3, 8))


def outbursts(module: str) -> Iterator[str]:
    """The places of a module that print or end the process."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "exit", "quit"):
            yield f"{module}:{node.lineno}: {node.func.id}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in (("sys", "exit"), ("os", "_exit")):
                yield f"{module}:{node.lineno}: {node.value.id}.{node.attr}"
        elif isinstance(node, ast.Name) and node.id == "SystemExit" and isinstance(node.ctx, ast.Load):
            yield f"{module}:{node.lineno}: SystemExit"


@pytest.mark.parametrize("module", [name for name in OURS if unit(name) not in EDGES])
def test_nobody_but_the_command_line_prints_or_exits(module: str) -> None:
    assert not list(outbursts(module))


@pytest.mark.parametrize("module", PATHS)
def test_every_module_says_what_it_promises(module: str) -> None:
    assert ast.get_docstring(tree(module))


@pytest.mark.parametrize("module", OURS)
def test_everything_public_says_what_it_promises(module: str) -> None:
    silent = [
        f"{module}.{node.name}"
        for node in tree(module).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent


def loaded(*command: str) -> set[str]:
    """The top-level modules that a fresh interpreter loads for this command, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    times = (line for line in done.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip().split(".")[0] for line in times}


def test_the_package_itself_loads_nothing() -> None:
    assert harness.__version__
    assert not loaded("-c", "import harness") & {*HEAVY, "click"}


def test_help_loads_nothing_heavy() -> None:
    assert not loaded("-m", "harness", "--help") & set(HEAVY)


def test_a_plan_loads_no_transport_and_no_test_framework() -> None:
    assert not loaded("-m", "harness", "plan") & set(NOT_FOR_A_PLAN)
