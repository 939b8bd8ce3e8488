"""BERT without padding. Oracle: transformers' own forward pass, one window at a time."""

import copy
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import small_e5
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_embedding import tiny_bert
from torch import nn

from meta_text.embedding import batching, precision
from meta_text.embedding.batching import by_tokens
from meta_text.embedding.e5 import load_e5
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.precision import VARIABLE, choose
from meta_text.embedding.sentence_encoder import TransformerEncoder
from meta_text.embedding.unpadded_bert import UnpaddedBert, is_plain_bert

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=12)
QUIET = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["plain", "in 4 bits"])
def embedding(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Embedding:
    monkeypatch.setenv("META_TEXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(VARIABLE, "float32")
    if request.param == "in 4 bits":
        return load_e5(small_e5.checkpoint(tmp_path / "e5"))
    made = Embedding.transformer(str(tiny_bert(tmp_path / "bert")), max_tokens=30)
    with torch.no_grad():  # as they are drawn, most of a layer's numbers are too small to be seen
        for number, parameter in enumerate(made.body.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) * 0.5)
    return made


def drawn(embedding: Embedding, lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(sum(lengths))
    return [torch.randint(embedding.body.config.vocab_size, (n,), generator=generator).tolist() for n in lengths]


@QUIET
@given(lengths=LENGTHS)
def test_oracle_states_of_windows_of_any_lengths(embedding: Embedding, lengths: list[int]) -> None:
    windows = drawn(embedding, lengths)
    states, mask = UnpaddedBert(embedding.body)(windows)
    assert mask.sum(1).tolist() == lengths and mask.shape[1] == max(lengths)
    for window, row, real in zip(windows, states, mask, strict=True):
        with torch.no_grad():
            expected = embedding.body(input_ids=torch.tensor([window])).last_hidden_state[0]
        torch.testing.assert_close(row[real], expected, atol=2e-5, rtol=1e-4)
        assert real[: len(window)].all() and not row[~real].any()


@QUIET
@given(lengths=LENGTHS)
def test_batches_hold_every_text_once_within_the_limits(lengths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "UNPADDED_TOKENS", 40)
        patch.setattr(batching, "MOST_PADDED", 2)
        batches = list(by_tokens(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        found = [lengths[i] for i in batch]
        assert sum(found) <= 40 and max(found) * len(found) <= 80
    assert all(lengths[one[-1]] >= lengths[other[0]] for one, other in pairwise(batches))


def test_short_and_long_texts_are_read_at_once(embedding: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TransformerEncoder("small", embedding, normalize=True)
    engine = choose(embedding)
    read: list[int] = []

    def counted(windows: batching.Windows) -> Any:
        read.append(len(windows))
        return engine.read(windows)

    spied = precision.Engine("float32", "", counted, engine.pads)
    monkeypatch.setattr("meta_text.embedding.sentence_encoder.choose", lambda embedding: spied)
    texts = ["my card", "lost " * 5, "a", "my card lost " * 40]  # the last one has several windows
    together = torch.stack(encoder.encode(texts).parts)
    assert len(read) == 1 and read[0] > len(texts)
    monkeypatch.undo()
    monkeypatch.setenv(VARIABLE, "training")
    torch.testing.assert_close(together, torch.stack(encoder.encode(texts).parts), atol=1e-4, rtol=0)


def test_float32_reads_without_padding_where_it_can(embedding: Embedding, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = choose(embedding)
    assert not engine.pads and isinstance(engine.read, UnpaddedBert)
    assert choose(embedding).read is engine.read  # made once
    windows = drawn(embedding, [3, 9])
    for twin in (copy.deepcopy(embedding), pickle.loads(pickle.dumps(embedding))):
        assert not twin._made
        assert torch.equal(choose(twin).read(windows).states, engine.read(windows).states)
    for name in ("training", "bfloat16"):
        monkeypatch.setattr(precision, "has_bf16_units", lambda: True)
        monkeypatch.setenv(VARIABLE, name)
        assert choose(embedding).pads


def test_only_plain_bodies_are_read_this_way(embedding: Embedding) -> None:
    body: Any = embedding.body
    assert is_plain_bert(body)
    for key, other in (("hidden_act", "gelu_new"), ("is_decoder", True), ("position_embedding_type", "relative_key")):
        changed: Any = copy.deepcopy(body)
        setattr(changed.config, key, other)
        assert not is_plain_bert(changed), key
    adapted: Any = copy.deepcopy(body)
    adapted.encoder.layer[0].output.dense = nn.Sequential(adapted.encoder.layer[0].output.dense)
    inherited: Any = copy.deepcopy(body)
    inherited.__class__ = type("Other", (type(body),), {})
    for other in (adapted, inherited, copy.deepcopy(body).to(torch.bfloat16), nn.Linear(2, 2)):
        assert not is_plain_bert(other)
    embedding.body = inherited
    engine = choose(embedding)
    assert engine.pads and engine.name == "float32"
    windows = drawn(embedding, [3, 9])
    (states, mask), (padded, _) = UnpaddedBert(body)(windows), engine.read(windows)
    torch.testing.assert_close(padded[:, :9][mask], states[mask], atol=2e-5, rtol=1e-4)
