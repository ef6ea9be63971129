"""A corpus that a test fills with files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.fixtures import Loaded, load_corpus
from harness.model.cell import Corpus

Fill = Callable[..., Loaded]


@pytest.fixture
def loaded(tmp_path: Path) -> Fill:
    """Write files (path in the corpus to text) and load the corpus ``fixtures`` with these settings."""

    def fill(files: dict[str, str | bytes], **settings: object) -> Loaded:
        for name, content in files.items():
            path = tmp_path / "fixtures" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return load_corpus(tmp_path, Corpus(path="fixtures", **settings))  # type: ignore[arg-type]

    return fill
