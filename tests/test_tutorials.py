"""The pages that people follow are followed: each block in its order, in an empty folder."""

import re
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import LoopbackHub
from test_embedding import tiny_bert
from test_tables import run

from meta_text import FewShotClassifier

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def follow(
    page: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    after: str = "",
    changed: Mapping[str, str] | None = None,
) -> None:
    """Run the commands and programs of a page from the heading `after` on; a block of text is what was printed last.

    A block of another language (sh) is for the reader alone.

    changed: words of the page that are others here, such as the owner of a repository.
    """
    text = (DOCS / page).read_text("utf-8")
    names: dict[str, Any] = {}
    printed = ""
    for old, new in (changed or {}).items():
        assert old in text
        text = text.replace(old, new)
    for language, block in BLOCK.findall(text[text.index(after) :]):
        if language == "text":
            assert printed == block
            continue
        if language == "python":
            exec(compile(block, page, "exec"), names)
        elif not language:
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
    # docs/limits.md says so of this classifier
    ((_, label, probability),) = FewShotClassifier.from_pretrained("mine").answers(
        ["what is the capital of France"], 0.05
    )
    assert (label, round(probability, 1)) == ("delivery", 0.9)


@pytest.mark.long
def test_add_a_category(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    follow("add_a_category.md", monkeypatch, capsys)


@pytest.mark.long
def test_publish(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resolve = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", resolve)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    monkeypatch.chdir(tmp_path)
    follow("publish.md", monkeypatch, capsys, changed={"you/": "tester/"})
    named = {name for files, _ in cells("publish.md", "file | what it is") for name in re.findall(r"`(\S+)`", files)}
    published = {re.sub(r"/.*", "/", path) for path in hub.files("tester/support-desk")}
    assert published - {".gitattributes"} == named
    assert len(FewShotClassifier.from_pretrained("tester/support-desk", revision="with-texts").classes_) == 3


@pytest.mark.long
def test_bring_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With an encoder of random weights, and a training that is cut short."""
    tiny_bert(tmp_path / "models" / "my-encoder")
    monkeypatch.chdir(tmp_path)
    short = "--set train.outer_steps=1 --set train.validation_episodes=2 --set evaluate.episodes=2 --set embedding.kind=learned"
    changed = {
        "meta-text train mine.toml": f"meta-text train mine.toml {short}",
        "--k-shot 5": "--k-shot 5 --episodes 2",
    }
    follow("bring_your_own.md", monkeypatch, capsys, changed=changed)
    assert Path("result.json").exists()
