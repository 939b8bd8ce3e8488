"""`suggest` and `label` from the outside: files, pipes, keys, and every wrong call."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from test_classifier import LABELS, MODEL, TEXTS, fitted
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.cli import label as commands


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pile, some labels and a classifier; the default model is a small one."""

    def model(name: str | None, embedding: Any, device: str | None) -> FewShotClassifier:
        return FewShotClassifier(MODEL) if name is None else FewShotClassifier.from_pretrained(name, device=device)

    monkeypatch.setattr(commands, "_model", model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pile.csv").write_text("text,id\n" + "".join(f"{text},{i}\n" for i, text in enumerate(TEXTS)))
    (tmp_path / "some.csv").write_text(f"text,label\n{TEXTS[0]},wine\n{TEXTS[3]},car\n{TEXTS[1]},\n")
    fitted().save_pretrained(tmp_path / "classifier", include_support=True)
    return tmp_path


def rows(name: str) -> list[list[str]]:
    with open(name, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def label(monkeypatch: pytest.MonkeyPatch, said: str, *words: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    return run(monkeypatch, "label", "pile.csv", "--out", "labels.csv", *words)


def test_suggestions_are_rows_and_texts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "suggest", "pile.csv", "-n", "3") == 0
    expected = FewShotClassifier(MODEL).suggest(TEXTS, 3)
    assert capsys.readouterr().out.splitlines() == [f"{i + 1}\t{TEXTS[i]}" for i in expected]


def test_suggestions_leave_out_what_is_labelled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "suggest", "pile.csv", "--labelled", "some.csv") == 0
    told = capsys.readouterr()
    known = FewShotClassifier(MODEL).fit([TEXTS[0], TEXTS[3]], ["wine", "car"])
    assert told.out.splitlines() == [f"{i + 1}\t{TEXTS[i]}" for i in known.suggest(TEXTS, 20)]
    assert "4 texts of 20: the others are labelled, or copies of one another" in told.err
    Path("more.txt.csv").write_text(f"text\n{TEXTS[2]}\nsail and mast\n\nrow  the\tboat\n")
    assert run(monkeypatch, "suggest", "more.txt.csv", "--classifier", "classifier") == 0
    assert sorted(capsys.readouterr().out.splitlines()) == ["2\tsail and mast", "3\trow the boat"]


def test_suggestions_as_a_file_to_be_filled_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "suggest", "pile.csv", "-n", "2", "--out", "new.csv", "--label", "intent") == 0
    first, second = (TEXTS[i] for i in FewShotClassifier(MODEL).suggest(TEXTS, 2))
    assert rows("new.csv") == [["text", "intent"], [first, ""], [second, ""]]
    told = "2 texts in new.csv; fill in the column intent, then run `meta-text fit default new.csv --label intent --out FOLDER`"
    assert told in capsys.readouterr().out
    filled = Path("new.csv").read_text().replace(f"{first},", f"{first},x").replace(f"{second},", f"{second},y")
    Path("new.csv").write_text(filled)
    words = ["suggest", "pile.csv", "--labelled", "new.csv", "--label", "intent"]
    assert run(monkeypatch, *words) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


WRONG = {
    "no file": (["suggest", "pil.csv"], "no such file: pil.csv; did you mean 'pile.csv'?"),
    "label no file": (["label", "pil.csv", "--out", "l.csv"], "no such file: pil.csv; did you mean 'pile.csv'?"),
    "no column": (["suggest", "pile.csv", "--text", "body"], "no column 'body' (found: text, id)"),
    "none": (["suggest", "pile.csv", "-n", "0"], "-n 0; the number of texts to suggest must be at least 1"),
    "both": (
        ["suggest", "pile.csv", "--classifier", "classifier", "--labelled", "some.csv"],
        "--classifier and --labelled were both given; leave one out",
    ),
    "encoder of a classifier": (
        ["suggest", "pile.csv", "--classifier", "classifier", "--embedding", "fast"],
        "--classifier and --embedding were both given; leave one out",
    ),
    "all labelled": (
        ["suggest", "pile.csv", "--classifier", "classifier"],
        "every text of pile.csv is labelled already; nothing is left to suggest",
    ),
    "labels of other columns": (
        ["suggest", "pile.csv", "--labelled", "pile.csv"],
        "no column 'label' (found: text, id)",
    ),
    "labelled, no file": (["suggest", "pile.csv", "--labelled", "som.csv"], "no such file: som.csv; did you mean"),
    "over labels": (
        ["suggest", "pile.csv", "--out", "some.csv"],
        "some.csv exists already, and may hold labels; name a new",
    ),
    "another format": (
        ["suggest", "pile.csv", "--out", "x.jsonl"],
        "texts to label are written as CSV; name a file that",
    ),
    "blank": (["suggest", "blank.csv"], "blank.csv has no row with a text in column 'text'; name the column of texts"),
    "over the pile": (
        ["label", "pile.csv", "--out", "./pile.csv"],
        "pile.csv is the same file as pile.csv; name another",
    ),
    "label, other columns": (
        ["label", "some.csv", "--out", "pile.csv"],
        "pile.csv has the columns text, id; labels are added",
    ),
    "label, all done": (
        ["label", "one.csv", "--out", "some.csv"],
        "every text of one.csv has a label in some.csv already",
    ),
}


@pytest.mark.parametrize(("words", "message"), WRONG.values(), ids=WRONG)
def test_wrong_calls_are_answered_in_words(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("blank.csv").write_text("text,id\n,1\n")
    Path("one.csv").write_text(f"text\n{TEXTS[0]}\n")
    before = {file.name: file.read_bytes() for file in Path().glob("*.csv")}
    assert run(monkeypatch, *words) == 2
    assert message in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in Path().glob("*.csv")} == before


def test_a_pipe_labels_and_the_same_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert label(monkeypatch, "wine\ncar\n") == 0  # then the pipe ends
    told = capsys.readouterr().out
    assert "new class: wine" in told and "1 wine" in told
    assert (
        "2 labels of 2 classes in labels.csv; run the same command to go on, or `meta-text fit default labels.csv --out FOLDER`"
        in told
    )
    assert [row[1] for row in rows("labels.csv")] == ["label", "wine", "car"]
    assert label(monkeypatch, "2\n1\nq\n") == 0
    told = capsys.readouterr().out
    assert "going on after 2 labels in labels.csv" in told and "1 wine  2 car" in told
    assert [row[1] for row in rows("labels.csv")] == ["label", "wine", "car", "car", "wine"]
    assert label(monkeypatch, "1\n1\n") == 0
    assert "no text is left" in capsys.readouterr().out
    assert sorted(text for text, _ in rows("labels.csv")[1:]) == sorted(TEXTS)
    assert label(monkeypatch, "") == 2
    assert "every text of pile.csv has a label in labels.csv already" in capsys.readouterr().err


def test_keys_and_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert label(monkeypatch, "Wine\n7\n\n  WINE \n+7\n7\ns\nu\nu\nu\nu\nu\nq\n") == 0
    told = capsys.readouterr().out
    assert "there is no class 7; to make a class of that name, type +7" in told
    assert told.count(commands.HELP) == 2  # at first, and for an empty line
    assert "1 Wine  2 7" in told
    assert told.count("taken back: ") == 4 and "there is no label to take back" in told
    assert "no text was labelled" in told
    assert rows("labels.csv") == [["text", "label"]]


def test_ctrl_c_loses_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = iter(["wine"])

    def asked(*_: Any) -> str:
        if (answer := next(said, None)) is None:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr("meta_text.cli.label.out_console.input", asked)
    assert run(monkeypatch, "label", "pile.csv", "--out", "labels.csv") == 0
    assert "1 label of 1 class in labels.csv; with one class alone there is nothing to tell apart yet" in (
        capsys.readouterr().out
    )
    assert [row[1] for row in rows("labels.csv")] == ["label", "wine"]


def test_what_labels_are_worth_is_told_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "TOLD_EVERY", 6)
    labels = dict(zip(TEXTS, LABELS, strict=True))
    Path("labels.csv").write_text("text,label\n" + "".join(f"{text},{labels[text]}\n" for text in TEXTS[1:]))
    assert label(monkeypatch, f"{labels[TEXTS[0]]}\n") == 0
    audit = FewShotClassifier(MODEL).fit(TEXTS, LABELS).audit()
    interval = f"{100 * audit.low:.0f} to {100 * audit.high:.0f} %"
    told = (
        f"6 labels, 2 classes; expected accuracy {100 * audit.accuracy:.0f} % (95 % interval {interval}, leave-one-out)"
    )
    assert capsys.readouterr().out.count(told) == 1


def test_a_row_without_a_text_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("gap.csv").write_text("text,id\nsail,1\n,2\nmast,3\n")
    assert run(monkeypatch, "suggest", "gap.csv") == 0
    told = capsys.readouterr()
    assert sorted(told.out.splitlines()) == ["1\tsail", "3\tmast"]
    assert "1 row without a readable text is left out, such as row 2 ('text' is empty)" in told.err
