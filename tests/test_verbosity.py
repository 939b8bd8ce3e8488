"""--quiet, --verbose, bars only where somebody waits and looks, colour only on a terminal, times as people say them."""

import inspect
import io
import re
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_classifier import LABELS, MODEL, TEXTS
from test_cli_terminal import COMMANDS
from test_tables import run

import meta_text
from meta_text import FewShotClassifier
from meta_text.cli import console
from meta_text.cli.console import rate
from meta_text.cli.laps import Laps
from meta_text.cli.verbosity import spoken, told
from meta_text.wording import duration


@pytest.fixture(autouse=True)
def told_nothing() -> Iterator[None]:
    """`main` does this, too."""
    told.reset()
    yield
    told.reset()


@pytest.fixture
def model(tmp_path: Path) -> str:
    FewShotClassifier(MODEL).fit(TEXTS, LABELS).save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def rows(tmp_path: Path) -> str:
    """A file that there is something to say about: a guessed separator and a row without a text."""
    (tmp_path / "rows.csv").write_text("number;text\n1;red wine\n2;\n3;flat tyre\n")
    return str(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0.0 ms"),
        (0.0042, "4.2 ms"),
        (0.00994, "9.9 ms"),
        (0.00996, "10 ms"),
        (0.84, "840 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 0 s"),
        (250.0, "4 min 10 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7509.0, "2 h 5 min"),
        (200_000.0, "55 h 33 min"),
    ],
)
def test_times_are_said_in_human_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_rate_below_one_is_the_time_of_each() -> None:
    assert [rate(2500.0), rate(25.4), rate(3.14), rate(0.25), rate(0.01)] == [
        "2,500/s",
        "25/s",
        "3.1/s",
        "4.0 s each",
        "1 min 40 s each",
    ]


def test_quiet_leaves_results_and_errors(
    model: str, rows: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", model, "--input", rows, "--device", "cpu"]
    assert run(monkeypatch, *words) == 0
    loud = capsys.readouterr()
    assert "separator" in loud.err and "1 row without a readable text got no label" in loud.err
    for told_so in (["--quiet", *words], [*words, "--quiet"], [*words, "-q"], ["-q", *words, "-q"]):
        assert run(monkeypatch, *told_so) == 0
        quiet = capsys.readouterr()
        assert quiet.out == loud.out
        assert quiet.err == ""
    assert run(monkeypatch, *words, "--quiet", "--text", "nothing") == 2
    assert capsys.readouterr().err.startswith("meta-text: ")
    assert run(monkeypatch, *words) == 0
    assert capsys.readouterr() == loud  # the next command is told anew


def test_verbose_says_what_ran_where_and_for_how_long(
    model: str, rows: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", model, "--input", rows, "--device", "cpu"]
    assert run(monkeypatch, *words) == 0
    plain = capsys.readouterr()
    for told_so in (["-v", *words], [*words, "--verbose"]):
        assert run(monkeypatch, *told_so) == 0
        verbose = capsys.readouterr()
        assert verbose.out == plain.out
        assert set(plain.err.splitlines()) < set(verbose.err.splitlines())
        for part in (
            f"meta_text {meta_text.__version__} in {Path(meta_text.__file__).parent}",
            f"working folder {Path.cwd()}",
            f"torch {version('torch')}",
            f"input_file = {rows!r}",
            f"model {model}: {MODEL.recipe.learner.name}, meta-trained with seed {MODEL.recipe.train.seed}",
            f"embedding {MODEL.embedding.model}: {MODEL.embedding.width} numbers per token",
            "device cpu, ",
        ):
            assert part in verbose.err
        assert re.search(r"time: loading the model .*s, classifying rows .*s, the rest .*s; .*s in all", verbose.err)


def test_quiet_and_verbose_exclude_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["recipes", "list", "-q", "-v"], ["-q", "recipes", "list", "-v"], ["-q", "-v", "recipes", "list"]):
        assert run(monkeypatch, *words) == 2
        assert capsys.readouterr().err == "meta-text: --quiet and --verbose were both given; leave one out\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_both(name: str) -> None:
    assert {"--quiet", "--verbose"} <= {word for parameter in COMMANDS[name].params for word in parameter.opts}


def test_a_command_gets_its_own_options_alone() -> None:
    seen: list[dict[str, Any]] = []

    def command(text: str, k: int = 3) -> None:
        """What it does."""
        seen.append({"text": text, "k": k, "quiet": told.quiet})

    both = spoken(command)
    assert list(inspect.signature(both).parameters) == ["text", "k", "quiet", "verbose"]
    assert both.__doc__ == "What it does."
    both(text="a", k=5, quiet=True, verbose=False)
    told.reset()
    both(text="b", k=3, quiet=False, verbose=False)
    assert seen == [{"text": "a", "k": 5, "quiet": True}, {"text": "b", "k": 3, "quiet": False}]


def test_a_warning_is_a_note_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        warnings.simplefilter("default")
        warnings.warn("two labels look alike", UserWarning, stacklevel=1)
        warnings.warn("this name goes", DeprecationWarning, stacklevel=1)

    spoken(command)(quiet=False, verbose=False)
    assert capsys.readouterr().err == "note: two labels look alike\nDeprecationWarning: this name goes\n"
    spoken(command)(quiet=True, verbose=False)
    assert capsys.readouterr().err == ""


def test_seconds_are_counted_where_they_went() -> None:
    now = 100.0
    laps = Laps(lambda: now)
    for seconds, what in ((2.0, "reading"), (0.25, "the rest"), (60.0, "learning"), (3.0, "reading")):
        now += seconds
        laps.lap(what)
    now += 0.5
    assert laps.sentence() == "reading 5.0 s, learning 1 min 0 s, the rest 750 ms; 1 min 6 s in all"
    laps.begin()
    now += 1
    assert laps.sentence() == "the rest 1.0 s; 1.0 s in all"


def test_bars_count_the_seconds_of_what_they_show(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(console, "laps", Laps(lambda: now))
    with console.bars() as bar:
        now = 1.0  # what came before the first text was read is reading too
        bar("encode", "encoding texts", 1, 2)
        now = 3.0
        bar("encode", "encoding texts", 2, 2)
        bar("learn", "learning, step 1", 0, None)
        now = 7.0
    with console.working("auditing"):
        now = 7.5
    now = 8.0
    assert console.laps.spent.pop("the rest") == 0.0
    assert console.laps.spent == {"encoding texts": 3.0, "learning": 4.0, "auditing": 0.5}


def shown_by(monkeypatch: pytest.MonkeyPatch, seconds: float, quiet: bool = False, **terminal: Any) -> str:
    """What bars write that are looked at for these seconds, where they come after a tenth of a second."""
    screen = io.StringIO()
    looked_at = Console(file=screen, width=80, quiet=quiet, **terminal)
    monkeypatch.setattr(console, "err_console", looked_at)
    monkeypatch.setattr(console, "BARS_AFTER", 0.1)
    with console.working("learning"):
        time.sleep(seconds)
    time.sleep(0.15 if seconds < 0.1 else 0.0)
    return screen.getvalue()


def test_bars_come_where_somebody_waits_and_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert console.BARS_AFTER == 2.0
    assert "learning" in shown_by(monkeypatch, 0.3, force_terminal=True)
    assert shown_by(monkeypatch, 0.02, force_terminal=True) == ""  # work of no length
    assert shown_by(monkeypatch, 0.3, force_terminal=False) == ""  # piped
    assert shown_by(monkeypatch, 0.3, force_terminal=True, quiet=True) == ""


COLOURED = re.compile(r"\x1b\[[0-9;]*3[0-9]")  # a foreground colour, as 31 or 38;5;...


def test_colour_is_for_terminals_and_for_who_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert COLOURED.search(shown_by(monkeypatch, 0.3, force_terminal=True))
    monkeypatch.setenv("NO_COLOR", "1")
    plain = shown_by(monkeypatch, 0.3, force_terminal=True)
    assert "learning" in plain and not COLOURED.search(plain)
