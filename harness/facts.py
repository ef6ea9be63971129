"""The probe's two ends on this side: the program text that a subject is given, and the reader of its answer.

Noise around the answer (a shell's, a site hook's) is passed over; anything else than facts is a ValueError in words.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from harness.model.cell import Facts

MARKER = b"harness-facts:"


@cache
def probe_program() -> str:
    """The text to run with ``-c`` in a subject; its working directory must be private and writable."""
    return Path(__file__).with_name("probe.py").read_text(encoding="utf-8")


def read_facts(stdout: bytes) -> Facts:
    """Read what a subject printed when it ran the probe; raise ValueError saying what is wrong with it."""
    answers = [line[len(MARKER) :] for line in stdout.splitlines() if line.startswith(MARKER)]
    if not answers:
        seen = f"it printed {stdout[:80]!r}" if stdout.strip() else "it printed nothing"
        raise ValueError(f"no facts: {seen}")
    try:
        data = json.loads(answers[-1])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"damaged facts: {error}") from None
    if isinstance(data, dict):
        return Facts.from_json(data)
    raise ValueError("damaged facts: not an object")
