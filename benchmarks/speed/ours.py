"""meta_text on the texts of the peers: fit, add_class, predict in each precision, many classes, the token cache."""

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from measuring import accuracy, peak_mib, repeat, tasks, tell, timed

from meta_text import FewShotClassifier
from meta_text.embedding.bound_texts import BoundTexts
from meta_text.embedding.encoders import open_encoder
from meta_text.embedding.precision import VARIABLE, available
from meta_text.embedding.token_cache import TokenCache


def new(embedding):
    return FewShotClassifier(embedding=embedding, device="cpu")


def fit(draw, embedding=None):
    return new(embedding).fit(draw["texts"], draw["labels"])


def commands(results):
    """Times fresh interpreters: a bare one, the import, and the help page through the command's entry point."""
    starts = {
        "bare": "pass",
        "import": "import meta_text",
        "help": "import sys; sys.argv = ['meta-text', '--help']; from meta_text.cli import main; main()",
    }
    for name, code in starts.items():
        results[f"start_{name}"] = repeat(
            lambda code=code: subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True), 7
        )


def both(task, results):
    """The default, with all its encoders, and `embedding="fast"`, with MiniLM alone as the peers."""
    read = open_encoder("minilm").embedding.tokenizer.encode_batch_fast(task["test_texts"])
    results["tokens_per_text"] = sum(len(encoding.ids) for encoding in read) / len(read)
    results["fast"] = {}
    for embedding, found in ((None, results), ("fast", results["fast"])):
        fits(task, found, embedding)
        precisions(task, found, embedding)


def fits(task, results, embedding):
    results["engine"] = new(embedding).meta_model.engine_note
    fit(task["five_way"][0], embedding)
    for draw in task["five_way"]:
        seconds, classifier = timed(lambda draw=draw: fit(draw, embedding))
        results.setdefault("fit5", []).append(seconds)
        results.setdefault("accuracy5", []).append(
            accuracy(classifier.predict(draw["test_texts"]), draw["test_labels"])
        )
    for draw in task["all_way"]:
        seconds, classifier = timed(lambda draw=draw: fit(draw, embedding))
        results.setdefault("fit77", []).append(seconds)
        seconds, labels = timed(lambda classifier=classifier: classifier.predict(task["test_texts"]))
        results.setdefault("predict", []).append(len(labels) / seconds)
        results.setdefault("accuracy77", []).append(accuracy(labels, task["test_labels"]))
        last = draw["labels"][-1]
        kept = [i for i, label in enumerate(draw["labels"]) if label != last]
        fewer = new(embedding).fit([draw["texts"][i] for i in kept], [draw["labels"][i] for i in kept])
        added = [text for text, label in zip(draw["texts"], draw["labels"], strict=True) if label == last]
        results.setdefault("add_class", []).append(timed(partial(fewer.add_class, last, added))[0])


def precisions(task, results, embedding):
    """Accuracy and texts/s in every precision that this machine offers, with the same labelled texts."""
    before = os.environ.pop(VARIABLE, None)
    for name in available():
        os.environ[VARIABLE] = name
        classifier = fit(task["all_way"][0], embedding)
        seconds, labels = timed(lambda classifier=classifier: classifier.predict(task["test_texts"]))
        results[f"predict_{name}"] = [len(labels) / seconds]
        results[f"accuracy_{name}"] = [accuracy(labels, task["test_labels"])]
    del os.environ[VARIABLE]
    if before is not None:
        os.environ[VARIABLE] = before


def many_classes(task, results):
    """Fits ten made-up texts per class, as long as those of BANKING77, with "fast". Only time and memory matter here."""
    words = sorted({word for text in task["test_texts"] for word in text.split()})
    drawn = torch.Generator().manual_seed(0)
    for n_way in (125, 250, 500, 1000):
        chosen = torch.randint(len(words), (n_way * 10, 11), generator=drawn).tolist()
        draw = {
            "texts": [" ".join(words[i] for i in row) for row in chosen],
            "labels": [f"c{i // 10}" for i in range(n_way * 10)],
        }
        results.setdefault("many_classes", []).append([n_way, timed(lambda draw=draw: fit(draw, "fast"))[0]])
    results["many_classes_mib"] = [peak_mib()]


def cache(task, results):
    """The first epoch encodes each text once; later ones read 200 at a time from the memory map, in random order."""
    embedding = open_encoder("minilm").embedding
    texts = list(dict.fromkeys(task["test_texts"]))
    with tempfile.TemporaryDirectory() as folder:
        encoded: list[str] = []

        def encode(part):
            encoded.extend(part)
            return embedding.encode(part)

        store = TokenCache({"model": "benchmark"}, Path(folder))
        seconds, _ = timed(lambda: store.fill(texts * 2, encode))
        results["cache_fill"] = [len(texts) / seconds]
        results["cache_encoded_each"] = [len(encoded) / len(texts)]
        bound = BoundTexts(embedding, texts, cache=Path(folder))
        rows = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0)).tolist()

        def states():
            for start in range(0, len(rows), 200):
                torch.cat([bound.cache.get(texts[row]) for row in rows[start : start + 200]])

        def batches():
            for start in range(0, len(rows), 200):
                bound(rows[start : start + 200])

        results["cache_read"] = [len(rows) / seconds for seconds in repeat(states, 7)]
        results["cache_batches"] = [len(rows) / seconds for seconds in repeat(batches, 7)]


if __name__ == "__main__":
    task, results = tasks(), {}
    commands(results)
    for part in (both, cache, many_classes):
        part(task, results)
        tell(results)
