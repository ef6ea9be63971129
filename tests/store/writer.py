"""A process that records batches and says which are acknowledged, until something stops it.

    python -m tests.store.writer FOLDER BATCHES [MOMENT]

``before-commit:N`` and ``after-commit:N`` kill it there in the Nth batch; ``file-size:N`` lets the kernel kill it
in the middle of the write that makes a file larger than N bytes; ``full:N`` makes that write fail instead.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

from harness.errors import LocalTrouble
from harness.store.database import Store
from tests.store.samples import batch, run_record


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: str, batches: str, moment: str = "never:0") -> int:
    where, _, number = moment.partition(":")
    with Store.open(Path(folder)) as store:
        store.begin(run_record())
        if where in ("file-size", "full"):
            # Python ignores the signal, so that a write fails; by default it ends the process without a trace.
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL if where == "file-size" else signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(number), resource.RLIM_INFINITY))
        for index in range(int(batches)):
            if (where, number) == ("before-commit", str(index)):
                store._connection.set_trace_callback(lambda statement: die() if statement == "COMMIT" else None)
            try:
                store.record("run-1", batch(index * 8), {})
            except LocalTrouble as trouble:
                os.write(1, f"{trouble.problems[0]}\n".encode())
                # What measures this process writes files, too, when it ends.
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                return trouble.exit_code
            if (where, number) == ("after-commit", str(index)):
                die()
            os.write(1, b"%d\n" % index)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
