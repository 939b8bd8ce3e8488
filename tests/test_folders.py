"""Writing folders whole or not at all, never in the place of somebody else's files."""

import json
from pathlib import Path

import pytest
from test_classifier import LABELS, MODEL, TEXTS, fitted, small_model

from meta_text import FewShotClassifier
from meta_text.errors import ModelFileError
from meta_text.files import check_target, file_sha256, recover, replacing, whole_file


def write(target: Path, content: str) -> None:
    with replacing(target) as folder:
        (folder / "config.json").write_text(json.dumps({"library": "meta_text", "content": content}), "utf-8")


def content(folder: Path) -> str:
    return str(json.loads((folder / "config.json").read_text("utf-8"))["content"])


def test_new_empty_and_earlier_folders_are_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for target in (tmp_path / "new" / "deep", tmp_path / "empty", tmp_path / "empty"):
        write(target, target.name)
        assert content(target) == target.name
    write(tmp_path / "empty", "again")
    assert content(tmp_path / "empty") == "again"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (
            lambda p: (p.mkdir(), (p / "good.csv").write_text("x")),
            "contains good.csv, which this package did not write",
        ),
        (lambda p: p.write_text("x"), "target is a file; name a folder"),
        (lambda p: (p.mkdir(), (p / "README.md").write_text("x")), "no config.json written by this package"),
        (lambda p: (p.mkdir(), (p / "config.json").write_text('{"a": 1}')), "no config.json written by this package"),
        (lambda p: (write(p, "a"), (p / "notes.txt").write_text("x")), "contains notes.txt"),
    ],
)
def test_other_peoples_files_are_never_replaced(prepare: object, message: str, tmp_path: Path) -> None:
    target = tmp_path / "target"
    prepare(target)  # type: ignore[operator]
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(ModelFileError, match=message):
        fitted().save_pretrained(target)
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(ModelFileError):
        write(tmp_path / "link", "x")
    (tmp_path / "link").unlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_the_working_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelFileError, match="is the working directory itself; name a folder in it"):
        check_target(Path())


def test_a_block_that_fails_leaves_the_old_folder(tmp_path: Path) -> None:
    write(tmp_path / "model", "old")
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "model"):
        raise KeyboardInterrupt
    assert content(tmp_path / "model") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("new_is_there", [True, False])
def test_what_a_kill_between_the_renames_left_is_finished(new_is_there: bool, tmp_path: Path) -> None:
    for name, text in ((".model.1f.partial.old", "old"), (".model.1f.partial", "new"))[: 1 + new_is_there]:
        write(tmp_path / name, text)
    recover(tmp_path / "model")
    assert content(tmp_path / "model") == ("new" if new_is_there else "old")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_is_read_after_a_kill_between_the_renames(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".model.1f.partial.old")
    assert FewShotClassifier.from_pretrained(tmp_path / "model", device="cpu").predict(["tyre"]) == ["car"]


def test_a_folder_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    import torch

    other = small_model("protonet")
    torch.nn.init.normal_(other.embedding.body.weight)  # type: ignore[arg-type]
    for model in (MODEL, other):
        classifier = FewShotClassifier(model).fit(TEXTS, LABELS)
        classifier.save_pretrained(tmp_path / "same")
        again = FewShotClassifier.from_pretrained(tmp_path / "same", device="cpu")
        assert (again.predict_proba(TEXTS) == classifier.predict_proba(TEXTS)).all()
    assert again.meta_model is FewShotClassifier.from_pretrained(tmp_path / "same", device="cpu").meta_model


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OSError, match="disk full"), whole_file(target) as partial:
        partial.write_text("half")
        raise OSError("disk full")
    assert target.read_text() == "old"
    with whole_file(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "new"


def test_oracle_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # the first example of FIPS 180-2
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
