"""Whole runs: train a recipe and test it, test a saved model."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from meta_text.config import ConfigError, Recipe
from meta_text.corpus.corpus import ClassSplit, Corpus
from meta_text.corpus.episode import Episode, EpisodeSampler, given_episodes
from meta_text.corpus.mixture import with_others
from meta_text.embedding.embedding import Embedding
from meta_text.evaluation.metrics import Predictor, answer_with, run_episodes, score
from meta_text.files import replacing
from meta_text.model.calibration import calibrate_model
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel, build_embedding, build_model, chosen_device, open_split
from meta_text.saving.card import write_card
from meta_text.saving.model_folder import load_model, write_model
from meta_text.training.trainer import Trainer, TrainState

BATCH_QUERIES = 2500  # queries adapted to and answered together, so that long test files fit in memory


@dataclass
class Watcher:
    """What a caller may show of a run while it goes on."""

    note: Callable[[str], None] = lambda line: None
    encoding: Callable[[int, int], None] | None = None
    training: Callable[[str, TrainState], None] = lambda learner, state: None
    classifying: Callable[[int], None] = lambda done: None
    testing: Callable[[str, int, int], None] = lambda learner, done, total: None


@dataclass
class Bench:
    """A recipe's corpus, split and embedding, ready to train and test on."""

    recipe: Recipe
    corpus: Corpus
    split: ClassSplit
    embedding: Embedding
    embedded: EmbeddedCorpus
    watcher: Watcher

    @classmethod
    def open(cls, recipe: Recipe, watcher: Watcher, device: str | None = None) -> "Bench":
        wanted = recipe.corpus
        if (wanted.name is None) == (wanted.path is None):
            raise ConfigError("[corpus] needs either name or path, and not both")
        corpus = Corpus.open(wanted.name or wanted.path or "")
        watcher.note(corpus.describe())
        split = open_split(recipe, corpus)
        used = used_part(corpus, split, wanted.texts_per_class, recipe.train.seed)
        if used is not corpus:
            watcher.note(f"{corpus.name}: {len(used.texts)} of these texts can be drawn")
        corpus = used
        if wanted.also:
            episode = recipe.episode
            needed = episode.n_query + (episode.k_shot if isinstance(episode.k_shot, int) else episode.k_shot[1])
            corpus, split = with_others(corpus, split, [Corpus.open(name) for name in wanted.also], needed)
            watcher.note(f"with {', '.join(wanted.also)}: {corpus.describe()}")
        embedding, embedded = embed(recipe, corpus, split.train, watcher, device)
        return cls(recipe, corpus, split, embedding, embedded, watcher)

    def renewed(self, recipe: Recipe) -> "Bench":
        """The same corpus and split for another recipe, with an untouched embedding if training changes it."""
        if recipe.embedding == self.recipe.embedding and not self.embedding.trained:
            return replace(self, recipe=recipe)
        device = str(self.embedding.device)
        embedding, embedded = embed(recipe, self.corpus, self.split.train, self.watcher, device)
        return replace(self, recipe=recipe, embedding=embedding, embedded=embedded)

    def settled(self, cache: Path, parts: Sequence[str]) -> "Bench":
        """The same with the texts of these parts ("train", ...) encoded by the embedding as training has left it.

        Nothing changes for an embedding that was frozen all along. The states go to `cache`: they serve this run only.
        """
        if not self.embedding.trained or self.recipe.embedding.kind != "transformer":
            return self
        rows = [row for part in parts for name in self.split.part(part) for row in self.corpus.rows_of(name)]
        embedded = EmbeddedCorpus(
            self.corpus, self.embedding.settle(), rows=rows, cache=cache, progress=self.watcher.encoding
        )
        return replace(self, embedded=embedded)


def used_part(corpus: Corpus, split: ClassSplit, most: int | None, seed: int) -> Corpus:
    """Without the texts that no episode can hold, so that they are not encoded.

    Those are texts beyond `most` of each train and validation class and, where test tasks fix their support
    and queries by partition, the other partitions of the test classes.
    """
    used = corpus if most is None else corpus.thinned([*split.train, *split.validation], most, seed)
    partition = used.fields.get("partition")
    if partition is None or not given_episodes(used, split.test):
        return used
    test_rows = (row for name in split.test for row in used.rows_of(name))
    return used.without(row for row in test_rows if partition[row] not in ("train", "test"))


def embed(
    recipe: Recipe, corpus: Corpus, train_classes: Sequence[str], watcher: Watcher, device: str | None
) -> tuple[Embedding, EmbeddedCorpus]:
    """The recipe's embedding on `device` (default: CUDA if there is one) and the corpus bound to it."""
    texts = [corpus.texts[row] for name in train_classes for row in corpus.rows_of(name)]
    embedding = build_embedding(recipe, texts).to(chosen_device(device))
    return embedding, EmbeddedCorpus(corpus, embedding, progress=watcher.encoding)


def train(bench: Bench, out: Path | None = None, *, resume: bool = False) -> tuple[Bench, MetaModel, TrainState]:
    """Meta-train the recipe's learner; the model that comes back is the best by validation accuracy.

    The bench that comes back is that of the model: `auto` changes the recipe to the learner it chose.
    """
    recipe = bench.recipe
    if recipe.learner.name == "auto":
        return _train_best(bench, out, resume=resume)
    model = build_model(recipe, bench.embedding, len(bench.corpus.class_names)).to(bench.embedding.device)
    trainer = Trainer(
        model, bench.embedded, bench.split, out, progress=lambda s: bench.watcher.training(recipe.learner.name, s)
    )
    return bench, model, trainer.run(resume=resume)


def _train_best(bench: Bench, out: Path | None, *, resume: bool) -> tuple[Bench, MetaModel, TrainState]:
    """Train every candidate and keep the one with the best validation accuracy; seconds are those of all."""
    names, best, seconds = bench.recipe.learner.candidates, None, 0.0
    if not names or "auto" in names:
        raise ConfigError(f"[learner] candidates = {list(names)}; names of learners to choose from are needed")
    for name in names:
        folder = None if out is None else out / name
        goes_on = resume and folder is not None and (folder / "checkpoint").exists()
        found = train(bench.renewed(bench.recipe.with_learner(name)), folder, resume=goes_on)
        seconds += found[2].seconds
        if best is None or found[2].best > best[2].best:
            best = found
    assert best is not None
    bench.watcher.note(f"auto: {best[0].recipe.learner.name}, {100 * best[2].best:.1f} % on the validation classes")
    return best[0], best[1], replace(best[2], seconds=seconds)


def test_episodes(
    corpus: Corpus, class_names: Sequence[str], shape: dict[str, int], episodes: int, seed: int
) -> list[Episode]:
    """A corpus's own episodes where its tasks fix their support, else `episodes` drawn ones."""
    given = given_episodes(corpus, class_names)
    return given or EpisodeSampler(
        corpus, class_names, n_way=shape["n_way"], k_shot=shape["k_shot"], n_query=shape["n_query"], seed=seed
    ).take(0, episodes)


def drawn_tests(bench: Bench) -> list[list[Episode]]:
    """The final tests of a recipe: the same episodes for whatever is tested."""
    wanted = bench.recipe.evaluate
    shapes = bench.recipe.test_shapes()
    return [test_episodes(bench.corpus, bench.split.test, shape, wanted.episodes, wanted.seed) for shape in shapes]


def evaluate(
    predict: Predictor,
    embedded: EmbeddedCorpus,
    episodes: Sequence[Episode],
    learner: str,
    watcher: Watcher,
    *,
    label_names: bool = False,
) -> dict[str, Any]:
    """Scores of whatever answers the given episodes, with what a reader needs to repeat them."""
    largest = max(len(e.query) for e in episodes)
    answers = run_episodes(
        predict,
        embedded,
        episodes,
        batch_size=max(1, min(20, BATCH_QUERIES // largest)),
        progress=lambda done: watcher.testing(learner, done, len(episodes)),
    )
    first = episodes[0]
    return {
        "learner": learner,
        "label_names": label_names,
        "n_way": first.n_way,
        "k_shot": len(first.support) // first.n_way,
        "n_query": len(first.query) // first.n_way,
        "episodes": len(episodes),
        **score(answers),
        "seconds": round(answers.seconds, 3),
        "milliseconds_per_episode": round(1000 * answers.seconds / len(episodes), 2),
    }


def run_recipe(
    recipe: Recipe, watcher: Watcher, out: Path | None, *, resume: bool = False, device: str | None = None
) -> tuple[MetaModel, Bench, dict[str, Any]]:
    """Train and test; the result is the first test's, with all of them under "results"."""
    started = time.perf_counter()
    bench = Bench.open(recipe, watcher, device)
    bench, model, state = train(bench, out, resume=resume)
    recipe = bench.recipe
    with TemporaryDirectory() as cache:
        bench = bench.settled(Path(cache), ("validation", "test"))
        watcher.note("calibrating on the validation classes")
        model.calibration = calibrate_model(model, bench.embedded, bench.split.validation)
        _save(model, out, state)
        results = _test(model, bench, recipe)
        for name in recipe.evaluate.unseen:
            unseen = _bench_of_unseen(bench, recipe, name, Path(cache))
            results += [{**row, "corpus": unseen.corpus.name} for row in _test(model, unseen, recipe)]
    model.results = [without_episodes(result) for result in results]
    _save(model, out, state)
    whole = {
        **without_episodes(results[0]),
        **context(recipe),
        "validation_accuracy": state.best,
        "best_step": state.best_step,
        "train_seconds": round(state.seconds, 1),
        "total_seconds": round(time.perf_counter() - started, 1),
        "results": model.results,
    }
    return model, bench, whole


def _test(model: MetaModel, bench: Bench, recipe: Recipe) -> list[dict[str, Any]]:
    """One row a shape of task and use of class names."""
    rows = []
    for episodes in drawn_tests(bench):
        for names in recipe.learner.names_tested:
            predict, name = answer_with(model, label_names=names), recipe.learner.name
            rows.append(evaluate(predict, bench.embedded, episodes, name, bench.watcher, label_names=names))
    return rows


def _bench_of_unseen(bench: Bench, recipe: Recipe, name: str, cache: Path) -> Bench:
    """Another corpus under the trained embedding, all of its classes for testing."""
    if name in (recipe.corpus.name, recipe.corpus.path, *recipe.corpus.also):
        raise ConfigError(f"[evaluate] unseen names '{name}', which is trained on; leave it out of one of them")
    corpus = Corpus.open(name)
    bench.watcher.note(corpus.describe())
    embedded = EmbeddedCorpus(corpus, bench.embedding, cache=cache, progress=bench.watcher.encoding)
    split = ClassSplit((), (), corpus.class_names)
    return replace(bench, corpus=corpus, split=split, embedded=embedded)


def _save(model: MetaModel, out: Path | None, state: TrainState) -> None:
    """The model with its card, in `out`/model."""
    if out is not None:
        with replacing(out / "model") as folder:
            write_model(model, folder, {"training": asdict(state)})
            write_card(model, folder)


def without_episodes(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "per_episode"}


def context(recipe: Recipe) -> dict[str, Any]:
    """What a reader needs to repeat a figure."""
    corpus = recipe.corpus
    return {
        "seed": recipe.evaluate.seed,
        "train_seed": recipe.train.seed,
        "corpus": corpus.name or Path(corpus.path or "").name,
        "split": Path(corpus.split).name if isinstance(corpus.split, str) else corpus.split,
        "privileges": privileges(recipe, recipe.learner.label_names is True),
        "recipe": recipe.as_dict(),
        "versions": {"torch": torch.__version__, "numpy": np.__version__, "python": platform.python_version()},
        "hardware": f"{torch.get_num_threads()} threads, {'cuda' if torch.cuda.is_available() else 'cpu'}",
    }


def evaluate_saved(
    model_folder: Path,
    corpus_name: str,
    classes: str,
    split: str | None,
    shape: dict[str, int],
    episodes: int,
    seed: int,
    *,
    label_names: bool,
    watcher: Watcher,
    device: str | None = None,
) -> dict[str, Any]:
    """Test a saved model on a part of any corpus; split None is the split it was trained with.

    A model keeps but the name of a class split file: where that is not here, it is needed again for the corpus that it
    was made for (ConfigError), and another corpus is split by number 1.
    """
    model = load_model(model_folder).to(chosen_device(device))
    corpus = Corpus.open(corpus_name)
    watcher.note(corpus.describe())
    if split is None and classes != "all":
        split = _split_as_trained(model.recipe, corpus)
    chosen: int | str = 1 if split is None else int(split) if split.isdigit() else split
    recipe = replace(model.recipe, corpus=replace(model.recipe.corpus, split=chosen))
    names = corpus.class_names if classes == "all" else open_split(recipe, corpus).part(classes)
    others = tuple(set(corpus.class_names) - set(names))
    corpus = used_part(corpus, ClassSplit(others, (), tuple(names)), 0, 0)
    embedded = EmbeddedCorpus(corpus, model.embedding, progress=watcher.encoding)
    drawn = test_episodes(corpus, names, shape, episodes, seed)
    predict = answer_with(model, label_names=label_names)
    result = evaluate(predict, embedded, drawn, recipe.learner.name, watcher, label_names=label_names)
    about = context(recipe) | {"corpus": corpus.name, "classes": classes, "seed": seed}
    return without_episodes(result) | about | {"privileges": privileges(recipe, label_names)}


def _split_as_trained(recipe: Recipe, corpus: Corpus) -> str:
    wanted = recipe.corpus.split
    if isinstance(wanted, int) or Path(wanted).exists():
        return str(wanted)
    if corpus.name == (recipe.corpus.name or Path(recipe.corpus.path or "").name):
        raise ConfigError(
            f"this model was trained on '{corpus.name}' with the class split file {wanted}, which is not here; name it with --split"
        )
    return "1"


def privileges(recipe: Recipe, label_names: bool) -> list[str]:
    """What a figure uses beside the labelled texts of each task and the train classes of the corpus."""
    return ["label names"] * label_names + [f"other corpora ({', '.join(recipe.corpus.also)})"] * bool(
        recipe.corpus.also
    )
