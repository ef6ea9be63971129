"""matrix.yaml: the cells of a project, expanded from platforms and interpreters, with the corpora that run in them."""

from __future__ import annotations

from typing import Any

from harness.matrix.load import load_matrix

__all__ = ["json_schema", "load_matrix"]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of matrix.yaml, for editors; see ``harness.matrix.schema``."""
    from harness.matrix.schema import json_schema

    return json_schema()
