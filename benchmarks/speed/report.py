"""Writes RESULTS.md and figures/ from work/*.json."""

from typing import Any

import numpy as np
from cells import HERE, at_most, paired, percent, ratio, read, spread, table, verdict
from floors_report import floor_section, scaling_section
from measuring import exponent
from run import PEERS

LABELS = {
    "setfit": "SetFit",
    "adaptive_classifier": "adaptive-classifier",
    "sentence_transformers_lr": "SentenceTransformer + logistic regression, fp32",
    "tfidf": "TF-IDF + logistic regression",
}


def main() -> None:
    about, ours, floors = read("run"), read("ours"), read("floors")
    peers = {peer: read(peer) for peer in PEERS}
    lines = [
        "# Speed",
        "",
        f"Written by `make bench` on {about.get('date')}: {about.get('processor')}, {about.get('threads')} threads for every "
        f"program, {about.get('seconds', 0) / 60:.0f} minutes in total, of which {about.get('install_seconds', 0):.0f} s went "
        "into installing the peers.",
        "",
        'Cells are medians with quartiles in brackets; "once" means a single repetition. All programs get the same texts '
        "of BANKING77 and, except for TF-IDF, the same MiniLM, beside which the default of `meta_text` reads with E5 and "
        'n-grams. `embedding="fast"` is MiniLM alone; so are files, many classes, floors and scaling. Accuracy is in '
        "percent, beside every time. The method is in [README.md](README.md).",
        "",
        *slowness_section(about),
        *fit_section(ours, peers),
        *predict_section(ours, peers),
        *training_section(),
        *small_section(ours),
        *file_section(),
        *floor_section(ours | ours.get("fast", {}), floors),
        *scaling_section(ours),
        *gaps_section(about, peers),
    ]
    (HERE / "RESULTS.md").write_text("\n".join(lines).rstrip("\n") + "\n", encoding="utf-8")


def slowness_section(about: dict[str, Any]) -> list[str]:
    slowness = about.get("slowness", 1.0)
    if slowness < 1.05:
        return []
    return [
        f"This machine multiplies matrices {slowness:.1f} times as slowly as the one that the work is for, so programs are asked fewer texts and files "
        "are shorter, and time limits are as much longer.",
        "",
    ]


def own_rows(ours: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("`meta_text`", ours), ('`meta_text`, `embedding="fast"`', ours.get("fast", {}))]


def fit_section(ours: dict[str, Any], peers: dict[str, Any]) -> list[str]:
    head = ["", "5-way 5-shot, ms", "relative to meta_text", "accuracy", "ahead of meta_text on the same draws"]
    head += ["77-way 5-shot, s", "relative to meta_text", "accuracy"]
    rows = []
    for label, result in (*own_rows(ours), *((LABELS[peer], peers[peer]) for peer in peers)):
        seconds, partial = result.get("fit77"), result.get("fit77_partial")
        whole = spread(seconds) if seconds or not partial else f"{partial[0]:.0f} for only {result['partial']}"
        cells = [label, spread(result.get("fit5"), scale=1000), ratio(result.get("fit5"), ours.get("fit5"))]
        accuracies = result.get("accuracy5")
        cells += [percent(accuracies), "" if result is ours else paired(accuracies, ours.get("accuracy5"))]
        cells += [whole, ratio(seconds, ours.get("fit77"))]
        rows.append([*cells, percent(result.get("accuracy77"))])
    best = max((np.mean(p["accuracy77"]) for p in peers.values() if p.get("accuracy77")), default=0)
    higher = bool(np.mean(ours["accuracy77"]) > 0.74) if ours.get("accuracy77") else None
    added = ours.get("add_class")
    return [
        "## `fit`, model loaded",
        "",
        *table(head, rows),
        "",
        "Targets:",
        "",
        f"- 5-way 5-shot in 60 ms: {at_most(ours.get('fit5'), 0.060)}.",
        f"- 77-way 5-shot in 1.5 s: {at_most(ours.get('fit77'), 1.5)}.",
        f"- 77-way 5-shot more accurate than the 74.0 % that SetFit reached in 651 s: {verdict(higher)} "
        f"(best peer here: {f'{100 * best:.1f}' if best else 'not measured'}).",
        f"- One class added to 76 in 100 ms: {at_most(added, 0.1)}{f', {spread(added, scale=1000)} ms' if added else ''}.",
        "",
    ]


def predict_section(ours: dict[str, Any], peers: dict[str, Any]) -> list[str]:
    other = peers["sentence_transformers_lr"].get("predict")
    labelled = [*own_rows(ours), *((LABELS[peer], peers[peer]) for peer in peers if peer != "setfit")]
    rows = [
        [label, spread(r.get("predict"), 4), ratio(r.get("predict"), other), percent(r.get("accuracy77"))]
        for label, r in labelled
    ]
    for precision in ("float32", "bfloat16"):
        speed = ours.get(f"predict_{precision}")
        if speed:
            cells = [f"`meta_text` in {precision}, first draw", spread(speed, 4), ratio(speed, other)]
            rows.append([*cells, percent(ours.get(f"accuracy_{precision}"))])
    fast = None if not ours.get("predict") or not other else bool(np.median(ours["predict"]) >= 2 * np.median(other))
    loss = None
    if ours.get("accuracy_bfloat16"):
        loss = 100 * (ours["accuracy_float32"][0] - ours["accuracy_bfloat16"][0])
    return [
        "## `predict`, BANKING77's test file, 77 classes of 5 texts",
        "",
        *table(["", "texts/s", "relative to SentenceTransformer", "accuracy"], rows),
        "",
        f"The precision was chosen when the model was loaded: {ours.get('engine', 'not measured')}.",
        "",
        "Targets:",
        "",
        f"- Twice the texts/s of SentenceTransformer: {verdict(fast)}.",
        "- At most 0.2 points lost to lower precision: "
        + ("not measured." if loss is None else f"{verdict(loss <= 0.2)}, {loss:+.2f} points for bfloat16."),
        "",
    ]


def training_section() -> list[str]:
    head = ["adapted", "one task after another, `nn.LSTM`, episodes/s", "vectorized, own cell, episodes/s", "ratio"]
    head += ["vectorized with checkpoints, episodes/s", "memory, MiB: sequential / vectorized / checkpointed"]
    labels = {
        "encoder": "head and every encoder weight",
        "recurrent": "head and encoder without its input projections",
    }
    rows, targets = [], []
    for adapts, label in labels.items():
        both = read(f"training_{adapts}_both")
        vectorized, sequential = both.get("side"), both.get("sequential")
        if vectorized and sequential:
            factor = float(np.median(vectorized) / np.median(sequential))
            targets.append(f"- Three times as fast, {label}: {verdict(factor >= 3)}, {factor:.1f}x.")
        peaks = [read(f"training_{adapts}_{way}") for way in ("sequential", "side", "checkpointed")]
        cells = [label, spread(sequential), spread(vectorized), ratio(vectorized, sequential)]
        cells += [spread(both.get("checkpointed")), " / ".join(f"{p['mib'][0]:.0f}" if p else "?" for p in peaks)]
        rows.append([*cells, f"{both['loss_gap']:.0e}" if both else ""])
    return [
        "## Meta-training: second order, 5 steps, 5-way 5-shot, 8 tasks, LSTM 384 -> 64, 16 tokens",
        "",
        *table([*head, "difference of the losses"], rows),
        "",
        "Targets:",
        "",
        *(targets or ["- Three times as fast: not measured."]),
        "- 20 times as fast on a GPU: not measured, no GPU was available.",
        "",
        "Most of what is left goes into the input projections. Each task has its own weights, so they are recomputed in every "
        "step, in its backward and in its double backward.",
        "",
    ]


def small_section(ours: dict[str, Any]) -> list[str]:
    bare = np.median(ours["start_bare"]) if ours.get("start_bare") else float("nan")
    many = ours.get("many_classes", [])
    last = many[-1][1] if many else None
    power = exponent([n for n, _ in many], [s for _, s in many])[0] if many else None
    peak = ours.get("many_classes_mib", [0])[0]
    reads = ours.get("cache_read")
    start, page = ours.get("start_import"), ours.get("start_help")
    rows = [
        [f"`import meta_text`, s (a bare interpreter: {bare:.2f})", spread(start), "0.15", at_most(start, 0.15)],
        ["`meta-text --help`, s", spread(page), "0.4", at_most(page, 0.4)],
        [
            "`fit`, 1,000 classes x 10 texts, s",
            "not measured" if last is None else f"{last:.1f} (once; peak {peak:.0f} MiB)",
            "30",
            verdict(None if last is None else last <= 30),
        ],
        [
            "its exponent in N, 125 to 1,000 classes",
            "not measured" if power is None else f"{power:.2f}",
            "1",
            verdict(None if power is None else power <= 1.1),
        ],
        ["first epoch, times that each text is encoded", f"{ours.get('cache_encoded_each', ['?'])[0]}", "1", ""],
        ["first epoch, texts/s", spread(ours.get("cache_fill"), 4), "", ""],
        [
            "later epochs, states read in random order, texts/s",
            spread(reads, 4),
            "50,000",
            verdict(None if not reads else bool(np.median(reads) >= 50_000)),
        ],
        ["the same as padded fp32 batches, texts/s", spread(ours.get("cache_batches"), 4), "", ""],
    ]
    head = ["", "measured", "target", ""]
    return ["## Imports, many classes, the cache of token states", "", *table(head, rows), ""]


def file_section() -> list[str]:
    small, large = read("file_small"), read("file_large")
    if not small or not large:
        return ["## `predict` over a Parquet file", "", "Not measured.", ""]
    minutes = 1e6 / large["texts_per_second"][0] / 60
    growth = large["peak_mib"][0] - small["peak_mib"][0]
    rows = [
        [f"{r['rows']:,}", *(f"{r[key][0]:.0f}" for key in ("texts_per_second", "peak_mib", "before_mib"))]
        for r in (small, large)
    ]
    return [
        "## `predict` over a Parquet file of short texts, 77 classes",
        "",
        *table(["rows", "texts/s", "peak memory of the process, MiB", "before predicting"], rows),
        "",
        f"Three times the rows take {growth:+.0f} MiB. Target, constant memory below 1.5 GiB: "
        f"{verdict(large['peak_mib'][0] < 1536 and growth < 100)}. A million rows were not run; at the same speed they would take "
        f"{minutes:.0f} minutes. A killed run resumes with `--resume`, which the test suite covers.",
        "",
    ]


def gaps_section(about: dict[str, Any], peers: dict[str, Any]) -> list[str]:
    lines = ["## Not measured, or only in part", ""]
    lines += [f"- {step}: {reason}" for step, reason in about.get("failed", {}).items()]
    if peers["setfit"].get("partial"):
        lines.append(
            f"- SetFit at 77 classes: only {peers['setfit']['partial']} were run, because the whole training takes more than ten "
            "minutes (651 s and 74.0 % in a single run with one thread)."
        )
    return [*lines, "- GPU: none was available."]


if __name__ == "__main__":
    main()
