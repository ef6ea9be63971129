"""A corpus of any size made from ten small programs: what people test, none of it empty, every golden different.

Program and golden depend on nothing but their number; goldens come from the interpreter that is measured.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

# For lit, which finds its command in the file; to all others it is a comment. lit would take `diff` for its own, which
# starts another Python each time: five times as slow as `cmp`, and no fair rival.
_RUN_LINE = "# RUN: %python %s | cmp - %S/expected.stdout\n"

_GREETINGS = """
name = "fixture %d" % seed
for width in (20, 30):
    print(name.center(width, "*"))
    print(f"{name!r:>{width}}|{seed:08d}|{seed / 7:.6f}|{seed:#x}")
print(name.upper(), name.title(), name[::-1], sep=" / ")
"""

_RECORDS = """
import json

records = [{"id": seed + i, "name": f"user-{i}", "score": (seed * 31 + i) % 97 / 4} for i in range(12)]
text = json.dumps(records, indent=1, sort_keys=True)
assert json.loads(text) == records
print(text)
print(json.dumps({str(one["id"]): one["score"] for one in records}, separators=(",", ":")))
"""

_INVOICE = """
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Line:
    article: str
    count: int
    cents: int

    @property
    def total(self):
        return self.count * self.cents


@dataclass
class Invoice:
    number: int
    lines: list = field(default_factory=list)


invoice = Invoice(seed, [Line(f"article {i}", i % 4 + 1, seed % 50 * 3 + i * 17) for i in range(8)])
for line in sorted(invoice.lines, reverse=True):
    print(f"{line.article:<12}{line.count:>3}{line.cents / 100:>9.2f}{line.total / 100:>10.2f}")
print(invoice.number, sum(line.total for line in invoice.lines))
print(invoice.lines[0])
"""

_WORDS = """
from collections import Counter, defaultdict

words = [("alpha", "beta", "gamma", "delta", "omega")[(seed + i * i) % 5] + str(i % 3) for i in range(60)]
for word, count in Counter(words).most_common():
    print(f"{word} {'#' * count} {count}")
places = defaultdict(list)
for place, word in enumerate(words):
    places[word[0]].append(place + seed)
for letter in sorted(places):
    print(letter, places[letter])
"""

_MATCHES = """
import re

log = "\\n".join(f"10.0.{i}.{seed % 256} - [{i:02d}/May] GET /page/{seed + i} {200 + i % 3}" for i in range(20))
for match in re.finditer(r"(?P<host>[\\d.]+) - \\[(?P<day>\\d+)/(\\w+)\\] (\\w+) (?P<path>\\S+) (\\d+)", log):
    print(match["day"], match["path"], match["host"], match.span())
print(re.sub(r"\\d", "0", log.splitlines()[0]), len(log))
"""

_NUMBERS = """
from decimal import Decimal, getcontext
from fractions import Fraction

getcontext().prec = 40
print(Decimal(seed + 2).sqrt(), Decimal(seed + 1) / 7)
print(sum(Fraction(1, n) for n in range(1, seed % 20 + 5)))
print(0.1 * seed, seed ** 40, seed / 3, divmod(-seed, 7), round(seed / 8, 1))
print([float.hex(seed / n) for n in (3, 7, 11)])
"""

_DATES = """
from datetime import date, timedelta

first = date(1970, 1, 1) + timedelta(days=seed * 13)
for step in range(0, 70, 7):
    day = first + timedelta(days=step)
    print(day.isoformat(), day.isocalendar()[1], day.strftime("%d.%m.%Y"), day.toordinal())
"""

_PRIMES = """
from itertools import accumulate, count, islice


def primes():
    found = []
    for number in count(2):
        if all(number % prime for prime in found if prime * prime <= number):
            found.append(number)
            yield number


chosen = list(islice(primes(), 120))[seed % 60 :][:50]
print(chosen, list(accumulate(chosen))[-1] + seed, sep="\\n")
"""

_MISTAKES = """
class Refused(ValueError):
    pass


def check(number):
    if number % 5 == 0:
        raise Refused(f"{number} is refused")
    return 100 // (number % 3)


for number in range(seed, seed + 15):
    try:
        print(number, check(number))
    except (Refused, ZeroDivisionError) as error:
        print(number, type(error).__name__, error)
    finally:
        print("-" * (number % 9))
"""

_DIGESTS = """
import hashlib
import struct

data = b"".join(struct.pack("<IhB", seed + i, i - 7, i) for i in range(14))
print(data.hex(" ", 7))
print(hashlib.sha256(data).hexdigest())
print("äöü €".encode("utf-8"), "π".encode("utf-16-le"), seed.to_bytes(4, "big"))
"""

_PROGRAMS = (
    _GREETINGS,
    _RECORDS,
    _INVOICE,
    _WORDS,
    _MATCHES,
    _NUMBERS,
    _DATES,
    _PRIMES,
    _MISTAKES,
    _DIGESTS,
)

# Runs every program in one process: the goldens of ten thousand in seconds.
_BLESS = """
import contextlib, io, pathlib, sys
for program in sorted(pathlib.Path(sys.argv[1]).glob("*/main.py")):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(program.read_bytes(), str(program), "exec"), {"__name__": "__main__"})
    program.with_name("expected.stdout").write_bytes(said.getvalue().encode())
"""


def write_project(folder: Path, count: int, series: str) -> Path:
    """Make a project of ``count`` fixtures without goldens and one cell, ``local/cp<series>``; return its matrix file."""
    for number in range(count):
        place = folder / "fixtures" / f"{number:05d}"
        place.mkdir(parents=True)
        program = f"{_RUN_LINE}seed = {number}\n{_PROGRAMS[number % len(_PROGRAMS)]}"
        (place / "main.py").write_text(program, encoding="utf-8", newline="\n")
    matrix = folder / "matrix.yaml"
    matrix.write_text(f'platforms:\n  local: {{tier: 1}}\npythons:\n  "{series}": {{tier: 1}}\n', encoding="utf-8")
    return matrix


def bless_project(folder: Path, python: Path, environment: Mapping[str, str]) -> None:
    """Write all goldens with one interpreter; raise CalledProcessError when a program fails."""
    subprocess.run([python, "-c", _BLESS, str(folder / "fixtures")], env=environment, check=True)
