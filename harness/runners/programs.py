"""What a program file is, from its head alone: ELF, PE, Mach-O or script, for which machine, loaded by what.

Starts nothing and never raises; a file that cannot be read or is none of these is an empty Program.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_ELF_MACHINES = {3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64"}
_ELF_MACHINES |= {243: "riscv64", 258: "loongarch64"}
_PE_MACHINES = {0x14C: "i386", 0x1C4: "arm", 0x8664: "x86_64", 0xAA64: "aarch64"}
_MACHO_MACHINES = {7: "i386", 0x01000007: "x86_64", 0x0100000C: "aarch64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a file's head says of it: format in words (empty: none known), machine, and what must load it."""

    format: str = ""
    machine: str = ""
    loader: str = ""


def read_program(path: Path) -> Program:
    """Read the head of an ELF, PE, Mach-O or script file."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
            if magic == b"\x7fELF":
                return _read_elf(file)
            if magic[:2] == b"MZ":
                file.seek(0x3C)
                (offset,) = struct.unpack("<I", file.read(4))
                file.seek(offset + 4)
                (code,) = struct.unpack("<H", file.read(2))
                return Program(format="a Windows program", machine=_PE_MACHINES.get(code, f"machine {code:#x}"))
            if magic in (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe"):
                (code,) = struct.unpack("<I", file.read(4))
                return Program(format="a macOS program", machine=_MACHO_MACHINES.get(code, f"machine {code:#x}"))
            if magic == b"\xca\xfe\xba\xbe":
                return Program(format="a macOS program", machine="several machines")
            if magic[:2] == b"#!":
                words = (magic + file.read(252)).split(b"\n")[0][2:].split()
                return Program(format="a script", loader=words[0].decode(errors="replace") if words else "")
            return Program()
    except (OSError, ValueError, IndexError, struct.error):
        return Program()


def _read_elf(file: BinaryIO) -> Program:
    file.seek(0)
    head = file.read(64)
    order = "<" if head[5] == 1 else ">"
    wide = head[4] == 2
    (code,) = struct.unpack_from(order + "H", head, 18)
    machine = _ELF_MACHINES.get(code, f"machine {code}")
    if code == 21 and order == "<":
        machine = "ppc64le"
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
    for index in range(count):
        file.seek(table + index * size)
        segment = file.read(size)
        if struct.unpack_from(order + "I", segment)[0] != 3:  # PT_INTERP
            continue
        (start,) = struct.unpack_from(order + ("Q" if wide else "I"), segment, 8 if wide else 4)
        (length,) = struct.unpack_from(order + ("Q" if wide else "I"), segment, 32 if wide else 16)
        file.seek(start)
        loader = file.read(min(length, 4096)).rstrip(b"\0").decode(errors="replace")
        return Program(format="a Linux program", machine=machine, loader=loader)
    return Program(format="a Linux program", machine=machine)
