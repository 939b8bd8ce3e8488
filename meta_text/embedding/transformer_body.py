"""A transformer's weights from a folder: in float32, without dropout, and none of them drawn by chance."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from meta_text.errors import ModelFileError


def load_body(folder: Path) -> Any:
    """The model that transformers makes of a folder. Call it under `one_thread_at_a_time`.

    Raises ModelFileError where the files lack weights of which a token's state is made.
    """
    from transformers import AutoModel

    # weights that the files lack are drawn from the global random state
    with _quiet_transformers(), torch.random.fork_rng(devices=[]):
        # eager: on a CPU the fused attention took three times as long in bf16 on masked short texts
        body, report = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            attn_implementation="eager",
            output_loading_info=True,
        )
    _without_chance(body, report["missing_keys"], folder)
    for dropout in (module for module in body.modules() if isinstance(module, nn.Dropout)):
        dropout.p = 0.0
    return body


def _without_chance(body: nn.Module, missing: Collection[str], folder: Path) -> None:
    """A pooler that the files lack becomes zeros, which no token state sees; else every process would hash another one."""
    lacking = sorted(name for name in missing if "pooler" not in name)
    if lacking:
        raise ModelFileError(
            f"{folder} lacks {len(lacking)} of the weights that its config.json asks for, such as {lacking[0]}; "
            "they would be random numbers. Download it again, or save the whole model there with save_pretrained"
        )
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            if name in missing:
                parameter.zero_()


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No bar over the second that loading takes, and no table of the weights that are not needed.

    Both would be drawn even where stderr is a file.
    """
    from transformers.utils import logging

    was_on, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if was_on:
            logging.enable_progress_bar()
