"""The hostile fixtures for Windows: the same cases, with programs of that system where those of POSIX cannot run.

What has no meaning there, or no way to be tried under wine, is named with its reason; the rest keeps its verdict.
"""

from __future__ import annotations

from dataclasses import replace

from harness.conformance.cases import Bytes, Case, cases
from harness.model.verdict import Kind

IMPOSSIBLE = {
    "F12-signal": "Windows has no signals: os.kill ends a process with an exit status",
    "F14-arguments": "Windows takes 32766 characters; the plan skips what is longer",
    "F15-kills-worker": "a slot is a thread there: F15-kills-agent is all that can be killed",
    "F15-kills-both": "a slot is a thread there: F15-kills-agent is all that can be killed",
    "F15-stops": "a slot is a thread there, and a whole agent that is suspended ends with its container",
    "F15-writes": "Windows shows no process the descriptors of another one",
}
"""Beginnings of the names of cases that are not run, with the reason."""

OTHER_DESCRIPTORS = """
import ctypes, msvcrt, os
kernel32 = ctypes.WinDLL("kernel32")
kernel32.GetFileType.argtypes = [ctypes.c_void_p]
kernel32.WriteFile.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p]
ours = [msvcrt.get_osfhandle(number) for number in range(3)]
hit = []
for handle in range(4, 4096, 4):
    written = ctypes.c_uint32()
    if handle not in ours and kernel32.GetFileType(handle) == 3:  # a pipe
        if kernel32.WriteFile(handle, bytes(64), 64, ctypes.byref(written), None):
            hit.append(handle)
print(hit)
"""

TERMINAL = """
import os
print(" ".join(str(number) for number in range(3) if os.isatty(number)) or "none")
"""

_START = "subprocess.Popen([sys.executable, '-c', {child!r}]{options})\n"
_SLEEP = "import time; time.sleep(600)"


def _starting(child: str, options: str = "") -> str:
    return "import subprocess, sys\n" + _START.format(child=child, options=options)


# A child that starts another one and ends; the other one keeps the streams, or has none and a group of its own.
DAEMON = (
    'print("started", flush=True)\n'
    + _starting(_starting(_SLEEP), "").replace("\nsubprocess.Popen", "\np = subprocess.Popen")
    + "p.wait()\n"
)
_ALONE = ", stdin=-3, stdout=-3, stderr=-3, creationflags=0x200"
SILENT_DAEMON = DAEMON.replace(repr(_starting(_SLEEP)), repr(_starting(_SLEEP, _ALONE)))
MANY_CHILDREN = 'print("started", flush=True)\nimport subprocess, sys\nfor _ in range(10):\n    ' + _START.format(
    child=_SLEEP, options=""
)

IGNORES_BREAK = """
import signal, time
for number in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
print("waiting", flush=True)
time.sleep(600)
"""

SUSPENDS_ITSELF = """
import ctypes, time
kernel32 = ctypes.WinDLL("kernel32")
kernel32.GetCurrentThread.restype = ctypes.c_void_p
kernel32.SuspendThread.argtypes = [ctypes.c_void_p]
kernel32.SuspendThread(kernel32.GetCurrentThread())
time.sleep(600)
"""

IGNORING_CHILD = _starting(IGNORES_BREAK) + _SLEEP

KILLS_AGENT = """
import os, time
os.kill(os.getppid(), 9)
time.sleep(600)
"""

TRACES = """
import ctypes, os
ctypes.WinDLL("kernel32").DebugActiveProcess(os.getppid())
"""

CHANGES = """
import os
os.umask(0o777)
os.environ["TZ"] = "Asia/Tokyo"
for folder in (os.environ["HOME"], os.environ["TEMP"], "."):
    for name in ("evil.pth", "profile", "usercustomize.py"):
        with open(os.path.join(folder, name), "w") as file:
            file.write("import os; os._exit(99)")
os.mkdir(os.path.join(os.environ["HOME"], "AppData"))
os.chdir("/")
print("changed", flush=True)
"""

LOOKS = """
import os
print(os.environ["TZ"], *(os.listdir(path) for path in (".", os.environ["HOME"], os.environ["TEMP"])))
"""

_PROGRAMS = {
    "F6-other-descriptors": OTHER_DESCRIPTORS,
    "F6-terminal": TERMINAL,
    "F7-daemon": DAEMON,
    "F7-silent-daemon": SILENT_DAEMON,
    "F7-many": MANY_CHILDREN,
    "F8-ignores-term": IGNORES_BREAK,
    "F8-stops-itself": SUSPENDS_ITSELF,
    "F8-ignoring-child": IGNORING_CHILD,
    "F15-kills-agent": KILLS_AGENT,
    "F15-traces": TRACES,
    "F16-changes": CHANGES,
    "F16-looks": LOOKS,
}
# What Python's text layer writes: everything but the bytes that a program has written as such.
_EXACT = ("F0-large-output", "F1-", "F2-line-ends", "F2-one-line", "F3-", "F4-", "F5-")
# An interpreter needs half a second to start there when it must share a core.
_LEAST_TIMEOUT = 3.0


def why_not(case: Case) -> str:
    """Why a case is not run on Windows; empty for those that are."""
    return next((because for name, because in IMPOSSIBLE.items() if case.name.startswith(name)), "")


def windows_cases(*, full: bool = False) -> tuple[Case, ...]:
    """The cases that can be run, in order, as they are on Windows."""
    return tuple(_on_windows(case) for case in cases(full=full) if not why_not(case))


def _on_windows(case: Case) -> Case:
    says = case.says
    if case.name == "F16-looks":
        says = Bytes(piece=b"UTC ['main.py'] [] []\n")
    if says is not None and not case.name.startswith(_EXACT):
        says = replace(says, piece=says.piece.replace(b"\n", b"\r\n"))
    verdicts = case.verdicts
    if case.name == "F15-traces":  # a debugger that ends takes what it has attached itself to along
        verdicts = (*verdicts, (Kind.LOST, "channel"))
    return replace(
        case,
        program=_PROGRAMS.get(case.name, case.program),
        says=says,
        verdicts=verdicts,
        timeout=max(case.timeout, _LEAST_TIMEOUT),
    )
