"""Several corpora trained on together, hard episodes, and an embedding that is trained, settled, shared and saved."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_embedding import PEFT_CALLS_AN_OLD_NAME, TEXTS, tiny_bert

from meta_text.config import load_recipe, parse_recipe
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import EpisodeSampler
from meta_text.corpus.mixture import with_others
from meta_text.embedding.bound_texts import BoundTexts
from meta_text.embedding.embedding import Embedding
from meta_text.errors import ConfigError, CorpusError
from meta_text.evaluation.answers import answer_with
from meta_text.model.build import build_embedding, build_model
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.saving.model_folder import load_model, write_model
from meta_text.training.bench import Bench
from meta_text.training.comparison import compare
from meta_text.training.progress import Progress
from meta_text.training.run import run_recipe

WORDS = ["where", "is", "my", "card", "lost", "it"]


def made(name: str, classes: int, texts: int = 8, **changes: str) -> Corpus:
    """Texts of known words; `changes` puts others in place of some, by number."""
    rows = []
    for c in range(classes):
        for i in range(texts):
            words = " ".join(WORDS[(c + i * k) % len(WORDS)] for k in (0, 1, 2))
            rows.append({"text": changes.get(f"t{c}_{i}", f"{words} {name} {c} {i}"), "label": f"c{c}"})
    return Corpus.from_rows(rows, name=name)


def mixture() -> tuple[Corpus, ClassSplit]:
    own = made("own", 9)
    split = ClassSplit(own.class_names[:3], own.class_names[3:6], own.class_names[6:])
    pair = made("pair", 2, t0_0="Where  where WHERE own 6 0", t1_1="my where where own 1 1")
    small = Corpus.from_rows([{"text": f"x {i}", "label": "few"} for i in range(3)], name="small")
    return with_others(own, split, [pair, small, made("many", 5)], texts_needed=4)


# --- mixtures


def test_others_only_train_and_share_no_text_with_what_is_held_out() -> None:
    corpus, split = mixture()
    assert split.validation == ("own/c3", "own/c4", "own/c5")
    assert split.test == ("own/c6", "own/c7", "own/c8")
    assert Counter(name.split("/")[0] for name in split.train) == {"own": 3, "pair": 2, "many": 5}
    held_out = {corpus.texts[row].casefold() for name in split.test for row in corpus.rows_of(name)}
    assert "where where where own 6 0" in held_out
    assert "Where  where WHERE own 6 0" not in corpus.texts
    assert "my where where own 1 1" in corpus.texts  # a text of a train class may come twice
    assert corpus.skipped == {"pair: text of a validation or test class": 1, "small: class with fewer than 4 texts": 3}
    assert "skipped 3 (small: class with fewer than 4 texts)" in corpus.describe()
    assert corpus.label_text("own/c3") == "c3"
    assert len(corpus.texts) == len(corpus.labels) == 72 + 15 + 40


def test_an_episode_holds_classes_of_one_corpus_and_each_is_drawn_as_often() -> None:
    corpus, split = mixture()
    episodes = EpisodeSampler(corpus, split.train, n_way=3, k_shot=2, n_query=2, same_shape=2).take(0, 600)
    origins = [{name.split("/")[0] for name in e.class_names} for e in episodes]
    assert all(len(names) == 1 for names in origins)
    assert all(first == second for first, second in zip(origins[::2], origins[1::2], strict=True))  # one batch
    counts = Counter(next(iter(names)) for names in origins)
    assert all(150 < count < 250 for count in counts.values()), counts
    assert {(next(iter(names)), e.n_way) for names, e in zip(origins, episodes, strict=True)} == {
        ("own", 3),
        ("pair", 2),
        ("many", 3),
    }


def test_any_corpus_of_a_mixture_may_be_the_one_with_enough_classes() -> None:
    pair, many = made("pair", 2), made("many", 5)
    for corpora in ([pair, many], [many, pair]):
        corpus, split = with_others(corpora[0], ClassSplit(corpora[0].class_names, (), ()), corpora[1:], texts_needed=4)
        drawn = EpisodeSampler(corpus, split.train, n_way=5, k_shot=2, n_query=2).take(0, 40)
        assert {(next(iter(e.class_names)).split("/")[0], e.n_way) for e in drawn} == {("pair", 2), ("many", 5)}
        with pytest.raises(CorpusError, match=r"has . classes but n_way=6; lower n_way or add classes"):
            EpisodeSampler(corpus, split.train, n_way=6, k_shot=2, n_query=2)


def test_two_corpora_of_one_name_are_refused() -> None:
    own = made("own", 9)
    split = ClassSplit(own.class_names[:3], own.class_names[3:6], own.class_names[6:])
    with pytest.raises(CorpusError, match=r"corpora own, own; \[corpus\] also must name other corpora, each once"):
        with_others(own, split, [made("own", 2)], 4)


def test_paths_of_further_corpora_are_relative_to_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    path = tmp_path / "r.toml"
    path.write_text('[corpus]\nname = "banking77"\nalso = ["clinc150", "mine"]\n')
    recipe = load_recipe(path)
    assert recipe.corpus.also == ("clinc150", str(tmp_path / "mine"))
    assert recipe.as_dict()["corpus"]["also"] == ("clinc150", "mine")


# --- hard episodes


def test_hard_episodes_draw_among_near_classes() -> None:
    """Twelve classes in four families of three that share their words."""
    rows = [
        {"text": f"family{c // 3} thing{c // 3} is{i} here{i}", "label": f"c{c:02d}"}
        for c in range(12)
        for i in range(6)
    ]
    rows = [{**row, "text": f"{row['text']} {n}"} for n, row in enumerate(rows)]
    corpus = Corpus.from_rows(rows, name="families")

    def near_pairs(hard: float) -> float:
        sampler = EpisodeSampler(corpus, corpus.class_names, n_way=2, k_shot=1, n_query=1, hard=hard)
        return float(np.mean([len({int(n[1:]) // 3 for n in e.class_names}) == 1 for e in sampler.take(0, 300)]))

    assert near_pairs(0.0) < 0.3 < near_pairs(1.0)
    easy, hard = (EpisodeSampler(corpus, corpus.class_names, n_way=2, k_shot=1, n_query=1, hard=h) for h in (0.0, 1.0))
    nearest = hard._neighbours[corpus.class_names[0]]
    assert all(set(order[:3]) == set(range(c // 3 * 3, c // 3 * 3 + 3)) for c, order in enumerate(nearest))
    assert [hard[i] for i in range(5)] == [hard[i] for i in range(5)] != [easy[i] for i in range(5)]


def test_hard_is_a_share() -> None:
    corpus = made("own", 9)
    with pytest.raises(CorpusError, match=r"hard=1\.5; a share of episodes from 0 to 1 is needed"):
        EpisodeSampler(corpus, corpus.class_names, hard=1.5)


# --- a trained embedding


def recipe_for(tmp_path: Path, train: str, **learner: object):
    corpus_folder = tmp_path / "own"
    if not corpus_folder.exists():
        corpus_folder.mkdir()
        own = made("own", 9, texts=10)
        rows = [{"text": t, "label": own.class_names[y]} for t, y in zip(own.texts, own.labels, strict=True)]
        (corpus_folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        other = made("other", 4, texts=10)
        rows = [{"text": t, "label": other.class_names[y]} for t, y in zip(other.texts, other.labels, strict=True)]
        (tmp_path / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        tiny_bert(tmp_path / "bert")
    return parse_recipe(
        {
            "corpus": {"path": str(corpus_folder), "also": [str(tmp_path / "other.jsonl")]},
            "episode": {"n_way": 2, "k_shot": 2, "n_query": 2, "hard": 0.5},
            "embedding": {"model": str(tmp_path / "bert"), "train": train, "rank": 2, "max_tokens": 16},
            "encoder": {"hidden": 4},
            "learner": {"label_names": "both", **learner},
            "train": {"outer_steps": 6, "validate_every": 3, "validation_episodes": 4, "embedding_lr": 1e-2},
            "evaluate": {"k_shot": [1, 2], "episodes": 5},
            "compare": {"learners": ["protonet", "proto_maml", "meta_lstm"]},
        }
    )


@PEFT_CALLS_AN_OLD_NAME
@pytest.mark.parametrize("train", ["lora", "full"])
def test_round_trip_of_a_trained_embedding(train: str, tmp_path: Path) -> None:
    """What is saved gives the same answers again, and again after it is saved once more; the token table stands still."""
    recipe = recipe_for(tmp_path, train)
    model = build_model(recipe, build_embedding(recipe, []))
    table = model.embedding.body.get_input_embeddings().weight.clone()
    untouched = model.embedding.encode(TEXTS)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in model.embedding.body.named_parameters():
            if name in model.embedding.trained_names:
                p.add_(0.3 * torch.randn(p.shape, generator=generator))
    model.embedding.settle()
    assert torch.equal(model.embedding.body.get_input_embeddings().weight, table)
    assert not torch.allclose(model.embedding.encode(TEXTS)[0], untouched[0], atol=0.1)
    for folder in (tmp_path / "once", tmp_path / "twice"):
        folder.mkdir()
        write_model(model, folder)
        loaded = load_model(folder)
        for mine, theirs in zip(model.embedding.encode(TEXTS), loaded.embedding.encode(TEXTS), strict=True):
            assert torch.equal(mine, theirs)
        model = loaded


@PEFT_CALLS_AN_OLD_NAME
@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_run_tests_with_and_without_names_and_on_unseen_corpora(train: str, tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path, train)
    rows = [{"text": f"my card {c} lost {i}", "label": f"z{c}"} for c in range(3) for i in range(6)]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = replace(recipe, evaluate=replace(recipe.evaluate, unseen=(str(tmp_path / "new.jsonl"),)))
    model, _, report = run_recipe(recipe, out=tmp_path / "out")
    kinds = {(k_shot, names) for k_shot in (1, 2) for names in (False, True)}
    for corpus in (None, "new"):
        found = [result for result in report.results if result.corpus == corpus]
        assert {(result.k_shot, result.label_names) for result in found} == kinds
    assert model.embedding.is_frozen
    mine, theirs = (m.embedding.encode(TEXTS)[0] for m in (model, load_model(tmp_path / "out" / "model")))
    assert torch.equal(mine, theirs)
    twice = replace(recipe, evaluate=replace(recipe.evaluate, unseen=recipe.corpus.also))
    with pytest.raises(ConfigError, match=r"\[evaluate\] unseen names '.*other\.jsonl', which is trained on"):
        run_recipe(twice)


@PEFT_CALLS_AN_OLD_NAME
def test_settled_lora_is_the_same_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meta_text.embedding.embedding.trains_in_bf16", lambda device: False)
    embedding = Embedding.transformer(str(tiny_bert(tmp_path / "bert")), train="lora", rank=2)
    with torch.no_grad():
        for name, p in embedding.body.named_parameters():
            if name in embedding.trained_names:
                p.normal_(std=0.3)
    before = embedding.encode(TEXTS)
    after = embedding.settle().encode(TEXTS)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    assert embedding.is_frozen


def test_rows_that_will_not_be_asked_for_are_not_encoded(tmp_path: Path) -> None:
    embedding = Embedding.transformer(str(tiny_bert(tmp_path / "bert")))
    bound = BoundTexts(embedding, TEXTS, rows=[0, 2], cache=tmp_path / "cache")
    assert bound([0, 2]).mask.any(1).all()
    with pytest.raises(KeyError):
        bound([1])


def test_held_rows_are_those_of_the_embedding_as_it_stands(tmp_path: Path) -> None:
    embedding = Embedding.transformer(str(tiny_bert(tmp_path / "bert")), train="full")
    bound = BoundTexts(embedding, TEXTS)
    free = bound([3, 0])
    with bound.holding([0, 3, 3]):
        held = bound([3, 0])
    torch.testing.assert_close(held.states[held.mask], free.states[free.mask], atol=2e-3, rtol=2e-3)  # float16
    assert free.states.requires_grad and not held.states.requires_grad
    assert bound([3, 0]).states.requires_grad


def test_answers_from_features_are_those_from_token_states(tmp_path: Path) -> None:
    recipe = replace(
        recipe_for(tmp_path, "none"), learner=replace(recipe_for(tmp_path, "none").learner, name="protonet")
    )
    bench = Bench.open(recipe, Progress(), "cpu")
    model = build_model(recipe, bench.embedding)
    torch.nn.init.normal_(model.learner.encoder.out, std=0.1)
    episodes = bench.test_episodes()[0]
    for names in (False, True):
        from_tokens = model.predict(bench.embedded.batch(episodes, label_names=names), 1.0)
        from_features = answer_with(model, label_names=names)(bench.embedded, episodes)
        np.testing.assert_allclose(np.stack(from_features), from_tokens.numpy(), atol=1e-5)


@PEFT_CALLS_AN_OLD_NAME
def test_compare_starts_every_learner_from_one_trained_encoder(tmp_path: Path) -> None:
    """And protonet on it, untrained further, is meta_lstm without steps."""
    recipe = recipe_for(tmp_path, "lora", inner_steps=0)
    still = replace(recipe, train=replace(recipe.train, rule_lr=0.0, outer_lr=0.0))
    comparison = compare(still, still.compare.learners, device="cpu")
    rows = {(row.result.learner, row.result.k_shot, row.result.label_names): row.result for row in comparison.rows}
    assert {"trained_logistic_regression", "logistic_regression", "nearest_prototype"} <= {key[0] for key in rows}
    for k_shot in (1, 2):
        for names in (False, True):
            ours, theirs = rows["meta_lstm", k_shot, names], rows["protonet", k_shot, names]
            assert ours.accuracy == theirs.accuracy
    pairs = [(p.learner, p.against, p.label_names) for p in comparison.paired]
    for names in (False, True):  # at one and at two shots
        assert pairs.count(("meta_lstm", "protonet", names)) == pairs.count(("meta_lstm", "proto_maml", names)) == 2
    used = ("label names", "other corpora (other.jsonl)")
    assert {tuple(row.privileges) for row in comparison.rows if row.result.label_names} == {used}


def test_auto_does_not_take_names_by_halves() -> None:
    with pytest.raises(ConfigError, match=r"\[learner\] label_names = 'some'"):
        parse_recipe({"learner": {"label_names": "some"}})


def test_every_fourth_step_sees_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    batch = EmbeddedCorpus.batch

    def watched(self: EmbeddedCorpus, episodes: object, *, label_names: bool) -> object:
        if torch.is_grad_enabled():
            seen.append(label_names)
        return batch(self, episodes, label_names=label_names)  # type: ignore[arg-type]

    monkeypatch.setattr(EmbeddedCorpus, "batch", watched)
    run_recipe(recipe_for(tmp_path, "full"))
    assert seen == [False, False, False, True, False, False]
