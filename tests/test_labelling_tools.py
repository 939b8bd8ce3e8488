"""Exports of labelling tools, written by hand after their documentation, and the files that they import."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_classifier import LABELS, MODEL, TEXTS, fitted
from test_tables import run

from meta_text import Corpus, FewShotClassifier
from meta_text.classify.input_rows import input_rows
from meta_text.classify.label_file import labelled_rows
from meta_text.classify.predict_file import predict_file
from meta_text.classify.tool_imports import ToolFormat
from meta_text.cli import label as commands
from meta_text.corpus.read_rows import read_rows
from meta_text.errors import CorpusError, OutputError

# what tools export


def annotation(*choices: str, by: str = "sentiment", **more: Any) -> dict[str, Any]:
    part = {"id": "x1", "from_name": by, "to_name": "text", "type": "choices", "value": {"choices": list(choices)}}
    return {"id": 7, "completed_by": 1, "result": [part] if choices else [], "was_cancelled": False, **more}


def label_studio(*annotations: dict[str, Any], text: str = "a red wine", number: int = 1) -> dict[str, Any]:
    return {"id": number, "data": {"text": text, "channel": "mail"}, "annotations": [*annotations], "predictions": [28]}


def label_studio_min(number: int, text: str, annotation_id: int | None, **answers: Any) -> dict[str, Any]:
    rest = {
        "annotator": 1,
        "annotation_id": annotation_id,
        "created_at": "2026",
        "updated_at": "2026",
        "lead_time": 2.0,
    }
    return {"text": text, "channel": "mail", "id": number, **answers, **rest}


def argilla(text: str, *responses: dict[str, Any], number: str = "r1") -> dict[str, Any]:
    suggestion = {"label": {"value": "wine", "score": 0.5, "agent": "model"}}
    record = {"id": number, "fields": {"text": text}, "metadata": {}, "suggestions": suggestion, "vectors": {}}
    return {**record, "responses": {"label": [*responses]} if responses else {}, "_server_id": "5c8e"}


def argilla_1(text: str, annotation: str | list[str] | None, status: str, number: str) -> dict[str, Any]:
    record = {"text": None, "inputs": {"text": text}, "prediction": [{"label": "wine", "score": 0.5}], "id": number}
    return {**record, "annotation": annotation, "annotation_agent": "me", "multi_label": False, "status": status}


def feedback(text: str, *responses: dict[str, Any]) -> dict[str, Any]:
    return {"fields": {"text": text}, "responses": [*responses], "suggestions": [{"question_name": "label"}]}


EXPORTS: dict[str, tuple[list[dict[str, Any]], list[tuple[str, str]], str, str]] = {
    # rows; the labelled texts; what is told with labels, and without
    "label_studio.json": (
        [
            label_studio(annotation("wine"), text="one"),
            label_studio(annotation("wine"), annotation("car"), annotation("car"), text="two"),
            label_studio(annotation("wine"), annotation("car"), text="three"),
            label_studio(annotation("wine", "car"), text="four"),
            label_studio(annotation("wine", was_cancelled=True), text="five"),
            label_studio(text="six"),
            label_studio(annotation(), text="seven"),
            label_studio(annotation("wine", ground_truth=True), annotation("car"), annotation("car"), text="eight"),
            label_studio(annotation("car", was_cancelled=True), annotation("wine"), text="nine"),
        ],
        [("one", "wine"), ("two", "car"), ("eight", "wine"), ("nine", "wine")],
        "Label Studio export, labels of 'sentiment' for 4 of 9 tasks; left out: 2 not annotated, 1 cancelled, "
        "1 with a tie between annotators, 1 with several labels; 1 is what most of several annotators chose",
        "Label Studio export of 9 tasks, read for the texts alone; 7 of them have annotations",
    ),
    "minimal.json": (
        [
            label_studio_min(1, "one", 11, sentiment="wine"),
            label_studio_min(2, "two", 12, sentiment="wine"),
            label_studio_min(2, "two", 13, sentiment="car"),
            label_studio_min(2, "two", 14, sentiment="car"),
            label_studio_min(3, "three", 15, sentiment={"choices": ["wine", "car"]}),
            label_studio_min(4, "four", None),
        ],
        [("one", "wine"), ("two", "car")],
        "Label Studio JSON-MIN export, labels of 'sentiment' for 2 of 4 tasks; left out: 1 not annotated, "
        "1 with several labels; 1 is what most of several annotators chose",
        "Label Studio JSON-MIN export of 6 rows, read for the texts alone; 5 of them have annotations",
    ),
    "doccano.jsonl": (
        [
            {"id": 1, "text": "one", "label": ["wine"], "Comments": []},
            {"id": 2, "text": "two", "label": []},
            {"id": 3, "data": "three", "label": ["wine", "car"]},
            {"id": 4, "data": "four", "label": ["car"]},
        ],
        [("one", "wine"), ("four", "car")],
        "doccano export, labels of 'label' for 2 of 4 texts; left out: 1 not annotated, 1 with several labels",
        "doccano export of 4 texts, read for the texts alone; 3 of them have annotations",
    ),
    "argilla.json": (
        [
            argilla("one", {"value": "wine", "user_id": "u1"}),
            argilla("two"),
            argilla("three", {"value": "wine", "user_id": "u1", "status": "discarded"}),
            argilla(
                "four",
                {"value": "car", "user_id": "u1", "status": "submitted"},
                {"value": "wine", "user_id": "u2", "status": "draft"},
            ),
            argilla("five", {"value": ["wine", "car"], "user_id": "u1"}),
            argilla("six", {"value": 5, "user_id": "u1"}),
        ],
        [("one", "wine"), ("four", "car"), ("six", "5")],
        "Argilla export, labels of 'label' for 3 of 6 records; left out: 1 not annotated, 1 discarded or draft, "
        "1 with several labels",
        "Argilla export of 6 records, read for the texts alone; 5 of them have annotations",
    ),
    "feedback.jsonl": (
        [
            feedback("one", {"user_id": "u1", "values": {"label": {"value": "wine"}}, "status": "submitted"}),
            feedback("two", {"user_id": "u1", "values": None, "status": "discarded"}),
            feedback("three"),
        ],
        [("one", "wine")],
        "Argilla export, labels of 'label' for 1 of 3 records; left out: 1 not annotated, 1 discarded or draft",
        "Argilla export of 3 records, read for the texts alone; 2 of them have annotations",
    ),
    "argilla_1.jsonl": (
        [
            argilla_1("one", "wine", "Validated", "a"),
            argilla_1("two", None, "Default", "b"),
            argilla_1("three", "wine", "Discarded", "c"),
            argilla_1("four", ["wine", "car"], "Validated", "d"),
        ],
        [("one", "wine")],
        "Argilla export, labels of 'annotation' for 1 of 4 records; left out: 1 not annotated, 1 discarded, "
        "1 with several labels",
        "Argilla export of 4 records, read for the texts alone; 3 of them have annotations",
    ),
}


def written(path: Path, rows: list[Any]) -> Path:
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) if path.suffix == ".jsonl" else f"[{', '.join(lines)}]")
    return path


@pytest.mark.parametrize("name", EXPORTS)
def test_labels_of_an_export(name: str, tmp_path: Path) -> None:
    rows, expected, told, _ = EXPORTS[name]
    path, notes = written(tmp_path / name, rows), list[str]()
    corpus = Corpus.open(path, note=notes.append)
    found = [(text, corpus.class_names[i]) for text, i in zip(corpus.texts, corpus.labels, strict=True)]
    assert found == expected
    assert notes == [f"{name}: {told}"] == list(corpus.notes)
    assert labelled_rows(path) == expected


@pytest.mark.parametrize("name", EXPORTS)
def test_texts_of_an_export(name: str, tmp_path: Path) -> None:
    rows, _, _, told = EXPORTS[name]
    notes: list[str] = []
    found = list(input_rows(str(written(tmp_path / name, rows)), note=notes.append))
    every = [row.get("fields") or row.get("inputs") or row.get("data") or row for row in rows]
    assert [row.text for row in found] == [one if isinstance(one, str) else one["text"] for one in every]
    assert [row.cells.get("id") for row in found] == [row.get("id") for row in rows]
    assert not any("label" in row.cells or "sentiment" in row.cells for row in found)
    assert notes == [f"{name}: {told}"]


def test_rows_keep_their_numbers_and_other_columns(tmp_path: Path) -> None:
    tasks = [label_studio(), label_studio(annotation("wine"), number=5), label_studio(annotation("car"), number=6)]
    path = written(tmp_path / "x.json", tasks)
    with pytest.raises(CorpusError, match=r"x.json, row 3: text 'a red wine' has label 'car' here and 'wine' in row 2"):
        Corpus.open(path)
    corpus = Corpus.open(written(path, tasks[:2]))
    assert corpus.fields == {"channel": ("mail",), "id": ("5",)}
    short = Corpus.open(written(path, [label_studio_min(5, "a red wine", 11, sentiment="wine")]))
    assert short.fields == corpus.fields


def test_one_of_several_questions_is_named(tmp_path: Path) -> None:
    both = {**annotation("wine"), "result": annotation("wine")["result"] + annotation("new", by="topic")["result"]}
    path = written(tmp_path / "x.json", [label_studio(both), label_studio(annotation("old", by="topic"), text="b")])
    message = (
        "Label Studio export with the questions sentiment, topic and none is called 'label'; "
        "name the one to learn, perhaps --label sentiment (label='sentiment' in Python)"
    )
    with pytest.raises(CorpusError) as error:
        Corpus.open(path)
    assert message in str(error.value)
    assert labelled_rows(path, ("text", "topic")) == [("a red wine", "new"), ("b", "old")]
    assert labelled_rows(path, ("text", "sentiment")) == [("a red wine", "wine")]
    one = written(tmp_path / "one.json", [label_studio(annotation("wine"))])
    with pytest.raises(CorpusError, match="with one question, sentiment, and none is called 'topic'; name the one"):
        Corpus.open(one, label="topic")


def test_another_name_of_the_texts(tmp_path: Path) -> None:
    task = label_studio(annotation("wine"))
    path = written(tmp_path / "x.json", [{**task, "data": {"review": "a red wine"}}])
    with pytest.raises(CorpusError, match=r"no column 'text' \(found: review, id, label\).* --text review"):
        Corpus.open(path)
    assert Corpus.open(path, text="review").texts == ("a red wine",)


BROKEN: dict[str, tuple[list[Any], str]] = {
    "nothing labelled": (
        [label_studio(), label_studio(annotation("wine", was_cancelled=True))],
        "Label Studio export, no label to learn from in 2 tasks; left out: 1 not annotated, 1 cancelled; "
        "give some texts one label each, and export again",
    ),
    "only predictions": (
        [{"data": {"text": "a"}, "predictions": [{"result": annotation("wine")["result"], "score": 0.9}]}],
        "Label Studio export, no label to learn from in 1 task; left out: 1 not annotated",
    ),
    "several labels alone": (
        [{"text": "a", "label": ["wine", "car"]}, {"text": "b", "label": ["wine", "boat"]}],
        "doccano export, no label to learn from in 2 texts; left out: 2 with several labels",
    ),
    "another object": (
        [label_studio(annotation("wine")), {"name": "x", "labels": []}],
        "row 2: not a task of Label Studio as those before it (found: name, labels); export again",
    ),
    "data that are none": (
        [label_studio(annotation("wine")), {"id": 2, "data": "a", "annotations": []}],
        "row 2: not a task of Label Studio as those before it (found: id, data, annotations)",
    ),
    "not an object": ([label_studio(annotation("wine")), 3], "element 2 of the array is int; an object is needed"),
    "empty": ([], "no labelled text found; texts with labels are needed"),
    "spans": ([{"text": "a", "label": [[0, 1, "PER"]]}], "label holds several labels ([[0, 1, 'PER']])"),
}


@pytest.mark.parametrize(("rows", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_exports_are_named(rows: list[Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as error:
        Corpus.open(written(tmp_path / "x.json", rows))
    assert "x.json" in str(error.value) and message in str(error.value)


def test_a_broken_row_does_not_stop_the_texts(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", [label_studio(), {"name": "x"}, label_studio(text="b")])
    found = list(input_rows(str(path)))
    assert [row.text for row in found] == ["a red wine", None, "b"]
    assert "not a task of Label Studio" in str(found[1].problem)


def test_other_files_stay_as_they_are(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "x", "data": {"y": 1}}, {"text": "b", "label": "z", "annotations": []}]
    path = written(tmp_path / "x.json", rows)
    assert Corpus.open(path).notes == ()
    export = written(tmp_path / "y.json", [label_studio(annotation("wine"))])
    assert list(read_rows(export)) == [label_studio(annotation("wine"))]  # without columns the rows are raw


# what tools import

CELLS = {"Text": "a red wine", "id": 5, "channel": "mail", "empty": None, "rate": float("nan")}
TASKS = {
    "label-studio": {
        "id": 5,
        "data": {"text": "a red wine", "id": 5, "channel": "mail"},
        "predictions": [
            {
                "model_version": "meta_text",
                "score": 0.1235,
                "result": [
                    {
                        "from_name": "mood",
                        "to_name": "body",
                        "type": "choices",
                        "value": {"choices": ["wine"]},
                        "score": 0.1235,
                    }
                ],
            }
        ],
    },
    "argilla": {
        "id": "5",
        "fields": {"body": "a red wine"},
        "suggestions": {"mood": {"value": "wine", "score": 0.1235, "agent": "meta_text"}},
    },
    "doccano": {
        "text": "a red wine",
        "label": ["wine"],
        "suggested": "wine",
        "score": 0.1235,
        "id": 5,
        "channel": "mail",
    },
}


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_as_the_tool_imports_it(kind: str) -> None:
    tool = ToolFormat(kind, "text", "mood", "body")
    assert tool.task(CELLS, "a red wine", "wine", 0.12345678) == TASKS[kind]


def test_a_task_without_a_prediction() -> None:
    def task(kind: str, cells: dict[str, Any]) -> dict[str, Any]:
        return ToolFormat(kind).task(cells, "a", None, None)

    assert task("label-studio", {"text": "a", "id": "x7"}) == {"data": {"text": "a", "id": "x7"}}
    assert task("label-studio", {"text": "a"}) == {"data": {"text": "a"}}
    assert task("argilla", {"text": "a"}) == {"fields": {"text": "a"}, "suggestions": {}}
    assert task("doccano", {"text": "a", "label": "x", "score": 3}) == {"text": "a", "label": []}


def test_the_ids_of_the_tool_and_of_the_data_are_both_kept(tmp_path: Path) -> None:
    task = label_studio(annotation("wine"), number=100)
    path = written(tmp_path / "x.json", [{**task, "data": {"text": "a", "id": "b7"}}])
    [row] = input_rows(str(path))
    assert row.cells == {"text": "a", "id": "b7", "task_id": 100}
    again = ToolFormat("label-studio").task(row.cells, "a", None, None)
    assert again == {"id": 100, "data": {"text": "a", "id": "b7"}}
    assert ToolFormat("argilla").task(row.cells, "a", None, None)["id"] == "100"
    own = {"text": "a", "task_id": "not of a tool"}
    assert ToolFormat("label-studio").task(own, "a", None, None) == {"data": own}


def test_labels_that_are_no_strings_are_written_as_text() -> None:
    assert ToolFormat("doccano").task({}, "a", True, 0.5)["label"] == ["True"]


# on the command line


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an export of six tasks, two of them labelled, and a classifier; the default model is a small one."""

    def model(name: str | None, embedding: Any, device: str | None) -> FewShotClassifier:
        return FewShotClassifier(MODEL) if name is None else FewShotClassifier.from_pretrained(name, device=device)

    monkeypatch.setattr(commands, "_model", model)
    monkeypatch.chdir(tmp_path)
    chosen = {0: annotation("wine"), 3: annotation("car")}
    tasks = [
        label_studio(*([chosen[i]] if i in chosen else []), text=text, number=i + 1) for i, text in enumerate(TEXTS)
    ]
    written(tmp_path / "export.json", tasks)
    fitted().save_pretrained(tmp_path / "classifier", include_support=True)
    return tmp_path


@pytest.mark.parametrize("kind", ["label-studio", "argilla", "doccano"])
def test_suggestions_go_back_as_predictions_and_not_as_labels(
    kind: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place / ("next.jsonl" if kind == "doccano" else "next.json")
    words = ["suggest", "export.json", "--labelled", "export.json", "-n", "3", "--format", kind, "--out", out.name]
    assert run(monkeypatch, *words) == 0
    known = FewShotClassifier(MODEL).fit([TEXTS[0], TEXTS[3]], ["wine", "car"])
    chosen = known.suggest(TEXTS, 3)
    expected = [(str(label), round(p, 4)) for _, label, p in known.answers([TEXTS[i] for i in chosen])]
    tasks = list(read_rows(out))
    if kind == "label-studio":
        parts = [task["predictions"][0] for task in tasks]
        found = [(part["result"][0]["value"]["choices"][0], part["score"]) for part in parts]
    elif kind == "argilla":
        found = [(task["suggestions"]["label"]["value"], task["suggestions"]["label"]["score"]) for task in tasks]
    else:
        found = [(task["label"][0], task["score"]) for task in tasks]
    assert found == expected
    told = capsys.readouterr()
    assert "labels of 'sentiment' for 2 of 6 tasks; left out: 4 not annotated" in told.err
    texts = list(input_rows(str(out)))
    assert [row.text for row in texts] == [TEXTS[i] for i in chosen]
    assert [int(row.cells["id"]) for row in texts] == [i + 1 for i in chosen]
    if kind == "doccano":  # which knows no predictions
        assert (
            "3 texts in next.jsonl, each with a label that nobody has checked; import the file into doccano" in told.out
        )
        assert (
            Corpus.open(out)
            .notes[0]
            .endswith("3 are what was suggested, and doccano does not say whether anyone confirmed it")
        )
        return
    assert "3 texts in next.json, each with a prediction; import the file into" in told.out
    with pytest.raises(CorpusError, match=r"no label to learn from in 3 .*; left out: 3 not annotated"):
        Corpus.open(out)


@pytest.mark.parametrize("kind", ["label-studio", "argilla", "doccano"])
def test_before_any_label_nothing_is_predicted(
    kind: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = place / ("next.jsonl" if kind == "doccano" else "next.json")
    assert run(monkeypatch, "suggest", "export.json", "-n", "2", "--format", kind, "--out", out.name) == 0
    assert f"2 texts in {out.name}, without predictions, as no label was given" in capsys.readouterr().out
    tool = ToolFormat(kind)
    chosen = FewShotClassifier(MODEL).suggest(TEXTS, 2)
    cells = [{"text": TEXTS[i], "channel": "mail", "id": i + 1} for i in chosen]
    assert list(read_rows(out)) == [tool.task(row, row["text"], None, None) for row in cells]


WRONG = {
    "unknown": (["--format", "xml"], "--format xml; name label-studio, doccano or argilla, or leave it out"),
    "no file": (["--format", "argilla"], "--format argilla writes a file for Argilla; name it with --out"),
    "suffix": (
        ["--format", "label-studio", "--out", "x.csv"],
        "--out x.csv: Label Studio imports .json; name a file that ends in .json",
    ),
    "doccano suffix": (["--format", "doccano", "--out", "x.json"], "doccano imports .jsonl; name a file that ends in"),
    "names": (["--from-name", "x"], "--from-name goes with --format label-studio or argilla; leave it out"),
    "names of doccano": (["--format", "doccano", "--out", "x.jsonl", "--to-name", "x"], "--to-name goes with --format"),
    "exists": (["--format", "argilla", "--out", "export.json"], "export.json exists already, and may hold labels"),
}


def test_csv_is_what_is_written_without_a_tool(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "suggest", "export.json", "-n", "1", "--format", "csv", "--out", "x.csv") == 0
    assert Path("x.csv").read_text().splitlines()[0] == "text,label"


def test_fit_learns_from_an_export_and_predict_writes_for_the_tool(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    FewShotClassifier(MODEL).save_pretrained(place / "model")
    assert run(monkeypatch, "fit", "model", "export.json", "--out", "mine") == 0
    told = capsys.readouterr()
    assert "export.json: 2 texts, 2 classes; classifier in mine" in told.out
    assert "export.json: Label Studio export, labels of 'sentiment' for 2 of 6 tasks" in told.err
    words = ["predict", "mine", "--input", "export.json", "--output", "all.json"]
    assert run(monkeypatch, *words, "--format", "label-studio", "--from-name", "sentiment") == 0
    assert capsys.readouterr().err.count("export.json: ") == 1
    answers = FewShotClassifier.from_pretrained(place / "mine").answers(TEXTS)
    tool = ToolFormat("label-studio", from_name="sentiment")
    cells = [{"text": text, "channel": "mail", "id": i} for i, text in enumerate(TEXTS, start=1)]
    expected = [tool.task(row, text, label, p) for row, (text, label, p) in zip(cells, answers, strict=True)]
    assert list(read_rows("all.json")) == expected


def test_predict_leaves_out_rows_without_a_text_and_rejected_texts_have_no_prediction(tmp_path: Path) -> None:
    classifier = FewShotClassifier(MODEL).fit(TEXTS, LABELS)
    source, out, errors = tmp_path / "in.csv", tmp_path / "out.json", tmp_path / "errors.jsonl"
    source.write_text(f"text,id\n{TEXTS[0]},1\n,2\nqqq xyz,3\n")
    tool = ToolFormat("argilla")
    assert predict_file(classifier, str(source), str(out), "text", 0.2, errors, tool=tool) == 1
    labels = [label for _, label, _ in classifier.answers([TEXTS[0], "qqq xyz"], 0.2)]
    rows = list(read_rows(out))
    assert [row["id"] for row in rows] == ["1", "3"]
    assert labels[1] is None and rows[1]["suggestions"] == {}
    assert [row["row"] for row in read_rows(errors)] == [2]


def test_an_array_of_several_parts_and_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = FewShotClassifier(MODEL).fit(TEXTS, LABELS)
    monkeypatch.setattr("meta_text.classify.predict_file.CHUNK_ROWS", 2)
    source, out = tmp_path / "in.csv", tmp_path / "out.json"
    source.write_text("text\n" + "".join(f"{text}\n" for text in TEXTS[:5]))
    predict_file(classifier, str(source), str(out), "text", None, None, tool=ToolFormat("label-studio"))
    assert [task["data"]["text"] for task in json.loads(out.read_text())] == TEXTS[:5]
    source.write_text("text\n")
    predict_file(classifier, str(source), str(out), "text", None, None)
    assert json.loads(out.read_text()) == []


def test_a_run_for_another_tool_is_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = FewShotClassifier(MODEL).fit(TEXTS, LABELS)
    source, out = tmp_path / "in.csv", tmp_path / "out.json"
    source.write_text(f"text\n{TEXTS[0]}\n")
    with monkeypatch.context() as patched:
        patched.setattr("meta_text.classify.answer_parts.Parts.join", lambda self, errors: 0)
        predict_file(classifier, str(source), str(out), "text", None, None, tool=ToolFormat("argilla"))
    shutil.copytree(tmp_path / ".out.json.parts", tmp_path / "kept")
    with pytest.raises(OutputError, match="were made with a different tool; use the same"):
        predict_file(
            classifier, str(source), str(out), "text", None, None, resume=True, tool=ToolFormat("label-studio")
        )
    predict_file(classifier, str(source), str(out), "text", None, None, resume=True, tool=ToolFormat("argilla"))
    assert [task["fields"]["text"] for task in json.loads(out.read_text())] == [TEXTS[0]]


WRONG_PREDICTIONS = {
    "to standard output": (
        ["--input", "export.json", "--format", "argilla"],
        "--output -: Argilla imports .json; name a file that ends in .json",
    ),
    "texts": (["a red wine", "--format", "argilla"], "TEXT arguments are answered in the terminal; --format goes with"),
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        *((["suggest", "export.json", *words], message) for words, message in WRONG.values()),
        *((["predict", "classifier", *words], message) for words, message in WRONG_PREDICTIONS.values()),
    ],
    ids=[*WRONG, *WRONG_PREDICTIONS],
)
def test_wrong_calls(
    words: list[str], message: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 2
    assert message in capsys.readouterr().err
