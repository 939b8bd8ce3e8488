"""The pages that people follow are followed: each block in its order, in an empty folder."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_tables import run

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(python|text|)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def follow(page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], after: str = "") -> None:
    """Run the commands and programs of a page from the heading `after` on; a block of text is what was printed last."""
    text = (DOCS / page).read_text("utf-8")
    names: dict[str, Any] = {}
    printed = ""
    for language, block in BLOCK.findall(text[text.index(after) :]):
        if language == "text":
            assert printed == block
            continue
        if language == "python":
            exec(compile(block, page, "exec"), names)
        else:
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("meta-text "):
                    assert run(monkeypatch, *shlex.split(line)[1:]) == 0, line
                else:
                    subprocess.run(["sh", "-c", line], check=True)
        printed = capsys.readouterr().out


def cells(page: str, heading: str) -> list[list[str]]:
    """The rows of the table below the line `heading`."""
    (table,) = re.findall(
        rf"^\| {re.escape(heading)} \|\n\|[- |]+\n((?:\|.*\n)+)", (DOCS / page).read_text("utf-8"), re.M
    )
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]


@pytest.mark.long
def test_quick_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    follow("quick_start.md", monkeypatch, capsys, after="## Label three texts")
    rows = [line.split(",") for line in Path("answers.csv").read_text("utf-8").splitlines()]
    assert rows[0] == ["text", "label", "probability"]
    assert [row[:2] for row in rows[1:]] == cells("quick_start.md", "text | label")
