"""One model trained by two processes (gloo), against the same training in one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from test_runs import SMALL

from meta_text.config import load_recipe
from meta_text.errors import ConfigError
from meta_text.training.processes import Processes
from meta_text.training.run import run_recipe

ROOT = Path(__file__).parent.parent
TOLERANCE = 1e-6  # sums of gradients in another order


def train(out: Path, *launcher: str, **variables: str) -> subprocess.CompletedProcess[str]:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    words = [sys.executable, *launcher, "-m", "meta_text", "train", "intent", *settings, "--out", str(out)]
    words += ["--json", str(out.with_suffix(".json"))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=280)


def history(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.long
def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    two = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    run_recipe(load_recipe("intent", SMALL), out=tmp_path / "one")
    shared = train(tmp_path / "two", *two)
    assert shared.returncode == 0, shared.stderr
    for name in ("checkpoint/model", "checkpoint/best", "model/model"):
        first, second = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("one", "two"))
        assert first.keys() == second.keys()
        for key in first:
            torch.testing.assert_close(first[key], second[key], rtol=0, atol=TOLERANCE)
    steps = [history(tmp_path / run) for run in ("one", "two")]
    assert [step["validation"] for step in steps[0]] == [step["validation"] for step in steps[1]]
    assert len(steps[0]) == 13 and steps[0][-1]["loss"] == pytest.approx(steps[1][-1]["loss"], rel=1e-5)
    assert shared.stdout.count("best at step") == 1  # one of the two writes


@pytest.mark.long
def test_the_same_seed_is_the_same_model_and_report_in_another_process(tmp_path: Path) -> None:
    """Whatever order sets of strings have in it."""
    for seed in ("0", "1"):
        ended = train(tmp_path / seed, PYTHONHASHSEED=seed)
        assert ended.returncode == 0, ended.stderr
    files = [file.relative_to(tmp_path / "0") for file in (tmp_path / "0").rglob("*") if file.is_file()]
    assert {Path("model/model.safetensors"), Path("model/README.md"), Path("history.jsonl")} <= set(files)
    different = [str(file) for file in files if _content(tmp_path / "0" / file) != _content(tmp_path / "1" / file)]
    assert different == []
    assert _content(tmp_path / "0.json") == _content(tmp_path / "1.json")


def _content(file: Path) -> Any:
    """Bytes, or JSON without what a clock measured."""
    if not file.suffix.startswith(".json"):
        return file.read_bytes()
    text = file.read_text("utf-8")
    return [_untimed(json.loads(part)) for part in (text.splitlines() if file.suffix == ".jsonl" else [text])]


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untimed(part) for key, part in value.items() if "second" not in key}
    return [_untimed(part) for part in value] if isinstance(value, list) else value


class Two(Accelerator):
    """As if this were the second of two processes."""

    process_index, num_processes = 1, 2


def test_a_share_is_every_second_item_and_comes_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = Processes(Two(cpu=True), episodes_per_step=4)
    assert processes.share("abcde") == "bd"
    monkeypatch.setattr("meta_text.training.processes.gather_object", lambda own: [["a", "c", "e"], *own])
    assert processes.in_order(["b", "d"]) == list("abcde")


def test_more_processes_than_episodes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"2 processes, but train.episodes_per_step = 1; .*start fewer, or raise it"):
        Processes(Two(cpu=True), episodes_per_step=1)
