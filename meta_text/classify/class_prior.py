"""How often each class is expected among the texts that are asked."""

from collections.abc import Collection, Mapping
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float

from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation
from meta_text.model.asked_texts import belonging_in_pool
from meta_text.model.task import Label
from meta_text.model.unlabelled import LEAST_POOL

CHOICES = ("balanced", "support", "unlabeled")
ROUNDS = 50


def shares_of(class_prior: Any, adapted: Adaptation) -> tuple[float, ...] | None:
    """The share of each class, in column order; None where all are the same.

    class_prior: "balanced"; "support", as often as among the labelled texts, copies counted once; "unlabeled", as among the
    unlabelled texts (`shares_in_pool`); or {label: share}, any positive numbers. Raises InputError for anything else, where it
    leaves a class without a share, and where unlabelled texts are too few to tell.
    """
    support = adapted.distinct
    if isinstance(class_prior, Mapping):
        given = [_share(class_prior, label) for label in support]
        unknown = [label for label in class_prior if label not in support]
        if unknown:
            raise InputError(f"class_prior has a share for {unknown[0]!r}, which is no class; use {_listed(support)}")
    elif class_prior == "support":
        given = [float(len(texts)) for texts in support.values()]
        empty = [label for label, texts in support.items() if not texts]
        if empty:
            raise InputError(
                f"class_prior='support' gives {empty[0]!r} no share, for it has no labelled text; give it one, or use "
                "class_prior={label: share} or 'balanced'"
            )
    elif class_prior == "unlabeled":
        return tuple(shares_in_pool(adapted).tolist())
    elif class_prior == "balanced":
        return None
    else:
        raise InputError(f"class_prior={class_prior!r}; use 'balanced', 'support', 'unlabeled' or {{label: share}}")
    return tuple((np.array(given) / sum(given)).tolist())


def shares_in_pool(adapted: Adaptation) -> Float[np.ndarray, " N"]:
    """How often each class occurs among the unlabelled texts that belong to one.

    By expectation-maximization from the answers to them (Saerens et al., Neural Computation 2002), where equal shares count as
    much as all of the texts: without that, answers that are wrong drive classes away. Raises InputError for too few texts.
    """
    given = adapted.read_again
    if len(given.pool) < LEAST_POOL:
        raise InputError(
            f"class_prior='unlabeled' needs {LEAST_POOL} unlabelled texts or more, there are {len(given.pool)}; give them "
            "to fit as unlabeled=, or use 'balanced', 'support' or {label: share}"
        )
    found = belonging_in_pool(adapted.task, given)
    counts = np.ones(len(given.pool)) if found is None else found.shares
    alike = adapted.expecting(None)
    likely = alike.probabilities(alike.score([given.features[text] for text in given.pool]))
    shares = np.full(adapted.n_way, 1 / adapted.n_way)
    for _ in range(ROUNDS):
        of_class = likely * shares
        of_class *= counts[:, None] / of_class.sum(1, keepdims=True)
        shares = (of_class.sum(0) / counts.sum() + 1 / adapted.n_way) / 2
    return shares


def after_edit(class_prior: Any, before: Collection[Label], after: Collection[Label]) -> Any:
    """`class_prior` once these classes were edited: a share goes with a class that is removed or renamed."""
    if not isinstance(class_prior, Mapping):
        return class_prior
    gone, new = ([label for label in one if label not in other] for one, other in ((before, after), (after, before)))
    names = dict(zip(gone, new, strict=False)) if len(gone) == len(new) == 1 else {}
    return {
        names.get(label, label): share for label, share in class_prior.items() if label in names or label not in gone
    }


def prior_of(adapted: Adaptation) -> str | dict[Label, float]:
    """`class_prior` of classes that were saved with these shares."""
    return "balanced" if adapted.prior is None else dict(zip(adapted.support, adapted.prior, strict=True))


def _share(class_prior: Mapping[Label, Any], label: Label) -> float:
    share = class_prior.get(label)
    if isinstance(share, bool) or not isinstance(share, Real) or not 0 < float(share) < float("inf"):
        found = "no share" if share is None else f"the share {share!r}"
        raise InputError(f"class_prior has {found} for class {label!r}; a positive number is needed for every class")
    return float(share)


def _listed(support: Mapping[Label, Any]) -> str:
    return ", ".join(map(repr, support))
