"""The default's rule and calibration on encoders that neither was trained on, against logistic regression on the same vectors.

    META_TEXT_DATA=DIR python benchmarks/accuracy/left_out_encoder.py [--draws 5] [--json runs/left_out_encoder.jsonl]

The encoders are made of the two that ship: their upper layers cut off, the mean of a text's word vectors, and random
projections to 64 up to 1,536 numbers. All classes of a corpus at once, K labels for each.
"""

import argparse
import copy
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from development import centred, draw, scores, texts_and_labels
from sklearn.linear_model import LogisticRegression

from meta_text import FewShotClassifier
from meta_text.embedding.encoders import open_encoder
from meta_text.embedding.given_vectors import CallableEncoder
from meta_text.embedding.remembered import Remembered
from meta_text.embedding.sentence_encoder import SentenceEncoder, TransformerEncoder
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

CORPORA = ["banking77", "intents", "snips", "sst2", "mr", "tweet_offensive", "medical"]
SHOTS = (1, 5, 16)
WIDTHS = (64, 384, 1536)


def cut(name: str, layers: int) -> SentenceEncoder:
    """A shipped encoder without its upper layers."""
    whole = open_encoder(name)
    assert isinstance(whole, TransformerEncoder)
    embedding = copy.deepcopy(whole.embedding)
    embedding.body.encoder.layer = embedding.body.encoder.layer[:layers]
    options = {key: getattr(whole, key) for key in ("pooling", "normalize", "keep", "prompt")}
    return TransformerEncoder(f"{name}, {layers} layers", embedding, **options)


def static(name: str) -> SentenceEncoder:
    """The mean of the word vectors that a shipped encoder begins with."""
    whole = open_encoder(name)
    assert isinstance(whole, TransformerEncoder)
    table = whole.embedding.body.embeddings.word_embeddings

    def vectors(texts: list[str]) -> np.ndarray:
        ids = [whole.embedding.tokenizer.encode(text).ids[1:-1] or [0] for text in texts]
        with torch.no_grad():
            return torch.stack([table(torch.tensor(row)).mean(0) for row in ids]).numpy()

    return CallableEncoder(vectors, f"{name}, word vectors")


def projected(encoder: Remembered, width: int) -> SentenceEncoder:
    """Random projections of a shipped encoder's vectors."""
    matrix = np.random.default_rng(width).normal(size=(encoder.width, width)).astype(np.float32) / width**0.5
    return CallableEncoder(lambda texts: encoder.matrix(texts) @ matrix, f"{encoder.name}, projected to {width}")


def left_out() -> list[Callable[[], SentenceEncoder]]:
    minilm, e5 = Remembered(open_encoder("minilm")), Remembered(open_encoder("e5"))
    return [
        lambda: cut("minilm", 3),
        lambda: cut("e5", 6),
        lambda: static("minilm"),
        lambda: static("e5"),
        *(lambda width=width: projected(minilm, width) for width in WIDTHS),
        *(lambda width=width: projected(e5, width) for width in WIDTHS),
    ]


def measure(encoder: SentenceEncoder, name: str, draws: int) -> list[dict[str, object]]:
    texts, labels = texts_and_labels(name)
    remembered = Remembered(encoder)
    remembered.encode(texts)  # a function's width is known after its first answer
    remembered.width = encoder.width
    model, rows = load_model(DEFAULT, [remembered]), []
    for k_shot in [k for k in SHOTS if k < min(np.bincount(labels))]:
        for seed in range(draws):
            known, asked = draw(labels, k_shot, seed)
            given, queries = [texts[row] for row in known], [texts[row] for row in asked]
            ours = FewShotClassifier(model).fit(given, labels[known]).predict_proba(queries)
            vectors = centred(remembered.matrix(given), remembered.matrix(queries))
            rival = LogisticRegression(C=10, max_iter=1000).fit(vectors[0], labels[known]).predict_proba(vectors[1])
            found = {"ours": scores(ours, labels[asked]), "lr": scores(rival, labels[asked])}
            rows.append({"encoder": encoder.name, "corpus": name, "k_shot": k_shot, "draw": seed, "scores": found})
    return rows


def table(rows: Sequence[dict[str, object]]) -> str:
    """For each encoder and K the means over corpora: accuracy, difference to logistic regression, calibration error."""
    groups = defaultdict(list)
    for row in rows:
        groups[row["encoder"], row["k_shot"]].append(row["scores"])
    lines = ["| encoder | K | accuracy | logistic regression | difference | calibration error |", "| --- " * 6 + "|"]
    for (encoder, k_shot), found in groups.items():
        ours, rival = (100 * fmean(one[key][0] for one in found) for key in ("ours", "lr"))
        error = fmean(one["ours"][1] for one in found)
        lines.append(f"| {encoder} | {k_shot} | {ours:.1f} | {rival:.1f} | {ours - rival:+.1f} | {error:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=CORPORA)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("runs/left_out_encoder.jsonl"))
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with options.json.open("w", encoding="utf-8") as file:
        for make in left_out():
            encoder = make()
            for name in options.only:
                found = measure(encoder, name, options.draws)
                file.writelines(json.dumps(row) + "\n" for row in found)
                file.flush()
                rows += found
    print(table(rows))


if __name__ == "__main__":
    main()
