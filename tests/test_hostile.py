"""Files made to do harm: each is refused in words, or does none."""

import gzip
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from encoder_folders import sentence_folder
from test_classifier import LABELS, TEXTS, fitted, small_model

from meta_text import FewShotClassifier
from meta_text.config import load_recipe
from meta_text.corpus import excel_rows, text_lines
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.read_rows import read_rows
from meta_text.embedding.encoder_folder import open_folder
from meta_text.errors import ConfigError, CorpusError, MetaTextError, ModelFileError
from meta_text.saving.card import model_card
from meta_text.saving.model_folder import _check_link, read_config, read_tensors

DEEP = "[" * 100_000
LONG = "1" * 5_000  # digits; Python reads at most 4,300


def wrote(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("nasty", [DEEP, LONG], ids=["deep", "long"])
@pytest.mark.parametrize(
    ("name", "template", "read", "message"),
    [
        ("recipe.toml", "a = {}", load_recipe, "recipe.toml is not TOML: (nested too deeply|Exceeds the limit)"),
        ("config.json", "{}", lambda path: read_config(path.parent), "config.json is not JSON .*copy the whole folder"),
        ("a.json", '[{{"text": {}', lambda path: list(read_rows(path)), "a.json, line 1: not JSON"),
        ("a.jsonl", '{{"text": {}', lambda path: list(read_rows(path)), "a.jsonl, line 1: not JSON"),
        ("corpus/domains.json", "{}", lambda path: Corpus.open(path.parent), "domains.json is not JSON"),
        ("corpus/class_splits/1.json", "{}", lambda path: Corpus.open(path.parents[1]), "1.json is not JSON"),
    ],
)
def test_what_parsers_cannot_take_is_named(
    name: str, template: str, read: Callable[[Path], Any], message: str, nasty: str, tmp_path: Path
) -> None:
    wrote(tmp_path / "corpus" / "texts.csv", "text,label\na,b\nc,d\n")
    path = wrote(tmp_path / name, template.format(nasty))
    with pytest.raises(MetaTextError, match=message):
        read(path)


@pytest.mark.parametrize("nasty", [DEEP, LONG], ids=["deep", "long"])
def test_an_override_that_cannot_be_parsed_is_a_word(nasty: str) -> None:
    with pytest.raises(ConfigError, match=r"\[train\] seed = "):
        load_recipe("intent", [f"train.seed={nasty}"])


def safetensors_file(path: Path, header: dict[str, Any], size: int | None = None) -> Path:
    raw = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if size is None else size) + raw)
    return path


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        ({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, 2**62),
        ({"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}, None),
        ({"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}, None),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, None),
        ({"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}, None),
    ],
)
def test_headers_of_weights_that_promise_too_much(entry: dict[str, Any], size: int | None, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot be read .*copy the whole folder again"):
        read_tensors(safetensors_file(tmp_path / "model.safetensors", {"a": entry}, size))


def spreadsheet(path: Path, sheet: Callable[[bytes], bytes]) -> Path:
    """A real .xlsx whose first sheet is changed."""
    book = openpyxl.Workbook()
    book.active.append(["text", "label"])
    book.active.append(["red wine", "wine"])
    plain = path.with_name("plain.xlsx")
    book.save(plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for part in source.infolist():
            data = source.read(part)
            target.writestr(part.filename, sheet(data) if part.filename.endswith("sheet1.xml") else data)
    return path


def test_a_spreadsheet_that_unpacks_to_more_than_fits_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spreadsheet(tmp_path / "bomb.xlsx", lambda data: data + b" " * (3 << 20))
    assert path.stat().st_size < 20_000
    assert [row["label"] for row in read_rows(tmp_path / "plain.xlsx")] == ["wine"]
    monkeypatch.setattr(excel_rows, "MOST_BYTES", 2 << 20)
    with pytest.raises(CorpusError, match=r"has 0 MiB but unpacks to 3 MiB; .*at most 2 MiB are read: save it as .csv"):
        list(read_rows(path))


def test_entities_that_grow_are_not_expanded(tmp_path: Path) -> None:
    grown = "".join(
        f'<!ENTITY {name} "{10 * f"&{before};"}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "{100 * "x"}">{grown}]>'.encode()
    path = spreadsheet(
        tmp_path / "laughs.xlsx",
        lambda data: (
            head + data.replace(b"</sheetData>", b'<row><c t="inlineStr"><is><t>&i;</t></is></c></row></sheetData>')
        ),
    )
    with pytest.raises(CorpusError, match=r"is not an .xlsx spreadsheet, or is damaged .*save it again"):
        list(read_rows(path))


def test_a_packed_line_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "LONGEST_LINE", 2 << 20)
    path = tmp_path / "texts.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\n" + b"a" * (8 << 20)))
    assert path.stat().st_size < 20_000
    with pytest.raises(
        CorpusError, match=r"has a line of more than 2 MiB, too long for one text; put each text on a line"
    ):
        list(read_rows(path))


@pytest.mark.parametrize("place", ["../elsewhere", "/etc"])
def test_modules_of_an_encoder_lie_in_its_folder(place: str, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "encoder")
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    modules[-1]["path"] = place
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    with pytest.raises(ModelFileError, match=r"modules.json names .*, which is not in the model's folder"):
        open_folder(folder, "encoder")


def test_a_link_to_another_file_of_this_machine_is_not_published(tmp_path: Path) -> None:
    secret = wrote(tmp_path / "secret.json", "{}")
    model = wrote(tmp_path / "model" / "config.json", "{}").parent
    (model / "tokenizer.json").symlink_to(secret)
    with pytest.raises(ModelFileError, match=f"is a link to {secret}, which may be anything; put a copy"):
        _check_link(model / "tokenizer.json")
    _check_link(model / "config.json")
    blob = wrote(tmp_path / "hub" / "blobs" / "1f", "{}")
    snapshot = tmp_path / "hub" / "snapshots" / "2e"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").symlink_to(blob)
    _check_link(snapshot / "config.json")


SCRIPT = "<script>alert(1)</script>"
ODD_LABELS = [SCRIPT, "[x](javascript:alert(1))", "a\n---\n# Owned", "../../etc/passwd", "| a | b |", "`code`"]


def test_labels_are_only_words_in_a_card() -> None:
    card = model_card(small_model(), ODD_LABELS, None, "1f")
    assert r"\<script\>alert(1)\</script\>" in card and SCRIPT not in card
    assert r"\[x\](javascript" in card
    assert "\n# Owned" not in card and r"a --- \# Owned" in card
    assert card.count("\n# ") == 1


def test_labels_are_never_file_names(tmp_path: Path) -> None:
    texts = [f"{text} {i}" for i, text in enumerate(TEXTS)]
    FewShotClassifier(small_model()).fit(texts, ODD_LABELS).save_pretrained(tmp_path / "model")
    fitted().save_pretrained(tmp_path / "plain")
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in files if name.startswith("model/")} == {
        name.replace("plain/", "model/") for name in files if name.startswith("plain/")
    }
    assert all(name.startswith(("model/", "plain/")) for name in files)
    assert sorted(FewShotClassifier.from_pretrained(tmp_path / "model").classes_) == sorted(ODD_LABELS)


def test_a_repository_with_code_runs_none_of_it(tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "encoder")
    marker = tmp_path / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(marker)!r}, 'w')\nclass Own: ...\n")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["auto_map"] = {"AutoModel": "modeling_own.Own", "AutoConfig": "modeling_own.Own"}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelFileError, match=r"asks for code of the model's own .*such code is never run here"):
        FewShotClassifier(embedding=str(folder)).fit(TEXTS, LABELS)
    assert not marker.exists()
