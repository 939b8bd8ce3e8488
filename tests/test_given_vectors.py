"""Vectors of a user's function, and ready vectors in place of texts."""

import functools
import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch

from meta_text.embedding.encoders import open_encoder
from meta_text.embedding.given_vectors import BATCH_TEXTS, row_texts
from meta_text.embedding.sentence_encoder import SentenceEncoder
from meta_text.errors import InputError

TEXTS = ["a", "bb", "ccc"]
ROWS = [[1.0, 0.5], [2.0, 0.5], [3.0, 0.5]]


def function(texts: list[str]) -> list[list[float]]:
    return [[len(text), 0.5] for text in texts]


class Model:
    def __call__(self, texts: list[str]) -> np.ndarray:
        return np.array(function(texts))


def encoder_of(answer: Any) -> SentenceEncoder:
    return open_encoder(lambda texts: answer, name="mine")


ANSWERS: dict[str, Any] = {
    "float64": np.array(ROWS),
    "float16": np.array(ROWS, dtype=np.float16),
    "lists": ROWS,
    "tuples of arrays": tuple(np.array(row) for row in ROWS),
    "torch": torch.tensor(ROWS, requires_grad=True),
    "bfloat16": torch.tensor(ROWS, dtype=torch.bfloat16),
    "list of tensors": [torch.tensor(row) for row in ROWS],
    "a view backwards": np.array(ROWS[::-1])[::-1],
    "read only": np.frombuffer(np.array(ROWS).tobytes()).reshape(3, 2),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_numbers_in_any_array(answer: Any) -> None:
    for found in (encoder_of(answer).encode(TEXTS).parts, open_encoder("vectors").encode(answer).parts):
        assert torch.stack(found).tolist() == ROWS
        assert all(part.dtype == torch.float32 and not part.requires_grad for part in found)


def test_whole_numbers() -> None:
    assert torch.stack(open_encoder("vectors").encode(np.arange(6).reshape(3, 2)).parts).tolist() == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]


def test_later_changes_of_the_array_do_not_matter() -> None:
    array = np.array(ROWS, dtype=np.float32)
    parts = open_encoder("vectors").encode(array).parts
    array[:] = 0
    assert torch.stack(parts).tolist() == ROWS


NAN, LARGE = np.array(ROWS), np.array(ROWS)
NAN[1, 0], LARGE[2, 1] = np.nan, 1e300
BAD: dict[str, tuple[Any, str]] = {
    "NaN": (NAN, r"1 vectors with numbers that are not finite .* the first in row 1; replace them"),
    "too large": (LARGE, "1 vectors .* too large for float32.* the first in row 2"),
    "ragged": ([[1.0, 2.0], [3.0], [4.0, 5.0]], "rows of unequal length; every row needs the same number"),
    "one row": (np.arange(3.0), r"an array of shape \[3\]; \[n, width\] is needed"),
    "three axes": (np.zeros((3, 1, 2)), r"an array of shape \[3, 1, 2\]; \[n, width\] is needed"),
    "no column": (np.zeros((3, 0)), r"an array of shape \[3, 0\]"),
    "texts": (["a", "b", "c"], "list of texts; numbers are needed, one row per text"),
    "objects": (np.array([[None, 1], [2, 3], [4, 5]]), "ndarray of mixed objects; numbers are needed"),
    "booleans": (np.ones((3, 2), dtype=bool), "ndarray of booleans; numbers are needed"),
    "complex": (np.ones((3, 2), dtype=complex), "ndarray of complex numbers; numbers are needed"),
    "pandas": (pd.DataFrame(ROWS), r"a DataFrame of pandas; pass its numbers: X.to_numpy\(\)"),
    "polars": (pl.DataFrame(ROWS), r"a DataFrame of polars; pass its numbers: X.to_numpy\(\)"),
    "masked": (
        np.ma.masked_equal(ROWS, ROWS[1][0]),
        r"an array with 1 masked numbers; every number is needed: X.filled",
    ),
    "sparse": (scipy.sparse.csr_array(ROWS), r"a sparse csr_array; dense vectors are needed: X.toarray\(\)"),
    "sparse torch": (torch.tensor(ROWS).to_sparse(), r"a sparse Tensor; dense vectors are needed: X.to_dense\(\)"),
}


@pytest.mark.parametrize(("answer", "message"), BAD.values(), ids=BAD)
def test_anything_else_is_refused(answer: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"embedding 'mine' returned .*{message}"):
        encoder_of(answer).encode(TEXTS)
    with pytest.raises(InputError, match=f"embedding='vectors' got .*{message}"):
        open_encoder("vectors").encode(answer)


def test_nothing_and_single_values_are_refused() -> None:
    with pytest.raises(InputError, match=r"embedding 'mine' returned NoneType of mixed objects; numbers are needed"):
        encoder_of(None).encode(TEXTS)
    with pytest.raises(InputError, match=r"embedding 'mine' returned an array of shape \[\]"):
        encoder_of(3.0).encode(TEXTS)
    with pytest.raises(InputError, match=r"embedding='vectors' got .*numbers are needed"):
        open_encoder("vectors").encode("a text")
    for nothing in (None, (row for row in ROWS), 3.0):
        for way_in in (open_encoder("vectors").encode, row_texts):
            with pytest.raises(InputError, match=r"embedding='vectors' got .*(numbers are|\[n, width\] is) needed"):
                way_in(nothing)


def test_the_width_is_fixed_by_the_first_vectors() -> None:
    vectors = open_encoder("vectors")
    vectors.encode(ROWS)
    assert vectors.width == 2
    with pytest.raises(InputError, match="vectors of 3 numbers, before they had 2; one width is needed"):
        vectors.encode(np.zeros((1, 3)))
    assert vectors.encode(np.zeros((0, 2))).parts == vectors.encode([]).parts == []
    mine = open_encoder(lambda texts: np.zeros((len(texts), len(texts))), name="mine")
    mine.encode(TEXTS)
    with pytest.raises(InputError, match="embedding 'mine' returned vectors of 2 numbers, before they had 3"):
        mine.encode(TEXTS[:2])


def test_one_vector_per_text_is_needed() -> None:
    with pytest.raises(InputError, match="returned 3 vectors for 2 texts; one vector per text is needed, in the order"):
        encoder_of(ROWS).encode(TEXTS[:2])


def test_a_function_gets_lists_of_at_most_1024_texts_in_order() -> None:
    seen: list[list[str]] = []

    def kept(texts: list[str]) -> np.ndarray:
        assert type(texts) is list
        seen.append(texts)
        return np.array([[int(text)] for text in texts])

    texts = [str(i) for i in range(2 * BATCH_TEXTS + 1)]
    steps: list[tuple[int, int]] = []
    parts = open_encoder(kept).encode(tuple(texts), lambda done, of: steps.append((done, of))).parts
    assert [int(part) for part in parts] == list(range(len(texts)))
    assert [len(batch) for batch in seen] == [BATCH_TEXTS, BATCH_TEXTS, 1]
    assert steps == [(BATCH_TEXTS, 2049), (2 * BATCH_TEXTS, 2049), (2049, 2049)]


def test_an_error_of_the_function_is_the_users_with_a_note() -> None:
    def broken(texts: list[str]) -> np.ndarray:
        raise ConnectionError("no answer")

    with pytest.raises(ConnectionError, match="no answer") as caught:
        open_encoder(broken).encode(TEXTS)
    assert caught.value.__notes__ == ["raised by embedding 'broken' for the texts 0 to 2"]


def test_names_and_digests_come_from_the_function_unless_given() -> None:
    assert open_encoder(function).name == "function"
    assert open_encoder(Model()).name == "Model"
    assert open_encoder(functools.partial(function)).digest() == open_encoder(function).digest()
    assert open_encoder(function, name="api-v2").name == "api-v2"
    digests = [open_encoder(one).digest() for one in (function, Model(), Model().__call__)]
    assert len({*digests, open_encoder(function, name="api-v2").digest()}) == 4


def test_it_is_pickled_if_the_function_is() -> None:
    again = pickle.loads(pickle.dumps(open_encoder(Model())))
    assert torch.stack(again.encode(TEXTS).parts).tolist() == ROWS
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(open_encoder(lambda texts: ROWS))
