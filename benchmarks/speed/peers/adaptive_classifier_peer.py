"""adaptive-classifier on the same MiniLM."""

import sys

from adaptive_classifier import AdaptiveClassifier
from measuring import accuracy, tasks, tell, timed

task, model = tasks(), sys.argv[3]


def fit(support):
    classifier = AdaptiveClassifier(model, device="cpu")

    def learn():
        classifier.add_examples(support["texts"], support["labels"])
        return classifier

    return timed(learn)


def answers(classifier, texts):
    return [ranked[0][0] for ranked in classifier.predict_batch(texts)]


five, right = [], []
for draw in task["five_way"]:
    seconds, classifier = fit(draw)
    five.append(seconds)
    right.append(accuracy(answers(classifier, draw["test_texts"]), draw["test_labels"]))
results = {"fit5": five, "accuracy5": right}
tell(results)  # keeps what is measured so far, in case the rest runs out of time
seconds, classifier = fit(task["all_way"][0])
results["fit77"] = [seconds]
tell(results)
seconds, labels = timed(lambda: answers(classifier, task["test_texts"]))
results |= {"predict": [len(labels) / seconds], "accuracy77": [accuracy(labels, task["test_labels"])]}
tell(results)
