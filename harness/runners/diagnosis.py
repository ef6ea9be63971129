"""Why an interpreter cannot start, from what its start left behind: the reason, what is missing, how to mend it.

Reads bytes and, for a program on this machine, the head of its file; starts nothing and never raises.
Hand-built and relocated interpreters are the usual patients.
"""

from __future__ import annotations

import errno
import platform
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.model.platform import canonical_arch
from harness.runners.programs import Program, read_program

REASONS = (
    "not-found",
    "not-executable",
    "wrong-machine",
    "missing-loader",
    "missing-library",
    "old-libc",
    "no-stdlib",
    "missing-module",
    "broken-shim",
    "timeout",
    "signal",
    "no-answer",
    "failed",
)

_DLL_NOT_FOUND, _DLL_WRONG = 0xC0000135, 0xC000007B


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One cause: a word of ``REASONS``, a sentence, the thing that is missing (or empty), and the next step."""

    reason: str
    message: str
    missing: str = ""
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.message}; {self.mend}" if self.mend else self.message


def diagnose(
    executable: Path,
    exit_code: int,
    stderr: bytes,
    stdout: bytes = b"",
    *,
    error: OSError | None = None,
    timeout: float = 0.0,
    local: bool = True,
) -> Diagnosis:
    """Say why ``executable`` did not answer the probe.

    ``exit_code`` is as ``subprocess`` gives it (negative: a signal). ``error`` is what starting it raised, ``timeout``
    the seconds after which it was ended; either makes the exit code meaningless. ``local`` allows a look at its file.
    """
    if timeout:
        return Diagnosis(
            reason="timeout",
            message=f"{executable} gave no answer in {timeout:g} s",
            mend="start it by hand with -c pass, and with -v to see where it waits",
        )
    if error is not None:
        return _not_started(executable, error)
    case = _Case(executable, stderr.decode(errors="replace"), local)
    for pattern, explain in _SYMPTOMS:
        if found := pattern.search(case.text):
            return explain(case, found)
    return _ended(case, exit_code, stdout)


@dataclass(frozen=True, slots=True)
class _Case:
    """What the explanation of a symptom may draw on."""

    executable: Path
    text: str
    local: bool


def _not_started(executable: Path, error: OSError) -> Diagnosis:
    program = read_program(executable)
    if error.errno == errno.ENOENT and executable.exists():
        return _missing_loader(executable, program.loader or "what starts it", program.format)
    if error.errno == errno.ENOENT:
        target = f", a link to {executable.readlink()}" if executable.is_symlink() else ""
        return Diagnosis(
            reason="not-found",
            message=f"{executable}{target} does not exist",
            mend="mend the path, or install it again",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Diagnosis(
            reason="not-executable",
            message=f"{executable} may not be executed",
            mend=f"chmod +x {executable}, or see whether its file system is mounted noexec",
        )
    if error.errno == errno.ENOEXEC or getattr(error, "winerror", 0) in (193, 216) or "Bad CPU" in str(error):
        if not program.format:
            kind = "empty" if executable.stat().st_size == 0 else "neither a program nor a script with #!"
            return Diagnosis(
                reason="not-executable", message=f"{executable} is {kind}", mend="download or build it again"
            )
        return _wrong_machine(executable, program, canonical_arch(platform.machine()))
    return Diagnosis(reason="failed", message=f"{executable} could not be started: {error.strerror or error}")


def _wrong_machine(executable: Path, program: Program, here: str) -> Diagnosis:
    built = f"{program.format or 'a program'} for {program.machine or 'another machine'}"
    return Diagnosis(
        reason="wrong-machine",
        message=f"{executable} is {built}, and {f'this machine ({here})' if here else 'the machine'} cannot run it",
        missing=program.machine,
        mend="install the build for that machine, or an emulator such as qemu-user with binfmt",
    )


def _missing_loader(executable: Path, loader: str, kind: str) -> Diagnosis:
    hint = "install what provides it, or a build for this system's libc"
    if "musl" in loader:
        hint = "it was built for musl: install musl, or take the glibc build"
    elif "ld-linux" in loader:
        hint = "it was built for glibc: on a musl system take the musl build"
    return Diagnosis(
        reason="missing-loader",
        message=f"{executable} exists, but {loader}, which must load it, does not",
        missing=loader,
        mend="mend its #! line" if kind == "a script" else hint,
    )


def _missing_library(case: _Case, found: re.Match[str]) -> Diagnosis:
    name = found["library"]
    folder = case.executable.parent.parent / "lib"
    if case.local and (folder / Path(name).name).exists():
        variable = "DYLD_LIBRARY_PATH" if "Library not loaded" in case.text else "LD_LIBRARY_PATH"
        mend = f"it is in {folder}, where the loader does not look: put {variable}: {folder} in the cell's env"
    else:
        mend = "install it, or rebuild the interpreter with an rpath (LDFLAGS=-Wl,-rpath,PREFIX/lib)"
    why = (found.groupdict().get("why") or "").strip()
    because = "" if not why or "No such file" in why or "cannot open" in why else f" ({why})"
    return Diagnosis(
        reason="missing-library",
        message=f"{case.executable} needs the library {name}, which could not be loaded{because}",
        missing=name,
        mend=mend,
    )


def _old_libc(case: _Case, found: re.Match[str]) -> Diagnosis:
    return Diagnosis(
        reason="old-libc",
        message=f"{case.executable} needs {found['version']}, and this system's is older",
        missing=found["version"],
        mend="take a build for an older system (manylinux-like), or a newer system",
    )


def _no_stdlib(case: _Case, _found: re.Match[str]) -> Diagnosis:
    home = re.search(r"PYTHONHOME = '(.+)'", case.text)
    # the second form for 3.8 to 3.10; 3.13 tells nothing
    stdlib = re.search(r"stdlib dir = '(.+)'", case.text) or re.search(
        r"^ +'(.+/lib/python[\d.]+t?|.+\\Lib)',?\r?$", case.text, re.M
    )
    prefix = re.search(r"sys\.prefix = '(.+)'", case.text)
    place = stdlib[1] if stdlib else f"{prefix[1]} and below" if prefix else "its prefix"
    blame = f"PYTHONHOME is {home[1]}" if home else "it was moved away from its lib folder, or built for another prefix"
    return Diagnosis(
        reason="no-stdlib",
        message=f"{case.executable} finds no standard library: it looked in {place}",
        missing=stdlib[1] if stdlib else "encodings",
        mend=f"{blame}; put the lib folder beside bin, or set PYTHONHOME in the cell's env",
    )


def _missing_module(case: _Case, found: re.Match[str]) -> Diagnosis:
    name = found["module"]
    if name.split(".")[0] in sys.stdlib_module_names:
        message = f"{case.executable} was built without the module {name}"
        mend = "install the library that the module wraps (with its headers) and build again"
    else:
        message = f"{case.executable} imports {name} as it starts, and does not have it"
        mend = "see what its site-packages run at start (sitecustomize, usercustomize, .pth files)"
    return Diagnosis(reason="missing-module", message=message, missing=name, mend=mend)


def _shim(case: _Case, found: re.Match[str]) -> Diagnosis:
    groups = found.groupdict("")
    manager = groups.get("manager") or "its version manager"
    return Diagnosis(
        reason="broken-shim",
        message=f"{case.executable} is a shim, and {manager} has nothing behind it: {groups['what'].strip()}",
        missing=groups.get("version", ""),
        mend="install that version, select another one, or name the real interpreter",
    )


def _no_loader(case: _Case, found: re.Match[str]) -> Diagnosis:
    return _missing_loader(case.executable, found["loader"], "")


def _foreign(case: _Case, _found: re.Match[str]) -> Diagnosis:
    if case.local:
        return _wrong_machine(case.executable, read_program(case.executable), canonical_arch(platform.machine()))
    return _wrong_machine(case.executable, Program(), "")


_SYMPTOMS: tuple[tuple[re.Pattern[str], Callable[[_Case, re.Match[str]], Diagnosis]], ...] = (
    (re.compile(r"version `(?P<version>GLIBC\w*_[\d.]+)' not found"), _old_libc),
    (re.compile(r"error while loading shared libraries: (?P<library>[^:\n]+):(?P<why>.*)"), _missing_library),
    (re.compile(r"Error loading shared library (?P<library>[^:\n]+):(?P<why>[^(\n]*)"), _missing_library),
    (re.compile(r"Library not loaded: (?P<library>.+)"), _missing_library),
    (re.compile(r"qemu-\w+: Could not open '(?P<loader>[^']+)'"), _no_loader),
    (re.compile(r"\b(?P<manager>pyenv): (?P<what>version [`'](?P<version>[^']+)' is not installed.*)"), _shim),
    (re.compile(r"\b(?P<manager>pyenv): (?P<what>.*command not found)"), _shim),
    (re.compile(r"(?P<what>No version is set for command.*)"), _shim),
    (re.compile(r"(?i)exec format error|cannot execute binary file|bad cpu type"), _foreign),
    (re.compile(r"No module named '?(encodings|site)\b|unable to load the file system codec"), _no_stdlib),
    (re.compile(r"No module named '?(?P<module>[\w.]+)'?"), _missing_module),
)


def _ended(case: _Case, exit_code: int, stdout: bytes) -> Diagnosis:
    executable = case.executable
    lines = [line.strip() for line in case.text.splitlines() if line.strip()]
    said = f": {lines[-1][:200]}" if lines else ""
    if exit_code & 0xFFFFFFFF in (_DLL_NOT_FOUND, _DLL_WRONG):
        what = "needs a DLL that was not found" if exit_code & 0xFF == 0x35 else "met a DLL for another machine"
        return Diagnosis(
            reason="missing-library",
            message=f"{executable} {what}",
            mend="install the Visual C++ runtime, or python3xx.dll beside it",
        )
    if exit_code < 0:
        try:
            name = signal.Signals(-exit_code).name
        except ValueError:
            name = f"signal {-exit_code}"
        lacking = name == "SIGILL"
        mend = "it uses instructions that this processor lacks" if lacking else "start it by hand with -X faulthandler"
        return Diagnosis(reason="signal", message=f"{executable} was ended by {name} as it started{said}", mend=mend)
    if exit_code == 0:
        seen = f"it printed {stdout[:60]!r}" if stdout.strip() else "it printed nothing"
        return Diagnosis(
            reason="no-answer",
            message=f"{executable} ran the probe without answering it; {seen}",
            mend="it seems to be no Python; name another interpreter",
        )
    mend = "mend the path, or install it"
    if exit_code == 127:  # what shells and container engines make of exec's errors; text such as "not found" varies
        return Diagnosis(reason="not-found", message=f"{executable} does not exist there{said}", mend=mend)
    if exit_code == 126:
        return Diagnosis(reason="not-executable", message=f"{executable} may not be executed there{said}", mend=mend)
    return Diagnosis(reason="failed", message=f"{executable} ended with status {exit_code} as it started{said}")
