"""The cache of token states between processes: two writers at once, a limit on its size."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from meta_text.embedding import token_cache
from meta_text.embedding.token_cache import TokenCache, cache_limit, evict

WRITER = """
import sys, time
from pathlib import Path
import torch
from meta_text.embedding import token_cache
from meta_text.embedding.token_cache import TokenCache

token_cache.SHARD_TEXTS = 7
root, first = Path(sys.argv[1]), int(sys.argv[2])
(root / f"ready{first}").touch()
while len(list(root.glob("ready*"))) < 2:  # both write from now on
    time.sleep(0.01)
texts = [f"text {i}" for i in range(first, first + 200)]
cache = TokenCache({"model": "m"}, root)
cache.fill(texts, lambda part: [torch.full((1 + len(text) % 3, 4), float(text.split()[1])) for text in part])
for text in texts:
    states = cache.get(text)
    assert states.shape == (1 + len(text) % 3, 4) and (states == float(text.split()[1])).all(), text
"""


def fill(root: Path, name: str, *texts: str) -> TokenCache:
    cache = TokenCache({"model": name}, root)
    cache.fill(texts, lambda part: [torch.ones(50, 4) for _ in part])
    return cache


def stored(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*.safetensors"))


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(first)], env=environment) for first in (0, 100)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    cache = TokenCache({"model": "m"}, tmp_path)
    assert cache.fill([f"text {i}" for i in range(300)], lambda part: pytest.fail("all are there")) == 0
    assert all((cache.get(f"text {i}") == i).all() for i in range(300))


def test_the_shard_opened_longest_ago_is_evicted_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caches = [fill(tmp_path, name, name) for name in ("first", "second")]
    one = stored(tmp_path) / 2
    for age, cache in ((200, caches[0]), (100, caches[1])):
        (shard,) = cache.folder.iterdir()
        os.utime(shard, (shard.stat().st_mtime - age,) * 2)
    TokenCache({"model": "first"}, tmp_path).refresh()  # opened again, so no longer the oldest
    monkeypatch.setenv("META_TEXT_CACHE_GIB", str(2.5 * one / 2**30))
    third = fill(tmp_path, "third", "third")
    assert [len(list(cache.folder.iterdir())) for cache in (*caches, third)] == [1, 0, 1]
    assert stored(tmp_path) <= cache_limit()
    assert torch.equal(caches[1].get("second"), torch.ones(50, 4).half())  # its reader still has it
    encoded: list[str] = []
    again = TokenCache({"model": "second"}, tmp_path)
    assert again.fill(["second"], lambda part: [encoded.append(t) or torch.ones(50, 4) for t in part]) == 1
    assert encoded == ["second"]


def test_a_shard_that_goes_while_the_folder_is_read(tmp_path: Path) -> None:
    cache = fill(tmp_path, "m", "a text")
    (shard,) = cache.folder.iterdir()
    reader = TokenCache({"model": "m"}, tmp_path)
    shard.unlink()
    reader._open(shard)
    assert reader.fill(["a text"], lambda part: [torch.ones(50, 4) for _ in part]) == 1


def test_what_a_killed_writer_left_goes_after_a_day(tmp_path: Path) -> None:
    folder = fill(tmp_path, "m", "a text").folder
    for name, age in (("old", token_cache.ABANDONED_SECONDS + 60), ("new", 0)):
        (folder / f"{name}.partial").write_bytes(b"half")
        os.utime(folder / f"{name}.partial", ((folder / f"{name}.partial").stat().st_mtime - age,) * 2)
    evict(tmp_path, 2**30)
    assert sorted(path.name for path in folder.glob("*.partial")) == ["new.partial"]
    assert len(list(folder.glob("*.safetensors"))) == 1


@pytest.mark.parametrize("wrong", ["much", "-1", "nan"])
def test_a_limit_that_is_no_size(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_CACHE_GIB", wrong)
    with pytest.raises(ValueError, match=f"META_TEXT_CACHE_GIB={wrong}; a number of GiB is needed, such as 20"):
        cache_limit()
