"""`fit` and `predict` with several labels a text: files in and out, and mistakes in words."""

import csv
import json
from pathlib import Path

import pandas
import pytest
from small_mixture import base_folder, two_encoders
from test_classifier import fitted
from test_label_pool import POOL
from test_multilabel import ASKED, MATRIX, SETS, TEXTS
from test_tables import run

from meta_text import MultiLabelFewShotClassifier
from meta_text.corpus.label_rows import read_label_rows
from meta_text.errors import CorpusError, InputError


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    return base_folder(folder / "model", two_encoders(folder))


@pytest.fixture
def learned(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that `fit` wrote."""
    write(tmp_path / "known.csv", "labels", "|")
    words = ["fit", base, str(tmp_path / "known.csv"), "--labels-separator", "|", "--out", str(tmp_path / "several")]
    assert run(monkeypatch, *words) == 0
    return tmp_path / "several"


def write(path: Path, heading: str, mark: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([["text", heading], *([t, mark.join(one)] for t, one in zip(TEXTS, SETS, strict=True))])


def test_fit_reads_a_column_of_labels_and_prints_the_audit(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "known.csv", "tags", " / ")
    words = ["--labels-separator", "/", "--label", "tags", "--out", str(tmp_path / "several"), "--without-texts"]
    assert run(monkeypatch, "fit", base, str(tmp_path / "known.csv"), *words) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"known.csv: 9 texts, 2 labels; classifier in {tmp_path / 'several'}\nleave-one-out over 9 ")
    assert MultiLabelFewShotClassifier.from_pretrained(tmp_path / "several").adaptation_.lacks_texts


def test_what_fit_wrote_has_the_labels_of_the_file(learned: Path) -> None:
    again = MultiLabelFewShotClassifier.from_pretrained(learned)
    assert again.support_ == {
        name: sorted(text for text, has in zip(TEXTS, column, strict=True) if has)
        for name, column in zip(["bank", "card"], MATRIX.T, strict=True)
    }


def test_fit_learns_from_a_file_of_texts_without_labels(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "known.csv", "labels", "|")
    (tmp_path / "more.csv").write_text("\n".join(["text", *POOL, ""]))
    words = ["--labels-separator", "|", "--unlabeled", str(tmp_path / "more.csv"), "--out", str(tmp_path / "several")]
    assert run(monkeypatch, "fit", base, str(tmp_path / "known.csv"), *words) == 0
    assert "\nlabels were learned from 120 unlabelled texts, too\n" in capsys.readouterr().out
    again = MultiLabelFewShotClassifier.from_pretrained(tmp_path / "several")
    known = MultiLabelFewShotClassifier(base).fit(TEXTS, SETS, unlabeled=POOL)
    assert again.predict_proba(ASKED) == pytest.approx(known.predict_proba(ASKED))


def test_predict_writes_labels_and_a_probability_of_each(
    learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new.csv").write_text("\n".join(["text,labels", *(f"{text},?" for text in [*ASKED, ""])]) + "\n")
    source, classifier = str(tmp_path / "new.csv"), MultiLabelFewShotClassifier.from_pretrained(learned)
    probabilities, labels = classifier.predict_proba(ASKED), classifier.predict_labels(ASKED)
    for kind, mark in (("csv", "|"), ("jsonl", "; "), ("parquet", "|")):
        target = tmp_path / f"answers.{kind}"
        words = ["--input", source, "--output", str(target), "--labels-separator", mark]
        assert run(monkeypatch, "predict", str(learned), *words) == 0
        if kind == "jsonl":
            found = pandas.DataFrame([json.loads(line) for line in target.read_text("utf-8").splitlines()])
        else:
            found = pandas.read_csv(target, keep_default_na=False) if kind == "csv" else pandas.read_parquet(target)
        names = ["predicted_labels", "predicted_probability_bank", "predicted_probability_card"]
        assert list(found.columns) == ["text", "labels", *names]
        assert found[names[0]].tolist()[:4] == [mark.join(one) for one in labels]
        assert found[names[1:]].iloc[:4].astype(float).to_numpy() == pytest.approx(probabilities, abs=1e-6)
        assert found[names[0]].tolist()[4] in ("", None) or pandas.isna(found[names[0]][4])  # a row without a text


def test_texts_are_answered_in_the_terminal(
    learned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    classifier = MultiLabelFewShotClassifier.from_pretrained(learned)
    assert run(monkeypatch, "predict", str(learned), *ASKED) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, text, labels in zip(lines, ASKED, classifier.predict_labels(ASKED), strict=True):
        told, shown = line.split("\t")
        assert shown == text
        assert [part.split(" ")[0] for part in told.split(", ")] == (labels or ["no"])


MISTAKES = {
    "class prior": (["--class-prior", "support"], "--class-prior goes with one label a text; leave out either this or"),
    "two options": (["--effort", "high", "--hierarchy", "/"], "--hierarchy and --effort go with one label a text"),
    "blank mark": (["--labels-separator", " "], "the separator of labels is ' '; name what stands between labels"),
    "no column": (["--label", "tags"], "no column 'tags' (found: text, labels)"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_of_fit(
    case: str, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more, message = MISTAKES[case]
    write(tmp_path / "known.csv", "labels", "|")
    words = ["fit", base, str(tmp_path / "known.csv"), "--out", str(tmp_path / "out"), "--labels-separator", "|"]
    assert run(monkeypatch, *words, *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


WRONG = {
    "reject": (
        ["a", "--reject", "0.05"],
        "reject goes with one label a text; this classifier gives no label to a text",
    ),
    "mark": (["--input", "new.csv", "--labels-separator", "a"], "label 'bank' contains 'a', the separator of labels"),
    "tool": (
        ["--input", "new.csv", "--output", "out.json", "--format", "label-studio"],
        "a file for label-studio holds one label a text, and this classifier gives several; leave --format out",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_of_predict(
    case: str, learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words, message = WRONG[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.csv").write_text("text\nmy card\n")
    assert run(monkeypatch, "predict", str(learned), *words) == 2
    assert message in capsys.readouterr().err


def test_the_other_commands_name_the_class_that_loads_it(
    learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "push", str(learned), "user/model") == 2
    assert "holds labels of which a text may have several" in capsys.readouterr().err
    fitted().save_pretrained(tmp_path / "one")
    assert run(monkeypatch, "predict", str(tmp_path / "one"), "red wine") == 0


def test_lists_marks_and_empty_cells_are_read(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": ["x", " y "]}, {"text": "b", "label": "x; ;z"}, {"text": "c", "label": None}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes: list[str] = []
    found = read_label_rows(tmp_path / "rows.jsonl", "text", ("labels", "label"), ";", note=notes.append)
    assert found.texts == ["a", "b", "c"] and found.labels == [["x", "y"], ["x", "z"], []]
    assert notes == []
    read_label_rows(tmp_path / "rows.jsonl", "text", ("label",), ";", note=notes.append)
    (tmp_path / "one.csv").write_text("text,labels\na,x\nb,y\n")
    read_label_rows(tmp_path / "one.csv", "text", ("labels",), "|", note=notes.append)
    assert notes == ["one.csv: no text has two labels; is '|' what stands between them?"]


BAD_ROWS = {
    "blank": ("text,labels\n ,x\n", CorpusError, "row 1: text is ' '; a non-empty string is needed"),
    "no rows": ("text,labels\n", CorpusError, "no row found; texts with labels are needed"),
    "no text column": ("words,labels\na,x\n", CorpusError, "no column 'text'"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_named(case: str, tmp_path: Path) -> None:
    content, kind, message = BAD_ROWS[case]
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(kind, match=message):
        read_label_rows(tmp_path / "rows.csv", "text", ("labels",), "|")


def test_a_cell_that_holds_records_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "labels": [{"name": "x"}]}\n')
    with pytest.raises(CorpusError, match=r"labels holds .* among its labels; names are needed"):
        read_label_rows(tmp_path / "rows.jsonl", "text", ("labels",), "|")
    with pytest.raises(InputError, match="the separator of labels is ''"):
        read_label_rows(tmp_path / "rows.jsonl", "text", ("labels",), "")
