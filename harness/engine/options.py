"""How to run, as one value that outlives the process: what a run was asked for is kept in the store with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.plan import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run. ``timeout`` (s, unscaled) replaces the fixtures' own; ``max_failures`` 0 means no limit.

    ``arguments`` and ``config``, the matrix file as it was named, are only kept for the report.
    """

    selection: Selection = field(default_factory=Selection)
    require: str = "available"
    repeat: int = 1
    timeout: float | None = None
    max_failures: int = 0
    arguments: tuple[str, ...] = ()
    config: str = ""


def options_to_json(options: Options) -> str:
    """The options as JSON text: equal options give equal text."""
    data = asdict(options)
    for name in ("only_jobs", "first_jobs"):
        pairs = data["selection"][name]
        data["selection"][name] = pairs if pairs is None else sorted(pairs)
    return json.dumps(data, sort_keys=True)


def options_from_json(text: str) -> Options:
    """The options that ``options_to_json`` has written."""
    data: dict[str, Any] = json.loads(text)
    selection: dict[str, Any] = data["selection"]
    for name, value in selection.items():
        if name in ("only_jobs", "first_jobs"):
            selection[name] = None if value is None else frozenset((fixture, cell) for fixture, cell in value)
        elif isinstance(value, list):
            selection[name] = tuple(value)
    return Options(**{**data, "selection": Selection(**selection), "arguments": tuple(data["arguments"])})
