"""The hostile fixtures F1 to F18, and large output: programs, what they are given, and the verdicts they may get.

A runner passes when each case gets one of its verdicts, the jobs beside it are not affected, and nothing is left.
Programs need Python 3.8 or later. Short sizes by default; ``full`` ones take minutes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from harness.conformance import programs
from harness.judge import Expectation
from harness.model.fixture import Payload
from harness.model.verdict import Kind

MIB = 1 << 20
# The same number on every POSIX system.
SIGNALS = (1, 2, 3, 4, 5, 6, 8, 9, 11, 13, 14, 15, 24, 25, 26, 27)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bytes:
    """Bytes too many to be written down: ``piece``, so many times."""

    piece: bytes
    times: int = 1

    @property
    def data(self) -> bytes:
        """All of them."""
        return self.piece * self.times

    @property
    def digest(self) -> str:
        """Their sha256, in hex, without having them all at once."""
        digest = hashlib.sha256()
        for _ in range(self.times):
            digest.update(self.piece)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One hostile fixture.

    ``verdicts`` are the kinds and reasons that it may get; ``says`` is its whole stdout, None where that is not
    compared. ``timeout`` is in seconds, ``output`` in bytes. It is run ``repeat`` times, right ``after`` another case
    in the same slot when one is named. ``needs`` names what a runner must provide (``container``: limits on memory,
    processes and disk), ``because`` says why.
    """

    name: str
    program: str
    verdicts: tuple[tuple[Kind, str], ...] = ((Kind.AGREE, ""),)
    says: Bytes | None = None
    stdin: Bytes = Bytes(piece=b"", times=0)
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    timeout: float = 30.0
    output: int = 64 * MIB
    repeat: int = 1
    after: str = ""
    needs: str = ""
    because: str = ""

    @property
    def family(self) -> str:
        """``F7`` of ``F7-daemon``."""
        return self.name.partition("-")[0]

    @property
    def payload(self) -> Payload:
        """What travels to the cell."""
        files = (("main.py", self.program.encode()),)
        return Payload(program="main.py", files=files, stdin=self.stdin.data, args=self.args, env=self.env)

    @property
    def expectation(self) -> Expectation:
        """What the job is judged by."""
        return Expectation(stdout=self.says.digest if self.says else "")


def cases(*, full: bool = False) -> tuple[Case, ...]:
    """All of them, in order; names are unique."""
    return (*_bytes(full), *_processes(full), *_limits(), *_endings(), *_inputs(), *_attacks(), *_unsteady(full))


def _write(data: bytes) -> str:
    return f"import sys\nsys.stdout.buffer.write({data!r})\nsys.stderr.buffer.write({data!r})\n"


def _bytes(full: bool) -> Iterator[Case]:
    said = {
        "F1-all-bytes": bytes(range(256)) * 16,
        "F1-invalid-utf-8": b"\0\xff\xfe\xed\xa0\x80\xc0\x80\xf8\0",
        "F2-line-ends": b"a\r\nb\rc\n\n\r\n\x0b\x0c\x1c\x85\xe2\x80\xa8no end",
        "F3-terminal": b"\x1b[2J\x1b]8;;file:///etc\x07x\x1b]8;;\x07\x1b]52;c;aGk=\x07\x9b31m\x7f\xe2\x80\xae\xe2\x81\xa6x",
        "F4-commands": b"::error::x\n  ::set-output name=a::b\n##[error]x ##vso[task.complete]\n##teamcity[x]\n",
        "F5-markup": b"]]><script>alert(1)</script>&amp;<img src=x onerror=alert(1)>\n| a | `b` |\n# x [y](javascript:z)\n",
    }
    for name, data in said.items():
        hostile = data.decode("latin-1").replace("\0", "")
        yield Case(
            name=name, program=_write(data), says=Bytes(piece=data), args=(hostile,), env=(("HOSTILE", hostile),)
        )
    line, lines = Bytes(piece=b"x" * 1_000_000), Bytes(piece=b"\n" * 1_000_000)
    yield Case(name="F2-one-line", program="print('x' * 1_000_000, end='')", says=line)
    yield Case(name="F2-empty-lines", program="print('\\n' * 1_000_000, end='')", says=lines)
    large = Bytes(piece=bytes(MIB), times=10 * 1024 if full else 256)
    yield Case(
        name="F0-large-output",
        program=programs.LARGE,
        args=(str(large.times),),
        says=large,
        output=large.times * MIB,
        timeout=600.0,
    )


def _processes(full: bool) -> Iterator[Case]:
    yield Case(name="F6-closes-stdout", program=programs.CLOSES_STDOUT, says=Bytes(piece=b"before\n"))
    yield Case(name="F6-replaces-stdout", program=programs.REPLACES_STDOUT, says=Bytes(piece=b"before\n"))
    yield Case(name="F6-other-descriptors", program=programs.OTHER_DESCRIPTORS, says=Bytes(piece=b"[]\n"))
    yield Case(name="F6-terminal", program=programs.TERMINAL, says=Bytes(piece=b"none\n"))
    for name, program in (
        ("daemon", programs.DAEMON),
        ("silent-daemon", programs.SILENT_DAEMON),
        ("many", programs.MANY_CHILDREN),
    ):
        yield Case(name=f"F7-{name}", program=program, says=Bytes(piece=b"started\n"), verdicts=((Kind.LEAKED, ""),))
    for name, program in (
        ("ignores-term", programs.IGNORES_TERM),
        ("stops-itself", programs.STOPS_ITSELF),
        ("ignoring-child", programs.IGNORING_CHILD),
    ):
        yield Case(name=f"F8-{name}", program=program, timeout=1.0, verdicts=((Kind.TIMEOUT, ""),))
    drip = 60 if full else 5
    yield Case(
        name="F17-drip",
        program=programs.DRIP,
        args=(str(drip),),
        timeout=drip + 1.0,
        verdicts=((Kind.TIMEOUT, ""),),
    )


def _limits() -> Iterator[Case]:
    for name, program, what, because in (
        ("F9-fork-bomb", programs.FORK_BOMB, "processes", "a fork bomb needs a limit on processes"),
        ("F10-disk", programs.FILLS_DISK, "disk", "filling the disk needs a disk of its own"),
        ("F10-inodes", programs.FILLS_INODES, "disk", "using up inodes needs a disk of its own"),
        ("F11-memory", programs.MEMORY_BOMB, "memory", "a memory bomb needs a limit on memory"),
    ):
        yield Case(
            name=name,
            program=program,
            verdicts=((Kind.RESOURCE_LIMIT, what),),
            timeout=3.0 if what == "processes" else 30.0,  # of these only the fork bomb does not end by itself
            needs="container",
            because=because,
        )
    yield Case(name="F11-recursion", program=programs.RECURSION, says=Bytes(piece=b"RecursionError\n"))
    yield Case(name="F0-endless-output", program=programs.ENDLESS, output=MIB, verdicts=((Kind.OUTPUT_LIMIT, ""),))


def _endings() -> Iterator[Case]:
    yield Case(name="F12-status-0", program="raise SystemExit(0)")
    for status in range(1, 256):
        yield Case(
            name=f"F12-status-{status}",
            program=f"import os; os._exit({status})",
            verdicts=((Kind.EXIT_STATUS, str(status)),),
        )
    for number in SIGNALS:
        yield Case(
            name=f"F12-signal-{number}",
            program=programs.SIGNAL,
            args=(str(number),),
            verdicts=((Kind.SIGNAL, str(number)),),
        )


def _inputs() -> Iterator[Case]:
    for size in (0, 1, 65_536, 300_000, 50_000_000):
        stdin = Bytes(piece=b"0123456789" if size > 1 else b"x", times=size // 10 if size > 1 else size)
        said = f"{len(stdin.piece) * stdin.times} {stdin.digest}\n".encode()
        yield Case(name=f"F13-reads-{size}", program=programs.READS, stdin=stdin, says=Bytes(piece=said))
    much = Bytes(piece=b"0123456789", times=5_000_000)
    yield Case(name="F13-never-reads", program="print('done')", stdin=much, says=Bytes(piece=b"done\n"))
    yield Case(name="F13-closes", program=programs.CLOSES_STDIN, stdin=much, says=Bytes(piece=b"done\n"))
    yield Case(
        name="F14-arguments",
        program=programs.COUNTS,
        args=tuple(str(number) for number in range(65_536)),
        says=Bytes(piece=b"65536 65535 0\n"),
    )
    yield Case(
        name="F14-environment",
        program=programs.COUNTS,
        env=tuple((f"BIG{number}", "x" * 65_536) for number in range(16)),
        says=Bytes(piece=b"0 - 1048576\n"),
    )


def _attacks() -> Iterator[Case]:
    lost = (Kind.LOST, "agent")
    yield Case(name="F15-kills-worker", program=programs.KILLS_WORKER, verdicts=(lost,))
    # The first process of a container cannot be killed from within it: the program then waits for nothing.
    immune = (lost, (Kind.TIMEOUT, ""))
    yield Case(name="F15-kills-agent", program=programs.KILLS_AGENT, verdicts=immune, timeout=5.0)
    yield Case(name="F15-kills-both", program=programs.KILLS_BOTH, verdicts=(lost,))
    yield Case(name="F15-stops-worker", program=programs.STOPS_WORKER, verdicts=(lost,), timeout=2.0)
    # Where it has the rights it may spoil its own agent; where it has not, nothing happens.
    either = ((Kind.AGREE, ""), lost, (Kind.LOST, "protocol"), (Kind.LOST, "link"))
    yield Case(name="F15-stops-both", program=programs.STOPS_BOTH, verdicts=(lost, (Kind.LOST, "link")), timeout=2.0)
    yield Case(name="F15-traces", program=programs.TRACES, verdicts=either)
    yield Case(name="F15-writes", program=programs.WRITES, verdicts=either)
    yield Case(name="F16-changes", program=programs.CHANGES, says=Bytes(piece=b"changed\n"))
    unchanged = Bytes(piece=b"0o22 UTC ['main.py'] [] []\n")
    yield Case(name="F16-looks", program=programs.LOOKS, says=unchanged, after="F16-changes")


def _unsteady(full: bool) -> Iterator[Case]:
    yield Case(
        name="F18-random",
        program="import os; print(os.urandom(16).hex())",
        repeat=10 if full else 3,
        verdicts=((Kind.FLAKY, ""),),
    )
