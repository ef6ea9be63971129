"""Discovery in homes and PATHs made here, over the interpreter that runs the tests, and the choice for a cell."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from harness.model.cell import Cell, Facts
from harness.model.platform import Platform, PythonTag
from harness.runners import candidates, measurement
from harness.runners.candidates import base_of, current_interpreter, registry_candidates
from harness.runners.interpreters import Discovery, Interpreter, discover, matching

REAL = current_interpreter().resolve()
posix = pytest.mark.skipif(sys.platform == "win32", reason="symlinks and scripts as POSIX has them")


def link(path: Path, target: Path = REAL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def system_conda_is_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_CONDA_SYSTEM", ())


@pytest.fixture
def home(tmp_path: Path, system_conda_is_elsewhere: None) -> Path:
    return tmp_path / "home"


def seen(
    home: Path, *folders: Path, cache: Path | None = None, environ: Mapping[str, str] = MappingProxyType({})
) -> Discovery:
    return discover(cache, {"HOME": str(home), "PATH": os.pathsep.join(map(str, folders)), **environ})


def only(discovery: Discovery) -> Interpreter:
    assert discovery.broken == ()
    assert len(discovery.interpreters) == 1
    return discovery.interpreters[0]


def test_the_interpreter_that_runs_us_is_always_found(home: Path) -> None:
    one = only(seen(home))
    assert one.path == REAL
    assert one.sources == ("current",)
    assert one.facts.version.startswith(".".join(map(str, sys.version_info[:3])))


@posix
def test_one_interpreter_under_many_names_is_one(home: Path, tmp_path: Path) -> None:
    named = link(tmp_path / "bin" / "python3")
    link(tmp_path / "bin" / "python3.13t")
    uv = link(home / ".local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13")
    pyenv = link(home / ".pyenv/versions/3.13.1/bin/python")
    conda = link(home / "miniforge3/envs/old/bin/python3")
    one = only(seen(home, named.parent))
    assert one.sources == ("PATH", "conda", "current", "pyenv", "uv")
    assert {str(path) for path in (named, uv, pyenv, conda)} < set(one.found_as)
    assert one.found_as == tuple(sorted(one.found_as))


@posix
@pytest.mark.parametrize("name", ["python3-config", "pythonw", "python3.12-gdb.py", "ipython", "python3.x"])
def test_what_only_resembles_an_interpreter_is_left_alone(home: Path, tmp_path: Path, name: str) -> None:
    script(tmp_path / "bin" / name, "#!/bin/sh\ntouch started\n")
    assert only(seen(home, tmp_path / "bin")).sources == ("current",)


@posix
def test_environments_are_named_by_variables_too(home: Path, tmp_path: Path) -> None:
    link(tmp_path / "uv/any/bin/python3")
    link(tmp_path / "pyenv/versions/3/bin/python3")
    link(tmp_path / "conda/bin/python3")
    listed = link(tmp_path / "listed/bin/python3")
    (home / ".conda").mkdir(parents=True)
    (home / ".conda/environments.txt").write_text(f"{listed.parent.parent}\n/gone\n", encoding="utf-8")
    where = {"UV_PYTHON_INSTALL_DIR": "uv", "PYENV_ROOT": "pyenv", "CONDA_PREFIX": "conda"}
    one = only(seen(home, environ={name: str(tmp_path / folder) for name, folder in where.items()}))
    assert one.sources == ("conda", "current", "pyenv", "uv")
    assert str(listed) in one.found_as


@posix
def test_a_relative_entry_of_path_is_not_searched(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "python3", "#!/bin/sh\ntouch started\n")
    monkeypatch.chdir(tmp_path)
    only(seen(home, Path()))
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("how", ["--symlinks", "--copies"])
def test_a_virtual_environment_leads_to_its_base(home: Path, tmp_path: Path, how: str) -> None:
    subprocess.run([str(REAL), "-m", "venv", "--without-pip", how, str(tmp_path / "env")], check=True)
    folder = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    one = only(seen(home, folder))
    assert one.path == REAL
    assert str(folder) in {str(Path(name).parent) for name in one.found_as}


def test_a_virtual_environment_whose_base_is_gone_is_itself(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python3"
    python.parent.mkdir()
    python.touch()
    (tmp_path / "pyvenv.cfg").write_text("home = /gone/bin\n", encoding="utf-8")
    assert base_of(python) == python.resolve()


@posix
def test_shims_of_pyenv_are_resolved_and_never_started(home: Path, tmp_path: Path) -> None:
    root = home / ".pyenv"
    trap = f"#!/bin/sh\ntouch {tmp_path / 'started'}\n"
    shim = script(root / "shims/python3", trap)
    other = script(root / "shims/python3.8", trap)
    link(root / "versions/3.13.1/bin/python3")
    link(root / "versions/3.8.1/bin/python3.8")
    (root / "version").write_text("3.13.1\n", encoding="utf-8")
    discovery = seen(home, root / "shims")
    assert str(shim) in only(discovery).found_as
    assert str(other) not in only(discovery).found_as, "its version is not selected"
    assert discovery.warnings == ()
    assert not (tmp_path / "started").exists()


@posix
def test_a_broken_shim_is_a_warning_and_does_not_stop(home: Path) -> None:
    root = home / ".pyenv"
    shim = script(root / "shims/python3.99", "#!/bin/sh\nexit 127\n")
    link(root / "versions/3.13.1/bin/python3")
    discovery = seen(home, root / "shims", environ={"PYENV_VERSION": "3.99.1:system"})
    assert only(discovery).sources == ("current", "pyenv")
    assert discovery.warnings == (
        "pyenv: version 3.99.1 is not installed (chosen by PYENV_VERSION); its shims cannot start",
        f"{shim} is a shim of pyenv, and no installed version has python3.99",
    )


@posix
def test_a_wrapper_leads_to_what_it_starts(home: Path, tmp_path: Path) -> None:
    wrapper = script(tmp_path / "bin/python3", f'#!/bin/sh\nexec "{REAL}" "$@"\n')
    one = only(seen(home, wrapper.parent))
    assert one.path == REAL
    assert str(wrapper) in one.found_as


@posix
def test_a_wrapper_that_fails_is_a_warning(home: Path, tmp_path: Path) -> None:
    wrapper = script(tmp_path / "bin/python3", "#!/bin/sh\necho 'manager: no version' >&2\nexit 3\n")
    discovery = seen(home, wrapper.parent)
    only(discovery)
    assert discovery.warnings == (f"{wrapper} ended with status 3 as it started: manager: no version",)


@posix
def test_a_broken_interpreter_is_reported_and_does_not_stop(home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "bin/python3"
    broken.parent.mkdir()
    broken.write_bytes(b"\x7fELF" + bytes(60))
    broken.chmod(0o755)
    discovery = seen(home, broken.parent)
    assert [one.path for one in discovery.interpreters] == [REAL]
    assert [(one.path, one.found_as, one.diagnosis.reason) for one in discovery.broken] == [
        (broken, (str(broken),), "wrong-machine")
    ]


@posix
def test_a_link_to_itself_is_broken(home: Path, tmp_path: Path) -> None:
    python = link(tmp_path / "bin/python3", tmp_path / "bin/python3")
    broken = seen(home, python.parent).broken
    assert [(one.path, one.diagnosis.reason) for one in broken] == [(python, "failed")]


@posix
def test_what_cannot_start_is_asked_again_after_it_was_mended(home: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    python = tmp_path / "bin/python3"
    python.parent.mkdir()
    source = f'#!/bin/sh\ntest -e {gone} && exec {REAL} "$@"\nexit 9\n'
    script(python, source)
    cache = tmp_path / "cache.json"
    assert seen(home, python.parent, cache=cache).warnings != ()
    gone.touch()
    assert seen(home, python.parent, cache=cache).warnings == ()


@posix
def test_an_interpreter_is_measured_once(home: Path, tmp_path: Path) -> None:
    """A wrapper that counts its starts stands for the interpreter: it may not be replaced, since what it starts is gone."""
    counter = tmp_path / "count"
    python = tmp_path / "bin/python3"
    facts = json.dumps(only(seen(home)).facts.to_json() | {"executable": str(python)})
    script(python, f"#!/bin/sh\necho >>{counter}\necho 'harness-facts:{facts}'\n")
    link(tmp_path / "bin/python", python)
    cache = tmp_path / "deep/cache.json"
    first = seen(home, python.parent, cache=cache)
    assert seen(home, python.parent, cache=cache) == first
    assert counter.read_text(encoding="utf-8") == "\n"
    python.write_text(python.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    seen(home, python.parent, cache=cache)
    assert counter.read_text(encoding="utf-8") == "\n\n"
    assert [file.name for file in cache.parent.iterdir()] == ["cache.json"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"interpreters": 3}', "\x00", "forged", "[" * 100_000])
def test_a_damaged_cache_is_a_miss(home: Path, tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache.json"
    first = seen(home, cache=cache)
    text = cache.read_text(encoding="utf-8")
    cache.write_text(text.replace("cpython", "jython") if damage == "forged" else damage, encoding="utf-8")
    assert seen(home, cache=cache) == first
    assert cache.read_text(encoding="utf-8") == text


def test_a_cache_of_another_probe_is_a_miss(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache.json"
    seen(home, cache=cache)
    monkeypatch.setattr(measurement, "probe_program", lambda: "print('newer')")
    assert measurement.Memory.load(cache).entries == {}


def test_a_cache_that_cannot_be_written_is_a_warning(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    discovery = seen(home, cache=tmp_path / "file" / "cache.json")
    only(discovery)
    assert "cannot be written" in discovery.warnings[0]


def test_an_interpreter_is_measured_in_a_closed_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin1")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    assert only(seen(home)).facts.encoding == "utf-8"


def test_the_registry_is_read_through_the_library(home: Path, tmp_path: Path) -> None:
    """Its search also finds the running interpreter; elsewhere than on Windows that is all it may find."""
    environ = {**os.environ, "HOME": str(home)}
    found = registry_candidates(environ, tmp_path)
    assert current_interpreter().resolve() in {one.target for one in found}
    assert {one.source for one in found} == {"registry"}


def test_uv_lists_what_we_find_of_it(home: Path, tmp_path: Path) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None or sys.platform == "win32":
        pytest.skip("no uv here")
    command = [uv, "python", "dir", "--no-config", "--offline"]
    told = subprocess.run(command, env={"HOME": str(home)}, capture_output=True, text=True, check=True).stdout.strip()
    assert [str(root) for root in candidates._uv_roots({}, home)] == [told]


def facts(**changes: str) -> Facts:
    values = {"os": "linux", "libc": "glibc", "arch": "x86_64", "implementation": "cpython", "version": "3.13.1"}
    return Facts(**{"emulation": "native", **values, **changes})  # type: ignore[arg-type]  # no number among them


def interpreter(path: str, **changes: str) -> Interpreter:
    return Interpreter(path=Path(path), found_as=(f"{path}-link",), sources=("PATH",), facts=facts(**changes))


def cell(text: str, interpreter: str = "") -> Cell:
    platform, _, python = text.partition("/")
    return Cell(platform=Platform.parse(platform), python=PythonTag.parse(python), interpreter=interpreter)


def chosen(cell: Cell, interpreters: Sequence[Interpreter]) -> str:
    """The path of the choice, which must be the same for every order."""
    choices = {matching(cell, order) for order in itertools.permutations(interpreters)}
    assert len(choices) == 1
    choice = choices.pop()
    return str(choice.path) if choice else ""


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"version": "3.13.10"}, {"version": "3.13.9"}),
        ({"version": "3.13.0"}, {"version": "3.13.1rc1"}),
        ({"version": "3.13.0rc2"}, {"version": "3.13.0rc1"}),
        ({"version": "3.13.0rc1"}, {"version": "3.13.0b4"}),
        ({"version": "3.13.0"}, {"version": "3.13.9", "emulation": "qemu"}),
        ({"version": "3.13.0"}, {"version": "3.13.9", "libc": ""}),
    ],
)
def test_of_two_that_fit_the_better_one_serves(better: dict[str, str], worse: dict[str, str]) -> None:
    two = [interpreter("/z", **better), interpreter("/a", **worse)]
    assert chosen(cell("linux-glibc-x86_64/cp313"), two) == "/z"


def test_of_two_equal_ones_the_path_decides() -> None:
    three = [interpreter(path) for path in ("/b", "/a", "/c")]
    assert chosen(cell("linux-glibc-x86_64/cp313"), three) == "/a"


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "3.12.1"},
        {"build": "free-threaded"},
        {"build": "debug"},
        {"implementation": "pypy"},
        {"libc": "musl"},
        {"arch": "i386"},
        {"os": "windows", "libc": ""},
    ],
)
def test_what_contradicts_the_claim_never_serves(changes: dict[str, str]) -> None:
    assert chosen(cell("linux-glibc-x86_64/cp313"), [interpreter("/a", **changes)]) == ""


def test_one_machine_under_two_names_fits() -> None:
    mac = interpreter("/a", os="macos", libc="", arch="aarch64")
    assert chosen(cell("macos-arm64/cp313"), [mac]) == "/a"


@pytest.mark.parametrize("named", ["/b", "/b-link"])
def test_a_named_path_serves_even_against_the_claim(named: str) -> None:
    two = [interpreter("/a"), interpreter("/b", version="3.8.1")]
    assert chosen(cell("linux-glibc-x86_64/cp313", named), two) == "/b"


def test_a_named_path_that_was_not_found_is_not_replaced() -> None:
    assert chosen(cell("linux-glibc-x86_64/cp313", "/elsewhere"), [interpreter("/a")]) == ""


def test_a_cell_that_only_has_a_name_is_served_by_no_chance_interpreter() -> None:
    assert chosen(cell("linux-glibc-x86_64/gopy"), [interpreter("/a")]) == ""


def test_results_are_values() -> None:
    assert dataclasses.replace(interpreter("/a")) == interpreter("/a")
    assert hash(interpreter("/a")) == hash(interpreter("/a"))
