"""Embeddings: three kinds behind one class, and the cache that encodes each text once."""

import hashlib
import importlib.util
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from meta_text.embedding import batching as reading
from meta_text.embedding.bound_texts import BoundTexts
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.pretrained import MINILM_PACKAGE, MINILM_SHA256, _checked_minilm, find_model
from meta_text.embedding.token_cache import TokenCache

TEXTS = ["where is my card", "my card", "lost it", "card card card lost"]
ODD = ["", "   ", "🙂🙂", "我的卡丢了", "card " * 500, "\x00"]
VOCABULARY = ["[PAD]", "[UNK]", "where", "is", "my", "card", "lost", "it"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("META_TEXT_CACHE", str(tmp_path / "cache"))


def save_tokenizer(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: i for i, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def tiny_bert(path: Path, seed: int = 0) -> Path:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=32, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(path)
    return save_tokenizer(path)


@pytest.fixture
def bert(tmp_path) -> Path:
    return tiny_bert(tmp_path / "bert")


def make(kind: str, tmp_path: Path, **options) -> Embedding:
    if kind == "learned":
        return Embedding.learned(TEXTS, width=6, **options)
    if kind == "static":
        matrix = torch.arange(len(VOCABULARY) * 6.0).view(-1, 6)
        save_file({"matrix": matrix}, save_tokenizer(tmp_path / "static") / "m.safetensors")
        return Embedding.static(tmp_path / "static", **options)
    return Embedding.transformer(str(tiny_bert(tmp_path / "bert")), **options)


KINDS = ["learned", "static", "transformer"]
PEFT_CALLS_AN_OLD_NAME = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


# --- what all kinds share


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_on_the_right_and_masked(kind, tmp_path):
    embedding = make(kind, tmp_path, max_tokens=8)
    states, mask = embedding(embedding.tokenize(TEXTS))
    assert states.shape == (4, 4, embedding.width)
    assert mask.sum(1).tolist() == [4, 2, 2, 4]
    assert mask[1].tolist() == [True, True, False, False]
    alone = embedding(embedding.tokenize([TEXTS[1]])).states[0]
    torch.testing.assert_close(states[1, :2], alone)  # neighbours in the batch change nothing


@pytest.mark.parametrize("kind", KINDS)
def test_truncation(kind, tmp_path):
    embedding = make(kind, tmp_path, max_tokens=3)
    tokens = embedding.tokenize(["where is my card", "my"])
    assert tokens.ids.shape == (2, 3)
    assert torch.equal(tokens.ids[0], embedding.tokenize(["where is my"]).ids[0])


@pytest.mark.parametrize("kind", KINDS)
def test_odd_texts_have_at_least_one_token_and_finite_states(kind, tmp_path):
    embedding = make(kind, tmp_path, max_tokens=16)
    states, mask = BoundTexts(embedding, ODD)(range(len(ODD)))
    assert mask.any(1).all()
    assert mask.sum(1).max() == 16
    assert states.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_bound_rows_equal_encoding_them_directly(kind, tmp_path):
    embedding = make(kind, tmp_path, max_tokens=8)
    rows = [3, 1, 1, 0]
    bound = BoundTexts(embedding, TEXTS)(rows)
    direct = embedding(embedding.tokenize([TEXTS[row] for row in rows]))
    assert torch.equal(bound.mask, direct.mask)
    torch.testing.assert_close(bound.states[bound.mask], direct.states[direct.mask], atol=2e-3, rtol=2e-3)  # float16


@pytest.mark.parametrize("kind", KINDS)
def test_encode_keeps_the_order_of_the_texts(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BATCH_TOKENS", 5)
    monkeypatch.setattr(reading, "CHUNK_TEXTS", 3)
    embedding = make(kind, tmp_path, max_tokens=8)
    for text, states in zip(TEXTS, embedding.encode(TEXTS), strict=True):
        torch.testing.assert_close(states, embedding.encode([text])[0])


@pytest.mark.parametrize(("kind", "train"), [("static", "none"), ("static", "full"), ("transformer", "full")])
def test_gradient_flows_exactly_when_the_embedding_trains(kind, train, tmp_path):
    embedding = make(kind, tmp_path, train=train)
    states = BoundTexts(embedding, TEXTS)([0, 1]).states
    assert states.requires_grad == (not embedding.is_frozen) == (train == "full")
    if train == "full":
        states.square().sum().backward()
        grads = {name: p.grad for name, p in embedding.body.named_parameters() if name in embedding.trained_names}
        still = set(dict(embedding.body.named_parameters())) - embedding.trained_names
        assert all("word_embeddings" in name or "pooler" in name for name in still)
        assert [name for name, grad in grads.items() if grad is None] == []
        assert any(grad.abs().sum() > 0 for grad in grads.values())


# --- learned


def test_learned_knows_only_the_texts_it_was_given():
    embedding = Embedding.learned(["alpha beta", "beta gamma"], width=4)
    unknown = embedding.tokenizer.token_to_id("[UNK]")
    vocabulary = set(embedding.tokenizer.get_vocab())
    assert {"alpha", "beta", "gamma"} < vocabulary
    assert {c for token in vocabulary - {"[PAD]", "[UNK]"} for c in token} <= set("alphabetagamma#")
    assert set(embedding.tokenize(["zzz"]).ids.flatten().tolist()) == {unknown}
    assert embedding.tokenize(["beta"]).ids.tolist() == [[embedding.tokenizer.token_to_id("beta")]]


def test_learned_sets_cjk_characters_apart():
    embedding = Embedding.learned(["我的卡", "丢了卡"], width=4)
    assert embedding.tokenize(["我的卡丢了"]).mask.sum() == 5


def test_learned_repeats_by_seed_and_is_trained():
    first, same, other = (Embedding.learned(TEXTS, width=4, seed=seed) for seed in (0, 0, 1))
    assert first.weights_hash() == same.weights_hash() != other.weights_hash()  # vocabulary and vectors
    assert not first.is_frozen


# --- static


def test_static_looks_up_its_matrix(tmp_path):
    states = BoundTexts(make("static", tmp_path), ["where my"])([0]).states[0]  # tokens 2 and 4
    assert states.tolist() == [[12, 13, 14, 15, 16, 17], [24, 25, 26, 27, 28, 29]]


def test_static_takes_the_input_embeddings_of_a_transformer(bert):
    table = load_file(bert / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(Embedding.static(bert).body.weight, table)


def test_static_with_two_matrices(tmp_path):
    folder = save_tokenizer(tmp_path / "two")
    save_file({"a": torch.zeros(8, 2), "b": torch.zeros(8, 2)}, folder / "m.safetensors")
    with pytest.raises(ValueError, match=r"two holds 2 token matrices \(a, b\); one 2-D tensor is needed"):
        Embedding.static(folder)


# --- transformer


def test_transformer_has_no_dropout_even_in_train_mode(bert):
    embedding = Embedding.transformer(str(bert), train="full").train()
    tokens = embedding.tokenize(TEXTS)
    assert torch.equal(embedding(tokens).states, embedding(tokens).states)


@PEFT_CALLS_AN_OLD_NAME
def test_lora_leaves_the_base_frozen_and_trains_the_adapters(bert):
    plain = Embedding.transformer(str(bert), train="full")  # frozen ones may compute with bf16 weights
    state = torch.random.get_rng_state()
    embedding = Embedding.transformer(str(bert), train="lora")
    assert torch.equal(torch.random.get_rng_state(), state)
    bound = BoundTexts(embedding, TEXTS)
    states, mask = bound([0, 1])
    expected = plain(plain.tokenize(TEXTS[:2])).states
    torch.testing.assert_close(states[mask], expected[mask])  # adapters start at zero
    states[mask].square().sum().backward()
    trained = {name for name, p in embedding.body.named_parameters() if p.requires_grad}
    assert trained and all("lora_" in name for name in trained)
    grads = {name: p.grad for name, p in embedding.body.named_parameters()}
    assert all(grads[name] is not None for name in trained)
    assert any(grads[name].abs().sum() > 0 for name in trained if "lora_B" in name)
    assert all(grad is None for name, grad in grads.items() if name not in trained)


@PEFT_CALLS_AN_OLD_NAME
def test_lora_draws_its_adapters_by_seed(bert):
    hashes = [Embedding.transformer(str(bert), train="lora", seed=seed).weights_hash() for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_bad_model_name_offline():
    with pytest.raises(ValueError, match=r"embedding 'nobody/nothing' is not a folder and could not be downloaded"):
        Embedding.transformer("nobody/nothing")
    with pytest.raises(ValueError, match="embedding 'not a name' is not a folder"):
        find_model("not a name")


def test_a_changed_minilm_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    found = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(ValueError, match=f"has SHA-256 {found} but {MINILM_SHA256} is needed; reinstall"):
        _checked_minilm(tmp_path)


@pytest.mark.skipif(importlib.util.find_spec(MINILM_PACKAGE) is None, reason=f"{MINILM_PACKAGE} is not installed")
def test_minilm_comes_from_the_package_and_knows_what_is_alike():
    embedding = Embedding.transformer(max_tokens=16)
    states = embedding.encode(["I lost my card", "my credit card is gone", "a sunny day at the beach"])
    lost, gone, beach = (torch.nn.functional.normalize(s.mean(0), dim=0) for s in states)
    assert embedding.width == 384
    assert lost @ gone > 0.6 > 0.3 > lost @ beach


# --- the cache


@pytest.fixture
def encoded(monkeypatch) -> list[str]:
    """Every text that is really encoded, in order."""
    calls: list[str] = []
    encode = Embedding.encode
    monkeypatch.setattr(Embedding, "encode", lambda self, texts: calls.extend(texts) or encode(self, texts))
    return calls


def test_a_second_bind_encodes_nothing(bert, encoded):
    first = BoundTexts(Embedding.transformer(str(bert)), [*TEXTS, TEXTS[0]])([0, 1])
    assert sorted(encoded) == sorted(TEXTS)
    second = BoundTexts(Embedding.transformer(str(bert)), TEXTS)([0, 1])
    assert len(encoded) == len(TEXTS)
    assert torch.equal(first.states, second.states)
    BoundTexts(Embedding.transformer(str(bert)), [*TEXTS, "is it lost"])
    assert encoded[len(TEXTS) :] == ["is it lost"]


def test_a_leftover_partial_file_is_ignored(bert, encoded, tmp_path):
    embedding = Embedding.transformer(str(bert))
    folder = BoundTexts(embedding, TEXTS).cache.folder
    (folder / "killed.partial").write_bytes(b"half a shard")
    bound = BoundTexts(Embedding.transformer(str(bert)), TEXTS)
    assert len(encoded) == len(TEXTS)
    torch.testing.assert_close(bound([0]).states[0], embedding.encode(TEXTS[:1])[0], atol=2e-3, rtol=2e-3)


def test_a_writer_killed_before_the_rename_leaves_nothing_to_read(monkeypatch, tmp_path):
    def killed(self, target):
        raise KeyboardInterrupt

    def cache() -> TokenCache:
        return TokenCache({"model": "m"}, tmp_path)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        cache().fill(["a"], lambda texts: [torch.ones(2, 3)])
    monkeypatch.undo()
    assert list(cache().folder.iterdir()) == []
    assert cache().fill(["a"], lambda texts: [torch.ones(2, 3)]) == 1


def test_the_key_changes_with_weights_and_length(bert, tmp_path):
    def folder(embedding: Embedding) -> Path:
        return BoundTexts(embedding, TEXTS[:1]).cache.folder

    before = folder(Embedding.transformer(str(bert)))
    assert folder(Embedding.transformer(str(bert))) == before
    assert folder(Embedding.transformer(str(bert), max_tokens=3)) != before
    tiny_bert(bert, seed=1)  # other weights under the same name
    assert folder(Embedding.transformer(str(bert))) != before


def test_two_writers_of_the_same_texts_do_not_collide(tmp_path):
    left, right = TokenCache({"model": "m"}, tmp_path), TokenCache({"model": "m"}, tmp_path)
    states = {"a": torch.full((2, 3), 1.0), "bb": torch.full((1, 3), 2.0), "ccc": torch.full((4, 3), 3.0)}

    def encode(texts):
        return [states[text] for text in texts]

    def right_fills_meanwhile(texts):
        assert right.fill(["a", "bb"], encode) == 2
        return encode(texts)

    assert left.fill(["a", "ccc"], right_fills_meanwhile) == 2
    reader = TokenCache({"model": "m"}, tmp_path)
    assert reader.fill(list(states), encode) == 0
    for cache, texts in ((left, ["a", "ccc"]), (right, ["a", "bb"]), (reader, list(states))):
        for text in texts:
            assert torch.equal(cache.get(text), states[text].half())
    with pytest.raises(KeyError):
        left.get("never filled in")
