"""A schedule that fits the rows: how long a sequence is and how many of them make a step.

The defaults of `QLoRAConfig` are for thousands of rows and billions of parameters. Two hundred rows
would fill twenty steps of them, in which nothing is learnt.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seedfree.dataset import Dataset
from seedfree.training.base_model import BaseModel
from seedfree.training.config import QLoRAConfig

__all__ = ["schedule"]

_LOG = logging.getLogger("seedfree")
# Enough for the warm-up, the decay and Adam's averages to do their work.
_STEPS = 150
# Tokens of a step: below, its gradient is mostly noise; above, the default is as good.
_LEAST, _MOST = 256, 8192
# Lengths of a sequence, and the share of rows that it holds whole.
_SHORTEST, _LONGEST, _WHOLE = 512, 4096, 0.99
# What a template adds to a message.
_MARKS = 8
_EPOCHS = 2.0


@dataclass(frozen=True)
class _Choice:
    value: Any
    why: str


def schedule(dataset: Dataset, base: BaseModel, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings of `QLoRAConfig` for some rows and a base model, and logs why.

    Args:
        changes: Settings that the user asks for. Others are chosen to go with them.

    Raises:
        ConfigError: The base model has no tokenizer.
    """
    tokenizer = base.tokenizer()
    texts = [[message.content for message in row.messages] for row in dataset]
    lengths = sorted(
        sum(len(ids) + _MARKS for ids in tokenizer(each, add_special_tokens=False)["input_ids"])
        for each in texts
    )
    choices = _choices(lengths, base.shape().num_parameters(), changes)
    for name, choice in choices.items():
        _LOG.info("%s=%s: %s", name, choice.value, choice.why)
    return {name: choice.value for name, choice in choices.items()}


def _choices(lengths: list[int], parameters: int, changes: Mapping[str, Any]) -> dict[str, _Choice]:
    count, tokens = len(lengths), sum(lengths)
    epochs, batch = changes.get("epochs", _EPOCHS), changes.get("batch_size", 1)
    longest = lengths[int(count * _WHOLE)] if lengths else 0
    whole = 2 ** math.ceil(math.log2(max(longest, 1)))
    length = changes.get("max_length", min(max(whole, _SHORTEST), _LONGEST))
    choices = {"max_length": _Choice(length, f"99 % of the rows have at most {longest:,} tokens")}
    wanted = min(max(tokens * epochs / _STEPS, _LEAST), _MOST)
    packed = f"packed, {count:,} rows of {tokens:,} tokens"
    steps = math.ceil(tokens / (length * batch)) * epochs
    if changes.get("packing", steps >= _STEPS):
        accumulation = max(1, round(wanted / (length * batch)))
        why = f"{packed} are {steps / accumulation:,.0f} steps; about {_STEPS} are wanted"
    else:
        choices["packing"] = _Choice(False, f"{packed} would be {steps:,.0f} steps")
        fitting = round(wanted * count / max(tokens, 1) / batch)
        accumulation = min(max(1, fitting), max(1, count // batch))
        rows = accumulation * batch
        steps = math.ceil(count / rows) * epochs
        why = f"{steps:,.0f} steps of {rows} rows; about {_STEPS} are wanted"
    choices["accumulation"] = _Choice(accumulation, why)
    if not QLoRAConfig().in_nf4(parameters):
        size = f"the base model has {parameters / 1e6:,.0f} million parameters"
        # On Gemma 3 270M, 1e-3 gave no lower loss on rows held out, and 2e-4 a higher one.
        choices["learning_rate"] = _Choice(5e-4, f"{size}; a few hundred steps have to be large")
        choices["gradient_checkpointing"] = _Choice(False, f"{size}; memory is not short")
    return {name: choice for name, choice in choices.items() if name not in changes}
