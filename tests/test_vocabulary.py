"""What a learned embedding starts from: latent semantic analysis against plain linear algebra."""

import numpy as np
import torch

from meta_text.embedding.vocabulary import latent_vectors, learn_tokenizer

TEXTS = [
    "my card was lost and the card was blocked",
    "the card is lost",
    "wine is red",
    "red wine and white wine in the cellar",
    "a flat tyre on the car",
    "the car and the tyre",
]


def test_oracle_directions_are_those_of_a_plain_svd() -> None:
    tokenizer = learn_tokenizer(TEXTS, 80)
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    counts = np.zeros((len(TEXTS), tokenizer.get_vocab_size()))
    for row, pieces in enumerate(ids):
        for piece in pieces:
            counts[row, piece] += 1
    rarity = np.log((1 + len(TEXTS)) / (1 + (counts > 0).sum(0))) + 1
    weighed = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * rarity
    weighed /= np.linalg.norm(weighed, axis=1, keepdims=True)
    directions = np.linalg.svd(weighed, full_matrices=False)[2][:3]
    seen = counts.sum(0) > 0
    found = latent_vectors(tokenizer, TEXTS, 3, seed=0).numpy()[seen]
    expected = (directions * rarity).T[seen]
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, atol=1e-5)


def test_texts_that_share_words_start_alike() -> None:
    tokenizer = learn_tokenizer(TEXTS, 80)
    vectors = latent_vectors(tokenizer, TEXTS, 3, seed=0)
    lost, blocked, wine = (
        torch.nn.functional.normalize(vectors[tokenizer.encode(text).ids].mean(0), dim=-1)
        for text in ("card lost", "card blocked", "wine red")
    )
    assert lost @ blocked > 0.9 > 0.3 > lost @ wine


def test_what_the_texts_cannot_say_is_random_by_seed() -> None:
    """Two texts span one direction here; the rest, and pieces that no text holds, are drawn."""
    tokenizer = learn_tokenizer(["alpha beta", "beta gamma"], 60)
    first, same, other = (latent_vectors(tokenizer, ["alpha beta", "beta gamma"], 4, seed=s) for s in (0, 0, 1))
    assert torch.equal(first, same)
    seen = tokenizer.encode("alpha beta gamma").ids
    torch.testing.assert_close(first[seen, :1].abs(), other[seen, :1].abs())
    assert not torch.equal(first[seen, 1:], other[seen, 1:])
    unknown = tokenizer.token_to_id("[UNK]")
    assert first[unknown].norm() > 0
    assert not torch.equal(first[unknown], other[unknown])


def test_a_single_text_is_enough() -> None:
    tokenizer = learn_tokenizer(["alpha"], 30)
    assert latent_vectors(tokenizer, ["alpha"], 4, seed=0).isfinite().all()
