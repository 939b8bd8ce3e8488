"""Vectors that the user brings: made by a function of theirs, or ready in place of the texts."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from meta_text.embedding.process import own_settings
from meta_text.embedding.reading import Progress, Represented
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.errors import InputError

BATCH_TEXTS = 1024  # that a user's function gets at once


class CallableEncoder(SentenceEncoder):
    """A function from a list of texts to an array [n, width]; the width is fixed by its first answer.

    The function gets at most 1,024 texts at once, in their order. name: what cards and saved folders call it; without
    one, it is the function's own. The digest is over the name, the function's module and its qualified name: give
    another name to another model behind the same function.
    """

    cost = None

    def __init__(self, function: Callable[[list[str]], Any], name: str | None = None) -> None:
        self.function = function
        self.origin = _origin(function)
        self.name = name or self.origin.rsplit(".", 1)[-1]
        self.width = 0  # not known before the first answer

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Represented:
        parts: list[Tensor] = []
        for start in range(0, len(texts), BATCH_TEXTS):
            batch = list(texts[start : start + BATCH_TEXTS])
            vectors = as_vectors(self._called(batch, start), f"embedding '{self.name}' returned")
            if len(vectors) != len(batch):
                raise InputError(
                    f"embedding '{self.name}' returned {len(vectors)} vectors for {len(batch)} texts; "
                    "one vector per text is needed, in the order of the texts"
                )
            self.width = _same_width(self.width, vectors, f"embedding '{self.name}' returned")
            parts += vectors.unbind()
            if progress is not None:
                progress(len(parts), len(texts))
        return _read_whole(parts)

    def digest(self) -> str:
        return hashlib.sha256(f"callable {self.name} {self.origin}".encode()).hexdigest()

    def _called(self, batch: list[str], start: int) -> Any:
        try:
            return self.function(batch)
        except Exception as error:  # the user's own, whatever it is: raised again with a note
            error.add_note(f"raised by embedding '{self.name}' for the texts {start} to {start + len(batch) - 1}")
            raise


class VectorEncoder(SentenceEncoder):
    """Vectors in place of texts: rows of an array of numbers [n, width]; the width is fixed by the first call.

    Where rows have to go through code that holds texts, `row_texts` writes them as text, and `encode` reads that too.
    """

    name = source = "vectors"

    def __init__(self, width: int = 0) -> None:
        self.width = width  # 0: not known before the first call

    @own_settings()
    def encode(self, texts: Any, progress: Progress | None = None) -> Represented:
        texts = _numbers(texts)
        vectors = as_vectors(texts, "embedding='vectors' got") if _len_of(texts) else torch.empty(0, self.width)
        if len(vectors):
            self.width = _same_width(self.width, vectors, "embedding='vectors' got")
        if progress is not None:
            progress(len(vectors), len(vectors))
        return _read_whole(list(vectors.unbind()))

    def digest(self) -> str:
        return hashlib.sha256(b"vectors").hexdigest()


def _numbers(texts: Any) -> Any:
    """What `row_texts` wrote, as numbers again; anything else as it is."""
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return texts
    try:
        return [[float(number) for number in text.split()] for text in texts]
    except ValueError:
        return texts


def row_texts(vectors: Any) -> list[str]:
    """Each row of an array as a text of its numbers, from which the same float32 numbers are read again."""
    if _len_of(vectors) == 0:
        return []
    return [" ".join(map(repr, row)) for row in as_vectors(vectors, "embedding='vectors' got").tolist()]


@own_settings()
def as_vectors(found: Any, who: str) -> Tensor:
    """A float32 copy [n, width] of an array, a tensor or a list of lists of finite numbers. Raises InputError."""
    _refuse_tables(found, who)
    if isinstance(found, Sequence) and any(isinstance(row, Tensor) for row in found):
        found = [_to_numpy(row) if isinstance(row, Tensor) else row for row in found]
    try:
        array = np.asarray(_to_numpy(found) if isinstance(found, Tensor) else found)
    except ValueError as error:
        raise InputError(f"{who} rows of unequal length; every row needs the same number of numbers") from error
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"{who} {type(found).__name__} of {_kind(array)}; numbers are needed, one row per text: an array [n, width]"
        )
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(
            f"{who} an array of shape {list(array.shape)}; [n, width] is needed, one row of numbers per text"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is reported below
        vectors = torch.from_numpy(array.astype(np.float32))
    bad = (~vectors.isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        raise InputError(
            f"{who} {len(bad)} vectors with numbers that are not finite (NaN, or too large for float32), "
            f"the first in row {bad[0]}; replace them, or leave these rows out"
        )
    return vectors


def _len_of(rows: Any) -> int:
    """The number of rows; sparse matrices have a shape, but no length. What has neither counts as one, to be refused."""
    if hasattr(rows, "shape") and len(rows.shape):
        return int(rows.shape[0])
    return len(rows) if hasattr(rows, "__len__") else 1


def _refuse_tables(found: Any, who: str) -> None:
    module = type(found).__module__.partition(".")[0]
    if module in ("pandas", "polars", "pyarrow"):
        raise InputError(f"{who} a {type(found).__name__} of {module}; pass its numbers: X.to_numpy()")
    if hasattr(found, "toarray") or (isinstance(found, Tensor) and found.layout != torch.strided):
        way_out = "to_dense" if isinstance(found, Tensor) else "toarray"
        raise InputError(
            f"{who} a sparse {type(found).__name__}; dense vectors are needed: X.{way_out}(), "
            "or fewer columns first, such as TruncatedSVD makes"
        )
    if np.ma.is_masked(found):
        raise InputError(
            f"{who} an array with {np.ma.count_masked(found)} masked numbers; every number is needed: X.filled(0), or leave "
            "these rows out"
        )


def _to_numpy(tensor: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
    plain = tensor.detach().cpu()
    return (plain.float() if plain.is_floating_point() else plain).numpy()


def _kind(array: np.ndarray[Any, np.dtype[Any]]) -> str:
    kinds = {"U": "texts", "S": "bytes", "O": "mixed objects", "b": "booleans", "c": "complex numbers"}
    return kinds.get(array.dtype.kind, str(array.dtype))


def _same_width(width: int, vectors: Tensor, who: str) -> int:
    if width and vectors.shape[1] != width:
        raise InputError(f"{who} vectors of {vectors.shape[1]} numbers, before they had {width}; one width is needed")
    return vectors.shape[1]


def _read_whole(parts: list[Tensor]) -> Represented:
    return Represented(parts, [False] * len(parts), [False] * len(parts))


def _origin(function: Any) -> str:
    """Module and qualified name of a function, of what functools.partial wraps, or of a callable object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or ''}.{named.__qualname__}"
