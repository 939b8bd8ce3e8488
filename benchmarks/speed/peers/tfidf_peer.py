"""TF-IDF with logistic regression."""

from measuring import accuracy, tasks, tell, timed
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

task = tasks()


def fit(support):
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    return make_pipeline(words, LogisticRegression(max_iter=1000, C=10)).fit(support["texts"], support["labels"])


results = {"fit5": [], "accuracy5": [], "fit77": [], "accuracy77": [], "predict": []}
for draw in task["five_way"]:
    seconds, model = timed(lambda draw=draw: fit(draw))
    results["fit5"].append(seconds)
    results["accuracy5"].append(accuracy(model.predict(draw["test_texts"]), draw["test_labels"]))
for draw in task["all_way"]:
    seconds, model = timed(lambda draw=draw: fit(draw))
    results["fit77"].append(seconds)
    seconds, labels = timed(lambda model=model: model.predict(task["test_texts"]))
    results["predict"].append(len(labels) / seconds)
    results["accuracy77"].append(accuracy(labels, task["test_labels"]))
tell(results)
