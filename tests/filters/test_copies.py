"""A copied example: only a model that was shown one can have copied it."""

from __future__ import annotations

from pathlib import Path

import pytest

import seedfree as sf
from seedfree.filters.rules import RuleFilter
from tests.fakes import FakeClock, small_pipeline, thai


class Parrot:
    """Repeats an example of every second prompt."""

    identity = "parrot"

    def __init__(self, shows_examples: bool) -> None:
        self._shows_examples = shows_examples

    @property
    def shows_examples(self) -> bool:
        return self._shows_examples

    def generate(self, prompt: sf.Prompt) -> sf.Reply:
        if prompt.examples and len(prompt.user) % 2:
            return sf.Reply(prompt.examples[0].reply)
        return thai(prompt)


@pytest.mark.parametrize("shown", [True, False])
def test_an_example_is_copied_only_by_a_model_that_was_shown_it(
    shown: bool, tmp_path: Path
) -> None:
    pipeline = small_pipeline(Parrot(shown), tasks=[sf.Summarization()], filters=[RuleFilter()])
    run = pipeline.run(8, tmp_path, clock=FakeClock())
    reasons = {row.reason.partition(" (")[0] for row in run.dropped}
    assert ("rules: copied example" in reasons) is shown
    assert "shows_examples" not in (tmp_path / "manifest.json").read_text()
