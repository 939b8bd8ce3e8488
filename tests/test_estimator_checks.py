"""scikit-learn's checks of an estimator: those that run as they are, twins in text of those that feed numbers, the rest.

scikit-learn skips all of its checks for estimators whose input is text. Here every one of them stands in one of four
tables, and a test compares the tables with scikit-learn's own list.
"""

import functools
import inspect
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable

import numpy as np
import pandas
import pytest
import sklearn
from packaging.version import Version
from sklearn.base import clone, is_classifier
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted
from test_classifier import LABELS, MODEL, TEXTS, fitted

from meta_text.classify.classifier import FewShotClassifier

CHECKS = (
    "check_classifiers_regression_target",
    "check_decision_proba_consistency",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_partial_fit_n_features",
    "check_estimators_unfitted",
    "check_fit1d",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_n_features_in_after_fitting",
    "check_no_attributes_set_in_init",
    "check_non_transformer_estimators_n_iter",
    "check_parameters_default_constructible",
    "check_requires_y_none",
    "check_set_params",
    "check_supervised_y_no_nan",
    "check_valid_tag_types",
)
OF_VECTORS = (
    "check_all_zero_sample_weights_error",
    "check_classifiers_one_label_sample_weights",
    "check_sample_weights_list",
    "check_sample_weights_not_overwritten",
    "check_sample_weights_shape",
)
ASKED = ["a red wine", "tyre pressure", "unheard of"]


@pytest.mark.parametrize("name", CHECKS)
def test_sklearn_check(name: str) -> None:
    check = getattr(estimator_checks, name)
    assert len(inspect.signature(check).parameters) == 2
    check("FewShotClassifier", FewShotClassifier(MODEL))


class OfVectors(FewShotClassifier):
    """Reads tables of numbers and nothing else."""

    def __sklearn_tags__(self) -> object:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, False, True
        return tags


@pytest.mark.parametrize("name", OF_VECTORS)
def test_sklearn_check_of_vectors(name: str) -> None:
    if not hasattr(estimator_checks, name):
        pytest.skip(f"scikit-learn {sklearn.__version__} has no {name}")
    getattr(estimator_checks, name)("FewShotClassifier", OfVectors(embedding="vectors", device="cpu"))


def proba(classifier: FewShotClassifier) -> np.ndarray:
    return classifier.predict_proba(ASKED)


def returns_self() -> None:
    classifier = FewShotClassifier(MODEL)
    assert classifier.fit(TEXTS, LABELS) is classifier


def parameters_stay_and_attributes_end_in_an_underscore() -> None:
    classifier = FewShotClassifier(MODEL, label_names=True)
    before = classifier.get_params()
    classifier.fit(TEXTS, LABELS)
    assert classifier.get_params() == before
    added = vars(classifier).keys() - vars(FewShotClassifier(MODEL)).keys()
    assert added and all(name.endswith("_") for name in added)


def predicting_changes_nothing() -> None:
    classifier = fitted()
    before = dict(vars(classifier))
    for method in (classifier.predict, classifier.predict_proba, classifier.predict_detail, classifier.answers):
        method(ASKED)
    classifier.score(TEXTS, LABELS)
    assert vars(classifier) == before


def fitting_twice_is_fitting_once() -> None:
    classifier = fitted()
    once = proba(classifier)
    np.testing.assert_array_equal(proba(classifier.fit(TEXTS, LABELS)), once)
    np.testing.assert_array_equal(proba(clone(classifier).fit(TEXTS, LABELS)), once)


def a_text_is_answered_alike_alone_and_among_others() -> None:
    classifier = fitted()
    alone = np.concatenate([classifier.predict_proba([text]) for text in ASKED])
    np.testing.assert_allclose(proba(classifier), alone, atol=1e-6)


def order_only_permutes() -> None:
    classifier = fitted()
    np.testing.assert_allclose(classifier.predict_proba(ASKED[::-1])[::-1], proba(classifier), atol=1e-6)


def one_class_is_enough() -> None:
    classifier = FewShotClassifier(MODEL).fit(TEXTS, ["all"] * len(TEXTS))
    assert classifier.predict(ASKED).tolist() == ["all"] * 3
    np.testing.assert_array_equal(proba(classifier), np.ones((3, 1)))


def one_text_is_enough() -> None:
    assert FewShotClassifier(MODEL).fit(["red wine"], ["wine"]).predict(ASKED).tolist() == ["wine"] * 3


def a_column_of_labels_is_warned_of() -> None:
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed when a 1d array was expected"):
        classifier = FewShotClassifier(MODEL).fit(TEXTS, np.array(LABELS)[:, None])
    np.testing.assert_array_equal(proba(classifier), proba(fitted()))


def a_pickled_classifier_answers_alike() -> None:
    np.testing.assert_array_equal(proba(pickle.loads(pickle.dumps(fitted()))), proba(fitted()))


def fitted_is_told_from_unfitted() -> None:
    with pytest.raises(NotFittedError):
        check_is_fitted(FewShotClassifier(MODEL))
    check_is_fitted(fitted())


def a_pipeline_answers_alike() -> None:
    pipeline = make_pipeline(FewShotClassifier(MODEL)).fit(TEXTS, LABELS)
    np.testing.assert_array_equal(pipeline.predict_proba(ASKED), proba(fitted()))
    assert pipeline.score(TEXTS, LABELS) == fitted().score(TEXTS, LABELS)


def arrays_that_are_read_only_or_objects_are_taken() -> None:
    for X in (np.array(TEXTS), np.array(TEXTS, dtype=object)):
        X.setflags(write=False)
        np.testing.assert_array_equal(proba(FewShotClassifier(MODEL).fit(X, LABELS)), proba(fitted()))


def numbers_and_tables_are_refused() -> None:
    for X in (np.ones(2), np.ones(2, complex), np.array([["a", "b"], ["c", "d"]])):
        with pytest.raises(ValueError, match=r"string is needed|1-dimensional sequence of texts is needed"):
            FewShotClassifier(MODEL).fit(X, ["x", "y"])
        with pytest.raises(ValueError, match=r"string is needed|1-dimensional sequence of texts is needed"):
            fitted().predict(X)


def nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no text and no described class"):
        FewShotClassifier(MODEL).fit([], [])


def it_learns_and_tells_unequal_lengths() -> None:
    for labels in (LABELS, [int(label == "car") for label in LABELS], [label == "car" for label in LABELS]):
        classifier = FewShotClassifier(MODEL).fit(TEXTS, labels)
        assert classifier.classes_.tolist() == sorted(set(labels))
        assert classifier.score(TEXTS, labels) == 1.0
        assert classifier.predict_proba(TEXTS).argmax(1).tolist() == [sorted(set(labels)).index(y) for y in labels]
    with pytest.raises(ValueError, match="6 texts and 5 labels"):
        FewShotClassifier(MODEL).fit(TEXTS, LABELS[1:])


def weights_in_any_column_are_taken() -> None:
    weights = [1.0, 2.0, 0.5, 1.0, 1.0, 3.0]
    expected = FewShotClassifier(MODEL).fit(TEXTS, LABELS, weights).fingerprint()
    assert expected != fitted().fingerprint()
    for given in (pandas.Series(weights, index=list("fedcba")), estimator_checks._NotAnArray(weights)):
        assert FewShotClassifier(MODEL).fit(TEXTS, LABELS, sample_weight=given).fingerprint() == expected


def odd_parameters_are_refused_when_they_are_used() -> None:
    """scikit-learn's own check, in a process that does not check types as this suite does."""
    code = "from sklearn.utils import estimator_checks; from meta_text import FewShotClassifier; estimator_checks.{}('', {})"
    check = "check_do_not_raise_errors_in_init_or_set_params"
    subprocess.run([sys.executable, "-c", code.format(check, "FewShotClassifier()")], check=True)


TWINS: dict[str, Callable[[], None]] = {
    "check_classifiers_classes": it_learns_and_tells_unequal_lengths,
    "check_classifiers_one_label": one_class_is_enough,
    "check_classifiers_train": it_learns_and_tells_unequal_lengths,
    "check_complex_data": numbers_and_tables_are_refused,
    "check_dict_unchanged": predicting_changes_nothing,
    "check_do_not_raise_errors_in_init_or_set_params": odd_parameters_are_refused_when_they_are_used,
    "check_dont_overwrite_parameters": parameters_stay_and_attributes_end_in_an_underscore,
    "check_dtype_object": arrays_that_are_read_only_or_objects_are_taken,
    "check_estimators_empty_data_messages": nothing_is_refused,
    "check_estimators_fit_returns_self": returns_self,
    "check_estimators_overwrite_params": parameters_stay_and_attributes_end_in_an_underscore,
    "check_estimators_pickle": a_pickled_classifier_answers_alike,
    "check_fit2d_1sample": one_text_is_enough,
    "check_fit2d_predict1d": numbers_and_tables_are_refused,
    "check_fit_check_is_fitted": fitted_is_told_from_unfitted,
    "check_fit_idempotent": fitting_twice_is_fitting_once,
    "check_fit_score_takes_y": a_pipeline_answers_alike,
    "check_methods_sample_order_invariance": order_only_permutes,
    "check_methods_subset_invariance": a_text_is_answered_alike_alone_and_among_others,
    "check_pipeline_consistency": a_pipeline_answers_alike,
    "check_readonly_memmap_input": arrays_that_are_read_only_or_objects_are_taken,
    "check_sample_weights_not_an_array": weights_in_any_column_are_taken,
    "check_sample_weights_pandas_series": weights_in_any_column_are_taken,
    "check_supervised_y_2d": a_column_of_labels_is_warned_of,
}
LEFT_OUT = {
    "check_array_api_input": "texts are no arrays of numbers, on whatever device",
    "check_classifier_data_not_an_array": "feeds a matrix of numbers; lists, tuples and pandas: test_classifier",
    "check_estimator_sparse_array": "texts are not sparse",
    "check_estimator_sparse_matrix": "texts are not sparse",
    "check_estimator_sparse_tag": "texts are not sparse",
    "check_estimators_dtypes": "texts have no numeric dtype",
    "check_estimators_nan_inf": "a text is neither NaN nor infinite; a NaN among texts is refused: see below",
    "check_f_contiguous_array_estimator": "a list of texts has no memory order",
    "check_fit2d_1feature": "texts have no features to count",
    "check_n_features_in": "texts have no features to count",
    "check_sample_weight_equivalence_on_dense_data": "repeats texts, but copies count once; weight 0: test_sample_weight",
    "check_positive_only_tag_during_fit": "texts are neither positive nor negative",
}


@pytest.mark.parametrize("twin", dict.fromkeys(TWINS.values()), ids=lambda twin: twin.__name__)
def test_twin_in_text(twin: Callable[[], None]) -> None:
    twin()


@pytest.mark.parametrize("text", [float("nan"), None, np.nan, b"bytes"])
def test_a_nan_among_texts_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"X\[1\] is .* a string is needed"):
        FewShotClassifier(MODEL).fit(["a", text], ["x", "y"])


class OfNumbers(FewShotClassifier):
    """Claims to read tables, so that scikit-learn lists its checks."""

    def __sklearn_tags__(self) -> object:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


@pytest.mark.skipif(Version(sklearn.__version__) < Version("1.9"), reason="the tables are those of scikit-learn 1.9")
def test_every_check_of_sklearn_stands_in_one_of_the_tables() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        listed = estimator_checks._yield_all_checks(OfNumbers(MODEL), legacy=True)
        names = {(c.func if isinstance(c, functools.partial) else c).__name__ for c in listed}
    tables = [set(CHECKS), set(OF_VECTORS), set(TWINS), set(LEFT_OUT)]
    assert sum(map(len, tables)) == len(set.union(*tables))
    assert set.union(*tables) - {"check_estimator_cloneable"} == names  # that one is asked for beside the list


def test_it_is_a_classifier_of_strings() -> None:
    estimator = FewShotClassifier(MODEL)
    assert is_classifier(estimator)
    assert estimator.__sklearn_tags__().input_tags.string
