"""Other few-shot packages, as their own pages use them, on the MiniLM that lies here: nothing is downloaded.

FastFit 1.2 is not among them: it needs `datasets` below 3, and fetches and runs a script as it starts.
"""

import importlib.util
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import numpy as np
import torch

from meta_text.embedding.pretrained import MINILM, find_model
from meta_text.model.task import Label
from meta_text.own_data.contenders import Answer, Contender


def setfit(texts: Sequence[str], columns: np.ndarray, names: Sequence[Label]) -> Answer:
    """SetFit (Tunstall et al., 2022): one epoch over all pairs, its own settings else."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    with silent(), tempfile.TemporaryDirectory() as folder:
        model = SetFitModel.from_pretrained(str(find_model(MINILM)), local_files_only=True)
        settings = TrainingArguments(
            output_dir=folder, num_epochs=1, report_to="none", save_strategy="no", show_progress_bar=False
        )
        data = Dataset.from_dict({"text": list(texts), "label": columns.tolist()})
        Trainer(model=model, args=settings, train_dataset=data).train()

    def answer(asked: Sequence[str]) -> np.ndarray:
        with silent():
            return np.asarray(model.predict_proba(list(asked), as_numpy=True))

    return answer


def adaptive(texts: Sequence[str], columns: np.ndarray, names: Sequence[Label]) -> Answer:
    """adaptive-classifier: prototypes and a small network over a frozen encoder."""
    from adaptive_classifier import AdaptiveClassifier

    with silent():
        torch.manual_seed(0)
        fitted = AdaptiveClassifier(str(find_model(MINILM)), device="cpu")
        fitted.add_examples(list(texts), [str(column) for column in columns])

    def answer(asked: Sequence[str]) -> np.ndarray:
        probabilities = np.zeros((len(asked), len(names)))
        with silent():
            for row, ranked in zip(probabilities, fitted.predict_batch(list(asked), k=len(names)), strict=True):
                for column, probability in ranked:
                    row[int(column)] = probability
        return probabilities

    return answer


# by the name that pip knows: the module, and how it learns
PEERS = {
    "setfit": ("setfit", "SetFit", setfit),
    "adaptive-classifier": ("adaptive_classifier", "adaptive-classifier", adaptive),
}


def peers() -> tuple[list[Contender], list[str]]:
    """The packages that are installed, and what pip calls those that are not."""
    there, missing = [], []
    for package, (module, name, learn) in PEERS.items():
        if importlib.util.find_spec(module) is None:
            missing.append(package)
        else:
            there.append(Contender(name, learn, is_peer=True))
    return there, missing


@contextmanager
def silent() -> Iterator[None]:
    """Without the log lines and bars of other packages, and with torch's random numbers as they were afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with torch.random.fork_rng(devices=[]), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)
