"""The protocol, byte by byte: whatever is not exactly what the other side sent ends the session."""

from __future__ import annotations

import ast
import hmac
import json
import math
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import agent
from harness.agent import Decoder, Encoder
from harness.model.fixture import Payload
from harness.model.observation import Ending
from harness.wire import (
    BLOB_PIECE,
    BOOTSTRAP,
    EMPTY,
    INLINE_LIMIT,
    Bye,
    Data,
    Expected,
    Hello,
    JobMessage,
    Message,
    Ping,
    ProtocolError,
    Reader,
    Result,
    Settings,
    Timing,
    Writer,
    agent_arguments,
    lost,
    preface,
    shell_command,
)

KEY = bytes(range(32))
HEADER = struct.Struct("!IBQ")
DIGEST = "ab" * 32

HELLO: dict[str, Any] = {
    "protocol": agent.PROTOCOL,
    "python": "3.8.18",
    "pid": 7,
    "slots": 2,
    "locale": "C.UTF-8",
    "clock": 1.5,
    "free": 10**12,
    "reaper": True,
    "user": 1000,
}
RESULT: dict[str, Any] = {
    "id": 3,
    "ending": "exited",
    "code": 0,
    "stdout": [5, DIGEST],
    "stderr": [0, EMPTY.digest],
    "leaked": 0,
    "duration": 1234,
    "held": ["stdout"],
}
LOST: dict[str, Any] = {"id": 3, "ending": "lost", "lost": "agent: its worker was killed"}
DATA: dict[str, Any] = {"id": 3, "stream": "stdout", "last": True}

messages = st.lists(
    st.tuples(
        st.sampled_from([agent.HELLO, agent.JOB, agent.RESULT, agent.DATA, agent.PING]),
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.none(), max_size=3),
        st.binary(max_size=40),
    ),
    max_size=6,
)


def encoded(entries: list[tuple[int, dict[str, Any], bytes]], direction: bytes = b"<") -> bytes:
    encoder = Encoder(KEY, direction)
    return b"".join(encoder.encode(*entry) for entry in entries)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


def hear(*entries: tuple[int, dict[str, Any]] | tuple[int, dict[str, Any], bytes]) -> list[Message]:
    encoder = Encoder(KEY, b"<")
    return Reader(KEY).feed(b"".join(encoder.encode(*entry) for entry in entries))


# frames


@given(entries=messages, cuts=st.lists(st.integers(min_value=0), max_size=8))
def test_any_split_of_the_stream_gives_the_same_messages(
    entries: list[tuple[int, dict[str, Any], bytes]], cuts: list[int]
) -> None:
    decoder = Decoder(KEY, b"<")
    heard = [message for piece in in_pieces(encoded(entries), cuts) for message in decoder.feed(piece)]
    assert heard == entries
    assert decoder.count == len(entries)


@given(noise=st.lists(st.binary(max_size=200), max_size=5))
def test_the_decoder_is_total(noise: list[bytes]) -> None:
    decoder = Decoder(KEY, b"<")
    try:
        heard = [message for piece in noise for message in decoder.feed(piece)]
    except ProtocolError:
        return
    assert heard == []


@given(entries=messages.filter(bool), data=st.data())
def test_a_flipped_bit_is_never_a_message(
    entries: list[tuple[int, dict[str, Any], bytes]], data: st.DataObject
) -> None:
    stream = bytearray(encoded(entries))
    place = data.draw(st.integers(0, len(stream) * 8 - 1))
    stream[place // 8] ^= 1 << place % 8
    decoder = Decoder(KEY, b"<")
    heard: list[tuple[int, dict[str, Any], bytes]] = []
    try:
        for start in range(len(stream)):
            heard += decoder.feed(bytes(stream[start : start + 1]))
    except ProtocolError:
        pass
    assert heard == entries[: len(heard)]
    assert len(heard) < len(entries)  # refused, or waiting for a length that will not come


@pytest.mark.parametrize("bit", range(8 * (HEADER.size + 2 + 32)))
def test_each_flipped_bit_of_a_frame_is_refused(bit: int) -> None:
    stream = bytearray(encoded([(agent.PING, {}, b"")]))
    stream[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProtocolError):
        Decoder(KEY, b"<").feed(bytes(stream) + bytes(agent.MAX_PAYLOAD + 32))


def test_a_replayed_frame_is_refused() -> None:
    frame = encoded([(agent.PING, {}, b"")])
    decoder = Decoder(KEY, b"<")
    assert decoder.feed(frame) == [(agent.PING, {}, b"")]
    with pytest.raises(ProtocolError, match="after 1 frames"):
        decoder.feed(frame)


def test_reordered_frames_are_refused() -> None:
    encoder = Encoder(KEY, b"<")
    first, second = encoder.encode(agent.PING, {}), encoder.encode(agent.PING, {})
    with pytest.raises(ProtocolError, match="after 0 frames"):
        Decoder(KEY, b"<").feed(second + first)


def test_a_frame_of_the_other_direction_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not authentic"):
        Decoder(KEY, b"<").feed(encoded([(agent.PING, {}, b"")], b">"))


def test_a_frame_under_another_key_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not authentic"):
        Decoder(bytes(32), b"<").feed(encoded([(agent.PING, {}, b"")]))


@pytest.mark.parametrize("kind", [0, agent.BYE + 1, 255])
def test_an_unknown_type_is_refused(kind: int) -> None:
    with pytest.raises(ProtocolError):
        Decoder(KEY, b"<").feed(encoded([(kind, {}, b"")]))


@pytest.mark.parametrize("length", [agent.MAX_PAYLOAD + 1, 0xFFFFFFFF])
def test_an_oversized_length_is_refused_before_its_bytes_come(length: int) -> None:
    with pytest.raises(ProtocolError, match="bad frame header"):
        Decoder(KEY, b"<").feed(HEADER.pack(length, agent.PING, 0))


def test_the_largest_frame_passes_and_a_larger_one_is_not_made() -> None:
    data = bytes(agent.MAX_PAYLOAD - len(b"{}\0"))
    assert Decoder(KEY, b"<").feed(encoded([(agent.DATA, {}, data)])) == [(agent.DATA, {}, data)]
    with pytest.raises(ValueError, match="too large"):
        Encoder(KEY, b"<").encode(agent.DATA, {}, data + b"x")


def authentic(payload: bytes) -> bytes:
    body = HEADER.pack(len(payload), agent.PING, 0) + payload
    return body + hmac.digest(KEY, b"<" + body, "sha256")


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"\xff{}", b"[]", b"3", b'"x"', b"null", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000],
    ids=["empty", "cut", "not-ascii", "list", "number", "text", "null", "deep-list", "deep-object", "long-number"],
)
def test_an_authentic_frame_that_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="is not"):
        Decoder(KEY, b"<").feed(authentic(payload))


@pytest.mark.parametrize("after", [b"x", encoded([(agent.PING, {}, b"")])])
def test_nothing_may_follow_bye(after: bytes) -> None:
    bye = encoded([(agent.BYE, {}, b"")])
    with pytest.raises(ProtocolError, match="after BYE"):
        Decoder(KEY, b"<").feed(bye + after)
    decoder = Decoder(KEY, b"<")
    assert len(decoder.feed(bye)) == 1
    assert decoder.feed(b"") == []
    with pytest.raises(ProtocolError, match="after BYE"):
        decoder.feed(after)


# messages of an agent


def test_every_message_of_an_agent_is_read() -> None:
    encoder = Encoder(KEY, b"<")
    said = [
        encoder.encode(agent.HELLO, HELLO),
        encoder.encode(agent.PING, {}),
        encoder.encode(agent.RESULT, RESULT),
        encoder.encode(agent.DATA, DATA, b"\0\xff"),
        encoder.encode(agent.RESULT, LOST),
    ]
    said.append(encoder.encode(agent.BYE, {"count": encoder.count, "chain": encoder.chain.hex()}))
    hello, ping, result, data, lost_one, bye = Reader(KEY).feed(b"".join(said))
    assert isinstance(hello, Hello)
    assert (hello.python, hello.slots, hello.reaper, hello.user) == ("3.8.18", 2, True, 1000)
    assert ping == Ping()
    assert isinstance(result, Result)
    assert (result.id, result.ending, result.stdout.size, result.held) == (3, Ending.EXITED, 5, ("stdout",))
    assert data == Data(id=3, stream="stdout", last=True, data=b"\0\xff")
    assert lost_one == lost("agent", "its worker was killed", 3)
    assert bye == Bye(count=5)


@pytest.mark.parametrize("kind", [agent.JOB, agent.BLOB, agent.FETCH, agent.DROP, agent.STOP])
def test_what_a_controller_says_is_not_for_a_controller(kind: int) -> None:
    with pytest.raises(ProtocolError, match="not for a controller"):
        hear((kind, {}))


@pytest.mark.parametrize(
    ("kind", "whole", "name"),
    [
        *((agent.HELLO, HELLO, name) for name in HELLO),
        *((agent.RESULT, RESULT, name) for name in RESULT),
        *((agent.RESULT, LOST, name) for name in LOST),
        *((agent.DATA, DATA, name) for name in DATA),
        (agent.BYE, {"count": 0}, "count"),
    ],
)
def test_a_field_that_is_missing_or_of_another_type_is_refused(kind: int, whole: dict[str, Any], name: str) -> None:
    others: list[Any] = [None, [], {}, [[[]]], "\ud800", -1, 2**80, 0.5, True, ["x", "y"], math.inf]
    wrong = [value for value in others if not (type(value) is type(whole[name]) and type(value) in (bool, float))]
    cases = [{key: value for key, value in whole.items() if key != name}, *({**whole, name: value} for value in wrong)]
    for case in cases:
        if case.get(name) == [] and name == "held":
            continue
        if isinstance(case.get(name), str) and isinstance(whole[name], str) and name in ("python", "locale", "lost"):
            continue  # free text
        if name == "stream" and case.get(name) == "\ud800":
            continue  # compared with what was asked for
        with pytest.raises(ProtocolError, match="malformed"):
            hear((kind, case))


@pytest.mark.parametrize("digest", ["AB" * 32, "ab" * 31, "g" * 64, "ab" * 32 + "\n"])
def test_a_digest_is_64_hexadecimal_digits(digest: str) -> None:
    with pytest.raises(ProtocolError, match="not a digest"):
        hear((agent.RESULT, {**RESULT, "stdout": [5, digest]}))


def test_a_status_is_one_that_a_system_can_have() -> None:
    assert hear((agent.RESULT, {**RESULT, "code": 2**32 - 1}))
    with pytest.raises(ProtocolError, match="out of range"):
        hear((agent.RESULT, {**RESULT, "code": 2**32}))


def test_only_streams_can_be_held() -> None:
    with pytest.raises(ProtocolError, match="unknown stream"):
        hear((agent.RESULT, {**RESULT, "held": ["stdout", "/etc/passwd"]}))


def test_another_protocol_is_refused() -> None:
    with pytest.raises(ProtocolError, match=f"protocol 99, ours is {agent.PROTOCOL}"):
        hear((agent.HELLO, {**HELLO, "protocol": 99}))


@pytest.mark.parametrize("clock", [math.inf, -math.inf, math.nan])
def test_a_clock_shows_a_time(clock: float) -> None:
    with pytest.raises(ProtocolError, match="no time of day"):
        hear((agent.HELLO, {**HELLO, "clock": clock}))


def test_words_from_a_cell_are_whole_characters_few_and_its_own() -> None:
    (heard,) = hear((agent.RESULT, {**LOST, "lost": "controller: \ud800" + "x" * 100_000}))
    assert isinstance(heard, Result)
    assert heard.lost.startswith("agent: controller: ?xxx")
    assert len(heard.lost.encode()) < 2100


@given(
    kind=st.sampled_from([agent.HELLO, agent.RESULT, agent.DATA, agent.BYE]),
    fields=st.dictionaries(
        st.sampled_from([*HELLO, *RESULT, *LOST, *DATA, "count", "chain"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["exited", DIGEST]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
            max_leaves=4,
        ),
    ),
)
def test_the_reader_is_total(kind: int, fields: dict[str, Any]) -> None:
    try:
        hear((kind, fields))
    except ProtocolError:
        return


@pytest.mark.parametrize("attested", [{"count": 2}, {"count": 0}, {"chain": "00" * 32}, {"chain": None}])
def test_a_bye_that_does_not_attest_what_arrived_is_refused(attested: dict[str, Any]) -> None:
    encoder = Encoder(KEY, b"<")
    stream = encoder.encode(agent.PING, {})
    stream += encoder.encode(agent.BYE, {"count": 1, "chain": encoder.chain.hex(), **attested})
    with pytest.raises(ProtocolError, match="does not attest"):
        Reader(KEY).feed(stream)


# messages of the controller

JOB = JobMessage(
    id=5,
    argv=("/usr/bin/python3", "-X", "utf8"),
    payload=Payload(program="main.py", files=(("main.py", b"print()"),), stdin=b"abc", args=("é", "\udc80")),
    env=(("A", "cell"), ("B", "cell")),
    carry=("QEMU_CPU",),
    timeout=2.5,
    output=1000,
    expect=Expected(stdout=(DIGEST,), stderr=DIGEST, exit=3),
)


def with_payload(**changes: Any) -> JobMessage:
    fields: dict[str, Any] = {"program": "main.py", "files": (("main.py", b"x"),), **changes}
    return replace(JOB, payload=Payload(**fields))


def test_a_small_job_is_one_frame() -> None:
    ((kind, message, data),) = Decoder(KEY, b">").feed(Writer(KEY).job(JOB))
    assert kind == agent.JOB
    assert data == b"print()abc"
    assert message == {
        "id": 5,
        "argv": ["/usr/bin/python3", "-X", "utf8", "main.py", "é", "\udc80"],
        "files": [["main.py", 7, ""]],
        "stdin": [3, ""],
        "env": {"A": "cell", "B": "cell"},
        "carry": ["QEMU_CPU"],
        "timeout": 2.5,
        "output": 1000,
        "expect": {"stdout": [DIGEST], "stderr": DIGEST, "exit": 3},
    }


def test_a_job_may_ask_for_a_window_of_its_output() -> None:
    ((_, message, _),) = Decoder(KEY, b">").feed(Writer(KEY).job(replace(JOB, window=(65536, 196608))))
    assert message["window"] == [65536, 196608]


def test_the_fixture_s_environment_comes_after_the_cell_s() -> None:
    ((_, message, _),) = Decoder(KEY, b">").feed(Writer(KEY).job(with_payload(env=(("A", "fixture"),))))
    assert message["env"] == {"A": "fixture", "B": "cell"}


def test_a_large_file_goes_ahead_in_pieces() -> None:
    large = bytes(BLOB_PIECE) + b"end"
    digest = sha256(large).hexdigest()
    *blobs, (kind, message, data) = Decoder(KEY, b">").feed(Writer(KEY).job(with_payload(stdin=large)))
    assert blobs == [
        (agent.BLOB, {"job": 5, "digest": digest, "offset": 0}, bytes(BLOB_PIECE)),
        (agent.BLOB, {"job": 5, "digest": digest, "offset": BLOB_PIECE}, b"end"),
    ]
    assert (kind, message["stdin"], data) == (agent.JOB, [0, digest], b"x")


def test_what_no_longer_fits_in_line_is_a_blob() -> None:
    half = bytes(INLINE_LIMIT // 2)
    files = (("main.py", half), ("a", half + b"x"), ("b", half))
    *blobs, (_, message, data) = Decoder(KEY, b">").feed(Writer(KEY).job(with_payload(files=files)))
    assert [entry[:2] for entry in message["files"]] == [["main.py", len(half)], ["a", 0], ["b", len(half)]]
    assert len(blobs) == 1
    assert len(data) == INLINE_LIMIT


def test_a_job_with_more_words_than_a_frame_holds_is_a_blob_itself() -> None:
    job = with_payload(args=tuple(f"argument {number}" for number in range(200_000)))
    *blobs, (_, message, data) = Decoder(KEY, b">").feed(Writer(KEY).job(job))
    text = b"".join(piece for _, _, piece in blobs)
    assert message == {"id": 5, "timeout": 2.5, "message": sha256(text).hexdigest()}
    assert data == b"x"
    assert len(json.loads(text)["argv"]) == 200_004


def test_the_other_words_of_a_controller() -> None:
    writer = Writer(KEY)
    stream = writer.fetch(3, "stderr") + writer.drop((1, 2)) + writer.ping() + writer.stop(abort=True)
    assert Decoder(KEY, b">").feed(stream) == [
        (agent.FETCH, {"id": 3, "stream": "stderr"}, b""),
        (agent.DROP, {"ids": [1, 2]}, b""),
        (agent.PING, {}, b""),
        (agent.STOP, {"abort": True}, b""),
    ]


# the text that starts an agent


def test_the_bootstrap_holds_nothing_that_a_shell_expands() -> None:
    assert BOOTSTRAP.isascii()
    assert BOOTSTRAP.isprintable()
    assert not set(BOOTSTRAP) & set("\"'$`\\!"), "sh expands these in double quotes"
    assert not set(BOOTSTRAP) & set('"%^!'), "cmd.exe expands these in double quotes"
    assert agent_arguments()[:-1] == ("-I", "-u", "-c")


def test_the_bootstrap_survives_a_real_shell(tmp_path: Path) -> None:
    python = tmp_path / "it's a $HOME `dir`" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    done = subprocess.run(
        ["sh", "-c", shell_command([str(python)])], input=b"print(6 * 7)\n", capture_output=True, check=True
    )
    assert done.stdout == b"42\n"


def test_what_is_only_for_windows_costs_the_others_no_compilation() -> None:
    line, _, source = preface(Settings(key=KEY, marker="m", slots=1)).partition(b"\n")
    line, _, call = line.rpartition(b";exec(compile(b,")
    compiled: dict[str, bytes] = {"b": source}
    exec("import sys;" + line[line.index(b"b=b if") :].decode(), compiled)
    names = {node.name for node in ast.parse(compiled["b"]).body if isinstance(node, ast.ClassDef)}
    assert call
    assert "Agent" in names
    assert (b"class WindowsAgent" in compiled["b"]) is (sys.platform == "win32")
    assert compiled["b"].count(b"\n") == source.count(b"\n")  # so that a traceback names the right lines


def test_the_preface_carries_the_agent_and_its_settings() -> None:
    timing = Timing(heartbeat=0.5, silence=3.0, patience=1.0)
    text = preface(Settings(key=KEY, marker="harness-mark", slots=3, timing=timing))
    line, _, source = text.partition(b"\n")
    assert line.isascii()
    assert source == Path(agent.__file__).read_bytes()
    assert f"n={len(source)};" in line.decode()
    assert ast.literal_eval(line.decode().rpartition(";main(")[2].removesuffix(")")) == {
        "key": KEY.hex(),
        "marker": "harness-mark",
        "slots": 3,
        "heartbeat": 0.5,
        "silence": 3.0,
        "patience": 1.0,
    }


@pytest.mark.parametrize(
    ("shell", "python", "line"),
    [
        ("posix", ["python3.12"], "python3.12"),
        ("posix", ["/opt/my python/bin/python3"], "'/opt/my python/bin/python3'"),
        ("posix", ["env", "A=it's"], """env 'A=it'"'"'s'"""),
        # cmd.exe: quotes make a path with blanks one word; `call` keeps the first one from being taken away.
        ("cmd", ["python"], 'call "python"'),
        ("cmd", ["C:\\Program Files\\Python 3.13\\python.exe"], 'call "C:\\Program Files\\Python 3.13\\python.exe"'),
        ("cmd", ["py", "-3.13"], 'call "py" "-3.13"'),
        # PowerShell: & calls a text; a quote is doubled, also the curly ones, which it takes for quotes.
        ("powershell", ["C:\\Program Files\\python.exe"], "& 'C:\\Program Files\\python.exe'"),
        ("powershell", ["C:\\it's\\python.exe"], "& 'C:\\it''s\\python.exe'"),
        ("powershell", ["C:\\it\u2019s\\python.exe"], "& 'C:\\it\u2019\u2019s\\python.exe'"),
        ("powershell", ["C:\\$HOME`n\\python.exe", "-X", "utf8"], "& 'C:\\$HOME`n\\python.exe' '-X' 'utf8'"),
    ],
)
def test_each_shell_gets_its_own_quotes(shell: str, python: list[str], line: str) -> None:
    assert shell_command(python, shell) == f'{line} -I -u -c "{BOOTSTRAP}"'


@pytest.mark.parametrize(
    ("shell", "python"),
    [
        ("posix", []),
        ("posix", ["python\n"]),
        ("posix", ["", "x"]),
        ("cmd", ["C:\\%TEMP%\\python"]),
        ("cmd", ["a^b"]),
        ("cmd", ['a"b']),
        ("cmd", ["a&b"]),
        ("powershell", ["a\0b"]),
    ],
)
def test_what_a_shell_cannot_take_is_refused(shell: str, python: list[str]) -> None:
    with pytest.raises(ValueError, match=r"cannot be given|is no command"):
        shell_command(python, shell)


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "csh", "tcsh", "ksh", "busybox"])
def test_the_posix_line_starts_an_agent_in_every_shell_that_is_here(shell: str, tmp_path: Path) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"there is no {shell}")
    python = tmp_path / "my python's $HOME"
    python.symlink_to(sys.executable)
    command = [found, *(["sh"] if shell == "busybox" else []), "-c", shell_command([str(python)])]
    done = subprocess.run(command, input=b"print(6 * 7)\n", capture_output=True, check=True)
    assert done.stdout == b"42\n"
