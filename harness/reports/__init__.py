"""Reports: one value in, one text out. Every rendering is made from the same `Report` and from stored outputs.

Listing the renderers imports none of them. Equal inputs give equal text, but for a marked block about the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # every command escapes text; few render a report
    from harness.model.outline import Outline
    from harness.model.report import Report


class Blobs(Protocol):
    """Where bytes are kept by sha256: outputs of cells, and goldens."""

    def get(self, digest: str, /) -> bytes | None:
        """Return the bytes, or None when they were not kept."""

    def outline(self, digest: str, /) -> Outline | None:
        """Return the outline of an output that was too large to be kept, by the output's digest; None without one."""


class _Render(Protocol):
    def __call__(self, report: Report, blobs: Blobs, /) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """One format: its name, how its files end, and the dotted path of its function."""

    name: str
    suffix: str
    target: str

    def render(self, report: Report, blobs: Blobs) -> str:
        """Render a report; the text is well-formed whatever bytes the cells said."""
        module, function = self.target.split(":")
        render: _Render = getattr(import_module(module), function)
        return render(report, blobs)


RENDERERS: Mapping[str, Renderer] = MappingProxyType(
    {
        renderer.name: renderer
        for renderer in (
            Renderer(name="text", suffix=".txt", target="harness.reports.terminal:render"),
            Renderer(name="json", suffix=".json", target="harness.reports.json:render"),
            Renderer(name="jsonl", suffix=".jsonl", target="harness.reports.jsonl:render"),
            Renderer(name="markdown", suffix=".md", target="harness.reports.markdown:render"),
            Renderer(name="junit", suffix=".xml", target="harness.reports.junit:render"),
        )
    }
)
