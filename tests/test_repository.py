"""The repository's own files say the same as what they describe."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
MAKE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^(\w+):", MAKE, flags=re.MULTILINE))


def test_ci_calls_targets_of_the_makefile_and_no_command_of_its_own() -> None:
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    (job,) = flow["jobs"].values()
    assert set(job["strategy"]["matrix"]["target"]) == {"test", "test_long", "test_lowest", "lint", "docs", "wheel"}
    assert [step["run"] for step in job["steps"] if "run" in step] == ["make ${{ matrix.target }}"]
    called = re.findall(r"^make (\w+)$", (ROOT / ".ci" / "run").read_text("utf-8"), flags=re.MULTILINE)
    assert called == ["test", "test_long", "lint", "docs", "wheel"]  # the lowest set takes another ten minutes
    assert set(called) <= TARGETS


def test_hooks_call_the_tools_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", MAKE, flags=re.MULTILINE)
    tools = [line.strip().removeprefix("$(BIN)/").split()[0] for line in recipe.splitlines()]
    assert {hook["entry"].removeprefix(".venv/bin/").split()[0] for hook in hooks} <= set(tools)


def test_every_phony_target_exists() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKE, flags=re.MULTILINE)
    assert set(phony.split()) == TARGETS


def test_citation_names_the_package_and_its_licence() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["license"] == "Apache-2.0"
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'Source = "{citation["repository-code"]}"' in project
