"""The corpora that this project wrote: sizes, fields, and no text that is another one in disguise."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from meta_text.corpus.corpus import Corpus

DATA = Path(__file__).parent.parent / "data"
NAMES = ["intents", "sentiment"]


def load(name: str) -> list[dict]:
    """Strict UTF-8, one JSON object a line."""
    return [json.loads(line) for line in (DATA / name / "texts.jsonl").read_bytes().decode("utf-8").splitlines()]


def words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a | b else 1.0


def test_near_duplicate_measure():
    assert jaccard(words("Where is my parcel?"), words("where IS my parcel")) == 1.0
    assert jaccard(words("a b c"), words("b c d")) == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_required_fields_are_clean_strings(name):
    for number, row in enumerate(load(name), start=1):
        assert set(row) >= {"text", "label", "domain"}, f"line {number}"
        for key in ("text", "label", "domain"):
            value = row[key]
            assert isinstance(value, str) and value and value == value.strip(), f"line {number}: {key}"
        assert "\ufffd" not in row["text"] and "\n" not in row["text"], f"line {number}"
        assert words(row["text"]), f"line {number} has no word"


def test_intents_sizes():
    rows = load("intents")
    per_class = Counter(row["label"] for row in rows)
    assert len(per_class) == 48
    assert min(per_class.values()) >= 20
    assert len({row["domain"] for row in rows}) == 12
    domains_of = {label: {row["domain"] for row in rows if row["label"] == label} for label in per_class}
    assert [label for label, domains in domains_of.items() if len(domains) != 1] == []


def test_sentiment_sizes():
    rows = load("sentiment")
    domains = {row["domain"] for row in rows}
    assert len(domains) == 12
    assert {row["label"] for row in rows} == {"positive", "negative"}
    counts = Counter((row["domain"], row["label"]) for row in rows)
    assert min(counts[d, label] for d in domains for label in ("positive", "negative")) >= 15


@pytest.mark.parametrize("name", NAMES)
def test_no_exact_duplicates(name):
    counts = Counter(" ".join(row["text"].lower().split()) for row in load(name))
    assert [text for text, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_near_duplicates(name):
    bags = [(words(row["text"]), row["text"]) for row in load(name)]
    near = [(a, b) for (bag_a, a), (bag_b, b) in combinations(bags, 2) if jaccard(bag_a, bag_b) > 0.7]
    assert near == []


@pytest.mark.parametrize("name", NAMES)
def test_the_package_keeps_every_row_and_the_splits_fit(name):
    corpus = Corpus.from_folder(DATA / name)
    assert corpus.skipped == {}
    assert list(corpus.texts) == [row["text"] for row in load(name)]
    assert corpus.class_splits
    for split in corpus.class_splits.values():
        split.check(corpus)
        assert sorted(split.train + split.validation + split.test) == sorted(corpus.class_names)
