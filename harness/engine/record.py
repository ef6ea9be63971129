"""From outcomes to observations: the sink of a run, which makes them durable and watches for the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.engine.dispatch import Outcome
from harness.model.observation import Ending, Observation
from harness.store.database import Store

Key = tuple[str, str]


@dataclass(slots=True, kw_only=True, eq=False)
class Recorder:
    """Records the outcomes of a run's tasks.

    ``fingerprints`` are by cell id. ``heard`` is called for each final observation and says whether to stop.
    ``done`` are the jobs with a final observation that is durable.
    """

    store: Store
    run_id: str
    fingerprints: Mapping[str, str]
    heard: Callable[[Key, Observation], bool]
    observations: dict[Key, list[Observation]] = field(default_factory=dict)
    done: set[Key] = field(default_factory=set)
    _known: set[str] = field(default_factory=set)

    def wants(self, digest: str) -> bool:
        """Bytes, or their outline, are wanted once in the life of a store."""
        if digest not in self._known and (self.store.has(digest) or self.store.outline(digest)):
            self._known.add(digest)
        return digest not in self._known

    def finished(self, outcome: Outcome) -> bool:
        """Pass a final outcome on."""
        return self.heard(outcome.task.key, self._observation(outcome))

    def commit(self, outcomes: Sequence[Outcome]) -> None:
        """Make a batch durable."""
        blobs: dict[str, bytes] = {}
        outlines: dict[str, bytes] = {}
        batch = []
        for outcome in outcomes:
            observation = self._observation(outcome)
            batch.append(observation)
            blobs.update(outcome.streams)
            outlines.update(outcome.outlines)
            self.observations.setdefault(outcome.task.key, []).append(observation)
        self.store.record(self.run_id, batch, blobs, outlines)
        self._known.update(blobs, outlines)
        self.done.update(outcome.task.key for outcome in outcomes if not outcome.retried)

    def _observation(self, outcome: Outcome) -> Observation:
        """A loss is counted below zero: it is kept, but it is no execution."""
        fixture, cell = outcome.task.key
        result = outcome.result
        is_lost = result.ending is Ending.LOST
        return Observation(
            fixture=fixture,
            fixture_digest=outcome.work.payload.digest,
            cell=cell,
            fingerprint=self.fingerprints[cell],
            attempt=-(outcome.task.attempt * 100 + outcome.losses) if is_lost else outcome.task.attempt,
            ending=result.ending,
            code=result.code,
            stdout=result.stdout,
            stderr=result.stderr,
            leaked=result.leaked,
            lost=result.lost,
            duration_ns=result.duration_ns,
        )
