"""A matrix file expands to the cells that its author meant, in the order in which they were written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError, Problem
from harness.matrix import json_schema, load_matrix
from harness.model.cell import Cell, Corpus, Exclusion, Matrix, Normalisation, Oracle, Tier
from harness.model.platform import Platform

ROOT = Path(__file__).parents[2]
LOCAL = Platform.parse("linux-glibc-x86_64")


def load(folder: Path, text: str, local: Platform = LOCAL) -> Matrix:
    path = folder / "matrix.yaml"
    path.write_text(text, encoding="utf-8")
    return load_matrix(path, local=local)


def cell(matrix: Matrix, id: str) -> Cell:
    return next(cell for cell in matrix.cells if cell.id == id)


def names(cell: Cell) -> tuple[str, ...]:
    return tuple(entry.name for entry in cell.runners)


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(folder, text)
    return [f"{problem.id} {problem.message}" for problem in caught.value.problems]


def test_platforms_times_pythons_in_the_order_written(tmp_path: Path) -> None:
    matrix = load(tmp_path, "platforms: [windows-amd64, linux-musl-x86_64]\npythons: [3.12, 3.10, 3.13t]\n")
    assert [cell.id for cell in matrix.cells] == [
        "windows-amd64/cp312",
        "windows-amd64/cp310",
        "windows-amd64/cp313t",
        "linux-musl-x86_64/cp312",
        "linux-musl-x86_64/cp310",
        "linux-musl-x86_64/cp313t",
    ]
    assert {(cell.tier, names(cell)) for cell in matrix.cells} == {(Tier.ONE, ("local", "docker", "ssh"))}
    assert matrix.path == str(tmp_path / "matrix.yaml")
    assert matrix.store == ".harness"


@pytest.mark.parametrize(
    ("platform", "python", "weaker"),
    [("1", "2", Tier.TWO), ("3", "2", Tier.THREE), ("advisory", "1", Tier.ADVISORY), ("1", "1", Tier.ONE)],
)
def test_a_cell_has_the_weaker_tier(tmp_path: Path, platform: str, python: str, weaker: Tier) -> None:
    text = f"platforms: {{macos-arm64: {{tier: {platform}}}}}\npythons: {{'3.12': {{tier: {python}}}}}\n"
    assert load(tmp_path, text).cells[0].tier is weaker


def test_settings_of_platform_python_and_include_come_together(tmp_path: Path) -> None:
    matrix = load(
        tmp_path,
        """
platforms:
  linux-glibc-s390x:
    {tier: 3, runners: [ssh], env: {A: "1", B: x}, carry: [QEMU_CPU], normalise: [crlf], timeout-scale: 4}
  macos-arm64: {because: "a laptop"}
pythons:
  "3.12": {env: {B: y}, carry: [QEMU_CPU, Q], normalise: [{regex: "0x[0-9a-f]+", replacement: ADDR}], timeout-scale: 2}
include:
  - {cells: "*", tier: 2, runners: [docker, local, docker], env: {C: ""}}
  - {cells: "*s390x/*", tier: advisory, timeout-scale: 0.5, because: "slow"}
""",
    )
    emulated = cell(matrix, "linux-glibc-s390x/cp312")
    assert emulated.tier is Tier.ADVISORY
    assert names(emulated) == ("docker", "local")
    assert dict(emulated.env) == {"A": "1", "B": "y", "C": ""}
    assert emulated.carry == ("QEMU_CPU", "Q")
    assert emulated.normalise == (
        Normalisation(name="crlf"),
        Normalisation(name="regex", pattern="0x[0-9a-f]+", replacement="ADDR"),
    )
    assert emulated.timeout_scale == 0.5
    assert cell(matrix, "macos-arm64/cp312").tier is Tier.TWO
    assert cell(matrix, "macos-arm64/cp312").timeout_scale == 2


def test_exclusions_are_kept_with_their_reasons(tmp_path: Path) -> None:
    matrix = load(
        tmp_path,
        "platforms: [local, windows-arm64]\npythons: [3.12, 3.13t]\n"
        "exclude: [{cells: 'windows-arm64/cp313t', because: no build}, {cells: local/cp312, because: busy}]\n",
    )
    assert [cell.id for cell in matrix.cells] == ["linux-glibc-x86_64/cp313t", "windows-arm64/cp312"]
    assert matrix.exclusions == (
        Exclusion(cells="windows-arm64/cp313t", because="no build"),
        Exclusion(cells="linux-glibc-x86_64/cp312", because="busy"),
    )


def test_explicit_cells_follow_the_product(tmp_path: Path) -> None:
    matrix = load(
        tmp_path,
        "cells:\n  - {platform: local, python: gopy, tier: advisory, runners: [local], interpreter: /opt/gopy}\n"
        "  - {platform: macos-arm64, python: pp311}\nplatforms: [windows-amd64]\npythons: ['3.1']\n",
    )
    assert [cell.id for cell in matrix.cells] == ["windows-amd64/cp31", f"{LOCAL}/gopy", "macos-arm64/pp311"]
    assert matrix.cells[1].interpreter == "/opt/gopy"
    assert names(matrix.cells[1]) == ("local",)


def test_local_is_this_computer_and_gives_way_to_its_own_slug(tmp_path: Path) -> None:
    text = "platforms:\n  local: {tier: 2}\n  linux-glibc-x86_64: {tier: 3}\npythons: [3.12]\n"
    assert [(cell.id, cell.tier) for cell in load(tmp_path, text).cells] == [(f"{LOCAL}/cp312", Tier.THREE)]
    elsewhere = load(tmp_path, text, Platform.parse("macos-arm64"))
    assert [cell.id for cell in elsewhere.cells] == ["macos-arm64/cp312", "linux-glibc-x86_64/cp312"]


def test_without_corpora_the_folder_fixtures_is_one_if_it_is_there(tmp_path: Path) -> None:
    text = "platforms: [local]\npythons: [3.12]\n"
    assert load(tmp_path, text).corpora == ()
    (tmp_path / "fixtures").mkdir()
    assert load(tmp_path, text).corpora == (Corpus(path="fixtures"),)
    assert load(tmp_path, f"{text}corpora: []\n").corpora == ()


def test_corpora_say_everything_that_they_can_say(tmp_path: Path) -> None:
    for name in ("a/inner [1]", "b", "c"):
        (tmp_path / name).mkdir(parents=True)
    matrix = load(
        tmp_path,
        """
platforms: [local]
pythons: [3.12]
store: .cache/harness
corpora:
  - {path: a/, exclude: [drafts/*], oracle: {reference: local/cp312}, normalise: [final-newline], timeout: 2.5}
  - {path: "a/inner [1]", layout: flat, oracle: consensus}
  - {path: b, program: run.py, oracle: {command: [node, pyrun.mjs]}}
  - {path: c, source: "*.mochi", prepare: [mochi, "--out={output}", "{source}"]}
""",
    )
    assert matrix.store == ".cache/harness"
    assert matrix.corpora == (
        Corpus(
            path="a",
            exclude=("drafts/*", "inner [[]1]"),
            oracle=Oracle(kind="reference", cell=f"{LOCAL}/cp312"),
            normalise=(Normalisation(name="final-newline"),),
            timeout=2.5,
        ),
        Corpus(path="a/inner [1]", layout="flat", oracle=Oracle(kind="consensus")),
        Corpus(path="b", program="run.py", oracle=Oracle(kind="command", command=("node", "pyrun.mjs"))),
        Corpus(path="c", source="*.mochi", prepare=("mochi", "--out={output}", "{source}")),
    )


def test_the_matrix_files_own_folder_may_be_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "fixtures").mkdir()
    text = "platforms: [local]\npythons: [3.12]\ncorpora: [{path: .}, {path: fixtures}]\n"
    assert load(tmp_path, text).corpora == (Corpus(path=".", exclude=("fixtures",)), Corpus(path="fixtures"))


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there that tests lack")
def test_a_corpus_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "linked").symlink_to("real")
    text = "platforms: [local]\npythons: [3.12]\ncorpora: [{path: linked/inner}]\n"
    assert problems(tmp_path, text) == ["H0211 corpora[0].path: 'linked/inner' goes through a symbolic link"]


def test_mistakes_that_need_the_whole_file_are_told_together(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "platforms: [local]\npythons: [3.12, cp312]\nexclude: [{cells: x, because: y}]\n"
        "include: [{cells: y, tier: 1}]\ncorpora: [{path: z, source: '*'}]\n",
    )
    assert [problem.split()[0] for problem in found] == ["H0205", "H0206", "H0206", "H0212", "H0107"]


def test_a_matrix_has_a_bounded_number_of_cells(tmp_path: Path) -> None:
    platforms, pythons = ([f"{stem}{number}" for number in range(200)] for stem in ("os-a", "py"))
    found = problems(tmp_path, f"platforms: [{', '.join(platforms)}]\npythons: [{', '.join(pythons)}]\n")
    assert found == ["H0109 platforms: with the pythons there are more than 10000 cells"]
    found = problems(tmp_path, f"platforms: [local]\npythons: [{', '.join(pythons * 6)}]\n")
    assert found == ["H0109 pythons: has more than 1000 entries"]


def test_the_projects_own_matrix_keeps_its_promise() -> None:
    matrix = load_matrix(ROOT / "matrix.yaml", local=LOCAL)
    gating = {
        "linux-glibc-x86_64",
        "linux-glibc-aarch64",
        "linux-musl-x86_64",
        "macos-x86_64",
        "macos-arm64",
        "windows-amd64",
    }
    assert {cell.id for cell in matrix.cells if cell.tier is Tier.ONE} == {f"{slug}/cp312" for slug in gating}
    assert cell(matrix, "macos-arm64/cp313t").tier is Tier.TWO
    assert cell(matrix, "linux-musl-aarch64/cp312").tier is Tier.TWO
    assert cell(matrix, "linux-glibc-s390x/cp314t").tier is Tier.THREE
    assert cell(matrix, "linux-glibc-riscv64/cp312").tier is Tier.ADVISORY
    assert cell(matrix, "windows-amd64/cp314").tier is Tier.ADVISORY


def test_the_json_schema_accepts_what_the_loader_accepts() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(yaml.safe_load((ROOT / "matrix.yaml").read_text(encoding="utf-8")))
    validator.validate(
        {"platforms": ["local"], "pythons": [3.12, "3.13t"], "corpora": [{"path": "x", "oracle": "golden"}]}
    )
    wrongs: tuple[dict[str, object], ...] = (
        {"platfroms": []},
        {"store": None},
        {"corpora": [{"path": "x", "layout": "flatt"}]},
        {"exclude": [{}]},
    )
    assert not any(validator.is_valid(wrong) for wrong in wrongs)


def test_every_key_of_the_json_schema_is_described() -> None:
    schema = json_schema()
    assert "null" not in json.dumps(schema)
    silent = [
        f"{name}.{key}"
        for name, part in {"matrix": schema, **schema["$defs"]}.items()
        for key, value in part.get("properties", {}).items()
        if "description" not in value
    ]
    assert not silent


SCALARS = st.sampled_from(
    ["", "~", "3.1", "3.12", "local", "linux-musl-x86_64", "*", "x", "1", "-1", "crlf", "golden", "../x"]
)
KEYS = st.sampled_from(
    [
        "platforms",
        "pythons",
        "exclude",
        "include",
        "cells",
        "corpora",
        "store",
        "tier",
        "runners",
        "env",
        "carry",
        "normalise",
        "timeout-scale",
        "because",
        "platform",
        "python",
        "interpreter",
        "path",
        "layout",
        "program",
        "oracle",
        "prepare",
        "source",
        "timeout",
        "regex",
        "replacement",
        "reference",
        "command",
        "local",
        "linux-musl-x86_64",
        "3.12",
        "3.1",
        "zzz",
        "docker",
        "ssh",
        "image",
        "loosen",
        "memory",
        "to",
        "hosts",
        "subject",
        "files",
    ]
)
TREES = st.recursive(
    SCALARS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


@given(tree=st.dictionaries(KEYS, TREES, min_size=1, max_size=5), style=st.sampled_from([None, '"']))
def test_no_tree_of_plausible_words_raises_anything_but_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, tree: object, style: str | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    path.write_text(yaml.safe_dump(tree, default_style=style, allow_unicode=False), encoding="utf-8")
    problems: tuple[Problem, ...] = ()
    matrix: Matrix | None = None
    try:
        matrix = load_matrix(path, local=LOCAL)
    except InputError as error:
        problems = error.problems
    assert bool(matrix and matrix.cells) != bool(problems)
    assert all(problem.place and problem.place.path.endswith("fuzzed.yaml") for problem in problems)


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_but_an_input_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(b"platforms: " + data)
    with pytest.raises(InputError):
        load_matrix(path, local=LOCAL)
