"""Tables at 80 columns, and progress that says how far it is."""

import gzip
import io
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from rich.console import Console
from test_classifier import MODEL
from test_tables import run

from meta_text.classify.input_rows import count_rows
from meta_text.cli import console, tables
from meta_text.model.results import Interval, Result
from meta_text.training.reports import Difference

LONGEST = "trained_logistic_regression"
WIDEST = Interval(mean=1.0, ci95=0.123)


def result(learner: str, k_shot: int = 5, *, named: bool = False, corpus: str | None = None) -> Result:
    return Result(
        learner=learner,
        label_names=named,
        n_way=5,
        k_shot=k_shot,
        n_query=5,
        episodes=600,
        accuracy=WIDEST,
        f1_macro=WIDEST,
        precision_macro=WIDEST,
        recall_macro=WIDEST,
        ece=0.031,
        seconds=1.0,
        milliseconds_per_episode=12345.6,
        corpus=corpus,
    )


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 80 columns."""
    shown = io.StringIO()
    narrow = Console(file=shown, width=80, soft_wrap=True, markup=False, highlight=False, emoji=False)
    monkeypatch.setattr(tables, "out_console", narrow)
    return shown


def test_results_fit_80_columns_with_every_name_and_figure_whole(screen: io.StringIO) -> None:
    rows = [
        result(learner, shots, named=named, corpus=corpus)
        for corpus in (None, "clinc150")
        for learner in (LONGEST, "meta_lstm")
        for named in (False, True)
        for shots in (1, 10)
    ]
    tables.show_results("banking77, identical episodes", rows)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith(f"{LONGEST} ") for line in lines) == 8
    assert sum(line.count("100.0 ± 12.3") == 2 and "12.3 s" in line for line in lines) == len(rows)
    assert "…" not in screen.getvalue()
    titles = [line.strip() for line in lines if "5-way" in line]
    assert titles == [
        "banking77, identical episodes, 5-way",
        "banking77, identical episodes, 5-way, class names shown",
        "clinc150, never trained on, 5-way",
        "clinc150, never trained on, 5-way, class names shown",
    ]


def test_paired_differences_fit_80_columns(screen: io.StringIO) -> None:
    points = Interval(mean=-0.1234, ci95=0.1)
    rows = [
        Difference(ours, theirs, 10, named, points, points)
        for theirs in ("nearest_prototype", LONGEST)
        for named in (False, True)
        for ours in (LONGEST, "meta_lstm")
    ]
    tables.show_differences(rows)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith(f"{LONGEST} ") for line in lines) == 4
    assert sum(line.count("-12.34 ± 10.00") == 2 for line in lines) == len(rows)
    assert f"Difference from {LONGEST}, class names shown" in screen.getvalue()


def test_a_text_of_any_length_leaves_the_figures_whole(screen: io.StringIO) -> None:
    tables.show_table("title", "text", ("category", "probability"), [("[red]wine " * 30, "none of these", "87 %")])
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.count("[red]") for line in lines) == 30  # no markup
    assert any("none of these" in line and "87 %" in line for line in lines)


@pytest.mark.parametrize("width", [30, 50, 200])
def test_figures_are_whole_on_a_terminal_of_any_width(
    width: int, screen: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "out_console", Console(file=screen, width=width, soft_wrap=True))
    tables.show_results("title", [result(LONGEST)])
    tables.show_table("no rows", "text", ("category",), [])
    lines = screen.getvalue().splitlines()
    assert sum(line.count("100.0 ± 12.3") == 2 and line.rstrip().endswith("12.3 s") for line in lines) == 1
    assert "…" not in screen.getvalue()
    assert (LONGEST in screen.getvalue()) == (width == 200)  # names are broken, figures never


def test_nothing_trained_is_said_and_no_accuracy_made_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        f"{word} number {i},{word}"
        for word in ["red", "green", "blue", "black", "white", "grey", "pink", "gold", "teal", "jade"]
        for i in range(6)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    recipe = "[corpus]\npath = 'a.csv'\n[episode]\nn_way = 2\nk_shot = 1\nn_query = 2\n[embedding]\nkind = 'learned'\n"
    recipe += "width = 8\n[train]\nouter_steps = 0\n[evaluate]\nepisodes = 2\n"
    (tmp_path / "r.toml").write_text(recipe)
    assert run(monkeypatch, "train", "r.toml", "--device", "cpu") == 0
    shown = capsys.readouterr().out
    assert "nothing was trained" in shown
    assert "-100" not in shown
    assert "validation accuracy" not in shown


@pytest.mark.parametrize(
    ("total", "shown"), [(9000, "1,024 of 9,000, "), (None, "1,024, ")], ids=["a known total", "no total"]
)
def test_progress_says_rows_their_rate_and_with_a_total_the_time_left(
    total: int | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120, markup=False)
    monkeypatch.setattr(console, "err_console", terminal)
    monkeypatch.setattr(console, "BARS_AFTER", 0.0)
    with console.bars() as bar:
        for done in (0, 512, 1024):
            bar("classify", "classifying rows", done, total)
            time.sleep(0.05)
    assert "classifying rows" in screen.getvalue()
    assert shown in screen.getvalue()
    assert "/s" in screen.getvalue()
    assert ("s left" in screen.getvalue()) == (total is not None)
    assert "None" not in screen.getvalue()


def test_rows_are_counted_where_that_is_cheap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["red wine", "two\nlines", "", 'a "quote"']
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text('text\nred wine\n"two\nlines"\n"x"\n"a ""quote"""\n')
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{broken\n')
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\na\n"))
    (tmp_path / "bad.csv").write_text("other\na\n")
    (tmp_path / "bad.parquet").write_text("no parquet")
    counts = {path.name: count_rows(str(path)) for path in tmp_path.iterdir()}
    assert counts == {
        "a.parquet": 4,
        "a.csv": 4,
        "a.jsonl": 2,
        "a.csv.gz": None,
        "bad.csv": None,
        "bad.parquet": None,
    }
    assert count_rows("-") is None
    assert count_rows(str(tmp_path)) is None
    assert count_rows(str(tmp_path / "nowhere.csv")) is None
    monkeypatch.setattr("meta_text.classify.input_rows.COUNTED_BYTES", 10)
    assert count_rows(str(tmp_path / "a.csv")) is None
    assert count_rows(str(tmp_path / "a.parquet")) == 4


def test_predict_is_told_the_total_only_where_somebody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from meta_text import FewShotClassifier

    FewShotClassifier(MODEL).fit(["red wine", "flat tyre"], ["wine", "car"]).save_pretrained(tmp_path / "m")
    (tmp_path / "a.csv").write_text("text\nwine\ntyre\n")
    seen: list[tuple[str, int, int | None]] = []

    class Shown:
        def __enter__(self) -> object:
            return lambda key, text, done, total: seen.append((text, done, total))

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr("meta_text.cli.classify.bars", Shown)
    words = ["predict", str(tmp_path / "m"), "--input", str(tmp_path / "a.csv"), "--device", "cpu"]
    assert run(monkeypatch, *words) == 0
    monkeypatch.setattr("meta_text.cli.classify.err_console", Console(file=io.StringIO(), force_terminal=True))
    assert run(monkeypatch, *words) == 0
    assert seen == [("classifying rows", 2, None), ("classifying rows", 2, 2)]
    assert len(capsys.readouterr().out.splitlines()) == 4
