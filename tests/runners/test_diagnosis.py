"""Interpreters that are really broken, made here, and what is said of them; recorded words of systems not at hand."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.model.cell import Facts
from harness.runners.diagnosis import REASONS, Diagnosis, diagnose
from harness.runners.measurement import measure
from harness.runners.programs import Program, read_program

BASE = Path(getattr(sys, "_base_executable", sys.executable))
posix = pytest.mark.skipif(sys.platform == "win32", reason="makes broken programs with POSIX means")
linux = pytest.mark.skipif(sys.platform != "linux", reason="makes broken ELF programs")


def diagnosis_of(executable: Path, timeout: float = 20.0) -> Diagnosis:
    result = measure(executable, timeout)
    assert isinstance(result, Diagnosis)
    assert result.reason in REASONS
    assert result.message.startswith(str(executable))
    return result


@pytest.fixture
def compile_c(tmp_path: Path) -> Callable[..., Path]:
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no gcc for Linux here")

    def compiled(name: str, source: str, *options: str) -> Path:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        command = [compiler, "-x", "c", "-", "-x", "none", *options, "-o", str(target)]
        subprocess.run(command, input=source.encode(), check=True)
        return target

    return compiled


def script(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


@posix
def test_an_interpreter_without_its_standard_library_names_where_it_looked(tmp_path: Path) -> None:
    wrapper = script(tmp_path / "python3", f'#!/bin/sh\nPYTHONHOME=/nowhere/py exec "{BASE}" "$@"\n')
    result = diagnosis_of(wrapper)
    assert result.reason == "no-stdlib"
    if sys.version_info < (3, 13):  # since then it does not tell
        assert result.missing == f"/nowhere/py/lib/python{sys.version_info[0]}.{sys.version_info[1]}"
        assert "PYTHONHOME is /nowhere/py" in result.mend


@linux
def test_an_interpreter_that_misses_its_own_library_is_told_where_it_lies(tmp_path: Path) -> None:
    """The library gets a name that no system has: this very interpreter would also start with another libpython."""
    real = BASE.resolve()
    library = next(iter(sorted((real.parent.parent / "lib").glob("libpython3.*.so.1.0"))), None)
    if library is None or library.name.encode() not in real.read_bytes():
        pytest.skip(f"{real} has no shared libpython")
    wanted = library.name.replace("libpython3", "libpython_")
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    moved = tmp_path / "bin" / "python3"
    moved.write_bytes(real.read_bytes().replace(library.name.encode(), wanted.encode()))
    moved.chmod(0o755)
    result = diagnosis_of(moved)
    assert (result.reason, result.missing) == ("missing-library", wanted)
    assert "rpath" in result.mend
    shutil.copy(library, tmp_path / "lib" / wanted)
    assert f"LD_LIBRARY_PATH: {tmp_path / 'lib'}" in diagnosis_of(moved).mend


def test_a_removed_library_is_named(compile_c: Callable[..., Path]) -> None:
    library = compile_c("libgone.so.7", "int f(void){return 0;}", "-shared", "-fPIC", "-Wl,-soname,libgone.so.7")
    python = compile_c("python3", "int f(void); int main(void){return f();}", str(library))
    library.unlink()
    result = diagnosis_of(python)
    assert (result.reason, result.missing) == ("missing-library", "libgone.so.7")
    assert "rpath" in result.mend


def test_a_libc_that_is_too_old_is_named_with_the_version(compile_c: Callable[..., Path], tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    versions.write_text("GLIBC_2.99 { f; };", encoding="utf-8")
    common = ("-shared", "-fPIC", "-Wl,-soname,libnew.so")
    library = compile_c("libnew.so", "int f(void){return 0;}", *common, f"-Wl,--version-script={versions}")
    python = compile_c("python3", "int f(void); int main(void){return f();}", str(library), f"-Wl,-rpath,{tmp_path}")
    versions.write_text("GLIBC_2.1 { f; };", encoding="utf-8")
    compile_c("libnew.so", "int f(void){return 0;}", *common, f"-Wl,--version-script={versions}")
    result = diagnosis_of(python)
    assert (result.reason, result.missing) == ("old-libc", "GLIBC_2.99")


@pytest.mark.parametrize(
    ("loader", "hint"),
    [("/lib/ld-musl-none.so.1", "built for musl"), ("/lib/ld-linux-none.so.9", "built for glibc")],
)
def test_a_missing_loader_is_not_a_missing_file(compile_c: Callable[..., Path], loader: str, hint: str) -> None:
    result = diagnosis_of(compile_c("python3", "int main(void){return 0;}", f"-Wl,--dynamic-linker={loader}"))
    assert (result.reason, result.missing) == ("missing-loader", loader)
    assert hint in result.mend


@posix
def test_a_script_whose_interpreter_is_gone_names_that_one(tmp_path: Path) -> None:
    result = diagnosis_of(script(tmp_path / "python3", "#!/nowhere/sh\n"))
    assert (result.reason, result.missing) == ("missing-loader", "/nowhere/sh")
    assert result.mend == "mend its #! line"


def elf(code: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI3QIHHHHHH", 2, code, 1, 0, 0, 0, 0, 64, 56, 0, 0, 0, 0)


def windows_program(code: int) -> bytes:
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", code) + bytes(64)


@linux
@pytest.mark.parametrize(
    ("content", "program"),
    [
        (elf(9999), Program(format="a Linux program", machine="machine 9999")),
        (b"\xcf\xfa\xed\xfe" + struct.pack("<I", 0x0100000C), Program(format="a macOS program", machine="aarch64")),
    ],
    ids=["elf", "mach-o"],
)
def test_a_program_for_another_machine_is_named_from_its_head(tmp_path: Path, content: bytes, program: Program) -> None:
    python = tmp_path / "python3"
    python.write_bytes(content)
    python.chmod(0o755)
    assert read_program(python) == program
    result = diagnosis_of(python)
    assert (result.reason, result.missing) == ("wrong-machine", program.machine)
    assert program.format in result.message


@pytest.mark.parametrize(("code", "machine"), [(0x8664, "x86_64"), (0xAA64, "aarch64"), (0x14C, "i386")])
def test_a_windows_program_tells_its_machine(tmp_path: Path, code: int, machine: str) -> None:
    (tmp_path / "python.exe").write_bytes(windows_program(code))
    assert read_program(tmp_path / "python.exe") == Program(format="a Windows program", machine=machine)


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"MZ", b"\xcf\xfa\xed\xfe", b"\x7fELF\x02\x01" + b"\xff" * 90], ids=range(5)
)
def test_a_cut_or_senseless_head_is_no_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "python3").write_bytes(content)
    assert read_program(tmp_path / "python3").loader == ""


@posix
def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    result = diagnosis_of(script(tmp_path / "python3", ""))
    assert (result.reason, result.message) == ("not-executable", f"{tmp_path / 'python3'} is empty")


@posix
def test_a_file_that_may_not_be_executed_says_how_to_allow_it(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\n", encoding="utf-8")
    result = diagnosis_of(tmp_path / "python3")
    assert result.reason == "not-executable"
    assert result.mend.startswith("chmod +x")


@posix
def test_a_dangling_link_names_what_it_led_to(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to("python3.99")
    result = diagnosis_of(tmp_path / "python3")
    assert result.reason == "not-found"
    assert "a link to python3.99" in result.message


@posix
def test_an_interpreter_that_hangs_is_ended_with_its_descendants(tmp_path: Path) -> None:
    child = tmp_path / "child"
    result = diagnosis_of(
        script(tmp_path / "python3", f"#!/bin/sh\nsleep 600 &\necho $! >{child}\nwait\n"), timeout=0.5
    )
    assert result.reason == "timeout"
    with pytest.raises(ProcessLookupError):
        wait_until_gone(int(child.read_text(encoding="utf-8")))


def wait_until_gone(process: int) -> None:
    status = Path(f"/proc/{process}/stat")
    for _ in range(1000):
        # an orphan that nobody has reaped yet is dead as well
        if status.exists() and status.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
            raise ProcessLookupError
        os.kill(process, 0)
        subprocess.run(["sleep", "0.01"], check=True)


@posix
@pytest.mark.parametrize(("name", "hint"), [("ILL", "instructions"), ("SEGV", "faulthandler")])
def test_a_signal_is_named(tmp_path: Path, name: str, hint: str) -> None:
    result = diagnosis_of(script(tmp_path / "python3", f"#!/bin/sh\nulimit -c 0\nkill -{name} $$\n"))
    assert result.reason == "signal"
    assert f"SIG{name}" in result.message
    assert hint in result.mend


@posix
def test_a_program_that_is_no_python_is_not_believed(tmp_path: Path) -> None:
    result = diagnosis_of(script(tmp_path / "python3", "#!/bin/sh\necho hello\n"))
    assert result.reason == "no-answer"
    assert "hello" in result.message


@posix
def test_an_interpreter_that_starts_answers(tmp_path: Path) -> None:
    assert isinstance(measure(BASE), Facts)


OCI = b'OCI runtime exec failed: exec failed: unable to start container process: exec: "python3": executable file not found'
CONFIGURATION = b"""Python path configuration:
  PYTHONHOME = (not set)
  sys.prefix = '/opt/py'
  sys.path = [
    '/opt/py/lib/python38.zip',
    '/opt/py/lib/python3.8',
    '/opt/py/lib/python3.8/lib-dynload',
  ]
Fatal Python error: init_fs_encoding: failed to get the Python codec of the filesystem encoding
ModuleNotFoundError: No module named 'encodings'
"""


@pytest.mark.parametrize(
    ("code", "stderr", "reason", "missing"),
    [
        (1, CONFIGURATION, "no-stdlib", "/opt/py/lib/python3.8"),
        (1, b"ImportError: No module named site\n", "no-stdlib", "encodings"),
        (127, b"Error loading shared library libz.so.1: No such file or directory (needed by /opt/py)", *("missing-library", "libz.so.1")),
        (-6, b"dyld[12]: Library not loaded: @rpath/libpython3.12.dylib\n  Referenced from: <X> /opt/py/bin/python3.12\n  Reason: tried: '/usr/lib/x'", *("missing-library", "@rpath/libpython3.12.dylib")),
        (127, b"pyenv: python3.12: command not found\n\nThe `python3.12' command exists in these Python versions:\n  3.12.1", *("broken-shim", "")),
        (1, b"pyenv: version `3.99' is not installed (set by PYENV_VERSION environment variable)", "broken-shim", "3.99"),
        (126, b"No version is set for command python3\nConsider adding one", "broken-shim", ""),
        (255, b"qemu-aarch64: Could not open '/lib/ld-linux-aarch64.so.1': No such file or directory", *("missing-loader", "/lib/ld-linux-aarch64.so.1")),
        (126, b"sh: 1: /opt/py/bin/python3: Exec format error", "wrong-machine", ""),
        (127, OCI, "not-found", ""),
        (126, b"sh: 1: python3: Permission denied", "not-executable", ""),
        (1, b"ModuleNotFoundError: No module named 'zlib'", "missing-module", "zlib"),
        (1, b"Error in sitecustomize\nModuleNotFoundError: No module named 'acme.hooks'", "missing-module", "acme.hooks"),
        (0xC0000135, b"", "missing-library", ""),
        (-1073741515, b"", "missing-library", ""),
        (-65, b"", "signal", ""),
        (2, b"\xff\xfe unknown option -c", "failed", ""),
    ],
)  # fmt: skip
def test_recorded_words_of_other_systems_are_understood(code: int, stderr: bytes, reason: str, missing: str) -> None:
    result = diagnose(Path("/opt/py/bin/python3"), code, stderr, local=False)
    assert (result.reason, result.missing) == (reason, missing)
    assert result.message.startswith("/opt/py/bin/python3 ")


def test_a_diagnosis_reads_as_one_sentence_with_the_next_step() -> None:
    result = diagnose(Path("/opt/py/bin/python3"), 1, CONFIGURATION, local=False)
    assert str(result) == (
        "/opt/py/bin/python3 finds no standard library: it looked in /opt/py/lib/python3.8; it was moved away from its "
        "lib folder, or built for another prefix; put the lib folder beside bin, or set PYTHONHOME in the cell's env"
    )
