"""What somebody meets in the first hour: messages that say what was found, counts that are right, one way out."""

import logging
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import remove_homes_of_the_dead
from test_classifier import LABELS, MODEL, TEXTS, fitted
from test_cli import support_file
from test_tables import run

from meta_text import Corpus, FewShotClassifier
from meta_text.classify.audit import Audit, wilson
from meta_text.classify.class_edits import ClassChange
from meta_text.corpus.read_rows import table_rows
from meta_text.errors import CorpusError, HubError, InputError, ModelFileError
from meta_text.files import KINDS
from meta_text.saving.loading import find_folder
from meta_text.wording import are, counted, did_you_mean, without_hint


def test_one_is_singular() -> None:
    assert [counted(n, "text") for n in (0, 1, 2)] == ["0 texts", "1 text", "2 texts"]
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]
    assert [are(n) for n in (0, 1, 2)] == ["are", "is", "are"]


def test_a_hint_ends_a_message_and_can_be_taken_off() -> None:
    assert did_you_mean("defalt", ["default"]) == "; did you mean 'default'?"
    assert did_you_mean("xyz", ["default"]) == ""
    assert without_hint("no key 'sed'; did you mean 'seed'?") == "no key 'sed'"
    assert without_hint("no key 'sed'; use one of a") == "no key 'sed'; use one of a"


def hub_is_asked(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any]) -> None:
    monkeypatch.setattr("huggingface_hub.snapshot_download", answer)


@pytest.mark.parametrize(
    "name", ["./a/b", "../a", "/a/b", "~/a/b", "a/b/c", "a/b/", "a", *(f"runs/texts{kind}" for kind in KINDS), "a/b.gz"]
)
def test_a_path_is_never_asked_of_the_hub(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    hub_is_asked(monkeypatch, lambda *_, **__: pytest.fail("the Hub was asked"))
    with pytest.raises(
        ModelFileError, match=f"no model at {re.escape(name)}: there is no such folder; a folder, a Hub"
    ):
        find_folder(name)


def test_a_wrong_path_that_could_be_a_hub_name_is_first_a_wrong_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: Any, **__: Any) -> Any:
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    hub_is_asked(monkeypatch, offline)
    message = r"there is no folder runs/nope here; as a name on the Hub: the connection .* \(no network\); check the"
    with pytest.raises(HubError, match=message):
        find_folder("runs/nope")


def test_a_misspelt_default_is_recognised() -> None:
    with pytest.raises(ModelFileError, match=r"no model at defalt: .* is needed; did you mean 'default'\?"):
        find_folder("defalt")
    with pytest.raises(CorpusError, match=r"a known corpus \(.*\)?; did you mean 'banking77'\?"):
        Corpus.open("banking7")


def test_a_misspelt_command_has_one_mark_after_the_question(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "fti") == 2
    assert "Did you mean 'fit'? See `meta-text --help`" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["predict", "MODEL", "hello"], ["export", "MODEL", "--out", "a.onnx"]])
def test_a_model_without_categories_says_how_to_give_it_some(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FewShotClassifier(MODEL).save_pretrained("bare")
    assert run(monkeypatch, *("bare" if word == "MODEL" else word for word in words)) == 2
    error = capsys.readouterr().err
    assert "bare is a model to fit from: it has learned no categories yet" in error
    assert "run `meta-text fit bare FILE --out FOLDER`" in error


def test_an_unfitted_classifier_says_so_in_words() -> None:
    with pytest.raises(
        ValueError, match=r"this FewShotClassifier has learned no categories yet; call fit\(texts, labels\)"
    ):
        FewShotClassifier(MODEL).predict(["hello"])


def test_one_class_is_learned_and_no_accuracy_is_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = FewShotClassifier(MODEL).fit(TEXTS[:3], LABELS[:3])
    report = classifier.audit()
    assert math.isnan(report.accuracy)
    assert (report.low, report.high, report.checked, report.skipped, report.doubts) == (0, 1, 0, 3, ())
    assert report.summary().startswith("leave-one-out cannot tell how good this is: with one class every")
    assert classifier.predict_proba(["tyre"]).tolist() == [[1.0]]
    monkeypatch.chdir(tmp_path)
    FewShotClassifier(MODEL).save_pretrained("bare")
    Path("one.csv").write_text("text,label\nred wine,wine\n")
    assert run(monkeypatch, "fit", "bare", "one.csv", "--out", "mine", "--device", "cpu") == 0
    shown = capsys.readouterr().out
    assert "one.csv: 1 text, 1 class; classifier in mine" in shown
    assert "leave-one-out cannot tell" in shown


def test_accuracy_near_chance_is_called_that_from_eight_texts_on() -> None:
    said = "these texts do not show that this model tells the labels apart"

    def report(right: int, checked: int, chance: float) -> Audit:
        return Audit(right / checked, *wilson(right / checked, checked), checked, 0, (), 2, chance)

    assert said in report(4, 8, 0.5).summary()
    assert "gives 75 %" in report(6, 8, 0.75).summary()
    assert Audit(0.9, 0.5, 1.0, 8, 0, (), 2, 0.5).near_chance  # the interval ends at chance
    assert said in report(0, 8, 0.5).summary()  # below chance, as leave-one-out is where there is nothing to learn
    assert said not in report(4, 7, 0.5).summary()
    assert said in report(6, 8, 0.5).summary()  # 41 to 93 %
    assert said not in report(7, 8, 0.5).summary()  # 53 to 98 %
    assert said not in report(60, 100, 0.5).summary()  # close to chance, and surely better
    assert "Always answering the most common class gives 33 %" in report(5, 15, 1 / 3).summary()


def test_chance_is_the_share_of_the_most_common_class() -> None:
    drawn = np.random.default_rng(0).choice(["red", "wine", "tyre", "flat", "low", "new", "dry"], (12, 3))
    labels = ["a"] * 7 + ["b"] * 5
    texts = [f"{' '.join(words)} {i}" for i, words in enumerate(drawn)]
    report = FewShotClassifier(MODEL).fit(texts, labels).audit()
    assert report.chance == 7 / 12
    assert (report.checked, report.classes) == (12, 2)


def test_a_class_checked_alone_is_not_called_chance() -> None:
    report = (
        FewShotClassifier(MODEL).fit([*(f"red wine {i}" for i in range(9)), "tyre"], ["wine"] * 9 + ["car"]).audit()
    )
    assert (report.checked, report.chance) == (9, 0.5)


def test_wilsons_bounds_are_exact_at_the_ends() -> None:
    for count in range(1, 200):
        assert wilson(1.0, count)[1] == 1.0
        assert wilson(0.0, count)[0] == 0.0


def test_an_audit_without_texts_speaks_of_the_audit(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "saved")
    with pytest.raises(InputError, match="without its labelled texts, so there is nothing to audit; save it with"):
        FewShotClassifier.from_pretrained(tmp_path / "saved").audit()


def test_a_guess_about_a_file_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FewShotClassifier(MODEL).save_pretrained("bare")
    lines = [f"{text};{label}" for text, label in zip(TEXTS, LABELS, strict=True)]
    Path("mine.csv").write_text("\n".join(["text;label", *lines]) + "\n;\n")
    assert run(monkeypatch, "fit", "bare", "mine.csv", "--out", "mine", "--device", "cpu") == 0
    shown = capsys.readouterr()
    assert shown.err.count("columns seem to be separated by ';'") == 1
    assert shown.err.count("mine.csv: 1 blank row at the end is skipped") == 1
    assert "separated" not in shown.out
    assert "mine.csv: 6 texts, 2 classes; classifier in mine" in shown.out


def test_labels_that_look_alike_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FewShotClassifier(MODEL).save_pretrained("bare")
    Path("mine.csv").write_text("text,label\nred wine,Wine\nwhite wine,wine\n")
    assert run(monkeypatch, "fit", "bare", "mine.csv", "--out", "mine", "--device", "cpu") == 0  # warnings are errors
    shown = capsys.readouterr()
    assert shown.err.count("differ only in case and are 2 classes") == 1
    assert "differ only" not in shown.out


def test_a_file_without_rows_is_named_with_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("text,label\n")
    with pytest.raises(CorpusError, match=r"none\.csv: no labelled text found"):
        Corpus.open(tmp_path / "none.csv")
    with pytest.raises(CorpusError, match=rf"{tmp_path.name}: no labelled text found"):
        Corpus.from_folder(tmp_path)


def test_one_row_without_a_text_is_one_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fitted().save_pretrained("mine")
    Path("new.csv").write_text("text,id\nred wine,1\n,2\n")
    assert run(monkeypatch, "predict", "mine", "--input", "new.csv", "--device", "cpu") == 0
    assert "1 row without a readable text got no label: row 2 ('text' is empty); name a file" in capsys.readouterr().err


def test_rows_are_counted_alike_by_fit_and_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A blank line of JSON is a row that is passed over, and the next one keeps its number."""
    monkeypatch.chdir(tmp_path)
    fitted().save_pretrained("mine")
    Path("a.jsonl").write_text('{"text": "red wine", "label": "wine"}\n\n{"text": "", "label": "wine"}\n')
    with pytest.raises(CorpusError, match=r"a\.jsonl, row 3: text is ''"):
        Corpus.open("a.jsonl")
    assert run(monkeypatch, "predict", "mine", "--input", "a.jsonl", "--errors", "e.jsonl", "--device", "cpu") == 0
    assert '{"row": 3, "problem": "\'text\' is empty"}' in Path("e.jsonl").read_text()
    folder = tmp_path / "several"
    folder.mkdir()
    (folder / "a.csv").write_text("text,label\nred wine,wine\n")
    (folder / "b.csv").write_text("text,label\ntyre,car\nred wine,car\n")
    with pytest.raises(
        CorpusError, match=r"b\.csv, row 2: text 'red wine' has label 'car' here and 'wine' in .*a\.csv, row 1"
    ):
        Corpus.from_folder(folder, bad_rows="raise")


def test_a_known_corpus_out_of_reach_names_the_folder_that_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    datasets = pytest.importorskip("datasets")

    def offline(*_: Any, **__: Any) -> Any:
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        try:
            raise FileNotFoundError("not cached in None")
        except FileNotFoundError as error:
            raise ConnectionError("Couldn't reach it") from error

    monkeypatch.setattr(datasets, "load_dataset", offline)
    monkeypatch.setattr("meta_text.hub_client._without_address", lambda endpoint: None)
    monkeypatch.delenv("META_TEXT_DATA", raising=False)
    message = (
        r"corpus 'banking77' is not in META_TEXT_DATA \(not set\): the connection to the Hub failed for 'mteb/banking77' "
        r"\(Couldn't reach it\); check the connection and try again, or set META_TEXT_DATA to a folder that contains banking77/"
    )
    with pytest.raises(HubError, match=message):
        Corpus.open("banking77")
    assert "Retry" not in caplog.text
    logging.getLogger("huggingface_hub.utils._http").warning("heard again")
    assert "heard again" in caplog.text


@pytest.mark.parametrize("command", ["fit", "predict", "evaluate", "train", "push", "recipes copy"])
def test_help_shows_no_python_types(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *command.split(), "--help") == 0
    assert not re.search(r"<[a-zA-Z]", capsys.readouterr().out)


@pytest.mark.parametrize("command", ["fit", "predict", "evaluate"])
def test_help_names_every_kind_of_file(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for kind in ("CSV", "TSV", "JSON", "JSON lines", "Excel (.xlsx)", "Parquet", ".gz"):
        assert kind in shown


def test_fit_without_a_file_names_every_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    support_file(tmp_path)
    assert run(monkeypatch, "fit", "default", "goood.csv", "--out", "mine") == 2
    assert (
        "goood.csv does not exist; a file of labelled texts is needed: CSV, TSV, JSON, JSON lines, Excel"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["good", "good.cvs", "gooood.csv", "GOOD.csv"])
def test_a_file_beside_a_misspelt_name_is_proposed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.csv").write_text("text,label\na,b\n")
    assert run(monkeypatch, "fit", "default", name, "--out", "mine") == 2
    assert capsys.readouterr().err.endswith("; did you mean 'good.csv'?\n")
    assert run(monkeypatch, "evaluate", "default", "--corpus", name) == 2
    assert capsys.readouterr().err.endswith("; did you mean 'good.csv'?\n")
    with pytest.raises(CorpusError, match=r"no such file: .*; did you mean 'good.csv'\?"):
        list(table_rows(name))


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_working_folder(name: str) -> None:
    with pytest.raises(CorpusError, match=rf"the corpus has no name \('{name}'\); name a file, a folder or a known"):
        Corpus.open(name)


def test_tests_leave_no_folders_behind(tmp_path: Path) -> None:
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    names = [f"hf-home-{gone.stdout.strip()}-a1", f"hf-home-{os.getpid()}-b2", "hf-home-somebodys", "hf-home-x-y"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text("")
    remove_homes_of_the_dead(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:]}


def test_what_looks_like_the_wrong_column_is_asked_about() -> None:
    rows = [{"id": str(i), "text": f"text {i}", "label": "ab"[i % 2]} for i in range(24)]
    [note] = Corpus.from_rows(rows, name="x", text="id").notes
    assert note == "no text has a letter in it; is 'id' the column of texts?"
    [note] = Corpus.from_rows(rows, name="x", label="id").notes
    assert note == "each of the 24 labels has one text; is 'id' the column of labels?"
    assert Corpus.from_rows(rows, name="x").notes == ()
    assert Corpus.from_rows(rows[:19], name="x", label="id").notes == ()


@pytest.mark.parametrize("content", ["", "text\n"])
def test_a_file_without_rows_is_said_to_have_none(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FewShotClassifier(embedding="fast").fit(["red", "blue"], ["a", "b"]).save_pretrained("mine")
    Path("new.csv").write_text(content)
    for more in ((), ("--output", "out.csv")):
        assert run(monkeypatch, "predict", "mine", "--input", "new.csv", *more) == 0
        assert "new.csv has no rows, so nothing was classified" in capsys.readouterr().err
    Path("new.csv").write_text("text\nred\n")
    assert run(monkeypatch, "predict", "mine", "--input", "new.csv") == 0
    assert "no rows" not in capsys.readouterr().err


def test_the_folder_around_a_trained_model_is_met_with_the_model(tmp_path: Path) -> None:
    (tmp_path / "intent" / "model").mkdir(parents=True)
    with pytest.raises(
        ModelFileError, match=r"config.json is missing; name a folder that `meta-text fit` wrote, or FOL"
    ):
        FewShotClassifier.from_pretrained(str(tmp_path / "intent"))
    (tmp_path / "intent" / "model" / "config.json").write_text("{}")
    with pytest.raises(ModelFileError, match=r"config.json is missing; did you mean .*/intent/model\?"):
        FewShotClassifier.from_pretrained(str(tmp_path / "intent"))


def test_audit_and_changes_print_as_sentences() -> None:
    texts = ["red wine", "white wine", "rose wine", "flat tyre", "brake pads", "wine"]
    classifier = FewShotClassifier(embedding="fast").fit(texts, ["wine"] * 3 + ["car"] * 3)
    audit = classifier.audit()
    assert str(audit).splitlines()[0] == audit.summary().splitlines()[0]
    [doubt] = [one for one in audit.doubts if one.text == "wine"]
    assert f"mislabelled? 'car', rather 'wine' ({100 * doubt.probability:.0f} %): wine" in str(audit).splitlines()
    assert (
        str(ClassChange("wine", 3, 1, 0.125)) == "'wine': 1 of 3 texts answered otherwise now, probability -12.5 points"
    )


def test_columns_can_be_named_wherever_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"{word} number {i},{topic}" for i in range(3) for word, topic in (("tyre", "car"), ("red", "wine"))]
    Path("mine.csv").write_text("\n".join(["message,topic", *rows, ""]))
    ways = {
        ("train", "intent", "--set", "corpus.path=mine.csv"): (
            "--set",
            "corpus.text=message",
            "--set",
            "corpus.label=topic",
        ),
        ("evaluate", "default", "--corpus", "mine.csv", "--classes", "all"): ("--text", "message", "--label", "topic"),
    }
    for words, columns in ways.items():
        assert run(monkeypatch, *words) == 2
        assert "no column 'text' (found: message, topic)" in capsys.readouterr().err
        assert run(monkeypatch, *words, *columns) == 2
        shown = capsys.readouterr().err
        assert "no column" not in shown and "2 classes" in shown  # it was read, and is too small for five classes


def test_a_finished_run_that_is_resumed_had_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    FewShotClassifier(embedding="fast").fit(["red", "blue"], ["a", "b"]).save_pretrained("mine")
    Path("new.csv").write_text("text\nred\n")
    words = ("predict", "mine", "--input", "new.csv", "--output", "out.csv")
    with monkeypatch.context() as killed:
        killed.setattr("meta_text.classify.answer_parts.Parts.join", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(monkeypatch, *words)
    capsys.readouterr()
    assert run(monkeypatch, *words, "--resume") == 0
    assert "no rows" not in capsys.readouterr().err
    assert Path("out.csv").read_text().splitlines()[1].startswith("red,a,")


def test_a_misspelt_folder_is_met_with_the_one_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "four").mkdir(parents=True)
    monkeypatch.setattr("meta_text.saving.loading.download", refuse)
    with pytest.raises(HubError, match=r"there is no folder runs/fuor here; did you mean 'four'\?; as a name on"):
        find_folder("runs/fuor")
    with pytest.raises(HubError, match=r"there is no folder runs/other here; as a name on"):
        find_folder("runs/other")


def refuse(*_: object, **__: object) -> Path:
    raise HubError("no connection")
