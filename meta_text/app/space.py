"""A Space for the Hugging Face Hub that shows the page with one's own classifier."""

import re
from pathlib import Path

from meta_text.classify.classifier import FewShotClassifier
from meta_text.errors import InputError, OutputError
from meta_text.extras import check_extra

PORT = 7860  # that the Hub forwards
PROGRAM = f"""from meta_text.app.page import serve

serve("classifier", host="0.0.0.0", port={PORT})
"""
REQUIREMENTS = "meta_text[demo] @ git+https://github.com/meta-text/meta_text\n"
ABOUT = """
# {title}

Classifies texts as {classes}, and learns other categories from a few sentences. Made with
[meta_text](https://github.com/meta-text/meta_text).
"""


def write_space(classifier: FewShotClassifier, repo_id: str, target: Path, *, include_support: bool = False) -> None:
    """Write app.py, requirements.txt, README.md and the folder `classifier` into a new or empty folder.

    Without include_support the labelled texts stay at home: visitors can ask, but not change the classes. Raises InputError for
    a name that is not USER/NAME, OutputError for a folder that holds something, ExtraError without the extra `[demo]`.
    """
    check_extra("demo", "a Space")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id):
        raise InputError(f"{repo_id!r} is no name of a Space; USER/NAME is needed, such as user/my-page")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{target} exists already and holds something; name a new folder with --out")
    from importlib.metadata import version

    from huggingface_hub import SpaceCardData

    title = repo_id.rpartition("/")[2]
    card = SpaceCardData(
        title=title,
        sdk="gradio",
        sdk_version=version("gradio"),
        python_version="3.11",
        app_file="app.py",
        license="apache-2.0",
    )
    classes = ", ".join(map(str, classifier.classes_.tolist()[:20]))
    target.mkdir(parents=True, exist_ok=True)
    classifier.save_pretrained(target / "classifier", include_support=include_support)
    about = f"---\n{card.to_yaml()}\n---\n{ABOUT.format(title=title, classes=classes)}"
    for name, content in (("app.py", PROGRAM), ("requirements.txt", REQUIREMENTS), ("README.md", about)):
        (target / name).write_text(content, encoding="utf-8")
