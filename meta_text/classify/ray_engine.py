"""Bulk prediction with Ray Data: actors that load the classifier once and answer spans of a Parquet file or folder.

Ray Data restarts an actor whose process or machine is lost, and gives its span to an actor again, without limit (its defaults);
what was answered of the span is in the parts and is not answered again.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from meta_text.classify.bulk import Bulk, Span, forget_tries
from meta_text.classify.classifier import FewShotClassifier
from meta_text.classify.fitted import fitted_of_either_kind
from meta_text.classify.input_rows import InputRow
from meta_text.classify.multilabel import MultiLabelFewShotClassifier
from meta_text.classify.tally import Tally, total
from meta_text.errors import InputError, MetaTextError
from meta_text.extras import needs

PURPOSE = "--engine ray"
OURS = (
    "META_TEXT_",
    "LRU_CACHE_CAPACITY",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
)  # variables that the answers or memory depend on
SETTINGS = {  # read by Ray as it is imported or starts
    "RAY_worker_niceness": "0",  # 15 by default: beside other programs a worker would get next to no processor time
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # of its own statistics; what a worker raises is handled here
}


class Worker:
    """An actor of the pool. folder: of the classifier, or its name on the Hub; variables: of the environment that started it all."""

    def __init__(self, folder: str, bulk: Bulk, variables: Mapping[str, str]) -> None:
        os.environ.update(variables)
        self.bulk = bulk
        self.classifier = fitted_of_either_kind(folder, "cpu")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Answer the spans of a batch, a column per field; returns how many rows each has."""
        for row in zip(*batch.values(), strict=True):
            self.bulk.answer(
                self.classifier, Span(**{name: int(value) for name, value in zip(batch, row, strict=True)})
            )
        return {"rows": batch["rows"]}


def predict_with_ray(
    classifier: FewShotClassifier | MultiLabelFewShotClassifier,
    folder: str,
    bulk: Bulk,
    errors: Path | None,
    progress: Callable[[int], None] = lambda done: None,
    on_bad_row: Callable[[InputRow], None] = lambda row: None,
    *,
    workers: int | None = None,
    resume: bool = False,
    on_tally: Callable[[Tally], None] | None = None,
) -> int:
    """Answer `bulk` with the classifier in `folder`, here loaded as `classifier`; returns how many rows had no readable text.

    workers: actors, each on one core; by default as many as there are cores. They are those of the cluster at RAY_ADDRESS, which must
    see the same files under the same paths; else of this machine. With resume=True a killed run goes on with what it
    lacks. Raises MetaTextError as `predict_file` does, from a worker too.
    """
    for file in range(len(bulk.files)):
        bulk.answering(classifier, file)  # refuses one without the column before any is answered
    _, parts = bulk.open(classifier, resume=resume)
    forget_tries(parts)
    with _cluster(workers) as actors:
        spans = bulk.pending(parts, actors)
        done = sum(bulk.lengths) - sum(span.rows for span in spans)
        for rows in _answered(folder, bulk, spans, actors):
            done += rows
            progress(done)
    for row in bulk.bad_rows(parts):
        on_bad_row(row)
    if on_tally is not None:
        on_tally(total(parts.tallies(), len(classifier.classes_)))
    return bulk.join(parts, errors)


def _answered(folder: str, bulk: Bulk, spans: list[Span], actors: int) -> Iterator[int]:
    """The numbers of rows answered, as they are. Raises what a worker raised."""
    if not spans:
        return
    import ray.data
    from ray.exceptions import RayTaskError

    here = Path(folder).expanduser()
    variables = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
    ray.data.DataContext.get_current().enable_progress_bars = False
    answers = ray.data.from_items([asdict(span) for span in spans], override_num_blocks=len(spans)).map_batches(
        Worker,
        fn_constructor_args=(str(here.absolute()) if here.exists() else folder, bulk, variables),
        batch_size=1,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(spans))),
        num_cpus=1,
    )
    try:
        for row in answers.iter_rows():
            yield int(row["rows"])
    except RayTaskError as error:
        raise error.cause if isinstance(error.cause, MetaTextError) else error from None


@contextmanager
def _cluster(workers: int | None) -> Iterator[int]:
    """How many actors to start: on the cluster at RAY_ADDRESS, or on one that lives as long as the block."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with needs("ray", PURPOSE):
        import ray
    address = os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        with _without_stderr():
            if address:
                ray.init(address, **quiet)
            else:
                ray.init("local", num_cpus=workers or cores(), include_dashboard=False, **quiet)
    except ConnectionError as error:
        raise InputError(
            f"no Ray cluster lets this command in at RAY_ADDRESS={address} ({error}); check the address and the token "
            "(RAY_AUTH_MODE=token, RAY_AUTH_TOKEN), or unset RAY_ADDRESS to use the cores of this machine"
        ) from None
    try:
        yield workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()  # of a cluster at an address, the connection alone


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _without_stderr() -> Iterator[None]:
    """What is written to it by C++ too: Ray says there that it was told to say nothing."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
