"""What a terminal shows: help, usage errors in one line, UTF-8 whatever the locale, paths as people type them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer.main
from test_classifier import LABELS, MODEL, TEXTS
from test_tables import run

import meta_text
from meta_text import FewShotClassifier
from meta_text.cli import options
from meta_text.cli.app import app, recipe_commands

PATHS = {"FILE", "FILE.onnx", "FOLDER", "MODEL", "RECIPE", "CORPUS", "SPLIT", "TARGET"}


def commands(group: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command of the tree by its words."""
    group = group or typer.main.get_command(app)
    for word, command in group.commands.items():
        words = f"{name} {word}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, words)
        else:
            yield words, command


COMMANDS = dict(commands())


def squeezed(text: str) -> str:
    """Without white space: lines break anywhere, after hyphens too."""
    return re.sub(r"\s+", "", text)


def test_every_command_is_looked_at() -> None:
    assert set(COMMANDS) >= {"fit", "predict", "export", "push", "train", "evaluate", "compare", "demo"}
    assert set(COMMANDS) >= {"recipes list", "recipes copy"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text_that_reaches_the_terminal(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, *name.split(), "--help") == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert squeezed(COMMANDS[name].help.split("\n\n")[0]) in squeezed(shown)
    for parameter in COMMANDS[name].params:
        assert parameter.help, f"{name} {parameter.name} has no help text"
        assert squeezed(parameter.help) in squeezed(shown), f"{name}: the help of {parameter.name} is changed"


def test_words_in_brackets_stay_in_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "compare", "--help")
    assert squeezed("default: [compare] learners") in squeezed(capsys.readouterr().out)


def test_no_command_is_a_question_for_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "Usage: meta-text [OPTIONS] COMMAND" in shown
    assert "..." not in shown.replace("COMMAND [ARGS]...", "")  # each command's line is whole
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == meta_text.__version__


def declared() -> Iterator[tuple[str, Any, Any]]:
    """Every parameter as its command declares it: where, its type, and what typer is told."""
    functions = [c.callback for t in (app, recipe_commands) for c in t.registered_commands if c.callback]
    for function in functions:
        for name, hint in get_type_hints(function, include_extras=True).items():
            if name != "return":
                yield f"{function.__name__} {name}", get_args(hint)[0], get_args(hint)[1]


def test_every_path_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell leaves `~` alone in `--out=~/model`."""
    monkeypatch.setenv("HOME", "/home/somebody")
    paths = [(where, told) for where, _, told in declared() if told.metavar in PATHS]
    assert len(paths) >= 20
    for where, told in paths:
        assert str(told.parser("~/x [1]")) == "/home/somebody/x [1]", where
    assert options.word("~unknown/x") == "~unknown/x"


def test_no_path_escapes_the_test_above() -> None:
    """What may be a path has one of these metavars; what has none is a flag."""
    others = {told.metavar for _, _, told in declared()} - PATHS - {None}
    assert others == {
        "BRANCH",
        "CHARACTER",
        "COLUMN",
        "DEVICE",
        "EFFORT",
        "ENGINE",
        "HOST",
        "NAME",
        "NAMES",
        "NUMBER",
        "NUMBERS",
        "PART",
        "PORT",
        "PRIOR",
        "RATE",
        "REPOSITORY",
        "SECONDS",
        "SEPARATOR",
        "TOOL",
        "TEXT",
    } | {"TABLE.KEY=VALUE"}
    assert [where for where, kind, told in declared() if told.metavar is None and kind is not bool] == []


def test_home_folder_works_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    FewShotClassifier(MODEL).save_pretrained(home / "bare")
    rows = [f"{text},{label}" for text, label in zip(TEXTS, LABELS, strict=True)]
    (home / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    assert run(monkeypatch, "fit", "~/bare", "~/a.csv", "--out=~/m [1]", "--device", "cpu") == 0
    words = ["--input=~/a.csv", "--output=~/o.csv", "--errors=~/e.jsonl", "--device", "cpu"]
    assert run(monkeypatch, "predict", "~/m [1]", *words) == 0
    assert run(monkeypatch, "recipes", "copy", "intent", "~/new") == 0
    assert {path.name for path in home.iterdir()} == {"bare", "a.csv", "m [1]", "o.csv", "e.jsonl", "new"}
    assert not list(work.iterdir())


def test_output_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    texts = ["ein Glas Rotwein für zwei", "赤ワイン", "Reifen platt"]
    FewShotClassifier(MODEL).fit([*texts, "flat tyre"], ["vin rouge é", "vin rouge é", "車", "車"]).save_pretrained(
        tmp_path / "m"
    )
    command = [sys.executable, "-c", "from meta_text.cli import main; main()", "predict", "m", "--device", "cpu"]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONIOENCODING", "LC_CTYPE")}
    root = str(Path(__file__).parents[1])
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": root}
    answers = []
    for extra in ({}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "1"}):
        answer = subprocess.run([*command, *texts], cwd=tmp_path, env={**environment, **extra}, capture_output=True)
        assert answer.returncode == 0, answer.stderr.decode()
        answers.append(answer.stdout.decode("utf-8"))
    assert answers[0] == answers[1] == answers[2]
    assert [line.split("\t")[0] for line in answers[0].splitlines()] == ["vin rouge é", "vin rouge é", "車"]
    assert [line.split("\t")[2] for line in answers[0].splitlines()] == texts
    refused = subprocess.run([*command[:-3], "für", "x"], cwd=tmp_path, env=environment, capture_output=True)
    assert refused.returncode == 2
    assert "no model at für" in refused.stderr.decode("utf-8")
