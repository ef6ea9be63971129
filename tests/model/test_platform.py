"""Names of cells: what parses prints as it was written, and what is none says how it should have been written."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.platform import LIBCS, Platform, PythonTag, canonical_arch


@pytest.mark.parametrize(
    ("slug", "os", "libc", "arch"),
    [
        ("linux-glibc-x86_64", "linux", "glibc", "x86_64"),
        ("linux-glibc-aarch64", "linux", "glibc", "aarch64"),
        ("linux-musl-x86_64", "linux", "musl", "x86_64"),
        ("linux-musl-aarch64", "linux", "musl", "aarch64"),
        ("linux-bionic-aarch64", "linux", "bionic", "aarch64"),
        ("macos-x86_64", "macos", "", "x86_64"),
        ("macos-arm64", "macos", "", "arm64"),
        ("windows-amd64", "windows", "", "amd64"),
        ("windows-arm64", "windows", "", "arm64"),
        ("emscripten-wasm32", "emscripten", "", "wasm32"),
        ("freebsd-amd64", "freebsd", "", "amd64"),
    ],
)
def test_every_slug_comes_back_as_it_was_written(slug: str, os: str, libc: str, arch: str) -> None:
    platform = Platform.parse(slug)
    assert (platform.os, platform.libc, platform.arch) == (os, libc, arch)
    assert str(platform) == slug


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write os-arch or linux-libc-arch"),
        ("linux", "write os-arch or linux-libc-arch"),
        ("a-b-c-d", "write os-arch or linux-libc-arch"),
        ("linux--x86_64", "write os-arch or linux-libc-arch"),
        ("Linux-glibc-x86_64", "write os-arch or linux-libc-arch"),
        ("macos-arm64\n", "write os-arch or linux-libc-arch"),
        ("macos-../arm64", "write os-arch or linux-libc-arch"),
        ("linux-x86_64", "lacks its libc; write linux-glibc-x86_64 or linux-musl-x86_64"),
        ("linux-newlib-x86_64", "lacks its libc; write linux-glibc-x86_64 or linux-musl-x86_64"),
        ("windows-glibc-amd64", "has a libc, which only linux has; write windows-amd64"),
    ],
)
def test_what_is_no_platform_says_how_to_write_one(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("written", "text", "implementation", "series", "version", "build"),
    [
        ("3.12", "cp312", "cpython", (3, 12), "3.12", "default"),
        ("3.8", "cp38", "cpython", (3, 8), "3.8", "default"),
        ("3.13t", "cp313t", "cpython", (3, 13), "3.13", "free-threaded"),
        ("3.12d", "cp312d", "cpython", (3, 12), "3.12", "debug"),
        ("3.14td", "cp314td", "cpython", (3, 14), "3.14", "free-threaded+debug"),
        ("cp312", "cp312", "cpython", (3, 12), "3.12", "default"),
        ("cp313t", "cp313t", "cpython", (3, 13), "3.13", "free-threaded"),
        ("cp27", "cp27", "cpython", (2, 7), "2.7", "default"),
        ("pp311", "pp311", "pypy", (3, 11), "3.11", "default"),
        ("graalpy311", "graalpy311", "graalpy", (3, 11), "3.11", "default"),
        ("gopy", "gopy", "", None, "", "default"),
        ("node-pyodide", "node-pyodide", "", None, "", "default"),
        ("cp3", "cp3", "", None, "", "default"),
    ],
)
def test_every_interpreter_tag_is_read(
    written: str, text: str, implementation: str, series: tuple[int, int] | None, version: str, build: str
) -> None:
    tag = PythonTag.parse(written)
    assert str(tag) == tag.text == text
    assert (tag.implementation, tag.series, tag.version, tag.build) == (implementation, series, version, build)
    assert PythonTag.parse(str(tag)) == tag


@pytest.mark.parametrize(
    "text", ["", "3", "3.", "3.1x", "3.12.1", "CP312", "3.13dt", "-a", "a-", "a--b", "a/b", "../a", "gopy\n", "3.012"]
)
def test_what_is_no_interpreter_says_how_to_write_one(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"is not an interpreter; write 3\.12, 3\.13t, cp312, pp311 or a lower-case name"
    ):
        PythonTag.parse(text)


@pytest.mark.parametrize("text", ["٣.١٢", "3.1٢", "3.१२", "cp٣١٢", "cp3१२", "3." + "1" * 5000])  # noqa: RUF001
def test_only_short_ascii_digits_make_a_series(text: str) -> None:
    with pytest.raises(ValueError, match="is not an interpreter"):
        PythonTag.parse(text)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("amd64", "x86_64"),
        ("AMD64", "x86_64"),
        ("x64", "x86_64"),
        ("x86_64", "x86_64"),
        ("arm64", "aarch64"),
        ("i686", "i386"),
        ("x86", "i386"),
        ("RISCV64", "riscv64"),
    ],
)
def test_one_machine_has_one_canonical_name(written: str, canonical: str) -> None:
    assert canonical_arch(written) == canonical


NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.]{0,5}", fullmatch=True)


@given(NAMES, st.sampled_from(LIBCS), NAMES)
def test_a_platform_survives_being_written(os: str, libc: str, arch: str) -> None:
    platform = Platform(os="linux", libc=libc, arch=arch) if os == "linux" else Platform(os=os, arch=arch)
    assert Platform.parse(str(platform)) == platform


@given(st.text(max_size=12) | st.text(alphabet="cp3t1d.-gra٣", max_size=8))
def test_every_text_is_a_name_or_a_value_error(text: str) -> None:
    for kind in (Platform, PythonTag):
        with contextlib.suppress(ValueError):
            parsed = kind.parse(text)
            assert str(parsed).isascii()
            assert kind.parse(str(parsed)) == parsed
