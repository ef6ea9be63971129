"""Goldens as a run sees them: digests at dispatch, bytes only where somebody must look at them."""

from __future__ import annotations

import contextlib
from hashlib import sha256
from pathlib import Path

from harness.divergence.part import Known
from harness.errors import InputError, Place, Problem
from harness.judge import Expectation
from harness.model.report import Report
from harness.plan import PlannedJob
from harness.store.database import Store


class Goldens:
    """Gives the declared expectation of a job, and the bytes of any digest from goldens or store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._digests: dict[Path, str] = {}
        self._paths: dict[str, Path] = {}

    def expectation(self, job: PlannedJob) -> Expectation:
        """What the job's golden declares; raise InputError (H0101) when one of its files cannot be read."""
        golden = job.golden
        return Expectation(
            stdout=self._digest(golden.stdout),
            stderr=self._digest(golden.stderr),
            exit=golden.exit,
            normalise=job.normalise,
        )

    def fetch(self, digest: str) -> bytes | None:
        """The bytes of a digest, verified; None when nobody has them."""
        path = self._paths.get(digest)
        if path is not None:
            with contextlib.suppress(OSError):  # it has gone while we ran: whoever asks gets a miss
                data = path.read_bytes()
                if sha256(data).hexdigest() == digest:
                    return data
        return self._store.get(digest)

    def known(self, digest: str) -> Known | None:
        """The bytes of a digest, or the outline of an output that was too large to be kept."""
        data = self.fetch(digest)
        return self._store.outline(digest) if data is None else data

    def is_declared(self, digest: str) -> bool:
        """Whether a golden's file has these bytes."""
        return digest in self._paths

    def keep(self, report: Report) -> None:
        """Put the goldens that somebody differs from into the store, so that a later look needs no file."""
        wanted = {divergence.expected for divergence in report.divergences}
        wanted |= {job.expected for job in report.jobs if job.verdict.kind.is_failure}  # a variant has its own
        for digest in sorted(wanted):
            data = self.fetch(digest)
            if data is not None:
                self._store.keep(data)

    def _digest(self, path: Path | None) -> str:
        if path is None:
            return ""
        if path not in self._digests:
            try:
                data = path.read_bytes()
            except OSError as error:
                problem = Problem(id="H0101", place=Place(path=str(path)), message=error.strerror or str(error))
                raise InputError(problem) from None
            digest = sha256(data).hexdigest()
            self._digests[path] = digest
            self._paths[digest] = path
        return self._digests[path]
