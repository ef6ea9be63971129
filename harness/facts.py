"""The probe's two ends on this side: the program texts that a subject is given, and the readers of their answers.

Noise around the answer (a shell's, a site hook's) is passed over; anything else than facts is a ValueError in words.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from harness.model.cell import Facts

MARKER = b"harness-facts:"
LEAST_MARKER = b"harness-least:"
LEAST_PROGRAM = """\
system = name = version = ""
try:
    import sys
    system = sys.platform
    version = ".".join([str(part) for part in sys.version_info[:3]])
    name = sys.implementation.name
except Exception:
    pass
print("")
print("harness-least:" + system + "|" + name + "|" + version)
"""
"""The probe for a subject that cannot run the other one: an interpreter with little more than ``print``."""
_SYSTEMS = {"darwin": "macos", "win32": "windows"}
_WORD = re.compile(rb"[A-Za-z0-9_.+-]{0,40}")


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


def read_least(stdout: bytes) -> Facts:
    """Read what a subject printed when it ran ``LEAST_PROGRAM``; all other facts are empty. Raises ValueError."""
    answers = [line[len(LEAST_MARKER) :] for line in stdout.splitlines() if line.startswith(LEAST_MARKER)]
    words = answers[-1].split(b"|") if answers else []
    if len(words) != 3 or not all(_WORD.fullmatch(word) for word in words):
        raise ValueError("not even a name and a version")
    system, name, version = (word.decode("ascii") for word in words)
    return Facts(os=_SYSTEMS.get(system, system), arch="", implementation=name.lower(), version=version)
