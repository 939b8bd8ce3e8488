"""SentenceTransformer.encode with logistic regression, in fp32, on the same MiniLM."""

import sys

from measuring import accuracy, tasks, tell, timed
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression

task = tasks()
encoder = SentenceTransformer(sys.argv[3], device="cpu")
encoder.encode(["warm up"])


def fit(support):
    head = LogisticRegression(max_iter=1000, C=10)
    return head.fit(encoder.encode(support["texts"], normalize_embeddings=True), support["labels"])


def answers(head, texts):
    return head.predict(encoder.encode(texts, normalize_embeddings=True))


results = {"fit5": [], "accuracy5": [], "fit77": [], "accuracy77": [], "predict": []}
for draw in task["five_way"]:
    seconds, head = timed(lambda draw=draw: fit(draw))
    results["fit5"].append(seconds)
    results["accuracy5"].append(accuracy(answers(head, draw["test_texts"]), draw["test_labels"]))
for draw in task["all_way"]:
    seconds, head = timed(lambda draw=draw: fit(draw))
    results["fit77"].append(seconds)
    seconds, labels = timed(lambda head=head: answers(head, task["test_texts"]))
    results["predict"].append(len(labels) / seconds)
    results["accuracy77"].append(accuracy(labels, task["test_labels"]))
tell(results)
