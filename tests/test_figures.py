"""Figures of tests and of training: what is counted and drawn against independent counts, and that nothing overlaps."""

import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix
from test_reports import RESULT, compared
from test_tables import run

from meta_text.errors import InputError, OutputError
from meta_text.figures.comparison import plot_comparison
from meta_text.figures.confusion import clustered, most_confused, plot_confusion, rates_of
from meta_text.figures.curves import Point, joined, means, plot_curves, read_runs, validations
from meta_text.figures.drawing import check_figure, drawn, style
from meta_text.figures.reliability import plot_reliability, shown_bins
from meta_text.figures.reports import CountedTest, read_tests
from meta_text.model.answer_counts import AnswerCounts, ConfidenceBin


def answers(names: Sequence[str], n_way: int, episodes: int = 12, seed: int = 0) -> tuple[Any, Any, Any]:
    """Class names, probabilities and labels of episodes; neighbours in the list are confused with one another."""
    rng = np.random.default_rng(seed)
    drawn_names, probabilities, labels = [], [], []
    for _ in range(episodes):
        classes = np.sort(rng.choice(len(names), n_way, replace=False))
        true = np.repeat(np.arange(n_way), 3)
        apart = np.abs(classes[true][:, None] - classes[None])
        powers = np.exp(2 * rng.normal(size=apart.shape) - 1.5 * apart)
        probabilities.append(powers / powers.sum(1, keepdims=True))
        labels.append(true)
        drawn_names.append(tuple(names[i] for i in classes))
    return drawn_names, probabilities, labels


def scored(
    n_classes: int,
    n_way: int,
    name: str = "class_number_{}_with_a_long_name_of_its_own",
) -> CountedTest:
    names = [name.format(i) for i in range(n_classes)]
    return CountedTest("banking77", replace(RESULT, n_way=n_way), AnswerCounts.of(*answers(names, n_way)))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are written, to look at."""
    kept: list[Figure] = []
    save: Callable[..., None] = Figure.savefig

    def keep(figure: Figure, *args: Any, **options: Any) -> None:
        kept.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return kept


def test_oracle_answers_are_counted_as_by_scikit_learn() -> None:
    names = ["b", "d", "a", "e", "c"]
    given = answers(names, 3)
    counts = AnswerCounts.of(*given)
    true = [episode[y] for episode, _, labels in zip(*given, strict=True) for y in labels]
    said = [episode[i] for episode, p, _ in zip(*given, strict=True) for i in p.argmax(1)]
    assert counts.class_names == tuple(sorted(names))
    assert counts.answered == tuple(map(tuple, confusion_matrix(true, said, labels=sorted(names)).tolist()))
    together = Counter(
        (episode[y], other) for episode, _, labels in zip(*given, strict=True) for y in labels for other in episode
    )
    assert {
        (a, b): n
        for a, row in zip(counts.class_names, counts.asked, strict=True)
        for b, n in zip(counts.class_names, row, strict=True)
    } == {(a, b): together[a, b] for a in sorted(names) for b in sorted(names)}
    texts = len(true)
    error = sum(abs(each.right - each.texts * each.confidence) for each in counts.bins) / texts
    rows, labels = np.concatenate(given[1]), np.concatenate(given[2])
    assert error == pytest.approx(oracles.expected_calibration_error(rows, labels.tolist()))
    assert sum(each.texts for each in counts.bins) == texts
    assert json.loads(json.dumps(counts.as_dict()))["asked"][0] == list(counts.asked[0])


def test_confusions_are_shares_of_the_texts_that_could_be_answered_so() -> None:
    counts = AnswerCounts(("a", "b", "c"), ((6, 2, 0), (0, 4, 1), (0, 0, 0)), ((8, 4, 4), (5, 5, 1), (0, 0, 0)), ())
    assert rates_of(counts).tolist() == [[0.75, 0.5, 0.0], [0.0, 0.8, 1.0], [0.0, 0.0, 0.0]]
    assert most_confused(counts) == [("a", "b", 2, 4), ("b", "c", 1, 1)]
    assert most_confused(counts, 1) == [("a", "b", 2, 4)]


def test_classes_that_are_confused_stand_side_by_side() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(12)
    answered = np.full((12, 12), 0) + 90 * np.eye(12, dtype=int)
    pairs = [(order[2 * i], order[2 * i + 1]) for i in range(6)]
    for a, b in pairs:
        answered[a, b] = answered[b, a] = 10
    counts = AnswerCounts(tuple(map(str, range(12))), tuple(map(tuple, answered.tolist())), ((100,) * 12,) * 12, ())
    place = np.argsort(clustered(counts))
    assert [abs(place[a] - place[b]) for a, b in pairs] == [1] * 6
    two = AnswerCounts(("a", "b"), ((1, 0), (0, 1)), ((1, 1), (1, 1)), ())
    assert clustered(two).tolist() == [0, 1]


@pytest.mark.parametrize(("n_classes", "n_way"), [(77, 77), (12, 5)])
def test_no_label_of_a_confusion_matrix_is_on_another(
    n_classes: int, n_way: int, tmp_path: Path, shown: list[Figure]
) -> None:
    plot_confusion(scored(n_classes, n_way), tmp_path / "c.png")
    axes = shown[0].axes[0]
    assert len(axes.get_xticklabels()) == len(axes.get_yticklabels()) == n_classes
    renderer = FigureCanvasAgg(shown[0]).get_renderer()
    for labels, low, high in ((axes.get_xticklabels(), "x0", "x1"), (axes.get_yticklabels(), "y0", "y1")):
        boxes = sorted((label.get_window_extent(renderer) for label in labels), key=lambda box: getattr(box, low))
        assert all(getattr(a, high) < getattr(b, low) for a, b in pairwise(boxes))
    title = shown[0].get_suptitle()
    assert f"{n_way}-way, 1 shot" in title and (f"of {n_classes} classes" in title) == (n_classes > n_way)
    written = {text.get_text() for text in axes.texts}
    assert bool(written) == (n_classes <= 20)


def test_labels_of_very_many_classes_are_thinned(
    tmp_path: Path, shown: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meta_text.figures.confusion.WIDEST", 1.5)  # as if 30 classes were 480
    plot_confusion(scored(30, 3), tmp_path / "c.svg")
    assert len(shown[0].axes[0].get_xticklabels()) == math.ceil(30 / 4)


def test_oracle_intervals_of_a_reliability_diagram() -> None:
    """Wilson's interval from its formula."""
    bins = [ConfidenceBin(0, 0, 0.0), ConfidenceBin(10, 7, 0.65), ConfidenceBin(4, 4, 0.95)]
    z = 1.959963984540054
    for (stated, right, low, high), (n, p) in zip(shown_bins(bins), ((10, 0.7), (4, 1.0)), strict=True):
        middle, half = (
            (p + z * z / (2 * n)) / (1 + z * z / n),
            z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)),
        )
        assert (stated, right) == ({10: 0.65, 4: 0.95}[n], p)
        assert (low, high) == (pytest.approx(middle - half), pytest.approx(min(1, middle + half)))


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_figure_has_the_same_bytes_each_time(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    tests = [scored(6, 3), scored(5, 5)]
    for name in ("one", "two"):
        plot_reliability(tests, tmp_path / "new" / f"{name}.{kind}")
        monkeypatch.setitem(matplotlib.rcParams, "font.size", 20.0)  # whatever the program around it has set
    one, two = ((tmp_path / "new" / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
    assert one == two
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [f"one.{kind}", f"two.{kind}"]
    if kind == "svg":
        assert b"stated probability, %" in one and b"right, with 95 % interval" in one


def test_styles_differ_without_colour() -> None:
    looks = [style(i) for i in range(55)]
    assert len({(look["marker"], str(look["linestyle"])) for look in looks}) == 55
    assert len({tuple(map(str, style(i).values())) for i in range(385)}) == 385


def test_characters_without_a_font_are_told_once(tmp_path: Path) -> None:
    message = "2 characters are drawn as boxes, as no installed font has them; install one, such as"
    with pytest.warns(UserWarning, match=message) as told, drawn(tmp_path / "f.png", 2.0, 2.0) as figure:
        figure.suptitle("\U000f0000\U000f0001")
    assert len(told) == 1


def test_a_figure_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), drawn(tmp_path / "f.png", 2.0, 2.0):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match=r"f.svg is a folder; name a file in it"):
        (tmp_path / "f.svg").mkdir()
        check_figure(tmp_path / "f.svg")
    with pytest.raises(InputError, match=r"f.jpg ends in '.jpg'; name a file that ends in .png, .svg, .pdf"):
        check_figure(tmp_path / "f.jpg")


def test_a_comparison_is_drawn(tmp_path: Path, shown: list[Figure]) -> None:
    plot_comparison(compared(), tmp_path / "c.svg")
    panels = shown[0].axes
    assert [panel.get_title() for panel in panels] == ["5-way, 1 shot", "learning curves"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["protonet", "meta_lstm"]


def history(folder: Path, steps: Sequence[int], **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for step in steps:
        state = {
            "step": step,
            "loss": 2.0 / step if step else None,
            "validation": 0.5,
            "best_step": 0,
            "stale": step // 2,
        }
        lines.append(
            json.dumps({**state, "seconds": 1.0, "learning_rates": {"encoder": 0.001, "rule": 0.01}, **changes})
        )
    with (folder / "history.jsonl").open("a") as file:
        file.write("\n".join(lines) + "\n")
    return folder


def test_a_resumed_run_is_one_curve(tmp_path: Path) -> None:
    history(tmp_path / "run", [0, 1, 2, 3, 4])
    history(tmp_path / "run", [3, 4, 5], loss=9.0)
    with (tmp_path / "run" / "history.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # killed while it wrote
    runs = read_runs([tmp_path / "run"])
    assert list(runs) == ["run"]
    assert [(point.step, point.loss) for point in runs["run"]] == [
        (0, None),
        (1, 2.0),
        (2, 1.0),
        (3, 9.0),
        (4, 9.0),
        (5, 9.0),
    ]
    again = [Point(step, 1.0, 0.5, 0, 0) for step in (0, 1, 2, 0, 1)]
    assert [point.step for point in joined(again)] == [0, 1]


def test_validations_are_told_from_the_steps_between() -> None:
    """Each step carries the latest accuracy along."""
    states = [
        (0, 0.5, 0, 0),
        (1, 0.5, 0, 0),
        (2, 0.4, 0, 1),
        (3, 0.4, 0, 1),
        (4, 0.6, 4, 0),
        (5, 0.6, 4, 0),
        (6, 0.7, 6, 0),
        (7, 0.7, 6, 0),
        (8, 0.7, 6, 1),
    ]
    points = [Point(step, 1.0, accuracy, best, stale) for step, accuracy, best, stale in states]
    assert validations(points) == [(0, 0.5), (2, 0.4), (4, 0.6), (6, 0.7), (8, 0.7)]


def test_losses_are_averaged_over_stretches() -> None:
    points = [Point(0, None, 0.5, 0, 0), *(Point(step, float(step), 0.5, 0, 0) for step in range(1, 121))]
    found = means(points)
    assert len(found) == 20 and found[0] == (3.5, 3.5) and found[-1] == (117.5, 117.5)
    assert means(points[:2]) == [(1.0, 1.0)] and means(points[:1]) == []


def test_training_curves_are_drawn(tmp_path: Path, shown: list[Figure]) -> None:
    run = history(tmp_path / "run", range(7))
    plot_curves(read_runs([run]), tmp_path / "one.svg")
    old = history(tmp_path / "old", range(5), learning_rates={})
    auto = tmp_path / "auto"
    history(auto / "protonet", range(3), learning_rates={}), history(auto / "ridge", [0], learning_rates={})
    plot_curves(read_runs([auto]), tmp_path / "auto.svg")
    plot_curves(read_runs([run, old]), tmp_path / "two.svg")
    legends = [[text.get_text() for text in panel.get_legend().get_texts()] for panel in shown[0].axes]
    assert legends == [["run"], ["run"], ["encoder", "rule"]]
    assert [text.get_text() for text in shown[1].axes[0].get_legend().get_texts()] == ["protonet", "ridge"]
    assert shown[2].axes[2].get_legend().get_texts()[0].get_text().endswith("run: encoder")
    assert shown[0].axes[1].get_ylabel() == "accuracy on\nvalidation classes, %"


def report(path: Path, rows: list[CountedTest]) -> Path:
    values = [{**row.result.as_dict(), "answers": asdict(row.answers)} for row in rows]
    path.write_text(
        json.dumps(
            {"corpus": "banking77", "results": values} if len(rows) > 1 else {"corpus": "banking77", **values[0]}
        )
    )
    return path


def test_reports_are_read(tmp_path: Path) -> None:
    both = [scored(5, 3), replace(scored(4, 4), result=replace(RESULT, learner="maml"))]
    assert read_tests(report(tmp_path / "e.json", both[:1])) == both[:1]
    assert read_tests(report(tmp_path / "c.json", both)) == both


def test_show_draws_and_lists_confusions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    both = [scored(5, 5, "c{}"), replace(scored(4, 4), result=replace(RESULT, learner="maml", k_shot=5))]
    report(tmp_path / "c.json", both)
    history(tmp_path / "run", range(4))
    assert run(monkeypatch, "show", "confusion", "c.json", "--k-shot", "1", "--out", "figures/c.svg") == 0
    true, answer, texts, asked = most_confused(both[0].answers)[0]
    assert f"{true} -> {answer}" in (out := capsys.readouterr().out) and f"{texts} of {asked}" in out
    assert run(monkeypatch, "show", "reliability", "c.json", "--out", "r.png") == 0
    assert run(monkeypatch, "show", "curves", "run", "--out", "t.svg") == 0
    assert "<svg" in (tmp_path / "figures" / "c.svg").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"c.json", "run", "figures", "r.png", "t.svg"}


MISTAKES = {
    "no file": (
        ["confusion", "none.json"],
        "no file at none.json; name one that evaluate or compare wrote with --json",
    ),
    "no json": (["confusion", "bad.json"], "bad.json is no report with answers: it is not JSON; make one with"),
    "other json": (
        ["reliability", "other.json"],
        "other.json is no report with answers: it is another JSON file; make",
    ),
    "of train": (
        ["confusion", "train.json"],
        "it is a report of train, which keeps no answers; make one with meta-text ev",
    ),
    "earlier": (["confusion", "early.json"], "it is of an earlier version, which kept no answers"),
    "spoiled": (["confusion", "spoiled.json"], "spoiled.json is no report with answers: answers.bins: field required"),
    "several": (
        ["confusion", "two.json"],
        "2 tests are in the report, and a confusion matrix is of one; name it with --l",
    ),
    "learner": (
        ["confusion", "two.json", "--learner", "mamel"],
        "no test of 'mamel' in the report; it has protonet and m",
    ),
    "shots": (["reliability", "two.json", "--k-shot", "9"], "no such test in the report; it has 5-way, 1 shot"),
    "no run": (["curves", "nowhere"], "no run folder at nowhere; name one that meta-text train wrote with --out"),
    "no history": (["curves", "."], ". has no history.jsonl; name a folder that meta-text train wrote with --out"),
    "model": (
        ["curves", "run/model"],
        "run/model has no history.jsonl; it is the model of the run in run, so name that",
    ),
    "torn": (["curves", "torn"], "torn/history.jsonl, line 1, is not a state of training; remove it to see the rest"),
    "empty": (["curves", "empty"], "empty/history.jsonl has no whole line yet; wait for the first step"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_drawn_is_told_in_words(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    two = [scored(5, 5), replace(scored(5, 5), result=replace(RESULT, learner="maml"))]
    report(tmp_path / "two.json", two)
    row = json.loads(report(tmp_path / "one.json", two[:1]).read_text())
    plain = {key: value for key, value in row.items() if key != "answers"}
    files = {"other.json": {"a": 1}, "early.json": plain, "train.json": {**plain, "best_step": 3, "results": [plain]}}
    files["spoiled.json"] = {**row, "answers": {key: value for key, value in row["answers"].items() if key != "bins"}}
    for name, values in files.items():
        (tmp_path / name).write_text(json.dumps(values))
    (tmp_path / "bad.json").write_text("{bad")
    (history(tmp_path / "run", range(3)) / "model").mkdir()
    for name, content in (("torn", '{"step"\n{"step": 1}\n'), ("empty", '{"ste')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.jsonl").write_text(content)
    if words == ["curves", "."]:
        (tmp_path / "plain").mkdir()
        monkeypatch.chdir(tmp_path / "plain")
    assert run(monkeypatch, "show", *words, "--out", "f.png") == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not Path("f.png").exists()


def test_no_matplotlib_is_told_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_extras import hide

    hide(monkeypatch, "matplotlib")
    assert run(monkeypatch, "show", "curves", "nowhere", "--out", "f.png") == 2
    assert (
        "drawing a figure needs matplotlib, which is not installed; run pip install 'meta_text[explain]'"
        in capsys.readouterr().err
    )
