"""``harness report``: a run that has ended, rendered again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.edge import say
from harness.cli.run_command import show
from harness.cli.selection import config_option, load_project
from harness.errors import LocalTrouble, Problem, UsageError
from harness.reports import RENDERERS


@click.command("report")
@click.argument("run", required=False)
@config_option
@click.option("-o", "--output", metavar="FILE", help="Write to a file; its ending chooses the format.")
@click.option("--output-format", metavar="FORMAT", help="text, json, jsonl, markdown or junit.")
@click.option("--json", "as_json", is_flag=True, help="The same as --output-format json.")
@click.option("--durations", type=click.IntRange(0), metavar="N", help="Show the N slowest jobs.")
@click.option("-v", "verbose", count=True, help="Say more.")
def command(run: str | None, config: str | None, output: str | None, **values: Any) -> int:
    """Render the report of RUN, or of the last run; exit with the run's status."""
    from harness.store.database import Store

    name = "json" if values["as_json"] else values["output_format"] or _format_of(output)
    if name not in RENDERERS:
        message = f"--output-format {name!r} is none of {', '.join(RENDERERS)}"
        raise UsageError(Problem(id="H0001", message=message))
    project = load_project(config)
    with Store.read(project.store_folder) as store:
        report = store.report(run)
        if output is None:
            show(report, store, name, verbosity=values["verbose"], durations=values["durations"])
        else:
            _write(Path(output), RENDERERS[name].render(report, store))
            say(f"wrote {output}", error=True)
    return report.exit_code


def _format_of(output: str | None) -> str:
    endings = {renderer.suffix: name for name, renderer in RENDERERS.items()}
    return endings.get(Path(output).suffix, "text") if output else "text"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise LocalTrouble(Problem(id="H0701", message=f"{path}: {error.strerror}")) from None
