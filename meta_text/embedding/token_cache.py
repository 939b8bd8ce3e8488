"""Token states of frozen embeddings on disk: each text is encoded once, then read through a memory map.

One folder a key (model, weights, length, precision); in it shards, each a safetensors file of
concatenated states with the lengths and hashes of its texts. A shard is written under a temporary
name and renamed, so a killed writer leaves nothing half-readable and two writers do not collide. Where all
folders together outgrow the limit, the shards that were opened longest ago go; whoever still reads one keeps it.
"""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

SHARD_TEXTS = 2048  # ~20 MB of MiniLM states a shard at 14 tokens a text
LIMIT_GIB = 20.0  # of all token states, unless META_TEXT_CACHE_GIB says otherwise
ABANDONED_SECONDS = 24 * 3600  # a partial file of this age has no writer any more


def cache_root() -> Path:
    """META_TEXT_CACHE, or the user's cache folder."""
    return Path(os.environ.get("META_TEXT_CACHE") or Path.home() / ".cache" / "meta_text").expanduser()


def cache_limit() -> int:
    """Bytes that cached token states may take. Raises ValueError for a META_TEXT_CACHE_GIB that is no size."""
    given = os.environ.get("META_TEXT_CACHE_GIB")
    try:
        gib = LIMIT_GIB if given is None else float(given)
    except ValueError:
        gib = -1.0
    if not gib >= 0:
        raise ValueError(f"META_TEXT_CACHE_GIB={given}; a number of GiB is needed, such as 20 or 0.5")
    return int(gib * 2**30)


def evict(root: Path, limit: int) -> None:
    """Delete the shards under `root` that were opened longest ago, until the others take at most `limit` bytes."""
    shards = []
    for path in (root / "token_states").glob("*/*"):
        try:
            found = path.stat()
        except FileNotFoundError:  # another process evicts too
            continue
        if path.suffix == ".safetensors":
            shards.append((found.st_mtime, found.st_size, path))
        elif time.time() - found.st_mtime > ABANDONED_SECONDS:
            path.unlink(missing_ok=True)
    taken = sum(size for _, size, _ in shards)
    for _, size, path in sorted(shards):
        if taken <= limit:
            return
        path.unlink(missing_ok=True)
        taken -= size


def text_key(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class TokenCache:
    """Maps texts to float16 token states [T E], stored under `root/key`."""

    def __init__(self, key: dict[str, str | int], root: Path | None = None) -> None:
        digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=12).hexdigest()
        self.root = root or cache_root()
        self.folder = self.root / "token_states" / digest
        self.key = key
        self._where: dict[str, tuple[int, int, int]] = {}  # text hash -> shard, first token, tokens
        self._states: list[Tensor] = []
        self._known: set[str] = set()

    def refresh(self) -> None:
        """Read the index of shards that appeared since the last look."""
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name not in self._known:
                self._add(path)

    def _add(self, path: Path) -> None:
        try:
            os.utime(path)  # opened now: the last to be evicted
            with safe_open(path, framework="pt") as shard:
                lengths = shard.get_tensor("lengths").tolist()
                hashes = [bytes(row).hex() for row in shard.get_tensor("hashes").numpy()]
                states = shard.get_tensor("states")  # memory-mapped, so it stays even where the file is evicted
        except FileNotFoundError:  # evicted by another process since the folder was listed
            return
        self._states.append(states)
        self._known.add(path.name)
        start = 0
        for text_hash, length in zip(hashes, lengths, strict=True):
            self._where[text_hash] = (len(self._states) - 1, start, length)
            start += length

    def fill(
        self,
        texts: Sequence[str],
        encode: Callable[[Sequence[str]], list[Tensor]],
        progress: Callable[[int], None] = lambda done: None,
    ) -> int:
        """Encode the texts that are not stored yet; returns how many that were."""
        self.refresh()
        limit = cache_limit()
        missing = [text for text in dict.fromkeys(texts) if text_key(text) not in self._where]
        missing.sort(key=len)  # texts of a shard pad to one length
        for start in range(0, len(missing), SHARD_TEXTS):
            part = missing[start : start + SHARD_TEXTS]
            self._add(self._write(part, encode(part)))
            evict(self.root, limit)
            progress(start + len(part))
        return len(missing)

    def _write(self, texts: Sequence[str], states: list[Tensor]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        hashes = b"".join(bytes.fromhex(text_key(text)) for text in texts)
        tensors = {
            "states": torch.cat(states).to(torch.float16).contiguous(),
            "lengths": torch.tensor([len(s) for s in states], dtype=torch.int32),
            "hashes": torch.frombuffer(bytearray(hashes), dtype=torch.uint8).view(len(texts), 16),
        }
        final = self.folder / f"{uuid.uuid4().hex}.safetensors"
        partial = final.with_suffix(".partial")
        save_file(tensors, partial, metadata={"key": json.dumps(self.key, sort_keys=True)})
        partial.rename(final)
        return final

    def get(self, text: str) -> Tensor:
        """Token states [T E] as float16, a view into the memory map. Raises KeyError for a text never filled in."""
        shard, start, length = self._where[text_key(text)]
        return self._states[shard][start : start + length]
