"""The edge of the program: the one place where errors and signals become messages and exit statuses."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from harness.errors import HarnessError, LocalTrouble, Place, Problem
from harness.model.report import WORDS
from harness.reports.escape import terminal

_ENDINGS = (signal.SIGINT, signal.SIGTERM)
_PIECE = 1 << 14
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupted(KeyboardInterrupt):
    """Somebody asks us to end: by Ctrl-C, or with SIGTERM. ``status`` is the exit status that says so."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


class Unheard(Exception):
    """What we say reaches nobody: its reader has gone, or, with a ``problem``, it cannot be written."""

    def __init__(self, problem: Problem | None = None) -> None:
        super().__init__()
        self.problem = problem
        self.status = 128 + 13 if problem is None else LocalTrouble.exit_code


def say(text: str | bytes = "", *, error: bool = False) -> None:
    """Print one text that is already safe for a terminal; bytes go out as they are, whatever the platform's encoding.

    Raises Unheard.
    """
    whole = f"{text}\n" if isinstance(text, str) else text + b"\n"
    try:
        # In pieces: with PYTHONUNBUFFERED a pipe may take a part of a long text, and Python forgets the rest.
        for start in range(0, len(whole), _PIECE):
            click.echo(whole[start : start + _PIECE], err=error, nl=False)
    except BrokenPipeError:
        raise Unheard from None
    except OSError as trouble:
        place = Place(path="stderr" if error else "stdout")
        raise Unheard(Problem(id="H0705", message=f"cannot be written: {trouble.strerror}", place=place)) from None


def announce(message: str) -> None:
    """Say what takes long, to stderr."""
    say(f"harness: {terminal(message)}", error=True)


def complain(problems: Sequence[Problem], command: str = "COMMAND") -> None:
    """Print problems, each with its next step, to stderr; ``command`` is the one that has them."""
    for problem in problems:
        say(f"harness: {terminal(str(problem))}", error=True)
        say(f"  hint: {terminal(problem.mend.replace('COMMAND --help', f'{command} --help'))}", error=True)


def guarded(group: click.Group, arguments: Sequence[str]) -> int:
    """Run a command; return its exit status whatever happens. Only --debug lets a traceback out."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name in a report must not end us in an ASCII terminal
    try:
        return _status(group, arguments)
    except Unheard as unheard:
        _silence(sys.stdout, sys.stderr if unheard.problem is None else None)
        if unheard.problem is not None:
            with contextlib.suppress(Unheard):
                complain([unheard.problem])
        return unheard.status


def _status(group: click.Group, arguments: Sequence[str]) -> int:
    try:
        status = group.main(args=list(arguments), prog_name="harness", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except Unheard:
        raise
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        say(error.format_message(), error=True)
        return 2
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f"see `{context.command_path} --help`" if context else ""
        complain([Problem(id="H0001", message=" ".join(error.format_message().split()), hint=hint)])
        return 2
    except (click.Abort, KeyboardInterrupt) as error:
        cause = error if isinstance(error, Interrupted) else error.__cause__
        number = cause.status if isinstance(cause, Interrupted) else 128 + signal.SIGINT
        say(f"harness: {WORDS[number]}", error=True)
        return number
    except Exception as error:  # noqa: BLE001  # the last net: whatever it is gets a sentence and a status
        if "--debug" in arguments:
            traceback.print_exc()
        if isinstance(error, HarnessError):
            command = next((word for word in arguments if word in group.list_commands(click.Context(group))), "COMMAND")
            complain(error.problems, command)
            return error.exit_code
        say(f"harness: internal error: {type(error).__name__}: {terminal(str(error))}", error=True)
        say("  hint: this is a bug; please report it with the output of the same command and --debug", error=True)
        return 70


def take_signals() -> None:
    """Let the first signal end the command in order, and a second one at once; for the life of the process."""

    def first(number: int, _: FrameType | None) -> NoReturn:
        for each in taken:
            signal.signal(each, at_once)
        raise Interrupted(number)

    def at_once(number: int, _: FrameType | None) -> NoReturn:
        # Agents notice the end of their stdin and clean up after themselves; only the terminal is ours to mend.
        if sys.stderr is not None and sys.stderr.isatty():
            os.write(2, _SHOW_CURSOR)
        os._exit(128 + number)

    # What is ignored stays so: that is how a shell starts a background job, and nohup a lasting one.
    taken = [each for each in _ENDINGS if signal.getsignal(each) is not signal.SIG_IGN]
    for each in taken:
        signal.signal(each, first)


def _silence(*streams: object) -> None:
    """Point streams at nothing, so that Python does not complain of them once more when it closes them."""
    for stream in streams:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())  # type: ignore[attr-defined]  # a captured stream has none, or a false one
            os.close(null)
