"""The texts of the hostile programs, for Python 3.8 and later on POSIX.

Those that wait do so for ten minutes: whoever leaves one behind will be found out.
"""

from __future__ import annotations

LARGE = """
import os, sys
for _ in range(int(sys.argv[1])):
    left = memoryview(bytes(1 << 20))
    while left:
        left = left[os.write(1, left):]
"""

ENDLESS = """
import sys
while True:
    print("0123456789" * 100)
"""

CLOSES_STDOUT = """
import os, time
print("before", flush=True)
os.close(1)
time.sleep(0.2)
os._exit(0)
"""

REPLACES_STDOUT = """
import os
print("before", flush=True)
null = os.open(os.devnull, os.O_WRONLY)
os.dup2(null, 1)
print("after")
"""

OTHER_DESCRIPTORS = """
import os
hit = []
for descriptor in range(3, 1024):
    try:
        os.write(descriptor, bytes(64))
        hit.append(descriptor)
    except OSError:
        pass
print(hit)
"""

TERMINAL = """
import os
found = [str(number) for number in range(3) if os.isatty(number)]
try:
    found.append(str(os.open("/dev/tty", os.O_RDWR)))
except OSError:
    pass
print(" ".join(found) or "none")
"""

DAEMON = """
import os, time
print("started", flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
"""

SILENT_DAEMON = """
import os, time
print("started", flush=True)
if os.fork() == 0:
    os.setsid()
    os.closerange(0, 1024)
    os.chdir("/")
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
os.wait()
"""

MANY_CHILDREN = """
import os, time
print("started", flush=True)
for _ in range(20):
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
        time.sleep(600)
        os._exit(0)
os._exit(0)
"""

IGNORES_TERM = """
import signal, time
for number in set(range(1, 32)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, signal.SIG_IGN)
print("waiting", flush=True)
time.sleep(600)
"""

STOPS_ITSELF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(600)
"""

IGNORING_CHILD = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
os.wait()
"""

DRIP = """
import sys, time
for _ in range(int(sys.argv[1]) * 10):
    sys.stdout.write("x")
    sys.stdout.flush()
    time.sleep(0.1)
time.sleep(600)
"""

FORK_BOMB = """
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
"""

FILLS_DISK = """
import os
with open(os.path.join(os.environ["TMPDIR"], "full"), "wb", 0) as file:
    while True:
        file.write(bytes(1 << 20))
"""

FILLS_INODES = """
import os
number = 0
while True:
    open(os.path.join(os.environ["TMPDIR"], str(number)), "w").close()
    number += 1
"""

MEMORY_BOMB = """
held = []
while True:
    held.append(b"x" * (16 << 20))
"""

RECURSION = """
def deeper(number):
    return deeper(number + 1)
try:
    deeper(0)
except RecursionError as error:
    print(type(error).__name__)
"""

SIGNAL = """
import os, signal, sys, time
number = int(sys.argv[1])
if number != signal.SIGKILL:
    signal.signal(number, signal.SIG_DFL)
os.kill(os.getpid(), number)
time.sleep(600)
"""

READS = """
import hashlib, sys
data = sys.stdin.buffer.read()
print(len(data), hashlib.sha256(data).hexdigest())
"""

CLOSES_STDIN = """
import os
os.close(0)
print("done", flush=True)
os._exit(0)
"""

COUNTS = """
import os, sys
total = sum(len(value) for name, value in os.environ.items() if name.startswith("BIG"))
print(len(sys.argv) - 1, sys.argv[-1] if sys.argv[1:] else "-", total)
"""

KILLS_WORKER = """
import os, signal, time
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(600)
"""

STOPS_WORKER = """
import os, signal, time
os.kill(os.getppid(), signal.SIGSTOP)
time.sleep(600)
"""

_FINDS_AGENT = """
import os, signal, subprocess, time
def parent(pid):
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(pid)]))
def agent():
    try:
        with open("/proc/%d/stat" % os.getppid()) as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return parent(os.getppid())
"""

KILLS_AGENT = (
    _FINDS_AGENT
    + """
os.kill(agent(), signal.SIGKILL)
time.sleep(600)
"""
)

KILLS_BOTH = (
    _FINDS_AGENT
    + """
main = agent()
os.kill(os.getppid(), signal.SIGKILL)
os.kill(main, signal.SIGKILL)
time.sleep(600)
"""
)

STOPS_BOTH = (
    _FINDS_AGENT
    + """
main = agent()
os.kill(os.getppid(), signal.SIGSTOP)
os.kill(main, signal.SIGSTOP)
time.sleep(600)
"""
)

TRACES = (
    _FINDS_AGENT
    + """
import ctypes
libc = ctypes.CDLL(None)
for pid in (os.getppid(), agent()):
    libc.ptrace(16, pid, None, None)  # PTRACE_ATTACH; it is let go when we end
"""
)

WRITES = (
    _FINDS_AGENT
    + """
for pid in (os.getppid(), agent()):
    for number in range(64):
        try:
            target = os.open("/proc/%d/fd/%d" % (pid, number), os.O_WRONLY | os.O_NONBLOCK)
            os.write(target, b"garbage")
        except OSError:
            pass
"""
)

CHANGES = """
import os, time
os.umask(0o777)
os.environ["TZ"] = "Asia/Tokyo"
time.tzset()
for folder in (os.environ["HOME"], os.environ["TMPDIR"], "."):
    for name in ("evil.pth", ".profile", "usercustomize.py"):
        with open(os.path.join(folder, name), "w") as file:
            file.write("import os; os._exit(99)")
site = os.path.join(os.environ["HOME"], ".local")
os.mkdir(site)
os.chdir("/")
print("changed", flush=True)
"""

LOOKS = """
import os
mask = os.umask(0)
print(oct(mask), os.environ["TZ"], *(os.listdir(path) for path in (".", os.environ["HOME"], os.environ["TMPDIR"])))
"""
