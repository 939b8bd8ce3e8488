"""Disks that are full and places that cannot be written: an error in words, and what was there before is whole."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from test_classifier import TEXTS, fitted
from test_trainer import trainer

from meta_text import FewShotClassifier
from meta_text.cli.console import write_json
from meta_text.errors import OutputError
from meta_text.files import file_sha256, save_tensors


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may be larger: the system refuses the write, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("size", [100, 900, 2_000, 20_000])
def test_a_classifier_is_saved_whole_or_not_at_all(size: int, tmp_path: Path) -> None:
    classifier = fitted()
    classifier.save_pretrained(tmp_path / "model")
    before = digests(tmp_path)
    with (
        room_for(size),
        pytest.raises(
            OutputError,
            match=rf"^{tmp_path}/model cannot be written \(File too large\); what was there before is unchanged: make room, or name a place",
        ),
    ):
        classifier.save_pretrained(tmp_path / "model")
    assert digests(tmp_path) == before
    assert (FewShotClassifier.from_pretrained(tmp_path / "model").predict(TEXTS) == classifier.predict(TEXTS)).all()


def test_a_run_keeps_its_checkpoint_before(tmp_path: Path) -> None:
    trainer(tmp_path, outer_steps=2).run()
    before = digests(tmp_path / "checkpoint")
    made = trainer(tmp_path, outer_steps=2)
    with room_for(20_000), pytest.raises(OutputError, match=f"^{tmp_path}/checkpoint cannot be written"):
        made.run()
    assert digests(tmp_path / "checkpoint") == before
    assert trainer(tmp_path, outer_steps=2).run(resume=True).step == 2


def test_a_result_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_json(path, {"a": 1})
    before = path.read_bytes()
    with room_for(100), pytest.raises(OutputError, match=r"result.json cannot be written \(File too large\)"):
        write_json(path, {"a": "x" * 1000})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/model cannot be written \(Not a directory\)"):
        fitted().save_pretrained(tmp_path / "file" / "model")
    with pytest.raises(OutputError, match=r"file/a.safetensors cannot be written"):
        save_tensors({"a": torch.zeros(1)}, tmp_path / "file" / "a.safetensors")
