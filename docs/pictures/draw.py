"""Draws the picture of the README: `python docs/pictures/draw.py`, with harness installed and CPython 3.11 to 3.13.

A project is made in a temporary folder, `harness run` is started there in a terminal of 80 columns, and what it says is
drawn as it came; but the run's id, time and duration, which differ each time, are written as fixed ones.
"""

from __future__ import annotations

import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from fcntl import ioctl
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS = 80
PICTURE = Path(__file__).with_name("divergence.svg")
FILES = {
    "matrix.yaml": 'platforms: [local]\npythons: ["3.11", "3.12", "3.13"]\n',
    "fixtures/hello/main.py": 'print("hello")\n',
    "fixtures/hello/expected.stdout": "hello\n",
    # argparse of 3.13 names the value of an option once, not after each of its names.
    "fixtures/usage/main.py": """\
import argparse

parser = argparse.ArgumentParser(prog="greet", description="Greet somebody.")
parser.add_argument("-n", "--name", help="whom")
parser.add_argument("-t", "--times", metavar="N", help="how often")
parser.print_help()
""",
    "fixtures/usage/expected.stdout": """\
usage: greet [-h] [-n NAME] [-t N]

Greet somebody.

options:
  -h, --help            show this help message and exit
  -n NAME, --name NAME  whom
  -t N, --times N       how often
""",
}
# A dark window of its own: it reads the same on a light page and on a dark one.
THEME = TerminalTheme(
    (22, 27, 34),
    (214, 221, 230),
    [
        (72, 79, 88),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (214, 221, 230),
    ],
)
# That of rich, without the font from the network, which pages do not load for a picture anyway.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
  <title>harness run, in a terminal</title>
  <style>
  .{unique_id}-matrix {{
    font-family: ui-monospace, "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", monospace;
    font-size: {char_height}px;
    line-height: {line_height}px;
    font-variant-ligatures: none;
  }}
  .{unique_id}-title {{
    font-size: 18px;
    font-weight: bold;
    font-family: system-ui, sans-serif;
  }}
  {styles}
  </style>
  <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
  </defs>
  {chrome}
  <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
  </g>
</svg>
"""


def said(folder: Path) -> str:
    """What `harness run` says in a terminal."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {name: text for name, text in os.environ.items() if name not in ("NO_COLOR", "CI", "GITHUB_ACTIONS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "run"],
        cwd=folder,
        env={**environment, "TERM": "xterm-256color"},
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    heard = b""
    while True:
        try:
            piece = os.read(ours, 1 << 16)
        except OSError:  # how Linux tells that nobody writes to the terminal any more
            piece = b""
        if not piece:
            break
        heard += piece
    os.close(ours)
    if process.wait() != 1:
        sys.exit(f"the run was to find a divergence:\n{heard.decode()}")
    return heard.decode().replace("\r\n", "\n")


def always_the_same(text: str) -> str:
    """The text with a fixed id, time and duration of the run."""
    text, count = re.subn(
        r"\d{8}-\d{6}-\w{6}, [^,]+, \d+\.\d s", "20261121-120000-5eed00, 2026-11-21T12:00:00+00:00, 0.4 s", text
    )
    assert count == 1, text
    return text


def drawn(text: str) -> str:
    """The text, with its colours, as a window."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(Text.assemble(("$ ", "bold green"), ("harness run", "bold")))
    console.print(Text.from_ansi(text.rstrip("\n")), soft_wrap=True)
    svg = console.export_svg(title="harness", theme=THEME, code_format=FORMAT, unique_id="harness")
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for name, content in FILES.items():
            path = Path(temporary, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode())
        PICTURE.write_text(drawn(always_the_same(said(Path(temporary)))), encoding="utf-8", newline="\n")
