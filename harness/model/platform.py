"""Names of what a cell is: platform slugs and interpreter tags, parsed and printed without loss.

A platform is ``os[-libc]-arch`` (``linux-musl-x86_64``); an interpreter is a tag in the manner of
PEP 425 (``cp312``, ``cp313t``, ``pp311``) or a name of the user's own (``gopy``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LIBCS = ("glibc", "musl", "bionic")

# One machine has several names; rules and attribution compare these, slugs keep what was written.
_CANONICAL_ARCHES = {"amd64": "x86_64", "arm64": "aarch64", "x64": "x86_64", "i686": "i386", "x86": "i386"}

_WORD = re.compile(r"[a-z0-9][a-z0-9_.]*\Z")
_NAME = re.compile(r"[a-z][a-z0-9_.+]*(-[a-z0-9_.+]+)*\Z")
_TAG = re.compile(r"(?P<letters>cp|pp|graalpy)(?P<major>[0-9])(?P<minor>0|[1-9][0-9]{0,2})(?P<flags>t?d?)\Z")
_IMPLEMENTATIONS = {"cp": "cpython", "pp": "pypy", "graalpy": "graalpy"}


def canonical_arch(arch: str) -> str:
    """Return the one name of a machine architecture: ``amd64`` and ``x64`` are ``x86_64``."""
    return _CANONICAL_ARCHES.get(arch.lower(), arch.lower())


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Platform:
    """An operating system, its C library where there are several, and a machine architecture."""

    os: str
    libc: str = ""
    arch: str

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read a slug such as ``linux-glibc-x86_64``; raise ValueError with the reason when it is none."""
        words = text.split("-")
        if len(words) not in (2, 3) or not all(_WORD.match(word) for word in words):
            raise ValueError(f"{text!r} is not a platform; write os-arch or linux-libc-arch, such as linux-musl-x86_64")
        os, arch = words[0], words[-1]
        libc = words[1] if len(words) == 3 else ""
        if os == "linux" and libc not in LIBCS:
            raise ValueError(f"{text!r} lacks its libc; write linux-glibc-{arch} or linux-musl-{arch}")
        if os != "linux" and libc:
            raise ValueError(f"{text!r} has a libc, which only linux has; write {os}-{arch}")
        return cls(os=os, libc=libc, arch=arch)

    def __str__(self) -> str:
        return "-".join(word for word in (self.os, self.libc, self.arch) if word)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class PythonTag:
    """Which interpreter a cell has: an implementation, a series and a build; or only a name."""

    text: str
    implementation: str = ""
    series: tuple[int, int] | None = None
    build: str = "default"

    @classmethod
    def parse(cls, text: str) -> PythonTag:
        """Read ``3.12``, ``3.13t``, ``cp312``, ``pp311`` or a lower-case name; raise ValueError otherwise."""
        dotted = re.fullmatch(r"([0-9])\.(0|[1-9][0-9]{0,2})(t?d?)", text)
        tag = _TAG.match(f"cp{dotted[1]}{dotted[2]}{dotted[3]}" if dotted else text)
        if tag:
            flags = tag["flags"]
            builds = [word for letter, word in (("t", "free-threaded"), ("d", "debug")) if letter in flags]
            return cls(
                text=tag[0],
                implementation=_IMPLEMENTATIONS[tag["letters"]],
                series=(int(tag["major"]), int(tag["minor"])),
                build="+".join(builds) or "default",
            )
        if not _NAME.match(text):
            raise ValueError(f"{text!r} is not an interpreter; write 3.12, 3.13t, cp312, pp311 or a lower-case name")
        return cls(text=text)

    @property
    def version(self) -> str:
        """The series as text, ``3.12``; empty for an interpreter that only has a name."""
        return f"{self.series[0]}.{self.series[1]}" if self.series else ""

    def __str__(self) -> str:
        return self.text
