"""The page: its parts, filled into `page.html` with its style, its script and its rows."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from html import escape
from pathlib import Path

from seedfree._files import claim_file, write_atomic
from seedfree.report import sections
from seedfree.report.browser import as_json, browser_rows
from seedfree.report.diagnosis import Finding
from seedfree.report.facts import Facts
from seedfree.report.given import Reported
from seedfree.report.markup import code, duration, filtered, rows_of, share, short, table, text
from seedfree.report.results import evaluation_tables, training_curves
from seedfree.text import clean

__all__ = ["write_report"]

_HERE = Path(__file__).parent
_MARK = "<!doctype html>\n<!-- A report by seedfree. -->\n"
# Rows with a link of their own in a finding; the others are a filter away.
_MOST_LINKS = 5


def write_report(
    run: Reported,
    out: str | Path | None = None,
    *,
    model: str | Path | None = None,
    evaluation: str | Path | None = None,
) -> Path:
    """Does what `Run.report` says."""
    path = run.path / "report.html" if out is None else Path(out)
    claim_file(path, _MARK)
    write_atomic(path, [_page(Facts(run), _results(model, evaluation))], private=out is None)
    return path


def _page(facts: Facts, results: sections.Section) -> str:
    before = [
        sections.funnel(facts),
        sections.losses(facts),
        sections.tasks(facts),
        sections.measures(facts),
        sections.likeness(facts),
        sections.cost(facts),
        sections.pages(facts),
    ]
    before = [section for section in before if section.body]
    after = [results] if results.body else []
    named = [*((each.id, each.title) for each in before), ("rows", "Rows")]
    named += [(each.id, each.title) for each in after]
    style, script = ((_HERE / name).read_text("utf-8") for name in ("style.css", "browser.js"))
    filled = {
        "POLICY": _policy(style, script),
        "TITLE": _title(facts),
        "PLACE": text(facts.run.path.name),
        "STATUS": text(facts.run.status),
        "HEADLINE": _headline(facts),
        "DIAGNOSIS": _diagnosis(facts),
        "LINKS": "".join(f'<a href="#{name}">{title}</a>' for name, title in named),
        "BEFORE": "".join(each.html() for each in before),
        "SOME": _some(facts),
        "AFTER": "".join(each.html() for each in after),
        "STYLE": style,
        "SCRIPT": script,
        "ROWS": as_json(_rows(facts)),
    }
    page = (_HERE / "page.html").read_text("utf-8")
    # In one pass: a text may hold such a mark itself.
    return _MARK + clean(re.sub("@@([A-Z]+)@@", lambda mark: filled[mark[1]], page))


def _policy(style: str, script: str) -> str:
    # It names the page's own style and script by their hashes: no other one runs.
    own, its = (
        base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        for part in (style, script)
    )
    return (
        f"default-src 'none'; script-src 'sha256-{its}'; style-src 'sha256-{own}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _title(facts: Facts) -> str:
    name = f" in {text(facts.language.name)}" if facts.language else ""
    return f"{rows_of(len(facts.kept))}{name}"


def _headline(facts: Facts) -> str:
    stats = facts.stats
    tokens = stats.input_tokens + stats.output_tokens
    shown = {
        "kept of all rows": share(len(facts.kept), len(facts.rows)),
        "price": f"{stats.price_usd:,.2f} USD" if stats.price_usd else "",
        "tokens in and out": short(tokens) if tokens else "",
        "requests": f"{stats.requests:,}",
        "time of the last process": duration(stats.seconds),
    }
    tiles = (
        f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in shown.items() if value
    )
    models = Counter(row.generator for row in facts.rows if row.generator).most_common(3)
    names = ", ".join(f"<bdi>{text(model)}</bdi>" for model, _ in models)
    by = f'<p class="model">Written by {names}</p>' if names else ""
    return f'<dl class="headline">{"".join(tiles)}</dl>{by}'


def _diagnosis(facts: Facts) -> str:
    if not facts.findings:
        return '<p class="healthy">Nothing weak was found in this run.</p>'
    return "".join(_finding(number, each) for number, each in enumerate(facts.findings))


def _finding(number: int, finding: Finding) -> str:
    links = [f'<a href="#row-{escape(name)}">{text(name[:8])}</a>' for name in finding.rows]
    if len(links) > _MOST_LINKS:
        every = filtered("finding", str(number), f"all {len(links):,} rows")
        links = [every, *links[:_MOST_LINKS], "…"]
    rows = f'<p class="ids">{" ".join(links)}</p>' if links else ""
    return (
        f'<article class="finding"><h3>{text(finding.name)}</h3><p>{text(finding.what)}</p>'
        f'<p class="remedy">{code(finding.remedy)}</p>{rows}</article>'
    )


def _some(facts: Facts) -> str:
    there, rows = len(facts.in_browser), len(facts.rows)
    return f" This page holds {there:,} of {rows:,}." if there < rows else ""


def _rows(facts: Facts) -> dict[str, object]:
    named: dict[str, list[int]] = {}
    for number, finding in enumerate(facts.findings):
        for name in finding.rows:
            named.setdefault(name, []).append(number)
    points = facts.embeddings.points if facts.embeddings else {}
    rows = browser_rows(facts.in_browser, facts.trace.asked, named, points)
    return {**rows, "findings": [finding.name for finding in facts.findings]}


def _results(model: str | Path | None, evaluation: str | Path | None) -> sections.Section:
    body = training_curves(model) if model is not None else ""
    if evaluation is not None:
        body += "".join(table(*each) for each in evaluation_tables(evaluation))
    lead = "The model that was trained on rows, and its scores with 95 % intervals."
    return sections.Section("training", "Training and evaluation", lead, body)
