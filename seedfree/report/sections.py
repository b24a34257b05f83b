"""The sections of the page, in its order: each takes the facts and returns escaped HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from itertools import compress
from typing import Any

from seedfree.outcome import code
from seedfree.records import Instruction
from seedfree.report.browser import web_address
from seedfree.report.charts import bar, dots, histogram, quantile, stacked
from seedfree.report.diagnosis import page_of
from seedfree.report.embeddings import Embeddings
from seedfree.report.facts import Facts
from seedfree.report.markup import filtered, rows_of, share, table, text

__all__ = ["Section", "cost", "funnel", "likeness", "losses", "measures", "pages", "tasks"]

# Lines of a table of facets; a facet with more values shows the commonest.
_MOST_VALUES = 8
_KINDS = {"general": "general", "cultural": "cultural", "given": "given", "": "no topic"}


@dataclass(frozen=True)
class Section:
    """A part of the page. `body` is HTML, empty where there is nothing to show."""

    id: str
    title: str
    lead: str
    body: str

    def html(self) -> str:
        return (
            f'<section id="{self.id}" aria-labelledby="{self.id}-title">'
            f'<h2 id="{self.id}-title">{self.title}</h2><p class="lead">{self.lead}</p>'
            f"{self.body}</section>"
        )


def funnel(facts: Facts) -> Section:
    """Counts what each stage left for the next."""
    unread = sum(row.reason.startswith("reply: ") for row in facts.dropped)
    alike = sum(row.reason.startswith("diversity: ") for row in facts.dropped)
    surplus = sum(row.reason == "surplus" for row in facts.dropped)
    parsed = len(facts.rows) - unread
    varied = len(facts.kept) + surplus
    steps = [
        ("topics", facts.stats.topics),
        ("contexts", facts.stats.contexts),
        ("prompts answered", facts.stats.jobs),
        ("rows read from replies", parsed),
        ("left by the filters", varied + alike),
        ("left by the diversity filter", varied),
        ("kept", len(facts.kept)),
    ]
    steps = [(name, n) for name, n in steps if n]
    most = max((n for _, n in steps), default=1)
    lines, before = [], 0
    for name, n in steps:
        # Topics give several prompts each: only rows are lost from one step to the next.
        lost = f"−{before - n:,}" if name in dict(steps[-4:]) and 0 < n < before else ""
        lines.append([name, f"{n:,}", bar(n / most), lost])
        before = n
    body = table("From topics to rows", ["stage", "number", "", "lost"], lines, quiet=True)
    lead = "How much of each stage was left for the next. One text serves several prompts."
    return Section("funnel", "From topics to rows", lead, body)


def losses(facts: Facts) -> Section:
    """Lists why rows were dropped, doubted and never made."""
    lines = [
        [
            filtered("reason", why, why),
            f"{n:,}",
            share(n, len(facts.rows), 1),
            bar(n / len(facts.rows)),
        ]
        for why, n in Counter(code(row.reason) for row in facts.dropped).most_common()
    ]
    body = ""
    if lines:
        head = ["reason", "rows", "share", ""]
        body += table("Dropped rows by reason", head, lines)
    if facts.stats.checks:
        checks = [
            [
                text(rule),
                *(f"{counts.get(name, 0):,}" for name in ("raised", "upheld", "overturned")),
                bar(counts.get("overturned", 0) / (counts.get("raised", 0) or 1)),
            ]
            for rule, counts in facts.stats.checks.items()
        ]
        head = ["doubt", "raised", "upheld", "overturned", ""]
        body += table("Doubts that the appeal settled", head, checks)
    requests = [
        [text(stage), text(why), f"{n:,}"]
        for stage, counts in facts.stats.stages.items()
        for why, n in (counts.get("lost") or {}).items()
    ]
    if requests:
        caption = "Requests, lookups and texts that gave nothing"
        body += table(caption, ["stage", "reason", "times"], requests, words=2)
    lead = (
        "A fact drops a row at once. A doubt goes to the appeal, which upholds it or overturns "
        "it with a quotation. Surplus rows are sound, and were not needed."
    )
    return Section("losses", "What was lost, and why", lead, body)


def tasks(facts: Facts) -> Section:
    """Counts rows by task, kind of topic and facet."""
    kinds = [kind for kind in _KINDS if any(row.topic_kind == kind for row in facts.kept)]
    cells = Counter((row.task, row.topic_kind) for row in facts.kept)
    lost = Counter(row.task for row in facts.dropped)
    lines = []
    counts = facts.run.dataset.by_task
    for task in sorted({row.task for row in facts.rows}):
        n = counts.get(task, 0)
        by_kind = [f"{cells[task, kind]:,}" for kind in kinds]
        drawn = bar(n / max(counts.values(), default=1))
        lines.append([filtered("task", task, task), *by_kind, f"{n:,}", drawn, f"{lost[task]:,}"])
    head = ["task", *(_KINDS[kind] for kind in kinds), "all kept", "", "dropped"]
    body = table("Kept rows by task and kind of topic", head, lines) if lines else ""
    body += _facets(facts)
    lead = "Tasks have equal shares of the rows. Facets are what was drawn for each request."
    return Section("tasks", "Tasks, topics and facets", lead, body)


def _facets(facts: Facts) -> str:
    if facts.variety is None:
        return ""
    figures, tables = facts.variety, []
    wanted = _wanted_shares(facts)
    for name, counts in figures.facets.items():
        total = sum(counts.values())
        lines = [
            [
                f'<span dir="auto">{text(value)}</span>',
                f"{n / total:.0%}",
                bar(n / total),
                f"{wanted[value]:.0%}" if value in wanted else "",
            ]
            for value, n in list(counts.items())[:_MOST_VALUES]
        ]
        more = f", the commonest of {len(counts)}" if len(counts) > _MOST_VALUES else ""
        caption = f"{name}: {rows_of(total)}{more}"
        asks = any(line[-1] for line in lines)
        head = ["value", "share", "", "wanted"]
        cut = 4 if asks else 3
        tables.append(table(caption, head[:cut], [line[:cut] for line in lines]))
    cells = ""
    if figures.cells:
        cells = (
            f"<p>Topics cover {figures.cells:,} cells of the language's facets; the largest "
            f"holds {figures.largest_cell:.1%} of the rows.</p>"
        )
    return f'{cells}<div class="pair">{"".join(tables)}</div>'


def _wanted_shares(facts: Facts) -> dict[str, float]:
    if facts.language is None:
        return {}
    shares = [*facts.language.shares("request_forms"), *facts.language.shares("answer_lengths")]
    return {each.text: each.share / 100 for each in shares}


def measures(facts: Facts) -> Section:
    """Shows how varied the rows are, beside what the language's file wants."""
    figures = facts.variety
    lead = "How different the rows are from each other, beside what the language's file wants."
    if figures is None or not figures.rows:
        return Section("variety", "Variety", lead, "")
    opening, times = figures.commonest_opening
    lines = [
        ["different openings of instructions", f"{figures.openings:.0%}", ""],
        [f"commonest opening, “<bdi>{text(opening)}</bdi>”", f"{times:.1%}", "to 10%"],
        ["instructions with a question mark", f"{figures.question_marks:.0%}", "from 20%"],
        ["users who introduce themselves", f"{figures.introductions:.0%}", "to 10%"],
        ["near-duplicates dropped, by rows", f"{figures.duplicates:.1%}", "to 10%"],
    ]
    lines += [
        [f"{name} of words that occur before", f"{figures.repeated[n]:.0%}", ""]
        for n, name in ((2, "pairs"), (3, "triples"))
        if n in figures.repeated
    ]
    body = table("Measures", ["measure", "this run", "good"], lines)
    names = list(figures.length_targets)
    shares = [("wanted", list(figures.length_targets.values()))]
    shares += [(task, list(bands.values())) for task, bands in figures.lengths.items()]
    lines = [
        [text(task), stacked(each), *(f"{part:.0%}" for part in each)] for task, each in shares
    ]
    caption = "Answers by length in characters"
    body += table(caption, ["task", "", *map(text, names)], lines)
    return Section("variety", "Variety", lead, body)


def likeness(facts: Facts) -> Section:
    """Draws lengths, nearest rows and a map of all rows."""
    asked = facts.trace.asked
    texts = [
        row.input or asked[row.id].parts[1] for row in facts.kept if row.id in asked or row.input
    ]
    lengths = [
        ("Instructions", [len(row.instruction) for row in facts.kept]),
        ("Answers", [len(row.output) for row in facts.kept]),
        ("Source texts", [len(each) for each in texts if each]),
    ]
    charts = [histogram(f"{name}, characters", values, low=0) for name, values in lengths if values]
    known = facts.embeddings
    if known is not None:
        charts.append(_nearest(facts, known))
    body = f'<div class="multiples">{"".join(charts)}</div>' if charts else ""
    if known is not None:
        body += _map(facts, known)
    lead = (
        "How long the kept rows' texts are, how near each row lies to its nearest other row, and "
        "where rows lie to each other: near dots are rows alike in meaning."
    )
    return Section("lengths", "Lengths and likeness", lead, body)


def _nearest(facts: Facts, known: Embeddings) -> str:
    lost = [
        row.similarity
        for row in facts.dropped
        if row.similarity is not None and code(row.reason) == "diversity: near-duplicate"
    ]
    low = min(0.5, *known.nearest, *lost) if known.nearest else 0.5
    return histogram(
        "Nearest row, cosine",
        known.nearest,
        lost=lost,
        low=round(low, 1),
        high=1.0,
        marks=facts.thresholds,
        digits=2,
    )


def _map(facts: Facts, known: Embeddings) -> str:
    points, by_task = known.points, dict[str, list[tuple[float, float]]]()
    for row in facts.kept:
        if row.id in points:
            by_task.setdefault(row.task, []).append(points[row.id])
    links = [
        (row.id, points[row.id], points[of])
        for row in facts.dropped
        if row.id in points and (of := row.duplicate_of) is not None and of in points
    ]
    kept = [point for each in by_task.values() for point in each]
    said = f"{len(kept):,} of {len(facts.kept):,} kept rows"
    if links:
        said += (
            f"; in orange {len(links):,} near-duplicates, each with a line to the row it is like"
        )
    said += f"; two directions hold {known.explained:.0%} of the variance"
    whole = dots("Map of the rows", [], highlighted=kept, links=links, said=said)
    small = "".join(
        dots(f"{task}: {len(by_task[task]):,}", kept, highlighted=by_task[task], size=200)
        for task in sorted(by_task)
    )
    note = f'<p class="note">Vectors by {text(known.encoder)}. Press a dot to open its row.</p>'
    return f'<div class="maps">{whole}<div class="multiples small">{small}</div></div>{note}'


def cost(facts: Facts) -> Section:
    """Lists requests, tokens, prices and times by stage and model."""
    lines = []
    for stage, counts in facts.stats.stages.items():
        taken = facts.trace.seconds.get(stage, ())
        times = [f"{quantile(taken, part):,.0f}" if taken else "" for part in (0.5, 0.9)]
        lines.append([text(stage), *_numbers(counts, "asked", "got"), *_used(counts), *times])
    head = ["stage", "asked", "got", "requests", "tokens in", "tokens out", "USD"]
    body = ""
    if lines:
        caption = "By stage; seconds are from the record of a request to that of its reply"
        body += table(caption, *_without_nothing([*head, "median s", "90% s"], lines))
    models = [
        [f'<span dir="auto">{text(name)}</span>', *_used(counts)]
        for name, counts in facts.stats.models.items()
    ]
    if models:
        body += table("By model", *_without_nothing(["model", *head[3:]], models))
    return Section("cost", "Cost and time", "What was asked, and what it took.", body)


def pages(facts: Facts) -> Section:
    """Lists every page that rows were made from, as its licence asks."""
    by_page: dict[str, list[Instruction]] = {}
    for row in facts.kept:
        if name := page_of(row):
            by_page.setdefault(name, []).append(row)
    lines = []
    for name, rows in sorted(by_page.items(), key=lambda page: (-len(page[1]), page[0])):
        source = rows[0].source
        title = f"<bdi>{text(source.title or name)}</bdi>"
        if address := web_address(source.url):
            title = f'<a href="{escape(address)}" rel="noopener noreferrer">{title}</a>'
        licence = text(source.license or "not on record")
        lines.append([title, licence, filtered("page", name, f"{len(rows):,}")])
    body = ""
    if lines:
        caption, head = "Pages that rows were made from", ["page", "licence", "rows"]
        # So high that the keys have to scroll it.
        body = (
            '<div class="scroll" tabindex="0" role="region" aria-label="Source pages">'
            f"{table(caption, head, lines, words=2, quiet=True)}</div>"
        )
    lead = f"{len(by_page):,} pages; their texts stay under their licences."
    return Section("pages", "Source pages", lead, body)


def _without_nothing(head: list[str], lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Leaves out columns without a number, such as the prices of a model that runs here."""
    there = [any(cell.strip("0.") for cell in column) for column in zip(*lines, strict=True)]
    head, *lines = [list(compress(line, there)) for line in (head, *lines)]
    return head, lines


def _numbers(counts: Mapping[str, Any], *names: str) -> list[str]:
    return [f"{int(counts[name]):,}" if name in counts else "" for name in names]


def _used(counts: Mapping[str, Any]) -> list[str]:
    numbers = _numbers(counts, "requests", "input_tokens", "output_tokens")
    usd = counts.get("usd")
    return [*numbers, f"{usd:,.2f}" if isinstance(usd, (int, float)) else ""]
