"""How often the tokenizers in an ONNX file give other token ids than Python's, and what that does to answers.

    META_TEXT_DATA=DIR python benchmarks/accuracy/onnx_tokenizers.py

500 texts of each corpus, and the sample sentences that spaCy's package has of its languages; needs onnxruntime-extensions and
spaCy. Two classifiers, of MiniLM and of multilingual-e5-small, learn the seven intents of snips from five texts each. Of the
texts with other ids it prints how far the most probable answer's probability moves, and how many answers change. Minutes.
"""

import importlib
import pkgutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxruntime_extensions
import spacy.lang
from development import texts_and_labels

from meta_text import FewShotClassifier
from meta_text.embedding.sentence_encoder import TransformerEncoder

CORPORA = ("banking77", "clinc150", "snips", "sst2", "medical", "tweet_sentiment", "tweet_irony", "csldcp")
TEXTS_EACH, K_SHOT = 500, 5


def samples() -> dict[str, list[str]]:
    """The texts of each corpus; last, those of many languages."""
    draw = np.random.default_rng(0)
    found = {}
    for name in CORPORA:
        texts = texts_and_labels(name)[0]
        found[name] = [texts[i] for i in draw.permutation(len(texts))[:TEXTS_EACH]]
    languages = [f"spacy.lang.{one.name}.examples" for one in pkgutil.iter_modules(spacy.lang.__path__) if one.ispkg]
    there = [name for name in languages if importlib.util.find_spec(name)]
    found[f"{len(there)} languages"] = [text for name in there for text in importlib.import_module(name).sentences]
    return found


def learned(embedding: str) -> FewShotClassifier:
    texts, labels = texts_and_labels("snips")
    rows = [
        row for label in sorted(set(labels)) for row in [i for i, one in enumerate(labels) if one == label][:K_SHOT]
    ]
    return FewShotClassifier(embedding=embedding, device="cpu").fit([texts[i] for i in rows], [labels[i] for i in rows])


def session(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(onnxruntime_extensions.get_library_path())
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def compare(embedding: str, sampled: dict[str, list[str]]) -> None:
    classifier = learned(embedding)
    (encoder,) = classifier.meta_model.embedding.encoders
    assert isinstance(encoder, TransformerEncoder)
    with tempfile.TemporaryDirectory() as folder:
        reads, given, tokenizer = (Path(folder, name) for name in ("texts.onnx", "ids.onnx", "tokenizer.onnx"))
        classifier.export_onnx(reads, tokenizer=True)
        classifier.export_onnx(given)
        onnx.utils.extract_model(reads, tokenizer, ["texts"], ["token_ids"], check_model=False)
        from_texts, from_ids, to_ids = map(session, (reads, given, tokenizer))
    for name, texts in sampled.items():
        moved: list[float] = []
        changed = 0
        for text in texts:
            expected = encoder.embedding.tokenize([encoder.prompt + text])
            ids, mask = expected.ids.numpy(), expected.mask.numpy()
            asked = {"texts": np.array([text], object)}
            (own,) = to_ids.run(["token_ids"], asked)
            if own.shape != ids.shape or (own != ids).any():
                (found,) = from_texts.run(["probabilities"], asked)
                (python,) = from_ids.run(["probabilities"], {"token_ids": ids, "mask": mask})
                best = python[0].argmax()
                moved.append(float(abs(found[0, best] - python[0, best])))
                changed += int(found[0].argmax() != best)
        print(line(embedding, name, len(texts), moved, changed), flush=True)


def line(embedding: str, name: str, n_texts: int, moved: Sequence[float], changed: int) -> str:
    far = f"{np.mean(moved):.3f} | {max(moved):.3f}" if moved else "0 | 0"
    return f"| {embedding} | {name} | {n_texts} | {100 * (1 - len(moved) / n_texts):.1f} % | {far} | {changed} |"


def main() -> None:
    print("| encoder | texts | number | with equal ids | others: moved on average | at most | other answers |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    sampled = samples()
    for embedding in ("fast", "e5"):
        compare(embedding, sampled)


if __name__ == "__main__":
    main()
