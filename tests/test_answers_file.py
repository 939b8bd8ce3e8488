"""What `predict` writes: the input's own columns with the answers beside them, and never over somebody's data."""

import csv
import datetime
import io
import json
import os
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from test_classifier import LABELS, MODEL, TEXTS

from meta_text.classify.answer_parts import free_names
from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.predict_file import predict_file
from meta_text.corpus.read_rows import read_rows
from meta_text.errors import CorpusError, MetaTextError, OutputError


@pytest.fixture(scope="module")
def classifier() -> FewShotClassifier:
    return FewShotClassifier(MODEL).fit(TEXTS, LABELS)


def predicted(classifier: FewShotClassifier, source: Path, target: Path, column: str = "text") -> list[dict]:
    predict_file(classifier, str(source), str(target), column, None, None)
    return list(read_rows(target))


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet", "CSV"])
def test_other_columns_are_carried_in_order(kind: str, classifier: FewShotClassifier, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,Text,note\n007,a red wine,"x, y"\n2,,\n3,flat tyre,z\n')
    rows = predicted(classifier, tmp_path / "in.csv", tmp_path / f"out.{kind}")
    assert [list(row) for row in rows] == [["id", "Text", "note", "label", "probability"]] * 3
    assert [row["id"] for row in rows] == ["007", "2", "3"]
    assert [row["note"] for row in rows] == ["x, y", "", "z"]
    assert [row["label"] or None for row in rows] == ["wine", None, "car"]
    assert [row["probability"] in ("", None) for row in rows] == [False, True, False]


TAKEN = {
    (): ("label", "probability"),
    ("text", "id"): ("label", "probability"),
    ("text", "Label"): ("predicted_label", "predicted_probability"),
    ("text", "probability"): ("predicted_label", "predicted_probability"),
    ("label", "predicted_label"): ("predicted_2_label", "predicted_2_probability"),
}


@pytest.mark.parametrize("taken", TAKEN)
def test_the_answers_columns_never_have_the_name_of_the_inputs(taken: tuple[str, ...]) -> None:
    assert free_names(taken, ("label", "probability")) == TAKEN[taken]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_labelled_file_keeps_its_labels(kind: str, classifier: FewShotClassifier, tmp_path: Path) -> None:
    """Also where only a later row of JSON has the name, and when the output is predicted again."""
    lines = ['{"text": "a red wine"}', '{"text": "flat tyre", "label": "mine"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    rows = predicted(classifier, tmp_path / "in.jsonl", tmp_path / f"once.{kind}")
    assert [row["predicted_label"] for row in rows] == ["wine", "car"]
    assert [row.get("label") or None for row in rows] == [None, "mine"]
    again = predicted(classifier, tmp_path / f"once.{kind}", tmp_path / f"twice.{kind}")
    assert [row["predicted_2_label"] for row in again] == ["wine", "car"]
    assert [row["predicted_label"] for row in again] == ["wine", "car"]


def test_parquet_types_are_kept_and_class_labels_named(classifier: FewShotClassifier, tmp_path: Path) -> None:
    day = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
    table = pyarrow.table(
        {
            "id": pyarrow.array([1, None], pyarrow.int32()),
            "text": pyarrow.array(["a red wine", "flat tyre"]).dictionary_encode(),
            "day": pyarrow.array([day, None]),
            "tags": [["a"], []],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    predicted(classifier, tmp_path / "in.parquet", tmp_path / "out.parquet")
    out = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert out.select(["id", "day", "tags"]).equals(table.select(["id", "day", "tags"]))
    assert out.column("label").to_pylist() == ["wine", "car"]
    rows = predicted(classifier, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    assert rows[0] | {"probability": 0} == {
        **{"id": 1, "text": "a red wine", "day": "2024-05-01T00:00:00+00:00", "tags": ["a"]},
        **{"label": "wine", "probability": 0},
    }


def test_mixed_values_become_text_in_parquet(
    classifier: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a chunk, and between chunks, whose parts have types of their own."""
    monkeypatch.setattr("meta_text.classify.predict_file.CHUNK_ROWS", 2)
    values = [1, "two", None, None, 3, 4.5, {"a": 1}, True]
    lines = [json.dumps({"text": "wine", "n": value, "m": i if i < 4 else i + 0.5}) for i, value in enumerate(values)]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    rows = predicted(classifier, tmp_path / "in.jsonl", tmp_path / "out.parquet")
    assert [row["n"] for row in rows] == ["1", "two", None, None, "3.0", "4.5", '{"a": 1}', "True"]
    assert [row["m"] for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.5, 5.5, 6.5, 7.5]


def test_a_pipe_keeps_what_its_rows_hold(
    classifier: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = b'a red wine\n{"id": 1, "text": "flat tyre"}\n{"text": "wine", "label": "mine"}\n{"id": 2}\n'
    for target in ("-", str(tmp_path / "out.jsonl")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines)))
        assert predict_file(classifier, "-", target, "text", None, None) == 1
        written = capsys.readouterr().out if target == "-" else Path(target).read_text("utf-8")
        rows = [json.loads(line) for line in written.splitlines()]
        assert [list(row) for row in rows] == [
            ["text", "label", "probability"],
            ["id", "text", "label", "probability"],
            ["text", "label", "predicted_label", "predicted_probability"],
            ["id", "text", "label", "probability"],
        ]
        assert [row.get("predicted_label", row["label"]) for row in rows] == ["wine", "car", "wine", None]
        assert rows[2]["label"] == "mine"


def test_lone_surrogates_are_written_as_question_marks(classifier: FewShotClassifier, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "wine", "n": "a\\ud800"}\n')
    for kind in ("csv", "jsonl", "parquet"):
        (row,) = predicted(classifier, tmp_path / "in.jsonl", tmp_path / f"out.{kind}")
        assert row["n"] == "a?"


def test_guesses_are_told_or_not_made(classifier: FewShotClassifier, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes("id;text\n1;flat tyre, again\n2;café\n".encode("cp1252"))
    notes: list[str] = []
    out = str(tmp_path / "out.csv")
    predict_file(classifier, str(tmp_path / "in.csv"), out, "text", None, None, note=notes.append)
    assert len(notes) == len(set(notes)) == 2
    with open(out, encoding="utf-8", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == ["flat tyre, again", "café"]
    with pytest.raises(CorpusError, match=r"separated by ';', not by commas; pass separator=';' \(--separator\)"):
        predict_file(classifier, str(tmp_path / "in.csv"), out, "text", None, None)
    told = {"separator": ";", "encoding": "cp1252"}
    assert predict_file(classifier, str(tmp_path / "in.csv"), out, "text", None, None, **told) == 0


# --- never over somebody's data


def test_files_that_are_one_another_are_refused_under_any_name(classifier: FewShotClassifier, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,text\n1,wine\n")
    (tmp_path / "soft.csv").symlink_to(source)
    os.link(source, tmp_path / "hard.csv")
    (tmp_path / "there").symlink_to(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    for name in ("in.csv", "./in.csv", "soft.csv", "hard.csv", "there/in.csv"):
        with pytest.raises(
            OutputError, match=r"--output .* is the same file as --input, which would be lost; name another"
        ):
            predict_file(classifier, str(source), f"{tmp_path}/{name}", "text", None, None)
        with pytest.raises(OutputError, match=r"--errors .* is the same file as --input, which would be lost"):
            predict_file(classifier, str(source), str(tmp_path / "out.csv"), "text", None, tmp_path / name)
    for errors in ("out.csv", "there/out.csv", "there/../" + tmp_path.name + "/out.csv"):
        with pytest.raises(OutputError, match=r"--errors .* is the same file as --output, which would be lost"):
            predict_file(classifier, str(source), str(tmp_path / "out.csv"), "text", None, tmp_path / errors)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert source.read_text() == "id,text\n1,wine\n"


BAD_TARGETS = {
    "out.xls": "unknown output format '.xls'; use .csv, .json, .jsonl or .parquet",
    "out": "unknown output format ''; use .csv, .json, .jsonl or .parquet",
    "nowhere/out.csv": "the folder .*nowhere does not exist; create it first",
    "folder.csv": "--output .*folder.csv is a folder; name a file in it",
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_bad_targets(name: str, classifier: FewShotClassifier, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "in.csv").write_text("text\nwine\n")
    with pytest.raises(OutputError, match=BAD_TARGETS[name]):
        predict_file(classifier, str(tmp_path / "in.csv"), str(tmp_path / name), "text", None, None)


def test_a_wrong_column_leaves_nothing_behind(classifier: FewShotClassifier, tmp_path: Path) -> None:
    for name, data in (("in.csv", "utterance,id\nwine,1\n"), ("in.jsonl", '{"utterance": "wine", "id": 1}\n')):
        (tmp_path / name).write_text(data)
        with pytest.raises(MetaTextError, match=r"no column 'text' \(found: utterance, id\); .* --text utterance"):
            predict_file(classifier, str(tmp_path / name), str(tmp_path / "out.csv"), "text", None, None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "in.jsonl"]


def test_the_home_folder(classifier: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "資料 [1] #.csv").write_text("text\nwine\n,\n")
    assert predict_file(classifier, "~/資料 [1] #.csv", "~/out [2].csv", "text", None, Path("~/bad.jsonl")) == 0
    assert [row["label"] for row in read_rows(tmp_path / "out [2].csv")] == ["wine"]
    assert (tmp_path / "bad.jsonl").read_text() == ""
