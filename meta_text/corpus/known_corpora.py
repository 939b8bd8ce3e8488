"""Corpora that recipes know by name: where each lives on the Hub, and its licence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HubSource:
    """Where a known corpus lives on the Hugging Face Hub."""

    repo_id: str
    config: str | None
    text: str
    label: str
    out_of_scope: str | None = None  # the label that stands for "none of the classes"


KNOWN_CORPORA: dict[str, HubSource | None] = {  # None: no open copy on the Hub, a local folder only
    "banking77": HubSource("mteb/banking77", None, "text", "label_text"),
    "clinc150": HubSource("clinc/clinc_oos", "plus", "text", "intent", "oos"),
    "sst2": HubSource("stanfordnlp/sst2", None, "sentence", "label"),
    "arsc": None,
    "csldcp": None,
}

LICENCES = {  # of corpora that recipes name: in words, and as the Hub abbreviates it
    "banking77": ("CC BY 4.0", "cc-by-4.0"),
    "clinc150": ("CC BY 3.0", "cc-by-3.0"),
    "sst2": ("MIT (the repository it is taken from)", "mit"),
    "arsc": ("not stated", None),
    "csldcp": ("not stated", None),
    "intents": ("Apache-2.0", "apache-2.0"),
    "sentiment": ("Apache-2.0", "apache-2.0"),
}
