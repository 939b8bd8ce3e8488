"""Which encoders a task chose, and what they are worth on its own labels: in numbers and in one sentence."""

from collections.abc import Sequence
from dataclasses import dataclass

from meta_text.embedding.encoder_blocks import EncoderBlocks
from meta_text.learners.learner import TaskState
from meta_text.model.adaptation import Adaptation

LEAST_TEXTS = 8  # that can be left out: with fewer, one answer is more than 12 points


@dataclass(frozen=True)
class EncoderChoice:
    """Encoders in the order of their weights.

    texts: how many labelled texts could be left out, each once. right: the share of them that ridge regression answers
    rightly with the encoders so weighed; right_alone: with each one alone. Both are empty where `texts` is too small.
    """

    weights: dict[str, float]
    texts: int = 0
    right: float | None = None
    right_alone: tuple[float, ...] = ()

    def sentence(self) -> str:
        """For people, such as "65 % e5, 35 % minilm; e5 alone would be 2 points worse, ... on these 40 labels"."""
        shares = ", ".join(f"{100 * weight:.0f} % {name}" for name, weight in self.weights.items())
        if len(self.weights) == 1:
            return shares
        if self.right is None:
            return f"{shares}, by experience with other tasks: too few labels to tell"
        points = [round(100 * (alone - self.right)) for alone in self.right_alone]
        alone = [f"{name} alone would be {_compared(by)}" for name, by in zip(self.weights, points, strict=True)]
        return f"{shares}; {', '.join(alone)} on these {self.texts} labels"


def encoder_choice(adapted: Adaptation) -> EncoderChoice | None:
    """What a task says of its encoders; None for a model that reads token states of one embedding."""
    blocks = adapted.model.embedding
    if not isinstance(blocks, EncoderBlocks):
        return None
    return choice_of(blocks, adapted.task)


def choice_of(blocks: EncoderBlocks, task: TaskState) -> EncoderChoice:
    """What a task over these encoders says of them."""
    weights = task["weights"].tolist()
    order = sorted(range(len(weights)), key=lambda i: -weights[i])
    names = distinct_names(blocks.names)
    chosen = {names[i]: weights[i] for i in order}
    # tasks that were saved before this was counted have no hits
    texts, right, *alone = map(int, task["hits"].tolist()) if "hits" in task else (0, 0)
    if texts < LEAST_TEXTS:
        return EncoderChoice(chosen, texts)
    return EncoderChoice(chosen, texts, right / texts, tuple(alone[i] / texts for i in order))


def effort_sentence(adapted: Adaptation) -> str:
    """What came of moving an encoder; empty if that was not asked for."""
    blocks, move = adapted.resting.model.embedding, adapted.move
    if move is None or not isinstance(blocks, EncoderBlocks):
        return ""
    return move.sentence(distinct_names(blocks.names)[move.place])


def distinct_names(names: Sequence[str]) -> list[str]:
    """Names as they are; a name that comes again gets a number, as two models' functions `encode` do."""
    return [name if name not in names[:i] else f"{name} ({names[:i].count(name) + 1})" for i, name in enumerate(names)]


def _compared(points: int) -> str:
    if points == 0:
        return "as good"
    return f"{abs(points)} point{'s' if abs(points) > 1 else ''} {'better' if points > 0 else 'worse'}"
