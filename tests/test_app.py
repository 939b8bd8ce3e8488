"""What the page does, without a browser: its functions, its HTML, its commands, the Space it writes."""

import asyncio
import random
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from test_classifier import LABELS, MODEL, TEXTS, fitted
from test_tables import run

from meta_text import FewShotClassifier
from meta_text.app import page, session, shown
from meta_text.app.space import write_space
from meta_text.errors import InputError, OutputError

with warnings.catch_warnings():  # its own, as it is imported
    warnings.simplefilter("ignore")
    import gradio as gr

BOX = session.as_lines(TEXTS, LABELS)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "FewShotClassifier", lambda: FewShotClassifier(MODEL))


def test_lines_are_read_as_they_are_written() -> None:
    assert session.read_lines(f"\n{BOX}\n\n") == (TEXTS, LABELS)
    assert session.as_lines(["a\nb  c: d"], ["x: y"]) == "x- y: a b c: d"
    assert session.read_lines("a : b: c\nd:e") == (["b: c", "e"], ["a", "d"])


@pytest.mark.parametrize(
    ("box", "message"),
    [
        (" \n", "nothing is written yet; write one sentence per line, with its category in front"),
        ("a: b\nno category here", r"line 2 has no category \('no category here'\); write one sentence per line"),
        ("a: b\n\nc:", r"line 3 has no sentence \('c:'\)"),
        ("a: b\na: c", "'a' is the only category; write sentences of at least one more"),
        (
            "a: b\n" * 2001,
            "2,001 lines, and this page takes 2,000; learn from a file with `meta-text fit default FILE`",
        ),
    ],
)
def test_lines_that_cannot_be_learned_from(box: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        session.learn(box)


def test_what_was_learned_is_told() -> None:
    classifier, told = session.learn(f"{BOX}\nwine: Red  wine glass\nboat: sail")
    assert classifier.classes_.tolist() == ["boat", "car", "wine"]
    assert told == (
        "Learned 3 categories from 7 sentences. 1 line is a copy of another and counted once. "
        "One sentence is little to learn from: boat."
    )


def test_example_sets_and_files_fill_the_box(tmp_path: Path) -> None:
    sets = session.example_sets()
    assert len(sets) == 24
    for name, box in sets.items():
        texts, labels = session.read_lines(box)
        assert len(texts) == 6 * len(set(labels)) and len(set(labels)) == (4 if "intents" in name else 2)
    (tmp_path / "mine.csv").write_text("text,label\nred wine,wine\nflat tyre,car\n")
    assert session.lines_of_file(tmp_path / "mine.csv") == "wine: red wine\ncar: flat tyre"
    (tmp_path / "many.csv").write_text("text,label\n" + "".join(f"text {i},{i % 2}a\n" for i in range(2001)))
    with pytest.raises(InputError, match=r"many\.csv has 2,001 texts, and this page takes 2,000"):
        session.lines_of_file(tmp_path / "many.csv")


def test_questions_that_cannot_be_answered() -> None:
    with pytest.raises(InputError, match="no categories are learned yet; write sentences of two or more"):
        page.ask(None, "red wine")
    with pytest.raises(InputError, match="there is no text to classify; write one above"):
        page.ask(fitted(), " \n")
    with pytest.raises(InputError, match="has 20,001 characters, and this page reads 20,000; shorten it"):
        page.ask(fitted(), "a" * 20_001)


def test_categories_come_and_go() -> None:
    classifier = fitted()
    changes = session.add_category(classifier, " boat ", "sail and mast\n\nrow the boat")
    assert [change.label for change in changes] == ["car", "wine"]
    assert classifier.support_["boat"] == ["row the boat", "sail and mast"]
    session.add_category(classifier, "boat", "moor the boat")
    assert "boat: moor the boat" in session.lines_of(classifier).splitlines()
    session.remove_category(classifier, "car")
    assert classifier.classes_.tolist() == ["boat", "wine"]
    numbered = FewShotClassifier(MODEL).fit([*TEXTS, "sail"], [1, 1, 1, 2, 2, 2, 3])
    session.add_category(numbered, "3", "row the boat")
    session.remove_category(numbered, "1")
    assert numbered.support_[3] == ["row the boat", "sail"] and numbered.classes_.tolist() == [2, 3]
    for work, message in (
        (lambda: session.remove_category(classifier, "wine"), "two categories are the fewest there can be"),
        (lambda: session.remove_category(classifier, None), "choose the category to remove"),
        (lambda: session.add_category(classifier, " ", "a"), "the category has no name"),
        (lambda: session.add_category(classifier, "x", " "), "'x' has no sentences yet"),
    ):
        with pytest.raises(InputError, match=message):
            work()


def test_accuracy_by_shots_is_that_of_a_classifier_of_so_many_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every draw takes the texts in their order."""

    class InOrder(random.Random):
        def sample(self, population: Any, k: int, **_: Any) -> list[Any]:  # type: ignore[override]
            return list(population)[:k]

    monkeypatch.setattr(session.random, "Random", InOrder)
    support = {"car": sorted(TEXTS[3:]), "wine": sorted(TEXTS[:3])}
    expected = {}
    for shots in (1, 2):
        known = [(text, label) for label, texts in support.items() for text in texts[:shots]]
        asked = [(text, label) for label, texts in support.items() for text in texts[shots:]]
        found = FewShotClassifier(MODEL).fit(*zip(*known, strict=True)).predict([text for text, _ in asked])
        expected[shots] = float(np.mean(found == [label for _, label in asked]))
    assert session.accuracy_by_shots(fitted()) == expected
    with pytest.raises(InputError, match="each category has one sentence alone, so none can be held out"):
        session.accuracy_by_shots(FewShotClassifier(MODEL).fit(["red wine", "flat tyre"], ["wine", "car"]))


def test_texts_to_label_are_those_that_suggest_picks(tmp_path: Path) -> None:
    pile = [f"wine number {i} of a tyre" for i in range(12)] + TEXTS
    (tmp_path / "pile.csv").write_text("text\n" + "".join(f"{text}\n" for text in pile))
    classifier = fitted()
    queue = session.texts_to_label(classifier, tmp_path / "pile.csv")
    assert queue == [pile[i] for i in classifier.suggest(pile, 10)]
    with pytest.raises(InputError, match="choose a file of texts without labels, with a column named text"):
        session.texts_to_label(classifier, None)
    (tmp_path / "pile.csv").write_text("text\n" + "".join(f"{text}\n" for text in TEXTS))
    with pytest.raises(InputError, match=r"pile\.csv has no text that is not labelled already"):
        session.texts_to_label(classifier, tmp_path / "pile.csv")


def test_labels_are_saved_one_by_one() -> None:
    classifier, queue = fitted(), ["a glass of beer", "old tyre", "stout"]
    queue, asked, choice, new, box, gone, told = page.label_one(classifier, queue, None, "beer")
    assert (queue, asked, new) == (["old tyre", "stout"], "old tyre", "")
    assert choice["choices"] == gone["choices"] == ["beer", "car", "wine"]
    assert "beer: a glass of beer" in box and told.startswith("2 to go. 'beer' is saved.")
    queue, asked, *_ = page.label_one(classifier, queue, "car", "")
    assert "old tyre" in classifier.support_["car"]
    assert page.skip(queue) == ([], "", "All are done; choose another file")
    with pytest.raises(InputError, match="choose a category or write a new one; or skip this text"):
        page.label_one(classifier, queue, None, " ")
    with pytest.raises(InputError, match="there is no text to label; choose a file"):
        page.label_one(classifier, [], "car", "")


def test_what_is_taken_away_answers_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = fitted()
    path, program, _ = page.take_away(classifier)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unpacked")
    again = FewShotClassifier.from_pretrained(tmp_path / "unpacked" / "classifier", device="cpu")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("meta_text.FewShotClassifier", lambda: FewShotClassifier(MODEL), raising=False)
    names: dict[str, Any] = {}
    exec(program, names)
    np.testing.assert_array_equal(names["classifier"].predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert (tmp_path / "classifier" / "task.safetensors").exists()


def test_html_shows_the_answer_and_escapes_what_people_write() -> None:
    classifier = FewShotClassifier(MODEL).fit(["red <b>wine</b>", *TEXTS[1:]], ["wi<i>ne", "wi<i>ne", *LABELS[2:]])
    html, told = page.ask(classifier, "red <script>alert(1)</script> & tyre")
    assert told == "" and "<script>" not in html and "<i>" not in html and "<b>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html and "&amp;" in html and html.count("<mark") == 4
    share = classifier.predict_proba(["red <script>alert(1)</script> & tyre"]).max()
    assert f"width: {100 * share:.1f}%" in html
    detail = {"known": False, "label": "car", "scores": {"car": 0.6, "wine": 0.4}, "nearest": None}
    assert 'data-label="none of these"' in shown.answer(detail, None)
    assert "19 in 20 texts" in shown.answer(detail, None)


def test_doubted_labels_stand_in_a_table() -> None:
    wrong = [*LABELS[:2], "car", *LABELS[3:]]
    classifier = FewShotClassifier(MODEL).fit([*TEXTS, "red wine", "white wine"], [*wrong, "wine", "wine"])
    html, _ = page.check(classifier)
    doubts = classifier.audit().doubts
    assert doubts and html.count("<tr>") == 1 + len(doubts) and doubts[0].text in html
    assert "No label is doubted." in shown.doubts(replace(classifier.audit(), doubts=()))
    html, _ = page.measure(classifier)
    assert "1 of each" in html and "all, one left out" in html


def test_a_mistake_is_told_and_changes_nothing() -> None:
    handle = page.told(page.learn, 2)
    classifier, choices, told = handle(f"{BOX}\ncar: red wine glass")
    assert classifier.classes_.tolist() == choices["choices"] == ["car", "wine"]
    assert "has label &#x27;car&#x27; and &#x27;wine&#x27;" in told and 'role="status"' in told
    *unchanged, told = handle("")
    assert unchanged == [gr.skip(), gr.skip()] and 'role="alert"' in told and "nothing is written yet" in told


def test_a_saved_classifier_to_start_with(tmp_path: Path) -> None:
    fitted().save_pretrained(tmp_path / "with", include_support=True)
    fitted().save_pretrained(tmp_path / "without")
    classifier, box, choices, told = page.start(tmp_path / "with")
    assert sorted(box.splitlines()) == sorted(BOX.splitlines()) and choices["choices"] == ["car", "wine"]
    assert told == "Learned 2 categories from 6 sentences."
    classifier, box, _, told = page.start(tmp_path / "without")
    assert box == "" and told.startswith("This classifier came without its sentences: it answers")
    with pytest.raises(InputError, match="saved without its labelled texts"):
        page.add(classifier, "boat", "sail")


def test_every_visitor_gets_the_page_and_no_address_outside_is_in_it() -> None:
    async def built() -> Any:  # in a loop: Gradio would make its own and leave them open
        return page.build(None)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        blocks = asyncio.run(built())
    assert blocks.analytics_enabled is False
    handlers = [function for function in blocks.fns.values() if function.fn is not None]
    assert len(handlers) == 12 and {function.concurrency_id for function in handlers} == {"all"}


def test_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fitted().save_pretrained(tmp_path / "saved", include_support=True)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "space", "saved", "user/my-page") == 0
    assert capsys.readouterr().out == (
        "Space in my-page; publish it with `hf upload user/my-page my-page --repo-type space`\n"
    )
    card = yaml.safe_load((tmp_path / "my-page" / "README.md").read_text().split("---")[1])
    assert card["sdk"] == "gradio" and card["app_file"] == "app.py" and card["sdk_version"] == gr.__version__
    assert "car, wine" in (tmp_path / "my-page" / "README.md").read_text()
    assert (tmp_path / "my-page" / "requirements.txt").read_text().startswith("meta_text[demo] @ git+https://")
    served: list[Any] = []
    monkeypatch.setattr(page, "serve", lambda folder, **where: served.append((folder, where)))
    exec((tmp_path / "my-page" / "app.py").read_text(), {})
    assert served == [("classifier", {"host": "0.0.0.0", "port": 7860})]
    again = FewShotClassifier.from_pretrained(tmp_path / "my-page" / "classifier", device="cpu")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted().predict_proba(TEXTS))
    assert again.support_ == {"car": [], "wine": []}
    write_space(fitted(), "user/other", tmp_path / "other", include_support=True)
    assert (tmp_path / "other" / "classifier" / "support.jsonl").exists()
    with pytest.raises(OutputError, match="my-page exists already and holds something; name a new folder with --out"):
        write_space(fitted(), "user/my-page", tmp_path / "my-page")
    with pytest.raises(InputError, match="'page' is no name of a Space; USER/NAME is needed"):
        write_space(fitted(), "page", tmp_path / "page")


def test_a_port_in_use_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert run(monkeypatch, "app", "--port", port) == 2
    assert f"port {port} cannot be taken (Address already in use); name another with --port" in capsys.readouterr().err


def test_the_demo_ends_by_naming_the_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    trained = (MODEL, None, SimpleNamespace(results=[]))
    monkeypatch.setattr("meta_text.training.run.run_recipe", lambda *_: trained)
    monkeypatch.setattr("meta_text.cli.demo.show_task", lambda *_: None)
    assert run(monkeypatch, "demo") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Your own categories, in the browser: meta-text app (extra demo)"
