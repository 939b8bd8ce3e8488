"""The tests in a file that `evaluate` or `compare` wrote with `--json`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from meta_text.errors import InputError
from meta_text.model.answer_counts import AnswerCounts
from meta_text.model.results import Result
from meta_text.wording import did_you_mean, listed


@dataclass(frozen=True)
class CountedTest:
    """One test of one learner, with its answers counted."""

    corpus: str
    result: Result
    answers: AnswerCounts

    @property
    def title(self) -> str:
        """Such as "meta_lstm, 5-way, 1 shot, class names shown"."""
        return f"{self.result.learner}, {shape(self.result)}"


def shape(result: Result) -> str:
    """Such as "5-way, 1 shot, class names shown"."""
    shots = f"{result.k_shot} shot{'' if result.k_shot == 1 else 's'}"
    return f"{result.n_way}-way, {shots}{', class names shown' if result.label_names else ''}"


def read_tests(path: Path) -> list[CountedTest]:
    """The tests of a report.

    Raises InputError if there is no such file, or it is no report of `evaluate` or `compare`, or one of an earlier
    version, which did not count answers.
    """
    values = read_json(path)
    rows = values.get("results", [values]) if isinstance(values, dict) else []
    if not rows or not all(isinstance(row, dict) and "accuracy" in row for row in rows):
        raise _other(path, "it is another JSON file")
    if any("answers" not in row for row in rows):
        which = "a report of train, which keeps" if "best_step" in values else "of an earlier version, which kept"
        raise _other(path, f"it is {which} no answers")
    try:
        return [TypeAdapter(CountedTest).validate_python(_nested(row, values)) for row in rows]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise _other(path, f"{where}: {first['msg'].lower()}") from None


def read_json(path: Path) -> Any:
    """A JSON file. Raises InputError if there is none at `path`."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"no file at {path}; name one that evaluate or compare wrote with --json") from None
    except (OSError, ValueError):
        raise _other(path, "it is not JSON") from None


def chosen(
    tests: Sequence[CountedTest], learner: str | None = None, k_shot: int | None = None, label_names: bool | None = None
) -> list[CountedTest]:
    """The tests of this learner, with so many shots, and with or without class names; None: of any.

    Raises InputError if there is none.
    """
    learners = list(dict.fromkeys(test.result.learner for test in tests))
    if learner is not None and learner not in learners:
        raise InputError(
            f"no test of '{learner}' in the report; it has {listed(learners)}{did_you_mean(learner, learners)}"
        )
    kept = [
        test
        for test in tests
        if learner in (None, test.result.learner)
        and k_shot in (None, test.result.k_shot)
        and label_names in (None, test.result.label_names)
    ]
    if not kept:
        raise InputError(f"no such test in the report; it has {listed(dict.fromkeys(shape(t.result) for t in tests))}")
    return kept


def the_one(tests: Sequence[CountedTest]) -> CountedTest:
    """Raises InputError if there are several."""
    if len(tests) > 1:
        raise InputError(
            f"{len(tests)} tests are in the report, and a confusion matrix is of one; name it with --learner, --k-shot or "
            f"--label-names: {'; '.join(test.title for test in tests)}"
        )
    return tests[0]


def _nested(row: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    result = {key: value for key, value in row.items() if key != "corpus"}
    return {"corpus": row.get("corpus") or values.get("corpus"), "result": result, "answers": row["answers"]}


def _other(path: Path, found: str) -> InputError:
    return InputError(
        f"{path} is no report with answers: {found}; make one with meta-text evaluate or compare, --json FILE"
    )
