"""A recipe's corpus, class split and embedding, ready to train and test on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meta_text.config import EpisodeShape, Recipe
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.corpus import Corpus
from meta_text.corpus.episode import Episode, EpisodeSampler, given_episodes
from meta_text.corpus.mixture import with_others, without_texts
from meta_text.corpus.same_text import fold
from meta_text.embedding.device import chosen_device
from meta_text.embedding.embedding import Embedding
from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.errors import ConfigError, CorpusError
from meta_text.model.build import build_embedding, open_split
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.mixture import Prior
from meta_text.training.progress import Progress


@dataclass(frozen=True)
class Bench:
    """A recipe's corpus, split and embedding; `unseen` are further corpora, only for testing."""

    recipe: Recipe
    corpus: Corpus
    split: ClassSplit
    embedding: Embedding | EncoderBlocks
    embedded: EmbeddedCorpus
    progress: Progress
    unseen: tuple[Corpus, ...] = ()
    prior: Prior = Prior()  # noqa: RUF009 (a frozen value)

    @classmethod
    def open(
        cls, recipe: Recipe, progress: Progress, device: str | None = None, left_out: Sequence[Corpus] = ()
    ) -> "Bench":
        """Read everything that the recipe names and check that it is enough; only then encode it.

        Texts of unseen corpora, and of those in `left_out`, are in no class that trains or validates.
        """
        settings = recipe.corpus
        if (settings.name is None) == (settings.path is None):
            raise ConfigError("[corpus] needs either name or path, not both")
        corpus = Corpus.open(settings.name or settings.path or "", text=settings.text, label=settings.label)
        progress.message(corpus.describe())
        split = open_split(recipe, corpus)
        unseen = tuple(_open_unseen(recipe, name, progress) for name in recipe.evaluate.unseen)
        hidden = frozenset(fold(text) for other in (*unseen, *left_out) for text in other.texts)
        corpus = without_texts(corpus, (*split.train, *split.validation), hidden)
        used = used_part(corpus, split, settings.texts_per_class, recipe.train.seed)
        if used is not corpus:
            progress.message(f"{corpus.name}: {len(used.texts)} of these texts can be drawn")
        corpus = used
        if settings.also:
            others = [
                _thinned(Corpus.open(name), settings.texts_per_class, recipe.train.seed) for name in settings.also
            ]
            others = [without_texts(other, other.class_names, hidden) for other in others]
            corpus, split = with_others(corpus, split, others, recipe.episode.most_shots + recipe.episode.n_query)
            progress.message(f"with {', '.join(settings.also)}: {corpus.describe()}")
        check_size(recipe, corpus, split, unseen)
        embedding, embedded = embed(recipe, corpus, split.train, progress, device)
        return cls(recipe, corpus, split, embedding, embedded, progress, unseen)

    def renewed(self, recipe: Recipe) -> "Bench":
        """The same corpus and split for another recipe, with a fresh embedding if training changes it."""
        if recipe.embedding == self.recipe.embedding and not self.embedding.trained_names:
            return replace(self, recipe=recipe)
        device = str(self.embedding.device)
        embedding, embedded = embed(recipe, self.corpus, self.split.train, self.progress, device)
        return replace(self, recipe=recipe, embedding=embedding, embedded=embedded)

    def settled(self, cache: Path, parts: Sequence[str]) -> "Bench":
        """The same, with the texts of these parts ("train", ...) encoded by the trained embedding.

        A frozen embedding changes nothing. The token states go to `cache`, because only this run uses them.
        """
        if not self.embedding.trained_names or self.recipe.embedding.kind != "transformer":
            return self
        rows = [row for part in parts for name in self.split.part(part) for row in self.corpus.rows_of(name)]
        embedded = EmbeddedCorpus(
            self.corpus, self.embedding.settle(), rows=rows, cache=cache, progress=self.progress.texts_encoded
        )
        return replace(self, embedded=embedded)

    def of_unseen(self, corpus: Corpus, cache: Path) -> "Bench":
        """An unseen corpus, encoded by the trained embedding; all of its classes are for testing.

        What a frozen embedding reads is kept for later runs, what training changed goes to `cache`.
        """
        kept = cache if self.embedding.trained_names else None
        embedded = EmbeddedCorpus(
            corpus, self.embedding, cache=kept, progress=self.progress.texts_encoded, prior=self.prior
        )
        return replace(self, corpus=corpus, split=ClassSplit((), (), corpus.class_names), embedded=embedded)

    def test_episodes(self) -> list[list[Episode]]:
        """The episodes of each final test, which are the same for whatever is tested."""
        settings, classes = self.recipe.evaluate, self.split.test
        return [
            draw_episodes(self.corpus, classes, shape, settings.episodes, settings.seed)
            for shape in self.recipe.test_shapes()
        ]


def _thinned(corpus: Corpus, most: int | None, seed: int) -> Corpus:
    return corpus if most is None else corpus.thinned(corpus.class_names, most, seed)


def used_part(corpus: Corpus, split: ClassSplit, most: int | None, seed: int) -> Corpus:
    """The corpus without the texts that no episode can draw, so that they are not encoded.

    These are the texts beyond `most` of each train and validation class. Where test tasks fix their support and
    queries by partition, they also are the texts in other partitions of the test classes.
    """
    used = corpus if most is None else corpus.thinned([*split.train, *split.validation], most, seed)
    partition = used.fields.get("partition")
    if partition is None or not given_episodes(used, split.test):
        return used
    test_rows = (row for name in split.test for row in used.rows_of(name))
    return used.without(row for row in test_rows if partition[row] not in ("train", "test"))


def check_size(recipe: Recipe, corpus: Corpus, split: ClassSplit, unseen: Sequence[Corpus] = ()) -> None:
    """Raises CorpusError unless episodes for training, validation and every test can be drawn; names all problems at once."""
    episode = recipe.episode
    problems = []
    for part in ("train", "validation"):
        problems += _problems(part, corpus, split.part(part), episode.n_way, episode.k_shot, episode.n_query)
    for tested, classes in ((corpus, split.test), *((other, other.class_names) for other in unseen)):
        if not given_episodes(tested, classes):
            for shape in recipe.test_shapes():
                problems += _problems("test", tested, classes, shape.n_way, shape.k_shot, shape.n_query)
    if problems:
        raise CorpusError("; ".join(dict.fromkeys(problems)))


def _problems(
    part: str,
    corpus: Corpus,
    class_names: Sequence[str],
    n_way: int | tuple[int, int],
    k_shot: int | tuple[int, int],
    n_query: int,
) -> list[str]:
    try:
        EpisodeSampler(corpus, class_names, n_way=n_way, k_shot=k_shot, n_query=n_query)
    except CorpusError as error:
        return [f"{part} classes: {error}"]
    return []


def embed(
    recipe: Recipe, corpus: Corpus, train_classes: Sequence[str], progress: Progress, device: str | None
) -> tuple[Embedding | EncoderBlocks, EmbeddedCorpus]:
    """The recipe's embedding on `device` (by default CUDA if available), and the corpus bound to it."""
    texts = [corpus.texts[row] for name in train_classes for row in corpus.rows_of(name)]
    embedding = build_embedding(recipe, texts).to(chosen_device(device))
    return embedding, EmbeddedCorpus(corpus, embedding, progress=progress.texts_encoded)


def draw_episodes(
    corpus: Corpus, class_names: Sequence[str], shape: EpisodeShape, episodes: int, seed: int
) -> list[Episode]:
    """The corpus's own episodes if its tasks fix their support, else `episodes` drawn ones."""
    own_episodes = given_episodes(corpus, class_names)
    return own_episodes or EpisodeSampler(
        corpus, class_names, n_way=shape.n_way, k_shot=shape.k_shot, n_query=shape.n_query, seed=seed
    ).take(0, episodes)


def _open_unseen(recipe: Recipe, name: str, progress: Progress) -> Corpus:
    if name in (recipe.corpus.name, recipe.corpus.path, *recipe.corpus.also):
        raise ConfigError(f"[evaluate] unseen names '{name}', which is trained on; remove it from one of the two")
    corpus = Corpus.open(name)
    progress.message(corpus.describe())
    return corpus
