"""scikit-learn's checks of an estimator that make sense for one that reads text.

scikit-learn skips all of its checks for estimators whose input is text, because they feed numbers. Those
that never look at X are called here one by one; the others (shapes, NaN, sparse, dtypes of X, n_features_in_,
fit on numeric toy data) have no meaning for a list of strings, and bad texts are tested in test_classifier.
"""

import inspect

import pytest
from sklearn.base import is_classifier
from sklearn.utils import estimator_checks
from test_classifier import MODEL

from meta_text.classifier import FewShotClassifier

CHECKS = (
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
)


@pytest.mark.parametrize("name", CHECKS)
def test_sklearn_check(name: str) -> None:
    check = getattr(estimator_checks, name)
    estimator = FewShotClassifier(MODEL)
    assert len(inspect.signature(check).parameters) == 2
    check("FewShotClassifier", estimator)


def test_it_is_a_classifier_of_strings() -> None:
    estimator = FewShotClassifier(MODEL)
    assert is_classifier(estimator)
    assert estimator.__sklearn_tags__().input_tags.string
