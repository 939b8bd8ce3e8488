"""Files in, files out: order, row counts, bad rows told apart."""

import csv
import gzip
import io
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_classifier import LABELS, MODEL, TEXTS

from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.input_rows import InputRow, chunks, input_rows
from meta_text.classify.predict_file import predict_file
from meta_text.cli.app import main
from meta_text.corpus.read_rows import read_rows
from meta_text.errors import CorpusError, OutputError

GOOD = ["a red wine", "flat tyre", "more wine", "tyre pressure"]


@pytest.fixture
def classifier() -> FewShotClassifier:
    return FewShotClassifier(MODEL).fit(TEXTS, LABELS)


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["meta-text", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
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


LATIN = "tyre,caf\xe9\n".encode("latin-1")
BAD_FILES = {
    "latin.csv": (b"text,more\nwine,a\n" + LATIN + b"tyre,b\n", {2: "byte 0xe9 is not UTF-8"}, 3),
    "comma.csv": (b"text\nwine\nwhere is, my tyre\ntyre\n", {2: "2 cells where the header has 1"}, 3),
    "return.csv": (b"text,n\nwine,1\nre\rd,2\ntyre,3\n", {2: "not a CSV row"}, 3),
    "short.csv": (b"n,text\n1,wine\n2\n3,tyre\n", {2: "'text' is None; a string is needed"}, 3),
    "first.csv": (b"text\na,b\nwine\ntyre\n", {1: "2 cells where the header has 1"}, 3),
    "broken.jsonl.gz": (gzip.compress(b'{"text": "wine"}\n{oops\n{"text": "tyre"}\n'), {2: "not JSON"}, 3),
    "big.csv": (b"text\n" + b"wine " * 200_000 + b"\ntyre\n", {}, 2),
}


@pytest.mark.filterwarnings("ignore:1 of 2 texts is longer than the model reads")
@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_rows_of_other_kinds_keep_their_place(name: str, classifier: FewShotClassifier, tmp_path: Path) -> None:
    data, wanted, count = BAD_FILES[name]
    (tmp_path / name).write_bytes(data)
    errors, out = tmp_path / "errors.jsonl", tmp_path / "out.jsonl"
    assert predict_file(classifier, str(tmp_path / name), str(out), "text", None, errors) == len(wanted)
    labels = [row["label"] for row in read_rows(out)]
    assert labels[-1] == "car"
    assert [number for number, label in enumerate(labels, start=1) if label is None] == list(wanted)
    assert len(labels) == count
    for problem, (number, message) in zip(read_rows(errors), wanted.items(), strict=True):
        assert problem["row"] == number
        assert message in problem["problem"]


def test_a_packed_file_that_breaks_off_is_answered_up_to_there(classifier: FewShotClassifier, tmp_path: Path) -> None:
    noise = "".join(random.Random(0).choices("abcdefghijklmnop", k=200_000))  # more than a buffer holds packed
    lines = "".join(json.dumps({"text": f"wine {noise[i : i + 50]}"}) + "\n" for i in range(0, 200_000, 50))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(lines.encode())[:-4000])
    errors, out = tmp_path / "errors.jsonl", tmp_path / "out.jsonl"
    assert predict_file(classifier, str(tmp_path / "cut.jsonl.gz"), str(out), "text", None, errors) == 1
    answered = list(read_rows(out))
    assert len(answered) > 1000
    (problem,) = read_rows(errors)
    assert problem["row"] == len(answered)
    assert "truncated" in problem["problem"]
    (tmp_path / "no.jsonl.gz").write_bytes(b"nope")
    with pytest.raises(CorpusError, match="is not a gzip file, or is truncated"):
        list(input_rows(str(tmp_path / "no.jsonl.gz")))


def test_the_first_bad_rows_are_named_without_an_errors_file(
    classifier: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier.save_pretrained(tmp_path / "mine")
    (tmp_path / "in.csv").write_text("text\n" + "wine\na,b\n" * 7)
    words = ["predict", str(tmp_path / "mine"), "--input", str(tmp_path / "in.csv")]
    assert run(monkeypatch, *words) == 0
    error = capsys.readouterr().err
    assert "7 rows without a readable text got no label: rows 2, 4, 6, 8, 10, ... (2 cells where the header" in error
    assert "--errors" in error


def test_a_slow_pipe_is_answered_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    now, sizes = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def rows(seconds: float, count: int) -> Iterator[InputRow]:
        for number in range(count):
            now[0] += seconds
            yield InputRow(number, "wine", None)

    for seconds in (0.0, 0.6):
        sizes.append([len(chunk) for chunk in chunks(rows(seconds, 31), "-")])
    assert sizes == [[1, 2, 4, 8, 16], [1, 2] + [1, 2] * 9 + [1]]
    assert [len(chunk) for chunk in chunks(rows(9.0, 31), "in.csv")] == [31]


def test_missing_column_and_unknown_kinds(classifier: FewShotClassifier, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("body\nx\n")
    with pytest.raises(
        CorpusError,
        match=r"no column 'text' \(found: body\); name the column, perhaps --text body \(text='body' in Python\)",
    ):
        list(input_rows(str(tmp_path / "in.csv")))
    with pytest.raises(OutputError, match=r"unknown output format '\.xls'"):
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
    assert "nothing to classify; give TEXT arguments" in capsys.readouterr().err
    needed = "a file of labelled texts is needed: CSV"
    for wrong, message in [("nowhere.csv", f"does not exist; {needed}"), (str(tmp_path), f"is a folder; {needed}")]:
        assert run(monkeypatch, "fit", str(tmp_path / "model"), wrong, "--out", out) == 2
        assert message in capsys.readouterr().err
    assert run(monkeypatch, "predict", str(tmp_path / "mine.csv"), "x") == 2
    assert "mine.csv is a file; a folder that `meta-text fit`" in capsys.readouterr().err
    assert run(monkeypatch, "predict", out, "zzz qqq", "--reject", "0.05") == 0
    assert capsys.readouterr().out == "none of these\t\tzzz qqq\n"
