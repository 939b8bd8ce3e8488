"""The page in a real browser, from the first sentence to the download; nothing is asked of any other machine."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meta_text import FewShotClassifier

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[1]
SENTENCES = """delivery: where is my parcel
delivery: it never arrived
delivery: it never arrived
delivery: the courier left it at the wrong door
refund: I want my money back
refund: refund please
refund: you charged me twice"""
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium brings it"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The command as a person starts it, in an empty folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-c", "from meta_text.cli import main; main()", "app", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    folder = tmp_path_factory.mktemp("page")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line == f"http://127.0.0.1:{port} (Ctrl-C ends it)\n"
        for _ in range(600):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
        server.terminate()


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Any]:
    """The page at desktop width; at the end, every request must have gone to it."""
    from playwright.sync_api import sync_playwright

    asked: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB")
        page.set_default_timeout(120_000)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.locator("#learn").wait_for()
        yield page
        browser.close()
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def press(page: Any, button: str, told: str, text: str) -> str:
    """Press a button and wait until its message says this; all of the message."""
    page.locator(button).click()
    place = page.locator(told).filter(has_text=re.compile(text))
    place.wait_for()
    return str(place.inner_text())


def fill(page: Any, place: str, text: str) -> None:
    page.locator(f"{place} textarea, {place} input").first.fill(text)


def upload(page: Any, button: str, file: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator(button).click()
    chooser.value.set_files(str(file))


def picture(page: Any, name: str) -> None:
    """A screenshot where META_TEXT_SCREENSHOTS says; the documents' are made so."""
    if folder := os.environ.get("META_TEXT_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / name), full_page=True)


def test_the_whole_path(page: Any, tmp_path: Path) -> None:
    press(page, "#learn", "#learn-told", "nothing is written yet")
    fill(page, "#sentences", "delivery: where is my parcel")
    press(page, "#learn", "#learn-told", "'delivery' is the only category")
    press(page, "#ask", "#ask-told", "no categories are learned yet")
    fill(page, "#sentences", SENTENCES)
    told = press(page, "#learn", "#learn-told", "Learned 2 categories from 6 sentences")
    assert "1 line is a copy of another and counted once" in told

    press(page, "#ask", "#ask-told", "there is no text to classify")
    fill(page, "#text", "word " * 5000)
    press(page, "#ask", "#ask-told", "25,000 characters, and this page reads 20,000")
    fill(page, "#text", "the courier did not come")
    press(page, "#ask", "#answer", "Nearest sentence of yours")
    assert page.locator("#answer .mt-label").inner_text() == "delivery"
    assert page.locator("#answer mark").all_inner_texts() == ["the", "courier", "did", "not", "come"]
    assert page.locator("#answer .mt-bar").count() == 2
    assert page.locator("#ask-told").inner_text().strip() == ""
    picture(page, "app.png")

    fill(page, "#new-name", "opening hours")
    fill(page, "#new-sentences", "when do you open\nare you open on Sunday\nwhat time do you close")
    press(page, "#add", "#change-told", "'opening hours' is learned")
    assert "opening hours: when do you open" in page.locator("#sentences textarea").input_value()
    fill(page, "#text", "are you open late tonight")
    press(page, "#ask", "#answer", "opening hours, similarity")
    assert page.locator("#answer .mt-label").inner_text() == "opening hours"

    page.get_by_role("tab", name="Accuracy").click()
    assert "leave-one-out accuracy" in press(page, "#measure", "#grown", "1 of each")
    page.get_by_role("tab", name="Doubted labels").click()
    press(page, "#check", "#doubted", "leave-one-out accuracy")

    page.get_by_role("tab", name="Label next").click()
    pile = tmp_path / "pile.csv"
    pile.write_text("text\nmy parcel is late\ndo you open at nine\nI paid twice\nhello there\n")
    upload(page, "#pile", pile)
    page.locator("#label-told").filter(has_text="4 to go").wait_for()
    first = page.locator("#asked textarea").input_value()
    press(page, "#save", "#label-told", "choose a category or write a new one")
    page.locator("#choice").get_by_label("refund", exact=True).check()  # a click may meet a redrawn list
    press(page, "#save", "#label-told", "3 to go. 'refund' is saved")
    assert f"refund: {first}" in page.locator("#sentences textarea").input_value()
    press(page, "#skip", "#label-told", "2 to go")

    page.get_by_role("tab", name="Add or remove").click()
    page.locator("#gone input").click()
    page.get_by_role("option", name="opening hours").click()
    press(page, "#remove", "#change-told", "'opening hours' is forgotten")

    page.get_by_role("tab", name="Take it with you").click()
    press(page, "#take", "#take-told", "after unpacking")
    with page.expect_download() as download:
        page.locator("#archive a[download]").first.click()
    download.value.save_as(tmp_path / "classifier.zip")
    with zipfile.ZipFile(tmp_path / "classifier.zip") as archive:
        archive.extractall(tmp_path)
    taken = FewShotClassifier.from_pretrained(tmp_path / "classifier", device="cpu")
    assert taken.classes_.tolist() == ["delivery", "refund"] and first in taken.support_["refund"]
    assert "FewShotClassifier" in page.locator("#program").inner_text()


def test_examples_a_file_and_a_narrow_screen(page: Any, tmp_path: Path) -> None:
    page.locator("#examples input").click()
    page.get_by_role("option", name="intents: clinic").click()
    page.wait_for_function("document.querySelector('#sentences textarea').value.split('\\n').length == 24")
    press(page, "#learn", "#learn-told", "Learned 4 categories from 24 sentences")
    (tmp_path / "mine.csv").write_text("text,label\nred wine,wine\nflat tyre,car\nwhite wine,wine\nnew tyre,car\n")
    upload(page, "#labelled", tmp_path / "mine.csv")
    page.wait_for_function("document.querySelector('#sentences textarea').value.startsWith('wine: red wine')")
    press(page, "#learn", "#learn-told", "Learned 2 categories from 4 sentences")
    fill(page, "#text", "what is the capital of Peru")
    press(page, "#ask", "#answer", "none of these")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture(page, "app_phone.png")
