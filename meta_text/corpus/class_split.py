"""Class splits: which classes train, validate and test, so that test classes stay unseen."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from meta_text.errors import CorpusError
from meta_text.parsing import parse_json
from meta_text.wording import counted

PARTS = ("train", "validation", "test")


@runtime_checkable
class Divisible(Protocol):
    """Classes that can be divided: all that a split needs of a corpus."""

    @property
    def name(self) -> str: ...

    def class_index(self, class_name: str) -> int:
        """Raises CorpusError for an unknown class."""

    def units(self, field: str | None = None) -> Mapping[str, str]:
        """Class -> what stays together: itself or its task, or its value of a field."""


@dataclass(frozen=True)
class ClassSplit:
    """Which classes are for training, for validation, and for the final test. They never overlap."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        owner: dict[str, str] = {}
        for part in PARTS:
            for class_name in getattr(self, part):
                if class_name in owner:
                    raise CorpusError(
                        f"class '{class_name}' is in {owner[class_name]} and in {part}; a class belongs to one part only"
                    )
                owner[class_name] = part

    def part(self, name: str) -> tuple[str, ...]:
        """The classes of "train", "validation" or "test"."""
        if name not in PARTS:
            raise CorpusError(f"unknown class part '{name}'; use train, validation or test")
        return tuple(getattr(self, name))

    def check(self, classes: Divisible) -> "ClassSplit":
        """This split. Raises CorpusError if one of its classes is unknown."""
        for class_name in (*self.train, *self.validation, *self.test):
            classes.class_index(class_name)
        return self

    @classmethod
    def from_file(cls, path: str | Path) -> "ClassSplit":
        """A JSON object with the lists `train`, `validation` and `test`."""
        content = read_lists(Path(path).expanduser(), PARTS)
        return cls(*(tuple(content[part]) for part in PARTS))

    @classmethod
    def by_seed(cls, classes: Divisible, seed: int, fractions: tuple[float, float] = (0.5, 0.2)) -> "ClassSplit":
        """Units (classes, or tasks, whose classes stay together) shuffled and cut at `fractions`."""
        unit_of = classes.units()
        units = sorted(set(unit_of.values()))
        if len(units) < 3:
            raise CorpusError(
                f"corpus '{classes.name}' has {counted(len(units), 'class', 'classes')} to split; at least 3 are needed"
            )
        order = np.random.default_rng(seed).permutation(len(units))
        first = min(max(1, round(len(units) * fractions[0])), len(units) - 2)
        second = min(max(1, round(len(units) * fractions[1])), len(units) - first - 1)
        cuts = (order[:first], order[first : first + second], order[first + second :])
        return cls(*(_classes_in(unit_of, {units[i] for i in cut}) for cut in cuts))

    @classmethod
    def by_listed_domains(cls, classes: Divisible, listed: Mapping[str, Sequence[str]]) -> "ClassSplit":
        """Domains named in domains.json; without validation domains, every fifth train domain validates."""
        unit_of = classes.units("domain")
        train, test = list(listed["train_domains"]), list(listed["test_domains"])
        present = sorted(set(train) & set(unit_of.values()))
        validation = list(listed.get("validation_domains", ())) or present[4::5]
        train = [domain for domain in train if domain not in validation]
        return cls(*(_classes_in(unit_of, domains) for domains in (train, validation, test)))


def _classes_in(unit_of: Mapping[str, str], units: Collection[str]) -> tuple[str, ...]:
    return tuple(class_name for class_name, unit in unit_of.items() if unit in units)


def read_lists(path: Path, needed: Sequence[str]) -> dict[str, list[str]]:
    """A JSON object of lists of names. Raises CorpusError naming the file for anything else."""
    try:
        content = parse_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CorpusError(
            f"no class split at {path}; a JSON file with the lists {', '.join(needed)} is needed"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"{path} is not JSON ({error}); an object with the lists {', '.join(needed)} is needed"
        ) from None
    for key in needed:
        values = content.get(key) if isinstance(content, dict) else None
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise CorpusError(f"{path}: no list '{key}'; the lists of names {', '.join(needed)} are needed")
    return dict(content)
