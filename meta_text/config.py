"""Recipes: frozen dataclasses, checked key by key; what each key means stands beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from meta_text.errors import ConfigError
from meta_text.recipe_tables import read_tables
from meta_text.shipped import find_recipe
from meta_text.wording import did_you_mean, without_hint

STRICT = ConfigDict(extra="forbid")
Count = int | tuple[int, int]


@dataclass(frozen=True, config=STRICT)
class CorpusConfig:
    """Texts and their class split. A split is a file or a number N: class_splits/N.json if it exists, else a seed."""

    name: str | None = None  # of a shipped or known corpus, such as "intents"; give this or path
    path: str | None = None  # of a folder or file
    text: str = "text"  # the column of texts in a folder or file
    label: str = "label"  # the column of labels
    split: int | str = 1  # which classes train, validate and test
    texts_per_class: int | None = None  # use at most this many texts of each class, except test classes
    also: tuple[str, ...] = ()  # names or paths of further corpora; all of their classes are trained on


@dataclass(frozen=True, config=STRICT)
class EpisodeConfig:
    """The tasks to train on. n_way and k_shot may be ranges [low, high]."""

    n_way: Count = 5  # classes of an episode
    k_shot: Count = 5  # labelled texts per class, to adapt to
    n_query: int = 5  # further texts per class, whose answers are judged
    hard: float = 0.0  # share of training episodes that draw similar classes

    @property
    def most_shots(self) -> int:
        """The largest number of support texts per class."""
        return _upper(self.k_shot)


@dataclass(frozen=True, config=STRICT)
class EmbeddingConfig:
    """What turns a text into vectors of its tokens, or into one vector."""

    kind: Literal["learned", "static", "transformer", "encoders"] = "transformer"  # learned: from the training texts
    model: str = "sentence-transformers/all-MiniLM-L6-v2"  # a folder, or a name on the Hub; for static and transformer
    # only for kind = "encoders": each gives one vector per text, and every task weighs them
    encoders: tuple[str, ...] = ("minilm", "e5", "lexical")
    revision: str | None = None  # commit of the model on the Hub
    train: Literal["none", "lora", "full"] = "none"  # which weights training changes; all if kind = "learned"
    rank: int = 16  # of the LoRA updates
    max_tokens: int = 64  # of a window; training and its tests read the first of each text, a classifier all
    width: int = 128  # numbers per token vector, only for kind = "learned"
    vocabulary: int = 8000  # pieces of words, only for kind = "learned"


@dataclass(frozen=True, config=STRICT)
class EncoderConfig:
    """The recurrent network that turns a text's token vectors into its feature."""

    cell: Literal["lstm", "hyper"] = "lstm"  # hyper: a small LSTM scales the weights of the main one at every token
    hidden: int = 64  # numbers in its state, per direction
    bidirectional: bool = True  # also reads from the last token to the first


@dataclass(frozen=True, config=STRICT)
class LearnerConfig:
    """A learner by name. None leaves an option at the learner's own default.

    label_names = "both" trains every fourth step with class names and tests with and without them. Names make tasks
    easy: when every other step used them, the embedding learned less.
    """

    name: str = "meta_lstm"
    inner_steps: int | None = None  # gradient steps on a task's labelled texts
    inner_lr: float | None = None  # their size; where it is learned, its start
    first_order: bool | None = None  # leave second derivatives out: less memory and time
    adapts: Literal["head", "encoder", "recurrent"] | None = None  # what the steps change; the head always
    prototype_start: bool | None = None  # start the head at the class means, not at a learned row
    encoder_loss: Literal["steps", "start"] | None = None  # answers after the steps, or before, train the encoder
    label_names: bool | Literal["both"] = False  # whether class names count as texts
    candidates: tuple[str, ...] = ("protonet", "ridge", "meta_lstm")  # for name = "auto"; the earlier one wins a tie

    @property
    def names_tested(self) -> tuple[bool, ...]:
        """Whether each test sees class names: no, yes, or first no and then yes."""
        return (False, True) if self.label_names == "both" else (bool(self.label_names),)


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    outer_steps: int = 200  # 0 evaluates the untrained model
    outer_lr: float = 1e-3  # of the encoder, and of an embedding that is not a transformer
    rule_lr: float = 3e-3  # of the head's learned start, the scales and the update rule
    embedding_lr: float = 2e-5  # of a transformer, the peak: it warms up over a tenth of the steps, then decays to zero
    episodes_per_step: int = 8  # whose mean loss makes one outer step
    clip: float = 0.25  # the largest norm of the gradient; longer ones are shortened to it
    checkpoint_steps: bool = False  # recompute inner steps in the backward pass: less memory, more time
    validate_every: int = 25  # outer steps
    validation_episodes: int = 100  # drawn from the validation classes, the same at every validation
    patience: int = 4  # stop after this many validations without improvement
    seed: int = 0  # of initial weights and of all that training draws


@dataclass(frozen=True, config=STRICT)
class EvaluateConfig:
    """The final test. None takes the value of [episode], or the upper end of its range. A list of k_shot gives one result each."""

    n_way: int | None = None  # classes of an episode
    k_shot: int | tuple[int, ...] | None = None  # labelled texts per class
    n_query: int | None = None  # texts per class to answer
    episodes: PositiveInt = 600  # for each result
    seed: int = 0  # of these episodes
    unseen: tuple[str, ...] = ()  # further corpora that `train` tests on, with all of their classes


@dataclass(frozen=True, config=STRICT)
class CompareConfig:
    """Which learners `compare` trains, and options that differ from their defaults."""

    learners: tuple[str, ...] = ("protonet", "maml", "meta_lstm_2017", "meta_lstm")
    options: dict[str, dict[str, Any]] = field(default_factory=dict)  # [compare.options.NAME], with keys of [learner]


@dataclass(frozen=True, config=STRICT)
class EpisodeShape:
    """How many classes an episode has, and how many support and query texts per class."""

    n_way: int
    k_shot: int
    n_query: int


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """Everything that a run depends on."""

    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    episode: EpisodeConfig = field(default_factory=EpisodeConfig)
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON. Paths are cut to their last part, because they may be published with a model."""
        values = asdict(self)
        if isinstance(self.corpus.split, str):
            values["corpus"]["split"] = Path(self.corpus.split).name
        if self.corpus.path is not None:
            values["corpus"]["path"] = Path(self.corpus.path).name
        values["corpus"]["also"] = tuple(Path(name).name for name in self.corpus.also)
        values["evaluate"]["unseen"] = tuple(Path(name).name for name in self.evaluate.unseen)
        return values

    def test_shapes(self) -> list[EpisodeShape]:
        """The shape of each final test."""
        test, episode = self.evaluate, self.episode
        n_way = test.n_way or _upper(episode.n_way)
        shots = test.k_shot or episode.most_shots
        n_query = test.n_query or episode.n_query
        return [EpisodeShape(n_way, k_shot, n_query) for k_shot in (shots if isinstance(shots, tuple) else (shots,))]

    def with_learner(self, name: str) -> "Recipe":
        """The same run with another learner, configured by [learner] if it is the recipe's own, else by [compare.options.NAME]."""
        if name == self.learner.name:
            return self
        options = {"label_names": self.learner.label_names, **self.compare.options.get(name, {}), "name": name}
        return replace(self, learner=_parse("learner", LearnerConfig, options))


class Retired(NamedTuple):
    """A removed key of recipes: the one value that is still accepted, and what replaces the key."""

    value: Any
    instead: str


RETIRED = {
    ("corpus", "split_field"): Retired(
        None, "to split by domains, use the corpus's domains.json or a class split file"
    ),
    ("episode", "uneven"): Retired(False, "all classes of an episode get the same number of texts"),
    ("encoder", "pooling"): Retired("mean", "the encoder averages over the tokens"),
}


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a TOML file or by its shipped name, then apply `table.key=value` overrides.

    Relative corpus paths are relative to the recipe file; in an override, to the working directory. `~` is expanded.
    Raises ConfigError for unknown tables or keys, and for values of the wrong kind.
    """
    return parse_recipe(read_tables(find_recipe(path), overrides))


def saved_recipe(tables: Mapping[str, Any]) -> Recipe:
    """The recipe of a saved model, without retired keys.

    Raises ConfigError for a retired key with a value that is no longer supported, and for unknown tables or keys.
    """
    kept = {name: dict(values) if isinstance(values, Mapping) else values for name, values in tables.items()}
    for (table, key), retired in RETIRED.items():
        values = kept.get(table)
        if isinstance(values, dict) and values.pop(key, retired.value) != retired.value:
            raise ConfigError(
                f"[{table}] {key} = {tables[table][key]!r}, which this version no longer supports: {retired.instead}; "
                "train the model again"
            )
    try:
        return parse_recipe(kept)
    except ConfigError as error:
        raise ConfigError(f"{without_hint(str(error))}; upgrade meta_text, or save the model again") from None


def parse_recipe(tables: Mapping[str, Any]) -> Recipe:
    """Build a Recipe from nested dictionaries, as read from TOML."""
    known = {f.name: f for f in fields(Recipe)}
    parsed = {}
    for table, values in tables.items():
        if table not in known:
            raise ConfigError(f"recipe has no table [{table}]{_hint(table, known)}")
        if not isinstance(values, Mapping):
            raise ConfigError(f"[{table}] is {values!r}; a table of keys is needed")
        kind: Any = known[table].default_factory
        parsed[table] = _parse(table, kind, values)
    return Recipe(**parsed)


def _parse(table: str, kind: Any, values: Mapping[str, Any]) -> Any:
    known_keys = [f.name for f in fields(kind)] if is_dataclass(kind) else []
    for key in values:
        if (retired := RETIRED.get((table, key))) is not None:
            raise ConfigError(f"[{table}] {key} is no longer a setting: {retired.instead}; leave it out")
        if key not in known_keys:
            raise ConfigError(f"[{table}] has no key '{key}'{_hint(key, known_keys)}")
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "?"
        raise ConfigError(f"[{table}] {key} = {values.get(key)!r}: {first['msg'].lower()}") from None


def _upper(count: Count) -> int:
    return count if isinstance(count, int) else count[1]


def _hint(word: str, known: Any) -> str:
    return did_you_mean(word, known) or f"; use one of {', '.join(known)}"
