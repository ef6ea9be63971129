"""The agent on a real Windows CPython (under wine): what a job sees, what comes back, and what must not be left."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from harness import agent
from harness.engine.dispatch import Dispatcher
from harness.model.fixture import Payload
from harness.model.observation import Ending
from harness.runners.local import LocalChannel
from harness.wire import Expected, JobMessage, Settings, Timing, Writer, preface
from tests.rig import Kept, eventually, execute, task
from tests.wine import TEMPORARY, VERSIONS, Wine

ALL = bytes(range(256)) + b"\r\n\n\r\x1a" * 50
# A child of a child that nobody waits for and that holds the streams.
LEAVES = """
import subprocess, sys
print("started", flush=True)
child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"
subprocess.Popen([sys.executable, "-c", child]).wait()
"""
FAMILY = """
import subprocess, sys, time
for _ in range(2):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_every_windows_python_hosts_an_agent(wine: Wine, version: str) -> None:
    here = wine.serve(version=version)
    kept = execute(
        task(
            here,
            "echo",
            "import os, sys\n"
            "sys.stdout.buffer.write(sys.stdin.buffer.read())\n"
            "words = [*sys.argv[1:], os.environ['NAME'], open('sub/deep/é.txt').read()]\n"
            "sys.stderr.buffer.write(repr(words).encode())",
            stdin=ALL * 1000,
            args=("ä b €", "", 'a "b" \\', "c\\\\", "%PATH%", "^&|"),
            env=(("Name", "wért\u2603"),),
            files=(("sub/deep/é.txt", b"file"),),
        ),
        task(here, "leaves", LEAVES),
        task(here, "slow", "import time; time.sleep(60)", timeout=0.5),
        task(here, "status", "raise SystemExit(77)"),
        task(here, "crash", "import os; os._exit(-1073741819)"),
        task(wine.serve("Z:\\nowhere.exe", version=version), "nowhere"),
    )
    assert kept.stdout("echo") == ALL * 1000
    said = ["ä b €", "", 'a "b" \\', "c\\\\", "%PATH%", "^&|", "wért\u2603", "file"]
    assert kept.stderr("echo").decode() == repr(said)
    assert kept.stdout("leaves") == b"started\r\n"
    assert kept.of("leaves").result.leaked == 1
    results = {name: kept.of(name).result for name in ("leaves", "slow", "status", "crash", "nowhere")}
    assert [(result.ending, result.code) for result in results.values()] == [
        (Ending.EXITED, 0),
        (Ending.TIMEOUT, 1),
        (Ending.EXITED, 77),
        (Ending.EXITED, 3221225477),  # an access violation, as Windows numbers it
        (Ending.LOST, 0),
    ]
    assert results["nowhere"].lost.startswith("agent: ")


# what a job sees


def test_the_environment_is_a_closed_list(wine: Wine) -> None:
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    here = wine.serve()
    here = replace(
        here, cell=replace(here.cell, env=(("FROM_CELL", "1"), ("TZ", "CET")), carry=("username", "NOT_SET"))
    )
    kept = execute(task(here, "env", program, env=(("From_Fixture", "2"), ("path", "C:\\windows"))))
    seen = json.loads(kept.stdout("env"))
    private = [seen.pop(name) for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP")]
    assert [Path(path.replace("\\", "/")).name for path in private] == ["home", "home", "tmp", "tmp", "tmp"]
    assert seen.pop("LC_ALL") in ("C.UTF-8", "C")
    # What wine gives to every process by itself.
    seen = {name: value for name, value in seen.items() if not name.startswith(("WINE", "PROCESSOR_", "SYSTEMDRIVE"))}
    assert seen.pop("SYSTEMROOT").lower() == "c:\\windows"
    assert seen == {
        "PATH": "C:\\windows",
        "TZ": "CET",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NO_COLOR": "1",
        "COLUMNS": "80",
        "TERM": "dumb",
        "FROM_CELL": "1",
        "USERNAME": "root",
        "FROM_FIXTURE": "2",
    }


def test_a_job_has_a_private_empty_folder_three_handles_and_no_terminal(wine: Wine) -> None:
    program = """
import ctypes, json, msvcrt, os
kernel32 = ctypes.WinDLL("kernel32")
kernel32.GetFileType.argtypes = [ctypes.c_void_p]
ours = {msvcrt.get_osfhandle(number) for number in range(3)}
pipes = [value for value in range(4, 2000, 4) if value not in ours and kernel32.GetFileType(value) == 3]
print(json.dumps({
    "here": os.listdir("."), "home": os.listdir(os.environ["HOME"]), "tmp": os.listdir(os.environ["TEMP"]),
    "slot": sorted(os.listdir("..")), "ttys": [os.isatty(number) for number in range(3)], "pipes": len(pipes),
}))
"""
    kept = execute(task(wine.serve(), "sees", program))
    assert json.loads(kept.stdout("sees")) == {
        "here": ["main.py"],
        "home": [],
        "tmp": [],
        "slot": ["home", "tmp", "work"],
        "ttys": [False, False, False],
        "pipes": 0,
    }


@pytest.mark.parametrize("size", [0, 1, 262_145, 5_000_000])
def test_stdin_is_as_given(wine: Wine, size: int) -> None:
    stdin = (ALL * (size // len(ALL) + 1))[:size]
    program = "import hashlib, sys; data = sys.stdin.buffer.read(); print(len(data), hashlib.sha256(data).hexdigest())"
    kept = execute(task(wine.serve(), "read", program, stdin=stdin))
    assert kept.stdout("read").decode() == f"{size} {sha256(stdin).hexdigest()}\r\n"


def test_arguments_that_do_not_fit_are_refused_and_those_that_just_do_arrive(wine: Wine) -> None:
    here = wine.serve()
    program = "import sys; print(len(sys.argv[1]))"
    # The room that `Z:\py\3.12.1\python.exe main.py ` leaves.
    room = agent.LONGEST_COMMAND_LINE - 1 - len(f"{here.subject[0]} main.py ")
    kept = execute(
        task(here, "fits", program, args=("x" * room,)),
        task(here, "does not", program, args=("x" * (room + 1),)),
    )
    assert kept.stdout("fits") == b"%d\r\n" % room
    assert kept.of("does not").result.lost == "agent: arguments too long: Windows takes 32766 characters"


def test_eight_slots_work_side_by_side(wine: Wine) -> None:
    here = wine.serve(slots=8)
    program = (
        "import os, sys, time; open('mine', 'x'); print(os.getcwd(), flush=True); time.sleep(1); print(sys.argv[1])"
    )
    kept = execute(*(task(here, str(number), program, args=(str(number),)) for number in range(8)))
    lines = [kept.stdout(str(number)).decode().split() for number in range(8)]
    assert len({folder for folder, _ in lines}) == 8
    assert [said for _, said in lines] == [str(number) for number in range(8)]


# what comes back


def test_both_streams_are_bytes_and_are_never_merged(wine: Wine) -> None:
    program = f"import os\nfor number in range(100):\n os.write(1, {ALL!r})\n os.write(2, {ALL[::-1]!r})"
    kept = execute(task(wine.serve(), "both", program))
    assert kept.stdout("both") == ALL * 100
    assert kept.stderr("both") == ALL[::-1] * 100


def test_either_stream_may_be_full_while_the_other_waits(wine: Wine) -> None:
    program = (
        "import os\nfor stream in (2, 1, 2):\n left = 3_000_000\n while left: left -= os.write(stream, bytes(left))"
    )
    kept = execute(task(wine.serve(), "full", program))
    assert (len(kept.stdout("full")), len(kept.stderr("full"))) == (3_000_000, 6_000_000)


def test_agreeing_bytes_do_not_travel(wine: Wine) -> None:
    here = wine.serve()
    expect = Expected(stdout=(sha256(b"yes\r\n").hexdigest(),))
    names = {"agrees": "print('yes')", "differs": "print('no')", "fails": "print('yes'); raise SystemExit(1)"}
    kept = execute(*(task(here, name, program, expect=expect) for name, program in names.items()))
    assert {name: kept.of(name).result.held for name in names} == {
        "agrees": (),
        "differs": ("stdout",),
        "fails": ("stdout",),
    }


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_is_cut_off_is_the_same_however_late(wine: Wine, stream: str) -> None:
    program = f"import sys\nwhile True: sys.{stream}.write('0123456789' * 1000)"
    kept = execute(*(task(wine.serve(), str(number), program, output=99_999) for number in range(2)))
    for number in range(2):
        result = kept.of(str(number)).result
        assert result.ending is Ending.OUTPUT_LIMIT
        assert getattr(result, stream).size == 99_999
        assert getattr(result, stream).digest == sha256((b"0123456789" * 10_000)[:99_999]).hexdigest()


def test_a_job_that_sends_ctrl_c_hits_nobody_else(wine: Wine) -> None:
    here = wine.serve()
    program = """
import os, signal, time
for number in (signal.CTRL_C_EVENT, signal.CTRL_BREAK_EVENT):
    try:
        os.kill(0, number)
    except OSError:
        pass
time.sleep(1)
"""
    kept = execute(task(here, "sends", program), *(task(here, f"other {n}", "print('fine')") for n in range(3)))
    assert all(kept.stdout(f"other {number}") == b"fine\r\n" for number in range(3))


def test_a_child_that_ends_soon_after_its_parent_has_not_leaked(wine: Wine) -> None:
    child = "import time; time.sleep(0.1); print('child', flush=True)"
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', {child!r}])"
    result = execute(task(wine.serve(), "brief", program)).of("brief").result
    assert (result.leaked, result.stdout.size) == (0, 7)


# what must not be left: the fixture looks once more when each test is over


def test_a_timeout_kills_the_whole_tree(wine: Wine) -> None:
    here = wine.serve()
    with Dispatcher() as dispatcher:
        kept = Kept()
        dispatcher.execute([task(here, "family", FAMILY, timeout=3)], kept)
        assert wine.processes() == [line for line in wine.processes() if "-I -u -c" in line]  # the agent is there still
    assert (kept.of("family").result.ending, kept.of("family").result.leaked) == (Ending.TIMEOUT, 0)
    assert kept.stdout("family") == b"ready\r\n"


def test_a_job_that_ruins_its_folder_does_not_spoil_the_next(wine: Wine) -> None:
    here = wine.serve(slots=1)
    ruin = (
        "import os, stat\n"
        "open('sealed', 'w').close(); os.chmod('sealed', stat.S_IREAD)\n"
        "os.chdir(os.environ['HOME']); open('x', 'w').close(); os.chmod('x', stat.S_IREAD)\n"
        "deep = '\\\\\\\\?\\\\' + os.environ['TEMP']\n"
        "for number in range(60): deep += '\\\\' + 'd' * 20; os.mkdir(deep)\n"
    )
    look = "import os; print(os.listdir('.'), os.listdir(os.environ['HOME']), os.listdir(os.environ['TEMP']))"
    kept = execute(task(here, "ruin", ruin), task(here, "look", look))
    assert kept.of("ruin").result.code == 0, kept.stderr("ruin")
    assert kept.stdout("look") == b"['main.py'] [] []\r\n"


def test_the_folders_of_agents_that_were_killed_are_swept_and_no_others(wine: Wine) -> None:
    folders = "harness-agent-old/slot0/work harness-agent-older/slot0 harness-other"
    wine.sh(f"cd {TEMPORARY} && mkdir -p {folders} && touch harness-agent-old.alive harness-agent-oldest.alive")
    with Dispatcher() as dispatcher:
        dispatcher.execute([task(wine.serve(), "any", "print()")], Kept())
        taken = [name for name in wine.folders() if name != "harness-other"]
        execute(task(wine.serve(), "beside", "print()"))  # a second agent leaves the first one's alone
        assert [name for name in wine.folders() if name != "harness-other"] == taken
    assert len(taken) == 2
    assert wine.folders() == ["harness-other"]
    wine.sh(f"rmdir {TEMPORARY}/harness-other")


# the agent itself


def started(wine: Wine, timing: Timing = Timing()) -> LocalChannel:  # noqa: B008 - a frozen value
    """An agent that has said HELLO."""
    channel = wine.channel()
    channel.write(preface(Settings(key=bytes(32), marker="mark", slots=2, timing=timing)))
    heard = b""
    while b"\nmark\n" not in heard or b'"protocol"' not in heard:
        data = channel.read()
        assert data, channel.explain()
        heard += data
    return channel


def message(wine: Wine, number: int, program: str) -> JobMessage:
    """A job that nothing is expected of."""
    return JobMessage(
        id=number,
        argv=wine.serve().subject,
        payload=Payload(program="main.py", files=(("main.py", program.encode()),)),
        env=(),
        carry=(),
        timeout=600.0,
        output=1000,
        expect=Expected(),
    )


def ended(channel: LocalChannel) -> str:
    """How an agent ends by itself."""
    while channel.read():
        continue
    channel.close()
    return channel.explain()


def test_an_agent_leaves_when_its_controller_is_silent(wine: Wine) -> None:
    channel = started(wine, Timing(heartbeat=0.1, silence=0.5))
    assert ended(channel) == "exit status 1; agent: the controller has been silent for 0 s"


def test_an_agent_leaves_when_its_controller_talks_nonsense_or_is_gone(wine: Wine) -> None:
    channel = started(wine)
    channel.write(b"x" * 100)
    assert ended(channel) == "exit status 1; agent: bad frame header after 0 frames"
    channel = started(wine)
    channel.close()
    assert channel.explain() == "exit status 1; agent: the controller is gone"


@pytest.mark.parametrize("how", ["end of input", "abort", "killed"])
def test_whatever_ends_an_agent_its_jobs_end_with_it(wine: Wine, how: str) -> None:
    """The fixture looks for what is left."""
    channel, writer = started(wine), Writer(bytes(32))
    for number in range(2):
        channel.write(writer.job(message(wine, number, FAMILY)))
    # the agent, two families of three, and their consoles
    assert eventually(lambda: sum("python.exe" in line for line in wine.processes()) == 7)
    if how == "abort":
        channel.write(writer.stop(abort=True))
        assert ended(channel) == ""
    elif how == "end of input":
        channel.close()
        assert channel.explain() == "exit status 1; agent: the controller is gone"
    else:
        wine.sh("kill -9 $(ps -o pid,args | grep -- '-I -u -[c]' | awk '{print $1}')")
        assert ended(channel) == "exit status 137"
        assert eventually(lambda: not wine.processes())
        execute(task(wine.serve(), "sweeps", "print()"))  # as the next agent does


def test_a_job_is_not_left_behind_by_an_agent_that_is_killed_while_it_starts_one(wine: Wine) -> None:
    release = b"family.release(process)"
    dying = preface(Settings(key=bytes(32), marker="mark", slots=1)).replace(
        release, b"os._exit(9)".ljust(len(release))
    )
    channel = wine.channel()
    channel.write(dying)
    channel.write(Writer(bytes(32)).job(message(wine, 0, "import time; time.sleep(600)")))
    assert ended(channel) == "exit status 9"
    assert eventually(lambda: not wine.processes()), wine.processes()
    execute(task(wine.serve(), "sweeps", "print()"))


CONTROLLER = """
import os, sys
from harness.engine.dispatch import Dispatcher, Task, Work
from harness.model.cell import Cell
from harness.model.fixture import Payload
from harness.model.platform import PythonTag
from harness.runners.local import LocalRunner, this_platform

class Kept:
    def wants(self, digest): return True
    def finished(self, outcome): return False
    def commit(self, outcomes):
        for one in outcomes:
            print(one.task.key[0], one.result.ending.value, one.result.code, one.result.leaked, one.result.lost,
                  *one.streams.values(), flush=True)

cell = Cell(platform=this_platform(), python=PythonTag.parse("here"))
here = LocalRunner(slots=1).serve(cell, sys.executable)
programs = {"says": b"print('hi')", "exits": b"raise SystemExit(7)", "lingers": b"import time; time.sleep(60)"}
tasks = [
    Task(key=(name, str(cell.platform)), attempt=1, placement=here, timeout=3.0, output=1000,
         load=lambda text=text: Work(payload=Payload(program="main.py", files=(("main.py", text),))))
    for name, text in programs.items()
]
with Dispatcher() as dispatcher:
    dispatcher.execute(tasks, Kept())
print(cell.platform, os.listdir(os.environ["TEMP"]))
"""


def test_a_windows_python_can_be_the_controller_too(wine: Wine) -> None:
    """The local runner and all below it, there: an agent within a job of an agent, with job objects within another."""
    root = Path(agent.__file__).parents[1]
    names = [path.relative_to(root) for path in sorted((root / "harness").glob("**/*.py"))]
    files = tuple((name.as_posix(), (root / name).read_bytes()) for name in names)
    kept = execute(task(wine.serve(), "controls", CONTROLLER, files=files))
    assert kept.stdout("controls").decode().splitlines() == [
        r"says exited 0 0  b'hi\r\n'",
        "exits exited 7 0 ",
        "lingers timeout 1 0 ",
        "windows-amd64 []",
    ], kept.stderr("controls")
