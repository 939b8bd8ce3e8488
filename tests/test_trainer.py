"""The outer loop: early stop, the best weights, what cannot be resumed, a loss that is no number, second order on CUDA."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_model import RECIPE, colours

from meta_text.config import EpisodeConfig, LearnerConfig, Recipe, TrainConfig
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.embedding.device import trains_in_bf16
from meta_text.errors import ConfigError, ModelFileError
from meta_text.learners import EmbeddedEpisode
from meta_text.learners.encoder import TextEncoder
from meta_text.learners.meta_lstm import MetaLSTM
from meta_text.model.build import build_embedding, build_model
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.saving.model_folder import model_tensors
from meta_text.training.trainer import Trainer

CORPUS = colours()


def trainer(out: Path | None = None, **settings: object) -> Trainer:
    recipe = replace(
        RECIPE,
        learner=LearnerConfig("meta_lstm"),
        episode=EpisodeConfig(n_way=3, k_shot=2, n_query=3),
        train=replace(TrainConfig(validation_episodes=5, validate_every=1, episodes_per_step=2), **settings),
    )
    return of(recipe, CORPUS, out)


def of(recipe: Recipe, corpus: Corpus, out: Path | None) -> Trainer:
    names = corpus.class_names
    embedding = build_embedding(recipe, corpus.texts)
    model = build_model(recipe, embedding, len(names))
    return Trainer(model, EmbeddedCorpus(corpus, embedding), ClassSplit(names[:6], names[6:9], names[9:]), out)


def with_validations(made: Trainer, accuracies: list[float], monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Let validation i, of the untrained model first, find accuracies[i]; the weights at each of them."""
    seen: list[dict] = []

    def answers(*_: object, **__: object) -> object:
        from meta_text.evaluation.answers import Answers

        right = accuracies[min(len(seen), len(accuracies) - 1)]
        seen.append(model_tensors(made.model))
        labels = np.zeros(100, int)
        guesses = np.zeros((100, 2))
        guesses[np.arange(100), (np.arange(100) >= 100 * right).astype(int)] = 1
        return Answers([guesses], [labels], 1.0)

    monkeypatch.setattr("meta_text.training.trainer.run_episodes", answers)
    return seen


def test_training_stops_early_and_the_best_weights_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(outer_steps=50, patience=3, outer_lr=0.1)
    weights = with_validations(made, [0.3, 0.4, 0.6, 0.5, 0.6, 0.1], monkeypatch)
    state = made.run()
    assert (state.step, state.best, state.best_step, state.stale) == (5, 0.6, 2, 3)
    left = model_tensors(made.model)
    assert all(torch.equal(left[name], weights[2][name]) for name in left)
    assert any(not torch.equal(left[name], weights[-1][name]) for name in left)
    assert not made.model.training


@pytest.mark.parametrize(("tried", "share"), [([0.6, 0.6], 1.0), ([0.9, 0.85], 0.75), ([0.85, 0.9], 0.5)])
def test_the_best_weights_are_drawn_back_where_validation_says_so(
    tried: list[float], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(outer_steps=2)
    seen = with_validations(made, [0.2, 0.5, 0.8, *tried], monkeypatch)
    state = made.run()
    assert (state.share, state.best, state.best_step) == (share, max(0.8, *tried), 2)
    kept, start, best = model_tensors(made.model), seen[0], seen[2]
    assert all(torch.allclose(kept[n], start[n] + share * (best[n] - start[n]), atol=1e-7) for n in kept)
    assert any(not torch.equal(start[n], best[n]) for n in kept)


def test_an_untrained_model_that_stays_best_is_not_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(outer_steps=2)
    seen = with_validations(made, [0.8, 0.5, 0.5, 0.9], monkeypatch)
    assert made.run().share == 1.0
    assert len(seen) == 3


def test_the_untrained_model_may_be_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(outer_steps=3, patience=9, outer_lr=0.1)
    weights = with_validations(made, [0.9, 0.4], monkeypatch)
    assert made.run().best_step == 0
    left = model_tensors(made.model)
    assert all(torch.equal(left[name], weights[0][name]) for name in left)


def test_the_history_has_the_learning_rate_of_each_part(tmp_path: Path) -> None:
    """A pretrained embedding warms up over a tenth of the steps and decays to zero; the rest keeps its rate."""
    made = trainer(tmp_path, outer_steps=20, outer_lr=0.5, rule_lr=0.25, embedding_lr=0.125)
    assert made._rates() == {"embedding": 0.5, "encoder": 0.5, "rule": 0.25}
    made.recipe = replace(made.recipe, embedding=replace(made.recipe.embedding, kind="transformer"))
    made.optimizer = torch.optim.Adam(made._groups())
    shares = []
    for step in (0, 1, 10, 19):
        made._warm(step)
        made._log()
        rates = json.loads((tmp_path / "history.jsonl").read_text().splitlines()[-1])["learning_rates"]
        assert (rates["encoder"], rates["rule"]) == (0.5, 0.25)
        shares.append(rates["embedding"] / 0.125)
    assert shares == pytest.approx([0.5, 0.95, 0.5, 0.05])


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(
        ModelFileError, match=f"nothing to resume: no checkpoint in {tmp_path}; run once without --resume"
    ):
        trainer(tmp_path, outer_steps=2).run(resume=True)


def test_another_recipe_is_not_resumed(tmp_path: Path) -> None:
    trainer(tmp_path, outer_steps=2).run()
    with pytest.raises(
        ModelFileError, match=r"was written by a different recipe \(\[train\] differ\); resume with that one"
    ):
        trainer(tmp_path, outer_steps=2, outer_lr=0.5).run(resume=True)


def test_a_kill_between_the_two_renames_of_a_checkpoint_loses_nothing(tmp_path: Path) -> None:
    straight, killed = trainer(tmp_path / "straight", outer_steps=4), trainer(tmp_path / "killed", outer_steps=4)
    straight.run()
    killed.on_step = lambda state: (_ for _ in ()).throw(KeyboardInterrupt) if state.step == 2 else None
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    folder = tmp_path / "killed" / "checkpoint"
    shutil.move(folder, folder.with_name(".checkpoint.1f.partial.old"))
    assert trainer(tmp_path / "killed", outer_steps=4).run(resume=True).step == 4
    first, second = (load_file(tmp_path / run / "checkpoint" / "best.safetensors") for run in ("straight", "killed"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [path.name for path in (tmp_path / "killed").glob(".*")] == []


def test_a_loss_that_is_no_number_ends_training_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trainer(tmp_path, outer_steps=4)
    losses, taken = made.model.losses, model_tensors
    monkeypatch.setattr(
        made.model, "losses", lambda batch: losses(batch) * (float("nan") if made.state.step == 2 else 1)
    )
    size = made.recipe.train.episodes_per_step
    message = (
        rf"the loss is nan at outer step 2 \(seed 0, episodes {2 * size} to {3 * size - 1}\); "
        rf"the weights before it are in {tmp_path}/checkpoint; lower train.outer_lr or learner.inner_lr"
    )
    with pytest.raises(ConfigError, match=message):
        made.run()
    saved, kept = load_file(tmp_path / "checkpoint" / "model.safetensors"), taken(made.model)
    assert all(torch.equal(saved[name], kept[name]) for name in kept)
    assert all(tensor.isfinite().all() for tensor in saved.values())


def test_the_history_is_cut_where_a_run_goes_on(tmp_path: Path) -> None:
    trainer(tmp_path, outer_steps=3).run()
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write(json.dumps({"step": 9}) + "\n" + '{"step": 1')  # killed within a line
    trainer(tmp_path, outer_steps=3).run(resume=True)
    steps = [json.loads(line)["step"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2, 3]


def test_a_run_begins_with_a_history_of_its_own_and_without_the_rests_of_killed_ones(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").write_text('{"step": 7}\n')
    (tmp_path / ".checkpoint.1f.partial").mkdir()
    (tmp_path / ".checkpoint.1f.partial" / "config.json").write_text("{")
    (tmp_path / ".history.jsonl.2e.partial").write_text("")
    trainer(tmp_path, outer_steps=2).run()
    steps = [json.loads(line)["step"] for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert steps == [0, 1, 2]
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_second_order_through_our_cell_and_bf16_on_cuda() -> None:
    """nn.LSTM has no double backward there; ours has, gives what the CPU gives, and trains under autocast."""
    from test_family import EPISODE

    assert trains_in_bf16(torch.device("cuda"))
    gradients = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        encoder = TextEncoder(6, 4)
        torch.nn.init.normal_(encoder.out, std=0.3)
        learner = MetaLSTM(encoder, inner_steps=3, adapts="encoder", first_order=False).to(device)
        parts = [part.to(device) if isinstance(part, torch.Tensor) else part for part in EPISODE]
        for i, part in enumerate(EPISODE):
            if isinstance(part, tuple):
                parts[i] = type(part)(*(tensor.to(device) for tensor in part))
        learner.loss(EmbeddedEpisode(*parts)).backward()
        gradients.append({name: p.grad.cpu() for name, p in learner.named_parameters() if p.grad is not None})
        with torch.autocast(device, torch.bfloat16):
            loss = learner.loss(EmbeddedEpisode(*parts))
        assert torch.isfinite(loss)
        loss.backward()
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-4, rtol=1e-3)
