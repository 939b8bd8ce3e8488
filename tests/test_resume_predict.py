"""A prediction run over a file that was killed goes on after its last whole chunk."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_classifier import LABELS, MODEL, TEXTS
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.classify import predict_file as tables
from meta_text.classify.input_rows import InputRow
from meta_text.classify.predict_file import predict_file
from meta_text.corpus.read_rows import read_rows
from meta_text.errors import CorpusError, OutputError

KILLED = """
import os, signal, sys
from pathlib import Path
from meta_text import FewShotClassifier
from meta_text.classify import predict_file as tables

tables.CHUNK_ROWS = 3
add = tables.Parts.add

def add_three(self, number, *chunk):
    if number == 3:
        (self.folder / f"{number:08d}.partial").write_bytes(b"half a pa")
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, number, *chunk)

tables.Parts.add = add_three
classifier = FewShotClassifier.from_pretrained(sys.argv[1], device="cpu")
tables.predict_file(classifier, sys.argv[2], sys.argv[3], "text", None, Path(sys.argv[4]))
"""


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tables, "CHUNK_ROWS", 3)
    FewShotClassifier(MODEL, device="cpu").fit(TEXTS, LABELS).save_pretrained(tmp_path / "mine")
    rows = [{"text": ("wine " if i % 3 else "tyre ") * (i % 4 + 1)} if i % 5 else {"text": ""} for i in range(20)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "mine"


def killed(saved: Path, target: Path) -> None:
    words = [sys.executable, "-c", KILLED, saved, saved.parent / "in.jsonl", target, saved.parent / "bad.jsonl"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    assert subprocess.run(list(map(str, words)), env=environment, timeout=200).returncode == -signal.SIGKILL
    assert not target.exists()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_killed_run_goes_on_and_ends_as_one_that_was_not(kind: str, saved: Path, tmp_path: Path) -> None:
    source, target = str(tmp_path / "in.jsonl"), tmp_path / f"out.{kind}"
    classifier = FewShotClassifier.from_pretrained(saved, device="cpu")
    predict_file(classifier, source, str(tmp_path / f"whole.{kind}"), "text", None, tmp_path / "all_bad.jsonl")
    killed(saved, target)
    seen: list[int] = []
    unread: list[InputRow] = []
    files = (source, str(target), "text", None, tmp_path / "bad.jsonl")
    bad = predict_file(classifier, *files, seen.append, unread.append, resume=True)
    assert seen == [12, 15, 18, 20]  # three chunks of three were there
    assert bad == 4
    assert [row.number for row in unread] == [1, 6, 11, 16]  # the first two from before
    if kind == "parquet":
        assert list(read_rows(target)) == list(read_rows(tmp_path / "whole.parquet"))
    else:
        assert target.read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()
    assert (tmp_path / "bad.jsonl").read_bytes() == (tmp_path / "all_bad.jsonl").read_bytes()
    assert [json.loads(line)["row"] for line in (tmp_path / "bad.jsonl").read_text().splitlines()] == [1, 6, 11, 16]
    assert not list(tmp_path.glob(".*"))


def test_parts_of_another_run_are_refused(saved: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.csv"
    killed(saved, target)
    classifier = FewShotClassifier.from_pretrained(saved, device="cpu")
    with pytest.raises(
        OutputError, match=r"parts of .*out.csv were made with a different reject; use the same, or run"
    ):
        predict_file(classifier, str(source), str(target), "text", 0.05, None, resume=True)
    source.write_text(source.read_text() + '{"text": "one more"}\n')
    other = FewShotClassifier(MODEL, device="cpu").fit(TEXTS[:5], LABELS[:5])
    with pytest.raises(OutputError, match="made with a different input and classifier"):
        predict_file(other, str(source), str(target), "text", None, None, resume=True)
    assert predict_file(other, str(source), str(target), "text", None, None) == 4  # starts over
    assert len(list(read_rows(target))) == 21


def test_nothing_to_resume_from(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = str(tmp_path / "in.jsonl"), str(tmp_path / "out.csv")
    for words, message in [
        (["--input", source, "--output", out], "nothing to resume: no parts of"),
        (["--input", source], "standard output cannot be resumed; name a file with --output"),
        (["--input", "-", "--output", out], "standard input cannot be resumed"),
        (["a text"], "TEXT arguments leave nothing to resume"),
    ]:
        assert run(monkeypatch, "predict", str(saved), *words, "--resume", "--device", "cpu") == 2
        assert message in capsys.readouterr().err
    assert run(monkeypatch, "predict", str(saved), "--input", source, "--output", out, "--device", "cpu") == 0
    assert "4 rows without a readable text got no label" in capsys.readouterr().err


def test_an_empty_file_and_wide_tables(saved: Path, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    classifier = FewShotClassifier.from_pretrained(saved, device="cpu")
    (tmp_path / "none.jsonl").touch()
    for kind in ("csv", "jsonl", "parquet"):
        assert (
            predict_file(classifier, str(tmp_path / "none.jsonl"), str(tmp_path / f"o.{kind}"), "text", None, None) == 0
        )
        assert list(read_rows(tmp_path / f"o.{kind}")) == []
    table = pyarrow.table({"text": ["red wine", "flat tyre"] * 4, "wide": ["x" * 1000] * 8})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    predict_file(classifier, str(tmp_path / "in.parquet"), str(tmp_path / "o.jsonl"), "text", None, None)
    assert [row["label"] for row in read_rows(tmp_path / "o.jsonl")] == ["wine", "car"] * 4
    with pytest.raises(
        CorpusError, match=r"no column 'body' \(found: text, wide\); rename the column, or name it \(--text on"
    ):
        predict_file(classifier, str(tmp_path / "in.parquet"), str(tmp_path / "o.jsonl"), "body", None, None)
