"""A classifier that can answer, from wherever it is: in memory, a folder, or a repository of the Hub."""

from pathlib import Path

from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.multilabel import MultiLabelFewShotClassifier
from meta_text.errors import InputError
from meta_text.saving.label_folder import holds_labels
from meta_text.saving.loading import find_folder


def fitted(model: str | Path | FewShotClassifier, device: str | None = None) -> FewShotClassifier:
    """The classifier, loaded if it is given by its folder or name. Raises InputError if it has learned no categories yet."""
    if isinstance(model, FewShotClassifier):
        if not model.__sklearn_is_fitted__():
            raise InputError("this classifier has learned no categories yet; call fit(texts, labels) first")
        return model
    classifier = FewShotClassifier.from_pretrained(model, device=device)
    if not classifier.__sklearn_is_fitted__():
        raise InputError(
            f"{model} is a model to fit from: it has learned no categories yet; run `meta-text fit {model} FILE --out FOLDER` "
            "with a file of labelled texts, then name that FOLDER here"
        )
    return classifier


def fitted_on_texts(model: str | Path | FewShotClassifier, device: str | None = None) -> FewShotClassifier:
    """As `fitted`. Raises InputError also for a classifier of ready vectors."""
    classifier = fitted(model, device)
    if classifier.meta_model.reads_vectors:
        raise InputError(
            "this classifier was fitted on ready vectors, and here it would be given texts; fit one on texts, or call predict_proba"
        )
    return classifier


def fitted_of_either_kind(
    name: str | Path, device: str | None = None
) -> FewShotClassifier | MultiLabelFewShotClassifier:
    """The classifier in a folder or on the Hub, whose texts have one label or several. Raises as `fitted` does."""
    if holds_labels(find_folder(name)):
        return MultiLabelFewShotClassifier.from_pretrained(name, device=device)
    return fitted(name, device)
