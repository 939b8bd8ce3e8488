"""The outer loop: step, validate, keep the best weights, checkpoint, resume."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor

from meta_text.config import saved_recipe
from meta_text.corpus.class_split import ClassSplit
from meta_text.corpus.episode import EpisodeSampler
from meta_text.errors import ConfigError, ModelFileError
from meta_text.evaluation.answers import answer_with, run_episodes
from meta_text.files import replacing, save_tensors, tidy, whole_file
from meta_text.model.embedded_corpus import EmbeddedCorpus
from meta_text.model.model import MetaModel
from meta_text.parsing import parse_json
from meta_text.saving.model_folder import load_tensors, model_tensors, read_config, write_model
from meta_text.training.processes import Processes, is_main_process

SHARES = (0.75, 0.5)  # positions between untrained (0) and trained (1) weights that are tried after training
CHECKPOINT = "checkpoint"
HISTORY = "history.jsonl"  # the state after each step, a line each
VALIDATION_SEED = 10_007  # validation episodes are the same for every learner and seed of a recipe


@dataclass(frozen=True)
class TrainState:
    """The progress of training: everything that a resumed run needs except tensors."""

    step: int = 0
    loss: float | None = None  # None before the first step
    validation: float | None = None  # accuracy of the latest validation, a fraction; None before the first
    best: float | None = None
    best_step: int = 0
    stale: int = 0  # validations since the best one
    seconds: float = 0.0
    share: float = 1.0  # position of the kept weights between the untrained (0) and the best trained ones (1)


@dataclass
class Trainer:
    """Trains `model` on the train classes and chooses by the validation classes; it never uses test classes.

    Episode i of a run is a function of (seed, i), and the whole state of the optimiser is saved. On a CPU a run that
    was killed and resumed therefore ends with the same bits as one that was not. Under `accelerate launch` the processes divide the
    episodes of each step, and the gradient is that of all of them.
    """

    model: MetaModel
    embedded: EmbeddedCorpus
    split: ClassSplit
    out: Path | None = None
    on_step: Callable[[TrainState], None] = lambda state: None
    state: TrainState = field(default_factory=TrainState)

    def __post_init__(self) -> None:
        self.recipe = self.model.recipe
        settings = self.recipe.train
        self.accelerator = Accelerator(cpu=self.embedded.device.type == "cpu")
        self.processes = Processes(self.accelerator, settings.episodes_per_step)
        self.writes = self.out is not None and is_main_process()
        self.named = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        self.optimizer = self.accelerator.prepare(torch.optim.Adam(self._groups() or [{"params": []}]))
        corpus, episode = self.embedded.corpus, self.recipe.episode
        shape: dict[str, Any] = {
            "n_way": episode.n_way,
            "k_shot": episode.k_shot,
            "n_query": episode.n_query,
        }
        self.sampler = EpisodeSampler(
            corpus,
            self.split.train,
            seed=settings.seed,
            same_shape=settings.episodes_per_step,
            hard=episode.hard,
            **shape,
        )
        validation = EpisodeSampler(corpus, self.split.validation, seed=VALIDATION_SEED, same_shape=20, **shape)
        self.validation_episodes = validation.take(0, settings.validation_episodes)
        self.views = self.embedded.views  # a rule learns to do with whichever encoders a task has
        self.start_tensors = self.best_tensors = model_tensors(self.model)

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate: pretrained embedding, encoder, and the few numbers of start and update rule."""
        settings, pretrained = self.recipe.train, self.recipe.embedding.kind == "transformer"
        rates: dict[float, list[torch.nn.Parameter]] = {}
        rate_of = {
            "embedding": settings.embedding_lr if pretrained else settings.outer_lr,
            "encoder": settings.outer_lr,
            "rule": settings.rule_lr,
        }
        for name, parameter in self.named:
            rates.setdefault(rate_of[_part(name)], []).append(parameter)
        return [{"params": parameters, "lr": rate, "peak_lr": rate} for rate, parameters in rates.items()]

    def run(self, *, resume: bool = False) -> TrainState:
        """Train until the last step or an early stop, and leave the best weights in the model."""
        if self.out is not None and self.writes:
            tidy(self.out)
        self.processes.wait()
        if resume:
            self._restore()
        elif self.out is not None and self.writes:
            (self.out / HISTORY).unlink(
                missing_ok=True
            )  # of an earlier run, or of one killed before its first checkpoint
        settings, started = self.recipe.train, time.perf_counter() - self.state.seconds
        steps = settings.outer_steps if self.named else 0  # some learners have no parameters to meta-train
        if self.state.step == 0 and settings.outer_steps > 0:
            self._validate()  # the untrained model is a candidate too
            self._log()
            self.on_step(self.state)
        while self.state.step < steps and self.state.stale < settings.patience:
            loss = self._step(self.state.step)
            self.state = replace(self.state, step=self.state.step + 1, loss=loss, seconds=time.perf_counter() - started)
            if self.state.step % settings.validate_every == 0 or self.state.step == steps:
                self._validate()
                self._log()
                self._checkpoint()
            else:
                self._log()
            self.on_step(self.state)
        if self.state.best_step > 0:
            self._draw_back()
        load_tensors(self.model, self.best_tensors, self.out or Path("the best weights"))
        self.model.embedding.settle()
        self.model.eval()
        return self.state

    def _warm(self, step: int) -> None:
        """Set the learning rate of a pretrained embedding: a warm-up over a tenth of the steps, then decay to zero."""
        if self.recipe.embedding.kind != "transformer":
            return
        steps = self.recipe.train.outer_steps
        share = min(1.0, (step + 1) / max(1, steps // 10)) * (1 - step / steps)
        for group in self.optimizer.param_groups:
            if any(p is group["params"][0] for name, p in self.named if name.startswith("embedding.")):
                group["lr"] = group["peak_lr"] * share

    def _step(self, step: int) -> float:
        self.model.train()
        self._warm(step)
        size = self.recipe.train.episodes_per_step
        with torch.random.fork_rng():  # dropout and random search depend on (seed, step) alone, as episodes do
            torch.manual_seed(self.recipe.train.seed * 1_000_003 + step)
            episodes = self.processes.share(self.sampler.take(step * size, size))
            use_names = self.recipe.learner.label_names
            view = self.views[step % len(self.views)]
            batch = view.batch(episodes, label_names=step % 4 == 3 if use_names == "both" else use_names)
            own = self.model.losses(batch).mean() * (len(episodes) / size)
        loss = self.processes.summed(own.detach())
        if not torch.isfinite(loss):
            self._checkpoint()
            saved = "" if self.out is None else f"; the weights before it are in {self.out / CHECKPOINT}"
            raise ConfigError(
                f"the loss is {loss.item()} at outer step {step} (seed {self.recipe.train.seed}, episodes {step * size} to "
                f"{(step + 1) * size - 1}){saved}; lower train.outer_lr or learner.inner_lr"
            )
        self.accelerator.backward(own)
        self.processes.sum_gradients(p for _, p in self.named)
        self.accelerator.clip_grad_norm_([p for _, p in self.named], self.recipe.train.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _accuracy(self) -> float:
        """Accuracy on the validation episodes as a fraction, averaged over the uses of class names that the recipe tests."""
        self.model.eval()
        right: list[float] = []
        own = self.processes.share(self.validation_episodes)
        with self.embedded.holding(own):
            for names in self.recipe.learner.names_tested:
                answers = run_episodes(answer_with(self.model, label_names=names), self.embedded, own)
                pairs = zip(answers.probabilities, answers.labels, strict=True)
                right += self.processes.in_order([float((p.argmax(-1) == labels).mean()) for p, labels in pairs])
        return float(np.mean(right))

    def _validate(self) -> None:
        accuracy = self._accuracy()
        if self.state.best is None or accuracy > self.state.best:
            self.best_tensors = model_tensors(self.model)
            self.state = replace(self.state, validation=accuracy, best=accuracy, best_step=self.state.step, stale=0)
        else:
            self.state = replace(self.state, validation=accuracy, stale=self.state.stale + 1)

    def _draw_back(self) -> None:
        """Try weights between the untrained and the best ones, which often transfer better to new classes.

        Wortsman et al., CVPR 2022, eq. 1. Training on few classes moves weights further than new classes need.
        """
        best = self.best_tensors
        for share in SHARES:
            between = {name: torch.lerp(start, best[name], share) for name, start in self.start_tensors.items()}
            load_tensors(self.model, between, Path("averaged weights"))
            accuracy = self._accuracy()
            if self.state.best is None or accuracy > self.state.best:
                self.best_tensors, self.state = between, replace(self.state, best=accuracy, share=share)

    def _log(self) -> None:
        if self.out is not None and self.writes:
            self.out.mkdir(parents=True, exist_ok=True)
            with (self.out / HISTORY).open("a", encoding="utf-8") as file:
                file.write(json.dumps({**asdict(self.state), "learning_rates": self._rates()}) + "\n")

    def _rates(self) -> dict[str, float]:
        """The present learning rate of each part that is trained."""
        rates = {id(p): group["lr"] for group in self.optimizer.param_groups for p in group["params"]}
        return {_part(name): rates[id(parameter)] for name, parameter in self.named}

    def _checkpoint(self) -> None:
        """Write a model folder together with the state of the optimiser, as safetensors and JSON."""
        if self.out is None or not self.writes:
            return
        with replacing(self.out / CHECKPOINT) as folder:
            write_model(self.model, folder)
            save_tensors(self.best_tensors, folder / "best.safetensors")
            save_tensors(self._optimizer_tensors(), folder / "optimizer.safetensors")
            (folder / "trainer.json").write_text(json.dumps(asdict(self.state)), encoding="utf-8")

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        names = {id(p): name for name, p in self.named}
        return {
            f"{key}:{names[id(p)]}": value.detach().cpu().contiguous()
            for p, entries in self.optimizer.state.items()
            for key, value in entries.items()
        }

    def _restore(self) -> None:
        folder = (self.out or Path()) / CHECKPOINT
        if not (folder / "trainer.json").exists():
            raise ModelFileError(f"nothing to resume: no checkpoint in {self.out}; run once without --resume")
        saved, ours = saved_recipe(read_config(folder)["recipe"]).as_dict(), self.recipe.as_dict()
        if changed := [table for table, values in ours.items() if values != saved[table]]:
            raise ModelFileError(
                f"{folder} was written by a different recipe ([{'], ['.join(changed)}] differ); resume with that one, or choose another --out"
            )
        load_tensors(self.model, load_file(folder / "model.safetensors"), folder)
        self.best_tensors = load_file(folder / "best.safetensors")
        by_name = dict(self.named)
        for key, value in load_file(folder / "optimizer.safetensors").items():
            kind, name = key.split(":", 1)
            parameter = by_name[name]
            target = value if kind == "step" else value.to(parameter.device)
            self.optimizer.state[parameter][kind] = target
        self.state = TrainState(**parse_json((folder / "trainer.json").read_text("utf-8")))
        if self.writes:
            self._cut_history()
        self.processes.wait()

    def _cut_history(self) -> None:
        path = (self.out or Path()) / HISTORY
        kept = []
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            try:
                if parse_json(line)["step"] <= self.state.step:
                    kept.append(line)
            except json.JSONDecodeError:
                break  # the line that was being written
        with whole_file(path) as partial:
            partial.write_text("\n".join(kept) + "\n", encoding="utf-8")


def _part(name: str) -> str:
    """What a parameter belongs to: "embedding", "encoder", or the few numbers of start and update rule, "rule"."""
    if name.startswith("embedding."):
        return "embedding"
    return "encoder" if name.startswith("learner.encoder.") else "rule"
