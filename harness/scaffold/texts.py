"""The texts of a new project, each as it is written; ``{...}`` marks what depends on the project."""

from __future__ import annotations

SCHEMA_LINE = "# yaml-language-server: $schema={schema}\n"

MATRIX = """\
#
# The cells in which a program must say the same bytes. A cell is a platform and an interpreter.
# `harness doctor` tells which of them answer here, `harness plan --explain` what this file expands to.

platforms:
  # This computer's own platform, whatever it is.
  local: {tier: 1}
  # Others are served by other machines, and are shown as not verified until they are. A platform is os-arch, or
  # linux-libc-arch:
  # linux-glibc-x86_64: {tier: 1}
  # linux-glibc-aarch64: {tier: 1}
  # linux-musl-x86_64: {tier: 1}
  # macos-arm64: {tier: 1}
  # windows-amd64: {tier: 1}
  # linux-glibc-s390x: {tier: advisory, timeout-scale: 10, because: "big endian, emulated"}

# Write versions in quotes: 3.10 without them is a number. Free-threaded builds are "3.13t", PyPy is pp311.
# Tier 1 gates a merge, tier 2 a nightly run, tier 3 is tolerated, advisory is only shown.
pythons:
{pythons}

# Cells that cannot be, each with its reason for the next reader:
# exclude:
#   - cells: "windows-*/cp313t"
#     because: "a dependency has no wheel for it"

# Folders of fixtures: a folder each (main.py beside expected.stdout, or expect.txt), or flat pairs (name.py beside
# name.out). `harness bless` writes what a program prints as its golden.
corpora:
{corpora}
"""

HELLO = """\
# Says the same bytes in every cell; `harness run` compares them with expected.stdout.
squares = {number: number**2 for number in range(1, 6)}
print("hello from every cell:", squares)
print("and to the last digit:", 0.1 + 0.2)
"""

HELLO_SAYS = """\
hello from every cell: {1: 1, 2: 4, 3: 9, 4: 16, 5: 25}
and to the last digit: 0.30000000000000004
"""

HOSTS = """\
# Hosts that serve cells over SSH; none yet. A host is named as in `ssh NAME`: its address, user, port, key and jump
# hosts stay in ~/.ssh/config, and its host key in known_hosts. No secret is ever written here.
hosts: []
"""

REPORTS_IGNORE = """\
# What was rendered is for reading, not for keeping.
*
!.gitignore
"""

ATTRIBUTES_INTRO = "# Byte-exact: what a program is, is given, or must say.\n# Git must not touch line ends there.\n"

TOX_INTRO = """\
# `tox -e cross` runs the matrix.
[tox]
requires = tox>=4.20
env_list = cross

"""

TOX_CROSS = """\
[testenv:cross]
description = run every fixture in every cell (arguments go to harness run)
skip_install = true
# the `harness` that is on PATH; or name its distribution in deps
allowlist_externals = harness
pass_env =
    CI
    DOCKER_*
    HARNESS_*
    HOME
    PYENV_ROOT
    UV_*
commands = harness run {posargs}
"""

TOX_TOML = """\
[{table}]
description = "run every fixture in every cell (arguments go to harness run)"
skip_install = true
# the `harness` that is on PATH; or name its distribution in deps
allowlist_externals = ["harness"]
pass_env = ["CI", "DOCKER_*", "HARNESS_*", "HOME", "PYENV_ROOT", "UV_*"]
commands = [
    ["harness", "run", { replace = "posargs", default = [], extend = true }],
]
"""

SETUPTOOLS_WHY = (
    "# With fixtures, runners and reports beside it, setuptools no longer guesses\n# which folder is the package.\n"
)

CONFTEST_INTRO = '"""Settings of pytest."""\n\n'

CONFTEST = """\
# Programs that are compared; whatever their names, no modules of tests.
# Each job of the matrix is a test too: the plugin of harness sees to that.
collect_ignore = {paths}
"""
