"""``harness run``: the main job."""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.edge import announce, say
from harness.cli.selection import interpreters_file, load_project, selection_of, selection_options
from harness.engine.project import Project
from harness.errors import CATALOGUE, InputError, NothingRan, Problem, UsageError
from harness.model.report import Report
from harness.plan import Selection, select_cells, select_fixtures
from harness.reports.escape import terminal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.engine.dispatch import Dispatcher
    from harness.runners.base import Runner
    from harness.store.database import Store

# What --resume may come with: all else was settled when the run began.
_WITH_RESUME = frozenset(
    {"resume", "config", "slots", "bundle", "durations", "quiet", "verbose", "output_format", "as_json"}
)


@click.command("run")
@selection_options
@click.option("--lf", "last_failed", is_flag=True, help="Only the jobs that failed in the last run.")
@click.option("--ff", "failed_first", is_flag=True, help="The jobs that failed in the last run first.")
@click.option("-x", "exit_first", is_flag=True, help="Stop at the first failure.")
@click.option("--maxfail", type=click.IntRange(0), default=0, metavar="N", help="Stop after N failures.")
@click.option("-n", "slots", default="auto", metavar="N", help="Jobs at once on this computer [default: its cores].")
@click.option("--repeat", type=click.IntRange(1, 99), default=1, metavar="N", help="Run every job N times.")
@click.option("--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Replace the time limits.")
@click.option(
    "--require",
    type=click.Choice(["available", "tier-1", "all"]),
    default="available",
    show_default=True,
    help="Cells that must be verified, else exit 3.",
)
@click.option("--resume", is_flag=False, flag_value="", metavar="[RUN]", help="Go on with an interrupted run.")
@click.option("--bundle", metavar="FILE", help="Also write the run to a portable bundle.")
@click.option("--dry-run", is_flag=True, help="Show what would run, and run nothing.")
@click.option("--durations", type=click.IntRange(0), metavar="N", help="Show the N slowest jobs.")
@click.option("-q", "quiet", count=True, help="Say less.")
@click.option("-v", "verbose", count=True, help="Say more.")
@click.option("--output-format", default="text", metavar="FORMAT", help="text, json, jsonl, markdown or junit.")
@click.option("--json", "as_json", is_flag=True, help="The same as --output-format json.")
def command(**values: Any) -> int:
    """Run fixtures in cells and judge every job.

    FIXTURE is a fixture's path, or a folder of them; without any, all are run.
    """
    format_name = format_of(values)
    if values["resume"] is not None:
        _refuse_others()
    project = load_project(values["config"])
    selection = selection_of(project, values)
    if values["dry_run"]:
        from harness.cli.plan_command import show_plan
        from harness.store.database import Store

        refuse_unblessed(project, selection)
        with contextlib.suppress(NothingRan), Store.read(project.store_folder) as store:
            selection = _with_failures(selection, store, values)
        return show_plan(project, selection, explain=False)
    return _run(project, selection, values, format_name).exit_code


def format_of(values: dict[str, Any]) -> str:
    """The format that --output-format or --json asks for; raise UsageError for one that there is not."""
    from harness.reports import RENDERERS

    name: str = "json" if values["as_json"] else values["output_format"]
    if name not in RENDERERS:
        known = ", ".join(RENDERERS)
        raise UsageError(Problem(id="H0001", message=f"--output-format {name!r} is none of {known}"))
    return name


def refuse_unblessed(project: Project, selection: Selection) -> None:
    """A selected fixture without its golden cannot be judged: say so before anything runs."""
    if not project.unblessed:
        return
    unblessed = set(project.unblessed)
    wanted = [one for one in select_fixtures((*project.fixtures, *project.unblessed), selection) if one in unblessed]
    if wanted:
        raise InputError(
            [
                Problem(id="H0301", message=f"{fixture.id}: there is no expected stdout", hint=CATALOGUE["H0301"].mend)
                for fixture in wanted
            ]
        )


def _refuse_others() -> None:
    """A resumed run has the selection and limits that it began with: others would be ignored."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.COMMANDLINE
        if given and parameter.name not in _WITH_RESUME and context.params[str(parameter.name)]:
            name = "a fixture" if isinstance(parameter, click.Argument) else parameter.opts[0]
            message = f"--resume goes on with the run as it began; {name} cannot be given with it"
            raise UsageError(Problem(id="H0001", message=message))


def _run(project: Project, selection: Selection, values: dict[str, Any], format_name: str) -> Report:
    from harness.engine.cells import connect
    from harness.engine.dispatch import Dispatcher
    from harness.runners import open_runners

    runners = open_runners(project.root, slots=_slots(values["slots"]), cache=interpreters_file(), announce=announce)
    with Dispatcher() as dispatcher:
        # Agents need a moment to come up: long enough to read the fixtures and to open the store.
        connect(select_cells(project.matrix.cells, selection), runners, dispatcher)
        warned = _warn(runners)
        refuse_unblessed(project, selection)
        report = _run_in(dispatcher, runners, project, selection, values, format_name)
    _warn(runners, warned)  # of what was seen on the way
    return report


def _warn(runners: Mapping[str, Runner], warned: Sequence[str] = ()) -> Sequence[str]:
    """Say what the runners noticed and was not said yet; return it all."""
    noticed = [warning for runner in runners.values() for warning in runner.warnings]
    for warning in noticed:
        if warning not in warned:
            say(f"harness: warning: {terminal(warning)}", error=True)
    return noticed


def _run_in(
    dispatcher: Dispatcher,
    runners: Mapping[str, Runner],
    project: Project,
    selection: Selection,
    values: dict[str, Any],
    format_name: str,
) -> Report:
    from harness.cli.progress import Progress
    from harness.engine.options import Options
    from harness.engine.run import resume, start
    from harness.store.database import Store

    with Store.open(project.store_folder, waiting=lambda message: say(f"harness: {message}", error=True)) as store:
        progress = Progress(stream=sys.stderr, quiet=values["quiet"] > 0)
        try:
            with progress:
                if values["resume"] is not None:
                    report = resume(project, values["resume"] or None, store, runners, dispatcher, progress)
                else:
                    options = Options(
                        selection=_with_failures(selection, store, values),
                        require=values["require"],
                        repeat=values["repeat"],
                        timeout=values["timeout"],
                        max_failures=1 if values["exit_first"] else values["maxfail"],
                        arguments=("harness", *sys.argv[1:]),
                        config=values["config"] or "",
                    )
                    report = start(project, options, store, runners, dispatcher, progress)
        except KeyboardInterrupt:
            if progress.run:
                say(f"harness: what is done is kept; {_resume_hint(progress.run, values['config'])}", error=True)
            raise
        show(report, store, format_name, verbosity=values["verbose"] - values["quiet"], durations=values["durations"])
        if values["bundle"]:
            from harness.store.bundle import write_bundle

            write_bundle(store, report.run.id, Path(values["bundle"]))
    return report


def _resume_hint(run: str, config: str | None) -> str:
    where = f" -c {shlex.quote(config)}" if config else ""
    return f"go on with `harness run --resume {run}{terminal(where)}`"


def _slots(text: str) -> int:
    """The number of -n; 0 stands for the computer's own."""
    if text in ("auto", "logical"):
        return 0
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise UsageError(Problem(id="H0001", message=f"-n {text!r} is neither auto nor a number from 1 to 1024"))
    return int(text)


def _with_failures(selection: Selection, store: Store, values: dict[str, Any]) -> Selection:
    """Narrow or order a selection by what failed last: jobs, and fixtures that could not be prepared."""
    if not (values["last_failed"] or values["failed_first"]) or not store.latest_with():
        return selection
    last = store.report()
    broken = {one.fixture for one in last.fixtures if one.is_failure}
    failed = frozenset(
        (job.fixture, job.cell) for job in last.jobs if job.verdict.kind.is_failure or job.fixture in broken
    )
    if values["last_failed"] and failed:
        return replace(selection, only_jobs=failed)
    return replace(selection, first_jobs=failed)


def show(report: Report, store: Store, format_name: str, *, verbosity: int, durations: int | None) -> None:
    """Print a report to stdout in one of the formats: the same bytes on every platform."""
    from harness.cli.terminal import render_for_terminal
    from harness.reports import RENDERERS

    if format_name == "text":
        say(render_for_terminal(report, store, verbosity=verbosity, durations=durations).rstrip("\n"))
    else:
        say(RENDERERS[format_name].render(report, store).rstrip("\n").encode())
