"""Contracts of every learner, and oracles of the update rules."""

import inspect
from typing import Any

import pytest
import torch

from meta_text.embedding.token_states import TokenStates
from meta_text.errors import ConfigError
from meta_text.learners import LEARNERS, EmbeddedEpisode, Learner, policy
from meta_text.learners.encoder import TextEncoder
from meta_text.model.model import over_tasks


def draw(texts: int, seed: int) -> TokenStates:
    states = torch.randn(texts, 5, 6, generator=torch.Generator().manual_seed(seed))
    return TokenStates(states, torch.ones(texts, 5, dtype=torch.bool))


def make(name: str, **options: object) -> Learner:
    torch.manual_seed(0)
    if name == "finetune":
        options["n_classes"] = 5
    if name in ("finetune", "scratch_lstm"):
        options = {"inner_steps": 8, **options}  # forty steps show nothing that eight do not
    cell = options.pop("cell", "lstm")
    learner = LEARNERS[name](TextEncoder(6, 4, cell), **options)  # type: ignore[arg-type]
    torch.nn.init.normal_(learner.encoder.out, std=0.3)
    for parameter in learner.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return learner


# every option that a constructor may accept, with values that differ from its default; a new option belongs here
VALUES: dict[str, tuple[object, ...]] = {
    "adapts": ("head", "encoder", "recurrent"),
    "checkpoint_steps": (True,),
    "encoder_loss": ("start",),
    "first_order": (True,),
    "inner_lr": (0.05,),
    "inner_steps": (2,),
    "label_names": (True,),
    "prototype_start": (True,),
}


def options_of(name: str) -> list[dict[str, object]]:
    """Each option that this learner accepts, alone; and where the start may stand at the prototypes, beside that."""
    accepted = [
        option for option in inspect.signature(LEARNERS[name]).parameters if option not in ("encoder", "n_classes")
    ]
    alone: list[dict[str, object]] = [{option: value} for option in accepted for value in VALUES[option]]
    if "prototype_start" not in accepted:
        return [{}, *alone]
    return [
        {},
        *(
            {**one, "prototype_start": start}
            for one in alone
            for start in (False, True)
            if one != {"label_names": True} or start
        ),
    ]


CASES = [
    pytest.param(
        name,
        options,
        id="-".join([name, *(f"{key}={value}" for key, value in options.items())]),
        marks=[pytest.mark.options] if options else [],
    )
    for name in LEARNERS
    for options in options_of(name)
]
LABELS = torch.tensor([0, 0, 0, 1, 2, 2])
CLASSES = torch.tensor([4, 0, 2])
QUERY_LABELS = torch.tensor([0, 1, 2, 0])
EPISODE = EmbeddedEpisode(draw(6, 1), LABELS, draw(4, 2), QUERY_LABELS, 3, classes=CLASSES)


def names_of(learner: Learner, options: dict[str, object], n_way: int = 3) -> TokenStates | None:
    return draw(n_way, 3) if options.get("label_names") and learner.takes_names else None


@pytest.fixture(autouse=True)
def wide_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four queries: a small change of a rule changes no answer, and gives the search no slope."""
    monkeypatch.setattr(policy, "SIGMA", 3.0)
    monkeypatch.setattr(policy, "DIRECTIONS", 16)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_contract_permutations(name: str, options: dict[str, object]) -> None:
    # float64: Adam divides gradients by their size, so rounding would grow to the size of a step
    learner = make(name, **options).double()
    support, query = (double(t) for t in (draw(6, 1), draw(4, 2)))
    names = names_of(learner, options)
    names = None if names is None else double(names)
    logits = learner.logits(learner.adapt(support, LABELS, 3, names), query)
    order = torch.tensor([5, 3, 1, 0, 4, 2])
    shuffled = learner.adapt(TokenStates(support.states[order], support.mask[order]), LABELS[order], 3, names)
    torch.testing.assert_close(learner.logits(shuffled, query), logits, atol=1e-4, rtol=1e-3)
    back = torch.tensor([1, 2, 0])  # class n is called back[n] before
    renamed_names = None if names is None else TokenStates(names.states[back], names.mask[back])
    renamed = learner.adapt(support, torch.tensor([2, 0, 1])[LABELS], 3, renamed_names)
    torch.testing.assert_close(learner.logits(renamed, query)[:, [2, 0, 1]], logits, atol=1e-4, rtol=1e-3)


def double(tokens: TokenStates) -> TokenStates:
    return TokenStates(tokens.states.double(), tokens.mask)


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize(
    "labels", [torch.arange(2).repeat(2), torch.arange(7).repeat(2), torch.tensor([0, 1, 1, 1, 2])]
)
def test_contract_any_n_uneven_shots_and_no_grad(name: str, options: dict[str, object], labels: torch.Tensor) -> None:
    n_way = int(labels.max()) + 1
    learner, support, query = make(name, **options), draw(len(labels), 1), draw(3, 2)
    names = names_of(learner, options, n_way)
    with torch.no_grad():
        quiet = learner.logits(learner.adapt(support, labels, n_way, names), query)
    assert quiet.shape == (3, n_way)
    assert quiet.isfinite().all()
    torch.testing.assert_close(quiet, learner.logits(learner.adapt(support, labels, n_way, names), query))


@pytest.mark.parametrize(("name", "options"), [*CASES, *((name, {"cell": "hyper"}) for name in LEARNERS)])
def test_contract_every_parameter_gets_a_gradient(name: str, options: dict[str, object]) -> None:
    learner = make(name, **options)
    torch.manual_seed(0)
    loss = learner.loss(EPISODE._replace(names=names_of(learner, options)))
    if name == "scratch_lstm":
        assert not loss.requires_grad  # nothing is meta-learned
        return
    loss.backward()
    for key, parameter in learner.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.any(), key


@pytest.mark.parametrize(("name", "options"), CASES)
def test_contract_same_seed_same_weights(name: str, options: dict[str, object]) -> None:
    """Two learners of one seed start alike and take the same outer step; another seed draws other weights."""
    trained = []
    for _ in range(2):
        learner = make(name, **options)
        torch.manual_seed(0)
        loss = learner.loss(EPISODE._replace(names=names_of(learner, options)))
        if loss.requires_grad:
            loss.backward()
            torch.optim.SGD([p for p in learner.parameters() if p.requires_grad], lr=0.1).step()
        trained.append(learner.state_dict())
    assert all(torch.equal(trained[0][key], trained[1][key]) for key in trained[0])


@pytest.mark.parametrize(("name", "options"), CASES)
def test_contract_names_are_used_or_refused(name: str, options: dict[str, object]) -> None:
    learner = make(name, **options)
    support, query, names = draw(6, 1), draw(4, 2), draw(3, 3)
    if not learner.takes_names:
        with pytest.raises(ConfigError, match=r"class names need .*; set .*label_names = false"):
            learner.adapt(support, LABELS, 3, names)
        return
    plain, named = (learner.logits(learner.adapt(support, LABELS, 3, given), query) for given in (None, names))
    assert (plain - named).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "options"), CASES)
def test_contract_a_task_is_a_value(name: str, options: dict[str, object]) -> None:
    """Adapting to a second task changes neither the learner nor the first task."""
    learner = make(name, **options)
    before = {key: value.clone() for key, value in learner.state_dict().items()}
    task = learner.adapt(draw(6, 1), LABELS, 3)
    logits = learner.logits(task, draw(4, 2))
    learner.adapt(draw(6, 5), LABELS, 3)
    assert torch.equal(learner.logits(task, draw(4, 2)), logits)
    assert all(torch.equal(value, before[key]) for key, value in learner.state_dict().items())


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_stands_at_most_two_levels_below_the_interface(name: str) -> None:
    assert LEARNERS[name].mro().index(Learner) <= 2


@pytest.mark.parametrize(("name", "options"), CASES)
def test_vmap_over_tasks_equals_one_by_one(name: str, options: dict[str, object]) -> None:
    learner, tasks = make(name, **options), []
    for seed in (1, 2):
        query_labels = torch.tensor([0, 1, 2])
        names = None if names_of(learner, options) is None else draw(3, seed + 20)
        tasks.append(EmbeddedEpisode(draw(6, seed), LABELS, draw(3, seed + 9), query_labels, 3, names, CLASSES))
    stacked = EmbeddedEpisode(
        stack([t.support for t in tasks]),
        torch.stack([t.support_labels for t in tasks]),
        stack([t.query for t in tasks]),
        torch.stack([t.query_labels for t in tasks]),
        3,
        None if tasks[0].names is None else stack([t.names for t in tasks]),
        torch.stack([CLASSES, CLASSES]),
    )
    single = []
    for task in tasks:
        torch.manual_seed(0)  # what is drawn at random is the same for all tasks
        single.append(learner.loss(task))
    torch.manual_seed(0)
    torch.testing.assert_close(over_tasks(learner.loss, stacked), torch.stack(single), atol=1e-5, rtol=1e-4)


def stack(parts: list[Any]) -> TokenStates:
    return TokenStates(*map(torch.stack, zip(*parts, strict=True)))
