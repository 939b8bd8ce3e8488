"""Texts to batches: nothing lost, nothing out of order, little padding."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meta_text.embedding import batching as reading
from meta_text.embedding.batching import BATCH_TOKENS, WASTED_TOKENS, by_length, windows_ahead, windows_of
from meta_text.embedding.embedding import Embedding

LENGTHS = st.lists(st.integers(1, 3000), max_size=30)
TEXTS = ["a", "bb a", "a bb a bb a bb a", "", "bb", "a bb a"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LENGTHS)
def test_batches_hold_every_text_once_within_the_limits(lengths: list[int]) -> None:
    batches = list(by_length(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        padding = longest * len(batch) - sum(lengths[i] for i in batch)
        assert len(batch) == 1 or (longest * len(batch) <= BATCH_TOKENS and padding <= WASTED_TOKENS)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LENGTHS)
def test_equal_lengths_need_no_more_batches_than_the_tokens_ask_for(lengths: list[int]) -> None:
    alike = [7] * len(lengths)
    assert len(list(by_length(alike))) == -(-len(alike) // (BATCH_TOKENS // 7))


@pytest.mark.parametrize("chunk", [1, 2, 4, 100])
def test_chunks_tokenized_ahead_equal_one_text_at_a_time(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CHUNK_TEXTS", chunk)
    tokenizer = Embedding.learned(TEXTS, width=4, max_tokens=4).tokenizer
    found: dict[int, list[list[int]]] = {}
    for rows, read in windows_ahead(tokenizer, TEXTS):
        assert len(rows) == len(read) <= chunk
        found |= zip(rows, read, strict=True)
    assert found == {i: windows_of(tokenizer, [text])[0] for i, text in enumerate(TEXTS)}
    assert len(found[2]) > 1  # this one has more than one window
    assert list(windows_ahead(tokenizer, [])) == []


def test_joined_windows_equal_each_text_alone() -> None:
    embedding = Embedding.learned(TEXTS, width=4, max_tokens=4)
    read = windows_of(embedding.tokenizer, TEXTS)
    states, mask = embedding.join(read)
    for row, real, windows in zip(states, mask, read, strict=True):
        alone = torch.cat([embedding.join([[window]]).states[0, : len(window)] for window in windows])
        assert torch.equal(row[real], alone)
