"""A run's files, read once for all sections."""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.outcome import Variety
from seedfree.records import Instruction
from seedfree.report.browser import chosen
from seedfree.report.diagnosis import diagnose
from seedfree.report.embeddings import Embeddings, embeddings
from seedfree.report.given import Reported, settings_of, variety_of
from seedfree.report.trace import Trace, trace

__all__ = ["Facts"]


class Facts:
    """What the sections show of a run.

    Attributes:
        kept, dropped, rows: Rows in the run's order; `rows` are all of them, the kept ones first.
        findings: See `diagnose`.
    """

    def __init__(self, run: Reported) -> None:
        self.run, self.stats = run, run.stats
        self.kept, self.dropped = list(run.dataset), list(run.dropped)
        self.rows: list[Instruction] = [*self.kept, *self.dropped]
        self.findings = diagnose(run)

    @cached_property
    def variety(self) -> Variety | None:
        """See `variety_of`."""
        return variety_of(self.run)

    @cached_property
    def trace(self) -> Trace:
        """Returns what the ledger says of the rows."""
        return trace(self.run.path, self.rows)

    @cached_property
    def embeddings(self) -> Embeddings | None:
        """Returns what the vectors say of the rows; `None` without vectors."""
        pairs = [(row.id, row.duplicate_of) for row in self.dropped if row.duplicate_of]
        alike = {name for pair in pairs for name in pair}
        return embeddings(self.run.path / "vectors", {row.id for row in self.kept}, alike)

    @cached_property
    def in_browser(self) -> list[Instruction]:
        """Returns the rows of the browser; those of the findings are among them."""
        return chosen(self.rows, {name for each in self.findings for name in each.rows})

    @cached_property
    def language(self) -> Language | None:
        """Returns what is known of the rows' language; `None` for one of the user's own."""
        codes = Counter(row.language for row in self.rows)
        try:
            return Language.load(codes.most_common(1)[0][0] if codes else "")
        except ConfigError:
            return None

    @cached_property
    def thresholds(self) -> list[float]:
        """Returns the cosines above which the run's semantic filters dropped rows."""
        filters = settings_of(self.run).get("diversity")
        found: set[float] = set()
        for each in filters if isinstance(filters, list) else [filters]:
            if isinstance(each, dict) and "encoder" in each:
                threshold = each.get("threshold")
                values = threshold.values() if isinstance(threshold, dict) else [threshold]
                found |= {float(value) for value in values if isinstance(value, (int, float))}
        return sorted(found)
