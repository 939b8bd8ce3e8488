"""Bad input of every kind of file and data set: what was found, what is needed, and the way out."""

import gzip
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas
import polars
import pyarrow
import pyarrow.parquet
import pytest

from meta_text import extras
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.mixture import with_others
from meta_text.corpus.read_rows import read_rows
from meta_text.errors import CorpusError, ExtraError

HEAD = b"text,label\n"


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


FILES: dict[str, tuple[str, bytes, dict[str, Any], str]] = {
    "open quote": (
        "a.csv",
        HEAD + b'a,x\n"b,x\nc,y\n',
        {},
        r"a.csv, line 3: a quote opens here and is not closed; close",
    ),
    "open quote in the header": (
        "a.csv",
        b'"text,label\na,x\n',
        {},
        "a.csv, line 1: a quote opens here and is not closed",
    ),
    "backslash quotes": (
        "a.csv",
        HEAD + b'"a \\"b\\" c",x\n',
        {},
        r"line 2: a quote is escaped by a backslash \(\\\"\);",
    ),
    "text after a quote": (
        "a.csv",
        HEAD + b'"a" b,x\n',
        {},
        r"line 2: not a CSV row \(',' expected after '\"'\); put texts",
    ),
    "two columns of one name": (
        "a.csv",
        b"text,label,text\na,x,b\n",
        {},
        "line 1: columns 1 and 3 are both called 'text'; rename one",
    ),
    "a title above": ("a.csv", b"My export\n" + HEAD + b"a,x\n", {}, r"line 1: no column 'text' \(found: My export\)"),
    "a page instead of rows": ("a.csv", b"<html>\n", {}, r"line 1: no column 'text' \(found: <html>\); rename the"),
    "too many cells": (
        "a.csv",
        HEAD + b"a,b,x\n",
        {},
        "line 2: 3 cells where the header has 2; put texts with commas in",
    ),
    "too many cells by tabs": ("a.tsv", b"text\tlabel\na\tb\tx\n", {}, "has 2; put texts with tabs in quotes"),
    "unknown encoding": (
        "a.csv",
        HEAD,
        {"encoding": "utf9"},
        "unknown encoding 'utf9'; use one that Python knows, such",
    ),
    "no text encoding": ("a.csv", HEAD, {"encoding": "rot13"}, "unknown encoding 'rot13'; use one that Python knows"),
    "the wrong encoding": (
        "a.csv",
        HEAD + b"caf\xe9,x\n",
        {"encoding": "ascii"},
        "line 2: byte 0xe9 is not ASCII; name the",
    ),
    "UTF-16 that is none": (
        "a.csv",
        HEAD + b"caf\xe9,x\n",
        {"encoding": "utf-16"},
        r"a.csv is not utf-16 \(.* does not start with BOM\); name its encoding",
    ),
    "long separator": (
        "a.csv",
        HEAD,
        {"separator": "::"},
        "separator '::' cannot be used; one character is needed, such",
    ),
    "quote as separator": ("a.csv", HEAD, {"separator": '"'}, "separator '\"' cannot be used; one character is needed"),
    "separator of JSON": (
        "a.jsonl",
        b"{}",
        {"separator": ";"},
        r"a separator \(';'\) applies only to .csv and .tsv; leave it out",
    ),
    "encoding of Parquet": (
        "a.parquet",
        b"",
        {"encoding": "cp1252"},
        "an encoding .* applies only to text formats; leave it",
    ),
    "the wrong separator": ("a.csv", HEAD + b"a,x\n", {"separator": ";"}, r"no column 'text' \(found: text,label\)"),
    "utterance and intent": (
        "a.csv",
        b"Utterance,intent\na,x\n",
        {},
        r"no column 'text' \(found: Utterance, intent\); name the column, perhaps --text Utterance --label intent "
        r"\(text='Utterance', label='intent' in Python\)",
    ),
    "category": (
        "a.csv",
        b"text,category\na,x\n",
        {},
        r"no column 'label' .* perhaps --label category \(label='category'",
    ),
    "unheard-of columns": (
        "a.csv",
        b"x1,x2\na,x\n",
        {},
        r"found: x1, x2\); rename the column, or name it \(--text, --lab",
    ),
    "columns of two cases": (
        "a.csv",
        b"Text,TEXT,label\na,b,x\n",
        {},
        r"no column 'text' \(found: Text, TEXT, label\)",
    ),
    "spreadsheet called CSV": (
        "a.csv",
        b"PK\x03\x04abc",
        {},
        "a.csv is not text but a spreadsheet or another zip archive",
    ),
    "old spreadsheet": (
        "a.csv",
        b"\xd0\xcf\x11\xe0abc",
        {},
        "not text but an old Excel file; save it as .xlsx or .csv",
    ),
    "packed without saying so": (
        "a.csv",
        gzip.compress(HEAD),
        {},
        "is not text but packed with gzip; add .gz to its name",
    ),
    "Parquet called JSON": ("a.jsonl", b"PAR1abc", {}, "a.jsonl is not text but a Parquet file; name it .parquet"),
    "no gzip": (
        "a.csv.gz",
        HEAD,
        {},
        r"a.csv.gz is not a gzip file, or is truncated \(.*\); copy or compress it again",
    ),
    "no spreadsheet": (
        "a.xlsx",
        b"text,label",
        {},
        r"a.xlsx is not an .xlsx spreadsheet, or is damaged \(.*\); save it again",
    ),
    "no Parquet": (
        "a.parquet",
        b"text,label",
        {},
        r"a.parquet is not a Parquet file, or is damaged \(.*\); write or copy it",
    ),
    "old Excel": (
        "a.xls",
        b"",
        {},
        r"unknown format '.xls'; save it as .xlsx, or use one of .csv, .tsv, .jsonl, .ndjson, .json, .txt, .xlsx",
    ),
    "no kind": (
        "texts",
        b"",
        {},
        r"the name has no suffix, which tells the format; use one of .csv, .tsv, .jsonl, .ndjson, .json, .txt, .xlsx, .parquet \(text form",
    ),
    "broken array": (
        "a.json",
        b'[{"text": "a"},\n{"text" "b"}]',
        {},
        "a.json, line 2: not JSON .*; an array of objects",
    ),
    "array of strings": ("a.json", b'["a"]', {}, "row 1: element 1 of the array is str; an object is needed"),
    "columns as objects": (
        "a.json",
        b'{"text": {"0": "a"}, "label": {"0": "x"}}',
        {},
        "is one object of text, label; an ar",
    ),
    "neither array nor lines": (
        "a.json",
        b"hello",
        {},
        "a.json, line 1: not JSON .*; an array of objects, or one object",
    ),
    "array called JSON lines": ("a.jsonl", b'[{"text": "a"}]', {}, "line 1: found list; an object is needed"),
    "array in cp1252": ("a.json", b'[{"text": "caf\xe9"}]', {}, "byte 0xe9 is not UTF-8; .*encoding='cp1252'"),
    "a fraction": (
        "a.parquet",
        parquet(text=["a"], label=[0.5]),
        {},
        "row 1: label is 0.5, a fraction; str, int or bool",
    ),
    "a fraction in JSON": (
        "a.jsonl",
        b'{"text": "a", "label": 2.5}',
        {},
        "label is 2.5, a fraction; .*: name the classes",
    ),
    "bytes": ("a.parquet", parquet(text=["a"], label=[b"\xff"]), {}, "row 1: label is bytes that are not UTF-8"),
    "text of bytes": ("a.parquet", parquet(text=[b"\xff"], label=["x"]), {}, "row 1: text is bytes that are not UTF-8"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_bad_file_is_refused_in_words(kind: str, tmp_path: Path) -> None:
    name, data, options, message = FILES[kind]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        Corpus.open(tmp_path / name, **options)


T = ["where is my parcel", "it never arrived", "money back", "refund please"]
L = ["delivery", "delivery", "refund", "refund"]
TABLE = datasets.Dataset.from_dict({"text": T, "label": L})


def stream() -> Any:
    yield from ({"text": text, "label": label} for text, label in zip(T, L, strict=True))


READ: dict[str, Callable[[], Any]] = {
    "Dataset": lambda: TABLE,
    "IterableDataset": lambda: TABLE.to_iterable_dataset(),
    "IterableDataset without features": lambda: TABLE.to_iterable_dataset().map(lambda row: {"n": 1}),
    "pandas": lambda: pandas.DataFrame({"text": T, "label": L}),
    "pandas of strings": lambda: pandas.DataFrame({"text": T, "label": L}, dtype="string"),
    "pandas categories": lambda: pandas.DataFrame({"text": T, "label": pandas.Categorical(L)}),
    "polars": lambda: polars.DataFrame({"text": T, "label": L}),
    "polars categories": lambda: polars.DataFrame({"text": T, "label": polars.Series(L, dtype=polars.Categorical)}),
    "pyarrow": lambda: pyarrow.table({"text": pyarrow.array(T, pyarrow.large_string()), "label": L}),
    "pyarrow dictionary": lambda: pyarrow.table({"text": T, "label": pyarrow.array(L).dictionary_encode()}),
    "pyarrow bytes": lambda: pyarrow.table({"text": [t.encode() for t in T], "label": [y.encode() for y in L]}),
    "generator": stream,
    "list": lambda: list(stream()),
}


@pytest.mark.parametrize("kind", READ)
def test_data_sets_of_every_kind_are_read(kind: str) -> None:
    corpus = Corpus.from_dataset(READ[kind]())
    assert corpus.texts == tuple(T)
    assert [corpus.class_names[label] for label in corpus.labels] == L


def test_an_integer_column_with_gaps_stays_whole() -> None:
    frame = pandas.DataFrame({"text": T, "label": pandas.array([1, 2, None, 1], dtype="Int64")})
    for given in (frame, frame.astype({"label": "float64"})):
        corpus = Corpus.from_dataset(given, bad_rows="skip")
        assert (corpus.class_names, corpus.skipped) == (("1", "2"), {"label missing": 1})


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "DatasetDict": (
        lambda: datasets.DatasetDict(train=TABLE, test=TABLE),
        r"DatasetDict holds the splits train, test; pass one of them, such as dataset\['train'\], or all together",
    ),
    "IterableDatasetDict": (
        lambda: datasets.IterableDatasetDict(train=TABLE.to_iterable_dataset()),
        "IterableDatasetDict holds the splits train; pass one",
    ),
    "dict of columns": (lambda: {"text": T, "label": L}, "given a dict with the keys text, label; a datasets.Dataset"),
    "lazy frame": (lambda: polars.LazyFrame({"text": T}), r"LazyFrame is lazy; pass its \.collect\(\)"),
    "list of strings": (lambda: T, "row 1 of the list is str; a datasets.Dataset or IterableDataset, a pandas or"),
    "string": (lambda: "imdb", r"from_dataset was given 'imdb' \(str\); a datasets.Dataset"),
    "number": (lambda: 3, r"from_dataset was given 3 \(int\); a datasets.Dataset"),
    "frame of two columns of one name": (
        lambda: pandas.DataFrame([["a", "b"]], columns=["text", "text"]),
        "the frame: two columns are called 'text'; rename one",
    ),
    "table of two columns of one name": (
        lambda: pyarrow.Table.from_arrays([pyarrow.array(T)] * 2, names=["text", "text"]),
        "the table: two columns are called 'text'; rename one",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_table_is_refused_in_words(kind: str) -> None:
    make, message = REFUSED[kind]
    with pytest.raises(CorpusError, match=message):
        Corpus.from_dataset(make())


# --- class labels, names, folders


def test_parquet_of_datasets_keeps_the_names_of_its_classes(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["delivery", "refund"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    for labels, skipped in (([0, 0, 1, 1], {}), ([0, -1, 1, None], {"label missing": 2})):
        table = datasets.Dataset.from_dict({"text": T, "label": labels}, features=features)
        table.to_parquet(str(tmp_path / "a.parquet"))
        for corpus in (
            Corpus.open(tmp_path / "a.parquet", bad_rows="skip"),
            Corpus.from_dataset(table, bad_rows="skip"),
            Corpus.from_dataset(pyarrow.parquet.read_table(tmp_path / "a.parquet"), bad_rows="skip"),
        ):
            assert (corpus.class_names, corpus.skipped) == (("delivery", "refund"), skipped)
    with pytest.raises(CorpusError, match="row 2: label is empty; give every text a label"):
        Corpus.open(tmp_path / "a.parquet")


def row(label: str, number: int, **more: str) -> dict[str, str]:
    return {"text": f"t {label} {number} {more}", "label": label, **more}


def test_a_slash_in_a_name_belongs_to_it() -> None:
    slashed = ("TV/radio", "food/drink")
    plain = Corpus.from_rows([row(c, i) for c in "xyz" for i in range(4)], name="a")
    other = Corpus.from_rows([row(c, i) for c in slashed for i in range(4)], name="b")
    mixed, split = with_others(plain, ClassSplit(("x",), ("y",), ("z",)), [other], 2)
    assert [mixed.label_text(name) for name in mixed.class_names] == ["x", "y", "z", *slashed]
    assert split.train == ("a/x", "b/TV/radio", "b/food/drink")
    tasks = Corpus.from_rows([row(c, i, d="k") for c in slashed for i in range(4)], name="g", group=("d",))
    assert tasks.class_names == ("k/TV/radio", "k/food/drink")
    assert [tasks.label_text(name) for name in tasks.class_names] == list(slashed)


def test_corpora_and_classes_never_collide() -> None:
    own = Corpus.from_rows([row(c, i) for c in ("c", "d", "e") for i in range(4)], name="a/b")
    other = Corpus.from_rows([row("b/c", i) for i in range(4)], name="a")
    mixed, split = with_others(own, ClassSplit(("c",), ("d",), ("e",)), [other], 2)
    assert mixed.class_names == ("a%2Fb/c", "a%2Fb/d", "a%2Fb/e", "a/b/c")
    assert split == ClassSplit(("a%2Fb/c", "a/b/c"), ("a%2Fb/d",), ("a%2Fb/e",))
    assert [mixed.label_text(name) for name in mixed.class_names] == ["c", "d", "e", "b/c"]


def test_tasks_and_labels_never_collide() -> None:
    rows = [row("r", i, d="p/q") for i in range(4)] + [row("q/r", i, d="p") for i in range(4)]
    corpus = Corpus.from_rows(rows, name="h", group=("d",))
    assert corpus.class_names == ("p%2Fq/r", "p/q/r")
    assert corpus.groups == ("p/q", "p")
    assert [corpus.label_text(name) for name in corpus.class_names] == ["r", "q/r"]
    assert [corpus.rows_of(name) for name in corpus.class_names] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    dotted = [row("x", i, d="a.b", e="c") for i in range(2)] + [row("x", i, d="a", e="b.c") for i in range(2)]
    assert len(set(Corpus.from_rows(dotted, name="h", group=("d", "e")).groups or ())) == 2


def test_labels_that_look_alike_are_told() -> None:
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(["car", " car", "Car", "bus"])]
    corpus = Corpus.from_rows(rows, name="alike")
    assert corpus.class_names == ("Car", "bus", "car")
    assert corpus.notes == (
        "labels ' car' and 'car' differ only in outer spaces and are one class",
        "labels 'Car' and 'car' differ only in case and are 2 classes",
    )
    assert all(note in corpus.describe() for note in corpus.notes)


def test_a_folder_takes_columns_and_passes_hidden_files_over(tmp_path: Path) -> None:
    (tmp_path / "A.CSV").write_text("utterance;intent\nred wine;wine\n")
    (tmp_path / "b [1] #.jsonl").write_text('{"utterance": "flat tyre", "intent": "car"}\n')
    for name in ("._A.csv", ".DS_Store", ".hidden.csv", "~$A.xlsx", "dataset_info.json"):
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    told: list[str] = []
    corpus = Corpus.open(tmp_path, text="utterance", label="intent", note=told.append)
    assert (corpus.texts, corpus.class_names) == (("red wine", "flat tyre"), ("car", "wine"))
    assert told == list(corpus.notes) and "A.CSV: columns seem to be separated by ';'" in told[0]
    with pytest.raises(CorpusError, match=r"no column 'text' .* --text utterance --label intent"):
        Corpus.open(tmp_path)


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data" / "own").mkdir(parents=True)
    (tmp_path / "data" / "own" / "a.csv").write_text("text,label\nred wine,wine\nflat tyre,car\n")
    (tmp_path / "s.json").write_text('{"train": ["car"], "validation": [], "test": ["wine"]}')
    monkeypatch.setenv("META_TEXT_DATA", "~/data")
    for name in ("own", "~/data/own", "~/data/own/a.csv"):
        assert Corpus.open(name).class_names == ("car", "wine")
    assert ClassSplit.from_file("~/s.json").test == ("wine",)


def test_formats_whose_package_is_missing_name_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert extras.EXTRAS["parquet"] == ("pyarrow",)
    for package, name, extra in (("pyarrow", "a.parquet", "parquet"), ("openpyxl", "a.xlsx", "excel")):
        (tmp_path / name).touch()
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(
            ExtraError, match=rf"needs {package}, which is not installed; run pip install 'meta_text\[{extra}\]'"
        ):
            list(read_rows(tmp_path / name))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ExtraError, match=r"a corpus from the Hub needs datasets, .*'meta_text\[train\]'"):
        Corpus.from_hub("somebody/texts")
