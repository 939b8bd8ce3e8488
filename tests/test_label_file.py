"""The CSV of labels: every answer is in it at once, and nothing that stood in it is lost."""

import csv
from pathlib import Path

import pytest
from test_classifier import LABELS, MODEL, TEXTS

from meta_text import FewShotClassifier
from meta_text.classify.label_file import LabelFile, labelled_rows, write_unlabelled
from meta_text.classify.labelling import Labelling
from meta_text.corpus.corpus import Corpus
from meta_text.errors import CorpusError, OutputError

ODD = ['a "quoted", text', "two\nlines", "ümläut ワイン", "=1+1", "tab\there", "lone \ud800 surrogate"]


def rows_in(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_each_answer_is_on_disk_when_the_next_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    file = LabelFile(path)
    assert not path.exists()
    for number, text in enumerate(ODD, start=1):
        file.append(text, f"class {number % 2}")
        assert len(rows_in(path)) == 1 + number
    readable = [text.replace("\ud800", "?") for text in ODD]
    assert rows_in(path) == [["text", "label"], *([t, f"class {i % 2}"] for i, t in enumerate(readable, 1))]
    assert LabelFile(path).rows == list(zip(readable, ["class 1", "class 0"] * 3, strict=True))
    assert Corpus.open(path).texts == tuple(readable)  # `fit` reads it


def test_undo_removes_the_last_label_and_no_row_without_one(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("text,label\na,x\nb,y\nc,\n")
    assert LabelFile(path).undo() == ("b", "y")
    assert path.read_text() == "text,label\na,x\nc,\n"
    assert [file.name for file in tmp_path.iterdir()] == ["labels.csv"]


def test_a_last_line_without_an_end_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("text,label\na,x\nb,y")
    LabelFile(path).append("c", "x")
    assert path.read_text() == "text,label\na,x\nb,y\nc,x\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,intent\na,x\n", "has the columns text, intent; labels are added to a file of the columns text, label"),
        ("text;label\na;x\n", "has the columns text;label; labels are added to a file of the columns text, label, sep"),
        ("text,label\na,x,y\n", "row 1 has 3 cells; 2 are needed; correct it, or name a new file"),
        ('text,label\n"a,x\n', "cannot be read as CSV in UTF-8"),
        ("\n", "cannot be read as CSV in UTF-8"),
        (b"text,label\n\xe4,x\n", "cannot be read as CSV in UTF-8"),
    ],
)
def test_other_files_are_refused_and_stay(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(raw)
    with pytest.raises(OutputError, match=message):
        LabelFile(path)
    assert path.read_bytes() == raw


def test_paths_that_cannot_hold_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        LabelFile(tmp_path)
    with pytest.raises(OutputError, match="does not exist; create it first"):
        LabelFile(tmp_path / "nowhere" / "labels.csv")
    with pytest.raises(OutputError, match=r"labels are written as CSV; name a file that ends in \.csv"):
        LabelFile(tmp_path / "labels.jsonl")


def test_rows_that_are_filled_in_are_read_and_others_wait(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    write_unlabelled(path, ["a", "b, c"], ("text", "label"))
    assert path.read_text() == 'text,label\na,\n"b, c",\n'
    with pytest.raises(CorpusError, match="has no row with a text and a label; give some rows a label"):
        labelled_rows(path)
    path.write_text("Text,Label\na, x \nb,\n,y\n")
    assert labelled_rows(path) == [("a", "x")]
    with pytest.raises(CorpusError, match="no column 'intent'"):
        labelled_rows(path, ("text", "intent"))


# one text after another


def labelling(path: Path, texts: list[str] = TEXTS) -> Labelling:
    return Labelling(MODEL, texts, LabelFile(path))


def test_every_text_comes_once_and_the_first_are_those_of_suggest(tmp_path: Path) -> None:
    session, seen = labelling(tmp_path / "labels.csv"), []
    while (text := session.next()) is not None:
        assert session.next() == text  # asking changes nothing
        seen.append(text)
        session.answer(text, LABELS[TEXTS.index(text)])
    assert sorted(seen) == sorted(TEXTS)
    assert [TEXTS.index(text) for text in seen[:3]] == FewShotClassifier(MODEL).suggest(TEXTS, 3)
    assert session.labelled == dict(zip(TEXTS, LABELS, strict=True))


def test_the_classifier_of_a_session_is_that_of_fit(tmp_path: Path) -> None:
    session = labelling(tmp_path / "labels.csv")
    assert session.adapted() is None and session.audit() is None
    for text, label in zip(TEXTS, LABELS, strict=True):
        session.answer(text, label)
    fitted = FewShotClassifier(MODEL).fit(TEXTS, LABELS)
    adapted = session.adapted()
    assert adapted is not None
    assert len(session.classes) == 2
    parts = MODEL.represent(["a red wine", "tyre"]).parts
    assert (adapted.probabilities(adapted.score(parts)) == fitted.predict_proba(["a red wine", "tyre"])).all()
    assert session.audit() == fitted.audit()


def test_resumed_sessions_know_labels_of_other_texts_and_other_spellings(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("text,label\nRED  wine glass,wine\nelsewhere,boat\n")
    session = labelling(path)
    assert session.classes == ["wine", "boat"]
    assert session.next() not in (None, TEXTS[0])
    adapted = session.adapted()
    assert adapted is not None and list(adapted.support) == ["boat", "wine"]


def test_skipped_texts_wait_and_undone_ones_come_again(tmp_path: Path) -> None:
    session = labelling(tmp_path / "labels.csv")
    assert session.undo() is None
    first = session.next()
    assert first is not None
    session.skip(first)
    second = session.next()
    assert second not in (None, first)
    session.answer(second, "x")
    assert session.next() not in (first, second)
    assert session.undo() == second
    assert session.next() == second
    assert labelling(tmp_path / "labels.csv").next() == first  # skipped for that session alone
