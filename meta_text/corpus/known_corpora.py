"""Corpora known by name: where each is on the Hub, and its licence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HubSource:
    """Where a known corpus is on the Hugging Face Hub."""

    repo_id: str
    text: str = "text"  # columns
    label: str = "label"
    config: str | None = None
    out_of_scope: str | None = None  # the label that stands for "none of the classes"


@dataclass(frozen=True)
class KnownCorpus:
    """A corpus that a recipe can name."""

    licence: str  # in words
    hub_licence: str | None = None  # as the Hub abbreviates it; None if no licence is stated
    source: HubSource | None = None  # None: no open copy on the Hub
    shipped: bool = False  # it comes with the package


KNOWN_CORPORA = {
    "banking77": KnownCorpus("CC BY 4.0", "cc-by-4.0", HubSource("mteb/banking77", label="label_text")),
    "clinc150": KnownCorpus(
        "CC BY 3.0",
        "cc-by-3.0",
        HubSource("clinc/clinc_oos", label="intent", config="plus", out_of_scope="oos"),
    ),
    "sst2": KnownCorpus("MIT (the repository it is taken from)", "mit", HubSource("stanfordnlp/sst2", text="sentence")),
    "snips": KnownCorpus("CC0 1.0", "cc0-1.0"),
    "mr": KnownCorpus("MIT (the repository it is taken from)", "mit"),
    "medical": KnownCorpus("CC BY-SA 3.0", "cc-by-sa-3.0"),
    "tweet_irony": KnownCorpus("not stated"),
    "tweet_offensive": KnownCorpus("not stated"),
    "tweet_sentiment": KnownCorpus("not stated"),
    "arsc": KnownCorpus("not stated"),
    "csldcp": KnownCorpus("not stated"),
    "intents": KnownCorpus("Apache-2.0", "apache-2.0", shipped=True),
    "sentiment": KnownCorpus("Apache-2.0", "apache-2.0", shipped=True),
}
