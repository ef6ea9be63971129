"""Which Python interpreters this machine has, each measured once by its real path, and which of them serves a cell.

Discovery never stops at a broken one: it is reported with its diagnosis. Nothing is downloaded or installed.
A warm discovery lists folders and starts nothing that was measured before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.model.cell import Cell, Facts
from harness.runners.candidates import Candidate, base_of, find_candidates
from harness.runners.diagnosis import Diagnosis
from harness.runners.measurement import Memory, measure
from harness.runners.programs import read_program

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """One interpreter that starts: its real path, the paths and sources by which it was found, what was measured."""

    path: Path
    found_as: tuple[str, ...]
    sources: tuple[str, ...]
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One interpreter that does not start, and why."""

    path: Path
    found_as: tuple[str, ...]
    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """Everything found, sorted by path; ``warnings`` are sentences about shims and the cache."""

    interpreters: tuple[Interpreter, ...]
    broken: tuple[Broken, ...]
    warnings: tuple[str, ...]


def discover(cache: Path | None, environ: Mapping[str, str] | None = None) -> Discovery:
    """Find and measure every interpreter; ``cache`` is the JSON file that remembers (None: nothing is remembered).

    ``environ`` is where to look (PATH, HOME, PYENV_ROOT, ...), by default this process's. Never raises.
    """
    listed = find_candidates(os.environ if environ is None else environ, cache.parent if cache else None)
    warnings = list(listed.warnings)
    found: dict[Path, set[Candidate]] = {}
    for candidate in listed.found:
        found.setdefault(candidate.target, set()).add(candidate)
    memory = Memory.load(cache)
    results = _measure_all(found, memory)
    _unwrap(found, results, memory)
    for path, result in sorted(results.items()):
        # a script that fails is a shim with nothing behind it: no interpreter is broken
        if isinstance(result, Diagnosis) and read_program(path).format == "a script":
            warnings.append(str(result))
            del results[path]
    try:
        memory.save()
    except OSError as error:
        warnings.append(f"{cache} cannot be written ({error.strerror}); interpreters will be measured again next time")
    interpreters, broken = [], []
    for path, result in sorted(results.items()):
        found_as = tuple(sorted({str(candidate.path) for candidate in found[path]}))
        if isinstance(result, Diagnosis):
            broken.append(Broken(path=path, found_as=found_as, diagnosis=result))
        else:
            sources = tuple(sorted({candidate.source for candidate in found[path]}))
            interpreters.append(Interpreter(path=path, found_as=found_as, sources=sources, facts=result))
    return Discovery(interpreters=tuple(interpreters), broken=tuple(broken), warnings=tuple(warnings))


def _measure_all(paths: Iterable[Path], memory: Memory) -> dict[Path, Facts | Diagnosis]:
    known = {path: memory.recall(path) for path in paths}
    results: dict[Path, Facts | Diagnosis] = {path: facts for path, facts in known.items() if facts is not None}
    unknown = [path for path, facts in known.items() if facts is None]
    if not unknown:
        return results
    with ThreadPoolExecutor(max_workers=min(8, max(2, os.cpu_count() or 1))) as pool:
        for path, result in zip(unknown, pool.map(measure, unknown), strict=True):
            results[path] = result
            if isinstance(result, Facts):
                memory.learn(path, result)
    return results


def _unwrap(found: dict[Path, set[Candidate]], results: dict[Path, Facts | Diagnosis], memory: Memory) -> None:
    """Replace each wrapper (a script, a launcher) by the interpreter that it starts, where that one starts alone."""
    wrappers = {
        path: base_of(Path(result.executable))
        for path, result in results.items()
        if isinstance(result, Facts) and result.executable and base_of(Path(result.executable)) != path
    }
    behind = _measure_all({real for real in wrappers.values() if real not in results}, memory)
    for wrapper, real in wrappers.items():
        result = results.get(real) or behind[real]
        if isinstance(result, Facts):
            results[real] = result
            found.setdefault(real, set()).update(found.pop(wrapper))
            del results[wrapper]


def matching(cell: Cell, interpreters: Sequence[Interpreter]) -> Interpreter | None:
    """Choose the interpreter that serves a cell, or None. Pure, and independent of the order given.

    A path in ``cell.interpreter`` decides alone, even against the cell's claim: whoever runs it finds it misplaced.
    Otherwise the claim must not be contradicted; then native comes before emulated, a release before a
    pre-release, the higher patch version, the smaller path. A cell that only has a name needs a path.
    """
    if cell.interpreter:
        named = (one for one in interpreters if cell.interpreter in (str(one.path), *one.found_as))
        return min(named, key=lambda one: str(one.path), default=None)
    if cell.python.series is None:
        return None
    fitting = [one for one in interpreters if not one.facts.contradictions(cell)]
    return min(fitting, key=lambda one: _rank(cell, one), default=None)


def _rank(cell: Cell, one: Interpreter) -> tuple[object, ...]:
    measured = one.facts.axes()
    unproven = sum(axis not in measured for axis in cell.axes() if axis not in ("platform", "interpreter"))
    version = _VERSION.match(one.facts.version)
    *numbers, stage, serial = version.groups() if version else ("0", "0", "0", "a", "0")
    preview = (("rc", "b", "a").index(stage) + 1, -int(serial)) if stage else (0, 0)
    newest = tuple(-int(part) for part in numbers)
    return unproven, one.facts.emulation != "native", stage is not None, newest, preview, str(one.path)
