"""The page itself: what is where, and what a press does."""

import os
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meta_text.app import session, shown
from meta_text.classify.classifier import FewShotClassifier
from meta_text.errors import InputError, MetaTextError
from meta_text.extras import needs

LOOPBACK = "127.0.0.1"
FONTS = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]  # of the person's machine: none is fetched
Work = Callable[..., tuple[Any, ...]]


def serve(
    folder: str | Path | None = None,
    *,
    host: str = LOOPBACK,
    port: int = 7860,
    note: Callable[[str], None] = lambda line: None,
) -> None:
    """Show the page until interrupted; `note` gets its address. folder: a classifier to start with.

    Raises InputError for a port that is in use, ExtraError without the extra `[demo]`.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    with needs("demo", "the page"):
        import fastapi
        import gradio as gr
        import uvicorn
    check_port(host, port)
    theme = gr.themes.Default(primary_hue="blue", font=FONTS[0], font_mono=FONTS[1])
    app = gr.mount_gradio_app(fastapi.FastAPI(), build(folder), "/", theme=theme, css=shown.STYLE, footer_links=[])
    note(f"http://{host}:{port} (Ctrl-C ends it)")
    uvicorn.run(app, host=host, port=port, log_level="warning")


def check_port(host: str, port: int) -> None:
    """Raises InputError for a port that is in use or that may not be taken."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise InputError(f"port {port} cannot be taken ({error.strerror}); name another with --port") from error


def told(work: Work, outputs: int) -> Work:
    """A handler for the page: what `work` returns, its message last; for a mistake the message alone, the rest as it was."""

    def handle(*inputs: Any) -> tuple[Any, ...]:
        import gradio as gr

        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            try:
                *values, message = work(*inputs)
            except MetaTextError as error:
                return *([gr.skip()] * outputs), shown.notice(str(error), error=True)
        notes = [str(note.message) for note in noted if note.category is UserWarning]
        return *values, shown.notice(line for line in (message, *notes) if line)

    return handle


def learn(box: str) -> tuple[Any, ...]:
    import gradio as gr

    classifier, message = session.learn(box)
    return classifier, gr.update(choices=list(session.named(classifier)), value=None), message


def ask(classifier: FewShotClassifier | None, text: str) -> tuple[Any, ...]:
    classifier = session.check_question(classifier, text)
    (detail,) = classifier.predict_detail([text], session.RATE)
    explanation = classifier.explain(text) if len(classifier.classes_) > 1 else None
    return shown.answer(detail, explanation), ""


def add(classifier: FewShotClassifier | None, name: str, sentences: str) -> tuple[Any, ...]:
    changes = session.add_category(classifier, name, sentences)
    return after(session.check_learned(classifier), [f"{name.strip()!r} is learned.", *map(str, changes)])


def remove(classifier: FewShotClassifier | None, name: str | None) -> tuple[Any, ...]:
    changes = session.remove_category(classifier, name)
    return after(session.check_learned(classifier), [f"{name!r} is forgotten.", *map(str, changes)])


def after(classifier: FewShotClassifier, lines: list[str]) -> tuple[Any, ...]:
    import gradio as gr

    return (
        session.lines_of(classifier),
        gr.update(choices=list(session.named(classifier)), value=None),
        "\n".join(lines),
    )


def measure(classifier: FewShotClassifier | None) -> tuple[Any, ...]:
    by_shots = session.accuracy_by_shots(classifier)
    return shown.accuracies(by_shots, session.check_learned(classifier).audit()), ""


def check(classifier: FewShotClassifier | None) -> tuple[Any, ...]:
    return shown.doubts(session.check_learned(classifier).audit()), ""


def take_pile(classifier: FewShotClassifier | None, path: str | None) -> tuple[Any, ...]:
    import gradio as gr

    queue = session.texts_to_label(classifier, path)
    choices = list(session.named(session.check_learned(classifier)))
    return queue, queue[0], gr.update(choices=choices, value=None), f"{len(queue)} to go"


def label_one(classifier: FewShotClassifier | None, queue: list[str], choice: str | None, new: str) -> tuple[Any, ...]:
    import gradio as gr

    name = new.strip() or choice
    if not queue:
        raise InputError("there is no text to label; choose a file")
    if not name:
        raise InputError("choose a category or write a new one; or skip this text")
    changes = session.add_category(classifier, name, " ".join(queue[0].split()))
    box, choices, message = after(session.check_learned(classifier), [f"{name!r} is saved.", *map(str, changes)])
    return *skip(queue)[:2], gr.update(**{**choices, "value": None}), "", box, choices, f"{skip(queue)[2]}. {message}"


def skip(queue: list[str]) -> tuple[Any, ...]:
    rest = queue[1:]
    return rest, rest[0] if rest else "", f"{len(rest)} to go" if rest else "All are done; choose another file"


def take_away(classifier: FewShotClassifier | None) -> tuple[Any, ...]:
    path = session.zipped(classifier)
    message = 'In Python: FewShotClassifier.from_pretrained("classifier"), after unpacking. Your sentences are in it.'
    return path, session.python_of(session.check_learned(classifier).support_), message


def build(folder: str | Path | None) -> Any:
    """The page as Gradio's Blocks. Each visitor has a classifier of their own."""
    import gradio as gr

    examples = session.example_sets()
    with gr.Blocks(title="meta_text", analytics_enabled=False) as page:
        known = gr.State(None)
        gr.Markdown("# meta_text\nTeach categories with a few sentences each, then ask.")
        with gr.Row():
            with gr.Column():
                box = gr.Textbox(
                    label="Your sentences, one per line, each with its category in front",
                    placeholder="delivery: where is my parcel\ndelivery: it never arrived\nrefund: I want my money back",
                    lines=10,
                    max_lines=18,
                    elem_id="sentences",
                )
                with gr.Row():
                    example = gr.Dropdown(list(examples), label="Or take examples", value=None, elem_id="examples")
                    file = gr.UploadButton("Or load a file (text, label)", elem_id="labelled")
                learn_button = gr.Button("Learn", variant="primary", elem_id="learn")
                learn_told = gr.HTML(elem_id="learn-told")
            with gr.Column():
                text = gr.Textbox(label="Text to classify", lines=2, elem_id="text")
                ask_button = gr.Button("Classify", variant="primary", elem_id="ask")
                ask_told = gr.HTML(elem_id="ask-told")
                answer = gr.HTML(elem_id="answer")
        with gr.Tab("Add or remove"):
            with gr.Row():
                with gr.Column():
                    name = gr.Textbox(label="New category", elem_id="new-name")
                    sentences = gr.Textbox(label="Its sentences, one per line", lines=3, elem_id="new-sentences")
                    add_button = gr.Button("Add", elem_id="add")
                with gr.Column():
                    gone = gr.Dropdown([], label="Category to remove", elem_id="gone")
                    remove_button = gr.Button("Remove", elem_id="remove")
            change_told = gr.HTML(elem_id="change-told")
        with gr.Tab("Accuracy"):
            measure_button = gr.Button("Measure on my sentences", elem_id="measure")
            measure_told, grown = gr.HTML(elem_id="measure-told"), gr.HTML(elem_id="grown")
        with gr.Tab("Doubted labels"):
            check_button = gr.Button("Check my labels", elem_id="check")
            check_told, doubted = gr.HTML(elem_id="check-told"), gr.HTML(elem_id="doubted")
        with gr.Tab("Label next"):
            queue = gr.State([])
            pile = gr.UploadButton("Choose a file of texts without labels (column text)", elem_id="pile")
            asked = gr.Textbox(label="Which category is this?", interactive=False, elem_id="asked")
            choice = gr.Radio([], label="Category", elem_id="choice")
            new = gr.Textbox(label="Or a new one", elem_id="choice-new")
            with gr.Row():
                save_button = gr.Button("Save", variant="primary", elem_id="save")
                skip_button = gr.Button("Skip", elem_id="skip")
            label_told = gr.HTML(elem_id="label-told")
        with gr.Tab("Take it with you"):
            take_button = gr.Button("Make the folder and the program", elem_id="take")
            take_told = gr.HTML(elem_id="take-told")
            archive = gr.File(label="The classifier, zipped", interactive=False, elem_id="archive")
            program = gr.Code(label="The same in Python", language="python", elem_id="program")

        def on(events: Any, work: Work, inputs: list[Any], outputs: list[Any]) -> Any:
            # one at a time: a classifier changes in place
            handler = told(work, len(outputs) - 1)
            return gr.on(
                events, handler, inputs, outputs, concurrency_id="all", concurrency_limit=1, api_visibility="private"
            )

        on([example.input], lambda chosen: (examples.get(chosen, ""), ""), [example], [box, learn_told])
        on([file.upload], lambda path: (session.lines_of_file(path), ""), [file], [box, learn_told])
        on([learn_button.click], learn, [box], [known, gone, learn_told])
        on([ask_button.click, text.submit], ask, [known, text], [answer, ask_told])
        on([add_button.click], add, [known, name, sentences], [box, gone, change_told])
        on([remove_button.click], remove, [known, gone], [box, gone, change_told])
        on([measure_button.click], measure, [known], [grown, measure_told])
        on([check_button.click], check, [known], [doubted, check_told])
        on([pile.upload], take_pile, [known, pile], [queue, asked, choice, label_told])
        on(
            [save_button.click],
            label_one,
            [known, queue, choice, new],
            [queue, asked, choice, new, box, gone, label_told],
        )
        on([skip_button.click], skip, [queue], [queue, asked, label_told])
        on([take_button.click], take_away, [known], [archive, program, take_told])
        if folder is not None:
            on([page.load], lambda: start(folder), [], [known, box, gone, learn_told])
    return page


def start(folder: str | Path) -> tuple[Any, ...]:
    """A saved classifier for one visitor."""
    classifier = FewShotClassifier.from_pretrained(folder)
    return classifier, *after(classifier, [session.learned(classifier)])
