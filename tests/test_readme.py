"""What the documents say is run as written."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer
import typer.core
from test_tables import run

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


@pytest.mark.parametrize("page", ["classify_new_categories.md", "compare_on_your_data.md", "other_doors.md"])
def test_walk_through_runs_in_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / page).read_text("utf-8")
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(code, page, "exec"), names)


def test_readme_commands_exist() -> None:
    """Every `meta-text` line names a real subcommand, real options and recipes that come with the package."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    lines = [line for line in README.splitlines() if line.startswith("meta-text ")]
    assert len(lines) >= 8
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        command = group.commands[words.pop(0)]
        while isinstance(command, typer.core.TyperGroup):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line
        if command.name in ("train", "compare"):
            assert (ROOT / "recipes" / f"{words[0]}.toml").exists(), line


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_load_and_say_how_to_run_them(path: Path) -> None:
    load_recipe(path)
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 45
    assert f"recipes/{path.name}" in text.split("[corpus]")[0]


def test_readme_commands_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block for files, but for `push`, in a folder where nothing else is."""
    block = next(block for block in README.split("```")[1::2] if "meta-text fit" in block).replace("\\\n", " ").strip()
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        if line.startswith("printf"):
            subprocess.run(["sh", "-c", line], check=True)
        elif " push " not in line:
            assert run(monkeypatch, *shlex.split(line)[1:]) == 0, line
    assert (tmp_path / "answers.csv").read_text().splitlines()[0] == "text,label,probability"
    assert "please return my payment,refund," in (tmp_path / "answers.csv").read_text()
    assert (tmp_path / "bad_rows.jsonl").read_text() == ""
