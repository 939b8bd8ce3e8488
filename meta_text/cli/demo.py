"""The command that shows the package at work: a small training run, then two tasks that it has never seen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meta_text.cli.console import out_console, run_progress
from meta_text.cli.options import Embedding, Sets, path, with_encoders
from meta_text.cli.tables import show_results, show_table
from meta_text.cli.verbosity import detail_model, detail_recipe
from meta_text.extras import check_extra

if TYPE_CHECKING:
    from meta_text.classify.classifier import FewShotClassifier

AT_HOME = {
    "water the plants": ["the basil looks thirsty", "can you give the ferns a drink", "soil's bone dry again"],
    "feed the cat": ["Miso is meowing at her bowl", "kibble time", "the cat has not had her breakfast"],
    "take out the bins": ["it's rubbish day tomorrow", "the kitchen bin smells", "recycling goes out tonight"],
}
ASKED_AT_HOME = [
    "she keeps scratching at the empty dish",
    "the leaves are drooping",
    "lorry comes at six, bags to the kerb please",
    "what is the capital of Peru",
]
IN_GERMAN = {
    "Rechnung": [
        "Auf meiner Rechnung stehen zwei Posten doppelt",
        "Warum wurde mir diesen Monat mehr berechnet?",
        "Ich habe die Rechnung für März nicht bekommen",
    ],
    "Lieferung": [
        "Mein Paket ist seit einer Woche unterwegs",
        "Der Bote hat bei den falschen Leuten geklingelt",
        "Wann kommt die zweite Hälfte der Bestellung?",
    ],
    "Kündigung": [
        "Ich möchte meinen Vertrag zum Jahresende beenden",
        "Wie komme ich aus dem Abo wieder heraus?",
        "Bitte löschen Sie mein Kundenkonto",
    ],
}
ASKED_IN_GERMAN = [
    "Die Sendung liegt angeblich noch im Depot",
    "Der abgebuchte Betrag stimmt nicht",
    "Ich brauche den Dienst nicht mehr und will aussteigen",
    "Im Karton fehlt die Hälfte der Artikel",
]


def demo(
    folder: Annotated[
        Path | None,
        typer.Argument(
            parser=path, metavar="FOLDER", help="Folder with recipes/intent.toml; default: the shipped recipe."
        ),
    ] = None,
    sets: Sets = None,
    embedding: Embedding = None,
) -> None:
    """Train on the small corpus, then learn new categories.

    It also tests the model on categories that training did not see. The last task is in German, for the default model.
    """
    check_extra("train", "training")
    from meta_text.classify.classifier import FewShotClassifier
    from meta_text.config import load_recipe
    from meta_text.training.run import run_recipe

    read = load_recipe(
        "intent" if folder is None else folder / "recipes" / "intent.toml", with_encoders(sets, embedding)
    )
    detail_recipe(read)
    with run_progress(read.train.outer_steps) as progress:
        model, _, report = run_recipe(read, progress)
    detail_model(model, read.learner.name)
    show_results("Categories never seen in training", report.results)
    show_task("Three new categories, learned from three texts each", FewShotClassifier(model), AT_HOME, ASKED_AT_HOME)
    show_task("The default model, on three categories in German", FewShotClassifier(), IN_GERMAN, ASKED_IN_GERMAN)
    out_console.print("\nYour own categories, in the browser: meta-text app (extra demo)")


def show_task(
    title: str, classifier: "FewShotClassifier", support: Mapping[str, Sequence[str]], asked: Sequence[str]
) -> None:
    """Fit the classifier and show what it answers."""
    labels = [label for label, texts in support.items() for _ in texts]
    classifier.fit([text for texts in support.values() for text in texts], labels)
    show_table(
        title,
        "text",
        ("category", "probability"),
        (
            (text, "none of these", "") if category is None else (text, str(category), f"{100 * probability:.0f} %")
            for text, (_, category, probability) in zip(asked, classifier.answers(asked, reject=0.05), strict=True)
        ),
    )
