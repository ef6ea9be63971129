"""Errors that end a command, with the exit status and the stable id that each has.

    HarnessError
    +-- UsageError           2   the command line asks for something that cannot be
    +-- InputError           2   a matrix, fixture, ledger or bundle file is wrong; carries every problem found
    +-- Incomplete           3   what was required could not be verified
    +-- NothingRan           4   the selection is empty, or there is no run to answer from
    +-- SecurityRefusal      5   a host key, a path or an archive that must not be trusted
    +-- LocalTrouble         6   this machine's disk or store
    +-- CellUnavailable      -   raised by runners; becomes a verdict, never an exit by itself

Ids are never reused. ``CATALOGUE`` gives each its title and what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Entry:
    """One error of the catalogue: what is wrong in general, and the general way out."""

    title: str
    mend: str


CATALOGUE: dict[str, Entry] = {
    # usage
    "H0001": Entry("unusable option or argument", "see `harness COMMAND --help`"),
    "H0002": Entry("no matrix file", "run `harness init`, or name one with -c/--config"),
    "H0003": Entry("no such cell", "`harness list cells` shows the ids; --cell takes shell patterns"),
    "H0004": Entry("unreadable selection expression", "write names joined with and, or, not and parentheses"),
    "H0006": Entry("the run cannot be resumed", "start a new one with `harness run`"),
    "H0007": Entry("refused in continuous integration", "bless on a developer's machine and commit the goldens"),
    "H0008": Entry("no such recipe", "name a folder of runners/images that has a Dockerfile"),
    # text of configuration files
    "H0101": Entry("the file cannot be read", "check the path and its permissions"),
    "H0102": Entry("not UTF-8", "save the file as UTF-8 without a byte order mark"),
    "H0103": Entry("not YAML", "mend the syntax at the place shown"),
    "H0104": Entry(
        "YAML feature that is not supported", "write the value out; anchors, aliases and tags have no place here"
    ),
    "H0105": Entry("duplicate key", "keep one of the two"),
    "H0106": Entry("unknown key", "use one of the known keys"),
    "H0107": Entry("missing key", "add it"),
    "H0108": Entry("wrong shape", "give the kind of value that is asked for"),
    "H0109": Entry("value out of range", "give a value within the bounds"),
    "H0110": Entry("nested too deeply", "flatten the file"),
    "H0111": Entry("the file is empty", "`harness init` writes a commented one"),
    "H0112": Entry("too large", "keep configuration under 4 MiB"),
    # matrix
    "H0201": Entry("not a platform", "write os-arch or linux-libc-arch, such as linux-musl-x86_64"),
    "H0202": Entry("not an interpreter", "write 3.12, 3.13t, pp311 or a lower-case name"),
    "H0203": Entry("not a tier", "write 1, 2, 3 or advisory"),
    "H0204": Entry("no such runner", "use one of the runners that the message names"),
    "H0205": Entry("duplicate cell", "keep one of the two"),
    "H0206": Entry("a pattern that matches no cell", "`harness list cells` shows the ids"),
    "H0207": Entry("not a rule", "write one such as libc=musl or os=windows and python<3.13"),
    "H0208": Entry("not a normalisation", "use final-newline, crlf or regex: with pattern and replacement"),
    "H0209": Entry("reason missing", "add `because:` with the reason, for the next reader"),
    "H0210": Entry("not an oracle", "use golden, reference, command or consensus"),
    "H0211": Entry("path that leaves its root", "use a relative path with forward slashes and without .."),
    "H0212": Entry("no such folder", "create it, or mend the path"),
    "H0213": Entry("not an environment variable", "use a name of letters, digits and underscores"),
    "H0214": Entry("no cell is left", "declare at least one cell that is not excluded"),
    "H0215": Entry("reference cell is not in the matrix", "name one of the matrix's cells"),
    "H0216": Entry("not a regular expression", "mend it at the place shown"),
    "H0217": Entry("a version that is a number", "put it in quotes"),
    "H0218": Entry("not an option of this runner", "write it as the message says"),
    "H0219": Entry("two interpreters for one cell", "keep one of the two"),
    "H0220": Entry("damaged lock file of images", "write it anew with `harness lock`"),
    "H0221": Entry("not an attribute of a host", "write it as the message says"),
    "H0222": Entry("duplicate host", "keep one of the two"),
    "H0223": Entry("not a host key", "write it as ssh-keygen or known_hosts shows it"),
    # fixtures
    "H0301": Entry("fixture without a golden", "run `harness bless`, or set another oracle"),
    "H0302": Entry("fixture without its program", "add it, or remove the folder"),
    "H0303": Entry(
        "expected exit status is not a number", "write one number from 0 to 4294967295, or a signal such as -9"
    ),
    "H0304": Entry(
        "two files of one fixture have the same name", "rename one; names must differ after NFC and case folding"
    ),
    "H0305": Entry("file of a fixture is missing", "add the file, or mend its name"),
    "H0306": Entry("file name that no platform can take", "rename it"),
    "H0307": Entry("not a version specifier", "write one such as >=3.12"),
    "H0308": Entry("no general golden", "add one without `when:`"),
    "H0309": Entry("ambiguous layout", "set `layout:` for the corpus"),
    "H0310": Entry("two goldens for one stream", "keep one of the two files"),
    "H0311": Entry("prepare failed", "run the command shown, and mend what it says"),
    # incomplete
    "H0401": Entry("required cells were not verified", "make them reachable, or lower --require"),
    "H0402": Entry("an image cannot be had", "mend what the message says, or take another image"),
    # nothing ran
    "H0501": Entry(
        "the corpus has no fixture", "add a folder with main.py and expected.stdout, or name.py and name.out"
    ),
    "H0502": Entry("nothing is selected", "`harness list jobs` shows what there is"),
    "H0503": Entry("no run to answer from", "start one with `harness run`"),
    # security
    "H0601": Entry("host key refused", "compare the key with the host's owner, then pin it"),
    # local machine
    "H0701": Entry(
        "the store cannot be written", "free space or mend permissions at the path shown; nothing recorded is lost"
    ),
    "H0702": Entry("the store is damaged", "move it away; `harness run` starts a new one"),
    "H0703": Entry("the store belongs to another version", "upgrade harness, or move the store away"),
    "H0704": Entry("a bundle that cannot be trusted", "write it again where it came from"),
    "H0705": Entry("a file of the project cannot be written", "free space or mend permissions at the path shown"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a file: 1-based line and column; 0 where only the file is known."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong: its id, its place, the sentence, and the next step.

    ``hint`` falls back to the catalogue's.
    """

    id: str
    message: str
    place: Place | None = None
    hint: str = ""

    @property
    def mend(self) -> str:
        """What to do next."""
        return self.hint or CATALOGUE[self.id].mend

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"error[{self.id}]: {where}{self.message}"


class HarnessError(Exception):
    """The root. ``problems`` is never empty; all of them are shown, in order."""

    exit_code: ClassVar[int] = 70

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class UsageError(HarnessError):
    """The command line asks for something that cannot be."""

    exit_code = 2


class InputError(HarnessError):
    """Files given to the tool are wrong. All problems of a file are reported at once; nothing was run."""

    exit_code = 2


class Incomplete(HarnessError):
    """What ``--require`` asks for could not be verified."""

    exit_code = 3


class NothingRan(HarnessError):
    """There was nothing to run, or no run to answer from."""

    exit_code = 4


class SecurityRefusal(HarnessError):
    """Something that must not be trusted was refused."""

    exit_code = 5


class LocalTrouble(HarnessError):
    """This machine's disk or store does not let the tool work; what was recorded before is intact."""

    exit_code = 6


class CellUnavailable(Exception):
    """A cell cannot be reached or provided.

    ``reason`` is a word of the closed list of the ``unavailable`` verdict, some of which are refusals; ``message`` says what was seen;
    ``mend`` is one line that would make the cell available.
    """

    REASONS: ClassVar[tuple[str, ...]] = (
        "no-runner",
        "no-interpreter",
        "no-image",
        "no-docker",
        "unreachable",
        "host-key",
        "image-changed",
        "broken-interpreter",
    )

    REFUSALS: ClassVar[tuple[str, ...]] = ("host-key", "image-changed")
    """What must not be trusted: no other runner is tried, and the run ends with exit status 5."""

    def __init__(self, reason: str, message: str, mend: str = "") -> None:
        if reason not in self.REASONS:
            raise ValueError(f"{reason!r} is no reason of the unavailable verdict")
        self.reason = reason
        self.message = message
        self.mend = mend
        super().__init__(f"{reason}: {message}")
