"""Where interpreters may lie on this machine: uv, pyenv, conda, PATH, the Windows registry, the one that runs us.

Only folders are listed: nothing is started (uv and shims cost most of a second), so a candidate may be broken.
Shims of version managers are resolved or dropped, virtual environments lead to their base interpreter.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(python|pypy|graalpy)(\d(\.\d+)?t?d?)?(\.exe)?", re.IGNORECASE)
_CONDA_FOLDERS = ("miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba", ".conda", "opt/miniconda3")
_CONDA_SYSTEM = (
    "/opt/conda",
    "/opt/miniconda3",
    "/opt/anaconda3",
    "/opt/miniforge3",
    "/opt/homebrew/Caskroom/miniconda/base",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A path that may start an interpreter, the source that named it, and the file behind it where that is another."""

    path: Path
    source: str
    behind: Path | None = None

    @property
    def target(self) -> Path:
        """The file to measure: symlinks resolved, a virtual environment's base, what a shim would start."""
        return base_of(self.behind or self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """All candidates in a stable order, and sentences about what lies there broken."""

    found: tuple[Candidate, ...]
    warnings: tuple[str, ...] = ()


def find_candidates(environ: Mapping[str, str], cache: Path | None = None) -> Candidates:
    """List every candidate that ``environ`` leads to; ``cache`` is a folder for what the registry search remembers."""
    home = Path(environ.get("USERPROFILE" if sys.platform == "win32" else "HOME") or Path.home())
    found = [Candidate(current_interpreter(), "current")]
    for root in _uv_roots(environ, home):
        for install in _folders(root):
            found += _installed(install / "install", "uv") or _installed(install, "uv")
    pyenv = Path(environ.get("PYENV_ROOT") or home / ".pyenv")
    for versions in (pyenv / "versions", pyenv / "pyenv-win" / "versions"):
        for install in _folders(versions):
            found += _installed(install, "pyenv")
    for root in _conda_roots(environ, home):
        for install in (root, *_folders(root / "envs")):
            found += _installed(install, "conda")
    warnings: list[str] = []
    for text in environ.get("PATH", "").split(os.pathsep):
        folder = Path(text)
        if not folder.is_absolute() or folder.name == "WindowsApps":
            continue  # a relative entry would find what the working directory holds; WindowsApps opens the store
        if folder.name == "shims":
            shims = _shims(folder, environ)
            found += shims.found
            warnings += shims.warnings
        else:
            found += [Candidate(path, "PATH") for path in _executables(folder)]
    if sys.platform == "win32":
        try:
            found += registry_candidates(environ, cache)
        except OSError as error:
            warnings.append(f"the registry's interpreters cannot be listed: {error}")
    return Candidates(
        found=tuple(sorted(set(found), key=lambda one: (str(one.path), one.source))),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def current_interpreter() -> Path:
    """The interpreter that runs us; of a virtual environment, its base."""
    return Path(getattr(sys, "_base_executable", "") or sys.executable)


def registry_candidates(environ: Mapping[str, str], cache: Path | None) -> list[Candidate]:
    """What PEP 514 registers on Windows, through python-discovery, which starts each once and remembers it."""
    from python_discovery import DiskCache, iter_interpreters  # only Windows needs it

    hidden = {name: value for name, value in environ.items() if name != "PATH" and not name.startswith(("UV_", "XDG_"))}
    hidden |= {"PATH": "", "UV_PYTHON_INSTALL_DIR": os.devnull}  # those two are listed above, without starting any
    known = iter_interpreters(env=hidden, cache=DiskCache(cache) if cache else None)
    return [Candidate(Path(one.system_executable or one.executable), "registry") for one in known]


def base_of(path: Path) -> Path:
    """Follow symlinks, and a virtual environment to what it was made from; never raises, a dead end is where it stops."""
    for _ in range(8):  # an environment made from an environment, linked to
        try:
            step = _made_from(path) or path.resolve()
        except (OSError, RuntimeError):  # a link to itself
            break
        if step == path:
            break
        path = step
    return path


def _made_from(path: Path) -> Path | None:
    """The base that ``pyvenv.cfg`` names for an executable; None when there is none, or it names nothing that exists."""
    for file in (path.parent / "pyvenv.cfg", path.parent.parent / "pyvenv.cfg"):
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        settings = {key.strip().lower(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
        names = [settings.get("base-executable", ""), settings.get("executable", "")]
        names += [str(Path(settings["home"]) / path.name)] if settings.get("home") else []
        return next((Path(name) for name in names if name and Path(name) != path and Path(name).is_file()), None)
    return None


def _executables(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return []
    paths = [folder / name for name in sorted(names) if sys.platform != "win32" or name.lower().endswith(".exe")]
    return [path for path in paths if path.is_symlink() or (path.is_file() and os.access(path, os.X_OK))]


def _installed(install: Path, source: str) -> list[Candidate]:
    """The interpreters of one installation: in ``bin``, or on Windows at its top."""
    return [Candidate(path, source) for folder in (install / "bin", install) for path in _executables(folder)]


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(entry for entry in root.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    except OSError:
        return []


def _uv_roots(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    if configured := environ.get("UV_PYTHON_INSTALL_DIR"):
        yield Path(configured)
    elif sys.platform == "win32":
        yield Path(environ.get("APPDATA") or home / "AppData" / "Roaming") / "uv" / "data" / "python"
        yield Path(environ.get("APPDATA") or home / "AppData" / "Roaming") / "uv" / "python"
    else:
        yield Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "uv" / "python"


def _conda_roots(environ: Mapping[str, str], home: Path) -> list[Path]:
    roots = [Path(environ[name]) for name in ("CONDA_PREFIX", "MAMBA_ROOT_PREFIX") if environ.get(name)]
    try:
        listed = (home / ".conda" / "environments.txt").read_text(encoding="utf-8", errors="replace")
        roots += [Path(line.strip()) for line in listed.splitlines() if line.strip()]
    except OSError:
        pass
    roots += [home / name for name in _CONDA_FOLDERS]
    if sys.platform != "win32":
        roots += [Path(name) for name in _CONDA_SYSTEM]
    return list(dict.fromkeys(roots))


def _shims(folder: Path, environ: Mapping[str, str]) -> Candidates:
    """Resolve the shims of pyenv, asdf or mise to what they would start, without starting them."""
    root = folder.parent
    versions = root / "versions" if (root / "versions").is_dir() else root / "installs" / "python"
    manager = "pyenv" if versions.name == "versions" else root.name.lstrip(".")
    installs = _folders(versions)
    found = [each for install in installs for each in _installed(install, "pyenv" if manager == "pyenv" else "PATH")]
    selected, chooser = _selected(root, environ) if manager == "pyenv" else ([], "")
    held = {candidate.path.name for candidate in found}
    warnings = [
        f"{manager}: version {version} is not installed (chosen by {chooser}); its shims cannot start"
        for version in selected
        if version != "system" and not (versions / version).exists()
    ]
    for shim in _executables(folder):
        paths = [versions / version / "bin" / shim.name for version in selected]
        behind = next((path for path in paths if path.exists()), None)
        if behind is not None:
            found.append(Candidate(shim, "PATH", behind))
        elif shim.name not in held:
            warnings.append(f"{shim} is a shim of {manager}, and no installed version has {shim.name}")
    return Candidates(found=tuple(found), warnings=tuple(warnings))


def _selected(root: Path, environ: Mapping[str, str]) -> tuple[list[str], str]:
    """The versions that pyenv's shims would start, in order, and what chose them. A project's own file is not looked at:
    which shim works there says nothing about what is installed."""
    if chosen := environ.get("PYENV_VERSION"):
        return [version for version in chosen.split(":") if version], "PYENV_VERSION"
    try:
        text = (root / "version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return [], ""
    return [word for line in text.splitlines() for word in line.partition("#")[0].split()], str(root / "version")
