"""The plugin costs next to nothing where it is only installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_importing_the_plugin_loads_the_standard_library_alone() -> None:
    code = (
        "import sys; before = set(sys.modules); import harness.plugin;"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}));"
        "print(*sorted(name for name in sys.modules if name.startswith('harness')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded, ours = done.stdout.splitlines()
    assert set(loaded.split()) <= sys.stdlib_module_names | {"harness"}
    assert ours.split() == ["harness", "harness.plugin"]
