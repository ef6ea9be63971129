"""RESULTS.md: one page with a section for each benchmark, each of which replaces its own and leaves the others."""

from __future__ import annotations

import re
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


def write_section(text: str, path: Path = RESULTS) -> None:
    """Put a section, which begins with its heading, in the place of the one with the same heading, else at the end."""
    written = path.read_text(encoding="utf-8") if path.exists() else ""
    sections = [part for part in re.split(r"^(?=#{1,2} )", written, flags=re.MULTILINE) if part.strip()]
    heading = text.splitlines()[0]
    others = {part.splitlines()[0]: part for part in sections}
    others[heading] = text
    page = "\n".join(part.rstrip("\n") + "\n" for part in others.values())
    path.write_text(page, encoding="utf-8", newline="\n")
