"""Tables as people have them: written by Python's csv and by pandas in many dialects, read back equal."""
# ruff: noqa: RUF001  # texts in several languages

import codecs
import csv
import gzip
import io
import json
from itertools import product
from pathlib import Path

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meta_text.classify.input_rows import input_rows
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.csv_rows import csv_rows
from meta_text.corpus.read_rows import column_names, read_rows, table_rows
from meta_text.corpus.table_row import BadRow
from meta_text.corpus.text_lines import TextFile
from meta_text.errors import CorpusError

# what pandas and csv write alike; of carriage returns, those alone in a text are another matter (see below)
CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t")
WESTERN = st.sampled_from("abc xyz,;|\t\n\"'éüßñ€–“”")
QUOTING = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
ENDS = ("\n", "\r\n", "\r")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252")


def text(characters: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.text(characters, min_size=1, max_size=12).filter(str.strip)


def rows_of(characters: st.SearchStrategy[str]) -> st.SearchStrategy[list[dict[str, str]]]:
    row = st.fixed_dictionaries({"text": text(characters), "label": text(characters).map(str.strip)})
    return st.lists(row, min_size=2, max_size=6)


@st.composite
def files(draw: st.DrawFn) -> tuple[list[dict[str, str]], str, str, bytes, str]:
    """Rows, and the bytes of a CSV file that holds them, in one of 90 dialects by each of two writers."""
    mark, quoting, end, encoding = draw(st.sampled_from(list(product(",;\t|", QUOTING, ENDS, ENCODINGS))))
    rows = draw(rows_of(WESTERN if encoding == "cp1252" else CHARACTERS))
    if end == "\r":  # an old Mac's file has no line feed, also not in its texts
        rows = [{key: value.replace("\n", " ").strip() for key, value in row.items()} for row in rows]
    written = io.StringIO(newline="")
    if draw(st.booleans()):
        pandas.DataFrame(rows).to_csv(written, sep=mark, quoting=quoting, lineterminator=end, index=False)
    else:
        writer = csv.DictWriter(written, ["text", "label"], delimiter=mark, quoting=quoting, lineterminator=end)
        writer.writeheader()
        writer.writerows(rows)
    return (
        rows,
        mark,
        encoding,
        written.getvalue().encode(encoding),
        draw(st.sampled_from([".csv", ".CSV", ".csv.gz", ".tsv"])),
    )


@settings(max_examples=150)
@given(written=files())
def test_what_pandas_and_csv_write_is_read_back(
    written: tuple[list[dict[str, str]], str, str, bytes, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows, mark, encoding, data, suffix = written
    path = tmp_path_factory.mktemp("dialect") / f"a{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    notes: list[str] = []
    named = encoding if encoding in ("utf-16-le", "cp1252") else None  # too short for a guess to be sure
    assert list(read_rows(path, ("text", "label"), encoding=named, note=notes.append)) == rows
    usual = "\t" if suffix == ".tsv" else ","
    assert [note for note in notes if "separated" in note] == [] if mark == usual else len(notes) == 1
    assert list(read_rows(path, separator=mark, encoding=encoding)) == rows  # the same, told


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_separator_is_guessed_from_the_header_and_told(mark: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        f"text{mark}label\nred, wine; or | not{mark}wine\n".replace(f"; or | not{mark}", mark)
    )
    expected = "red, wine" if mark != "," else "red"
    notes: list[str] = []
    if mark == ",":
        (tmp_path / "a.csv").write_text("text,label\nred,wine\n")
    (row,) = read_rows(tmp_path / "a.csv", ("text", "label"), note=notes.append)
    assert row == {"text": expected, "label": "wine"}
    assert len(notes) == (mark != ",")
    if mark != ",":
        assert f"separated by {mark!r}, not by commas (a guess); --separator" in notes[0]
        with pytest.raises(CorpusError, match=r"line 1: columns seem to be separated by .*; pass separator="):
            list(read_rows(tmp_path / "a.csv"))


def test_a_declared_separator_is_no_guess(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\ntext;label\nred, wine;wine\n")
    assert list(read_rows(tmp_path / "a.csv")) == [{"text": "red, wine", "label": "wine"}]
    (tmp_path / "b.csv").write_text("text;label\na;b,c\n")
    with pytest.raises(CorpusError, match="line 2: 2 cells where the header has 1; put texts with commas in quotes"):
        list(read_rows(tmp_path / "b.csv", separator=","))
    for name in ("semicolon", ";"):
        assert list(read_rows(tmp_path / "b.csv", separator=name)) == [{"text": "a", "label": "b,c"}]


def test_headings_in_any_case_with_outer_spaces_and_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(" Text , LABEL,\nred wine,wine,\nflat tyre,car,x\n")
    corpus = Corpus.open(tmp_path / "a.csv")
    assert (corpus.texts, corpus.class_names) == (("red wine", "flat tyre"), ("car", "wine"))
    assert corpus.fields == {"column 3": ("", "x")}
    assert column_names(tmp_path / "a.csv") == ["Text", "LABEL", "column 3"]


def test_a_space_after_each_separator(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text, label\n"red, wine", wine\nx, "a, b"\n')
    assert [row["label"] for row in read_rows(tmp_path / "a.csv")] == ["wine", "a, b"]


FRENCH = "text;label\ncafé fermé;a\noù est mon colis ?;b\nça n’est jamais arrivé;b\n"
POLISH = "text;label\nchcę zwrot pieniędzy;zwrot\nproszę o pomoc, coś się zepsuło;x\nźle działa łącze;z\n"
RUSSIAN = "text;label\nгде моя посылка;доставка\nверните деньги;возврат\nкарта потеряна;карта\n"
JAPANESE = "text,label\n荷物はどこですか,a\n返金してください,b\nカードをなくしました,c\n"
GUESSES = {
    "cp1252": FRENCH,
    "cp1250": POLISH,
    "cp1251": RUSSIAN,
    "koi8_r": RUSSIAN,
    "shift_jis": JAPANESE,
    "utf-16-le": FRENCH,
    "utf-16-be": FRENCH,
}


@pytest.mark.parametrize("encoding", GUESSES)
def test_an_encoding_is_guessed_and_told(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(GUESSES[encoding].encode(encoding))
    notes: list[str] = []
    rows = list(read_rows(tmp_path / "a.csv", ("text", "label"), note=notes.append))
    assert [tuple(row.values()) for row in rows] == [
        tuple(line.replace(",", ";").split(";")) if encoding == "shift_jis" else tuple(line.split(";"))
        for line in GUESSES[encoding].splitlines()[1:]
    ]
    assert f"read as {encoding} (a guess" in notes[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_no_guess(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\ncafé,x\n".encode(encoding))
    assert list(read_rows(tmp_path / "a.csv")) == [{"text": "café", "label": "x"}]
    (tmp_path / "a.jsonl").write_bytes('{"text": "café"}\n'.encode(encoding))
    assert list(read_rows(tmp_path / "a.jsonl")) == [{"text": "café"}]


def test_a_stray_byte_among_utf8_costs_its_row_alone(tmp_path: Path) -> None:
    data = "text,label\ncafé noir,x\nthé vert,x\n".encode() + b"caf\xe9,x\n" + "über,y\n".encode()
    (tmp_path / "a.csv").write_bytes(data)
    notes: list[str] = []
    rows = list(table_rows(tmp_path / "a.csv", note=notes.append))
    assert notes == []
    assert [row if isinstance(row, BadRow) else row["text"] for row in rows] == [
        "café noir",
        "thé vert",
        BadRow(4, "byte 0xe9 is not UTF-8; name the file's encoding (encoding=, --encoding), or save it as UTF-8"),
        "über",
    ]


@pytest.mark.parametrize(("text", "encoding"), [("nie działa", "cp1250"), ("10 m² à 5 € ou à 20°", "cp1252")])
def test_a_superscript_inside_a_word_is_a_polish_letter(text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(f"text\n{text}\n".encode(encoding))
    notes: list[str] = []
    assert list(read_rows(tmp_path / "a.csv", note=notes.append)) == [{"text": text}]
    assert f"read as {encoding} (a guess" in notes[0]


# --- quotes


def lines_and_problems(path: Path) -> list[object]:
    return [row if isinstance(row, BadRow) else row["text"] for row in csv_rows(TextFile.open(path))]


def test_an_open_quote_costs_its_own_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('label,text\nwine,red wine\ncar,"flat tyre\ncar,new tyre\nwine,"a ""b""\nc"\ncar,"open\n')
    first, bad, second, third, last = lines_and_problems(path)
    assert (first, second, third) == ("red wine", "new tyre", 'a "b"\nc')
    for row, line in ((bad, 3), (last, 7)):
        assert isinstance(row, BadRow)
        assert row.line == line
        assert row.problem.startswith("a quote opens here and is not closed; close it")


def test_an_open_quote_ends_where_the_next_row_opens_one(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"label","text"\n"car","flat tyre\n"car","new tyre"\n"wine","rose"\n')
    bad, *rest = lines_and_problems(path)
    assert isinstance(bad, BadRow) and bad.line == 2
    assert rest == ["new tyre", "rose"]


def test_a_quote_may_be_open_for_so_many_lines_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an open quote swallows is held in memory until it is known to be open."""
    path = tmp_path / "a.csv"
    path.write_text('label,text\ncar,"open' + "\nwine,rose" * 6 + '"\nwine,red\n')
    (whole, last) = lines_and_problems(path)
    assert (whole, last) == ("open" + "\nwine,rose" * 6, "red")
    monkeypatch.setattr("meta_text.corpus.csv_rows.MOST_LINES", 5)
    bad, *rest = lines_and_problems(path)
    assert isinstance(bad, BadRow) and bad.line == 2
    assert rest == [*["rose"] * 5, 'rose"', "red"]


def test_backslash_quotes_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('label,text\nx,"he said \\"hi, you\\" twice"\ny,C:\\dir\n')
    bad, kept = lines_and_problems(path)
    assert isinstance(bad, BadRow)
    assert "escaped by a backslash" in bad.problem
    assert kept == "C:\\dir"


# --- blank rows, other formats


def test_blank_rows_at_the_end_are_passed_over_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nred,wine\n,\nflat,car\n,\n ,\n\n,\n")
    notes: list[str] = []
    rows = list(read_rows(tmp_path / "a.csv", note=notes.append))
    assert [row["text"] for row in rows] == ["red", "", "flat"]
    assert notes == ["a.csv: 3 blank rows at the end are skipped"]
    with pytest.raises(CorpusError, match=r"a\.csv, row 2: text is ''; a non-empty string is needed"):
        Corpus.open(tmp_path / "a.csv")
    corpus = Corpus.open(tmp_path / "a.csv", bad_rows="skip")
    assert corpus.skipped == {"empty text": 1}
    assert corpus.describe().endswith("skipped 1 (empty text); a.csv: 3 blank rows at the end are skipped")


def test_excel(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    for row in [("Text", " Label ", "n"), ("red, wine", "wine", 1), (None, None, None), ("flat\ntyre", 7, 2.5)]:
        sheet.append(row)
    sheet.cell(row=9, column=1).value = " "
    book.create_sheet("more")
    book.save(tmp_path / "Mine.XLSX")
    notes: list[str] = []
    rows = list(read_rows(tmp_path / "Mine.XLSX", note=notes.append))
    assert rows == [
        {"Text": "red, wine", "Label": "wine", "n": 1},
        {"Text": None, "Label": None, "n": None},
        {"Text": "flat\ntyre", "Label": 7, "n": 2.5},
    ]
    assert notes == [
        "Mine.XLSX: the first of 2 sheets is read, 'Sheet'",
        "Mine.XLSX: 5 blank rows at the end are skipped",
    ]
    corpus = Corpus.open(tmp_path / "Mine.XLSX", bad_rows="skip")
    assert corpus.class_names == ("7", "wine")


@pytest.mark.parametrize("name", ["a.json", "a.JSON", "a.json.gz"])
def test_json_arrays_and_lines(name: str, tmp_path: Path) -> None:
    rows = [{"text": "red\nwine", "label": "wine"}, {"text": "tyre", "label": "car"}]
    pack = gzip.compress if name.endswith("gz") else bytes
    for data in (json.dumps(rows, indent=1), "\n" + "\n".join(map(json.dumps, rows))):
        (tmp_path / name).write_bytes(pack(data.encode()))
        assert list(read_rows(tmp_path / name)) == rows
    (tmp_path / "a.ndjson").write_text("\n\n".join(map(json.dumps, rows)) + "\n\n")
    assert list(read_rows(tmp_path / "a.ndjson")) == rows


def test_lines_of_plain_text(tmp_path: Path) -> None:
    lines = ["where is it, then?", 'a "quoted" word', "", "  café;\tnoir"]
    data = "\r\n".join([*lines, "", ""])
    (tmp_path / "a.txt").write_bytes(data.encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(data.encode()))
    said: list[str] = []
    for name in ("a.txt", "b.txt.gz"):
        rows = list(read_rows(tmp_path / name, ("typed",), note=said.append))
        assert rows == [{"typed": line} for line in lines]
        assert column_names(tmp_path / name, ("typed",)) == ["typed"]
    assert said == [f"{name}: 1 blank row at the end is skipped" for name in ("a.txt", "b.txt.gz")]
    assert next(iter(read_rows(tmp_path / "a.txt"))) == {"text": lines[0]}


def test_plain_lines_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("café\nthé\n".encode("cp1252") * 30)
    said: list[str] = []
    assert list(read_rows(tmp_path / "a.txt", note=said.append))[:2] == [{"text": "café"}, {"text": "thé"}]
    assert "read as cp1252 (a guess" in said[0]
    (tmp_path / "b.txt").write_bytes("café\nthé\nüber\n".encode() + b"caf\xe9\nlast\n")
    with pytest.raises(CorpusError, match=r"b\.txt, line 4: byte 0xe9 is not UTF-8"):
        list(read_rows(tmp_path / "b.txt"))


def test_lines_of_plain_text_hold_no_labels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    expected = r"a\.txt: the lines of a \.txt file are texts without labels; put texts and labels into a table with the columns text and label, such as"
    with pytest.raises(CorpusError, match=expected):
        list(read_rows(tmp_path / "a.txt", ("text", "label")))
    with pytest.raises(CorpusError, match="texts without labels"):
        Corpus.open(str(tmp_path / "a.txt"))


def test_old_macs_end_lines_with_a_carriage_return(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(codecs.BOM_UTF8 + b"text,label\rred,wine\rflat,car\r")
    assert [row["text"] for row in read_rows(tmp_path / "a.csv")] == ["red", "flat"]


def test_blank_rows_above_the_header_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n  \n\ntext;label\nred wine;wine\nflat tyre;car\n")
    pandas.DataFrame({"text": ["red wine", "flat tyre"], "label": ["wine", "car"]}).to_excel(
        tmp_path / "a.xlsx", startrow=2, index=False
    )
    for name in ("a.csv", "a.xlsx"):
        assert [(row.number, row.text) for row in input_rows(str(tmp_path / name), note=print)] == [
            (1, "red wine"),
            (2, "flat tyre"),
        ]
        assert Corpus.open(tmp_path / name).class_names == ("car", "wine")


def test_a_file_without_the_column_and_without_rows_is_no_empty_answer(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("<html>\n")
    with pytest.raises(CorpusError, match=r"line 1: no column 'text' \(found: <html>\)"):
        list(input_rows(str(tmp_path / "a.csv")))
