"""Slow, obvious twins of the package's mathematics, written from the papers' equations in numpy and plain floats.

Nothing here imports meta_text, and nothing here is fast: what is computed at once over there is a loop here.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def sigmoid(v: Any) -> Any:
    return 1 / (1 + np.exp(-v))


def softmax(scores: Array) -> Array:
    rows = [[math.exp(v - max(row)) for v in row] for row in scores.tolist()]
    return np.array([[v / sum(row) for v in row] for row in rows])


def cross_entropy(scores: Array, labels: Sequence[int]) -> float:
    p = softmax(scores)
    return -sum(math.log(p[i, label]) for i, label in enumerate(labels)) / len(labels)


def balanced_cross_entropy(scores: Array, labels: Sequence[int], n_way: int, weights: Sequence[float]) -> float:
    """Mean over classes of the weighted mean over each class's texts."""
    p, total = softmax(scores), 0.0
    for n in range(n_way):
        own = [i for i, label in enumerate(labels) if label == n]
        total += sum(-weights[i] * math.log(p[i, n]) for i in own) / sum(weights[i] for i in own)
    return total / n_way


# prototypes


def prototypes(x: Array, labels: Sequence[int], n_way: int, names: Array | None = None, worth: float = 0.0) -> Array:
    """Class means; a name counts as `worth` texts."""
    rows = []
    for n in range(n_way):
        own = [x[i] for i, label in enumerate(labels) if label == n]
        total, count = sum(own, np.zeros(x.shape[1])), float(len(own))
        if names is not None:
            total, count = total + worth * names[n], count + worth
        rows.append(total / count)
    return np.array(rows)


def length_excess(x: Array, labels: Sequence[int], n_way: int, worth: float = 0.0) -> Array:
    """What |c_n|^2 owes to class n's number of texts: s^2 (sum of squared weights) / (sum of weights)^2, less the mean."""
    weights = [[1.0] * list(labels).count(n) + ([worth] if worth else []) for n in range(n_way)]
    inverse = [sum(w * w for w in ws) / sum(ws) ** 2 for ws in weights]
    return np.array([variance_within(x, labels, n_way) * (one - sum(inverse) / n_way) for one in inverse])


def variance_within(x: Array, labels: Sequence[int], n_way: int) -> float:
    """s^2: pooled over classes, shrunk to 0.7 of the texts' mean squared length as if ten texts said so."""
    own = [[x[i] for i, label in enumerate(labels) if label == n] for n in range(n_way)]
    scatter = sum(float(((np.array(rows) - np.mean(rows, axis=0)) ** 2).sum()) for rows in own if rows)
    freedom = sum(len(rows) - 1 for rows in own if rows)
    squared_length = sum(float(row @ row) for row in x) / len(x)
    return (10 * 0.7 * squared_length + scatter) / (10 + freedom)


def squared_distances(x: Array, centres: Array) -> Array:
    return np.array([[sum((a - b) ** 2 for a, b in zip(q, c, strict=True)) for c in centres] for q in x])


def inverse_count(count: float, worth: float = 0.0) -> float:
    """The variance of the mean of `count` texts and a name that counts as `worth`, in units of one text's."""
    return (count + worth**2) / (count + worth) ** 2


def even_shots(counts: Sequence[int], worth: float = 0.0) -> float:
    """The count at which `inverse_count` is its mean over these counts, by bisection."""
    mean = sum(inverse_count(count, worth) for count in counts) / len(counts)
    low, high = float(min(counts)), float(max(counts))
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if inverse_count(middle, worth) > mean else (low, middle)
    return (low + high) / 2


def likeness_without_itself(
    x: Array, texts: Sequence[str], labels: Sequence[int], n_way: int, names: Array | None = None, worth: float = 0.0
) -> list[float]:
    """1 - squared distance of each text to the nearest class, had the text not been given under any label.

    A class's only text stays, and is not asked about. Squared lengths are corrected: those of classes that lost the
    text to those of the even task with one text less, the others to the mean of their own task.
    """
    counts = [list(labels).count(n) for n in range(n_way)]
    variance = variance_within(x, labels, n_way)
    mean = sum(inverse_count(count, worth) for count in counts) / n_way
    values = []
    for i, label in enumerate(labels):
        if counts[label] == 1:
            continue
        rest = [j for j in range(len(labels)) if texts[j] != texts[i] or counts[labels[j]] == 1]
        left = [sum(labels[j] == n for j in rest) for n in range(n_way)]
        centres = prototypes(x[rest], [labels[j] for j in rest], n_way, names, worth)
        alike = []
        for n, distance in enumerate(squared_distances(x[i : i + 1], centres)[0]):
            even = mean if left[n] == counts[n] else inverse_count(even_shots(counts, worth) - 1, worth)
            alike.append(1 - distance + variance * (inverse_count(left[n], worth) - even))
        values.append(max(alike))
    return values


# episodes


def word_likeness(texts: Sequence[str]) -> Array:
    """Cosines between rows of (1 + ln count) (1 + ln((1 + texts) / (1 + texts with it))) over pieces of words.

    Pieces are three to five letters of a word between two spaces.
    """
    counts = []
    for text in texts:
        words = [f" {word} " for word in text.split()]
        counts.append(Counter(word[i : i + n] for word in words for n in (3, 4, 5) for i in range(len(word) - n + 1)))
    rows = []
    for one in counts:
        row = []
        for piece in sorted(set().union(*counts)):
            rarity = 1 + math.log((1 + len(texts)) / (1 + sum(piece in other for other in counts)))
            row.append((1 + math.log(one[piece])) * rarity if one[piece] else 0.0)
        rows.append(np.array(row) / np.linalg.norm(row))
    return np.array([[v @ w for w in rows] for v in rows])


# recurrent cells


def lstm_step(z: Array, c: Array) -> tuple[Array, Array]:
    """Gates in the order input, forget, cell, output."""
    i, f, g, o = np.split(z, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def run_lstm(w: dict[str, Array], tokens: Array) -> Array:
    """States h_1 ... h_T of a plain LSTM with one bias."""
    h = c = np.zeros(w["weight_hh"].shape[1])
    states = []
    for x in tokens:
        h, c = lstm_step(w["weight_ih"] @ x + w["weight_hh"] @ h + w["bias"], c)
        states.append(h)
    return np.array(states)


def run_hyper_lstm(w: dict[str, Array], tokens: Array) -> Array:
    """Ha et al. (2017), eq. 10-12: a small LSTM reads (x_t, h_{t-1}); its output scales the rows of the main one."""
    hidden = w["weight_hh"].shape[1]
    h = c = np.zeros(hidden)
    small_h = small_c = np.zeros(w["hyper.weight_hh"].shape[1])
    states = []
    for x in tokens:
        z = w["hyper.weight_ih"] @ x + w["hyper.weight_hh"] @ small_h + w["hyper.bias"] + w["hyper_from_main"] @ h
        small_h, small_c = lstm_step(z, small_c)
        d_x, d_h, b_z = np.split(w["scales"] @ small_h, 3)
        gates = (1 + d_x) * (w["weight_ih"] @ x) + (1 + d_h) * (w["weight_hh"] @ h) + w["bias"] + b_z
        h, c = lstm_step(gates, c)
        states.append(h)
    return np.array(states)


def encode(w: dict[str, Array], tokens: Array, run: Callable[[dict[str, Array], Array], Array]) -> Array:
    """A text's feature: the unit mean of its tokens plus the projected mean LSTM state, made unit again."""
    mean = tokens.mean(0)
    normed = np.array([(x - x.mean()) / math.sqrt(x.var() + 1e-5) for x in tokens])
    sides = {
        side: {k.removeprefix(side): v for k, v in w.items() if k.startswith(side)}
        for side in ("forward_cell.", "backward_cell.")
    }
    pooled = [run(sides["forward_cell."], normed).mean(0)]
    if sides["backward_cell."]:
        pooled.append(run(sides["backward_cell."], normed[::-1]).mean(0))
    feature = mean / np.linalg.norm(mean) + w["out"] @ np.concatenate(pooled)
    return feature / np.linalg.norm(feature)


# update rules; a rule is called with (t, weights [N D+1], gradients, loss) and remembers what it needs


def gradient_descent(step_size: Any) -> Callable[..., Array]:
    return lambda t, weight, grad, loss: weight - step_size * grad


def adam(step_size: float) -> Callable[..., Array]:
    """Kingma & Ba (2015), algorithm 1."""
    memory: dict[str, Any] = {"m": 0.0, "v": 0.0}

    def step(t: int, weight: Array, grad: Array, loss: float) -> Array:
        memory["m"] = 0.9 * memory["m"] + (1 - 0.9) * grad
        memory["v"] = 0.999 * memory["v"] + (1 - 0.999) * grad**2
        m_hat, v_hat = memory["m"] / (1 - 0.9 ** (t + 1)), memory["v"] / (1 - 0.999 ** (t + 1))
        return weight - step_size * m_hat / (np.sqrt(v_hat) + 1e-8)

    return step


def preprocessed(v: float) -> list[float]:
    """Andrychowicz et al. (2016), appendix A, with p = 10."""
    if abs(v) >= math.exp(-10):
        return [math.log(abs(v)) / 10, math.copysign(1.0, v)]
    return [-1.0, math.exp(10) * v]


def coordinate_rule(w: dict[str, Array], theta: float, grads: list[float], losses: list[float]) -> float:
    """One weight under the rule of Ravi & Larochelle (2017), eq. 2-6."""
    h = c = np.zeros(w["cell.weight_hh"].shape[1])
    forget = put = 0.0
    for grad, loss in zip(grads, losses, strict=True):
        x = np.array(preprocessed(loss) + preprocessed(grad))
        h, c = lstm_step(w["cell.weight_ih"] @ x + w["cell.weight_hh"] @ h + w["cell.bias"], c)
        forget = float(w["forget"] @ np.array([*h, theta, forget]) + w["forget_bias"])
        put = float(w["input"] @ np.array([*h, theta, put]) + w["input_bias"])
        theta = sigmoid(forget) * theta - sigmoid(put) * grad
    return theta


def gated_rule(
    w: dict[str, Array],
    *,
    start: Array,
    steps: int,
    n_way: int,
    shots: float,
    scale: float,
    is_head: bool,
    noted: list[tuple[float, float, float]] | None = None,
) -> Callable[..., Array]:
    """The gates of `meta_lstm`, row by row: theta_0 + f (theta - theta_0) - i v, with v = m v + g.

    noted: takes (i, f, m) of each row of each step.
    """
    rows = [{"h": 0.0, "c": 0.0, "v": np.zeros(start.shape[1]), "g": None} for _ in start]
    before: list[float] = []

    def log_norm(row: Array) -> float:
        return math.log(sum(v * v for v in row) + math.exp(-20)) / 20

    def step(t: int, weight: Array, grad: Array, loss: float) -> Array:
        moved = []
        for n, row in enumerate(rows):
            g, walked = grad[n], weight[n] - start[n]
            cosine = 0.0 if row["g"] is None else g @ row["g"] / (np.linalg.norm(g) * np.linalg.norm(row["g"]))
            drop = before[-1] - loss if before else 0.0
            size = [log_norm(g), log_norm(walked), log_norm(start[n])]
            x = [loss, drop, t / steps, *size, cosine, math.log(n_way) / 4, math.log(max(shots, 0.1)) / 4]
            z = w["cell.weight_ih"] @ np.array(x) + w["cell.weight_hh"] @ (
                np.zeros(w["cell.weight_hh"].shape[1]) + row["h"]
            )
            row["h"], row["c"] = lstm_step(z + w["cell.bias"], row["c"])
            forget, put, momentum = w["to_gates.weight"] @ row["h"] + w["to_gates.bias"]
            log_lr = w["log_lr_head"] if is_head else w["log_lr_encoder"]
            size_of_step = math.exp(put + log_lr) * (n_way if is_head else 1) / scale**2
            row["v"], row["g"] = sigmoid(momentum) * row["v"] + g, g
            if noted is not None:
                noted.append((size_of_step, sigmoid(forget + 5), sigmoid(momentum)))
            moved.append(start[n] + sigmoid(forget + 5) * walked - size_of_step * row["v"])
        before.append(loss)
        return np.array(moved)

    return step


def head_steps(
    head: Array,
    rule: Callable[..., Array],
    steps: int,
    x: Array,
    labels: Sequence[int],
    weights: Sequence[float],
    scale: float,
    excess: Sequence[float] | None = None,
) -> list[Array]:
    """A linear head [N D+1] after 0 ... steps updates on the balanced support loss; its gradient by hand.

    excess: of each class's squared length; a text's own score is lowered by 3.5 of it.
    """
    n_way, trajectory = len(head), [head]
    totals = [sum(weight for weight, label in zip(weights, labels, strict=True) if label == n) for n in range(n_way)]
    for t in range(steps):
        scores = scale * (x @ head[:, :-1].T + head[:, -1])
        for i, label in enumerate(labels):
            scores[i, label] -= 3.5 * scale * (excess[label] if excess is not None else 0.0)
        p, grad = softmax(scores), np.zeros_like(head)
        for i, label in enumerate(labels):
            share = weights[i] / totals[label] / n_way
            for n in range(n_way):
                grad[n] += share * (p[i, n] - (n == label)) * scale * np.array([*x[i], 1.0])
        head = rule(t, head, grad, balanced_cross_entropy(scores, labels, n_way, weights))
        trajectory.append(head)
    return trajectory


def multi_step_loss(losses: Sequence[float]) -> float:
    """The loss after t steps weighs t + 1."""
    weights = range(1, len(losses) + 1)
    return sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)


def query_loss(scores: Array, labels: Sequence[int], log_scale: float) -> float:
    """Cross-entropy at the best of 28 sharpnesses 1.22^i, and that at the scale of the answers."""
    best = min(cross_entropy(1.22**i * scores, labels) for i in range(28))
    return best + cross_entropy(math.exp(log_scale) * scores, labels)


def evolution_slope(score: Callable[[Array], float], noises: Sequence[Array], sigma: float) -> Array:
    """Salimans et al. (2017), sec. 2.1, with antithetic pairs around 0."""
    pulls = [(score(sigma * e) - score(-sigma * e)) / (2 * sigma) * e for e in noises]
    return sum(pulls) / len(pulls)


# closed forms


def ridge(x: Array, targets: Array, weights: Array, penalty: float) -> Array:
    """Weighted normal equations, features by features: rows [N D]."""
    a = np.diag(weights)
    return np.linalg.solve(x.T @ a @ x + penalty * np.eye(x.shape[1]), x.T @ a @ targets).T


def bayes(x: Array, targets: Array, weights: Array, noise: float, variances: Array) -> tuple[Array, Array]:
    """Bishop, PRML, eq. 3.50 and 3.51: posterior means [N D] and covariance [D D]."""
    a = np.diag(weights) / noise
    covariance = np.linalg.inv(np.diag(1 / variances) + x.T @ a @ x)
    return (covariance @ x.T @ a @ targets).T, covariance


# numbers


def macro_scores(answers: Sequence[int], labels: Sequence[int], classes: Sequence[int]) -> tuple[float, float, float]:
    """Precision, recall and F1, each the mean over classes; 0 where nothing was there to count."""
    rows = []
    for n in classes:
        hit = sum(a == n and b == n for a, b in zip(answers, labels, strict=True))
        answered, there = sum(a == n for a in answers), sum(b == n for b in labels)
        f1 = 2 * hit / (answered + there) if answered + there else 0.0
        rows.append((hit / answered if answered else 0.0, hit / there if there else 0.0, f1))
    precision, recall, f1 = (sum(column) / len(rows) for column in zip(*rows, strict=True))
    return precision, recall, f1


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, 0.0
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    return mean, 1.96 * math.sqrt(variance / len(values))


def expected_calibration_error(probabilities: Array, labels: Sequence[int], bins: int = 15) -> float:
    """Guo et al. (2017), eq. 3; bin m holds confidences in ((m-1)/M, m/M]."""
    total = 0.0
    for m in range(1, bins + 1):
        inside = [(max(p), int(np.argmax(p)) == label) for p, label in zip(probabilities, labels, strict=True)]
        inside = [(c, r) for c, r in inside if (m - 1) / bins < c <= m / bins]
        if inside:
            gap = sum(r for _, r in inside) / len(inside) - sum(c for c, _ in inside) / len(inside)
            total += len(inside) / len(labels) * abs(gap)
    return total


def quantile(values: Sequence[float], rate: float) -> float:
    """Between order statistics, linearly."""
    ordered = sorted(values)
    at = rate * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def between(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """The broken line through (xs, ys) at x, which lies within."""
    for x0, x1, y0, y1 in zip(xs, xs[1:], ys, ys[1:], strict=False):
        if x0 <= x <= x1:
            return y0 + (x - x0) / (x1 - x0) * (y1 - y0)
    raise ValueError(x)


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """The two roots p of (share - p)^2 = z^2 p (1 - p) / count, by bisection."""

    def root(low: float, high: float) -> float:
        def gap(p: float) -> float:
            return (share - p) ** 2 - z * z * p * (1 - p) / count

        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if (gap(middle) > 0) == (gap(low) > 0) else (low, middle)
        return (low + high) / 2

    return (0.0 if share == 0 else root(0.0, share)), (1.0 if share == 1 else root(share, 1.0))


# matrices in 4 bits (GGML's Q4_0)


def pack_block(numbers: Sequence[float]) -> tuple[float, list[int]]:
    """32 numbers as a half-precision scale and 32 whole numbers from 0 to 15."""
    extreme = 0.0
    for x in numbers:
        if abs(x) > abs(extreme):
            extreme = x
    d = np.float32(extreme) / np.float32(-8)
    inverse = np.float32(1) / d if d else np.float32(0)
    whole = [max(0, min(15, math.floor(np.float32(np.float32(x) * inverse) + np.float32(8.5)))) for x in numbers]
    return float(np.float16(d)), whole


def unpack_block(block: bytes) -> list[float]:
    """18 bytes, a scale and 16 pairs of nibbles, as 32 numbers: first the low nibbles, then the high ones."""
    scale = float(np.frombuffer(block[:2], "<f2")[0])
    low = [scale * (byte % 16 - 8) for byte in block[2:]]
    return low + [scale * (byte // 16 - 8) for byte in block[2:]]


def left_out_hits(kernel: Array, labels: Sequence[int], n_way: int) -> tuple[int, int]:
    """How many texts are left out, and how many get their own label, each by a ridge regression fitted without it.

    The penalty is the one whose answers, times the best of three scales, give the labels the largest likelihood.
    """
    asked = [i for i, own in enumerate(labels) if list(labels).count(own) > 1]
    found = []
    for penalty in (0.1, 0.3, 1.0):
        answers = {}
        for i in asked:
            rest = [j for j in range(len(labels)) if j != i]
            targets = np.array([[float(labels[j] == c) for c in range(n_way)] for j in rest])
            gram = np.array([[kernel[j, k] + 1 for k in rest] for j in rest]) + penalty * np.eye(len(rest))
            answers[i] = np.array([kernel[i, j] + 1 for j in rest]) @ np.linalg.inv(gram) @ targets
        likelihood = max(
            sum(math.log(softmax(scale * answers[i][None])[0][labels[i]]) for i in asked) for scale in (4.0, 8.0, 16.0)
        )
        hits = sum(int(np.argmax(answers[i])) == labels[i] for i in asked)
        found.append((likelihood, hits))
    return len(asked), max(found, key=lambda pair: pair[0])[1]
