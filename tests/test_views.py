"""A mixture is trained on its encoders together and each alone, and calibrated on them made weaker as well."""

import numpy as np
import torch
from test_fit_prior import two_readers

from meta_text.embedding.encoder_blocks import Projected
from meta_text.model.embedded_corpus import WEAKER


def test_views_are_the_mixture_each_reader_and_for_calibration_each_made_weaker() -> None:
    _, embedded = two_readers()
    projected = f"projected to {WEAKER}"
    assert [view.blocks.names for view in embedded.views] == [("reads", "guesses"), ("reads",), ("guesses",)]
    assert [view.blocks.names for view in embedded.weaker_views] == [
        (f"reads, {projected}",),
        (f"guesses, {projected}",),
    ]
    assert [view.vectors([0, 1]).shape for view in embedded.views] == [(2, n) for n in (12, 6, 6)]
    assert [view.vectors([0, 1]).shape for view in embedded.weaker_views] == [(2, WEAKER)] * 2
    _, counting = two_readers(counts=True)  # counting n-grams is no reading
    assert [len(view.blocks.names) for view in (*counting.views, *counting.weaker_views)] == [2, 1, 1]
    alone = embedded.seen_by([0])
    assert [view.blocks.names for view in (*alone.views, *alone.weaker_views)] == [("reads",)]


def test_oracle_a_weaker_view_holds_the_projections_of_the_same_texts() -> None:
    corpus, embedded = two_readers()
    weaker = embedded.weaker_views[0]
    whole, found = embedded.vectors([5, 17, 40]).numpy()[:, :6], weaker.vectors([5, 17, 40]).numpy()
    encoder = weaker.blocks.encoders[0]
    assert isinstance(encoder, Projected)
    np.testing.assert_allclose(
        found, [[row @ column for column in encoder.matrix.numpy().T] for row in whole], rtol=1e-5, atol=1e-7
    )
    read = torch.stack(encoder.encode([corpus.texts[row] for row in (5, 17, 40)]).parts)
    np.testing.assert_allclose(found, read.numpy(), atol=1e-2)  # the cache holds half precision
    assert encoder.digest() != encoder.encoder.digest()


def test_projections_keep_cosines_up_to_their_noise() -> None:
    _, embedded = two_readers()
    matrix = embedded.weaker_views[0].blocks.encoders[0].matrix.numpy()
    rows = np.random.default_rng(1).normal(size=(300, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    error = (rows @ matrix) @ (rows @ matrix).T - rows @ rows.T
    assert 0.5 / WEAKER**0.5 < error.std() < 2 / WEAKER**0.5
    assert np.array_equal(
        matrix, embedded.weaker_views[0].blocks.encoders[0].matrix.numpy()
    )  # drawn once, the same again
