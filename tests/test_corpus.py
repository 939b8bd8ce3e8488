"""Corpus: every way in, every message about a bad row, and class splits that never overlap."""

import gzip
import json
import re
from pathlib import Path

import datasets
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.known_corpora import KNOWN_CORPORA
from meta_text.corpus.read_rows import read_rows
from meta_text.errors import CorpusError

ROWS = [
    {"text": "my card is gone", "label": "card_lost", "domain": "bank"},
    {"text": "where is my card", "label": "card_late", "domain": "bank"},
    {"text": "I lost it on the bus", "label": "card_lost", "domain": "bank"},
    {"text": "Überweisung fehlt 💸", "label": "transfer", "domain": "bank"},
]


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def toy(n_classes: int) -> Corpus:
    rows = [{"text": f"text {c} {i}", "label": f"class_{c}"} for c in range(n_classes) for i in range(2)]
    return Corpus.from_rows(rows, name="toy")


def reviews(domains: str, thresholds: tuple[str, ...] = ()) -> list[dict]:
    """Two labels and two partitions for each domain (and threshold), texts shared between thresholds."""
    return [
        {"text": f"{d} {label} {part}", "label": label, "domain": d, "partition": part}
        | ({"threshold": t} if thresholds else {})
        for d in domains
        for t in thresholds or ("",)
        for label in ("neg", "pos")
        for part in ("train", "test")
    ]


# --- the ways in


def expect_rows(corpus: Corpus) -> None:
    assert corpus.texts == tuple(row["text"] for row in ROWS)
    assert [corpus.class_names[label] for label in corpus.labels] == [row["label"] for row in ROWS]
    assert corpus.class_names == ("card_late", "card_lost", "transfer")
    assert corpus.fields["domain"] == ("bank",) * 4
    assert corpus.rows_of("card_lost") == [0, 2]


@pytest.mark.parametrize(("name", "pack"), [("bank.jsonl", bytes), ("bank.jsonl.gz", gzip.compress)])
def test_jsonl(tmp_path, name, pack):
    (tmp_path / name).write_bytes(pack("\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()))
    corpus = Corpus.from_jsonl(tmp_path / name)
    expect_rows(corpus)
    assert corpus.name == "bank"


def test_csv_with_quotes_newlines_and_a_byte_order_mark(tmp_path):
    (tmp_path / "mail.csv").write_bytes(b'\xef\xbb\xbftext,label\n"a, ""b""\nc",x\nd,y\n')
    corpus = Corpus.from_csv(tmp_path / "mail.csv")
    assert corpus.texts == ('a, "b"\nc', "d")
    assert corpus.class_names == ("x", "y")


def test_parquet(tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "bank.parquet")
    expect_rows(Corpus.from_parquet(tmp_path / "bank.parquet"))


def labelled_dataset(labels: list[int | None]):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    return datasets.Dataset.from_dict({"text": list("abcd")[: len(labels)], "label": labels}, features=features)


def test_dataset_class_label_keeps_its_names():
    corpus = Corpus.from_dataset(labelled_dataset([1, 0, 1]))
    assert [corpus.class_names[label] for label in corpus.labels] == ["yes", "no", "yes"]
    with pytest.raises(CorpusError, match="dataset, row 2: label is missing; give every text a label"):
        Corpus.from_dataset(labelled_dataset([1, None, 1]))
    assert Corpus.from_dataset(labelled_dataset([1, None, 0]), null_label="out of scope").out_of_scope == ("b",)


def test_dataset_label_minus_one_is_a_missing_label():
    data = labelled_dataset([1, 0, -1])  # as in SST-2's test part
    with pytest.raises(CorpusError, match="dataset, row 3: label is empty"):
        Corpus.from_dataset(data)
    corpus = Corpus.from_dataset(data, bad_rows="skip")
    assert corpus.class_names == ("no", "yes")
    assert corpus.skipped == {"label missing": 1}


def test_int_labels_become_strings():
    rows = [{"t": "a", "y": 0}, {"t": "b", "y": 10}, {"t": "c", "y": 0}]
    corpus = Corpus.from_rows(rows, name="ints", text="t", label="y")
    assert (corpus.class_names, corpus.rows_of("0")) == (("0", "10"), [0, 2])


def test_further_columns_that_start_late_stay_aligned():
    more = {"text": "b", "label": "x", "lang": "de"}
    assert Corpus.from_rows([ROWS[0], more, ROWS[1]], name="late").fields["lang"] == ("", "de", "")


def test_label_text():
    assert Corpus.from_rows(ROWS, name="bank").label_text("card_lost") == "card lost"
    grouped = Corpus.from_rows(ROWS, name="bank", group=("domain",))
    assert grouped.label_text("bank/card_lost") == "card lost"


# --- bad input: raised with the row, or counted


BAD = {
    "missing column": ({"text": "a"}, r"bad, row 2: no column 'label' \(found: text\)"),
    "empty text": ({"text": "  ", "label": "x"}, r"bad, row 2: text is '  '; a non-empty string is needed"),
    "non-string text": ({"text": 7, "label": "x"}, r"bad, row 2: text is 7; a non-empty string is needed"),
    "label missing": ({"text": "a", "label": " "}, r"bad, row 2: label is empty; give every text a label"),
    "label null": ({"text": "a", "label": None}, r"bad, row 2: label is missing; give every text a label"),
    "label not a number": ({"text": "a", "label": float("nan")}, r"bad, row 2: label is missing; give every text"),
    "two labels": ({"text": "ok", "label": "y"}, r"bad, row 2: text 'ok' has label 'y' here and 'x' in row 1"),
}


@pytest.mark.parametrize(("row", "message"), BAD.values(), ids=BAD)
def test_bad_row_raises_with_its_number(row, message):
    with pytest.raises(CorpusError, match=message):
        Corpus.from_rows([{"text": "ok", "label": "x"}, row], name="bad")


@pytest.mark.parametrize("label", [["x", "y"], ["x"], {"x": 1}, {"x", "y"}, ("x", "y")])
@pytest.mark.parametrize("bad_rows", ["raise", "skip"])
def test_several_labels_a_text_are_refused(label, bad_rows):
    rows = [{"text": "ok", "label": "x"}, {"text": "a", "label": label}]
    with pytest.raises(
        CorpusError, match=r"bad, row 2: label holds several labels .*name a mark .* with --labels-separator"
    ):
        Corpus.from_rows(rows, name="bad", bad_rows=bad_rows)


MISSING = {
    "csv": lambda p: p.write_text("text,label\na,x\nb\n"),
    "jsonl": lambda p: p.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": null}\n'),
    "parquet": lambda p: pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": ["x", None]}), p),
    "nan.parquet": lambda p: pyarrow.parquet.write_table(
        pyarrow.table({"text": ["a", "b"], "label": [1.0, float("nan")]}), p
    ),
}


@pytest.mark.parametrize("kind", MISSING)
def test_a_missing_label_is_told_in_every_kind_of_file(kind, tmp_path):
    path = tmp_path / f"mine.{kind}"
    MISSING[kind](path)
    with pytest.raises(
        CorpusError, match=rf"mine\.{re.escape(kind)}, row 2: label is missing; give every text a label"
    ):
        Corpus.open(path)


def test_whole_numbers_stay_whole_where_parquet_makes_them_floats(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a", "b"], "label": [1.0, 2.0]}), tmp_path / "n.parquet")
    assert Corpus.open(tmp_path / "n.parquet").class_names == ("1", "2")


def test_null_means_out_of_scope_only_in_files_that_say_so(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [*ROWS, {"text": "forgotten", "label": None}])
    write_jsonl(tmp_path / "out_of_scope.test.jsonl", [{"text": "sing me a song", "label": None}])
    corpus = Corpus.from_folder(tmp_path)
    assert corpus.out_of_scope == ("sing me a song",)
    assert corpus.skipped == {"label missing": 1}


def test_csv_rows_with_too_many_cells_are_told_and_empty_ones_beyond_are_not(tmp_path):
    (tmp_path / "comma.csv").write_text("text,label\na,x\nwhere is, my parcel,x\n")
    with pytest.raises(
        CorpusError, match=r"comma.csv, line 3: 3 cells where the header has 2; put texts with commas in"
    ):
        Corpus.open(tmp_path / "comma.csv")
    (tmp_path / "more.csv").write_text("text,label\na,x,,\nb,y\n")
    assert Corpus.open(tmp_path / "more.csv").class_names == ("x", "y")


def test_a_csv_cell_of_a_megabyte(tmp_path):
    (tmp_path / "big.csv").write_text("text,label\n" + "a" * 1_000_000 + ",x\nb,y\n")
    assert [len(text) for text in Corpus.open(tmp_path / "big.csv").texts] == [1_000_000, 1]


BROKEN = {
    "bad.parquet": (b"nope", r"bad.parquet is not a Parquet file, or is damaged"),
    "empty.parquet": (b"", r"empty.parquet is not a Parquet file, or is damaged"),
    "bad.jsonl.gz": (b"nope", r"bad.jsonl.gz is not a gzip file, or is truncated"),
    "cut.jsonl.gz": (
        gzip.compress(b'{"text": "a", "label": "x"}\n' * 99)[:-20],
        r"cut.jsonl.gz is not a gzip file, or is truncated",
    ),
    "return.csv": (b"te\rxt,label\na,x\n", r"return.csv, line 1: not a CSV header \(new-line character"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(name, tmp_path):
    data, message = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=message):
        Corpus.open(tmp_path / name)


LISTS = {
    "no JSON": (b"{bad", "is not JSON"),
    "not UTF-8": (b'{"train": "\xe9"}', "is not JSON"),
    "a list": (b"[]", "no list '"),
    "empty": (b"{}", "no list '"),
    "no names": (b'{"train": [1], "train_domains": "a", "test_domains": []}', "no list '"),
}


@pytest.mark.parametrize("file", ["class_splits/1.json", "domains.json"])
@pytest.mark.parametrize(("content", "message"), LISTS.values(), ids=LISTS)
def test_broken_splits_name_their_file(file, content, message, tmp_path):
    write_jsonl(tmp_path / "texts.jsonl", ROWS)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(CorpusError, match=rf"{file}:? {message}"):
        Corpus.open(tmp_path)


def test_a_split_that_is_not_there(tmp_path):
    with pytest.raises(
        CorpusError, match=r"no class split at nowhere.json; a JSON file with the lists train, validation"
    ):
        ClassSplit.from_file("nowhere.json")


# --- the Hub


def test_from_hub_takes_all_splits_and_passes_config_and_revision(monkeypatch):
    asked = []

    def load_dataset(*given, **options):
        asked.append((given, options))
        return datasets.DatasetDict(train=labelled_dataset([1, 0]), test=labelled_dataset([1, 1, 0]).select([2]))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    corpus = Corpus.from_hub("somebody/texts", config="plus", revision="v2")
    assert asked == [(("somebody/texts", "plus"), {"revision": "v2"})]
    assert (corpus.name, corpus.texts, corpus.class_names) == ("texts", ("a", "b", "c"), ("no", "yes"))


@pytest.mark.parametrize("name", [name for name, known in KNOWN_CORPORA.items() if known.source])
def test_known_names_fall_back_to_the_hub(name, monkeypatch, tmp_path):
    source = KNOWN_CORPORA[name].source
    asked = []

    def load_dataset(repo_id, config, revision):
        asked.append((repo_id, config))
        labels = ["x", "y", source.out_of_scope or "x", None]
        table = datasets.Dataset.from_dict({source.text: ["a", "b", "c", "d"], source.label: labels})
        return datasets.DatasetDict(train=table)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setenv("META_TEXT_DATA", str(tmp_path))  # holds no such folder
    corpus = Corpus.open(name)
    assert asked == [(source.repo_id, source.config)]
    assert (corpus.name, corpus.class_names) == (name, ("x", "y"))
    assert corpus.out_of_scope == (("c",) if source.out_of_scope else ())
    assert corpus.skipped == {"label missing": 1}


def test_bad_rows_are_counted_when_skipped():
    rows = [{"text": "ok", "label": "x"}, *(row for row, _ in list(BAD.values())[1:])]
    corpus = Corpus.from_rows(rows, name="bad", bad_rows="skip")
    assert corpus.texts == ("ok",)
    assert corpus.skipped == {"empty text": 2, "label missing": 3, "same text under two labels": 1}
    assert "skipped 2 (empty text)" in corpus.describe()


def test_exact_duplicates_are_kept_once_and_counted():
    corpus = Corpus.from_rows([*ROWS, ROWS[0], ROWS[0]], name="twice")
    expect_rows(corpus)
    assert corpus.skipped == {"exact duplicate": 2}


def test_out_of_scope_texts_stay_apart():
    rows = [*ROWS, {"text": "sing me a song", "label": None}]
    corpus = Corpus.from_rows(rows, name="oos", null_label="out of scope")
    assert corpus.out_of_scope == ("sing me a song",)
    expect_rows(corpus)


@pytest.mark.parametrize(("kind", "content"), [("jsonl", ""), ("jsonl", "\n\n"), ("csv", ""), ("csv", "text,label\n")])
def test_empty_file(tmp_path, kind, content):
    path = tmp_path / f"none.{kind}"
    path.write_text(content)
    with pytest.raises(CorpusError, match=rf"none\.{kind}: no labelled text found"):
        Corpus.open(path)


LATIN = {
    "latin.csv": b"text,label\na,x\ncaf\xe9,x\n",
    "latin.jsonl": b'{"text": "a", "label": "x"}\n' * 2 + b'{"text": "caf\xe9", "label": "x"}\n',
}


@pytest.mark.parametrize("name", LATIN)
def test_not_utf8_names_the_line_and_the_encoding_that_fits(tmp_path, name):
    (tmp_path / name).write_bytes(LATIN[name])
    with pytest.raises(
        CorpusError, match=rf"{name}, line 3: byte 0xe9 is not UTF-8; .* cp1252: pass encoding='cp1252'"
    ):
        list(read_rows(tmp_path / name))


@pytest.mark.parametrize(("line", "message"), [("{oops", "line 2: not JSON"), ("[1]", "line 2: found list; an object")])
def test_broken_json_line(tmp_path, line, message):
    (tmp_path / "broken.jsonl").write_text('{"text": "a", "label": "x"}\n' + line)
    with pytest.raises(CorpusError, match=message):
        Corpus.from_jsonl(tmp_path / "broken.jsonl")


def test_unknown_kind_and_missing_file(tmp_path):
    (tmp_path / "a.xls").touch()
    for name, message in (
        ("a.xls", r"unknown format '\.xls'; save it as \.xlsx, or "),
        ("nothing.csv", "no such file"),
    ):
        with pytest.raises(CorpusError, match=message):
            Corpus.from_csv(tmp_path / name)


def test_unknown_class_has_a_hint():
    with pytest.raises(CorpusError, match="corpus 'bank' has no class 'card_lots'; did you mean 'card_lost'"):
        Corpus.from_rows(ROWS, name="bank").rows_of("card_lots")


# --- names and folders


def test_unknown_corpus_name_lists_the_known():
    with pytest.raises(CorpusError, match=r"'banking78' is neither a file, a folder nor a known corpus \(banking77, "):
        Corpus.open("banking78")


def test_meta_text_data_is_where_a_name_is_looked_up(tmp_path, monkeypatch):
    write_jsonl(tmp_path / "mine" / "texts.jsonl", ROWS)
    monkeypatch.setenv("META_TEXT_DATA", str(tmp_path))
    expect_rows(Corpus.open("mine"))
    with pytest.raises(CorpusError, match=rf"corpus 'arsc' .*META_TEXT_DATA \({tmp_path}\).*that contains arsc/"):
        Corpus.open("arsc")
    monkeypatch.delenv("META_TEXT_DATA")
    with pytest.raises(CorpusError, match=r"is not in META_TEXT_DATA \(not set\)"):
        Corpus.open("arsc")


def test_folder_reads_all_files_and_its_class_splits(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", ROWS[:2])
    write_jsonl(tmp_path / "b.jsonl", ROWS[2:])
    split = {"train": ["card_late"], "validation": ["transfer"], "test": ["card_lost"]}
    write_jsonl(tmp_path / "class_splits" / "1.json", [split])
    corpus = Corpus.from_folder(tmp_path)
    expect_rows(corpus)
    assert corpus.class_splits == {"1": ClassSplit(("card_late",), ("transfer",), ("card_lost",))}
    assert corpus.groups is None


def test_folder_without_texts(tmp_path):
    with pytest.raises(CorpusError, match=r"no \*\.csv, .*\*\.parquet file in .*; put the labelled texts there"):
        Corpus.open(tmp_path)


def test_folder_with_domains(tmp_path):
    write_jsonl(tmp_path / "texts.jsonl", reviews("abc"))
    listed = {"train_domains": ["a"], "validation_domains": ["c"], "test_domains": ["b"]}
    write_jsonl(tmp_path / "domains.json", [listed])
    corpus = Corpus.from_folder(tmp_path)
    assert corpus.groups == ("a", "a", "b", "b", "c", "c")
    assert corpus.class_splits["domains"] == ClassSplit(("a/neg", "a/pos"), ("c/neg", "c/pos"), ("b/neg", "b/pos"))


def test_folder_with_thresholds_makes_a_task_of_each_and_holds_back_every_fifth_domain(tmp_path):
    write_jsonl(tmp_path / "texts.jsonl", reviews("abcdefg", ("t2", "t4")))
    write_jsonl(tmp_path / "domains.json", [{"train_domains": list("abcdef"), "test_domains": ["g"]}])
    corpus = Corpus.from_folder(tmp_path)
    assert corpus.skipped == {}  # the same review in two thresholds is no duplicate
    assert len(corpus.class_names) == 7 * 2 * 2
    split = corpus.class_splits["domains"]
    assert split.test == ("g.t2/neg", "g.t2/pos", "g.t4/neg", "g.t4/pos")
    assert {name[0] for name in split.validation} == {"e"}
    assert {name[0] for name in split.train} == set("abcdf")


# --- class splits


def test_overlapping_split():
    with pytest.raises(CorpusError, match="class 'b' is in train and in test; a class belongs to one part only"):
        ClassSplit(("a", "b"), (), ("b",))


def test_split_naming_an_unknown_class_or_part_or_lacking_one(tmp_path):
    split = ClassSplit(("card_lost",), ("transfer",), ("card_lat",))
    with pytest.raises(CorpusError, match="no class 'card_lat'; did you mean 'card_late'"):
        split.check(Corpus.from_rows(ROWS, name="bank"))
    with pytest.raises(CorpusError, match="unknown class part 'dev'; use train, validation or test"):
        split.part("dev")
    with pytest.raises(CorpusError, match="no list 'validation'"):
        ClassSplit.from_file(write_jsonl(tmp_path / "s.json", [{"train": [], "test": []}]))


@given(n_classes=st.integers(3, 40), seed=st.integers(0, 2**31), cut=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_split_by_seed_is_disjoint_complete_and_never_empty(n_classes, seed, cut):
    corpus = toy(n_classes)
    split = ClassSplit.by_seed(corpus, seed, cut)
    assert sorted(split.train + split.validation + split.test) == sorted(corpus.class_names)
    assert min(map(len, (split.train, split.validation, split.test))) >= 1
    assert split == ClassSplit.by_seed(corpus, seed, cut)


def test_split_by_seed_depends_on_the_seed_and_cuts_at_the_fractions():
    splits = [ClassSplit.by_seed(toy(20), seed, (0.5, 0.2)) for seed in range(5)]
    assert {tuple(map(len, (s.train, s.validation, s.test))) for s in splits} == {(10, 4, 6)}
    assert len({s.train for s in splits}) == 5


def test_split_by_seed_keeps_groups_whole():
    split = ClassSplit.by_seed(Corpus.from_rows(reviews("abcdef"), name="reviews", group=("domain",)), 3)
    domains = [{name[0] for name in part} for part in (split.train, split.validation, split.test)]
    assert sum(map(len, domains)) == len(set.union(*domains)) == 6


def test_units_of_a_field():
    corpus = Corpus.from_rows(ROWS, name="bank")
    assert corpus.units() == {name: name for name in corpus.class_names}
    assert corpus.units("domain") == dict.fromkeys(corpus.class_names, "bank")
    with pytest.raises(CorpusError, match=r"no field 'topic' \(found: domain\)"):
        corpus.units("topic")
    mixed = Corpus.from_rows([*ROWS, {"text": "new", "label": "transfer", "domain": "shop"}], name="bank")
    with pytest.raises(CorpusError, match=r"class 'transfer' has 2 values of 'domain' \(bank, shop\); one is needed"):
        mixed.units("domain")
    with pytest.raises(CorpusError, match="corpus 'toy' has 2 classes to split; at least 3 are needed"):
        ClassSplit.by_seed(toy(2), 0)


def test_a_dataset_may_name_its_out_of_scope_label():
    import datasets

    label = datasets.ClassLabel(names=["hello", "oos"])
    features = datasets.Features({"text": datasets.Value("string"), "label": label})
    dataset = datasets.Dataset.from_dict({"text": ["hi", "purple", "hey"], "label": [0, 1, 0]}, features=features)
    corpus = Corpus.from_dataset(dataset, out_of_scope="oos")
    assert corpus.out_of_scope == ("purple",)
    assert corpus.class_names == ("hello",)
