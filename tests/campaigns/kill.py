"""The kill campaign: a run killed at any moment, and resumed, ends as if nothing had happened.

    python -m tests.campaigns.kill [--kills 40] [--seed 1] [--fixtures 120] [--folder FOLDER]

One undisturbed run is the reference. Each strike begins a run, kills it -9 at a seeded moment (sometimes the resumed
run once more), resumes it to its end and compares: the report but for its "run" block, the accepted observations, how
often every program was started, the integrity of the store, and what was left on the computer.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import cycle
from pathlib import Path

from harness.engine.dispatch import COMMIT_EVERY
from harness.engine.tasks import window_of
from harness.model.observation import Observation
from harness.runners.local import slots_here
from harness.store.database import Store
from tests.campaigns.corpus import CampaignProject, write
from tests.campaigns.strikes import Accepted, Ending, Key, Reference, Strike

ROOT = Path(__file__).parents[2]
CRADLE = Path(__file__).with_name("cradle.py")
KINDS = ("page", "after", "commit", "blob", "insert", "page", "survey", "rename", "after", "sync", "page", "report")
DEATHS = frozenset({-signal.SIGKILL, -signal.SIGXFSZ, 128 + signal.SIGKILL})


class Campaign:
    """A project, its reference, and the strikes against it. ``folder`` must be empty; it is the caller's to remove."""

    def __init__(self, folder: Path, *, fixtures: int, seed: int) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        (folder / "project").mkdir()
        self._cache = folder / "cache"
        self._project: CampaignProject = write(folder / "project", fixtures)
        self._store = folder / "project" / ".harness"
        self._log_before = folder / "executions-before"
        self._before: Accepted = {}
        ended = self._run("never")
        self.reference = Reference(
            report=_comparable(ended.report),
            status=ended.status,
            accepted=self._accepted(self._store),
            executions=self._project.executions(),
            took=ended.took,
        )
        if ended.status not in (0, 1) or ended.left or set(self.reference.executions.values()) != {1}:
            raise RuntimeError(f"the undisturbed run failed: {ended}")
        self._kinds = cycle(KINDS)

    def strike(self, number: int, kind: str = "") -> Strike:
        """Kill one run, resume it, and compare. A moment that never comes gives way to another one."""
        while True:
            strike = Strike(number=number)
            moment = self._moment(kind or next(self._kinds))
            self._begin_afresh(cold=moment.startswith("process"))
            ended = self._run(moment)
            if ended.status in DEATHS:
                break
        self._after_death(strike, moment, ended)
        moment = self._moment("after") if self._random.random() < 0.25 else "never"
        how = self._how_to_go_on()
        ended = self._run(moment, *how)
        if ended.status in DEATHS:
            self._after_death(strike, moment, ended)
            how = self._how_to_go_on()
            ended = self._run("never", *how)
        self._judge(strike, ended, is_resumed="--resume" in how)
        return strike

    def _moment(self, kind: str) -> str:
        """A seeded moment of a kind, most of them within what the reference run does."""
        number = self._random.randrange(1, 4 + int(self.reference.took / COMMIT_EVERY))
        if kind == "after":
            return f"after:{self._random.uniform(0.05, self.reference.took):.3f}"
        if kind == "survey":
            return f"process:{self._random.randrange(1, 6)}"
        if kind == "page":
            return f"page:{number}:{self._random.randrange(0, 1400)}"
        if kind == "insert":
            return f"insert:{self._random.randrange(1, len(self.reference.accepted))}"
        if kind == "sync":
            if not shutil.which("strace"):
                return f"commit:{number}"
            return f"{self._random.choice(('sync', 'unlink'))}:{self._random.randrange(4, 4 + 3 * number)}"
        return f"{kind}:{1 if kind == 'report' else self._random.randrange(1, 6)}"

    def _begin_afresh(self, *, cold: bool) -> None:
        shutil.rmtree(self._store)
        if cold:
            shutil.rmtree(self._cache)
        self._project.log.unlink(missing_ok=True)
        self._log_before.write_text("")

    def _run(self, moment: str, *arguments: str) -> Ending:
        """Run the command line in a cradle, to its end or to its death."""
        kind, _, value = moment.partition(":")
        delay, doom, tracer = ("0", "never:0", [])
        if kind == "after":
            delay = value
        elif kind in ("sync", "unlink"):
            call = "fdatasync" if kind == "sync" else "unlink"
            tracer = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
            tracer += ["-e", f"inject={call}:signal=KILL:when={value}"]
        else:
            doom = moment
        out, err = self._folder / "out", self._folder / "err"
        command = [sys.executable, str(CRADLE), delay, str(out), str(err), str(self._temporary), *tracer]
        command += [sys.executable, "-m", "tests.campaigns.doomed", doom, *(arguments or ("run",)), "--json"]
        command += ["-c", str(self._project.folder / "matrix.yaml")]
        environment = {**os.environ, "XDG_CACHE_HOME": str(self._cache)}
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
        answer = json.loads(done.stdout)
        return Ending(
            status=answer["status"],
            took=answer["took"],
            gone=answer["gone"],
            left=tuple(answer["left"]),
            report=out.read_text(),
            errors=err.read_text(),
        )

    def _after_death(self, strike: Strike, moment: str, ended: Ending) -> None:
        """What the dead run has left behind, looked at in a copy of the store, so that the real one heals by itself."""
        strike.moments.append(moment)
        strike.gone = max(strike.gone, ended.gone)
        if ended.left:
            strike.violations.append(f"left behind: {', '.join(ended.left)}")
            shutil.rmtree(self._temporary)
            self._temporary.mkdir()
        copy = self._folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        if self._store.exists():
            shutil.copytree(self._store, copy)
        strike.is_hot = strike.is_hot or (copy / "harness.db-journal").exists()
        recorded = self._accepted(copy)
        strike.recorded.append(len(recorded))
        with self._log_before.open("a") as log:
            log.writelines(f"{name}\n" for name in self._project.executions().elements())
        self._project.log.unlink(missing_ok=True)
        self._before = recorded

    def _how_to_go_on(self) -> tuple[str, ...]:
        """Resume, unless the run was killed before it had begun, or after it had ended."""
        copy = self._folder / "copy" / "harness.db"
        if not copy.exists():
            return ("run",)
        with closing(sqlite3.connect(copy)) as connection:
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return ("run",)
            rows = connection.execute("SELECT finished FROM runs").fetchall()
        if not rows:
            return ("run",)
        return ("run", "--resume") if rows[0][0] is None else ("report",)

    def _judge(self, strike: Strike, ended: Ending, *, is_resumed: bool) -> None:
        """Compare the end with the reference."""
        reference = self.reference
        wrong = strike.violations
        if ended.left:
            wrong.append(f"left behind at the end: {', '.join(ended.left)}")
        if ended.status != reference.status:
            wrong.append(f"exit {ended.status} instead of {reference.status}: {ended.errors[-300:]}")
        elif _comparable(ended.report) != reference.report:
            wrong.append("another report")
        elif is_resumed and json.loads(ended.report)["run"]["resumed"] != strike.recorded[-1]:
            wrong.append("another number of resumed executions")
        accepted = self._accepted(self._store)
        if accepted != reference.accepted:
            lost, more = reference.accepted.keys() - accepted.keys(), accepted.keys() - reference.accepted.keys()
            wrong.append(f"another accepted set: {len(lost)} lost, {len(more)} more")
        for name in (self._store, self._folder / "copy"):
            wrong += _integrity(name / "harness.db")
        now = self._project.executions()
        known = {_name(key) for key in self._before}
        if repeated := known & now.keys():
            wrong.append(f"{len(repeated)} recorded executions were run again")
        if set(now.values()) - {1}:
            wrong.append("a program was started twice in one part of a run")
        if now.keys() | known != reference.executions.keys():
            wrong.append("programs were not run")
        before = Counter(self._log_before.read_text().split())
        strike.again = sum((before + now).values()) - len(before + now)
        if strike.again > window_of(slots_here()) * len(strike.moments):
            wrong.append(f"{strike.again} executions ran again: more than can have been under way")

    def _accepted(self, folder: Path) -> Accepted:
        """The accepted observations of the only run of a store, but for how long they took."""
        if not (folder / "harness.db").exists() or not (folder / "harness.db").stat().st_size:
            return {}
        with Store.read(folder) as store:
            runs = store.runs()
            if len(runs) > 1:
                raise RuntimeError("a resumed run is not the same run")
            observations = store.observations(runs[0].id) if runs else ()
        return {(seen.fixture, seen.cell, seen.attempt): _facts(seen) for seen in observations if seen.attempt > 0}


def _facts(seen: Observation) -> tuple[object, ...]:
    return (seen.key, seen.ending, seen.code, seen.stdout, seen.stderr, seen.leaked)


def _name(key: Key) -> str:
    """How the program of an execution signs in the log."""
    return f"{key[0].rpartition('/')[2]}@{key[1].rpartition('/')[2]}"


def _comparable(report: str) -> str:
    """A JSON report without its block about the run, which is one line."""
    return "\n".join(line for line in report.splitlines() if not line.startswith(' "run":'))


def _integrity(path: Path) -> Iterator[str]:
    if path.exists() and path.stat().st_size:
        with closing(sqlite3.connect(path)) as connection:
            said = connection.execute("PRAGMA integrity_check").fetchall()
        if said != [("ok",)]:
            yield f"{path.parent.name}: {said[0][0]}"


def main(arguments: Sequence[str], say: Callable[[str], object]) -> int:
    """Run a campaign; return 0 when every strike ended equal, else 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fixtures", type=int, default=120)
    parser.add_argument("--folder", type=Path, help="an empty folder that is kept [default: a temporary one]")
    options = parser.parse_args(arguments)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="harness-campaign-"))
    try:
        campaign = Campaign(folder, fixtures=options.fixtures, seed=options.seed)
        reference = campaign.reference
        say(f"reference: {len(reference.accepted)} executions in {reference.took:.1f} s, exit {reference.status}\n")
        say("  #  killed                        recorded  again   gone  store          end\n")
        strikes = []
        for number in range(1, options.kills + 1):
            strikes.append(campaign.strike(number))
            say(f"{strikes[-1].row()}\n")
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    inside, hot = sum(one.is_inside for one in strikes), sum(one.is_hot for one in strikes)
    bad = [one for one in strikes if one.violations]
    kills = sum(len(one.moments) for one in strikes)
    say(
        f"{'VIOLATED' if bad else 'held'}: {len(strikes)} runs, {kills} kills, {inside} inside a transaction, {hot} left "
        f"half a commit; at most {max(one.again for one in strikes)} executions ran again; everything was gone within "
        f"{max(one.gone for one in strikes):.1f} s; {len(bad)} ended otherwise than the reference\n"
    )
    return 1 if bad else 0


if __name__ == "__main__":

    def _say(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    sys.exit(main(sys.argv[1:], _say))
