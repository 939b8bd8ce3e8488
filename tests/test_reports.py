"""Results as values and as JSON: the format that scripts and saved models rely on, and the tables made of it."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from meta_text.config import Recipe, parse_recipe
from meta_text.model.answer_counts import AnswerCounts, ConfidenceBin
from meta_text.model.results import Interval, Result
from meta_text.training.reports import (
    Comparison,
    ComparisonRow,
    CurvePoint,
    Difference,
    EvaluationReport,
    RunContext,
    TrainReport,
    privileges,
)

ROOT = Path(__file__).parent.parent
TABLES = runpy.run_path(str(ROOT / "benchmarks" / "accuracy" / "results.py"))
RESULT = Result(
    learner="protonet",
    n_way=5,
    k_shot=1,
    n_query=5,
    episodes=600,
    accuracy=Interval(0.9, 0.01),
    f1_macro=Interval(0.8, 0.02),
    precision_macro=Interval(0.85, 0.02),
    recall_macro=Interval(0.9, 0.01),
    ece=0.0625,
    seconds=1.5,
    milliseconds_per_episode=2.5,
)
RESULT_KEYS = [
    *("learner", "label_names", "n_way", "k_shot", "n_query", "episodes"),
    *("accuracy", "f1_macro", "precision_macro", "recall_macro", "ece", "seconds", "milliseconds_per_episode"),
]
CONTEXT_KEYS = ["seed", "train_seed", "corpus", "split", "privileges", "recipe", "versions", "hardware"]
RECIPE = parse_recipe({"corpus": {"name": "banking77", "also": ["/home/somebody/clinc150"]}, "train": {"seed": 7}})
ANSWERS = AnswerCounts(
    ("a", "b"), ((1, 1), (0, 1)), ((2, 2), (1, 1)), (ConfidenceBin(0, 0, 0.0), ConfidenceBin(3, 2, 0.75))
)
CONTEXT = RunContext.of(RECIPE)


def compared() -> Comparison:
    ours = replace(RESULT, learner="meta_lstm", accuracy=Interval(0.92, 0.01))
    difference = Difference("meta_lstm", "protonet", 1, False, Interval(0.02, 0.004), Interval(0.01, 0.003))
    rows = (ComparisonRow(RESULT, 0.0, None, []), ComparisonRow(ours, 12.5, 50, []))
    return Comparison(rows, (difference,), {"meta_lstm": [CurvePoint(0, 0.5), CurvePoint(50, 0.75)]}, CONTEXT, 60.0)


def test_the_results_of_a_model_saved_by_an_earlier_version_are_read_and_written_unchanged() -> None:
    stored = json.loads((ROOT / "tests" / "golden_default" / "config.json").read_text("utf-8"))["results"]
    results = TypeAdapter(list[Result]).validate_python(stored)
    assert [result.as_dict() for result in results] == stored
    assert len(stored) == 8 and stored[0]["accuracy"]["mean"] == results[0].accuracy.mean
    assert {result.corpus for result in results} == {None, "banking77"}


def test_what_does_not_apply_is_left_out_of_a_result() -> None:
    assert list(RESULT.as_dict()) == RESULT_KEYS
    whole = replace(RESULT, auroc=Interval(0.7, 0.1), corpus="sst2").as_dict()
    assert list(whole) == [*RESULT_KEYS[:11], "auroc", *RESULT_KEYS[11:], "corpus"]
    assert RESULT.as_dict()["accuracy"] == {"mean": 0.9, "ci95": 0.01}


def test_intervals_are_printed_in_percent_and_in_points() -> None:
    assert Interval(0.9234, 0.0123).percent() == "92.3 ± 1.2"
    assert Interval(0.0234, 0.0123).points() == "+2.34 ± 1.23"
    assert Interval(-0.0234, 0.0123).points() == "-2.34 ± 1.23"


def test_json_of_a_training_run() -> None:
    report = TrainReport((RESULT, replace(RESULT, k_shot=5)), CONTEXT, 0.875, 50, 12.5, 20.0).as_dict()
    timing = ["validation_accuracy", "best_step", "train_seconds", "total_seconds"]
    assert list(report) == [*RESULT_KEYS, *CONTEXT_KEYS, *timing, "results"]
    assert [row["k_shot"] for row in report["results"]] == [1, 5]
    assert (report["k_shot"], report["validation_accuracy"], report["best_step"]) == (1, 0.875, 50)
    assert (report["seed"], report["train_seed"]) == (0, 7)
    json.dumps(report, allow_nan=False)


def test_json_of_an_evaluation() -> None:
    report = EvaluationReport(RESULT, CONTEXT, "test").as_dict()
    assert list(report) == [*RESULT_KEYS, *CONTEXT_KEYS, "classes"]
    assert report["classes"] == "test"
    whole = EvaluationReport(RESULT, CONTEXT, "test", ANSWERS).as_dict()
    assert list(whole) == [*report, "answers"]
    assert list(whole["answers"]) == ["class_names", "answered", "asked", "bins"]
    assert whole["answers"]["bins"][1] == {"texts": 3, "right": 2, "confidence": 0.75}


def test_json_of_a_comparison_and_back() -> None:
    values = compared().as_dict()
    assert list(values) == ["results", "paired", "curves", *CONTEXT_KEYS, "total_seconds"]
    assert list(values["results"][0]) == [*RESULT_KEYS, "train_seconds", "best_step", "privileges"]
    assert values["results"][0]["best_step"] is None
    assert list(values["paired"][0]) == ["learner", "against", "k_shot", "label_names", "accuracy", "f1_macro"]
    assert values["curves"] == {"meta_lstm": [{"step": 0, "validation": 0.5}, {"step": 50, "validation": 0.75}]}
    again = Comparison.from_dict(json.loads(json.dumps(values)))
    assert (again.rows, again.paired, again.curves) == (compared().rows, compared().paired, compared().curves)
    assert json.dumps(again.as_dict()) == json.dumps(values)
    counted = replace(compared(), rows=tuple(replace(row, answers=ANSWERS) for row in compared().rows))
    assert Comparison.from_dict(json.loads(json.dumps(counted.as_dict()))).rows == counted.rows
    del values["paired"]
    with pytest.raises(ValidationError, match="paired"):
        Comparison.from_dict(values)


def test_privileges_name_what_a_figure_uses_beside_its_labels() -> None:
    assert privileges(Recipe(), label_names=False) == []
    assert privileges(RECIPE, label_names=True) == ["label names", "other corpora (clinc150)"]


def test_oracle_table_of_two_splits() -> None:
    """Means over splits; the interval of a mean of two is half the root of the summed squares."""
    second = compared()
    rows = tuple(replace(row, result=replace(row.result, accuracy=Interval(0.8, 0.02))) for row in second.rows)
    other = replace(second.paired[0], accuracy=Interval(0.04, 0.003))
    second = replace(second, rows=rows, paired=(other,), context=replace(CONTEXT, split=2))
    lines = TABLES["table"]([compared(), second]).splitlines()
    assert lines[0].startswith("| shots | learner | label names | accuracy | macro-F1 | against protonet | ECE |")
    # sqrt(1^2 + 2^2) / 2 = 1.12; sqrt(0.4^2 + 0.3^2) / 2 = 0.25; macro-F1 sqrt(2^2 + 2^2) / 2 = 1.41
    assert lines[2] == "| 1 | `protonet` |  | 85.0 ± 1.1 | 80.0 ± 1.4 |  | 0.062 | 0 | 2 |"
    assert lines[3] == "| 1 | `meta_lstm` |  | 86.0 ± 1.1 | 80.0 ± 1.4 | +3.00 ± 0.25 | 0.062 | 12 | 2 |"
    assert "class splits 1, 2; 600 episodes per split; seeds 7 (training), 0" in TABLES["heading"]([compared(), second])
