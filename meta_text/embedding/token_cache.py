"""Token states of frozen embeddings on disk: each text is encoded once, then read through a memory map.

There is one folder per key (model, weights, length, precision). It holds shards: safetensors files of concatenated
states, with the lengths and hashes of their texts. A shard is written completely or not at all, so a killed writer
leaves nothing half-readable and two writers do not collide. If all folders together exceed the limit, the shards
opened longest ago are deleted; a process that still reads one keeps it. If the cache cannot be read or written, the
log has one warning, and the states are computed and kept in memory.
"""

import hashlib
import json
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from meta_text.errors import ConfigError
from meta_text.files import save_tensors

log = logging.getLogger(__name__)

SHARD_TEXTS = 2048  # ~20 MB of MiniLM states per shard at 14 tokens per text
LIMIT_GIB = 20.0  # for all token states, unless META_TEXT_CACHE_GIB is set
ABANDONED_SECONDS = 24 * 3600  # a partial file of this age no longer has a writer


def cache_root() -> Path:
    """META_TEXT_CACHE, or the user's cache folder; a temporary one for a user without a home."""
    try:
        return Path(os.environ.get("META_TEXT_CACHE") or "~/.cache/meta_text").expanduser()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "meta_text"


def cache_limit() -> int:
    """Bytes that cached token states may take. Raises ConfigError for a META_TEXT_CACHE_GIB that is not a size."""
    setting = os.environ.get("META_TEXT_CACHE_GIB")
    try:
        gib = LIMIT_GIB if setting is None else float(setting)
    except ValueError:
        gib = -1.0
    if not gib >= 0:
        raise ConfigError(f"META_TEXT_CACHE_GIB={setting}; a number of GiB is needed, such as 20 or 0.5")
    return int(gib * 2**30)


def evict(root: Path, limit: int) -> None:
    """Delete the shards under `root` that were opened longest ago, until the others take at most `limit` bytes."""
    shards = []
    for path in (root / "token_states").glob("*/*"):
        try:
            status = path.stat()
        except OSError:  # another process evicts too, or the folder is not ours
            continue
        if path.suffix == ".safetensors":
            shards.append((status.st_mtime, status.st_size, path))
        elif time.time() - status.st_mtime > ABANDONED_SECONDS:
            _delete(path)
    taken = sum(size for _, size, _ in shards)
    for _, size, path in sorted(shards):
        if taken <= limit:
            return
        _delete(path)
        taken -= size


def _delete(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


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
        self._writes = True  # until a write fails, which is reported once

    def refresh(self) -> None:
        """Read the index of shards that appeared since the last look."""
        try:
            paths = sorted(path for path in self.folder.glob("*.safetensors") if path.name not in self._known)
        except OSError as error:
            self._warn(f"{self.folder} cannot be read ({error})")
            return
        for path in paths:
            self._open(path)

    def _open(self, path: Path) -> None:
        self._known.add(path.name)
        try:
            with suppress(PermissionError):  # somebody else's cache, mounted read-only
                os.utime(path)  # opened now: the last to be evicted
            with safe_open(path, framework="pt") as shard:
                lengths = shard.get_tensor("lengths").tolist()
                hashes = [bytes(row).hex() for row in shard.get_tensor("hashes").numpy()]
                states = shard.get_tensor("states")  # memory-mapped, so it stays even if the file is evicted
        except FileNotFoundError:  # evicted by another process since the folder was listed
            return
        except (OSError, SafetensorError) as error:
            self._drop(path, str(error))
            return
        if len(hashes) != len(lengths) or sum(lengths) != len(states):
            self._drop(path, "its parts do not fit together")
        else:
            self._add(hashes, lengths, states)

    def _drop(self, path: Path, why: str) -> None:
        self._warn(f"{path} is broken ({why})")
        _delete(path)

    def _warn(self, what: str) -> None:
        log.warning("%s; its token states are computed again", what)

    def _add(self, hashes: Sequence[str], lengths: Sequence[int], states: Tensor) -> None:
        self._states.append(states)
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
        """Encode the texts that are not stored yet; returns their number."""
        self.refresh()
        limit = cache_limit()
        missing = [text for text in dict.fromkeys(texts) if text_key(text) not in self._where]
        missing.sort(key=len)  # texts of a shard pad to one length
        for start in range(0, len(missing), SHARD_TEXTS):
            part = missing[start : start + SHARD_TEXTS]
            self._store(part, encode(part))
            evict(self.root, limit)
            progress(start + len(part))
        return len(missing)

    def _store(self, texts: Sequence[str], states: list[Tensor]) -> None:
        """Write a shard and read it back through a memory map; keep the states in memory if that fails."""
        hashes = [text_key(text) for text in texts]
        lengths = [len(part) for part in states]
        joined = torch.cat(states).to(torch.float16).contiguous()
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            raw = torch.frombuffer(bytearray(bytes.fromhex("".join(hashes))), dtype=torch.uint8).view(len(texts), 16)
            tensors = {"states": joined, "lengths": torch.tensor(lengths, dtype=torch.int32), "hashes": raw}
            save_tensors(tensors, path, {"key": json.dumps(self.key, sort_keys=True)})
        except (OSError, SafetensorError) as error:
            if self._writes:
                self._writes = False
                log.warning("token states cannot be kept in %s (%s); they are held in memory", self.folder, error)
            self._add(hashes, lengths, joined)
            return
        self._open(path)
        if hashes[-1] not in self._where:  # evicted or damaged at once
            self._add(hashes, lengths, joined)

    def get(self, text: str) -> Tensor:
        """Token states [T E] as float16, a view into the memory map. Raises KeyError for a text never filled in."""
        shard, start, length = self._where[text_key(text)]
        return self._states[shard][start : start + length]


class MemoryCache:
    """What `TokenCache` does, as long as the process lives."""

    def __init__(self) -> None:
        self._states: dict[str, Tensor] = {}

    def fill(
        self,
        texts: Sequence[str],
        encode: Callable[[Sequence[str]], list[Tensor]],
        progress: Callable[[int], None] = lambda done: None,
    ) -> int:
        """Encode the texts that are not known yet; returns their number."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._states]
        for start in range(0, len(missing), SHARD_TEXTS):
            part = missing[start : start + SHARD_TEXTS]
            self._states.update(zip(part, (states.half() for states in encode(part)), strict=True))
            progress(start + len(part))
        return len(missing)

    def get(self, text: str) -> Tensor:
        """The float16 states [T E] of a text that was filled in."""
        return self._states[text]
