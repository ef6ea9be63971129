"""Output classes: the cells of one fixture grouped by equal digest, and the cell that stands for each group.

Equal inputs give equal classes, in whatever order the cells answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from harness.model.observation import Stream
from harness.model.report import CellReport, Divergence, OutputClass

Rank = Callable[[str], tuple[int, ...]]
"""How willingly a cell represents its class, by id; the smallest is taken."""

_NEAREST = ("local", "docker", "ssh")


def rank_of(cells: Iterable[CellReport]) -> Rank:
    """Rank cells native before unknown before emulated, then by how near their runner is.

    A cell that is not among ``cells`` comes last.
    """
    ranks = {report.cell.id: (_emulated(report), _distance(report.runner)) for report in cells}
    return lambda cell: ranks.get(cell, (3, 0))


def _emulated(report: CellReport) -> int:
    emulation = report.facts.emulation if report.facts else "unknown"
    return {"native": 0, "unknown": 1, "": 1}.get(emulation, 2)


def _distance(runner: str) -> int:
    return _NEAREST.index(runner) if runner in _NEAREST else len(_NEAREST)


def classify(fixture: str, expected: str, outputs: Mapping[str, Stream], rank: Rank) -> Divergence | None:
    """Group the cells of a fixture by what they said.

    ``expected`` is the digest of what they should say, empty when nobody declared it. None means: no divergence,
    because all cells are in one class and that class is the expected one (any one, when nothing is expected).
    A single class that is not the expected one is a divergence. Ties in ``rank`` go to the smaller cell id.
    """
    groups: dict[str, list[str]] = {}
    for cell in sorted(outputs):
        groups.setdefault(outputs[cell].digest, []).append(cell)
    if len(groups) <= 1 and (not expected or groups.keys() <= {expected}):
        return None
    classes = [
        OutputClass(
            digest=digest,
            size=outputs[cells[0]].size,
            cells=tuple(cells),
            representative=min(cells, key=lambda cell: (rank(cell), cell)),
            is_expected=digest == expected,
        )
        for digest, cells in groups.items()
    ]
    classes.sort(key=lambda group: (not group.is_expected, -len(group.cells), group.digest))
    return Divergence(fixture=fixture, expected=expected, classes=tuple(classes))
