"""`meta-text benchmark` from the outside: what it prints, what it writes, what it refuses."""

import csv
import json
from pathlib import Path

import pytest
from encoder_folders import plain_folder
from small_mixture import base_folder
from test_own_data import sentences
from test_tables import run

from meta_text import FewShotClassifier


@pytest.fixture
def texts_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of labelled texts; the default model is a small one."""
    default = base_folder(tmp_path / "model", [str(plain_folder(tmp_path / "small"))])
    monkeypatch.setattr("meta_text.saving.loading.DEFAULT", Path(default))
    texts, labels = sentences(["card", "bank"], 20)
    lines = [f"{text},{label}" for text, label in zip([*texts, texts[0].upper()], [*labels, labels[0]], strict=True)]
    (tmp_path / "mine.csv").write_text("\n".join(["Text;Label", *lines]).replace(",", ";") + "\n")
    monkeypatch.chdir(tmp_path)
    return "mine.csv"


def test_prints_a_table_for_each_k_and_says_which_to_take(
    texts_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, "benchmark", texts_file, "--k", "3,50,all", "--draws", "4") == 0
    said = capsys.readouterr()
    lines = [line.rstrip() for line in said.out.splitlines()]
    titles = [line for line in lines if line.startswith("K = ")]
    assert titles == [
        "K = 3: 6 texts of 2 classes learned from, 40 asked, 4 draws",
        "K = all: 30 texts of 2 classes learned from, 40 asked, 4 draws",
    ]
    for name in (
        "meta_text",
        "logistic regression, MiniLM",
        "logistic regression, TF-IDF",
        "nearest neighbours, MiniLM",
    ):
        assert sum(line.startswith(f"{name} ") for line in lines) == 2, name
    assert sum(line.startswith(("Take ", "Not decided: ")) for line in lines) == 2
    assert lines[-1].startswith("Difference: from meta_text on the same draws, with its 95 % interval.")
    told = said.err.splitlines()
    assert "mine.csv: 41 texts, 2 classes" in told
    assert "1 copy of other texts is left out" in told
    assert "K = 50 is left out: no class has more than 15 texts not asked" in told
    assert (
        "setfit and adaptive-classifier: not installed, so not compared; pip install setfit adaptive-classifier" in told
    )


def test_writes_all_rows(texts_file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    columns = ["k", "method", "accuracy", "f1_macro", "fit_seconds", "seconds_per_1000", "calibration_error"]
    columns += ["difference", "ci95", "metric", "classes", "learned", "asked", "draws"]
    accuracies = []
    for kind in ("json", "csv", "md"):
        out = Path(f"found.{kind}")
        assert run(monkeypatch, "benchmark", texts_file, "--k", "2", "--draws", "4", "--out", str(out)) == 0
        sentence = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(("Take", "Not")))
        if kind == "json":
            found = json.loads(out.read_text())
            # seconds differ from run to run, and so may the end of a sentence
            assert found["sentences"] == {"2": sentence}
            assert found["notes"][0] == "1 copy of other texts is left out"
            rows = found["rows"]
            assert rows[0]["difference"] is None and rows[1]["ci95"] >= 0
        elif kind == "csv":
            with out.open(newline="") as file:
                rows = list(csv.DictReader(file))
        else:
            table, said = out.read_text().split("\n\n")
            cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()]
            assert cells[1] == ["---"] * len(columns)
            rows = [dict(zip(cells[0], row, strict=False)) for row in cells[2:]]
            assert said == f"- K = 2: {sentence}\n"
        assert list(rows[0])[:7] == columns[:7] and list(rows[1]) == columns
        accuracies.append([round(float(row["accuracy"]), 4) for row in rows])
    assert accuracies[0] == accuracies[1] == accuracies[2]
    assert len(accuracies[0]) == 4
    assert not list(Path().glob(".*partial"))


MISTAKES = {
    "k is 0": (["mine.csv", "--k", "0"], "k has '0'; whole numbers from 1 on, or all, are needed, such as 5,10,all"),
    "k is abc": (["mine.csv", "--k", "abc"], "k has 'abc'; whole numbers from 1 on, or all, are needed"),
    "no file": (["mein.csv"], "mein.csv does not exist; a file of labelled texts is needed"),
    "folder": (["model"], "model is a folder; a file of labelled texts is needed"),
    "no column": (["mine.csv", "--label", "intent"], "no column 'intent' (found: Text, Label)"),
    "kind": (
        ["mine.csv", "--out", "found.txt"],
        "--out found.txt: the kind of file is not known; end its name in .json",
    ),
    "nowhere": (["mine.csv", "--out", "no/found.md"], "no/found.md: the folder no does not exist; create it first"),
    "one draw": (["mine.csv", "--draws", "1"], "--draws"),
    "one class": (["one.csv"], "the only label is 'x'; texts of two classes or more are needed to compare"),
    "single texts": (["single.csv"], "0 classes have two different texts; two classes that have them are needed"),
    "missing label": (["gap.csv"], "gap.csv, row 2: label is empty; give every text a label"),
    "shots": (["mine.csv", "--k", "40"], "k asks for 40; take a smaller k, or all"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_met_before_anything_is_read(
    words: list[str],
    message: str,
    texts_file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("one.csv").write_text("text,label\na,x\nb,x\n")
    Path("single.csv").write_text("text,label\na,x\nb,y\n")
    Path("gap.csv").write_text("text,label\na,x\nb,\n")
    monkeypatch.setattr(FewShotClassifier, "fit", lambda *_, **__: pytest.fail("comparing was begun"))
    assert run(monkeypatch, "benchmark", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
