"""The controller's side of the protocol: typed messages in frames, and the text that starts an agent.

Framing is the agent's own code, so that both sides cannot disagree; what the agent sends is hostile until parsed
here. Every message that does not parse ends the session as ``lost(protocol)``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from harness import agent
from harness.agent import Decoder, Encoder, ProtocolError
from harness.wire.messages import (
    EMPTY,
    Bye,
    Data,
    Expected,
    Hello,
    JobMessage,
    Message,
    Ping,
    Result,
    lost,
    parse,
)

INLINE_LIMIT = 256 * 1024
BLOB_PIECE = 1024 * 1024

_NEWLINE = b"\n"
_WINDOWS_BLOCK = re.compile(rb"""^if sys\.platform == "win32":\r?\n(?:    .*\n|\r?\n)*""", re.MULTILINE)

# No quote of either kind and no character that sh or cmd.exe expands: it survives every remote shell in double quotes.
BOOTSTRAP = "import sys;exec(sys.stdin.buffer.raw.readline())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things may take, in seconds.

    A ``heartbeat`` is sent that often, both ways; ``silence`` for longer ends the session; an agent must say
    ``hello`` within that time. A worker that has not answered ``patience`` after it had to is given up by its agent,
    and an agent without any result ``stalled`` after the longest limit of its jobs by the controller.
    """

    heartbeat: float = 2.0
    silence: float = 12.0
    hello: float = 30.0
    patience: float = 15.0
    stalled: float = 60.0


DEFAULT_TIMING = Timing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an agent is started with.

    ``key`` authenticates the session, ``marker`` precedes its first frame; ``slots`` 0 leaves them to the machine.
    """

    key: bytes
    marker: str
    slots: int
    timing: Timing = DEFAULT_TIMING


def agent_arguments() -> tuple[str, ...]:
    """The arguments that turn a cell's Python into an agent; the rest arrives over stdin."""
    return ("-I", "-u", "-c", BOOTSTRAP)


def shell_command(python: Sequence[str], shell: str = "posix") -> str:
    """The same as one line for a remote shell; raise ValueError for a word that the shell cannot take.

    ``posix`` is sh, bash, zsh, dash, fish and csh: words in single quotes (POSIX.1-2024, XCU 2.2.2).

    ``cmd`` and ``powershell`` are those of Windows' OpenSSH, which hands a command over as it would be typed
    (Win32-OpenSSH wiki, "Run commands for various shells"). cmd.exe takes away the first and the last quote of a line
    that begins with one (`cmd /?`), so the line begins with `call`; what `call` would expand once more is refused.
    PowerShell takes a quoted word for a text unless `&` calls it, and doubles a quote inside (about_Quoting_Rules).
    """
    if not python or any(not word or not word.isprintable() for word in python):
        raise ValueError(f"{python!r} is no command")
    end = f'-I -u -c "{BOOTSTRAP}"'
    if shell == "cmd":
        refused = [word for word in python if set(word) & set('"%^!&|<>')]
        if refused:
            raise ValueError(f"cmd.exe cannot be given {refused[0]!r}")
        words = " ".join(f'"{word}"' for word in python)
        return f"call {words} {end}"
    if shell == "powershell":
        quoted = ["'" + re.sub("(['\u2018-\u201b])", r"\1\1", word) + "'" for word in python]
        return f"& {' '.join(quoted)} {end}"
    return f"{shlex.join(python)} {end}"


def preface(settings: Settings) -> bytes:
    """The first bytes of a session: one line that reads the agent's source, then the source itself."""
    path = Path(agent.__file__)
    source = path.read_bytes()
    values = {
        "key": settings.key.hex(),
        "marker": settings.marker,
        "slots": settings.slots,
        "heartbeat": settings.timing.heartbeat,
        "silence": settings.timing.silence,
        "patience": settings.timing.patience,
    }
    start, end = _for_windows(source)
    read_all = "while len(b)<n:\\n d=r.read(n-len(b))\\n if not d:sys.exit(3)\\n b+=d"
    line = (
        f"import sys;r=sys.stdin.buffer.raw;n={len(source)};b=bytes();"
        f'exec("{read_all}");'
        f'b=b if sys.platform=="win32" else b[:{start}]+b"\\n"*{source.count(_NEWLINE, start, end)}+b[{end}:];'
        f'exec(compile(b,{str(path)!r},"exec"));main({values!r})\n'
    )
    return line.encode("ascii", "backslashreplace") + source


def _for_windows(source: bytes) -> tuple[int, int]:
    """Where the agent's part for Windows begins and ends: its compilation would keep all others waiting."""
    return max((found.span() for found in _WINDOWS_BLOCK.finditer(source)), key=lambda span: span[1] - span[0])


class Writer:
    """Encodes what the controller says."""

    def __init__(self, key: bytes) -> None:
        self._encoder = Encoder(key, b">")

    def job(self, job: JobMessage) -> bytes:
        """The frames of one job: BLOBs for what is too large to go inline, then the JOB."""
        frames: list[bytes] = []
        inline: list[bytes] = []
        room = INLINE_LIMIT

        def place(data: bytes) -> tuple[int, str]:
            nonlocal room
            if len(data) <= room:
                room -= len(data)
                inline.append(data)
                return len(data), ""
            return 0, self._blob(job.id, data, frames)

        files = [[name, *place(data)] for name, data in job.payload.files]
        message: dict[str, object] = {
            "id": job.id,
            "argv": [*job.argv, job.payload.program, *job.payload.args],
            "files": files,
            "stdin": list(place(job.payload.stdin)),
            "env": dict((*job.env, *job.payload.env)),
            "carry": job.carry,
            "timeout": job.timeout,
            "output": job.output,
            "expect": {"stdout": job.expect.stdout, "stderr": job.expect.stderr, "exit": job.expect.exit},
        }
        if job.window is not None:
            message["window"] = job.window
        text = json.dumps(message).encode("ascii")
        if len(text) > INLINE_LIMIT:  # a hundred thousand arguments, say
            message = {"id": job.id, "timeout": job.timeout, "message": self._blob(job.id, text, frames)}
        frames.append(self._encoder.encode(agent.JOB, message, b"".join(inline)))
        return b"".join(frames)

    def _blob(self, job: int, data: bytes, frames: list[bytes]) -> str:
        digest = sha256(data).hexdigest()
        for offset in range(0, len(data), BLOB_PIECE):
            piece = data[offset : offset + BLOB_PIECE]
            frames.append(self._encoder.encode(agent.BLOB, {"job": job, "digest": digest, "offset": offset}, piece))
        return digest

    def fetch(self, job: int, stream: str) -> bytes:
        """Ask for a held stream, or for the outline of one that is too large."""
        return self._encoder.encode(agent.FETCH, {"id": job, "stream": stream})

    def drop(self, jobs: tuple[int, ...]) -> bytes:
        """Acknowledge committed results."""
        return self._encoder.encode(agent.DROP, {"ids": jobs})

    def ping(self) -> bytes:
        """A heartbeat."""
        return self._encoder.encode(agent.PING, {})

    def stop(self, *, abort: bool) -> bytes:
        """Ask the agent to finish, or to kill what runs, and to say BYE."""
        return self._encoder.encode(agent.STOP, {"abort": abort})


class Reader:
    """Decodes what an agent says; total: every byte string gives messages or ProtocolError."""

    def __init__(self, key: bytes) -> None:
        self._decoder = Decoder(key, b"<")

    def feed(self, data: bytes) -> list[Message]:
        """The messages completed by these bytes."""
        return [self._message(kind, fields, raw) for kind, fields, raw in self._decoder.feed(data)]

    def _message(self, kind: int, fields: dict[str, object], raw: bytes) -> Message:
        message = parse(kind, fields, raw)
        attested = (self._decoder.count, self._decoder.chain.hex())
        if isinstance(message, Bye) and (message.count, fields.get("chain")) != attested:
            raise ProtocolError("the agent's BYE does not attest what arrived")
        return message


__all__ = [
    "BOOTSTRAP",
    "DEFAULT_TIMING",
    "EMPTY",
    "Bye",
    "Data",
    "Expected",
    "Hello",
    "JobMessage",
    "Message",
    "Ping",
    "ProtocolError",
    "Reader",
    "Result",
    "Settings",
    "Timing",
    "Writer",
    "agent_arguments",
    "lost",
    "preface",
    "shell_command",
]
