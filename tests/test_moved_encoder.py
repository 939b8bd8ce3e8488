"""Moving a transformer's upper layers: what updates do to its vectors, and what training them is."""

from pathlib import Path

import numpy as np
import pytest
import small_e5
import torch
import transformers
from encoder_folders import CONFIGS, TEXTS, plain_folder

from meta_text.embedding.e5 import load_e5
from meta_text.embedding.encoders import open_encoder
from meta_text.embedding.moved_encoder import MOST_TOKENS, RANK, Movable, can_move, with_updates
from meta_text.embedding.sentence_encoder import TransformerEncoder
from meta_text.model import moving
from meta_text.model.moving import left_out_loss, train


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("META_TEXT_ENGINE", "float32")


def opened(folder: Path) -> TransformerEncoder:
    encoder = open_encoder(str(folder))
    assert isinstance(encoder, TransformerEncoder)
    return encoder


def vectors_of(encoder: TransformerEncoder) -> np.ndarray:
    return torch.stack(encoder.encode(TEXTS).parts).numpy()


def drawn_updates(movable: Movable) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randn(part.shape, generator=generator).half() / 4 for name, part in movable.updates().items()}


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_before_a_step_the_vectors_are_those_of_the_encoder(kind: str, tmp_path: Path) -> None:
    encoder = opened(plain_folder(tmp_path / kind, kind))
    movable = Movable(encoder, TEXTS)
    movable.restart()
    np.testing.assert_allclose(movable.all_vectors().numpy(), vectors_of(encoder), atol=1e-5)


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_what_is_trained_is_what_the_encoder_becomes(kind: str, tmp_path: Path) -> None:
    encoder = opened(plain_folder(tmp_path / kind, kind, num_hidden_layers=4))
    before = vectors_of(encoder)
    movable = Movable(encoder, TEXTS)
    train(movable, torch.tensor([0, 1, 0, 1, 0, 1]), range(6), torch.tensor(before))
    moved = with_updates(encoder, movable.updates())
    np.testing.assert_allclose(vectors_of(moved), movable.all_vectors().numpy(), atol=2e-2)  # updates in half precision
    assert np.abs(vectors_of(moved) - before).max() > 0.1
    np.testing.assert_array_equal(vectors_of(encoder), before)  # it stays itself
    assert (moved.digest(), moved.source) != (encoder.digest(), encoder.source)


def test_oracle_updates_are_added_to_the_weights_of_the_upper_half(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "one", num_hidden_layers=4)
    encoder = opened(folder)
    updates = drawn_updates(Movable(encoder, TEXTS))
    assert {name.split(".")[2] for name in updates} == {"2", "3"}
    assert {tuple(part.shape)[0 if name.endswith("down") else 1] for name, part in updates.items()} == {RANK}
    body = transformers.BertModel.from_pretrained(folder)
    with torch.no_grad():
        for name, weight in body.named_parameters():
            stem = name.removesuffix(".weight")
            if f"{stem}.up" in updates:
                weight += torch.tensor(
                    2 * updates[f"{stem}.up"].double().numpy() @ updates[f"{stem}.down"].double().numpy()
                )
    expected = []
    for text in TEXTS:
        ids = encoder.embedding.tokenizer.encode(text).ids
        with torch.no_grad():
            expected.append(body(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0).numpy())
    np.testing.assert_allclose(vectors_of(with_updates(encoder, updates)), expected, atol=1e-4)


def test_lower_layers_are_shared_and_matrices_in_4_bits_move_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("META_TEXT_CACHE", str(tmp_path / "cache"))
    encoder = TransformerEncoder("small", load_e5(small_e5.checkpoint(tmp_path / "checkpoint")), normalize=True)
    movable = Movable(encoder, TEXTS)
    np.testing.assert_allclose(movable.all_vectors().numpy(), vectors_of(encoder), atol=1e-5)
    moved = with_updates(encoder, drawn_updates(movable))
    one, other = (part.embedding.body.encoder.layer for part in (encoder, moved))
    half = len(one) // 2
    assert all(one[i] is other[i] for i in range(half))
    assert not any(one[i] is other[i] for i in range(half, len(one)))
    assert moved.embedding.body.embeddings is encoder.embedding.body.embeddings
    assert np.abs(vectors_of(moved) - vectors_of(encoder)).max() > 0.01


def test_long_texts_are_cut_while_an_encoder_moves(tmp_path: Path) -> None:
    encoder = opened(plain_folder(tmp_path / "one", max_position_embeddings=512))
    movable = Movable(encoder, ["card " * 300, "card"])
    assert [len(ids) for ids in movable.ids] == [MOST_TOKENS, 3]
    assert movable.ids[0][-1] == movable.ids[1][-1]


def test_the_rest_of_the_process_draws_as_before(tmp_path: Path) -> None:
    encoder = opened(plain_folder(tmp_path / "one"))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    movable = Movable(encoder, TEXTS)
    train(movable, torch.tensor([0, 1, 0, 1, 0, 1]), range(6), movable.all_vectors())
    assert torch.equal(torch.rand(3), expected)


def test_one_layer_cannot_move(tmp_path: Path) -> None:
    assert not can_move(opened(plain_folder(tmp_path / "one", num_hidden_layers=1)))


# --- training


def test_oracle_left_out_loss() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(9, 4)), np.array([0, 0, 0, 0, 1, 1, 1, 2, 1])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    losses: dict[int, list[float]] = {0: [], 1: []}  # the only text of class 2 cannot be left out
    for i, row in enumerate(rows):
        if labels[i] == 2:
            continue
        cosines = []
        for label in range(3):
            mean = rows[(labels == label) & (np.arange(9) != i)].sum(0)
            cosines.append(10 * row @ mean / np.linalg.norm(mean))
        losses[labels[i]].append(np.log(np.exp(cosines).sum()) - cosines[labels[i]])
    expected = np.mean([np.mean(one) for one in losses.values()])  # classes count alike
    found = left_out_loss(torch.tensor(rows), torch.tensor(labels))
    assert float(found) == pytest.approx(expected)


def test_training_is_repeatable_and_lowers_the_loss(tmp_path: Path) -> None:
    encoder = opened(plain_folder(tmp_path / "one"))
    movable, labels = Movable(encoder, TEXTS), torch.tensor([0, 1, 0, 1, 0, 1])
    frozen = torch.tensor(vectors_of(encoder))

    def loss() -> float:
        now = movable.all_vectors()
        return float(left_out_loss(torch.nn.functional.normalize(now - now.mean(0), dim=1), labels))

    before, steps = loss(), []
    train(movable, labels, range(6), frozen, lambda: steps.append(1))
    assert loss() < before - 0.1
    assert len(steps) == moving.STEPS
    once = movable.all_vectors()
    train(movable, labels, range(6), frozen)
    assert torch.equal(movable.all_vectors(), once)


def test_rows_that_are_not_given_teach_nothing(tmp_path: Path) -> None:
    encoder = opened(plain_folder(tmp_path / "one"))
    movable, frozen = Movable(encoder, TEXTS), torch.tensor(vectors_of(encoder))
    train(movable, torch.tensor([0, 1, 0, 1, 0, 1]), [0, 1, 2, 3], frozen)
    once = movable.all_vectors()
    train(movable, torch.tensor([0, 1, 0, 1, 1, 0]), [0, 1, 2, 3], frozen)
    assert torch.equal(movable.all_vectors(), once)


def test_shortening_halves_what_was_added(tmp_path: Path) -> None:
    movable = Movable(opened(plain_folder(tmp_path / "one")), TEXTS)
    train(movable, torch.tensor([0, 1, 0, 1, 0, 1]), range(6), movable.all_vectors())
    whole = movable.updates()
    movable.shorten(0.5)
    for name, part in movable.updates().items():
        np.testing.assert_allclose(
            part.float(), (1.0 if name.endswith("down") else 0.5) * whole[name].float(), atol=1e-3
        )


def test_large_tasks_are_learned_in_parts_that_keep_others_of_each_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    movable = Movable(opened(plain_folder(tmp_path / "one")), ["my card is lost"] * 60)
    seen: list[list[int]] = []
    whole = movable.vectors
    monkeypatch.setattr(movable, "vectors", lambda rows: (seen.append(rows), whole(rows))[1])
    monkeypatch.setattr(moving, "STEP_TOKENS", 20 * len(movable.ids[0]))
    labels = torch.arange(60) % 15
    train(movable, labels, range(60), torch.randn(60, 16, generator=torch.Generator().manual_seed(0)))
    assert {len(rows) for rows in seen} == {20}
    for rows in seen:
        assert all(count == 2 for count in np.unique(labels[rows], return_counts=True)[1])
    assert {int(label) for rows in seen for label in labels[rows]} == {*range(15)}
