"""Parquet of any length in spans: which rows, how often, by whom, and what comes out beside the local engine's file."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from small_mixture import two_encoders, untrained
from test_classifier import LABELS, MODEL, TEXTS
from test_extras import hide
from test_multilabel import SETS
from test_multilabel import TEXTS as SET_TEXTS
from test_tables import run

from meta_text import FewShotClassifier, MultiLabelFewShotClassifier
from meta_text.classify import bulk as bulk_module
from meta_text.classify import predict_file as local
from meta_text.classify.bulk import SPAN_CHUNKS, TRIES, Bulk, Span, check_bulk, forget_tries
from meta_text.classify.predict_file import predict_file
from meta_text.classify.ray_engine import Worker
from meta_text.classify.tally import Tally
from meta_text.corpus.arrow_rows import parquet_rows
from meta_text.errors import CorpusError, InputError, OutputError


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "CHUNK_ROWS", 3)
    monkeypatch.setattr(bulk_module, "CHUNK_ROWS", 3)


@pytest.fixture(scope="module")
def classifier() -> FewShotClassifier:
    return FewShotClassifier(MODEL, device="cpu").fit(TEXTS, LABELS)


def write(path: Path, rows: int, group: int = 4, column: str = "text") -> Path:
    """Every fifth row has no text."""
    texts = [f"{TEXTS[i % 6]} {'very ' * (i % 4)}{i}" if i % 5 else None for i in range(rows)]
    table = pyarrow.table({"id": pyarrow.array(range(rows), pyarrow.int32()), column: texts})
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    return path


def answer_shuffled(classifier: Any, bulk: Bulk, workers: int = 2) -> Any:
    """As workers do that know nothing of one another; half of the spans twice."""
    _, parts = bulk.open(classifier, resume=False)
    spans = bulk.pending(parts, workers)
    random.Random(0).shuffle(spans)
    for span in spans + spans[::2]:
        bulk.answer(classifier, span)
    assert bulk.pending(parts, workers) == []
    assert {tries.stat().st_size for tries in parts.folder.glob("*.tries")} == {1}  # no chunk was answered twice
    return parts


@pytest.mark.parametrize("reject", [None, 0.2])
@pytest.mark.parametrize("rows", [0, 1, 3, 20, 31])
def test_a_file_is_that_of_the_local_engine(
    rows: int, reject: float | None, classifier: FewShotClassifier, tmp_path: Path
) -> None:
    source, target, errors = write(tmp_path / "in.parquet", rows), tmp_path / "out.parquet", tmp_path / "bad.jsonl"
    summed: list[Tally] = []
    whole = (str(source), str(tmp_path / "local.parquet"), "text", reject, tmp_path / "local.jsonl")
    assert predict_file(classifier, *whole, on_tally=summed.append) == (rows + 4) // 5
    bulk = Bulk.of(str(source), str(target), "text", reject, is_summed=True)
    parts = answer_shuffled(classifier, bulk)
    numbers = [row.number for row in bulk.bad_rows(parts)]
    assert numbers == [i + 1 for i in range(rows) if i % 5 == 0]
    tallies = parts.tallies()
    assert sum(tally.rows for tally in tallies) == summed[0].rows == rows - len(numbers)
    assert bulk.join(parts, errors) == len(numbers)
    assert target.read_bytes() == (tmp_path / "local.parquet").read_bytes()
    assert errors.read_bytes() == (tmp_path / "local.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_each_file_of_a_folder_is_that_of_the_local_engine(classifier: FewShotClassifier, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "b.parquet", 7)
    write(folder / "a.PARQUET", 10, column="Text")  # found in any case, as by the local engine
    write(folder / "empty.parquet", 0)
    for other in ("_SUCCESS", "notes.txt", ".hidden.parquet"):
        (folder / other).touch()
    bulk = Bulk.of(str(folder), str(tmp_path / "out.v2"), "text")
    assert [file.name for file in bulk.files] == ["a.PARQUET", "b.parquet", "empty.parquet"]
    parts = answer_shuffled(classifier, bulk)
    places = [(row.number, str(row.problem).partition(":")[0]) for row in bulk.bad_rows(parts)]
    assert places == [(1, "a.PARQUET"), (6, "a.PARQUET"), (1, "b.parquet"), (6, "b.parquet")]
    assert bulk.join(parts, tmp_path / "bad.jsonl") == 4
    problems = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert problems[2] == {"file": "b.parquet", "row": 1, "problem": "'text' is None; a string is needed"}
    assert sorted(file.name for file in (tmp_path / "out.v2").iterdir()) == ["a.PARQUET", "b.parquet", "empty.parquet"]
    for file in bulk.files:
        predict_file(classifier, str(file), str(tmp_path / "local.parquet"), "text", None, None)
        assert (tmp_path / "out.v2" / file.name).read_bytes() == (tmp_path / "local.parquet").read_bytes()


def test_several_labels(tmp_path: Path) -> None:
    model = untrained(two_encoders(tmp_path))
    source, classifier = write(tmp_path / "in.parquet", 8), MultiLabelFewShotClassifier(model).fit(SET_TEXTS, SETS)
    predict_file(classifier, str(source), str(tmp_path / "local.parquet"), "text", None, None, mark="; ")
    bulk = Bulk.of(str(source), str(tmp_path / "out.parquet"), "text", None, "; ")
    bulk.join(answer_shuffled(classifier, bulk), None)
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "local.parquet").read_bytes()


@pytest.mark.parametrize(("rows", "workers", "longest"), [(9, 2, 1), (96, 2, 4), (600, 1, SPAN_CHUNKS), (5, 3, 1)])
def test_spans_hold_each_row_once(
    rows: int, workers: int, longest: int, classifier: FewShotClassifier, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name, count in (("a", rows), ("b", 4)):
        write(tmp_path / "in" / f"{name}.parquet", count)
    bulk = Bulk.of(str(tmp_path / "in"), str(tmp_path / "out"), "text")
    _, parts = bulk.open(classifier, resume=False)
    spans = bulk.pending(parts, workers)
    held = [(span.file, span.first * 3 + i) for span in spans for i in range(span.rows)]
    assert held == [(0, i) for i in range(rows)] + [(1, i) for i in range(4)]
    assert [part for span in spans for part in range(span.part, span.part + span.chunks)] == list(
        range(sum(bulk.chunks()))
    )
    assert max(span.chunks for span in spans) == longest
    parts.add(0, [], [])
    assert bulk.pending(parts, workers) == (spans if longest > 1 else spans[1:])


def test_a_worker_loads_once_and_answers_many_spans(
    classifier: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier.save_pretrained(tmp_path / "mine")
    loads: list[Any] = []
    load = FewShotClassifier.from_pretrained
    monkeypatch.setattr(FewShotClassifier, "from_pretrained", lambda *a, **k: (loads.append(k), load(*a, **k))[1])
    monkeypatch.setenv("META_TEXT_ENGINE", "training")
    bulk = Bulk.of(str(write(tmp_path / "in.parquet", 9)), str(tmp_path / "out.parquet"), "text")
    _, parts = bulk.open(classifier, resume=False)
    worker = Worker(str(tmp_path / "mine"), bulk, {"META_TEXT_ENGINE": "float32"})
    assert os.environ["META_TEXT_ENGINE"] == "float32"  # as where the command was started
    for span in bulk.pending(parts, 1):
        fields = {name: [value] for name, value in vars(span).items()}
        assert worker(fields) == {"rows": [span.rows]}
    assert loads == [{"device": "cpu"}]
    assert len(parts.finished()) == 3
    other = FewShotClassifier(MODEL, device="cpu").fit(TEXTS[:5], LABELS[:5])
    with pytest.raises(OutputError, match="made with a different classifier"):
        bulk.answer(other, Span(0, 0, 0, 1, 3))


def test_a_chunk_that_kills_its_workers_ends_the_run(
    classifier: FewShotClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = Bulk.of(str(write(tmp_path / "in.parquet", 9)), str(tmp_path / "out.parquet"), "text")
    _, parts = bulk.open(classifier, resume=False)
    span = Span(0, 1, 1, 2, 6)

    def killed(*_: Any) -> None:
        raise MemoryError  # here, for a signal would end the test

    with monkeypatch.context() as patch:
        patch.setattr(local.Answering, "answer", killed)
        for _ in range(TRIES):
            with pytest.raises(MemoryError):
                bulk.answer(classifier, span)
    message = (
        rf"in\.parquet, rows 4 to 6: {TRIES} workers were killed at them.*fewer --workers, and go on with --resume"
    )
    with pytest.raises(InputError, match=message):
        bulk.answer(classifier, span)
    forget_tries(parts)
    bulk.answer(classifier, span)
    assert [path.stem for path in parts.finished()] == ["00000001", "00000002"]


def test_parts_of_one_engine_are_not_resumed_by_the_other(classifier: FewShotClassifier, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.parquet", 9), tmp_path / "out.parquet"
    bulk = Bulk.of(str(source), str(target), "text")
    bulk.open(classifier, resume=False)
    with pytest.raises(OutputError, match=r"were made with a different engine; use the same, or run without"):
        predict_file(classifier, str(source), str(target), "text", None, None, resume=True)


@pytest.mark.parametrize("first", range(13))
def test_rows_of_parquet_from_any_row_on(first: int, tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", 12, group=5)
    assert list(parquet_rows(path, first)) == list(parquet_rows(path))[first:]


def test_row_groups_before_the_first_row_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "in.parquet", 12, group=5)
    data = bytearray(path.read_bytes())
    with pyarrow.parquet.ParquetFile(path) as file:
        column = file.metadata.row_group(0).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    with pytest.raises((CorpusError, OSError)):
        list(parquet_rows(path, 4))
    assert [row["id"] for row in parquet_rows(path, 5)] == [5, 6, 7, 8, 9, 10, 11]


REFUSED = {
    "TEXT": (["a text"], "TEXT and --engine ray were both given, which do not go together; leave one out"),
    "format": (
        ["--input", "in.parquet", "--output", "o.json", "--format", "label-studio"],
        "--format and --engine ray",
    ),
    "separator": (
        ["--input", "in.parquet", "--output", "o.parquet", "--separator", ","],
        "--separator and --engine ray",
    ),
    "encoding": (["--input", "in.parquet", "--output", "o.parquet", "--encoding", "utf-8"], "--encoding and --engine"),
    "device": (
        ["--input", "in.parquet", "--output", "o.parquet", "--device", "cuda"],
        "--device is cuda; leave it out",
    ),
    "workers": (
        ["--input", "in.parquet", "--output", "o.parquet", "--workers", "0"],
        "--workers 0: at least 1 is needed",
    ),
    "stdin": (
        ["--input", "-", "--output", "o.parquet"],
        "Parquet, not standard input and output; name files with --in",
    ),
    "stdout": (["--input", "in.parquet"], "reads and writes Parquet, not standard input and output"),
    "csv": (
        ["--input", "in.csv", "--output", "o.parquet"],
        "in.csv is not one; write the texts as Parquet, or leave --en",
    ),
    "no file": (["--input", "none", "--output", "out"], "none has no .parquet file; write the texts as Parquet"),
    "csv out": (["--input", "in.parquet", "--output", "o.csv"], "--output is o.csv; let its name end in .parquet"),
    "itself": (["--input", "in.parquet", "--output", "in.parquet"], "is the same file as --input, which would be lost"),
    "file": (
        ["--input", "in", "--output", "in.csv"],
        "--input is a folder, and --output in.csv is a file; name a fold",
    ),
    "full": (["--input", "in", "--output", "in"], "--output in is not empty; name a folder that is new or empty"),
    "nowhere": (["--input", "in", "--output", "no/out"], "the folder no does not exist; create it first"),
    "errors": (
        ["--input", "in", "--output", "out", "--errors", "in/a.parquet"],
        "--errors in/a.parquet is the same file",
    ),
    "summary": (["--input", "in", "--output", "out", "--summary", "s.txt"], "name a file that ends in .json"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_before_anything_is_loaded(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("in", "none"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "in" / "a.parquet", 2)
    write(tmp_path / "in.parquet", 2)
    (tmp_path / "in.csv").write_text("text\nwine\n")
    words, message = REFUSED[case]
    assert run(monkeypatch, "predict", "no_such_model", *words, "--engine", "ray") == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_an_unknown_engine_and_workers_without_ray(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in [
        (["--engine", "spark"], "--engine spark is unknown; use local or ray"),
        (["--workers", "2"], "--workers goes with --engine ray; leave it out, or add that"),
    ]:
        assert run(monkeypatch, "predict", "no_such_model", "--input", "in.parquet", *words) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("package", ["ray", "pandas"])
def test_without_the_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in.parquet", 2)
    hide(monkeypatch, package)
    words = ["--input", str(source), "--output", str(tmp_path / "out.parquet"), "--engine", "ray"]
    assert run(monkeypatch, "predict", "no_such_model", *words) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"--engine ray needs {package}, which is not installed; run pip install 'meta_text[ray]'" in said


def test_a_file_without_the_column_is_refused(classifier: FewShotClassifier, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.parquet", 2)
    write(tmp_path / "in" / "b.parquet", 2, column="body")
    check_bulk(str(tmp_path / "in"), str(tmp_path / "out"), None)
    bulk = Bulk.of(str(tmp_path / "in"), str(tmp_path / "out"), "text")
    with pytest.raises(CorpusError, match=r"b\.parquet.*no column 'text' \(found: id, body\)"):
        bulk.answering(classifier, 1)
    assert not list(tmp_path.glob(".*"))
