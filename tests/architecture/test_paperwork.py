"""What is written about the house is true of it."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import pytest

from tests.architecture.house import ROOT


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(requirements: Iterable[str | dict[str, str]]) -> Iterator[str]:
    for requirement in requirements:
        # The rest are tables that include another group.
        if isinstance(requirement, str):
            yield re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]


def run_time_dependencies() -> set[str]:
    extras = project()["project"]["optional-dependencies"].values()
    return set(names([*project()["project"]["dependencies"], *(r for x in extras for r in x)]))


def development_dependencies() -> set[str]:
    groups = project()["dependency-groups"].values()
    return set(names(requirement for group in groups for requirement in group))


def described(heading: str) -> dict[str, str]:
    """Read one table of dependencies.md: each package with its licence."""
    text = (ROOT / "docs/design/dependencies.md").read_text()
    section = text.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if "|" in line]
    return {row[0]: row[-1] for row in rows[2:]}


def test_every_dependency_has_a_reason_and_a_licence() -> None:
    assert set(described("At run time")) == run_time_dependencies()
    assert set(described("For building and testing only")) == development_dependencies()


def test_nothing_under_the_gpl_is_a_run_time_dependency() -> None:
    licences = described("At run time")
    assert all(licences.values())
    assert [name for name, licence in licences.items() if re.search(r"\bA?GPL", licence)] == []


@pytest.mark.parametrize("file", ["base", "server", "dev", "build"])
def test_every_pinned_package_carries_hashes(file: str) -> None:
    text = (ROOT / f"requirements/{file}.txt").read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert pins
    assert [pin[:60] for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == []


def pinned(file: str) -> dict[str, str]:
    text = (ROOT / f"requirements/{file}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==(\S+)", text, re.MULTILINE))


def test_every_dependency_is_pinned_where_it_is_installed() -> None:
    base = set(names(project()["project"]["dependencies"]))
    assert base <= set(pinned("base"))
    assert run_time_dependencies() <= set(pinned("server"))
    assert run_time_dependencies() | development_dependencies() <= set(pinned("dev"))


def test_one_version_of_a_package_is_pinned_everywhere() -> None:
    everything = pinned("dev")
    for file in ("base", "server", "build"):
        assert pinned(file).items() <= everything.items()


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_is_described_in_the_readme() -> None:
    assert {"demo", "serve", "test", "lint", "bench", "campaign", "conformance"} <= targets()
    described = set(re.findall(r"`make ([a-z-]+)`", (ROOT / "README.md").read_text()))
    assert described == targets()


def test_every_set_of_commands_that_ci_runs_is_executable() -> None:
    assert (ROOT / ".ci/run").stat().st_mode & stat.S_IXUSR


def test_the_container_image_gets_everything_that_the_wheel_is_made_of() -> None:
    wheel = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    wanted = {package.split("/")[0] for package in wheel}
    copied = re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    let_in = re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(copied) == wanted
    assert wanted < set(let_in)
