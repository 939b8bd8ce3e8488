"""What commands are given: a saved classifier, and words of the command line."""

import os
from typing import TYPE_CHECKING

from meta_text.cli.console import laps
from meta_text.cli.verbosity import detail_model

if TYPE_CHECKING:
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.classify.multilabel import MultiLabelFewShotClassifier


def fitted(name: str, device: str | None) -> "FewShotClassifier":
    """A classifier that can answer. Raises InputError for a model that has learned no categories yet."""
    from meta_text.classify.fitted import fitted as load_fitted

    classifier = load_fitted(name, device)
    _tell_loaded(classifier, name)
    return classifier


def fitted_of_either_kind(name: str, device: str | None) -> "FewShotClassifier | MultiLabelFewShotClassifier":
    """The same, whose texts have one label or several."""
    from meta_text.classify.fitted import fitted_of_either_kind as load_fitted

    classifier = load_fitted(name, device)
    _tell_loaded(classifier, name)
    return classifier


def _tell_loaded(classifier: "FewShotClassifier | MultiLabelFewShotClassifier", name: str) -> None:
    detail_model(classifier.meta_model, name)
    laps.lap("loading the model")


def as_utf8(argument: str) -> str:
    """An argument decoded as UTF-8 if its bytes are valid UTF-8, whatever the locale."""
    try:
        return os.fsencode(argument).decode("utf-8")
    except UnicodeError:
        return argument
