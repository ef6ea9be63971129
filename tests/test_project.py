"""The project's frame holds together: what one file says, no other contradicts.

README, changelog, metadata, workflow and tool settings are compared with each other and with the model.
"""

from __future__ import annotations

import ast
import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import harness
from harness.document import read
from harness.fixtures.schema import FixtureFile
from harness.matrix import json_schema, load_matrix
from harness.model.platform import Platform
from harness.model.report import WORDS
from harness.model.verdict import Kind
from harness.runners.inventory import read_hosts

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
FIRST_SCREEN = 40

# Where an import is not named as its distribution is.
DISTRIBUTIONS = {"_pytest": "pytest", "pydantic_core": "pydantic", "xdist": "pytest-xdist", "yaml": "pyyaml"}


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def git(*arguments: str, stdin: str = "") -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, input=stdin, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        pytest.skip(f"not a git checkout: {done.stderr.strip()}")
    return done.stdout


@cache
def tracked() -> dict[str, bytes]:
    """The files of the repository, also those that are about to be added, with their bytes."""
    names = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return {name: (ROOT / name).read_bytes() for name in names if (ROOT / name).is_file()}


def test_the_schema_beside_the_matrix_is_the_one_that_harness_schema_prints() -> None:
    """As in every project that `harness init` began; `harness schema > matrix.schema.json` renews it."""
    first = (ROOT / "matrix.yaml").read_text("utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=matrix.schema.json"
    assert json.loads((ROOT / "matrix.schema.json").read_text("utf-8")) == json_schema()


def test_the_pictures_of_the_readme_are_there_are_told_in_words_and_load_nothing() -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", README)
    assert pictures
    for words, path in pictures:
        assert len(words.split()) > 10, path
        text = (ROOT / path).read_text("utf-8")
        addresses = re.findall(r"https?:[^\"') ]*", text)
        assert set(addresses) == {"http://www.w3.org/2000/svg"}, path
        names = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(text).iter()}
        assert names <= {"svg", "title", "style", "defs", "clipPath", "rect", "g", "text", "circle"}, path


def section(title: str) -> str:
    """The text of one section of the README."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no section {title!r}"
    return found[1]


def first_column(text: str) -> list[str]:
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def test_two_commands_on_the_first_screen_do_everything() -> None:
    lines = README.splitlines()
    commands = [line for line in lines if line.startswith("python3 -m venv ")]
    assert [command.split()[-2:] for command in commands] == [["-e", "cross"], ["-e", "py"]]
    assert lines.index(commands[-1]) < FIRST_SCREEN


def test_continuous_integration_runs_the_two_commands_of_the_readme() -> None:
    assert "grep '^python3 -m venv ' README.md |" in (ROOT / ".ci" / "run").read_text("utf-8")


def registry_hosts() -> set[str]:
    """Hosts of package registries, put together here so that this file does not name them; and this machine's own."""
    hosts = {"py" + "pi.org", "python" + "hosted.org", "registry." + "npmjs", "deb." + "debian.org", "crates" + ".io"}
    urls = [value for name, value in os.environ.items() if re.fullmatch(r"(PIP|UV)_.*(INDEX|URL|LINKS).*", name)]
    files = ("/etc/pip.conf", "~/.config/pip/pip.conf", "~/.pip/pip.conf")
    settings = configparser.ConfigParser(interpolation=None, strict=False)
    settings.read([Path(file).expanduser() for file in files], encoding="utf-8")
    urls += [value for name in settings.sections() for value in settings[name].values()]
    own = {urlsplit(word).hostname or "" for url in urls for word in url.split()}
    return hosts | {host for host in own if "." in host and not host.startswith("127.")}


def test_no_file_names_the_host_of_a_package_registry() -> None:
    hosts = {host.encode() for host in registry_hosts()}
    assert not [name for name, data in tracked().items() if any(host in data.lower() for host in hosts)]


def test_text_files_end_with_a_newline_and_have_no_carriage_returns() -> None:
    attributes = git("check-attr", "-z", "--stdin", "text", stdin="\0".join(tracked())).split("\0")
    exact = {name for name, value in zip(attributes[::3], attributes[2::3], strict=False) if value == "unset"}
    texts = {name: data for name, data in tracked().items() if name not in exact and data and b"\0" not in data}
    assert not [name for name, data in texts.items() if not data.endswith(b"\n") or b"\r" in data]


def test_what_a_program_prints_is_never_converted_by_git() -> None:
    names = ["fixtures/x/expected.stdout", "fixtures/x/main.py", "tests/broken/x", "tests/store/exact/x"]
    assert git("check-attr", "-z", "text", *names).split("\0")[2::3] == ["unset"] * len(names)


def test_the_changelog_tells_of_this_version_first() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    versions = [Version(heading) for heading in headings if heading != "Unreleased"]
    assert versions[0] == Version(harness.__version__)
    assert versions == sorted(versions, reverse=True)


def test_every_place_names_the_same_pythons() -> None:
    prefix = "Programming Language :: Python :: "
    classified = [text.removeprefix(prefix) for text in project()["project"]["classifiers"] if text.startswith(prefix)]
    series = [text for text in classified if re.fullmatch(r"\d\.\d+", text)]
    jobs = yaml.safe_load(WORKFLOW.read_text("utf-8"))["jobs"]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == series
    assert SpecifierSet(project()["project"]["requires-python"]) == SpecifierSet(f">={series[0]}")
    assert project()["tool"]["mypy"]["python_version"] == series[0]
    assert project()["tool"]["ruff"]["target-version"] == f"py{series[0].replace('.', '')}"


def test_actions_are_pinned_by_commit_and_named_by_tag() -> None:
    uses = re.findall(r"uses: (.*)", WORKFLOW.read_text("utf-8"))
    assert uses
    assert not [use for use in uses if not re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+(\.\d+)*", use)]


def test_every_import_is_a_declared_dependency() -> None:
    metadata = project()["project"]
    extras = metadata["optional-dependencies"]["wheels"]
    declared = {canonicalize_name(Requirement(text).name) for text in (*metadata["dependencies"], *extras)}
    missing = set()
    for path in (ROOT / "harness").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            tops = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"harness"}
            wanted = {canonicalize_name(DISTRIBUTIONS.get(top, top)) for top in tops}
            missing |= {f"{path.relative_to(ROOT)}: {name}" for name in wanted - declared}
    assert not missing


def test_the_readme_lists_the_verdicts_in_their_order() -> None:
    assert first_column(section("Verdicts")) == [kind.value for kind in Kind]


def test_the_readme_lists_the_exit_statuses() -> None:
    assert sorted(map(int, first_column(section("Exit status")))) == sorted(WORDS)


def test_the_readme_lists_the_platforms_of_the_matrix_with_their_tiers() -> None:
    rows = re.findall(r"^\| `(\S+-\S+)` \| (\w+) \|", section("matrix.yaml"), re.MULTILINE)
    written = yaml.safe_load((ROOT / "matrix.yaml").read_text("utf-8"))["platforms"]
    assert rows == [(platform, str(settings["tier"])) for platform, settings in written.items()]


def test_the_examples_of_the_readme_are_valid(tmp_path: Path) -> None:
    matrix, *others, fixture = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "fixtures").mkdir()
    (tmp_path / "matrix.yaml").write_text(matrix, "utf-8")
    (tmp_path / "fixture.yaml").write_text(fixture, "utf-8")
    cells = load_matrix(tmp_path / "matrix.yaml", local=Platform.parse("linux-glibc-x86_64")).cells
    assert len(cells) == 8
    hosts = [other for other in others if other.startswith("hosts:")]
    assert hosts
    (tmp_path / "runners").mkdir()
    for other in hosts:
        (tmp_path / "runners" / "hosts.yaml").write_text(other, "utf-8")
        assert read_hosts(tmp_path)
    for other in (other for other in others if other not in hosts):
        (tmp_path / "matrix.yaml").write_text(other, "utf-8")
        assert load_matrix(tmp_path / "matrix.yaml", local=Platform.parse("linux-glibc-x86_64")).cells
    assert read(tmp_path / "fixture.yaml").validate(FixtureFile).goldens


def help_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "harness", *command, "--help"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_of_the_readme_exist() -> None:
    commands = [row.split()[1] for row in first_column(section("Commands")) if row.startswith("harness ")]
    assert commands
    overview = help_of()
    assert not [command for command in commands if not re.search(rf"^\s+{command}\b", overview, re.MULTILINE)]


def test_the_options_of_the_readme_exist() -> None:
    rows = re.findall(r"^\| (`-.*?) \|", section("Commands"), re.MULTILINE)
    options = {option for row in rows for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row)}
    assert options
    shown = help_of() + help_of("run")
    assert not [option for option in sorted(options) if not re.search(rf"(?<![\w-]){option}\b", shown)]
