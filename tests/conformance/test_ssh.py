"""The hostile fixtures, on a host over SSH: what holds on this computer holds there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.wire import DEFAULT_TIMING
from tests.conformance.suite import assert_verdicts, chosen, groups
from tests.hosts import Server, needs_sshd, serve_on, serving
from tests.rig import eventually

pytestmark = [
    needs_sshd,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the server is this computer, and no Linux"),
]
TIMING = replace(DEFAULT_TIMING, heartbeat=0.5, silence=4.0, patience=1.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.mark.parametrize("group", groups(bounded=False))
def test_a_hostile_fixture_gets_its_verdict_and_its_neighbours_notice_nothing(group: str, server: Server) -> None:
    slots = 1 if any(case.after for case in chosen(group)) else 4
    assert_verdicts(group, serve_on(server, slots=slots), TIMING)
    assert eventually(lambda: server.sessions() == [])
