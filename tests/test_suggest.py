"""What to label next: the greedy choice counted again by loops, before labels and after them; classes found soon."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from small_mixture import ASKED, LABELS, base_folder, two_encoders
from small_mixture import TEXTS as MIXED
from test_classifier import CALIBRATION, MODEL, TEXTS, fitted, small_model
from test_classifier import LABELS as OWN

from meta_text import FewShotClassifier
from meta_text.classify import suggest as suggesting
from meta_text.classify.suggest import NEAR_COPY, Pile, most_worth, suggest
from meta_text.embedding.reading import Represented
from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation
from meta_text.model.unlabelled_space import unlabelled_space

POOL = [
    "red wine low",
    "tyre",
    "sail the red mast",
    "nothing at all",
    "sail the red  MAST",
    "tyre low wine",
    "mast",
    "dry red",
]


def greedy(vectors: np.ndarray, labelled: np.ndarray, n: int) -> list[int]:
    """Each time the text that makes the sum of likenesses to the nearest chosen or labelled text largest."""

    def nearest(to: list[np.ndarray]) -> np.ndarray:
        return np.array([max([0.0, *(float(v @ one) for one in to)]) for v in vectors])

    chosen: list[int] = []
    while len(chosen) < n:
        worth = {}
        for i in range(len(vectors)):
            if i in chosen or any(vectors[i] @ vectors[j] > NEAR_COPY for j in chosen):
                continue
            worth[i] = float(nearest([*labelled, *(vectors[j] for j in [*chosen, i])]).sum())
        if not worth:
            break
        chosen.append(max(worth, key=lambda i: worth[i]))
    return chosen


def units(rows: np.ndarray) -> np.ndarray:
    return np.array([row / max(math.sqrt(row @ row), 1e-12) for row in rows])


def features(texts: list[str]) -> np.ndarray:
    return np.stack([part.double().numpy() for part in MODEL.represent(texts).parts])


@pytest.mark.parametrize("n", [1, 3, 9])
def test_before_labels_the_choice_is_greedy_around_the_mean_of_the_pile(n: int) -> None:
    kept = [i for i in range(len(POOL)) if i != 4]  # the fifth is a copy of the third
    rows = features([POOL[i] for i in kept])
    expected = greedy(units(rows - rows.mean(0)), np.zeros((0, rows.shape[1])), n)
    assert FewShotClassifier(MODEL).suggest(POOL, n) == [kept[i] for i in expected]


@pytest.mark.parametrize("n", [1, 3, 9])
def test_after_fit_the_choice_is_greedy_beyond_what_is_labelled(n: int) -> None:
    model = small_model("protonet")
    task = Adaptation.learn(model, CALIBRATION, {"wine": TEXTS[:3], "car": TEXTS[3:]}, None)
    pool = [*POOL, TEXTS[0].upper()]  # the last one is labelled
    kept = [i for i in range(len(POOL)) if i != 4]
    parts = model.represent([pool[i] for i in kept]).parts
    labelled = units(np.stack([part.double().numpy() for part in model.represent(TEXTS).parts]))
    vectors = units(np.stack([part.double().numpy() for part in parts]))
    expected = greedy(vectors, labelled, n)
    assert suggest(model, task, pool, n) == [kept[i] for i in expected]


def test_a_loaded_classifier_suggests_what_it_did_before(tmp_path: Path) -> None:
    classifier = fitted()
    classifier.save_pretrained(tmp_path / "saved", include_support=True)
    loaded = FewShotClassifier.from_pretrained(tmp_path / "saved", device="cpu")
    assert loaded.suggest(POOL, 9) == classifier.suggest(POOL, 9)
    classifier.save_pretrained(tmp_path / "bare")  # which has no texts to be unlike
    assert sorted(FewShotClassifier.from_pretrained(tmp_path / "bare").suggest(POOL, 9)) == sorted(
        loaded.suggest(POOL, 9)
    )


def test_a_pile_of_many_texts_is_measured_by_a_part_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the pile as references, and gains in several batches: still texts of the pile, each once."""
    monkeypatch.setattr(suggesting, "REFERENCES", 4)
    monkeypatch.setattr(suggesting, "AT_ONCE", 2)
    chosen = FewShotClassifier(MODEL).suggest(POOL, 5)
    assert len(set(chosen)) == len(chosen) and set(chosen) <= set(range(len(POOL)))


def pile_of(vectors: np.ndarray) -> Pile:
    texts = [f"text {i}" for i in range(len(vectors))]
    parts = [torch.tensor(row, dtype=torch.float32) for row in vectors]
    return Pile.read(texts, lambda kept: Represented(parts, [False] * len(kept), [False] * len(kept)))


def test_every_cluster_has_a_text_before_any_has_two() -> None:
    """Twelve clusters of uneven sizes, the largest first."""
    rng = np.random.default_rng(0)
    sizes = rng.permutation([3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 40, 50])
    middles = np.eye(16)[:12]
    rows = np.concatenate([m + 0.05 * rng.normal(size=(k, 16)) for m, k in zip(middles, sizes, strict=True)])
    cluster = np.repeat(np.arange(12), sizes)
    chosen = most_worth(pile_of(rows), 12, MODEL, None)
    assert sorted(cluster[chosen]) == list(range(12))
    assert sizes[cluster[chosen[0]]] == 50


def test_near_copies_are_not_suggested_together_but_may_come_later() -> None:
    rows = np.eye(4)[[0, 1, 2, 0]] + 1e-3 * np.eye(4)[[3, 3, 3, 2]]
    pile = pile_of(rows)
    chosen = most_worth(pile, 4, MODEL, None)
    assert len(chosen) == 3 and len({0, 3} & set(chosen)) == 1
    assert most_worth(pile, 4, MODEL, None, leaving_out=chosen) == list({0, 1, 2, 3} - set(chosen))


def test_nothing_to_suggest() -> None:
    assert fitted().suggest(["red wine glass", "RED wine glass"], 3) == []
    assert FewShotClassifier(MODEL).suggest([], 3) == []
    assert FewShotClassifier(MODEL).suggest([None, " "], 3) == []


@pytest.mark.parametrize("n", [0, -1])
@pytest.mark.parametrize("labels", [None, OWN])
def test_a_number_of_texts_is_needed(n: int, labels: list[str] | None) -> None:
    classifier = FewShotClassifier(MODEL) if labels is None else fitted()
    with pytest.raises(InputError, match=f"n={n!r}; the number of texts to suggest must be at least 1, and whole"):
        classifier.suggest(["a", "b"], n)


# over several encoders


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> FewShotClassifier:
    place = tmp_path_factory.mktemp("place")
    return FewShotClassifier(base_folder(place / "base", [*two_encoders(place), "lexical"]), device="cpu")


def test_the_space_before_labels_is_that_of_the_prior(mixed: FewShotClassifier) -> None:
    """Counts times inverse document frequencies, each block less its mean, of length 1, times the root of its weight."""
    model = mixed.meta_model
    vectors = torch.stack(list(model.represent(ASKED).parts))
    found = unlabelled_space(vectors, model.embedding, model.prior)(vectors).double().numpy()  # type: ignore[arg-type]
    first, second, counts = (block.double().numpy() for block in vectors.split(list(model.embedding.widths), -1))  # type: ignore[union-attr]
    counts = counts * (np.log((1 + len(ASKED)) / (1 + (counts != 0).sum(0))) + 1)
    blocks = [units(block - block.mean(0)) / math.sqrt(3) for block in (first, second, counts)]  # all weigh the same
    np.testing.assert_allclose(found, np.concatenate(blocks, 1), atol=1e-5)


def test_suggestions_of_several_encoders_need_no_label_and_take_any(mixed: FewShotClassifier) -> None:
    pool = [*ASKED, MIXED[0]]
    assert sorted(mixed.suggest(pool, 9)) == [0, 1, 2, 3, 4]
    assert mixed.suggest(pool, 2) == mixed.suggest(pool, 9)[:2]
    assert sorted(FewShotClassifier(mixed.model).fit(MIXED, LABELS).suggest(pool, 9)) == [0, 1, 2, 3]


@pytest.mark.parametrize("classifier", [FewShotClassifier(MODEL), fitted()], ids=["before labels", "after them"])
def test_it_tells_how_far_reading_is(classifier: FewShotClassifier) -> None:
    seen: list[tuple[int, int]] = []
    classifier.suggest(POOL, 2, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(POOL) - 1, len(POOL) - 1)  # a copy is not read
