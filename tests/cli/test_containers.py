"""Containers from the command line: run in them, pinned, built, and nothing left."""

from __future__ import annotations

import json

from tests.cli.conftest import Project
from tests.containers import GLIBC, MUSL, forget, needs

CELLS = f"""
cells:
  - platform: linux-glibc-x86_64
    python: "3.13"
    runners: [{{docker: {{image: {GLIBC}, python: python3}}}}]
  - platform: linux-musl-x86_64
    python: "3.13"
    runners: [{{docker: {{image: {MUSL}, python: python3}}}}]
"""


@needs(GLIBC, MUSL)
def test_a_fixture_runs_in_two_containers_and_they_differ_where_their_libcs_do(project: Project) -> None:
    project.matrix(CELLS)
    project.fixture("same", "print('yes')")
    project.fixture("year", "import time; print(time.strftime('%Y', time.gmtime(-2**35)))", "881\n")
    done = project("run", "--json")
    assert done.status == 1
    assert {(job["fixture"], job["cell"]): job["verdict"]["kind"] for job in done.report["jobs"]} == {
        ("fixtures/same", "linux-glibc-x86_64/cp313"): "agree",
        ("fixtures/same", "linux-musl-x86_64/cp313"): "agree",
        ("fixtures/year", "linux-glibc-x86_64/cp313"): "agree",
        ("fixtures/year", "linux-musl-x86_64/cp313"): "diverged",
    }
    assert {cell["isolation"] for cell in done.report["cells"]} == {"container"}


@needs(GLIBC, MUSL)
def test_a_changed_image_is_refused_with_status_5_until_it_is_locked_again(project: Project) -> None:
    project.matrix(CELLS)
    project.fixture("same", "print('yes')")
    done = project("lock")
    assert (done.status, done.last) == (0, "2 images in runners/images.lock, 2 new or changed")
    assert project("lock").last == "2 images in runners/images.lock, 0 new or changed"
    assert project("run").status == 0
    path = project.folder / "runners" / "images.lock"
    lock = json.loads(path.read_text())
    lock["images"][0]["id"] = "sha256:" + "0" * 64
    path.write_text(json.dumps(lock))
    refused = project("run", "--json")
    assert refused.status == 5
    (cell,) = (one for one in refused.report["cells"] if one["cell"].startswith("linux-glibc"))
    assert cell["verdict"]["reason"] == "image-changed"
    assert project("doctor").status == 5
    assert project("lock").last == "2 images in runners/images.lock, 1 new or changed"
    assert project("run").status == 0


@needs(GLIBC)
def test_a_recipe_is_built_by_name_and_what_is_wrong_with_it_is_said(project: Project) -> None:
    recipe = project.folder / "runners" / "images" / "linux-glibc-x86_64"
    recipe.mkdir(parents=True)
    (recipe / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    project.matrix('platforms: [linux-glibc-x86_64]\npythons: ["3.13"]\ninclude: [{cells: "*", runners: [docker]}]\n')
    project.fixture("same", "print('yes')")
    missing = project("run", "--require", "tier-1")
    assert missing.status == 3
    assert "harness images build linux-glibc-x86_64" in missing.out
    assert project("images", "build", "linux").status == 2
    assert project("images", "build", "--build-arg", "BASE").status == 2
    assert project("images", "build").status == 3
    try:
        assert project("images", "build", "--build-arg", f"BASE={GLIBC}", "linux-glibc-x86_64").status == 0
        assert project("run", "--require", "tier-1").status == 0
    finally:
        forget("harness/linux-glibc-x86_64")


def test_where_nothing_was_left_behind_it_is_said(project: Project) -> None:
    done = project("gc", env={"DOCKER_HOST": "unix:///nowhere.sock"})
    assert (done.status, done.out) == (0, "nothing was left behind\n")
    (project.folder / "matrix.yaml").unlink()
    assert project("lock").status == 2
