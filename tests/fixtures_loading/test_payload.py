"""A payload holds the very bytes of a fixture, or says which of them cannot be had."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.fixtures import Loaded, payload, read_payload
from harness.model.fixture import Fixture, Payload

Fill = Callable[..., Loaded]
EVERY_BYTE = bytes(range(256))


def ids(fixture: Fixture) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_payload(fixture)
    return [problem.id for problem in caught.value.problems]


@pytest.fixture
def fixture(loaded: Fill) -> Fixture:
    files = {"a/main.py": "print()\r\n", "a/data/x": EVERY_BYTE, "a/stdin": EVERY_BYTE, "a/expected.stdout": ""}
    (found,) = loaded({**files, "a/fixture.yaml": "args: [x]\nenv: {A: b}\n"}).fixtures
    return found


def test_bytes_are_bytes(fixture: Fixture) -> None:
    found = read_payload(fixture)
    assert found == Payload(
        program="main.py",
        files=(("data/x", EVERY_BYTE), ("main.py", b"print()\r\n")),
        stdin=EVERY_BYTE,
        args=("x",),
        env=(("A", "b"),),
    )
    assert read_payload(replace(fixture, stdin=None)).stdin == b""
    assert read_payload(replace(fixture, stdin=None)).digest != found.digest


def test_every_file_that_is_gone_is_named(fixture: Fixture) -> None:
    for _, path in fixture.files:
        path.unlink()
    assert ids(fixture) == ["H0305", "H0305"]


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there that tests lack")
def test_no_link_is_followed(fixture: Fixture, tmp_path: Path) -> None:
    path = dict(fixture.files)["main.py"]
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere.py")
    (tmp_path / "elsewhere.py").write_bytes(b"")
    assert ids(fixture) == ["H0101"]


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there that tests lack")
def test_a_folder_or_a_pipe_is_no_file(fixture: Fixture, tmp_path: Path) -> None:
    assert ids(replace(fixture, stdin=tmp_path)) == ["H0101"]
    os.mkfifo(tmp_path / "pipe")
    assert ids(replace(fixture, stdin=tmp_path / "pipe")) == ["H0101"]


def test_a_program_that_was_not_prepared_is_said(fixture: Fixture) -> None:
    assert ids(replace(fixture, files=(), source=Path("x.mochi"))) == ["H0302"]


def test_payloads_are_bounded(fixture: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload, "MAX_TOTAL", 300)
    assert ids(fixture) == ["H0112"]
    monkeypatch.setattr(payload, "MAX_FILE", 100)
    assert ids(fixture) == ["H0101", "H0101"]
