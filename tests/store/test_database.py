"""The store keeps what it is given, gives it back in order, and says what is wrong with the disk."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError, LocalTrouble, NothingRan
from harness.model.observation import Ending
from harness.model.outline import CHUNK, Outline
from harness.store.database import RunRecord, Store
from tests.store.samples import LINUX, MACOS, batch, cell_report, digest, observation, report, run_record


def problem(trouble: pytest.ExceptionInfo[HarnessError]) -> str:
    return str(trouble.value.problems[0])


def change(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "harness.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_new_store_is_a_private_folder_that_git_does_not_see(folder: Path) -> None:
    Store.open(folder).close()
    assert (folder / ".gitignore").read_text() == "*\n"
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "harness.db").stat().st_mode) == 0o600


def test_runs_are_kept_and_the_one_begun_last_comes_first_whatever_its_clock_says(store: Store) -> None:
    later = replace(run_record("run-2"), started="1999-01-01T00:00:00Z")
    store.begin(later)
    assert store.runs() == store.unfinished() == (later, run_record())
    assert store.run("run-1") == run_record()


def test_a_run_that_is_begun_again_is_the_same_run_and_another_under_its_id_is_refused(store: Store) -> None:
    store.begin(run_record())
    with pytest.raises(ValueError, match="another run has the id run-1"):
        store.begin(run_record(inputs="others"))
    assert store.runs() == (run_record(),)


@pytest.mark.parametrize("bad", ["", "../up", "a/b", ".hidden", "a\n", "a" * 101])
def test_an_id_that_could_not_name_a_file_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is no id of a run"):
        run_record(bad)


def test_observations_come_back_equal_and_in_the_order_in_which_they_were_recorded(store: Store) -> None:
    everything = replace(observation(3), ending=Ending.LOST, code=-9, leaked=2, lost="channel", attempt=2)
    recorded = (*reversed(batch(0)), everything)
    assert store.record("run-1", recorded[:4]) == ()
    assert store.record("run-1", recorded[4:]) == ()
    assert store.observations("run-1") == recorded
    assert store.record("run-1", ()) == ()


def test_an_equal_key_is_recorded_once_and_a_repeat_that_says_something_else_is_told(store: Store) -> None:
    first, repeat = observation(1), observation(1, says="other\n")
    store.record("run-1", [first])
    assert store.record("run-1", [observation(0), first, repeat]) == (repeat,)
    assert store.observations("run-1") == (first, observation(0))


def test_fixtures_of_equal_bytes_and_cells_of_equal_facts_are_kept_apart(store: Store) -> None:
    seen = observation(1)
    twins = (seen, replace(seen, fixture="fixtures/copy"), replace(seen, cell="linux-glibc-x86_64/custom"))
    assert store.record("run-1", twins) == ()
    assert store.observations("run-1") == twins


def test_runs_do_not_see_each_other(store: Store) -> None:
    store.begin(run_record("run-2"))
    store.record("run-1", batch(0))
    assert store.observations("run-2") == ()


def test_blobs_are_kept_with_the_observations_that_speak_of_them(store: Store) -> None:
    seen = observation(1)
    store.record("run-1", [seen], {seen.stdout.digest: b"hello\n"})
    assert store.get(seen.stdout.digest) == b"hello\n"
    assert store.get(seen.stderr.digest) is None


def test_a_blob_under_another_digest_is_refused_and_nothing_is_recorded(store: Store) -> None:
    with pytest.raises(ValueError, match="the blob is not the bytes of"):
        store.record("run-1", batch(0), {digest("a"): b"b"})
    assert store.observations("run-1") == ()


def test_text_that_sqlite_cannot_take_fails_whole(store: Store) -> None:
    with pytest.raises(UnicodeEncodeError):
        store.record("run-1", [observation(1), replace(observation(2), fixture="\udcff")])
    assert store.observations("run-1") == ()


@pytest.mark.parametrize("sentence", ["UPDATE observations SET code = 1", "DELETE FROM observations"])
def test_what_was_observed_cannot_be_changed(store: Store, folder: Path, sentence: str) -> None:
    store.record("run-1", batch(0))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        change(folder, sentence)


def test_a_mistake_of_ours_is_not_called_trouble_of_the_disk(store: Store) -> None:
    with pytest.raises(sqlite3.IntegrityError), store._changing() as connection:
        connection.executemany("INSERT INTO runs (id, record) VALUES (?, '')", [("run-2",), ("run-2",)])
    assert store.runs() == (run_record(),)


def test_a_finished_run_has_its_report_and_is_no_longer_unfinished(store: Store, folder: Path) -> None:
    store.finish("run-1", report())
    assert store.unfinished() == ()
    with Store.read(folder) as reader:
        assert reader.report() == reader.report("run-1") == report()
        assert reader.failures() == ((observation(1).fixture, LINUX),)


def test_a_run_judged_again_has_its_last_report_and_becomes_the_newest(store: Store) -> None:
    store.begin(run_record("run-2"))
    store.finish("run-1", report())
    store.finish("run-2", report("run-2"))
    assert store.report().run.id == "run-2"
    again = replace(report(), sentence="otherwise", cells=())
    store.finish("run-1", again)
    assert store.report() == again
    assert store.latest_with(lambda cell: True) == "run-2"


def test_the_last_run_with_a_wanted_cell_is_found_where_it_was_verified(store: Store) -> None:
    assert store.latest_with() is None
    store.finish("run-1", report(cells=(cell_report(LINUX), cell_report(MACOS))))
    store.begin(run_record("run-2"))
    store.finish("run-2", report("run-2"))
    assert store.latest_with() == "run-2"
    assert store.latest_with(lambda cell: cell.startswith("linux-")) == "run-2"
    assert store.latest_with(lambda cell: cell == MACOS) == "run-1"
    assert store.latest_with(lambda cell: False) is None


def test_durations_are_those_of_the_last_finished_run_and_what_was_lost_teaches_nothing(store: Store) -> None:
    store.record("run-1", [observation(1, duration_ns=5), observation(2, duration_ns=6)])
    store.record("run-1", [observation(1, duration_ns=7, attempt=1)])
    assert store.durations() == {}
    store.finish("run-1", report())
    store.begin(run_record("run-2"))
    store.record("run-2", [observation(1, duration_ns=9), observation(2, duration_ns=1, ending=Ending.LOST)])
    store.finish("run-2", report("run-2"))
    assert store.durations() == {(observation(1).fixture, LINUX): 9, (observation(2).fixture, LINUX): 6}


ASKED: dict[str, Callable[[Store], object]] = {
    "run": lambda store: store.run("other"),
    "observations": lambda store: store.observations("other"),
    "record": lambda store: store.record("other", ()),
    "finish": lambda store: store.finish("other", report("other")),
    "report": lambda store: store.report("other"),
    "unfinished report": lambda store: store.report("run-1"),
    "newest report": lambda store: store.report(),
    "failures": lambda store: store.failures(),
}


@pytest.mark.parametrize("question", ASKED.values(), ids=ASKED)
def test_a_question_about_a_run_that_is_not_there_is_answered_with_nothing_ran(
    store: Store, question: Callable[[Store], object]
) -> None:
    with pytest.raises(NothingRan) as refused:
        question(store)
    assert refused.value.problems[0].id == "H0503"


def test_reading_where_nothing_ran_says_so_and_makes_nothing(folder: Path) -> None:
    with pytest.raises(NothingRan):
        Store.read(folder)
    assert not folder.exists()


def test_a_reader_neither_waits_for_a_writer_nor_writes(store: Store, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    with Store.read(folder) as reader:
        assert reader.runs() == (run_record(),)
        attempts: list[Callable[[], object]] = [
            lambda: reader.begin(run_record("run-2")),
            lambda: reader.record("run-1", batch(0)),
            lambda: reader.record("run-1", (), {digest("a"): b"a"}),
        ]
        for attempt in attempts:
            with pytest.raises(LocalTrouble, match="H0701"):
                attempt()
    assert sorted(folder.rglob("*")) == before


def test_a_second_writer_waits_and_says_so_once(store: Store, folder: Path) -> None:
    said: list[str] = []
    told = threading.Event()
    runs: list[tuple[RunRecord, ...]] = []

    def waiting(sentence: str) -> None:
        said.append(sentence)
        told.set()

    def second() -> None:
        with Store.open(folder, waiting=waiting, patience=0.01) as other:
            runs.append(other.runs())

    thread = threading.Thread(target=second)
    thread.start()
    assert told.wait(60)
    assert runs == []
    store.close()
    thread.join(60)
    assert said == [f"another harness is writing to {folder}; waiting for it to end"]
    assert runs == [(run_record(),)]


def test_a_wait_that_nobody_wants_to_hear_of_is_silent(store: Store, folder: Path) -> None:
    thread = threading.Thread(target=lambda: Store.open(folder, patience=0.01).close())
    thread.start()
    thread.join(0.1)
    store.close()
    thread.join(60)
    assert not thread.is_alive()


def test_many_threads_may_record_into_one_store(store: Store) -> None:
    threads = [threading.Thread(target=store.record, args=("run-1", batch(8 * index))) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {seen.fixture for seen in store.observations("run-1")} == {seen.fixture for seen in batch(0, 64)}


def test_closing_twice_is_closing(folder: Path) -> None:
    store = Store.open(folder)
    store.close()
    store.close()
    Store.open(folder).close()


def test_an_open_that_fails_lets_the_next_one_in(folder: Path) -> None:
    Store.open(folder).close()
    (folder / "harness.db").write_bytes(b"no database at all, but long enough to have a header")
    for _ in range(2):
        with pytest.raises(LocalTrouble):
            Store.open(folder)


def spoil_text(folder: Path) -> None:
    (folder / "harness.db").write_bytes(b"x" * 8192)


def spoil_pages(folder: Path) -> None:
    path = folder / "harness.db"
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


def spoil_row(folder: Path) -> None:
    change(folder, "DROP TRIGGER observations_stay", "UPDATE observations SET code = 1")


def spoil_report(folder: Path) -> None:
    change(folder, "UPDATE reports SET body = x'00'")


def spoil_record(folder: Path) -> None:
    change(folder, "UPDATE runs SET record = '{'")


def spoil_encoding(folder: Path) -> None:
    change(folder, "UPDATE runs SET record = CAST(x'ff' AS TEXT)")


def spoil_owner(folder: Path) -> None:
    change(folder, "PRAGMA application_id = 1")


def spoil_version(folder: Path) -> None:
    change(folder, "PRAGMA user_version = 0")


def spoil_link(folder: Path) -> None:
    (folder / "harness.db").rename(folder.parent / "elsewhere.db")
    (folder / "harness.db").symlink_to(folder.parent / "elsewhere.db")


def read_all(opened: Callable[[Path], Store], folder: Path) -> None:
    with opened(folder) as store:
        store.runs()
        store.observations("run-1")
        store.report()


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_text,
        spoil_pages,
        spoil_row,
        spoil_report,
        spoil_record,
        spoil_encoding,
        spoil_owner,
        spoil_version,
        spoil_link,
    ],
)
@pytest.mark.parametrize("opened", [Store.open, Store.read])
def test_damage_is_named_as_such_with_the_path(
    folder: Path, spoil: Callable[[Path], None], opened: Callable[[Path], Store]
) -> None:
    with Store.open(folder) as store:
        store.begin(run_record())
        store.record("run-1", batch(0, 300))
        store.finish("run-1", report())
    spoil(folder)
    with pytest.raises(LocalTrouble) as trouble:
        read_all(opened, folder)
    assert problem(trouble).startswith(f"error[H0702]: {folder}")


@pytest.mark.parametrize("opened", [Store.open, Store.read])
def test_a_store_of_a_newer_version_is_left_alone(folder: Path, opened: Callable[[Path], Store]) -> None:
    Store.open(folder).close()
    change(folder, "PRAGMA user_version = 3")
    with pytest.raises(LocalTrouble) as trouble:
        opened(folder)
    assert problem(trouble).startswith(f"error[H0703]: {folder / 'harness.db'}: the store has version 3")
    assert "upgrade harness" in trouble.value.problems[0].mend


@pytest.mark.parametrize("opened", [Store.open, Store.read])
def test_a_store_of_an_older_version_is_left_alone_and_said_to_be_moved_away(
    folder: Path, opened: Callable[[Path], Store]
) -> None:
    Store.open(folder).close()
    change(folder, "PRAGMA user_version = 1")
    with pytest.raises(LocalTrouble) as trouble:
        opened(folder)
    assert problem(trouble).endswith("the store has version 1; this harness reads and writes version 2")
    assert trouble.value.problems[0].mend == f"move {folder} away; `harness run` starts a new one"


def test_a_store_whose_writer_died_before_its_first_table_is_no_run_yet(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "harness.db").touch()
    with pytest.raises(NothingRan):
        Store.read(folder)
    with Store.open(folder) as store:
        assert store.runs() == ()


def test_a_folder_that_is_a_link_is_not_entered(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalTrouble) as trouble:
        Store.open(folder)
    assert problem(trouble) == f"error[H0701]: {folder}: it is not a folder of its own, but a link or a file"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_full_disk_is_named_and_what_was_recorded_is_intact(small_disk: Callable[[str], Path]) -> None:
    folder = small_disk("size=256k") / ".harness"
    recorded = 0

    def fill(store: Store) -> None:
        nonlocal recorded
        while True:
            store.record("run-1", batch(recorded, 64), {digest(str(recorded)): str(recorded).encode()})
            recorded += 64

    with Store.open(folder) as store:
        store.begin(run_record())
        with pytest.raises(LocalTrouble) as trouble:
            fill(store)
        assert problem(trouble).startswith(f"error[H0701]: {folder}")
        assert problem(trouble).endswith("no space is left on the disk")
        assert trouble.value.exit_code == 6
        assert store.observations("run-1") == batch(0, recorded)
        small_disk("size=4m")
        store.record("run-1", batch(recorded, 64))
        assert store.observations("run-1") == batch(0, recorded + 64)


def test_a_disk_without_inodes_is_named(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("size=1m,nr_inodes=12")
    blobs = {digest(str(number)): str(number).encode() for number in range(9)}
    with Store.open(disk / ".harness") as store:
        store.begin(run_record())
        with pytest.raises(LocalTrouble) as trouble:
            store.record("run-1", batch(0), blobs)
    assert problem(trouble).endswith("no space is left on the disk")
    with Store.open(disk / ".harness") as store:
        assert store.runs() == (run_record(),)
        assert store.observations("run-1") == ()


def test_a_read_only_disk_is_named_and_can_be_read(small_disk: Callable[[str], Path]) -> None:
    folder = small_disk("size=1m") / ".harness"
    with Store.open(folder) as store:
        store.begin(run_record())
    small_disk("ro")
    with pytest.raises(LocalTrouble) as trouble:
        Store.open(folder)
    assert problem(trouble) == f"error[H0701]: {folder / 'lock'}: it is read-only"
    with Store.read(folder) as reader:
        assert reader.runs() == (run_record(),)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_another_user_is_not_entered(folder: Path) -> None:
    Store.open(folder).close()
    os.chown(folder, 12345, -1)
    for opened in (Store.open, Store.read):
        with pytest.raises(LocalTrouble) as trouble:
            opened(folder)
        assert problem(trouble) == f"error[H0701]: {folder}: it belongs to another user (uid 12345)"


# outlines

LARGE = bytes(range(256)) * 1024 + b"end"
PLAIN, NEAR, FAR = (Outline.of(LARGE, window) for window in (None, (0, CHUNK), (CHUNK, CHUNK)))


def test_an_outline_is_kept_under_the_digest_of_its_stream(folder: Path, store: Store) -> None:
    store.record("run-1", (observation(),), {}, {digest("large"): NEAR.encode()})
    assert store.outline(digest("large")) == NEAR
    assert store.outline(digest("small")) is None
    assert store.get(digest("large")) is None
    store.close()
    with Store.read(folder) as again:
        assert again.outline(digest("large")) == NEAR


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(PLAIN, NEAR, NEAR), (NEAR, PLAIN, NEAR), (NEAR, FAR, FAR), (NEAR, NEAR, NEAR)]
)
def test_an_outline_with_a_window_is_not_replaced_by_one_without(
    store: Store, first: Outline, second: Outline, kept: Outline
) -> None:
    for outline in (first, second):
        store.keep_outlines({digest("large"): outline.encode()})
    assert store.outline(digest("large")) == kept


def test_an_outline_that_was_damaged_is_a_miss_and_may_come_again(folder: Path, store: Store) -> None:
    store.keep_outlines({digest("large"): NEAR.encode()})
    blob = hashlib.sha256(NEAR.encode()).hexdigest()
    (folder / "blobs" / blob[:2] / blob[2:]).write_bytes(b"damage")
    assert store.outline(digest("large")) is None
    store.keep_outlines({digest("large"): PLAIN.encode()})
    assert store.outline(digest("large")) == PLAIN


def test_a_blob_that_is_no_outline_is_a_miss(folder: Path, store: Store) -> None:
    store.keep_outlines({digest("large"): NEAR.encode()})
    change(folder, f"UPDATE outlines SET blob = '{store.keep(b'something else')}'")
    assert store.outline(digest("large")) is None


def test_what_is_no_outline_is_not_kept_and_nothing_with_it(store: Store) -> None:
    with pytest.raises(ValueError, match="cut off"):
        store.record("run-1", (observation(),), {}, {digest("large"): NEAR.encode()[:100]})
    assert store.observations("run-1") == ()
