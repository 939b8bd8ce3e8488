"""A map of a task in two dimensions: its texts and classes before the learner's steps and after them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from meta_text.figures.drawing import drawn, plain, short, style
from meta_text.figures.tasks import Scene, TracedTask

COLUMNS = 4  # of the legend
FEW = 12  # classes; of more, everything is drawn smaller


def plot_map(task: TracedTask, path: Path) -> None:
    """Draw the support (filled), the queries (hollow; crossed where answered wrongly) and the classes' middles (large).

    Both panels have the same axes, the first two principal components of all that is drawn, so what moves can be seen.
    Raises as `drawing.check_figure` does.
    """
    scenes = (task.scene(0), task.scene(-1))
    flat, shares = projected(scenes)
    n_steps = len(task.trace.tasks) - 1
    n_classes = len(task.class_names)
    with drawn(path, 11.0, 6.0 + 0.15 * math.ceil(n_classes / COLUMNS)) as figure:
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        support, query = (labels.cpu().numpy() for labels in (task.episode.support_labels, task.episode.query_labels))
        size = 5.0 if n_classes <= FEW else 3.0
        for panel, scene, there in zip(panels, scenes, flat, strict=True):
            for i, name in enumerate(task.class_names):
                look = {**style(i), "linestyle": "none"}
                _plot_class(panel, there, (support == i, query == i, i), look, size, plain(short(name)))
            wrong = there.query[~scene.is_right]
            panel.plot(wrong[:, 0], wrong[:, 1], "x", color="black", markersize=1.4 * size, markeredgewidth=0.8)
            panel.grid()
            panel.set_axisbelow(True)
            panel.set_xlabel(f"first principal component ({100 * shares[0]:.0f} % of the variance)")
        panels[0].set_ylabel(f"second principal component ({100 * shares[1]:.0f} %)")
        for begin, end in zip(flat[0].centres, flat[1].centres, strict=True):
            panels[1].annotate("", end, begin, arrowprops={"arrowstyle": "->", "color": "0.35", "shrinkB": 5})
        for panel, when, scene in zip(panels, ("before the steps", f"after {n_steps} steps"), scenes, strict=True):
            panel.set_title(f"{when}: {100 * scene.is_right.mean():.0f} % of queries right", fontsize=10)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", fontsize=7, ncols=COLUMNS, markerscale=5.0 / size)
        how = "filled: labelled texts; hollow: queries, crossed where wrong; large: middle of a class, arrow: its way"
        figure.suptitle(f"{plain(short(task.title, 90))}\n{how}", fontsize=10)


def projected(scenes: tuple[Scene, Scene]) -> tuple[list[Scene], np.ndarray]:
    """The scenes in the first two principal components of everything in them, and these components' shares of the variance."""
    together = np.concatenate([part for scene in scenes for part in (scene.support, scene.query, scene.centres)])
    pca = PCA(2, svd_solver="full").fit(together)
    flat = [
        Scene(pca.transform(s.support), pca.transform(s.query), pca.transform(s.centres), s.is_right) for s in scenes
    ]
    return flat, pca.explained_variance_ratio_


def _plot_class(panel: Any, there: Scene, of_class: tuple[Any, Any, int], look: Any, size: float, name: str) -> None:
    support, query, i = of_class
    hollow = {"markerfacecolor": "none", "markersize": 0.8 * size, "markeredgewidth": 0.8}
    panel.plot(there.query[query, 0], there.query[query, 1], **look, **hollow)
    panel.plot(there.support[support, 0], there.support[support, 1], **look, markersize=size, label=name)
    panel.plot(*there.centres[i], **look, markersize=2.4 * size, markeredgecolor="black")
