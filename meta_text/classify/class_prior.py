"""How often each class is expected among the texts that are asked."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

from meta_text.errors import InputError
from meta_text.model.adaptation import Adaptation
from meta_text.model.task import Label

CHOICES = ("balanced", "support")


def shares_of(class_prior: Any, support: Mapping[Label, Sequence[str]]) -> tuple[float, ...] | None:
    """The share of each class, in the order of `support`; None where all are the same.

    class_prior: "balanced"; "support", as often as among the labelled texts, copies counted once; or {label: share}, any
    positive numbers. Raises InputError for anything else, and where it leaves a class without a share.
    """
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
    elif class_prior == "balanced":
        return None
    else:
        raise InputError(f"class_prior={class_prior!r}; use 'balanced', 'support' or {{label: share}}")
    return tuple((np.array(given) / sum(given)).tolist())


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
