"""What a stated rate of false rejects really loses, where the texts that are asked are not by the hand that labelled.

    META_TEXT_DATA=DIR python benchmarks/accuracy/other_hand.py [--draws 4] [--figure recipes/figures/other_hand.png]
        [--unlabelled | --unlabelled-and-others]

Pairs of corpora share some classes: labels come from the one, texts from both. The texts of CLINC150 that belong to none of
its classes, and those of the asked corpus in classes that are not shared, are to be refused. K labels for each class.

--unlabelled: as many texts by the other hand as are asked are given without labels, and the accuracy that `audit` expects is
compared with what comes true. --unlabelled-and-others: and half as many of CLINC150's out-of-scope texts among them.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from meta_text import Corpus, FewShotClassifier
from meta_text.embedding.encoders import open_encoders
from meta_text.embedding.remembered import Remembered
from meta_text.saving.loading import DEFAULT
from meta_text.saving.model_folder import load_model

VOICE = {
    "weather": "GetWeather",
    "play_music": "PlayMusic",
    "restaurant_reservation": "BookRestaurant",
    "update_playlist": "AddToPlaylist",
}
CARDS = {
    "report_lost_card": "lost_or_stolen_card",
    "pin_change": "change_pin",
    "exchange_rate": "exchange_rate",
    "card_declined": "declined_card_payment",
    "replacement_card_duration": "card_delivery_estimate",
    "expiration_date": "card_about_to_expire",
    "international_fees": "exchange_charge",
    "report_fraud": "compromised_card",
}
FEELING = {"negative": "negative", "positive": "positive"}


def turned(classes: dict[str, str]) -> dict[str, str]:
    return {there: here for here, there in classes.items()}


PAIRS = [
    ("clinc150", "snips", VOICE),
    ("snips", "clinc150", turned(VOICE)),
    ("clinc150", "banking77", CARDS),
    ("banking77", "clinc150", turned(CARDS)),
    ("tweet_sentiment", "sst2", FEELING),
    ("sst2", "tweet_sentiment", FEELING),  # another kind of text altogether
]
SHOTS, RATES = (1, 2, 3, 5, 10, 20), (0.05, 0.1, 0.2)
MOST_ASKED = 40  # texts of each class; of others, ten times as many
MOST_POOL = 400  # unlabelled texts of all classes
Found = dict[str, float]


def measure(
    model: FewShotClassifier, pair: tuple[str, str, dict[str, str]], shots: int, seed: int, pool: str | None = None
) -> Found:
    """Shares refused at each rate of texts by the same and by another hand, and of those that belong to no class.

    pool: "alike" or "others", for unlabelled texts.
    """
    here, there, classes = Corpus.open(pair[0]), Corpus.open(pair[1]), pair[2]
    rng = np.random.default_rng([seed, shots])
    texts, labels, asked = [], [], defaultdict[str, list[str]](list)
    unlabelled: list[str] = []
    truth_of: list[str] = []
    for name, other in classes.items():
        own = [here.texts[row] for row in rng.permutation(here.rows_of(name))]
        texts, labels = texts + own[:shots], labels + [name] * shots
        asked["same hand"] += own[shots : shots + MOST_ASKED]
        theirs = [there.texts[row] for row in rng.permutation(there.rows_of(other))]
        asked["another hand"] += theirs[:MOST_ASKED]
        truth_of += [name] * len(theirs[:MOST_ASKED])
        unlabelled += theirs[MOST_ASKED : max(2 * MOST_ASKED, MOST_POOL // len(classes))]
    outside = list(Corpus.open("clinc150").out_of_scope)
    order = rng.permutation(len(outside))
    asked["elsewhere"] = [outside[i] for i in order[: 10 * MOST_ASKED]]
    if pool == "others":
        unlabelled += [outside[i] for i in order[10 * MOST_ASKED :][: len(unlabelled) // 2]]
    rest = [row for name in there.class_names if name not in classes.values() for row in there.rows_of(name)]
    if rest:
        asked["other classes"] = [there.texts[row] for row in rng.permutation(rest)[: 10 * MOST_ASKED]]
    adapted = model.fit(texts, labels, unlabeled=None if pool is None else unlabelled).adaptation_
    found: Found = {}
    if pool is not None:
        right = np.asarray(model.predict(asked["another hand"])) == np.array(truth_of)
        found |= {"expected": 100 * model.audit().expected.accuracy, "true": 100 * float(right.mean())}
    likeness = {}
    for kind, queries in asked.items():
        parts = adapted.represent(queries).parts
        likeness[kind] = adapted.likeness(parts)
        for rate in RATES:
            found[f"{kind} {rate}"] = 100 - 100 * float(adapted.is_known(parts, rate).mean())
        found[f"{kind} sure"] = float(adapted.probabilities(adapted.score(parts)).max(1).mean())
    for kind in [kind for kind in ("elsewhere", "other classes") if kind in likeness]:
        known = likeness["another hand"]
        truth = [1] * len(known) + [0] * len(likeness[kind])
        found[f"{kind} AUROC"] = float(roc_auc_score(truth, np.concatenate([known, likeness[kind]])))
    return found


def table(found: dict[tuple[str, int], list[Found]]) -> str:
    """For each pair and K, means over draws."""
    kinds = ("same hand", "another hand", "elsewhere", "other classes")
    lines = [f"| labels > texts | K | {' | '.join(kinds)} | AUROC | sure |", "| --- | ---: |" + " ---: |" * 6]
    for (name, shots), rows in found.items():

        def mean(key: str, digits: int, rows: list[Found] = rows) -> str:
            values = [row[key] for row in rows if key in row]
            return f"{np.mean(values):.{digits}f}" if values else "-"

        cells = [" / ".join(mean(f"{kind} {rate}", 0) for rate in RATES) for kind in kinds]
        auroc = " / ".join(mean(f"{kind} AUROC", 3) for kind in kinds[2:])
        sure = " / ".join(mean(f"{kind} sure", 2) for kind in kinds[1:3])
        lines.append(f"| {name} | {shots} | {' | '.join(cells)} | {auroc} | {sure} |")
    return "\n".join(lines)


def accuracies(found: dict[tuple[str, int], list[Found]]) -> str:
    """What is expected and what comes true, for each pair and K, and how far apart they are."""
    lines = ["| labels > texts | K | expected | true | apart |", "| --- | ---: | ---: | ---: | ---: |"]
    apart = defaultdict[int, list[float]](list)
    for (name, shots), rows in found.items():
        gaps = [abs(row["expected"] - row["true"]) for row in rows]
        apart[shots] += gaps
        expected, true = (np.mean([row[key] for row in rows]) for key in ("expected", "true"))
        lines.append(f"| {name} | {shots} | {expected:.0f} | {true:.0f} | {np.mean(gaps):.1f} |")
    for shots, gaps in apart.items():
        lines.append(
            f"| **all** | {shots} | | | {np.mean(gaps):.1f}, eight in ten within {np.quantile(gaps, 0.8):.1f} |"
        )
    return "\n".join(lines)


def figure(found: dict[tuple[str, int], list[Found]], path: Path, known: str) -> None:
    """Stated against real rates, the pairs of one kind of text as thin lines, their mean as thick ones."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    stated = [100 * rate for rate in RATES]
    for kind, style in (("another hand", "-"), ("same hand", "--")):
        lines = defaultdict[str, list[list[float]]](list)
        for (name, _), rows in found.items():
            lines[name].append([float(np.mean([row[f"{kind} {rate}"] for row in rows])) for rate in RATES])
        means = {name: np.mean(each, axis=0) for name, each in lines.items() if not name.startswith("sst2")}
        for values in means.values():
            axes.plot(stated, values, style, color="0.7", linewidth=1)
        axes.plot(
            stated,
            np.mean(list(means.values()), axis=0),
            f"k{style}",
            linewidth=2.5,
            label=f"texts by {kind.replace('same', 'the same')}",
        )
    axes.plot(stated, stated, ":", color="0.3", label="what is stated")
    axes.set(
        xlabel="stated rate of false rejects (%)",
        ylabel="texts of the classes that are refused (%)",
        xlim=(4, 21),
        ylim=(0, 30),
    )
    axes.set_title(f"Five pairs of corpora that share classes,\n1 to 20 labels each{known}", fontsize=10)
    axes.legend(loc="upper left")
    fig.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--figure", type=Path)
    pools = parser.add_mutually_exclusive_group()
    pools.add_argument("--unlabelled", dest="pool", action="store_const", const="alike")
    pools.add_argument("--unlabelled-and-others", dest="pool", action="store_const", const="others")
    options = parser.parse_args()
    model = load_model(DEFAULT, [Remembered(encoder) for encoder in open_encoders("auto")])
    found = {
        (f"{pair[0]} > {pair[1]}", shots): [
            measure(FewShotClassifier(model), pair, shots, seed, options.pool) for seed in range(options.draws)
        ]
        for pair in PAIRS
        for shots in SHOTS
    }
    print(table(found))
    if options.pool is not None:
        print(accuracies(found))
    if options.figure is not None:
        figure(found, options.figure, "" if options.pool is None else ", and unlabelled texts")


if __name__ == "__main__":
    main()
