"""The agent on real processes: what a job sees, what comes back of it, and what must not be left of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from harness import agent
from harness.engine.dispatch import Outcome
from harness.model.fixture import Payload
from harness.model.observation import Ending
from harness.model.outline import CHUNK, Outline
from harness.runners.base import Placement
from harness.runners.local import LocalChannel
from harness.wire import BOOTSTRAP, EMPTY, Expected, Settings, Timing, preface
from tests.rig import HERE, PYTHON, Kept, eventually, execute, folders_in, processes_of, serve_here, task

if sys.platform == "win32":
    pytest.skip("POSIX processes; test_agent_windows.py is about the others", allow_module_level=True)
else:
    import fcntl

pytestmark = pytest.mark.usefixtures("ground")
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def hosts() -> list[str]:
    """Every interpreter here that can host an agent: CPython from 3.8, and PyPy."""
    pyenv = Path("~/.pyenv/versions").expanduser().glob("*/bin/python")
    found = [path for path in pyenv if tuple(map(int, path.parts[-3].split(".")[:2])) >= (3, 8)]
    pypy = shutil.which("pypy3")
    return [str(path) for path in sorted(found)] + ([pypy] if pypy else []) or [sys.executable]


def hosted_by(*command: str, slots: int = 2, subject: tuple[str, ...] = (PYTHON,)) -> Placement:
    """This computer, with the agent under another interpreter or command."""
    return replace(serve_here(*subject, slots=slots), connect=lambda: LocalChannel(*command))


def tell(program: str, **options: object) -> object:
    """What a job prints as JSON."""
    kept = execute(task(serve_here(), "tell", f"import json, os, sys\nprint(json.dumps({program}))", **options))  # type: ignore[arg-type]
    return json.loads(kept.stdout("tell"))


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


@pytest.mark.parametrize("python", hosts(), ids=lambda path: "-".join(Path(path).parts[-3:]))
def test_every_interpreter_hosts_an_agent(python: str) -> None:
    here = hosted_by(python)
    kept = execute(
        task(
            here,
            "echo",
            "import os, sys\n"
            "sys.stdout.buffer.write(sys.stdin.buffer.read())\n"
            "print(sys.argv[1:], os.environ['NAME'], open('sub/é.txt').read(), file=sys.stderr)",
            stdin=b"\0\xff" * 200_000,
            args=("ä b", ""),
            env=(("NAME", "wért"),),
            files=(("sub/é.txt", b"file"),),
        ),
        task(here, "daemon", DAEMON),
        task(here, "slow", "import time; time.sleep(60)", timeout=0.5),
        task(here, "status", "raise SystemExit(77)"),
        task(here, "signal", "import os; os.kill(os.getpid(), 9)"),
        task(hosted_by(python, subject=("/nowhere",)), "nowhere"),
    )
    assert kept.stdout("echo") == b"\0\xff" * 200_000
    assert kept.stderr("echo").decode() == "['ä b', ''] wért file\n"
    assert kept.stdout("daemon") == b"started\n"
    endings = {name: kept.of(name).result for name in ("daemon", "slow", "status", "signal", "nowhere")}
    assert [result.ending for result in endings.values()] == [
        Ending.EXITED,
        Ending.TIMEOUT,
        Ending.EXITED,
        Ending.SIGNALLED,
        Ending.LOST,
    ]
    assert [result.code for result in endings.values()] == [0, 15, 77, 9, 0]
    assert endings["daemon"].leaked == (1 if sys.platform.startswith("linux") else 0)
    assert endings["nowhere"].lost.startswith("agent: ")
    assert "/nowhere" in endings["nowhere"].lost


@on_linux
def test_kernels_without_pidfd_and_libraries_without_spawn_serve_too() -> None:
    def without(*names: str) -> Placement:
        removal = f"import os;del {','.join(f'os.{name}' for name in names)};{BOOTSTRAP}"
        return hosted_by(sys.executable, "-I", "-u", "-c", removal)

    refused = f"""import os
def refuse(*args, **kwargs): raise PermissionError(1, "seccomp")
def lack(*args, **kwargs): raise NotImplementedError("setsid")
os.pidfd_open, os.posix_spawnp = refuse, lack
{BOOTSTRAP}"""
    for here in (without("pidfd_open", "posix_spawnp"), hosted_by(sys.executable, "-I", "-u", "-c", refused)):
        kept = execute(
            task(here, "echo", "print(input())", stdin=b"word"),
            task(here, "daemon", DAEMON),
            task(here, "slow", "import time; time.sleep(60)", timeout=0.3),
            task(replace(here, subject=("/nowhere",)), "nowhere"),
        )
        assert kept.stdout("echo") == b"word\n"
        assert kept.of("daemon").result.leaked == 1
        assert kept.of("slow").result.ending is Ending.TIMEOUT
        assert "/nowhere" in kept.of("nowhere").result.lost


# what a job sees


def test_the_environment_is_a_closed_list(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PIP_INDEX_URL", "UV_CACHE_DIR", "LANG", "SECRET_TOKEN"):
        monkeypatch.setenv(name, "inherited")
    monkeypatch.setenv("QEMU_CPU", "max")
    cell = replace(HERE, env=(("FROM_CELL", "1"), ("TZ", "Asia/Tokyo")), carry=("QEMU_CPU", "NOT_SET"))
    here = replace(serve_here("/usr/bin/env"), cell=cell)
    env = (("FROM_FIXTURE", "2"),)
    kept = execute(task(here, "env", payload=Payload(program="-0", files=(), env=env)))
    seen = dict(pair.split("=", 1) for pair in kept.stdout("env").decode().rstrip("\0").split("\0"))
    home, temporary = Path(seen.pop("HOME")), Path(seen.pop("TMPDIR"))
    assert home.parent == temporary.parent
    assert home.parents[2] == ground
    assert seen.pop("LC_ALL") in ("C.UTF-8", "C")
    assert seen == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "TZ": "Asia/Tokyo",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
        "COLUMNS": "80",
        "TERM": "dumb",
        "FROM_CELL": "1",
        "QEMU_CPU": "max",
        "FROM_FIXTURE": "2",
    }


STARTED_BADLY = """
import os, signal, sys
for number in (signal.SIGQUIT, signal.SIGUSR1, signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGALRM])
os.umask(0o777)
for descriptor in (7, 300):
    os.dup2(2, descriptor)
os.execv(sys.argv[1], sys.argv[1:])
"""


@on_linux
def test_what_started_the_agent_does_not_reach_a_job() -> None:
    here = hosted_by(PYTHON, "-c", STARTED_BADLY, sys.executable)
    descriptors = "import os; print(sorted(int(name) for name in os.listdir('/proc/self/fd')), oct(os.umask(0)))"
    kept = execute(
        task(here, "descriptors", descriptors),
        task(replace(here, subject=("/bin/cat",)), "status", payload=Payload(program="/proc/self/status", files=())),
    )
    assert kept.stdout("descriptors") == b"[0, 1, 2, 3] 0o22\n"  # 3 lists them
    status = dict(line.split(":", 1) for line in kept.stdout("status").decode().splitlines())
    inner = 0b11 << 31  # of the C library, which leaves them ignored
    assert {name: int(status[name], 16) & ~inner for name in ("SigBlk", "SigIgn", "SigCgt")} == {
        "SigBlk": 0,
        "SigIgn": 0,
        "SigCgt": 0,
    }


def test_a_job_has_a_private_empty_folder_and_no_terminal() -> None:
    seen = tell("""{
        "cwd": os.getcwd(), "here": os.listdir("."), "home": os.listdir(os.environ["HOME"]),
        "tmp": os.listdir(os.environ["TMPDIR"]), "slot": sorted(os.listdir("..")),
        "modes": [oct(os.stat(path).st_mode & 0o777) for path in (".", "..", "../..", os.environ["HOME"])],
        "file": oct(os.stat("main.py").st_mode & 0o777),
        "ttys": [os.isatty(descriptor) for descriptor in range(3)],
        "session": os.getsid(0) == os.getpid() == os.getpgid(0),
    }""")
    assert isinstance(seen, dict)
    assert seen["here"] == ["main.py"]
    assert (seen["home"], seen["tmp"], seen["slot"]) == ([], [], ["home", "tmp", "work"])
    assert seen["modes"] == ["0o700"] * 4
    assert seen["file"] == "0o644"
    assert seen["ttys"] == [False, False, False]
    assert seen["session"]


def test_there_is_no_controlling_terminal() -> None:
    kept = execute(task(serve_here(), "tty", "open('/dev/tty')"))
    assert kept.of("tty").result.code == 1
    assert b"OSError" in kept.stderr("tty") or b"FileNotFoundError" in kept.stderr("tty")


def test_jobs_at_the_same_time_have_folders_of_their_own() -> None:
    here = serve_here(slots=3)
    program = "import os, time; print(os.getcwd(), flush=True); open('mine', 'x'); time.sleep(0.3)"
    kept = execute(*(task(here, str(number), program) for number in range(3)))
    assert len({kept.stdout(str(number)) for number in range(3)}) == 3


@pytest.mark.parametrize("size", [0, 1, 65_536, 262_144, 262_145, 50_000_000])
def test_stdin_is_as_given(size: int) -> None:
    stdin = (b"0123456789abcde\0" * (size // 16 + 1))[:size]
    program = "import hashlib, sys; data = sys.stdin.buffer.read(); print(len(data), hashlib.sha256(data).hexdigest())"
    kept = execute(task(serve_here(), "read", program, stdin=stdin))
    assert kept.stdout("read").decode() == f"{size} {sha256(stdin).hexdigest()}\n"


def test_arguments_and_environment_are_as_given_however_many() -> None:
    args = tuple(f"{number}" for number in range(65_536))
    env = tuple((f"V{number}", "x" * 65_536) for number in range(16))
    program = "import os, sys; print(len(sys.argv), sys.argv[-1], sum(len(os.environ[f'V{i}']) for i in range(16)))"
    kept = execute(task(serve_here(), "many", program, args=args, env=env))
    assert kept.stdout("many") == b"65537 65535 1048576\n"


@on_linux
def test_words_travel_as_utf_8_whatever_the_agent_was_started_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    here = hosted_by(sys.executable, "-X", "utf8=0")
    program = "import os, sys; print(os.fsencode(sys.argv[1]), os.fsencode(os.environ['É']), os.listdir(b'.'))"
    kept = execute(
        task(here, "words", program, args=("é€\udcff",), env=(("É", "ü"),), files=(("ß", b""),)),
    )
    words = kept.stdout("words").decode()
    assert repr("é€".encode() + b"\xff") in words
    assert repr("ü".encode()) in words
    assert repr("ß".encode()) in words


# what comes back


def test_the_two_streams_are_never_merged() -> None:
    program = "import os\nfor number in range(2000):\n os.write(1, b'out %d\\n' % number)\n os.write(2, b'err %d\\n' % number)"
    kept = execute(task(serve_here(), "both", program))
    assert kept.stdout("both") == b"".join(b"out %d\n" % number for number in range(2000))
    assert kept.stderr("both") == b"".join(b"err %d\n" % number for number in range(2000))


def test_either_stream_may_be_full_while_the_other_waits() -> None:
    program = (
        "import os\nfor stream in (2, 1, 2):\n left = 3_000_000\n while left: left -= os.write(stream, bytes(left))"
    )
    kept = execute(task(serve_here(), "full", program))
    assert (len(kept.stdout("full")), len(kept.stderr("full"))) == (3_000_000, 6_000_000)


def test_bytes_are_held_up_to_their_limit_and_outlined_beyond() -> None:
    here = serve_here()
    program = "import sys; sys.stdout.buffer.write(bytes(int(sys.argv[1])))"
    kept = execute(
        task(here, "held", program, args=(str(agent.HOLD_LIMIT),)),
        task(here, "outlined", program, args=(str(agent.HOLD_LIMIT + 1),)),
    )
    assert kept.stdout("held") == bytes(agent.HOLD_LIMIT)
    assert kept.of("held").outlines == {}
    outcome = kept.of("outlined")
    assert outcome.streams == {}
    digest = sha256(bytes(agent.HOLD_LIMIT + 1)).hexdigest()
    assert outcome.result.stdout.digest == digest
    assert outcome.outlines == {digest: Outline.of(bytes(agent.HOLD_LIMIT + 1)).encode()}


# Lines of 16 bytes, each with its number: no two chunks are equal. The last chunk is not whole.
NUMBERED = """
import sys
size, piece = int(sys.argv[1]), 99 * 1024
for start in range(0, size, piece):
    data = b"".join(b"%015d\\n" % (at // 16) for at in range(start, start + piece, 16))
    sys.{stream}.buffer.write(data[: size - start])
"""


def numbered(size: int) -> bytes:
    return b"".join(b"%015d\n" % number for number in range(size // 16 + 1))[:size]


@pytest.mark.parametrize(
    "window",
    [None, (0, 3 * CHUNK), (100 * CHUNK, 3 * CHUNK), (143 * CHUNK, 3 * CHUNK), (144 * CHUNK, CHUNK), (1 << 40, CHUNK)],
)
def test_an_outline_is_that_of_the_whole_bytes(window: tuple[int, int] | None) -> None:
    size = (9 << 20) + 5
    here = serve_here()
    first = replace(task(here, "out", NUMBERED.format(stream="stdout"), args=(str(size),)), window=window)
    second = replace(task(here, "err", NUMBERED.format(stream="stderr"), args=(str(size),)), window=window)
    kept = execute(first, second)
    said = numbered(size)
    digest = sha256(said).hexdigest()
    assert kept.of("out").outlines == {digest: Outline.of(said, window).encode()}
    assert kept.of("err").outlines == {digest: Outline.of(said).encode()}, "a window is of stdout"


def test_an_outline_stays_small_however_much_was_said() -> None:
    size = 65 << 20
    window = (1000 * CHUNK, 3 * CHUNK)
    here = serve_here()
    kept = execute(
        replace(task(here, "large", NUMBERED.format(stream="stdout"), args=(str(size),), output=1 << 27), window=window)
    )
    (encoded,) = kept.of("large").outlines.values()
    assert len(encoded) < 400_000
    assert Outline.decode(encoded) == Outline.of(numbered(size), window)


def test_a_capture_of_a_large_stream_is_bounded_in_memory() -> None:
    piece = os.urandom(65_000)
    tracemalloc.start()
    try:
        capture = agent.Capture(1 << 40, (0, 3 * CHUNK))
        for _ in range(agent.HOLD_LIMIT // len(piece) + 1):
            capture.feed(bytes(piece))
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(1600):  # 100 MiB
            capture.feed(bytes(piece))
        assert tracemalloc.get_traced_memory()[1] < before + (2 << 20)
        assert before < 4 << 20, "what was held is let go"
    finally:
        tracemalloc.stop()


def test_large_bytes_that_agree_are_not_held_and_those_that_were_dropped_leave_no_file(ground: Path) -> None:
    program = f"import sys; sys.stdout.write('x' * {9 << 20})"
    digest = sha256(b"x" * (9 << 20)).hexdigest()
    names: list[str] = []

    class Looking(Kept):
        def commit(self, outcomes: Sequence[Outcome]) -> None:
            super().commit(outcomes)
            names.extend(path.name for path in ground.glob("harness-agent-*/held-*"))

    kept = execute(
        task(serve_here(), "agrees", program, expect=Expected(stdout=(digest,))),
        task(serve_here(), "differs", program),
        sink=Looking(),
    )
    assert kept.of("agrees").result.held == ()
    assert kept.of("differs").result.held == ("stdout",)
    assert {name.rpartition("-")[2] for name in names} == {"stdout"}
    assert not list(ground.rglob("held-*"))


def test_agreeing_bytes_do_not_travel() -> None:
    here = serve_here()
    expect = Expected(stdout=(sha256(b"yes\n").hexdigest(),))
    names = {"agrees": "print('yes')", "differs": "print('no')", "fails": "print('yes'); raise SystemExit(1)"}
    kept = execute(*(task(here, name, program, expect=expect) for name, program in names.items()))
    assert {name: kept.of(name).result.held for name in names} == {
        "agrees": (),
        "differs": ("stdout",),
        "fails": ("stdout",),
    }


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_is_cut_off_is_the_same_however_late(stream: str) -> None:
    program = f"import sys\nwhile True: sys.{stream}.write('0123456789' * 1000)"
    kept = execute(*(task(serve_here(), str(number), program, output=99_999) for number in range(2)))
    for number in range(2):
        result = kept.of(str(number)).result
        assert result.ending is Ending.OUTPUT_LIMIT
        assert getattr(result, stream).size == 99_999
        assert getattr(result, stream).digest == sha256((b"0123456789" * 10_000)[:99_999]).hexdigest()


def test_output_up_to_the_limit_is_no_trouble() -> None:
    kept = execute(task(serve_here(), "just", "print('x' * 99)", output=100))
    assert kept.of("just").result.ending is Ending.EXITED
    assert kept.stdout("just") == b"x" * 99 + b"\n"


def test_a_job_that_signals_its_group_hits_nobody_else() -> None:
    here = serve_here()
    program = "import os, signal, time; os.killpg(0, signal.SIGTERM); time.sleep(60)"
    kept = execute(task(here, "kills", program), *(task(here, f"other {n}", "print('fine')") for n in range(3)))
    assert (kept.of("kills").result.ending, kept.of("kills").result.code) == (Ending.SIGNALLED, 15)
    assert all(kept.stdout(f"other {number}") == b"fine\n" for number in range(3))


def test_a_child_that_ends_soon_after_its_parent_has_not_leaked() -> None:
    program = "import os, time\nif os.fork() == 0: time.sleep(0.1); print('child')"
    result = execute(task(serve_here(), "brief", program)).of("brief").result
    assert (result.leaked, result.stdout.size) == (0, 6)


# what must not be left


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder as a hostile fixture leaves it."""
    folder = tmp_path / "tree"
    (folder / "deep").mkdir(parents=True)
    (folder / "sealed" / "inner").mkdir(parents=True)
    (folder / "sealed" / "inner" / "file").touch()
    (folder / "sealed" / "inner").chmod(0)
    (folder / "sealed").chmod(0o500)
    (folder / "out").symlink_to(tmp_path / "outside", target_is_directory=True)
    (folder / ".moved-1").write_bytes(b"")
    os.mkfifo(folder / "fifo")
    return folder


def test_a_folder_is_removed_whatever_is_in_it(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o750)
    (outside / "kept").touch(mode=0o640)
    here = os.open(tree / "deep", os.O_RDONLY)
    for _ in range(3000):  # far deeper than a path may be long, or a recursion deep
        os.mkdir("a" * 20, dir_fd=here)
        below = os.open("a" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    agent._remove(str(tree))
    assert not tree.exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o750
    assert stat.S_IMODE((outside / "kept").stat().st_mode) == 0o640


def test_removing_what_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    agent._remove(str(tmp_path / "nothing"))
    (tmp_path / "link").symlink_to(tmp_path)
    agent._remove(str(tmp_path / "link"))
    assert list(tmp_path.glob("link")) == []


def test_the_folders_of_agents_that_were_killed_are_swept(ground: Path) -> None:
    orphaned, foreign, taken = (ground / name for name in ("harness-agent-old", "harness-other", "harness-agent-new"))
    for folder in (orphaned, foreign, taken):
        (folder / "slot0" / "work").mkdir(parents=True)
    owner = os.open(taken, os.O_RDONLY)
    fcntl.flock(owner, fcntl.LOCK_EX)
    execute(task(serve_here(), "any", "print()"))
    assert not orphaned.exists()
    assert foreign.exists()
    assert (taken / "slot0" / "work").exists()
    os.close(owner)
    shutil.rmtree(taken)


def test_a_job_that_ruins_its_folder_does_not_spoil_the_next() -> None:
    here = serve_here(slots=1)
    ruin = (
        "import os\n"
        "for number in range(1500): os.mkdir('d'); os.chdir('d')\n"
        "os.chdir(os.environ['HOME']); open('x', 'w'); os.chmod('.', 0); os.chmod(os.environ['TMPDIR'], 0o500)"
    )
    look = "import os; print(os.listdir('.'), os.listdir(os.environ['HOME']), os.listdir(os.environ['TMPDIR']))"
    kept = execute(task(here, "ruin", ruin), task(here, "look", look))
    assert kept.of("ruin").result.code == 0
    assert kept.stdout("look") == b"['main.py'] [] []\n"


# the agent itself


def test_a_preface_that_breaks_off_starts_nothing(ground: Path) -> None:
    text = preface(Settings(key=bytes(32), marker="mark", slots=1))
    for cut in (0, 10, len(text) // 2, len(text) - 1):
        done = subprocess.run([sys.executable, "-I", "-u", "-c", BOOTSTRAP], input=text[:cut], capture_output=True)
        assert done.stdout == b""
        assert done.returncode == (0 if cut <= 10 else 3)  # "import sys" is a whole program
    assert folders_in(ground) == []


def converse(timing: Timing, act: Callable[[LocalChannel], None]) -> str:
    """Start an agent, let something happen once it has said HELLO, wait for its end, and return how it ended."""
    channel = LocalChannel()
    channel.write(preface(Settings(key=bytes(32), marker="mark", slots=2, timing=timing)))
    heard = b""
    while b"\nmark\n" not in heard or b'"protocol"' not in heard:
        heard += channel.read()
    act(channel)
    while channel.read():
        continue
    channel.close()
    return channel.explain()


def test_an_agent_leaves_when_its_controller_is_silent() -> None:
    ended = converse(Timing(heartbeat=0.1, silence=0.5), lambda channel: None)
    assert ended == "exit status 1; agent: the controller has been silent for 0 s"


def test_an_agent_leaves_when_its_controller_talks_nonsense() -> None:
    ended = converse(Timing(), lambda channel: channel.write(b"x" * 100))
    assert ended == "exit status 1; agent: bad frame header after 0 frames"


@on_linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_an_agent_that_is_killed(number: signal.Signals, ground: Path) -> None:
    ended = converse(Timing(), lambda channel: os.kill(channel.pid, number))
    assert ended == f"killed by signal {int(number)}"
    assert eventually(lambda: not processes_of(ground) and not folders_in(ground))


def test_an_agent_ignores_what_a_terminal_sends() -> None:
    def act(channel: LocalChannel) -> None:
        os.kill(channel.pid, signal.SIGINT)
        os.kill(channel.pid, signal.SIGHUP)
        assert channel.read()  # a heartbeat
        channel.close()

    assert converse(Timing(heartbeat=0.1), act) == "exit status 1; agent: the controller is gone"


@on_linux
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes an ordinary user, which takes root")
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv of util-linux")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="needs a Python that every user can reach")
def test_an_ordinary_fixture_cannot_reach_its_agent(tmp_path_factory: pytest.TempPathFactory) -> None:
    program = """
import ctypes, os
worker = os.getppid()
main = int(open(f"/proc/{worker}/stat").read().rpartition(")")[2].split()[1])
libc = ctypes.CDLL(None, use_errno=True)
for pid in (worker, main):
    print(libc.ptrace(16, pid, 0, 0), end=" ")
    for path in ("fd", "mem", "environ", "maps"):
        try:
            os.listdir(f"/proc/{pid}/{path}") if path == "fd" else open(f"/proc/{pid}/{path}", "rb").read(1)
            print(path, "open", end=" ")
        except OSError:
            print("shut", end=" ")
"""
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/env", "TMPDIR=/tmp")
    here = hosted_by(*nobody, "/usr/bin/python3", subject=("/usr/bin/python3",))
    kept = execute(task(here, "spy", program), task(here, "other", "print('fine')"))
    assert kept.stdout("spy") == b"-1 shut shut shut shut -1 shut shut shut shut "
    assert kept.stdout("other") == b"fine\n"


def test_a_stream_that_is_empty_has_the_digest_of_nothing() -> None:
    kept: Kept = execute(task(serve_here(), "silent", ""))
    assert kept.of("silent").result.stdout == EMPTY


class _Counted(agent.Limits):
    """Counters in a folder of the test, as a container has them in its own."""

    _COUNTERS: tuple[tuple[str, str, bytes], ...] = (
        ("memory-limit", "memory.events", b"oom_kill"),
        ("process-limit", "pids.events", b"max"),
    )


def test_a_limit_that_was_hit_is_known_from_the_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 1\noom_group_kill 0\n")
    (tmp_path / "pids.events").write_text("max 5\n")
    limits = _Counted(str(tmp_path))
    limits.begin()
    assert limits.hit() == ""
    (tmp_path / "pids.events").write_text("max 6\n")
    assert limits.hit() == "process-limit"
    (tmp_path / "memory.events").write_text("low 0\noom 4\noom_kill 2\noom_group_kill 0\n")
    assert limits.hit() == "memory-limit"
    limits.begin()
    assert limits.hit() == ""
    (tmp_path / "memory.events").write_text("nothing to count\n")
    assert limits.hit() == ""


def test_where_there_are_no_counters_no_limit_is_ever_hit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    limits = _Counted(str(tmp_path))
    limits.begin()
    (tmp_path / "pids.events").write_text("max 6\n")
    assert limits.hit() == ""
