"""The probe program, run for real in every interpreter of this machine, and the reader of its answer."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import probe
from harness.facts import probe_program, read_facts
from harness.model.cell import Facts
from harness.runners.interpreters import discover


def ask(*command: str, cwd: Path, **environ: str) -> bytes:
    done = subprocess.run([*command], cwd=cwd, env={"PATH": os.defpath, **environ}, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout


def test_every_interpreter_here_answers_with_the_same_system(tmp_path: Path) -> None:
    mine = read_facts(ask(sys.executable, "-c", probe_program(), cwd=tmp_path))
    for interpreter in discover(None).interpreters:
        facts = read_facts(ask(str(interpreter.path), "-c", probe_program(), cwd=tmp_path))
        assert Path(facts.executable) == interpreter.path
        for name in ("os", "libc", "byteorder", "fs_case", "fs_normalisation"):
            assert getattr(facts, name) == getattr(mine, name)


def test_facts_are_what_the_interpreter_says_of_itself(tmp_path: Path) -> None:
    facts = read_facts(ask(sys.executable, "-c", probe_program(), cwd=tmp_path))
    (tmp_path / "a").touch()
    assert facts.version.startswith(platform.python_version().partition("+")[0])
    assert facts.implementation == sys.implementation.name
    assert facts.bits == 8 * struct.calcsize("P")
    assert facts.byteorder == sys.byteorder
    assert facts.os == {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}[platform.system()]
    assert facts.fs_case == ("insensitive" if (tmp_path / "A").exists() else "sensitive")
    assert facts.executable_digest == hashlib.sha256(Path(facts.executable).read_bytes()).hexdigest()
    assert facts.build_info == " ".join(sys.version.split())
    if platform.libc_ver()[0] == "glibc":
        assert (facts.libc, facts.libc_version) == platform.libc_ver()


def test_nothing_is_unknown_in_a_cpython_of_this_machine(tmp_path: Path) -> None:
    facts = read_facts(ask(sys.executable, "-c", probe_program(), cwd=tmp_path))
    without = {name for name, value in facts.to_json().items() if value in ("", 0, "unknown")}
    assert without <= (set() if facts.os == "linux" else {"libc", "libc_version"})


def test_as_a_file_and_as_text_it_says_the_same(tmp_path: Path) -> None:
    text = ask(sys.executable, "-c", probe_program(), cwd=tmp_path)
    assert ask(sys.executable, probe.__file__, cwd=tmp_path) == text
    assert len(text.splitlines()) == 2, "an empty line that ends whatever stood before, and the answer"


def test_it_leaves_nothing_in_its_folder(tmp_path: Path) -> None:
    ask(sys.executable, "-c", probe_program(), cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_encoding_is_that_of_a_pipe_under_one_name(tmp_path: Path) -> None:
    facts = read_facts(ask(sys.executable, "-c", probe_program(), cwd=tmp_path, PYTHONIOENCODING="LATIN1"))
    assert facts.encoding == "iso8859-1"


def test_what_an_interpreter_lacks_is_an_empty_fact(tmp_path: Path) -> None:
    poor = "import sys\nfor name in ('hashlib', '_locale', 'codecs', 'json'): sys.modules[name] = None\n"
    facts = read_facts(ask(sys.executable, "-c", poor + probe_program(), cwd=tmp_path))
    assert (facts.executable_digest, facts.locale) == ("", "")
    assert facts.implementation == sys.implementation.name


def test_without_a_writable_folder_only_the_file_system_is_unknown(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    leave = f"import os\nos.rmdir({str(gone)!r})\n"
    if sys.platform == "win32":
        pytest.skip("Windows does not remove a working directory")
    facts = read_facts(ask(sys.executable, "-c", leave + probe_program(), cwd=gone))
    assert (facts.fs_case, facts.fs_normalisation) == ("", "")
    assert facts.arch
    assert facts.executable_digest


def test_an_interpreter_under_qemu_says_so(tmp_path: Path) -> None:
    machine = platform.machine()
    emulator = shutil.which(f"qemu-{machine}-static") or shutil.which(f"qemu-{machine}")
    if emulator is None:
        pytest.skip(f"no qemu-{machine} here")
    facts = read_facts(ask(emulator, os.path.realpath(sys.executable), "-c", probe_program(), cwd=tmp_path))
    assert facts.emulation == "qemu"


@pytest.mark.parametrize(
    ("wide", "order", "code", "machine"),
    [
        (True, "<", 62, "x86_64"),
        (False, "<", 3, "i386"),
        (True, ">", 22, "s390x"),
        (True, "<", 21, "ppc64le"),
        (False, "<", 243, "riscv32"),
        (True, "<", 9999, "elf-9999"),
    ],
)
def test_machine_and_loader_are_read_from_the_elf_head(
    tmp_path: Path, wide: bool, order: str, code: int, machine: str
) -> None:
    file = tmp_path / "program"
    file.write_bytes(elf(wide, order, code, b"/lib/ld-musl-x.so.1\0"))
    assert probe.elf(str(file)) == (machine, "/lib/ld-musl-x.so.1")


def elf(wide: bool, order: str, code: int, loader: bytes) -> bytes:
    word = "Q" if wide else "I"
    size, entry = (64, 56) if wide else (52, 32)
    head = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    head += struct.pack(f"{order}HHI3{word}IHHHHHH", 3, code, 1, 0, size, 0, 0, size, entry, 1, 0, 0, 0)
    at = size + entry
    if wide:
        return head + struct.pack(f"{order}IIQQQQQQ", 3, 4, at, 0, 0, len(loader), len(loader), 1) + loader
    return head + struct.pack(f"{order}IIIIIIII", 3, at, 0, 0, len(loader), len(loader), 4, 1) + loader


@given(st.text())
def test_any_text_survives_its_quotation(text: str) -> None:
    assert json.loads(probe.quoted(text)) == text


def test_the_probe_and_the_facts_have_the_same_fields(tmp_path: Path) -> None:
    answer = ask(sys.executable, "-c", probe_program(), cwd=tmp_path).splitlines()[-1]
    fields = [field.name for field in dataclasses.fields(Facts)]
    assert sorted(json.loads(answer.partition(b":")[2])) == sorted(fields)


def test_the_text_fits_into_a_command_line_of_windows() -> None:
    assert len(probe_program()) < 16_000
    assert probe_program().isascii()


def test_noise_around_the_answer_is_passed_over() -> None:
    answer = b'harness-facts:{"os": "linux", "arch": "s390x", "implementation": "cpython", "version": "3.12.1"}'
    assert read_facts(b"motd \xff\n" + answer + b"\r\nbye\n").arch == "s390x"


@pytest.mark.parametrize(
    ("stdout", "message"),
    [
        (b"", "no facts: it printed nothing"),
        (b"hello\n", "no facts: it printed b'hello"),
        (b'harness-facts:{"os": "li', "damaged facts: Unterminated string"),
        (b"harness-facts:\xff\xfe{}", "damaged facts"),
        (b"harness-facts:[1]", "damaged facts: not an object"),
        (b"harness-facts:" + b"[" * 100_000, "damaged facts"),
        (b'harness-facts:{"os": 3}', "fact 'os' is not str"),
        (b'harness-facts:{"os": "linux"}', "a fact is missing"),
        (b'harness-facts:{"shoe": "42"}', "unknown fact 'shoe'"),
    ],
)
def test_an_answer_that_is_none_is_refused_in_words(stdout: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_facts(stdout)
