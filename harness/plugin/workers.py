"""pytest-xdist: which process this is, what a worker will be asked for next, and how its part of the run gets home."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.engine.merge import merge, take
from harness.engine.options import options_from_json
from harness.engine.project import Project
from harness.engine.run import new_identity
from harness.model.report import Report
from harness.plugin.running import resume_hint, say
from harness.store.bundle import Bundle, read_bundle
from harness.store.database import Store

if TYPE_CHECKING:
    import pytest


def is_worker(config: pytest.Config) -> bool:
    """Whether this process runs what a controller tells it."""
    return hasattr(config, "workerinput")


def is_controller(config: pytest.Config) -> bool:
    """Whether other processes run the tests of this session."""
    return config.pluginmanager.hasplugin("dsession")


def ahead_of(item: pytest.Item) -> Iterator[pytest.Item]:
    """What this process will be asked for next, as far as it is known: all tests, for a worker those in its queue."""
    items = item.session.items
    if not is_worker(item.config):
        yield from items
        return
    queue = next((one for one in item.config.pluginmanager.get_plugins() if hasattr(one, "nextitem_index")), None)
    if queue is not None:
        with queue.torun.lock() as waiting:
            numbers: list[Any] = [queue.nextitem_index, *waiting]
        yield from (items[number] for number in numbers if isinstance(number, int))


class Controller:
    """What a controller hears of its workers."""

    def __init__(self) -> None:
        self.parts: list[Bundle] = []
        self._has_lost = False

    @cached_property
    def identity(self) -> tuple[str, str]:
        """Id and start of the run, which its workers share."""
        return new_identity()

    def take(self, part: bytes | None, *, has_crashed: bool) -> None:
        """Take what a worker leaves: its bundle, or nothing when it had no job or has crashed."""
        self._has_lost |= has_crashed
        if part is not None:
            with tempfile.TemporaryDirectory(prefix="harness-part-") as folder:
                path = Path(folder) / "bundle"
                path.write_bytes(part)
                self.parts.append(read_bundle(path))

    def end(self, config: pytest.Config, project: Project, seconds: float) -> Report | str:
        """The report of the whole run, now in the store; or, when a worker has crashed, how to go on with the run."""
        record = self.parts[0].run
        options = options_from_json(record.selection)
        with Store.open(project.store_folder, waiting=partial(say, config)) as store:
            if self._has_lost:
                take(store, self.parts)
                return resume_hint(record.id, options)
            return merge(project, options, store, self.parts, seconds=seconds)
