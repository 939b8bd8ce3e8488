"""Texts in a script that the embedding does not know are warned of; ordinary texts of languages that it spells are not."""

import os
import warnings
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from meta_text import Corpus, FewShotClassifier
from meta_text.embedding.pretrained import MINILM, find_model
from meta_text.embedding.scripts import unread_pieces
from meta_text.embedding.shipped_encoders import minilm
from meta_text.saving.loading import shared_model

DATA = Path(os.environ.get("META_TEXT_DATA") or Path(__file__).parents[2] / "shared" / "data")
UNKNOWN = [
    "我的包裹在哪里",
    "где моя посылка",
    "พัสดุของฉันอยู่ที่ไหน",
    "πού είναι το δέμα μου",
    "أين طردي",
    "내 소포는 어디에 있나요",
]
KNOWN = [
    "where is my parcel", "omg lol u ok??? 😂😂", "¿dónde está mi paquete?", "wo bleibt mein Päckchen", "où est mon colis",
    "zażółć gęślą jaźń", "12345", "?!", "ok", "a b c d", "so 我 is one letter among many",
]  # fmt: skip


def is_unread(text: str) -> bool:
    (flag,) = shared_model("default", "cpu", "minilm").represent([text]).is_unread
    return flag


@pytest.mark.parametrize("text", UNKNOWN)
def test_an_unknown_script_is_noticed(text: str) -> None:
    assert is_unread(text)


@pytest.mark.parametrize("text", KNOWN)
def test_known_scripts_raise_no_alarm(text: str) -> None:
    assert not is_unread(text)


@pytest.mark.parametrize("text", [*UNKNOWN, *KNOWN])
def test_the_default_reads_them_all_with_e5(text: str) -> None:
    assert shared_model("default", "cpu").represent([text]).is_unread == [False]


def test_what_no_encoder_reads_is_noticed() -> None:
    """Cherokee and Tifinagh: nobody taught them to either encoder, and counting letters is not reading."""
    assert shared_model("default", "cpu").represent(["ᎣᏏᏲ ᏙᎯᏧ", "ⴰⵣⵓⵍ ⵎⴰⵏⵉⵎⴽ"]).is_unread == [True, True]


def test_oracle_pieces_of_minilm() -> None:
    """From the list of words itself: letters of scripts that have no words are unread, all Latin pieces are read."""
    tokenizer = Tokenizer.from_file(str(find_model(MINILM) / "tokenizer.json"))
    unread = unread_pieces(tokenizer)
    words = {piece: index for piece, index in tokenizer.get_vocab().items()}
    assert {words[piece] for piece in ("[UNK]", "я", "##я", "中", "ก")} <= unread
    assert not {words[piece] for piece in ("a", "##s", "the", "?", "1", "[CLS]")} & unread


def test_a_script_counts_as_known_from_a_hundred_longer_pieces_on() -> None:
    def pieces(count: int) -> frozenset[int]:
        words = {"[UNK]": 0, "я": 1, **{"да" * (i + 1): i + 2 for i in range(count)}}
        words |= {f"word{i}": len(words) + i for i in range(1000)}
        return unread_pieces(Tokenizer(models.WordLevel(words, unk_token="[UNK]")))

    assert pieces(99) == {0, 1}
    assert pieces(100) == {0}


def test_a_tiny_vocabulary_is_not_judged() -> None:
    assert unread_pieces(Tokenizer(models.WordLevel({"[UNK]": 0, "я": 1}, unk_token="[UNK]"))) == frozenset()


def test_fit_and_predict_warn_once_with_count_and_share() -> None:
    with pytest.warns(
        UserWarning, match=r"2 of 4 texts \(50 %\) are mostly in a script that .*minilm.* does not know"
    ) as seen:
        classifier = FewShotClassifier(embedding="fast", device="cpu").fit(
            [*UNKNOWN[:2], *KNOWN[:2]], ["a", "b", "a", "b"]
        )
    assert len(seen) == 1
    with pytest.warns(
        UserWarning, match=r"1 of 3 texts \(33 %\) .* guesses; use a model whose embedding reads it"
    ) as seen:
        classifier.predict([UNKNOWN[2], *KNOWN[:2]])
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier.predict(KNOWN)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("csldcp", 0.99, 1.0), ("banking77", 0.0, 0.0), ("tweet_irony", 0.0, 0.005)]
)
def test_whole_corpora(name: str, low: float, high: float) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"no corpus in {DATA / name}; set META_TEXT_DATA")
    corpus, embedding = Corpus.open(DATA / name), minilm().embedding
    texts = corpus.texts[::20]
    share = sum(embedding.is_unread([e.ids]) for e in embedding.tokenizer.encode_batch(list(texts))) / len(texts)
    assert low <= share <= high
