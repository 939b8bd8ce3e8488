"""meta_text on the texts that the peers get: fit, one class more, predict in every precision, many classes, the cache."""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from measuring import accuracy, peak_mib, repeat, tasks, tell, timed

from meta_text import FewShotClassifier
from meta_text.embedding import precision as engine
from meta_text.embedding.bound_texts import BoundTexts
from meta_text.embedding.token_cache import TokenCache


def fit(draw):
    return FewShotClassifier(device="cpu").fit(draw["texts"], draw["labels"])


def commands(found):
    """Fresh interpreters: the import, and the help page through the installed command's own entry."""
    starts = {
        "bare": "pass",
        "import": "import meta_text",
        "help": "import sys; sys.argv = ['meta-text', '--help']; from meta_text.cli import main; main()",
    }
    for name, code in starts.items():
        found[f"start_{name}"] = repeat(
            lambda code=code: subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True), 7
        )


def fits(task, found):
    model = FewShotClassifier(device="cpu").meta_model
    found["engine"] = model.engine_note
    read = model.embedding.tokenizer.encode_batch_fast(task["test_texts"])
    found["tokens_a_text"] = sum(len(encoding.ids) for encoding in read) / len(read)
    fit(task["five_way"][0])
    for draw in task["five_way"]:
        seconds, classifier = timed(lambda draw=draw: fit(draw))
        found.setdefault("fit5", []).append(seconds)
        found.setdefault("accuracy5", []).append(accuracy(classifier.predict(draw["test_texts"]), draw["test_labels"]))
    for draw in task["all_way"]:
        seconds, classifier = timed(lambda draw=draw: fit(draw))
        found.setdefault("fit77", []).append(seconds)
        seconds, labels = timed(lambda classifier=classifier: classifier.predict(task["test_texts"]))
        found.setdefault("predict", []).append(len(labels) / seconds)
        found.setdefault("accuracy77", []).append(accuracy(labels, task["test_labels"]))
        last = draw["labels"][-1]
        kept = [i for i, label in enumerate(draw["labels"]) if label != last]
        fewer = FewShotClassifier(device="cpu").fit([draw["texts"][i] for i in kept], [draw["labels"][i] for i in kept])
        new = [text for text, label in zip(draw["texts"], draw["labels"], strict=True) if label == last]
        found.setdefault("add_class", []).append(timed(partial(fewer.add_class, last, new))[0])


def precisions(task, found):
    """Accuracy and texts/s of every engine that this machine has, with the same labelled texts."""
    embedding = FewShotClassifier(device="cpu").meta_model.embedding
    chosen = embedding.engine
    for name in engine._available():
        embedding.engine = engine.make(embedding, name, engine._key(embedding))
        classifier = fit(task["all_way"][0])
        seconds, labels = timed(lambda classifier=classifier: classifier.predict(task["test_texts"]))
        found[f"predict_{name}"] = [len(labels) / seconds]
        found[f"accuracy_{name}"] = [accuracy(labels, task["test_labels"])]
    embedding.engine = chosen


def many_classes(task, found):
    """Ten made-up texts a class, as long as BANKING77's; the answers do not matter here."""
    words = sorted({word for text in task["test_texts"] for word in text.split()})
    drawn = torch.Generator().manual_seed(0)
    for n_way in (125, 250, 500, 1000):
        chosen = torch.randint(len(words), (n_way * 10, 11), generator=drawn).tolist()
        draw = {
            "texts": [" ".join(words[i] for i in row) for row in chosen],
            "labels": [f"c{i // 10}" for i in range(n_way * 10)],
        }
        found.setdefault("many_classes", []).append([n_way, timed(lambda draw=draw: fit(draw))[0]])
    found["many_classes_mib"] = [peak_mib()]


def cache(task, found):
    """First epoch: each text encoded once; later ones: 200 texts at a time from the memory map, in random order."""
    embedding = FewShotClassifier(device="cpu").meta_model.embedding
    texts = list(dict.fromkeys(task["test_texts"]))
    with tempfile.TemporaryDirectory() as folder:
        encoded: list[str] = []

        def encode(part):
            encoded.extend(part)
            return embedding.encode(part)

        store = TokenCache({"model": "benchmark"}, Path(folder))
        seconds, _ = timed(lambda: store.fill(texts * 2, encode))
        found["cache_fill"] = [len(texts) / seconds]
        found["cache_encoded_each"] = [len(encoded) / len(texts)]
        bound = BoundTexts(embedding, texts, cache=Path(folder))
        rows = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0)).tolist()

        def states():
            for start in range(0, len(rows), 200):
                torch.cat([bound.cache.get(texts[row]) for row in rows[start : start + 200]])

        def batches():
            for start in range(0, len(rows), 200):
                bound(rows[start : start + 200])

        found["cache_read"] = [len(rows) / seconds for seconds in repeat(states, 7)]
        found["cache_batches"] = [len(rows) / seconds for seconds in repeat(batches, 7)]


if __name__ == "__main__":
    task, found = tasks(), {}
    commands(found)
    for part in (fits, precisions, cache, many_classes):
        part(task, found)
        tell(found)
