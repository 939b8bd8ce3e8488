"""Files in, files out: order, row counts, bad rows told apart."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from test_classifier import LABELS, MODEL, TEXTS

from meta_text.classifier import FewShotClassifier
from meta_text.cli import main
from meta_text.rows import CorpusError, read_rows
from meta_text.tables import input_rows, predict_file

GOOD = ["a red wine", "flat tyre", "more wine", "tyre pressure"]


@pytest.fixture
def classifier() -> FewShotClassifier:
    return FewShotClassifier(MODEL).fit(TEXTS, LABELS)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["meta-text", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_keeps_order_and_count(kind: str, classifier: FewShotClassifier, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in GOOD * 3))
    target = tmp_path / f"out.{kind}"
    assert predict_file(classifier, str(source), str(target), "text", None, None) == 0
    rows = list(read_rows(target))
    assert [row["text"] for row in rows] == GOOD * 3
    assert [row["label"] for row in rows] == ["wine", "car", "wine", "car"] * 3
    assert not list(tmp_path.glob(".*partial"))


def test_bad_rows_are_reported_and_the_others_answered(classifier: FewShotClassifier, tmp_path: Path) -> None:
    source, errors = tmp_path / "in.jsonl", tmp_path / "errors.jsonl"
    lines = [b'{"text": "wine"}', b"{broken", b'{"text": ""}', b'{"text": 3}', b'{"text": "\xff"}', b'{"text": "tyre"}']
    source.write_bytes(b"\n".join(lines) + b"\n")
    assert predict_file(classifier, str(source), str(tmp_path / "out.csv"), "text", None, errors) == 4
    with open(tmp_path / "out.csv", newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert labels == ["wine", "", "", "", "", "car"]
    problems = list(read_rows(errors))
    assert [p["row"] for p in problems] == [2, 3, 4, 5]
    assert "not JSON" in problems[0]["problem"]
    assert "not UTF-8" in problems[3]["problem"]


def test_missing_column_and_unknown_kinds(classifier: FewShotClassifier, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("body\nx\n")
    with pytest.raises(CorpusError, match="no column 'text'; it has body"):
        list(input_rows(str(tmp_path / "in.csv")))
    with pytest.raises(CorpusError, match=r"unknown kind '\.xls'"):
        predict_file(classifier, "-", "out.xls", "text", None, None)
    with pytest.raises(CorpusError, match="no such file"):
        list(input_rows(str(tmp_path / "none.jsonl")))


def test_fit_and_predict_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FewShotClassifier(MODEL).save_pretrained(tmp_path / "model")
    with open(tmp_path / "mine.csv", "w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(TEXTS, LABELS, strict=True)])
    out = str(tmp_path / "mine")
    assert run(monkeypatch, "fit", str(tmp_path / "model"), str(tmp_path / "mine.csv"), "--out", out) == 0
    assert "leave-one-out accuracy" in capsys.readouterr().out
    assert run(monkeypatch, "predict", out, "a red wine", "flat tyre") == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["wine", "car"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'more wine\n{"text": "tyre"}\n')))
    assert run(monkeypatch, "predict", out, "--input", "-") == 0
    assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == ["wine", "car"]
    assert run(monkeypatch, "predict", out) == 2
    assert "either TEXT arguments or --input" in capsys.readouterr().err
    for wrong, message in [("nowhere.csv", "does not exist; a CSV"), (str(tmp_path), "is a folder; a CSV")]:
        assert run(monkeypatch, "fit", str(tmp_path / "model"), wrong, "--out", out) == 2
        assert message in capsys.readouterr().err
    assert run(monkeypatch, "predict", str(tmp_path / "mine.csv"), "x") == 2
    assert "mine.csv is a file; a folder that `meta-text fit`" in capsys.readouterr().err
    assert run(monkeypatch, "predict", out, "zzz qqq", "--reject", "0.05") == 0
    assert capsys.readouterr().out == "none of these\t\tzzz qqq\n"
