"""A recipe's corpus, class split and embedding, ready to train and test on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meta_text.config import Recipe
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import Episode, EpisodeSampler, given_episodes
from meta_text.corpus.mixture import with_others
from meta_text.embedding.embedding import Embedding
from meta_text.errors import ConfigError
from meta_text.model.build import build_embedding, chosen_device, open_split
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.training.progress import Watcher


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


def _bench_of_unseen(bench: Bench, recipe: Recipe, name: str, cache: Path) -> Bench:
    """Another corpus under the trained embedding, all of its classes for testing."""
    if name in (recipe.corpus.name, recipe.corpus.path, *recipe.corpus.also):
        raise ConfigError(f"[evaluate] unseen names '{name}', which is trained on; leave it out of one of them")
    corpus = Corpus.open(name)
    bench.watcher.note(corpus.describe())
    embedded = EmbeddedCorpus(corpus, bench.embedding, cache=cache, progress=bench.watcher.encoding)
    split = ClassSplit((), (), corpus.class_names)
    return replace(bench, corpus=corpus, split=split, embedded=embedded)
