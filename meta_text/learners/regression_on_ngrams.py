"""The baseline that needs no encoder."""

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline


def regression_on_ngrams() -> Pipeline:
    """Logistic regression on TF-IDF of character n-grams (2 to 4), which need no word boundaries; not fitted."""
    counted = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    return make_pipeline(counted, LogisticRegression(C=30, max_iter=1000))
