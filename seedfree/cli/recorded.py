"""The replies of a large model to the pipeline's own prompts, recorded, and the texts of its run.

They are in `recorded.jsonl.gz`, which `benchmarks/record_demo.py` writes. Texts of Wikipedia in it
are by its contributors, under CC BY-SA 4.0.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from seedfree._seeds import digest
from seedfree.errors import StopRunError
from seedfree.records import Context, Prompt, Reply, Topic

__all__ = ["CONTEXTS", "RECORDING", "ROWS", "SECTIONS", "SEED", "RecordedRun", "prompt_key"]

RECORDING = Path(__file__).with_name("recorded.jsonl.gz")
# Of the run that was recorded. Replies belong to prompts, and what a prompt says hangs on these.
ROWS, SEED, SECTIONS = 50, 7, 2
CONTEXTS = TypeAdapter(list[Context])
# The delimiters of a text hold a number that changes with the page's revision.
_NONCE = re.compile(r'(?<=document) id="[0-9a-f]{16}"')


@dataclass
class RecordedRun:
    """Stands in for the language model and for Wikipedia.

    Attributes:
        titles: The topics of the run, in order.
    """

    titles: Sequence[str] = field(init=False)
    _contexts: dict[str, Any] = field(init=False, repr=False)
    _replies: dict[str, str] = field(init=False, repr=False)

    identity: ClassVar[str] = "recorded:large-model:2026-11-28"
    price: ClassVar[float] = 0.0
    sections: ClassVar[int] = SECTIONS
    terms: ClassVar[str] = (
        "Replies of a large language model, recorded on 2026-11-28 to show what the pipeline makes "
        "of good replies. They are for reading; train on rows of your own."
    )

    def __post_init__(self) -> None:
        with gzip.open(RECORDING, "rt", encoding="utf-8") as file:
            self.titles, self._contexts, self._replies = map(json.loads, file)

    def contexts(self, topic: Topic) -> list[Context]:
        return CONTEXTS.validate_python(self._contexts.get(topic.text, []))

    def generate(self, prompt: Prompt) -> Reply:
        """Returns the reply that was recorded.

        Raises:
            StopRunError: There is none.
        """
        text = self._replies.get(prompt_key(prompt))
        if text is None:
            raise StopRunError(
                "No reply is on record to a prompt: the prompts have changed since",
                hint="Record them anew: python -m benchmarks.record_demo.",
            )
        return Reply(text, model=self.identity)


def prompt_key(prompt: Prompt) -> str:
    """Names what a prompt says."""
    return digest(prompt.system, _NONCE.sub("", prompt.user))
