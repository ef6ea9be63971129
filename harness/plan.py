"""Planning: which fixture runs in which cell, and why the others do not. Pure, and without reading a fixture's bytes.

A job is a fixture in a selected cell. It is skipped only for a declared reason; whether its cell can be reached is
not known here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache

from harness.document import nearest
from harness.errors import Problem, UsageError
from harness.model.cell import Cell, Facts, Normalisation
from harness.model.expression import ExpressionError, Parser
from harness.model.fixture import Fixture, Golden
from harness.model.verdict import Kind, Verdict

# What a program may be started with. CreateProcess takes 32 766 units of UTF-16 as a command line, quotes, blanks and
# an interpreter's path (of 260 at most) among them; execve takes so many bytes of arguments and environment with a
# pointer to each, and Linux limits each single one too.
_COMMAND_LINE = 32_766 - 260
_EXECVE: Mapping[str, int] = {"linux": 2_000_000, "macos": 1_000_000}
_EXECVE_ONE: Mapping[str, int] = {"linux": 131_071}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What the command line selects; empty fields select everything.

    ``paths`` are fixture ids or folders of them. ``cells`` and ``platforms`` are shell patterns over ids and slugs,
    ``pythons`` series or tags. ``shard`` is (number from 1, count): all cells of one fixture fall into one shard.
    ``only_jobs`` restricts to these (fixture, cell) pairs; ``first_jobs`` are put first.
    """

    paths: tuple[str, ...] = ()
    keywords: str = ""
    marks: str = ""
    cells: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    pythons: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    shard: tuple[int, int] | None = None
    only_jobs: frozenset[tuple[str, str]] | None = None
    first_jobs: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
    """One job: its declared expectation, or the verdict that it already has because it must not run.

    ``key`` is (fixture id, cell id).
    """

    fixture: Fixture
    cell: Cell
    golden: Golden
    skip: Verdict | None = None
    key: tuple[str, str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", (self.fixture.id, self.cell.id))

    @property
    def normalise(self) -> tuple[Normalisation, ...]:
        """The cell's normalisations, then the fixture's; none where the fixture asks for raw bytes."""
        if self.fixture.is_raw:
            return ()
        return tuple(dict.fromkeys((*self.cell.normalise, *self.fixture.normalise)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All jobs in the order of fixtures, then cells. ``deselected`` counts the pairs that were not asked for."""

    cells: tuple[Cell, ...]
    fixtures: tuple[Fixture, ...]
    jobs: tuple[PlannedJob, ...]
    deselected: int


def select_cells(cells: Sequence[Cell], selection: Selection) -> tuple[Cell, ...]:
    """The selected cells in the matrix's order; raise UsageError (H0003) for a pattern that no cell matches."""
    chosen = tuple(cells)
    for flag, patterns, matches in (
        ("--cell", selection.cells, _matches_cell),
        ("--platform", selection.platforms, _matches_platform),
        ("--python", selection.pythons, _matches_python),
        ("--tier", selection.tiers, _matches_tier),
    ):
        for pattern in patterns:
            if not any(matches(cell, pattern) for cell in cells):
                near = nearest(pattern, _spellings(flag, cells))
                message = f"{flag} {pattern!r} matches no cell of the matrix; {near}"
                raise UsageError(Problem(id="H0003", message=message))
        if patterns:
            chosen = tuple(cell for cell in chosen if any(matches(cell, pattern) for pattern in patterns))
    return chosen


def select_fixtures(fixtures: Sequence[Fixture], selection: Selection) -> tuple[Fixture, ...]:
    """The selected fixtures in their order; raise UsageError for an unreadable -k or -m, or an unknown path."""
    for path in selection.paths:
        if not any(_is_below(fixture.id, path) for fixture in fixtures):
            near = nearest(path, [fixture.id for fixture in fixtures])
            raise UsageError(Problem(id="H0001", message=f"{path!r} is no fixture and no folder with fixtures; {near}"))
    has_keywords = _parse("-k", selection.keywords, _Keywords)
    has_marks = _parse("-m", selection.marks, _Marks)
    return tuple(
        fixture
        for fixture in fixtures
        if (not selection.paths or any(_is_below(fixture.id, path) for path in selection.paths))
        and has_keywords(fixture)
        and has_marks(fixture)
        and (selection.shard is None or shard_of(fixture.id, selection.shard[1]) == selection.shard[0])
    )


def shard_of(fixture: str, count: int) -> int:
    """The shard, from 1, that a fixture belongs to: it depends on nothing but its id and the number of shards."""
    return int.from_bytes(hashlib.sha256(fixture.encode()).digest()[:8], "big") % count + 1


def plan(cells: Sequence[Cell], fixtures: Sequence[Fixture], selection: Selection, facts: Mapping[str, Facts]) -> Plan:
    """Cross fixtures with cells. Conditions are judged by a cell's measured facts where there are, else its claim."""
    chosen_cells = select_cells(cells, selection)
    chosen_fixtures = select_fixtures(fixtures, selection)
    surroundings = [(cell, axes_of(cell, facts.get(cell.id))) for cell in chosen_cells]
    only = selection.only_jobs
    jobs = [
        PlannedJob(fixture=fixture, cell=cell, golden=fixture.golden_for(axes), skip=_skip(fixture, cell, axes))
        for fixture in chosen_fixtures
        for cell, axes in surroundings
        if only is None or (fixture.id, cell.id) in only
    ]
    if selection.first_jobs:
        jobs.sort(key=lambda job: job.key not in selection.first_jobs)
    return Plan(
        cells=chosen_cells,
        fixtures=chosen_fixtures,
        jobs=tuple(jobs),
        deselected=len(cells) * len(fixtures) - len(jobs),
    )


def axes_of(cell: Cell, facts: Facts | None) -> dict[str, str]:
    """What rules may look at in a cell: what it claims, overlaid by what was measured."""
    return {**cell.axes(), **(facts.axes() if facts else {})}


def _skip(fixture: Fixture, cell: Cell, axes: Mapping[str, str]) -> Verdict | None:
    for condition in fixture.skip:
        if condition.rule.matches(axes):
            return _skipped("rule", f"skipped where {condition.rule}: {condition.because}")
    for condition in fixture.only:
        if not condition.rule.matches(axes):
            return _skipped("rule", f"only where {condition.rule}: {condition.because}")
    version = axes.get("patch") or axes.get("python", "")
    if fixture.requires_python and not _admits(fixture.requires_python, version):
        return _skipped("requires-python", f"needs Python {fixture.requires_python}")
    too_long = _too_long(fixture, cell)
    return _skipped("arguments-too-long", f"{too_long} are too many for {cell.platform.os}") if too_long else None


def _too_long(fixture: Fixture, cell: Cell) -> str:
    """What of a fixture's arguments and environment is more than the platform takes; empty when it fits."""
    if cell.platform.os == "windows":
        from subprocess import list2cmdline  # only such cells need it

        # With a blank before it each argument is in quotes, as the longest form of any is.
        words = "".join(list2cmdline([" " + word]) for word in (fixture.program, *fixture.args))
        length = len(words.encode("utf-16-le", "surrogatepass")) // 2
        return f"{length} characters of arguments" if length > _COMMAND_LINE else ""
    env = (f"{name}={value}" for name, value in {**dict(cell.env), **dict(fixture.env)}.items())
    sizes = [len(text.encode("utf-8", "surrogateescape")) for text in (*fixture.args, *env)]
    longest, length = max(sizes, default=0), sum(sizes) + 9 * len(sizes)
    if longest > _EXECVE_ONE.get(cell.platform.os, longest):
        return f"{longest} bytes of one argument or variable"
    if length > _EXECVE.get(cell.platform.os, length):
        return f"{length} bytes of arguments and environment"
    return ""


def _skipped(reason: str, message: str) -> Verdict:
    return Verdict(kind=Kind.SKIPPED, reason=reason, message=message)


@cache
def _admits(specifier: str, version: str) -> bool:
    """Whether a requires-python admits a version: always when that is unknown.

    A bare series stands for its latest release and a preview, as pip sees it, for the release it precedes.
    """
    from packaging.specifiers import SpecifierSet

    # Short numbers only: a version comes from a cell, which may say anything.
    release = re.match(r"[0-9]{1,9}\.[0-9]{1,9}(\.[0-9]{1,9})?(?![0-9])", version)
    if release is None:
        return True
    return SpecifierSet(specifier).contains(release[0] if release[1] else f"{release[0]}.999", prereleases=True)


def _spellings(flag: str, cells: Sequence[Cell]) -> list[str]:
    """What an option could have named, without repetition."""
    spelling: Mapping[str, Callable[[Cell], str]] = {
        "--cell": lambda cell: cell.id,
        "--platform": lambda cell: str(cell.platform),
        "--python": lambda cell: str(cell.python),
        "--tier": lambda cell: cell.tier.value,
    }
    return list(dict.fromkeys(map(spelling[flag], cells)))


def _matches_cell(cell: Cell, pattern: str) -> bool:
    return fnmatchcase(cell.id, pattern)


def _matches_platform(cell: Cell, pattern: str) -> bool:
    return fnmatchcase(str(cell.platform), pattern)


def _matches_python(cell: Cell, pattern: str) -> bool:
    return pattern in (str(cell.python), cell.python.version) or fnmatchcase(str(cell.python), pattern)


def _matches_tier(cell: Cell, tier: str) -> bool:
    return cell.tier.value == tier


def _is_below(fixture: str, path: str) -> bool:
    path = path.rstrip("/")
    return path in (".", "") or fixture == path or fixture.startswith(path + "/")


class _Keywords(Parser[Fixture]):
    """``-k``: a word is contained in the fixture's id or is one of its tags, whatever the case."""

    token = re.compile(r"\s*(?:(?P<paren>[()])|(?P<word>[^\s()]+))")
    what = "-k"

    def leaf(self) -> Callable[[Fixture], bool]:
        word = self.take("word", "a word")[0].lower()
        return lambda fixture: word in fixture.id.lower() or word in (tag.lower() for tag in fixture.tags)


class _Marks(Parser[Fixture]):
    """``-m``: a word is one of the fixture's tags."""

    token = _Keywords.token
    what = "-m"

    def leaf(self) -> Callable[[Fixture], bool]:
        word = self.take("word", "a tag")[0]
        return lambda fixture: word in fixture.tags


def _parse(flag: str, text: str, parser: type[Parser[Fixture]]) -> Callable[[Fixture], bool]:
    if not text:
        return lambda fixture: True
    try:
        return parser(text).parse()
    except ExpressionError as error:
        message = f"{flag} {text!r}, character {error.offset + 1}: {error}"
        raise UsageError(Problem(id="H0004", message=message)) from None
