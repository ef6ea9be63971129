"""Cells that say equal bytes are one class, whoever answered first."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from harness.divergence.classes import classify, rank_of
from harness.model.cell import Cell, Facts
from harness.model.observation import Stream
from harness.model.platform import Platform, PythonTag
from harness.model.report import CellReport

A, B, C = (Stream(size=size, digest=letter * 64) for size, letter in ((1, "a"), (2, "b"), (3, "c")))


def any_rank(cell: str) -> tuple[int, ...]:
    return (len(cell),)


def a_cell(python: str, *, runner: str = "local", emulation: str = "native") -> CellReport:
    cell = Cell(platform=Platform.parse("linux-musl-x86_64"), python=PythonTag.parse(python))
    facts = Facts(os="linux", arch="x86_64", implementation="cpython", version="3.12.1", emulation=emulation)
    return CellReport(cell=cell, runner=runner, facts=facts)


def test_agreement_is_not_a_divergence() -> None:
    assert classify("f", A.digest, {"x": A, "y": A}, any_rank) is None
    assert classify("f", "", {"x": A, "y": A}, any_rank) is None
    assert classify("f", A.digest, {}, any_rank) is None


def test_one_class_that_is_not_the_expected_one_is_a_divergence() -> None:
    found = classify("f", B.digest, {"x": A, "y": A}, any_rank)
    assert found is not None
    assert [(group.cells, group.is_expected) for group in found.classes] == [(("x", "y"), False)]


def test_the_expected_class_comes_first_then_the_largest_then_the_smallest_digest() -> None:
    outputs = {"1": C, "2": C, "3": B, "4": B, "5": A}
    found = classify("f", A.digest, outputs, any_rank)
    assert found is not None
    assert [group.digest for group in found.classes] == [A.digest, B.digest, C.digest]
    assert [group.size for group in found.classes] == [1, 2, 3]
    assert found.expected == A.digest


@given(st.dictionaries(st.text(max_size=3), st.sampled_from([A, B, C])), st.sampled_from(["", A.digest]))
def test_classes_partition_the_cells_in_whatever_order_they_answered(outputs: dict[str, Stream], expected: str) -> None:
    found = classify("f", expected, outputs, any_rank)
    assert classify("f", expected, dict(reversed(outputs.items())), any_rank) == found
    if found is None:
        assert len({stream.digest for stream in outputs.values()} | ({expected} - {""} if outputs else set())) <= 1
        return
    assert sorted(cell for group in found.classes for cell in group.cells) == sorted(outputs)
    assert all(outputs[cell].digest == group.digest for group in found.classes for cell in group.cells)
    assert all(group.representative in group.cells for group in found.classes)


def test_the_representative_is_native_then_near_then_first_by_name() -> None:
    cells = (
        a_cell("cp311", emulation="qemu"),
        a_cell("cp312", runner="ssh"),
        a_cell("cp313", runner="docker"),
        a_cell("cp310", runner="docker"),
        a_cell("cp39", runner="custom"),
        replace(a_cell("cp38"), facts=None),
    )
    ids = [cell.cell.id for cell in cells]
    order = sorted([*ids, "unknown"], key=lambda cell: (rank_of(cells)(cell), cell))
    assert [cell.rpartition("/")[2] for cell in order] == [
        "cp310",
        "cp313",
        "cp312",
        "cp39",
        "cp38",
        "cp311",
        "unknown",
    ]
    found = classify("f", B.digest, dict.fromkeys(ids, A), rank_of(cells))
    assert found is not None
    assert found.classes[0].representative == "linux-musl-x86_64/cp310"
