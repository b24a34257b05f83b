"""The card of a trained adapter: the `README.md` that the Hugging Face hub shows beside a model."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath

from seedfree.card import plain, table
from seedfree.dataset import Dataset
from seedfree.training.config import QLoRAConfig

__all__ = ["model_card", "told"]

# https://huggingface.co/docs/hub/model-cards
_ON_THE_HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_LIMITS = """\
- No person has reviewed the rows that a model wrote, and none this model's answers. It can be wrong, biased or out of \
date, and it has had no safety training beyond its base model's.
- Held-out loss compares trainings of one base model on one data set, not models with each other.
- It answers best in the form of its training: the chat template that is saved with its tokenizer."""


def model_card(
    dataset: Dataset,
    *,
    base_model: str,
    config: QLoRAConfig,
    license: str = "other",
    terms: str = "",
    figures: Mapping[str, object] | None = None,
    versions: Mapping[str, str] | None = None,
    curve: str = "",
) -> str:
    """The card as Markdown with YAML front matter; the same text for the same arguments.

    Args:
        dataset: All rows, those held out too.
        base_model: Name on the hub, or a path, of which the card shows the last part alone.
        license: The hub's word for the licence of the adapter, such as `apache-2.0`; that of the
            base model binds it.
        terms: What the providers of the generators say about the use of their outputs, in a
            sentence or two.
        figures: Of the training, in the order to show them: losses, steps, rows cut, the data set's
            digest.
        versions: Of the packages that trained, by name.
        curve: File name of a picture of the losses, beside the card.
    """
    base = told(base_model)
    people = sum(one.source.kind == "human" for one in dataset)
    parts = [
        _front_matter(dataset, base, license),
        f"# {plain(base)}, trained on {len(dataset):,} instructions",
        f"A QLoRA adapter for {plain(base)}, made with seedfree: {len(dataset) - people:,} of its rows were written "
        f"by a language model and {people:,} by people. The base model's weights are not in it.",
        "## Use",
        _use(),
        "## Training data",
        _rows(dataset),
        _sources(dataset),
        "## Recipe",
        table(
            [
                ["setting", "value"],
                *([name, _value(value)] for name, value in config.model_dump().items()),
            ]
        ),
    ]
    if figures:
        parts += [
            "## Training",
            table([["of the training", "value"], *([k, _value(v)] for k, v in figures.items())]),
        ]
    if curve:
        parts += [f"![Loss by step]({curve})"]
    if versions:
        parts += [
            "Made with "
            + ", ".join(f"{plain(name)} {plain(v)}" for name, v in versions.items())
            + "."
        ]
    parts += ["## Licence and terms", _terms(base, terms), "## Known limits", _LIMITS]
    return "\n\n".join(parts) + "\n"


def told(base_model: str) -> str:
    """A base model's name as strangers may read it: of a path the last part alone."""
    return base_model if _ON_THE_HUB.fullmatch(base_model) else PurePath(base_model).name


def _front_matter(dataset: Dataset, base: str, license: str) -> str:
    languages = sorted({one.language for one in dataset} - {""})
    # JSON strings are YAML strings whatever they hold; bare words are not ("no" is a boolean).
    lines = ["---"]
    lines += ["language:", *(f"- {json.dumps(code)}" for code in languages)] if languages else []
    lines += [f"license: {json.dumps(license)}"]
    lines += [f"base_model: {json.dumps(base)}"] if _ON_THE_HUB.fullmatch(base) else []
    lines += ["base_model_relation: adapter", "library_name: peft", "pipeline_tag: text-generation"]
    lines += ["tags:", "- qlora", "- instruction-tuning", "- synthetic", "- seedfree", "---"]
    return "\n".join(lines)


def _use() -> str:
    return """\
```python
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

adapter = "adapter"  # or this repository's name on the hub
tokenizer = AutoTokenizer.from_pretrained(adapter)
model = AutoPeftModelForCausalLM.from_pretrained(adapter)
chat = [{"role": "user", "content": "..."}]
inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=256)[0]))
```"""


def _rows(dataset: Dataset) -> str:
    people = Counter(one.task for one in dataset if one.source.kind == "human")
    lines = [["task", "by a model", "by people", "all"]]
    for task, n in dataset.by_task.items():
        lines.append([task, f"{n - people[task]:,}", f"{people[task]:,}", f"{n:,}"])
    lines.append(
        ["all", f"{len(dataset) - people.total():,}", f"{people.total():,}", f"{len(dataset):,}"]
    )
    return table(lines)


def _sources(dataset: Dataset) -> str:
    found = Counter(
        (one.source.kind, one.generator or "unknown", one.source.license or "") for one in dataset
    )
    lines = [["source", "written by", "licence of the text", "rows"]]
    for (kind, generator, license), n in sorted(found.items()):
        none = "no outside text" if kind in ("written", "topic") else "not on record"
        lines.append([kind, generator, license or none, f"{n:,}"])
    return table(lines) + "\n\nThe data set's own card names every page that rows were made from."


def _terms(base: str, terms: str) -> str:
    said = (
        plain(terms, longest=2_000)
        or "Their terms are not on record here; read them before you use the model."
    )
    return (
        f"The licence of {plain(base)} binds its adapters. The rows stay under the licence of their texts. The terms"
        " of those that wrote the rows bind those who train on them; some forbid training models that compete "
        f"with their own. {said}"
    )


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)
