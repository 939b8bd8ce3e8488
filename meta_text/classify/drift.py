"""Are texts asked now as those that were learned from? If not, it is time to label again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from meta_text.classify.adapted import Adapted
from meta_text.classify.answers import Answers, answer
from meta_text.classify.audit import left_out
from meta_text.classify.pool_answers import answers_apart
from meta_text.classify.tally import Tally, total
from meta_text.corpus.labels import texts_or_none
from meta_text.model.adaptation import Adaptation
from meta_text.model.calibration import check_rate
from meta_text.model.task import Label
from meta_text.model.unlabelled import LEAST_POOL
from meta_text.wording import counted, listed

LEVEL = 0.01  # of all tests together (Bonferroni): one report in a hundred sees a change where there is none
LEAST_ROWS = 30  # on either side of a test: of fewer, chance alone makes shares of any kind
# What has to be exceeded besides chance, for among very many texts everything differs: more of them like no class, less sure by,
# and other classes
LEAST_MORE, LEAST_DROP, LEAST_MOVED = 0.02, 0.05, 0.1
LEAST_EXPECTED = 5.0  # texts of a class, for a chi-square test; smaller classes count as one
MOST_REFERRED = 1000  # unlabelled texts that are asked again
MOST_LEFT_OUT = 200  # labelled texts that are
AT_ONCE = 1024  # texts read at a time
MOST_NAMED = 5


@dataclass(frozen=True)
class Reference:
    """What answers were when the classes were learned: to unlabelled texts, else to labelled ones, each left out.

    tally: None where neither is there. share: the share of texts like no class, where it is stated and not counted.
    """

    name: str
    tally: Tally | None
    is_asked: bool  # texts such as were asked: they have the share of "none of these" and the shares of classes
    rate: float

    @property
    def refused(self) -> float:
        if self.is_asked and self.tally is not None and self.tally.refused is not None:
            return self.tally.refused / self.tally.rows
        return self.rate


@dataclass(frozen=True)
class Outcome:
    """What came of one test. p: how probable so large a difference is by chance. is_large: whether it would matter."""

    what: str  # "none of these", "mean probability" or "class shares"
    name: str
    p: float
    is_large: bool


@dataclass(frozen=True)
class Drift:
    """Answers to texts against those at `fit`; str() is the report for people.

    rate: the stated share of texts that belong to a class and are refused, at which "none of these" was asked. tests: those
    that could be made; a difference counts at p < LEVEL / len(tests).
    """

    classes: tuple[Label, ...]
    now: Tally
    reference: Reference
    tests: tuple[Outcome, ...]

    @property
    def level(self) -> float:
        """That of each test."""
        return LEVEL / max(1, len(self.tests))

    def differs(self, *what: str) -> list[Outcome]:
        return [test for test in self.tests if test.what in what and test.is_large and test.p < self.level]

    @property
    def label_again(self) -> bool | None:
        """Whether texts are less like the labelled ones than at fit; None where that cannot be told."""
        if not any(test.what in ("none of these", "mean probability") for test in self.tests):
            return None
        return bool(self.differs("none of these", "mean probability"))

    def sentence(self) -> str:
        """What to do, and by which test."""
        if self.now.rows < LEAST_ROWS:
            return (
                f"too few texts to tell whether to label again: {self.now.rows:,} "
                f"{'was' if self.now.rows == 1 else 'were'} answered, {LEAST_ROWS} are needed"
            )
        if self.label_again is None:
            return (
                "nothing to compare with, so this cannot tell whether to label again; save the classifier with its labelled texts, or "
                "fit with unlabeled texts"
            )
        words = {"none of these": "more texts are like no class", "mean probability": "answers are less sure"}
        if found := self.differs("none of these", "mean probability"):
            why = listed(f"{words[test.what]} ({test.name}, p = {test.p:.1g})" for test in found)
            said = f"label again, some of these texts: {why}"
        else:
            names = listed(dict.fromkeys(test.name for test in self.tests if test.what in words))
            said = f"nothing says to label again: no difference that is large and beyond chance ({names})"
        said += f"; level {100 * LEVEL:.0f} % for {counted(len(self.tests), 'test')} together"
        if moved := self.differs("class shares"):
            said += (
                f". Classes are asked in other shares ({moved[0].name}, p = {moved[0].p:.1g}): give these texts to fit as unlabeled, with "
                "class_prior 'unlabeled'"
            )
        return said

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what is now, what it is compared with, tests, and the sentence."""
        tally, reference = self.reference.tally, self.reference
        before = reference.refused if reference.is_asked else None  # of labelled texts that share would say nothing
        return {
            "texts": self.now.rows,
            "without_text": self.now.blank,
            "rate": reference.rate,
            "now": self._side(self.now, self._refused),
            "compared_with": reference.name,
            "before": None if tally is None else {"texts": tally.rows, **self._side(tally, before)},
            "tests": [
                {"what": test.what, "test": test.name, "p": test.p, "differs": test in self.differs(test.what)}
                for test in self.tests
            ],
            "level": self.level,
            "label_again": self.label_again,
            "sentence": self.sentence(),
        }

    def __str__(self) -> str:
        """Two or three lines: now, and in brackets before."""
        if not self.now.rows:
            return self.sentence()
        reference, tally = self.reference, self.reference.tally
        refused = "" if self._refused is None else f"{100 * self._refused:.1f} % like no class "
        if refused:
            is_stated = not reference.is_asked or tally is None
            refused += f"({100 * reference.refused:.1f} %{' stated' if is_stated else ''}), "
        before = "" if tally is None else f" ({100 * tally.mean:.0f} %)"
        lines = [
            f"{counted(self.now.rows, 'text')}: {refused}{100 * self.now.mean:.0f} % sure on average{before}; in brackets {reference.name}"
        ]
        order = np.argsort(-self.now.shares, kind="stable")
        old = None if tally is None else tally.shares
        named = [
            f"{self.classes[i]} {100 * self.now.shares[i]:.0f} %{'' if old is None else f' ({100 * old[i]:.0f} %)'}"
            for i in order[:MOST_NAMED]
        ]
        more = len(order) - MOST_NAMED
        lines.append(f"classes: {', '.join(named)}{f', and {more} more' if more > 0 else ''}")
        return "\n".join([*lines, self.sentence()])

    @property
    def _refused(self) -> float | None:
        return None if self.now.refused is None or not self.now.rows else self.now.refused / self.now.rows

    def _side(self, tally: Tally, refused: float | None) -> dict[str, Any]:
        return {
            "none_of_these": refused,
            "mean_probability": tally.mean if tally.rows else None,
            "class_shares": dict(zip(map(str, self.classes), tally.shares.tolist(), strict=True)),
        }


class DriftReport(Adapted):
    """The method `drift` of FewShotClassifier."""

    def drift(self, X: Any, reject: float = 0.05) -> Drift:
        """Whether texts are still as those at `fit`: share of "none of these" at this rate, mean confidence, shares of classes.

        They are compared with the answers to `fit(unlabeled=...)` texts, at most MOST_REFERRED of which are asked; without these,
        "none of these" with the stated rate, and confidence with leave-one-out over at most MOST_LEFT_OUT labelled texts. Blank or
        missing texts do not count. Raises InputError for a rate that is none.
        """
        adapted, texts = self._adapted(), texts_or_none(self._as_texts(X))
        return drift(adapted, total(list(tallies(adapted, texts, reject)), adapted.n_way), reject)


def tallies(adapted: Adaptation, texts: Sequence[str | None], rate: float) -> Iterator[Tally]:
    """Of so many texts at a time that memory does not grow with their number."""
    for start in range(0, len(texts), AT_ONCE):
        some = texts[start : start + AT_ONCE]
        there = [text for text in some if text is not None]
        answers = asked(adapted, there, rate)
        yield Tally.of(answers.probabilities, answers.known, blank=len(some) - len(there))


def asked(adapted: Adaptation, texts: Sequence[str], rate: float) -> Answers:
    """Answers that know what is like no class at this rate, if the model can tell; all encoders read every text."""
    return answer(adapted, texts, rate if adapted.calibration.thresholds else None, whole=True)


def drift(adapted: Adaptation, now: Tally, rate: float, reference: Reference | None = None) -> Drift:
    """What the answers `now`, at this rate, say beside those at fit; reference: `reference_of` both, where it is known."""
    check_rate(rate)
    if now.rows < LEAST_ROWS:
        return Drift(tuple(adapted.support), now, _stated(rate), ())
    reference = reference or reference_of(adapted, rate)
    return Drift(tuple(adapted.support), now, reference, tuple(_tests(now, reference, adapted.prior)))


def reference_of(adapted: Adaptation, rate: float) -> Reference:
    """Answers at fit: to the unlabelled texts that were kept, else to labelled ones, each left out in turn."""
    if len(adapted.pool) >= LEAST_POOL:
        few = replace(adapted, pool=adapted.pool[:MOST_REFERRED])  # by their hashes, so any of them
        parts = [few.read_again.features[text] for text in few.pool]
        known = few.is_known(parts, rate) if few.calibration.thresholds else None
        tally = Tally.of(answers_apart(few), known)
        return Reference(f"{len(few.pool):,} of the unlabelled texts at fit", tally, True, rate)
    counts = tuple(len(texts) for texts in adapted.distinct.values())
    if adapted.lesson is not None or not sum(counts) or adapted.n_way == 1:
        return _stated(rate)
    rows = [row for _, _, row in left_out(adapted.resting, MOST_LEFT_OUT)]
    if not rows:
        return _stated(rate)
    found = Tally.of(np.stack(rows), None)
    tally = Tally(counts, found.rows, refused=None, sure=found.sure, squares=found.squares)
    return Reference(f"{counted(len(rows), 'labelled text')}, each left out", tally, False, rate)


def _stated(rate: float) -> Reference:
    return Reference("the stated rate", None, False, rate)


def _tests(now: Tally, reference: Reference, prior: Sequence[float] | None) -> Iterator[Outcome]:
    from scipy import stats

    before = reference.tally
    if now.refused is not None:
        is_large = now.refused / now.rows - reference.refused >= LEAST_MORE
        p, name = (
            stats.binomtest(now.refused, now.rows, reference.rate, alternative="greater").pvalue,
            "exact binomial test",
        )
        if reference.is_asked and before is not None and before.refused is not None:
            # not more than stated either: where fewer unlabelled texts were refused, thresholds have followed these
            table = [[now.refused, now.rows - now.refused], [before.refused, before.rows - before.refused]]
            p, name = max((stats.fisher_exact(table, alternative="greater").pvalue, "Fisher's exact test"), (p, name))
        yield Outcome("none of these", name, float(p), is_large)
    if (
        before is not None
        and before.rows >= LEAST_ROWS
        and len(now.of_class) > 1
        and now.deviation + before.deviation > 0
    ):
        p = stats.ttest_ind_from_stats(
            *(now.mean, now.deviation, now.rows),
            *(before.mean, before.deviation, before.rows),
            equal_var=False,
            alternative="less",
        ).pvalue
        yield Outcome("mean probability", "Welch's t-test", float(p), before.mean - now.mean >= LEAST_DROP)
    if before is not None and reference.is_asked:
        expected = before.shares
        is_large = float(abs(now.shares - expected).sum()) / 2 >= LEAST_MOVED
        counts = _merged(np.array([now.of_class, before.of_class], dtype=float))
        if counts.shape[1] > 1:
            yield Outcome(
                "class shares", "chi-square test", float(stats.chi2_contingency(counts, False).pvalue), is_large
            )
    elif prior is not None:
        is_large = float(abs(now.shares - np.array(prior)).sum()) / 2 >= LEAST_MOVED
        both = _merged(np.array([now.of_class, sum(now.of_class) * np.array(prior)]), expected=1)
        if both.shape[1] > 1:
            yield Outcome("class shares", "chi-square test", float(stats.chisquare(*both).pvalue), is_large)


def _merged(counts: Float[np.ndarray, "2 N"], expected: int | None = None) -> Float[np.ndarray, "2 _"]:
    """Two rows of counts, in which the classes of fewer than LEAST_EXPECTED expected texts are one, or part of the next smallest.

    expected: the row that holds what is expected; None: both rows are counts of what may be the same shares.
    """
    in_both = counts.sum(0) * counts.sum(1).min() / max(1.0, counts.sum())
    least = in_both if expected is None else counts[expected]
    order = np.argsort(least, kind="stable")
    many = int(np.searchsorted(np.cumsum(least[order]), LEAST_EXPECTED)) + 1  # so many are enough for one
    many = max(many, int((least < LEAST_EXPECTED).sum()))
    return np.hstack([counts[:, order[:many]].sum(1, keepdims=True), counts[:, order[many:]]])
