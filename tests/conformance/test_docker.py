"""The hostile fixtures, in a container: with its limits none is left out, and none gets at its agent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.engine.dispatch import Dispatcher
from harness.model.verdict import Kind
from harness.wire import DEFAULT_TIMING
from tests.conformance.suite import ALL, assert_verdicts, chosen, groups, tasks_of, unexpected, verdict_of
from tests.containers import GLIBC, MUSL, cell_in, needs, ours, serve_in
from tests.rig import Kept, eventually, execute

ARM64 = "lab/glibc-arm64-3.13"
IMAGES = {"glibc": (GLIBC, "linux-glibc-x86_64"), "musl": (MUSL, "linux-musl-x86_64")}
TIMING = replace(DEFAULT_TIMING, heartbeat=1.0, silence=8.0, patience=2.0)
EMULATED = replace(DEFAULT_TIMING, hello=60.0)
# What a C library has a say in.
LIBC = ("F7", "F8", "F9-fork-bomb", "F11-memory", "F16")


@pytest.mark.parametrize(
    ("libc", "group"),
    [
        pytest.param(libc, group, marks=needs(IMAGES[libc][0]))
        for libc in IMAGES
        for group in groups(bounded=True)
        if libc == "glibc" or group in LIBC
    ],
)
def test_a_hostile_fixture_gets_its_verdict_and_its_neighbours_notice_nothing(libc: str, group: str) -> None:
    image, platform = IMAGES[libc]
    slots = 1 if any(case.after for case in chosen(group)) else 4
    kept = assert_verdicts(group, serve_in(cell_in(image, platform), slots=slots), TIMING)
    assert eventually(lambda: ours() == [])
    for case in chosen(group):
        if case.name in ("F15-traces", "F15-writes"):  # it has not the rights: its agent is not even disturbed
            assert verdict_of(case, kept).kind is Kind.AGREE
            assert not any(outcome.losses for outcome in kept.final)


@needs(GLIBC)
def test_who_hit_a_limit_is_found_out_by_running_alone() -> None:
    """Four bombs at once, and four that fail by themselves beside them: each gets its own verdict."""
    placement = serve_in(cell_in(), slots=4)
    (bomb,) = (case for case in ALL if case.name == "F11-memory")
    (plain,) = (case for case in ALL if case.name == "F12-status-7")
    kept = Kept()
    with Dispatcher() as dispatcher:
        dispatcher.execute([*tasks_of(bomb, placement), *tasks_of(plain, placement)], kept)
    assert (verdict_of(bomb, kept).kind, verdict_of(plain, kept).kind) == (Kind.RESOURCE_LIMIT, Kind.EXIT_STATUS)
    assert all(outcome.losses <= 1 for outcome in kept.final)


@needs(ARM64)
@pytest.mark.parametrize("group", ["F7", "F11-memory", "F15-traces"])
def test_where_an_emulator_knows_no_subreaper_nothing_escapes_either(group: str) -> None:
    """Under qemu a worker adopts nothing; what a job left behind is known by its environment."""
    placement = serve_in(cell_in(ARM64, "linux-glibc-aarch64"))
    slow = [replace(case, timeout=5 * case.timeout) for case in chosen(group)]
    kept = execute(*(each for case in slow for each in tasks_of(case, placement)), timing=EMULATED)
    assert unexpected(slow, kept) == {}
    assert eventually(lambda: ours() == [])
