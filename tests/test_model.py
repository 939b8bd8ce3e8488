"""Building models: options checked, seeds kept, whole recipes that learn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meta_text.config import EmbeddingConfig, EncoderConfig, EpisodeConfig, LearnerConfig, Recipe, TrainConfig
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import EpisodeSampler
from meta_text.embedding import batching as reading
from meta_text.embedding.embedding import Embedding
from meta_text.errors import ConfigError
from meta_text.evaluation.answers import answer_with, run_episodes
from meta_text.learners import LEARNERS
from meta_text.model.build import build_embedding, build_model
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel, over_tasks
from meta_text.training.bench import used_part
from meta_text.training.trainer import Trainer

RECIPE = Recipe(embedding=EmbeddingConfig(kind="learned", width=16), encoder=EncoderConfig(hidden=8))


def colours(classes: int = 12, texts: int = 12) -> Corpus:
    """Each class has three words of its own among noise shared by all."""
    rng = np.random.default_rng(0)
    rows = []
    for c in range(classes):
        for _ in range(texts):
            own = [f"w{c}{letter}" for letter in rng.choice(list("abc"), 2)]
            noise = [f"n{i}" for i in rng.integers(0, 30, size=3)]
            rows.append({"text": " ".join(rng.permutation(own + noise)) + f" {len(rows)}", "label": f"c{c:02d}"})
    return Corpus.from_rows(rows, name="colours")


def trained(learner: str, cell: str = "lstm", steps: int = 3) -> MetaModel:
    corpus = colours()
    names = corpus.class_names
    recipe = replace(
        RECIPE,
        encoder=EncoderConfig(hidden=8, cell=cell),  # type: ignore[arg-type]
        learner=LearnerConfig(learner),
        episode=EpisodeConfig(n_way=3, k_shot=2, n_query=3),
        train=TrainConfig(outer_steps=steps, validate_every=steps, validation_episodes=5, outer_lr=1e-2),
    )
    embedding = build_embedding(recipe, corpus.texts)
    model = build_model(recipe, embedding, len(names))
    split = ClassSplit(names[:6], names[6:9], names[9:])
    Trainer(model, EmbeddedCorpus(corpus, embedding), split).run()
    return model


@pytest.mark.parametrize("cell", ["lstm", "hyper"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_contract_same_seed_same_weights_and_the_global_state_is_left_alone(learner: str, cell: str) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = trained(learner, cell).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(2)
    second = trained(learner, cell).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_learns_new_classes_of_a_made_up_language() -> None:
    """Trained on six classes, tested on three others: chance is 1/3."""
    corpus = colours()
    scores = []
    for steps in (0, 60):
        model = trained("meta_lstm", steps=steps)
        episodes = EpisodeSampler(corpus, corpus.class_names[9:], n_way=3, k_shot=2, n_query=3, seed=3).take(0, 60)
        answers = run_episodes(answer_with(model, label_names=False), EmbeddedCorpus(corpus, model.embedding), episodes)
        scores.append(
            np.mean([(p.argmax(-1) == y).mean() for p, y in zip(answers.probabilities, answers.labels, strict=True)])
        )
    assert scores[1] > 0.55
    assert scores[1] >= scores[0]


def test_unknown_learner_and_option_are_named() -> None:
    embedding = Embedding.learned(["a b"], width=4)
    with pytest.raises(ConfigError, match="unknown learner 'maml2'; did you mean 'maml'"):
        build_model(replace(RECIPE, learner=LearnerConfig("maml2")), embedding)
    with pytest.raises(ConfigError, match="learner 'protonet' has no option 'inner_steps'"):
        build_model(replace(RECIPE, learner=LearnerConfig("protonet", inner_steps=2)), embedding)
    with pytest.raises(ConfigError, match="learner 'meta_lstm_2017' has no option 'label_names'"):
        build_model(replace(RECIPE, learner=LearnerConfig("meta_lstm_2017", label_names=True)), embedding)


def test_a_learned_start_has_no_place_for_names() -> None:
    corpus = colours()
    model = build_model(replace(RECIPE, learner=LearnerConfig("maml")), Embedding.learned(corpus.texts, width=16))
    episode = EpisodeSampler(corpus, corpus.class_names, n_way=3, k_shot=1, n_query=1)[0]
    batch = EmbeddedCorpus(corpus, model.embedding).batch([episode], label_names=True)
    with pytest.raises(ValueError, match=r"set learner\.prototype_start = true"):
        model.losses(batch)


def test_used_part_drops_what_no_episode_draws() -> None:
    corpus = colours(classes=4, texts=6)
    names = corpus.class_names
    split = ClassSplit(names[:1], names[1:2], names[2:])
    assert used_part(corpus, split, None, 0) is corpus
    part = used_part(corpus, split, 2, 0)
    assert [len(part.rows_of(name)) for name in names] == [2, 2, 6, 6]
    assert {part.texts[row] for row in part.rows_of(names[0])} < {corpus.texts[row] for row in corpus.rows_of(names[0])}


ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("label_names", [False, True])
def test_batches_of_like_length_change_no_loss_and_no_gradient(
    name: str, label_names: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = colours()
    rows = [
        {"text": t[: 8 + 2 * (i % 9)], "label": whole.class_names[y]}
        for i, (t, y) in enumerate(zip(whole.texts, whole.labels, strict=True))
    ]
    corpus = Corpus.from_rows(rows, name="colours of several lengths", bad_rows="skip")
    embedding = Embedding.learned(corpus.texts, width=16)
    model = build_model(replace(RECIPE, learner=LearnerConfig(name)), embedding, len(corpus.class_names))
    if label_names and not model.learner.takes_names:
        pytest.skip(f"{name} has no place for class names")
    torch.nn.init.normal_(model.learner.encoder.out, generator=torch.Generator().manual_seed(0))
    episodes = EpisodeSampler(corpus, corpus.class_names, n_way=3, k_shot=2, n_query=2).take(0, 2)
    batch = EmbeddedCorpus(corpus, embedding).batch(episodes, label_names=label_names)
    monkeypatch.setattr(reading, "WASTED_TOKENS", 0)  # every length in a batch of its own
    parameters = [p for p in model.parameters() if p.requires_grad]
    found = []
    for losses in (lambda: model.losses(batch), lambda: over_tasks(model.learner.loss, batch)):
        torch.manual_seed(0)  # some draw
        loss = losses().sum()
        found.append([loss.detach(), *torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
