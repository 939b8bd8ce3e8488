"""Kills a training run again and again, at random moments and between the operations of a save, and resumes it.

`python benchmarks/soak/kills.py --kills 60` (part of `make soak`). The run that was killed must end with the same bits as one that was
not, may never meet a checkpoint that it cannot read, may lose no more than the steps since the last one, and leaves nothing behind.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch

from meta_text.config import Recipe, load_recipe
from meta_text.errors import ModelFileError
from meta_text.files import file_sha256
from meta_text.saving.model_folder import load_model
from meta_text.training.progress import Progress
from meta_text.training.run import run_recipe

SETTINGS = [
    "embedding.kind='learned'",
    "embedding.width=16",
    "embedding.vocabulary=600",
    "encoder.hidden=8",
    "train.outer_steps=60",
    "train.validate_every=5",
    "train.validation_episodes=5",
    "train.patience=99",
    "evaluate.episodes=10",
]
INTERVAL = 5  # steps between two checkpoints, as above
NOTHING_TO_RESUME, DONE = 3, 0
# what a save is made of; a kill falls before or after one of these
OPERATIONS = (
    (os, "rename"),
    (os, "mkdir"),
    (os, "unlink"),
    (os, "rmdir"),
    (os, "open"),
    (Path, "write_text"),
    (Path, "replace"),
)


def dying(operation: Callable[..., Any], count: list[int], last: int) -> Callable[..., Any]:
    """The same operation; the process is killed before or after the one with number `last` of all that are counted."""

    @wraps(operation)
    def counted(*arguments: Any, **options: Any) -> Any:
        count[0] += 1
        if count[0] == last and last % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        made = operation(*arguments, **options)
        if count[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    return counted


def start(recipe: Recipe, out: Path, resume: bool, last_operation: int | None = None) -> int:
    """The process id of a run in a fork of this program, which has imported everything."""
    if (process := os.fork()) > 0:
        return process
    code = 1
    try:
        count = [0]
        if last_operation is not None:
            for owner, name in OPERATIONS:
                setattr(owner, name, dying(getattr(owner, name), count, last_operation))
        run_recipe(recipe, Progress(), out, resume=resume)
        code = DONE
    except ModelFileError as error:
        code = NOTHING_TO_RESUME if "nothing to resume" in str(error) else 1
        print(error, file=sys.stderr)
    finally:
        os._exit(code)


def ended(process: int, within: float | None = None) -> int:
    """The exit code of a run, negative for a signal; it is killed after `within` seconds."""
    deadline = None if within is None else time.monotonic() + within
    while deadline is not None and time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    if deadline is not None:
        os.kill(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def steps_logged(out: Path) -> list[int]:
    path = out / "history.jsonl"
    whole = [line for line in path.read_text("utf-8").splitlines() if line.endswith("}")] if path.exists() else []
    return [json.loads(line)["step"] for line in whole]


def steps_saved(out: Path) -> int:
    """Steps of the checkpoint, which must be readable, also after a kill between the two renames of a save."""
    folders = [path for path in (out.iterdir() if out.exists() else ()) if "checkpoint" in path.name]
    states = [
        json.loads((path / "trainer.json").read_text("utf-8"))["step"]
        for path in folders
        if (path / "trainer.json").exists()
    ]
    if (out / "checkpoint").exists():
        load_model(out / "checkpoint")
    return max(states, default=0)


def bits(out: Path) -> dict[str, str]:
    """SHA-256 of every file of the model and of the last checkpoint, and the steps of the history."""
    whole = {
        path.relative_to(out).as_posix(): file_sha256(path)
        for part in ("model", "checkpoint")
        for path in sorted((out / part).rglob("*.safetensors"))
    }
    return {**whole, "history": str(steps_logged(out))}


def main() -> None:
    """Kill, resume, compare; exits with 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    draw, recipe = random.Random(options.seed), load_recipe("intent", SETTINGS)
    folder = Path(tempfile.mkdtemp())
    straight, killed = folder / "straight", folder / "killed"
    began = time.monotonic()
    assert ended(start(recipe, straight, resume=False)) == DONE
    length = time.monotonic() - began
    kills, most_lost, resume, began_again = 0, 0, False, 0
    while True:
        at_operation = kills % 2 == 1
        last = draw.randrange(1, 120) if at_operation else None
        enough = kills >= options.kills
        process = start(recipe, killed, resume, None if enough else last)
        code = ended(process, None if enough or at_operation else draw.uniform(0.1, 0.6) * length)
        if code == NOTHING_TO_RESUME:
            resume, began_again = False, began_again + 1
            continue
        if code == DONE:
            if enough:
                break
            shutil.rmtree(killed)  # the run was over before the kill: once more from the start
            resume = False
            continue
        assert code == -signal.SIGKILL, f"the run ended with {code}"
        kills += 1
        lost = max(steps_logged(killed), default=0) - steps_saved(killed)
        most_lost, resume = max(most_lost, lost), True
    differing = [name for name, digest in bits(straight).items() if bits(killed).get(name) != digest]
    left = [path.name for path in killed.rglob(".*.partial*")]
    print(
        f"{kills} kills survived, half of them between the operations of a save; {began_again} before the first checkpoint"
    )
    print(
        f"most steps lost at once: {most_lost} (a checkpoint every {INTERVAL}); files that differ: {differing or 'none'}; left behind: {left or 'nothing'}"
    )
    shutil.rmtree(folder)
    sys.exit(bool(differing or left or most_lost > INTERVAL))


if __name__ == "__main__":
    main()
