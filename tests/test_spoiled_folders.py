"""Folders that are not as they were written: each is one clear ModelFileError, never a raw exception."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from test_classifier import fitted

from meta_text.classify.classifier import FewShotClassifier
from meta_text.errors import ModelFileError

Spoil = Callable[[Path], Any]


def config(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / "config.json").read_text("utf-8"))
        change(values)
        (folder / "config.json").write_text(json.dumps(values), "utf-8")

    return spoil


def write(name: str, data: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(data)


def remove(name: str) -> Spoil:
    return lambda folder: (folder / name).unlink()


def without_hashes(spoil: Spoil, *keys: str) -> Spoil:
    """As in the first folders of format version 1."""

    def both(folder: Path) -> None:
        spoil(folder)
        config(lambda c: [c["classifier"].pop("sha256"), c["classifier"].pop("support_sha256")])(folder)
        config(lambda c: c.pop("tokenizer_sha256"))(folder)

    return both


def cut_in_half(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def flip_a_bit(folder: Path) -> None:
    data = bytearray((folder / "task.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "task.safetensors").write_bytes(bytes(data))


def rename_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["learner.unknown"] = tensors.pop("learner.log_scale")
    save_file(tensors, folder / "model.safetensors")


OTHER_CLASSES = (
    r"the classes in .*config.json \(labels, names, shots, corrections\) are not those that were saved; change"
)
SPOILED: dict[str, tuple[Spoil, str]] = {
    "pickle": (write("pytorch_model.bin", b"x"), "pytorch_model.bin, a format that can run code"),
    "model truncated": (cut_in_half, "cannot be read .* copy the whole folder again"),
    "model missing": (remove("model.safetensors"), "model.safetensors cannot be read"),
    "model is a pickle": (write("model.safetensors", b"\x80\x04."), "model.safetensors cannot be read"),
    "tensor renamed": (rename_a_tensor, "does not fit its config.json"),
    "task changed": (flip_a_bit, "not the file that config.json describes"),
    "task missing": (remove("task.safetensors"), "task.safetensors cannot be read"),
    "version newer": (
        config(lambda c: c.update(format_version=99)),
        "format version 99 but this package reads 1; upgrade",
    ),
    "version missing": (
        config(lambda c: c.pop("format_version")),
        "has no format_version, so it is not a meta_text model",
    ),
    "config missing": (remove("config.json"), "no model at .*: config.json is missing"),
    "config is a list": (write("config.json", b"[]"), "config.json holds a list; an object is needed"),
    "config is no JSON": (write("config.json", b"{"), "config.json is not JSON"),
    "config is Latin-1": (write("config.json", b'{"a": "\xe9"}'), "config.json is not UTF-8"),
    "no recipe": (config(lambda c: c.pop("recipe")), "config.json: 'recipe' is missing"),
    "no calibration": (config(lambda c: c.pop("calibration")), "'calibration' is missing"),
    "no results": (config(lambda c: c.pop("results")), "'results' is missing"),
    "calibration broken": (
        config(lambda c: c["calibration"]["plain"].update(temperature=[1, 2])),
        r"'calibration\.plain' is .*2 temperature weights; 4 or 6 are needed",
    ),
    "a threshold missing": (
        config(lambda c: c["calibration"]["plain"]["thresholds"].pop()),
        "config.json: 'calibration.plain' is .*5 thresholds of 4 weights each are needed",
    ),
    "recipe of another version": (config(lambda c: c["recipe"]["train"].update(zz=1)), "has no key 'zz'.*upgrade"),
    "a retired key that asked for more": (
        config(lambda c: c["recipe"]["encoder"].update(pooling="max")),
        r"config.json: \[encoder\] pooling = 'max', which this version no longer supports: .* train the model again",
    ),
    "unknown learner": (config(lambda c: c["recipe"]["learner"].update(name="new")), "unknown learner 'new'.*upgrade"),
    "class added": (
        config(lambda c: c["classifier"]["labels"].append("boat")),
        "lists 3 classes but task.safetensors holds 2",
    ),
    "labels reversed": (config(lambda c: c["classifier"]["labels"].reverse()), OTHER_CLASSES),
    "label renamed": (config(lambda c: c["classifier"]["labels"].__setitem__(0, "boat")), OTHER_CLASSES),
    "shots changed": (config(lambda c: c["classifier"].update(shots=9.0)), OTHER_CLASSES),
    "names changed": (config(lambda c: c["classifier"].update(names=["a", "b"])), OTHER_CLASSES),
    "no labels": (config(lambda c: c["classifier"].pop("labels")), "config.json, classifier: 'labels' is missing"),
    "labels of an odd kind": (config(lambda c: c["classifier"].update(labels=[[], {}])), r"'labels\.0.* is '\[\]'"),
    "no task hash": (config(lambda c: c["classifier"].pop("task_sha256")), "'task_sha256' is missing"),
    "tokenizer missing": (remove("tokenizer.json"), "tokenizer.json is missing"),
    "tokenizer changed": (write("tokenizer.json", b"{}"), "tokenizer.json is not the file that config.json describes"),
    "tokenizer empty": (without_hashes(write("tokenizer.json", b"{}")), "tokenizer.json is not a tokenizer"),
    "tokenizer no JSON": (without_hashes(write("tokenizer.json", b"{")), "tokenizer.json is not JSON"),
    "other texts": (
        write("support.jsonl", b'{"text": "x", "label": "car"}\n'),
        "does not hold the texts that were learned; change them through the classifier",
    ),
    "texts of an unknown class": (
        without_hashes(write("support.jsonl", b'{"text": "x", "label": "boat"}\n')),
        "support.jsonl, line 1: a text with one of the labels in config.json is needed",
    ),
    "texts without a label": (without_hashes(write("support.jsonl", b'{"text": "x"}\n')), "support.jsonl, line 1"),
    "texts no JSON": (without_hashes(write("support.jsonl", b"{\n")), "support.jsonl, line 1: not JSON"),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED)
def test_spoiled_folders_are_refused(spoil: Spoil, message: str, tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "saved", include_support=True)
    spoil(tmp_path / "saved")
    with pytest.raises(ModelFileError, match=message):
        FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu")


def test_the_first_folders_of_format_version_1_lack_the_hashes_and_load(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "saved", include_support=True)
    without_hashes(lambda folder: None)(tmp_path / "saved")
    assert FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu").predict(["tyre"]) == ["car"]


def test_a_calibration_of_earlier_versions_also_counts_its_episodes(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "saved")
    config(lambda c: c["calibration"]["plain"].update(episodes=160))(tmp_path / "saved")
    again = FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu")
    assert again.predict(["tyre"], reject=0.05).tolist() == fitted().predict(["tyre"], reject=0.05).tolist()


def test_the_support_texts_may_be_taken_away(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "saved", include_support=True)
    (tmp_path / "saved" / "support.jsonl").unlink()
    assert FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu").predict(["tyre"]) == ["car"]


def test_the_hashes_are_those_of_the_files(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "saved", include_support=True)
    stored = json.loads((tmp_path / "saved" / "config.json").read_text("utf-8"))
    for key, name in (("task_sha256", "task.safetensors"), ("support_sha256", "support.jsonl")):
        assert stored["classifier"][key] == hashlib.sha256((tmp_path / "saved" / name).read_bytes()).hexdigest()
