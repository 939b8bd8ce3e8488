"""Recipes: frozen dataclasses, read from TOML and checked key by key."""

import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from meta_text.errors import ConfigError
from meta_text.shipped import find_recipe
from meta_text.wording import did_you_mean, without_hint

STRICT = ConfigDict(extra="forbid")
Count = int | tuple[int, int]


@dataclass(frozen=True, config=STRICT)
class CorpusConfig:
    """Texts and their class split. A split is a file or a number N: class_splits/N.json if it exists, else a seed."""

    name: str | None = None
    path: str | None = None
    split: int | str = 1
    texts_per_class: int | None = None  # use at most this many texts of each train and validation class
    also: tuple[str, ...] = ()  # names or paths of further corpora; all of their classes are trained on


@dataclass(frozen=True, config=STRICT)
class EpisodeConfig:
    """The tasks to train on. n_way and k_shot may be ranges [low, high]."""

    n_way: Count = 5
    k_shot: Count = 5
    n_query: int = 5
    hard: float = 0.0  # share of training episodes that draw similar classes

    @property
    def most_shots(self) -> int:
        """The largest number of support texts per class."""
        return _upper(self.k_shot)


@dataclass(frozen=True, config=STRICT)
class EmbeddingConfig:
    kind: Literal["learned", "static", "transformer"] = "transformer"
    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    revision: str | None = None  # commit of the model on the Hub
    train: Literal["none", "lora", "full"] = "none"
    rank: int = 16  # of the LoRA updates
    max_tokens: int = 64
    width: int = 128  # only for kind = "learned"
    vocabulary: int = 8000  # only for kind = "learned"


@dataclass(frozen=True, config=STRICT)
class EncoderConfig:
    cell: Literal["lstm", "hyper"] = "lstm"
    hidden: int = 64
    bidirectional: bool = True


@dataclass(frozen=True, config=STRICT)
class LearnerConfig:
    """A learner by name. None leaves an option at the learner's own default.

    label_names = "both" trains every fourth step with class names and tests with and without them. Names make tasks
    easy: when every other step used them, the embedding learned less.
    """

    name: str = "meta_lstm"
    inner_steps: int | None = None
    inner_lr: float | None = None
    first_order: bool | None = None
    adapts: Literal["head", "encoder", "recurrent"] | None = None
    prototype_start: bool | None = None
    encoder_loss: Literal["steps", "start"] | None = None
    label_names: bool | Literal["both"] = False
    candidates: tuple[str, ...] = ("protonet", "ridge", "meta_lstm")  # for name = "auto"; the earlier one wins a tie

    @property
    def names_tested(self) -> tuple[bool, ...]:
        """Whether each test sees class names: no, yes, or first no and then yes."""
        return (False, True) if self.label_names == "both" else (bool(self.label_names),)


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    outer_steps: int = 200  # 0 evaluates the untrained model
    outer_lr: float = 1e-3
    rule_lr: float = 3e-3  # of the head's learned start, the scales and the update rule
    embedding_lr: float = 2e-5  # the peak: it warms up over a tenth of the steps, then decays to zero
    episodes_per_step: int = 8
    clip: float = 0.25
    checkpoint_steps: bool = False  # recompute inner steps in the backward pass: less memory, more time
    validate_every: int = 25
    validation_episodes: int = 100
    patience: int = 4  # stop after this many validations without improvement
    seed: int = 0


@dataclass(frozen=True, config=STRICT)
class EvaluateConfig:
    """The final test. None takes the value of [episode], or the upper end of its range. A list of k_shot gives one result each."""

    n_way: int | None = None
    k_shot: int | tuple[int, ...] | None = None
    n_query: int | None = None
    episodes: PositiveInt = 600
    seed: int = 0
    unseen: tuple[str, ...] = ()  # further corpora that `train` tests on, with all of their classes


@dataclass(frozen=True, config=STRICT)
class CompareConfig:
    """Which learners `compare` trains, and options that differ from their defaults."""

    learners: tuple[str, ...] = ("protonet", "maml", "meta_lstm_2017", "meta_lstm")
    options: dict[str, dict[str, Any]] = field(default_factory=dict)


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


PATHS = (("corpus", "path"),)
NAMES_OR_PATHS = (("corpus", "split"), ("corpus", "also"), ("evaluate", "unseen"))


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a TOML file or by its shipped name, then apply `table.key=value` overrides.

    Relative corpus paths are relative to the recipe file; in an override, to the working directory. `~` is expanded.
    Raises ConfigError for unknown tables or keys, and for values of the wrong kind.
    """
    path = find_recipe(path)
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    _change(tables, lambda name: str((path.parent / name).resolve()) if name[:1] != "~" else name, PATHS)
    _change(tables, lambda name: _beside(path, name), NAMES_OR_PATHS)
    for override in overrides:
        _apply(tables, override)
    _change(tables, os.path.expanduser, (*PATHS, *NAMES_OR_PATHS))
    return parse_recipe(tables)


def _change(tables: dict[str, Any], change: Callable[[str], str], keys: Sequence[tuple[str, str]]) -> None:
    """Change the strings at these keys, also in lists; `parse_recipe` checks other values."""
    for table, key in keys:
        values = tables.get(table)
        if not isinstance(values, dict):
            continue
        value = values.get(key)
        if isinstance(value, str):
            values[key] = change(value)
        elif isinstance(value, list):
            values[key] = [change(part) if isinstance(part, str) else part for part in value]


def _beside(recipe: Path, name: str) -> str:
    """A path relative to the recipe if it exists, else the name unchanged."""
    beside = recipe.parent / name
    return str(beside.resolve()) if beside.exists() else name


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


def _apply(tables: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2:
        raise ConfigError(f"--set {override}: table.key=value is needed, for example train.outer_steps=50")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    table = tables
    for part in parts[:-1]:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override}: '{part}' is {table!r}, not a table of keys")
    if parts == ["corpus", "path"]:
        tables["corpus"].pop("name", None)
    if parts == ["corpus", "name"]:
        tables["corpus"].pop("path", None)
    table[parts[-1]] = value
