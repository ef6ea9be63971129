"""A bundle carries a run to another store unchanged, or is refused with the line that is wrong."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InputError, LocalTrouble, NothingRan
from harness.model.codec import encode
from harness.model.observation import Observation
from harness.model.outline import CHUNK, Outline
from harness.store.bundle import import_bundle, read_bundle, write_bundle
from harness.store.database import Store
from tests.store.samples import batch, digest, observation, report, run_record

Line = dict[str, Any]
OUTLINE = Outline.of(b"other\n", (0, CHUNK))


def fill(store: Store) -> None:
    seen = observation(90, says="other\n")
    blobs = {seen.stdout.digest: b"other\n", digest("unspoken"): b"unspoken"}
    outlines = {seen.stdout.digest: OUTLINE.encode(), digest("unspoken"): OUTLINE.encode()}
    store.record("run-1", (*batch(0), seen), blobs, outlines)


@pytest.fixture
def bundle(store: Store, tmp_path: Path) -> Path:
    fill(store)
    store.finish("run-1", report())
    write_bundle(store, "run-1", tmp_path / "run.jsonl")
    return tmp_path / "run.jsonl"


def forged(bodies: list[Line]) -> bytes:
    """Chain lines as a forger would, who knows how; a bundle is checked, it is not signed."""
    chain, lines = "", []
    for body in bodies:
        chain = hashlib.sha256(chain.encode() + json.dumps(body, separators=(",", ":")).encode()).hexdigest()
        lines.append(json.dumps({"chain": chain, **body}, separators=(",", ":")))
    return "".join(f"{line}\n" for line in lines).encode()


def bodies_of(path: Path) -> list[Line]:
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [{kind: value for kind, value in line.items() if kind != "chain"} for line in lines]


def ended(bodies: list[Line]) -> list[Line]:
    chain = json.loads(forged(bodies).splitlines()[-1])["chain"]
    return [*bodies, {"end": {"count": len(bodies), "digest": chain}}]


def test_a_run_arrives_in_another_store_as_it_was(store: Store, bundle: Path, tmp_path: Path) -> None:
    found = read_bundle(bundle)
    assert (found.run, found.report) == (run_record(), report())
    assert set(found.observations) == set(store.observations("run-1"))
    assert found.blobs == ((digest("other\n"), b"other\n"),)
    assert found.outlines == ((digest("other\n"), OUTLINE.encode()),)
    with Store.open(tmp_path / "other") as other:
        for _ in range(2):
            assert import_bundle(other, found) == ()
            assert other.run("run-1") == run_record()
            assert other.observations("run-1") == found.observations
            assert other.report() == report()
            assert other.get(digest("other\n")) == b"other\n"
            assert other.outline(digest("other\n")) == OUTLINE
        assert write_bundle(other, "run-1", tmp_path / "again.jsonl") == found.digest
    assert (tmp_path / "again.jsonl").read_bytes() == bundle.read_bytes()


def test_a_run_that_has_not_finished_travels_without_a_report(store: Store, tmp_path: Path) -> None:
    fill(store)
    write_bundle(store, "run-1", tmp_path / "run.jsonl")
    found = read_bundle(tmp_path / "run.jsonl")
    assert found.report is None
    with Store.open(tmp_path / "other") as other:
        import_bundle(other, found)
        assert other.unfinished() == (run_record(),)


def test_the_bytes_do_not_depend_on_the_order_of_recording(store: Store, tmp_path: Path) -> None:
    store.record("run-1", batch(0))
    write_bundle(store, "run-1", tmp_path / "one.jsonl")
    with Store.open(tmp_path / "other") as other:
        other.begin(run_record())
        for seen in reversed(batch(0)):
            other.record("run-1", [seen])
        write_bundle(other, "run-1", tmp_path / "two.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_each_line_is_json_with_sorted_keys(bundle: Path) -> None:
    for line in bundle.read_text("ascii").splitlines():
        assert line == json.dumps(json.loads(line), sort_keys=True, separators=(",", ":"))


def test_shards_of_one_run_come_together_in_any_order(store: Store, tmp_path: Path) -> None:
    shards = []
    for index in range(2):
        with Store.open(tmp_path / f"shard-{index}") as shard:
            shard.begin(replace(run_record(), arguments=("run", "--shard", f"{index + 1}/2")))
            shard.record("run-1", batch(index * 8))
            write_bundle(shard, "run-1", tmp_path / f"{index}.jsonl")
            shards.append(read_bundle(tmp_path / f"{index}.jsonl"))
    found: list[set[Observation]] = []
    for order in (shards, shards[::-1]):
        with Store.open(tmp_path / f"merged-{len(found)}") as merged:
            for each in order:
                import_bundle(merged, each)
            found.append(set(merged.observations("run-1")))
    assert found == [set(batch(0, 16))] * 2


def test_a_repeat_that_says_something_else_is_told(store: Store, bundle: Path) -> None:
    found = read_bundle(bundle)
    liar = replace(found, observations=(observation(1, says="another\n"),))
    assert import_bundle(store, liar) == liar.observations


def test_a_run_with_other_inputs_under_the_same_id_is_refused(store: Store, bundle: Path) -> None:
    other = replace(read_bundle(bundle), run=run_record(inputs="others"))
    with pytest.raises(InputError, match="with other inputs"):
        import_bundle(store, other)


def refused(path: Path, line: int, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        read_bundle(path)
    (problem,) = refusal.value.problems
    assert (problem.id, problem.place and problem.place.line) == ("H0704", line)
    assert message in problem.message


def test_a_bundle_cut_off_anywhere_is_refused(bundle: Path) -> None:
    data = bundle.read_bytes()
    for end in (*range(0, len(data), 97), len(data) - 1):
        bundle.write_bytes(data[:end])
        whole = data[:end].endswith(b"\n") or not end
        refused(bundle, data[:end].count(b"\n") + 1, "cut off" if whole else "not as it was written")


def test_a_bundle_with_any_byte_changed_is_refused(bundle: Path) -> None:
    data = bundle.read_bytes()
    for position in range(0, len(data), 101):
        bundle.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(InputError, match="H0704"):
            read_bundle(bundle)


def test_a_line_that_is_left_out_repeated_or_moved_is_refused(bundle: Path) -> None:
    lines = bundle.read_bytes().splitlines(keepends=True)
    for changed in (lines[:4] + lines[5:], lines[:4] + lines[3:], [*lines[:4], lines[5], lines[4], *lines[6:]]):
        bundle.write_bytes(b"".join(changed))
        refused(bundle, 5, "not as it was written")


SEEN = encode(observation(1))


@pytest.mark.parametrize(
    ("line", "position", "message"),
    [
        ({"format": {"name": "harness-bundle", "version": 2}}, 0, "'version': 2"),
        ({"run": {**encode(run_record()), "id": "../../up"}}, 1, "is no id of a run"),
        ({"run": {"id": "run-1"}}, 1, "started: missing"),
        ({"observation": SEEN}, 1, "has no place here"),
        ({"observation": SEEN}, 2, "has no place here"),  # before the content
        ({"run": encode(run_record())}, 3, "has no place here"),
        ({"report": encode(report())}, 14, "has no place here"),  # a second one
        ({"observation": {**SEEN, "attempt": "0"}}, 5, "attempt: '0' is not"),
        ({"observation": {**SEEN, "duration_ns": 10**30}}, 5, "duration_ns: 1000000"),
        ({"observation": {**SEEN, "fixture": "\udcff"}}, 5, "surrogates not allowed"),
        ({"content": {"digest": digest("a"), "base64": base64.b64encode(b"b").decode()}}, 2, "not the bytes of"),
        ({"content": {"digest": digest("a"), "base64": "?"}}, 2, "base64"),
        ({"outline": {"digest": digest("a"), "base64": ""}}, 3, "the outline has no header"),
        ({"outline": {"digest": digest("a"), "base64": "?"}}, 3, "base64"),
        ({"wish": 1}, 5, "a line of kind 'wish' is not understood"),
        ({"content": 1, "run": 2}, 5, "is not understood"),
        ({}, 5, "is not"),
    ],
)
def test_a_line_that_is_not_understood_is_refused_however_well_it_is_chained(
    bundle: Path, line: Line, position: int, message: str
) -> None:
    bodies = bodies_of(bundle)[:-1]
    replaced = 1 if position < 2 else 0
    bundle.write_bytes(forged(ended([*bodies[:position], line, *bodies[position + replaced :]])))
    refused(bundle, position + 1 if message != "has no place here" or position != 2 else 4, message)


@pytest.mark.parametrize("change", [{"count": 3}, {"digest": "0" * 64}, {"more": 1}])
def test_an_end_that_does_not_count_what_came_before_is_refused(bundle: Path, change: Line) -> None:
    bodies = ended(bodies_of(bundle)[:-1])
    bodies[-1]["end"] |= change
    bundle.write_bytes(forged(bodies))
    refused(bundle, len(bodies), "the count or the digest at the end")


def test_nothing_may_follow_the_end(bundle: Path) -> None:
    bodies = bodies_of(bundle)
    bundle.write_bytes(forged([*bodies, {"observation": SEEN}]))
    refused(bundle, len(bodies) + 1, "has no place here")


def nested(path: Path) -> None:
    body = b'{"observation":' + b"[" * 100_000 + b"}"
    path.write_bytes(b'{"chain":"%s",%s\n' % (hashlib.sha256(body).hexdigest().encode(), body[1:]))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lines_of_nothing(path: Path) -> None:
    path.write_bytes(b"\n\n")


@pytest.mark.parametrize("spoil", [nested, empty, lines_of_nothing])
def test_what_is_no_bundle_at_all_is_refused(bundle: Path, spoil: Callable[[Path], None]) -> None:
    spoil(bundle)
    refused(bundle, 1, "")


def test_a_bundle_that_is_not_there_is_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="H0101"):
        read_bundle(tmp_path / "none")


def test_a_run_that_is_not_there_writes_no_bundle(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NothingRan):
        write_bundle(store, "run-2", tmp_path / "none.jsonl")
    assert not (tmp_path / "none.jsonl").exists()


def test_a_bundle_that_cannot_be_written_is_local_trouble(store: Store, tmp_path: Path) -> None:
    with pytest.raises(LocalTrouble, match="H0701"):
        write_bundle(store, "run-1", tmp_path / "missing" / "run.jsonl")
