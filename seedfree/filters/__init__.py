"""Why a row is dropped, one file a filter.

To add a filter copy `judge.py` (it asks the LLM) or `language.py` (it does not): a dataclass whose
public fields are its settings, with `check(item)`, which returns None, the reason to drop the row,
or suspicions. A reason reads `"filter: phrase"` or `"filter: phrase (detail)"`, and drops are
counted by the part before the bracket. Define `bind(session)` where the run's language or LLM is
needed.

Near-duplicates are not dropped here but by the next stage, `seedfree/diversity/`.
"""

from __future__ import annotations

from seedfree.filters.grounding import GroundingFilter
from seedfree.filters.judge import JudgeFilter
from seedfree.filters.language import LanguageFilter
from seedfree.filters.rules import RuleFilter
from seedfree.protocols import Filter

__all__ = ["GroundingFilter", "JudgeFilter", "LanguageFilter", "RuleFilter", "default_filters"]


def default_filters() -> list[Filter]:
    """Returns what `filters="default"` stands for, cheapest first."""
    # Without the judge, which costs a request a row.
    return [RuleFilter(), LanguageFilter(), GroundingFilter()]
