"""The cards that the Hugging Face hub shows: of a run's data set, and of a trained adapter.

Each is the text of a `README.md`. Titles, reasons and names come from web pages, models and users.
They are escaped, so that they can add neither markup nor links nor terminal codes to a card.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from urllib.parse import quote, urlsplit

from seedfree.languages import Language
from seedfree.records import KEYS, SOURCE_KEYS, Instruction, Source
from seedfree.text import shown

__all__ = ["dataset_card", "model_card", "plain", "public_name", "table"]

# https://huggingface.co/docs/hub/datasets-cards: the hub's own words for tasks and sizes.
_CATEGORIES = {
    "closed_qa": "question-answering",
    "summarization": "summarization",
    "multiple_choice": "multiple-choice",
    "open_qa": "question-answering",
    "classification": "text-classification",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
# Columns that are no text by themselves, but hold texts by name.
_NESTED = {
    "facets": ("list", ("name", "value")),
    "checks": ("list", ("rule", "detail", "verdict")),
    "messages": ("list", ("role", "content")),
    "source": ("struct", SOURCE_KEYS),
}
# The one value that is no text.
_TYPES = {"fictional": "bool"}
_CC_BY_SA = "CC-BY-SA-4.0"
# Sources that are no text from elsewhere.
_WITHOUT_TEXT = frozenset({"written", "topic"})
_STATUS = {
    "": "",
    "complete": "The run reached the size that was asked for.",
    "short": "Topics ran dry before the run reached the size that was asked for.",
    "stopped": "The run was stopped before it reached the size that was asked for; it can be "
    "resumed.",
}
_DATASET_LIMITS = """\
- No person has reviewed the rows. A model wrote them, and it can be wrong, biased or out of date.
- The filters find what they were made to find; rows that pass can still be unnatural or false.
- Only rows of tasks that promise it were checked against their source, and only names, numbers \
and evidence.
- The terms of the generator bind those who use its output. Some providers forbid training models \
that compete with their own."""


def dataset_card(
    dataset: Sequence[Instruction],
    *,
    language: Language,
    generator: str,
    terms: str = "",
    terms_page: str = "",
    status: str = "",
    counts: Mapping[str, object] | None = None,
    drops: Mapping[str, int] | None = None,
    checks: Mapping[str, Mapping[str, int]] | None = None,
    losses: Mapping[str, Mapping[str, int]] | None = None,
    monotonous: Sequence[str] = (),
) -> str:
    """Describes a run's data set, as Markdown with YAML front matter.

    The same arguments give the same text.

    Args:
        generator: Identity of the model that wrote the rows.
        terms: What its provider says about the use of its outputs, in a sentence or two.
        terms_page: Where the provider says so.
        status: `"complete"`, `"short"` or `"stopped"`; empty where the rows are not a whole run.
        counts: Figures of the run in the order to show them, such as requests and tokens.
        drops: Dropped rows by reason; `None` where nothing is known of them.
        checks: By rule, doubts `raised`, `upheld` and `overturned`.
        monotonous: What lacks variety, a line each.
        losses: For each stage, requests and lookups that gave nothing, by reason.
    """
    name = plain(language.name) + (f" ({plain(language.native)})" if language.native else "")
    parts = [
        _dataset_front_matter(dataset, language, terms_page),
        f"# Instructions in {name}",
        _summary(dataset, name, status),
        "## Rows",
        _rows_by_topic_kind(dataset) + _list("What lacks variety:", monotonous),
    ]
    if drops is not None:
        parts += ["## Dropped rows", _drops(drops) + _checks(checks or {}) + _losses(losses or {})]
    parts += [
        "## Generator",
        _generator(dataset, generator, terms, counts or {}),
        "## Sources and licence",
        _pages_and_licences(dataset),
        "## Known limits",
        _DATASET_LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _summary(dataset: Sequence[Instruction], name: str, status: str) -> str:
    people = _by_people(dataset)
    text = (
        f"{len(dataset):,} instruction-tuning rows in {name}, written by a language model and made "
        "with seedfree: topics were generated or given, a text was found or written for each, "
        "instructions were asked for about it, and rows that broke a rule or resembled an earlier "
        "row were dropped. "
    )
    if people:
        text += f"{people:,} of them are not: people wrote these. "
    else:
        text += "No existing instruction data was used as a seed. "
    return (text + _STATUS.get(status, f"Status of the run: {plain(status)}.")).rstrip()


def _by_people(dataset: Sequence[Instruction]) -> int:
    return sum(row.source.kind == "human" for row in dataset)


def _dataset_front_matter(
    dataset: Sequence[Instruction], language: Language, terms_page: str
) -> str:
    kinds = {row.source.kind for row in dataset}
    sharealike = any((row.source.license or "").upper() == _CC_BY_SA for row in dataset)
    size = next((word for limit, word in _SIZES if len(dataset) < limit), "n>1M")
    codes = sorted({row.language for row in dataset} - {""}) or [language.code]
    lines = ["---", f"pretty_name: {_yaml(f'Instructions in {language.name}')}"]
    lines += _entries("language", map(_yaml, codes))
    # One row under a share-alike licence binds the whole set. For other texts none is claimed.
    if "wikipedia" in kinds or sharealike:
        lines += ["license: cc-by-sa-4.0"]
    else:
        # What is left is what binds those who use the generator's words.
        lines += ["license: other", "license_name: terms-of-the-generator"]
        lines += [f"license_link: {_yaml(terms_page)}"] * bool(terms_page)
    written = ["machine-generated"] * (_by_people(dataset) < len(dataset))
    found = ["found"] * bool(kinds - _WITHOUT_TEXT)
    lines += _entries("annotations_creators", written + ["found"] * ("human" in kinds))
    lines += _entries("language_creators", written + found)
    from_wikipedia = ["extended|wikipedia"] * ("wikipedia" in kinds)
    lines += _entries("source_datasets", ["original"] * (kinds != {"wikipedia"}) + from_wikipedia)
    tasks = {_CATEGORIES.get(row.task, "text-generation") for row in dataset}
    lines += _entries("task_categories", sorted(tasks))
    lines += _entries("size_categories", [size])
    lines += _entries("tags", ["synthetic", "instruction-tuning", "seedfree"])
    # The folder holds dropped.jsonl too, which the hub's viewer would otherwise take for rows.
    lines += ["configs:", "- config_name: default", "  data_files:"]
    lines += ["  - split: train", "    path: dataset.jsonl"]
    lines += [*_column_types(), "  splits:", "  - name: train"]
    return "\n".join([*lines, f"    num_examples: {len(dataset)}", "---"])


def _entries(name: str, values: Iterable[str]) -> list[str]:
    """Returns the lines of a list in YAML; none for an empty one."""
    lines = [f"- {value}" for value in values]
    return [f"{name}:", *lines] if lines else []


def _column_types() -> list[str]:
    """Returns the types of the columns, as `datasets` reads them from a card.

    It would guess them from the first rows: of a column that is empty there, or holds dates, it
    would make something else than text.
    """
    lines = ["dataset_info:", "  features:"]
    for key in KEYS:
        lines.append(f"  - name: {key}")
        if key not in _NESTED:
            lines.append("    dtype: string")
            continue
        kind, names = _NESTED[key]
        lines.append(f"    {kind}:")
        for name in names:
            lines += [f"    - name: {name}", f"      dtype: {_TYPES.get(name, 'string')}"]
    return lines


def _rows_by_topic_kind(dataset: Sequence[Instruction]) -> str:
    cells = Counter((row.task, row.topic_kind) for row in dataset)
    by_kind = _counted(row.topic_kind for row in dataset)
    kinds = list(by_kind)
    lines = [["task", *(kind or "no kind" for kind in kinds), "all"]]
    for task, n in _counted(row.task for row in dataset).items():
        lines.append([task, *(f"{cells[task, kind]:,}" for kind in kinds), f"{n:,}"])
    lines.append(["all", *(f"{n:,}" for n in by_kind.values()), f"{len(dataset):,}"])
    return table(lines)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _list(head: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return "\n\n".join(["", head, "\n".join(f"- {plain(line)}" for line in lines)])


def _drops(drops: Mapping[str, int]) -> str:
    counted = {reason: n for reason, n in drops.items() if n}
    if not counted:
        return "None."
    commonest = sorted(counted.items(), key=lambda drop: (-drop[1], drop[0]))
    lines = [["reason", "rows"], *([reason, f"{n:,}"] for reason, n in commonest)]
    return table([*lines, ["all", f"{sum(counted.values()):,}"]])


def _checks(checks: Mapping[str, Mapping[str, int]]) -> str:
    if not checks:
        return ""
    names = ("raised", "upheld", "overturned")
    lines = [[rule, *(f"{counts[name]:,}" for name in names)] for rule, counts in checks.items()]
    head = "\n\nDoubts about rows, which a model was asked to settle with a quotation:\n\n"
    return head + table([["rule", *names], *lines])


def _losses(losses: Mapping[str, Mapping[str, int]]) -> str:
    if not losses:
        return ""
    lines = [[stage, why, f"{n:,}"] for stage, by in losses.items() for why, n in by.items()]
    head = "\n\nRequests, lookups and texts that gave nothing, by stage:\n\n"
    return head + table([["stage", "reason", "times"], *lines])


def _generator(
    dataset: Sequence[Instruction], generator: str, terms: str, counts: Mapping[str, object]
) -> str:
    names = sorted({generator, *(row.generator for row in dataset)} - {""})
    unknown = "Its terms are not on record here; read them before you use the rows."
    text = f"{', '.join(map(plain, names)) or 'Unknown'}. {_terms_text(terms) or unknown}"
    if not counts:
        return text
    return f"{text}\n\n{_facts('of the run', 'count', counts)}"


def _pages_and_licences(dataset: Sequence[Instruction]) -> str:
    kinds = Counter(row.source.kind for row in dataset)
    parts = [table([["source", "rows"], *([kind, f"{n:,}"] for kind, n in sorted(kinds.items()))])]
    if kinds["wikipedia"]:
        parts.append(
            "Text from Wikipedia is by its contributors, under the Creative Commons "
            "Attribution-ShareAlike 4.0 licence (https://creativecommons.org/licenses/by-sa/4.0/); "
            "rows made from it are under the same licence."
        )
    # Attribution names each page once, however many rows were made from it and at whatever times.
    pages: dict[tuple[str, ...], list[Source]] = {}
    for row in dataset:
        source = row.source
        if source.kind not in _WITHOUT_TEXT and (source.title or source.url):
            page = (source.title, source.document, source.revision, source.license)
            pages.setdefault(tuple(value or "" for value in page), []).append(source)
    if pages:
        lines = "\n".join(_page(pages[page]) for page in sorted(pages))
        parts.append(f"Rows were made from these texts, each changed by a model:\n\n{lines}")
    others = sorted(set(kinds) - _WITHOUT_TEXT - {"wikipedia"})
    if others:
        names = ", ".join(map(plain, others))
        parts.append(f"Rows from other sources ({names}) stay under the licence of their text.")
    return "\n\n".join(parts)


def _page(uses: Sequence[Source]) -> str:
    """Writes a line about one page. `uses` are the sources of the rows that were made from it."""
    source = uses[0]
    times = sorted({use.retrieved_at for use in uses if use.retrieved_at})
    facts = [_link(source.title or source.url or "", source.url)]
    if source.revision:
        facts.append(f"revision {plain(source.revision)}")
    facts.append(plain(source.license or "licence not on record"))
    if times:
        facts.append(f"retrieved {plain(times[0])}")
    return f"- {', '.join(facts)} ({len(uses)} row{'' if len(uses) == 1 else 's'})"


# What may stand in an address as it is: RFC 3986's reserved and unreserved characters, and the
# percent sign of what is quoted already.
_URL_SAFE = ":/?#@!$&'()*+,;=%~-._[]"


def _link(title: str, url: str | None) -> str:
    try:
        web = url is not None and urlsplit(url).scheme in ("http", "https")
    except ValueError:
        # not an address at all, such as one with half a bracket of IPv6
        web = False
    if not web or url is None:
        return plain(title)
    # Between angle brackets a closing parenthesis in the address does not end the link.
    return f"[{plain(title)}](<{quote(url, safe=_URL_SAFE, errors='replace')}>)"


_MODEL_LIMITS = """\
- No person has reviewed the rows that a model wrote, and none this model's answers. It can be \
wrong, biased or out of date, and it has had no safety training beyond its base model's.
- Held-out loss compares trainings of one base model on one data set, not models with each other.
- It answers best in the form of its training: the chat template that is saved with its \
tokenizer."""

_USE = """\
```python
from peft import AutoPeftModelForCausalLM
from transformers import AutoTokenizer

adapter = "adapter"  # or this repository's name on the hub
tokenizer = AutoTokenizer.from_pretrained(adapter)
model = AutoPeftModelForCausalLM.from_pretrained(adapter)
chat = [{"role": "user", "content": "..."}]
inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", \
return_dict=True)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=256)[0]))
```"""


def model_card(
    dataset: Sequence[Instruction],
    *,
    base_model: str,
    recipe: Mapping[str, object],
    license: str = "other",
    terms: str = "",
    figures: Mapping[str, object] | None = None,
    versions: Mapping[str, str] | None = None,
    curve: str = "",
) -> str:
    """Describes a trained adapter, as Markdown with YAML front matter.

    The same arguments give the same text.

    Args:
        dataset: All rows, those held out too.
        base_model: Name on the hub, or a path, of which the card shows the last part alone.
        recipe: Every setting of the training by name, in the order to show them.
        license: The hub's word for the licence of the adapter, such as `apache-2.0`. That of the
            base model binds it.
        terms: What the providers of the generators say about the use of their outputs, in a
            sentence or two.
        figures: Of the training, in the order to show them: losses, steps, rows cut.
        versions: Of the packages that trained, by name.
        curve: File name of a picture of the losses, beside the card.
    """
    base = public_name(base_model)
    people = _by_people(dataset)
    parts = [
        _model_front_matter(dataset, base, license),
        f"# {plain(base)}, trained on {len(dataset):,} instructions",
        f"A QLoRA adapter for {plain(base)}, made with seedfree: {len(dataset) - people:,} of its "
        f"rows were written by a language model and {people:,} by people. The base model's weights "
        "are not in it.",
        "## Use",
        _USE,
        "## Training data",
        _rows_by_author(dataset),
        _sources_by_author(dataset),
        "## Recipe",
        _facts("setting", "value", recipe),
    ]
    if figures:
        parts += ["## Training", _facts("of the training", "value", figures)]
    if curve:
        parts.append(f"![Loss by step]({curve})")
    if versions:
        packages = (f"{plain(name)} {plain(version)}" for name, version in versions.items())
        parts.append(f"Made with {', '.join(packages)}.")
    parts += ["## Licence and terms", _licence_and_terms(base, terms)]
    parts += ["## Known limits", _MODEL_LIMITS]
    return "\n\n".join(parts) + "\n"


_ON_THE_HUB = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def public_name(base_model: str) -> str:
    """Returns a base model's name as strangers may read it: of a path the last part alone."""
    return base_model if _ON_THE_HUB.fullmatch(base_model) else PurePath(base_model).name


def _model_front_matter(dataset: Sequence[Instruction], base: str, license: str) -> str:
    # https://huggingface.co/docs/hub/model-cards
    languages = sorted({row.language for row in dataset} - {""})
    lines = ["---"]
    if languages:
        lines += ["language:", *(f"- {_yaml(code)}" for code in languages)]
    lines += [f"license: {_yaml(license)}"]
    if _ON_THE_HUB.fullmatch(base):
        lines += [f"base_model: {_yaml(base)}"]
    lines += ["base_model_relation: adapter", "library_name: peft", "pipeline_tag: text-generation"]
    lines += ["tags:", "- qlora", "- instruction-tuning", "- synthetic", "- seedfree", "---"]
    return "\n".join(lines)


def _rows_by_author(dataset: Sequence[Instruction]) -> str:
    people = Counter(row.task for row in dataset if row.source.kind == "human")
    lines = [["task", "by a model", "by people", "all"]]
    for task, n in _counted(row.task for row in dataset).items():
        lines.append([task, f"{n - people[task]:,}", f"{people[task]:,}", f"{n:,}"])
    n, by_people = len(dataset), people.total()
    lines.append(["all", f"{n - by_people:,}", f"{by_people:,}", f"{n:,}"])
    return table(lines)


def _sources_by_author(dataset: Sequence[Instruction]) -> str:
    counts = Counter(
        (row.source.kind, row.generator or "unknown", row.source.license or "") for row in dataset
    )
    lines = [["source", "written by", "licence of the text", "rows"]]
    for (kind, generator, license), n in sorted(counts.items()):
        unlicensed = "no outside text" if kind in _WITHOUT_TEXT else "not on record"
        lines.append([kind, generator, license or unlicensed, f"{n:,}"])
    return f"{table(lines)}\n\nThe data set's own card names every page that rows were made from."


def _licence_and_terms(base: str, terms: str) -> str:
    unknown = "Their terms are not on record here; read them before you use the model."
    return (
        f"The licence of {plain(base)} binds its adapters. The rows stay under the licence of their"
        " texts. The terms of those that wrote the rows bind those who train on them; some forbid"
        f" training models that compete with their own. {_terms_text(terms) or unknown}"
    )


def table(cells: Sequence[Sequence[str]]) -> str:
    """Writes a Markdown table of cells of unknown origin.

    The first line is its head. Every column but the first is set to the right, as numbers are.
    """
    head, *body = [[plain(cell) for cell in line] for line in cells]
    lines = [head, ["---", *("---:" for _ in head[1:])], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _facts(name: str, value: str, facts: Mapping[str, object]) -> str:
    """Writes a table of two columns: names, and what each stands at."""
    return table([[name, value], *([key, _value(fact)] for key, fact in facts.items())])


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "none"
    # Before the integers: a bool is one.
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _yaml(text: str) -> str:
    # JSON strings are YAML strings whatever they hold; bare words are not ("no" is a boolean).
    return json.dumps(text)


def _terms_text(terms: str) -> str:
    # Terms are a few sentences, longer than any title or name.
    return plain(terms, longest=2_000)


_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:@$^=])")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})


def plain(text: str, longest: int = 200) -> str:
    """Makes text of unknown origin one line that Markdown, HTML and a terminal show as it is.

    Args:
        longest: Characters at which the text is cut.
    """
    line = shown(" ".join(text.split()))
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    # HTML last: the "#" of "&#39;" must not be escaped, and Markdown reads "&" in no other way.
    return _MARKUP.sub(r"\\\1", line).translate(_HTML)
