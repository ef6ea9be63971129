"""Runs one command to its end or kills it after a while, then waits until everything that it started has gone.

    python cradle.py KILL_AFTER OUT ERR FOLDER COMMAND...

KILL_AFTER is in seconds, 0 for never. FOLDER is the command's TMPDIR. Prints one JSON object: how the command ended,
how long after that its last process and its last temporary file were gone, and what was still there after 30 s.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

WITHIN = 30.0
_SET_CHILD_SUBREAPER = 36


def adopt() -> bool:
    """Become the parent of every orphan among our descendants; False where the system has no such thing."""
    return sys.platform == "linux" and bool(ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def descendants() -> list[str]:
    """The command lines of what lives below us; the dead among our children are reaped on the way."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    pending, found = [os.getpid()], []
    while pending:
        pid = pending.pop()
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text().split()]
                pending += children
                found += [Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ") for child in children]
    return [line.decode("utf-8", "replace")[:120] for line in found]


def main(kill_after: str, out: str, err: str, folder: str, *command: str) -> int:
    is_parent = adopt()
    environment = {**os.environ, "TMPDIR": folder}
    began = time.monotonic()
    with Path(out).open("wb") as stdout, Path(err).open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment, start_new_session=True
        )
    try:
        process.wait(float(kill_after) or None)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    ended = time.monotonic()
    while True:
        left = [*(descendants() if is_parent else ()), *sorted(path.name for path in Path(folder).iterdir())]
        waited = time.monotonic() - ended
        if not left or waited > WITHIN:
            break
        time.sleep(0.02)
    answer = {"status": process.returncode, "took": ended - began, "gone": waited, "left": left}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
