"""What the documents say is run as written."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import typer.core

from meta_text.cli.app import app
from meta_text.config import load_recipe

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_readme_python_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})


def test_walk_through_runs_in_order() -> None:
    text = (ROOT / "docs" / "classify_new_categories.md").read_text("utf-8")
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(code, "classify_new_categories.md", "exec"), names)


def test_readme_commands_exist() -> None:
    """Every `meta-text` line names a real subcommand, real options and files that are there."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    lines = [line for line in README.splitlines() if line.startswith(".venv/bin/meta-text ")]
    assert lines
    for line in lines:
        words = shlex.split(line[line.index("meta-text ") :], comments=True)[1:]
        command = group.commands[words[0]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
        assert all((ROOT / word).exists() for word in words if word.startswith("recipes/")), line


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_load_and_say_how_to_run_them(path: Path) -> None:
    load_recipe(path)
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 45
    assert f"recipes/{path.name}" in text.split("[corpus]")[0]
