"""The data-set card of a run: the `README.md` that the Hugging Face hub shows.

Titles, reasons and names come from web pages, models and users. They are escaped, so that they can
add neither markup nor links nor terminal codes to the card.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlsplit

from seedfree.dataset import Dataset
from seedfree.languages import Language
from seedfree.records import Source
from seedfree.text import shown

__all__ = ["card", "plain", "table"]

_CC_BY_SA = "CC-BY-SA-4.0"
# https://huggingface.co/docs/hub/datasets-cards: the hub's own words for tasks and sizes.
_CATEGORIES = {
    "closed_qa": "question-answering",
    "summarization": "summarization",
    "multiple_choice": "multiple-choice",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_STATUS = {
    "complete": "The run reached the size that was asked for.",
    "short": "Topics ran dry before the run reached the size that was asked for.",
    "stopped": "The run was stopped before it reached the size that was asked for; it can be resumed.",
}
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:@$^=])")
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
_LONGEST = 200
_URL_SAFE = ":/?#@!$&'()*+,;=%~-._[]"


def card(
    dataset: Dataset,
    *,
    language: Language,
    generator: str,
    terms: str = "",
    status: str = "complete",
    counts: Mapping[str, object] | None = None,
    drops: Mapping[str, int] | None = None,
) -> str:
    """The card as Markdown with YAML front matter; the same text for the same arguments.

    Args:
        generator: Identity of the model that wrote the rows.
        terms: What its provider says about the use of its outputs, in a sentence or two.
        status: `"complete"`, `"short"` or `"stopped"`.
        counts: Figures of the run in the order to show them, such as requests and tokens.
        drops: Dropped rows by reason.
    """
    name = f"{plain(language.name)} ({plain(language.native)})"
    parts = [
        _front_matter(dataset, language),
        f"# Instructions in {name}",
        f"{len(dataset):,} instruction-tuning rows in {name}, written by a language model and made with seedfree: "
        "topics were generated or given, a text was found or written for each, instructions were asked for about "
        "it, and rows that broke a rule or resembled an earlier row were dropped. No existing instruction data "
        "was used as a seed. " + _STATUS.get(status, f"Status of the run: {plain(status)}."),
        "## Rows",
        _rows(dataset),
    ]
    parts += ["## Dropped rows", _drops(drops or {})]
    parts += ["## Generator", _generator(dataset, generator, terms, counts or {})]
    parts += ["## Sources and licence", _sources(dataset)]
    parts += ["## Known limits", _LIMITS]
    return "\n\n".join(parts) + "\n"


_LIMITS = """\
- No person has reviewed the rows. A model wrote them, and it can be wrong, biased or out of date.
- The filters find what they were made to find; rows that pass can still be unnatural or false.
- Only rows of tasks that promise it were checked against their source, and only names, numbers and evidence.
- The terms of the generator bind those who use its output. Some providers forbid training models that compete with \
their own."""


def _front_matter(dataset: Dataset, language: Language) -> str:
    sources = [i.source for i in dataset]
    wikipedia = any(
        s.kind == "wikipedia" or (s.license or "").upper() == _CC_BY_SA for s in sources
    )
    tasks = sorted({_CATEGORIES.get(task, "text-generation") for task in dataset.by_task})
    size = next((word for limit, word in _SIZES if len(dataset) < limit), "n>1M")
    # JSON strings are YAML strings whatever they hold; bare words are not ("no" is a boolean).
    lines = ["---", "language:", f"- {json.dumps(language.code)}"]
    lines += [f"license: {'cc-by-sa-4.0' if wikipedia else 'other'}"]
    lines += ["task_categories:", *(f"- {task}" for task in tasks)] if tasks else []
    lines += ["size_categories:", f"- {size}"]
    lines += ["tags:", "- synthetic", "- instruction-tuning", "- seedfree"]
    lines += ["configs:", "- config_name: default", "  data_files: dataset.jsonl", "---"]
    return "\n".join(lines)


def _rows(dataset: Dataset) -> str:
    cells = Counter((i.task, i.topic_kind) for i in dataset)
    kinds = list(dataset.by_topic_kind)
    lines = [["task", *(kind or "no topic" for kind in kinds), "all"]]
    for task, n in dataset.by_task.items():
        lines.append([task, *(f"{cells[task, kind]:,}" for kind in kinds), f"{n:,}"])
    lines.append(["all", *(f"{n:,}" for n in dataset.by_topic_kind.values()), f"{len(dataset):,}"])
    return table(lines)


def _drops(drops: Mapping[str, int]) -> str:
    found = sorted(((reason, n) for reason, n in drops.items() if n), key=lambda d: (-d[1], d[0]))
    if not found:
        return "None."
    total = sum(n for _, n in found)
    return table(
        [["reason", "rows"], *([reason, f"{n:,}"] for reason, n in found), ["all", f"{total:,}"]]
    )


def _generator(dataset: Dataset, generator: str, terms: str, counts: Mapping[str, object]) -> str:
    names = sorted({generator, *(i.generator for i in dataset)} - {""})
    terms = (
        plain(terms, longest=2_000)
        or "Its terms are not on record here; read them before you use the rows."
    )
    figures = [
        [key, f"{value:,}" if isinstance(value, int) else str(value)]
        for key, value in counts.items()
    ]
    text = f"{', '.join(map(plain, names)) or 'Unknown'}. {terms}"
    return f"{text}\n\n{table([['of the run', 'count'], *figures])}" if figures else text


def _sources(dataset: Dataset) -> str:
    kinds = Counter(i.source.kind for i in dataset)
    pages: dict[tuple[str, ...], list[Source]] = {}
    for one in dataset:
        source = one.source
        if source.kind not in ("written", "topic") and (source.title or source.url):
            key = (
                source.title or "",
                source.url or "",
                source.revision or "",
                source.license or "",
            )
            pages.setdefault(key, []).append(source)
    parts = [table([["source", "rows"], *([kind, f"{n:,}"] for kind, n in sorted(kinds.items()))])]
    if kinds["wikipedia"]:
        parts.append(
            "Text from Wikipedia is by its contributors, under the Creative Commons Attribution-ShareAlike 4.0 "
            "licence (https://creativecommons.org/licenses/by-sa/4.0/); rows made from it are under the same licence."
        )
    if pages:
        lines = [_page(pages[key]) for key in sorted(pages)]
        parts.append(
            "Rows were made from these texts, each changed by a model:\n\n" + "\n".join(lines)
        )
    others = sorted(set(kinds) - {"wikipedia", "written", "topic"})
    if others:
        names = ", ".join(map(plain, others))
        parts.append(f"Rows from other sources ({names}) stay under the licence of their text.")
    return "\n\n".join(parts)


def _page(uses: Sequence[Source]) -> str:
    source = uses[0]
    times = sorted({s.retrieved_at for s in uses if s.retrieved_at})
    facts = [_link(source.title or source.url or "", source.url)]
    facts += [f"revision {plain(source.revision)}"] if source.revision else []
    facts += [plain(source.license)] if source.license else ["licence not on record"]
    facts += [f"retrieved {plain(times[0])}"] if times else []
    return f"- {', '.join(facts)} ({len(uses)} row{'' if len(uses) == 1 else 's'})"


def _link(title: str, url: str | None) -> str:
    try:
        web = url is not None and urlsplit(url).scheme in ("http", "https")
    except ValueError:
        web = False
    if not web or url is None:
        return plain(title)
    return f"[{plain(title)}](<{quote(url, safe=_URL_SAFE, errors='replace')}>)"


def plain(text: str, longest: int = _LONGEST) -> str:
    """Text of unknown origin as one line that Markdown, HTML and a terminal show as it is."""
    line = shown(" ".join(text.split()))
    if len(line) > longest:
        line = line[: longest - 1] + "…"
    # HTML last: the "#" of "&#39;" must not be escaped, and "&" has no meaning to Markdown but
    # this.
    return _MARKUP.sub(r"\\\1", line).translate(_HTML)


def table(cells: Sequence[Sequence[str]]) -> str:
    """A Markdown table of cells of unknown origin; the first line is its head, every column but the first numbers."""
    head, *body = [[plain(cell) for cell in line] for line in cells]
    lines = [head, ["---", *("---:" for _ in head[1:])], *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
