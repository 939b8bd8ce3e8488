"""Published corpora, read from META_TEXT_DATA or from ../shared/data; skipped where they are missing."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from meta_text.config import CorpusConfig, EmbeddingConfig, LearnerConfig, Recipe
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import EpisodeSampler, given_episodes
from meta_text.embedding.embedding import Embedding
from meta_text.evaluation.answers import answer_with, run_episodes
from meta_text.model.build import build_model, open_split
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.training.bench import used_part

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("META_TEXT_DATA") or ROOT.parent / "shared" / "data")


def corpus(name: str) -> Corpus:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is missing; set META_TEXT_DATA to a folder that holds {name}/")
    return Corpus.from_folder(DATA / name)


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("name", "one_shot", "five_shot"), [("banking77", 87.1, 95.6), ("clinc150", 94.6, 98.8)])
def test_untrained_protonet_reproduces_the_known_figures(
    name: str, one_shot: float, five_shot: float, tmp_path: Path
) -> None:
    """MiniLM, 5-way, five class splits; 20 texts a class and 100 episodes a split stand for all."""
    whole = corpus(name)
    drawn_from = whole.thinned(whole.class_names, 20, seed=0)
    recipe = Recipe(embedding=EmbeddingConfig(), learner=LearnerConfig("protonet"))
    embedding = Embedding.transformer(max_tokens=64)
    embedded = EmbeddedCorpus(drawn_from, embedding, cache=tmp_path)
    predict = answer_with(build_model(recipe, embedding), label_names=False)
    for k_shot, known in ((1, one_shot), (5, five_shot)):
        right = []
        for split in drawn_from.class_splits.values():
            episodes = EpisodeSampler(drawn_from, split.test, k_shot=k_shot).take(0, 100)
            answers = run_episodes(predict, embedded, episodes)
            right += [(p.argmax(-1) == y).mean() for p, y in zip(answers.probabilities, answers.labels, strict=True)]
        assert 100 * np.mean(right) == pytest.approx(known, abs=1.0)


def test_arsc_has_twelve_test_tasks_with_their_own_support() -> None:
    arsc = corpus("arsc")
    recipe = Recipe(corpus=CorpusConfig(name="arsc", texts_per_class=20))
    split = open_split(recipe, arsc)
    used = used_part(arsc, split, 20, seed=0)
    episodes = given_episodes(used, split.test)
    assert len(episodes) == 12
    assert all(len(e.support) == 10 and e.n_way == 2 for e in episodes)
    assert max(len(used.rows_of(name)) for name in (*split.train, *split.validation)) == 20
    partitions = {used.fields["partition"][row] for name in split.test for row in used.rows_of(name)}
    assert partitions == {"train", "test"}
    # the same queries as from the whole corpus
    texts = [[used.texts[row] for row in e.query] for e in episodes]
    assert texts == [[arsc.texts[row] for row in e.query] for e in given_episodes(arsc, split.test)]


@pytest.mark.parametrize("name", ["banking77", "clinc150", "sst2", "csldcp"])
def test_known_corpora_open_and_split(name: str) -> None:
    opened = corpus(name)
    assert len(opened.out_of_scope) == (1200 if name == "clinc150" else 0)
    if name != "sst2":
        split = open_split(Recipe(corpus=CorpusConfig(name=name)), opened)
        assert {*split.train, *split.validation, *split.test} == set(opened.class_names)


def test_learned_embedding_sees_train_classes_only() -> None:
    csldcp = corpus("csldcp")
    split = open_split(Recipe(corpus=CorpusConfig(name="csldcp")), csldcp)
    texts = [csldcp.texts[row] for name in split.train for row in csldcp.rows_of(name)]
    first = Embedding.learned(texts, width=4, vocabulary=500)
    altered = replace(
        csldcp,
        texts=tuple(
            "!" if csldcp.class_names[y] in split.test else t for t, y in zip(csldcp.texts, csldcp.labels, strict=True)
        ),
    )
    again = Embedding.learned(
        [altered.texts[row] for name in split.train for row in altered.rows_of(name)], width=4, vocabulary=500
    )
    assert first.tokenizer.to_str() == again.tokenizer.to_str()
    assert torch.equal(first.body.weight, again.body.weight)
