"""Creative writing about a topic: one of the seven tasks of WangchanThaiInstruct."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from seedfree.tasks.brainstorming import Brainstorming

__all__ = ["CreativeWriting"]


@dataclass
class CreativeWriting(Brainstorming):
    """Asks for a story, a poem, a letter or another creative work, from the topic alone.

    It is asked for as `Brainstorming` is, which has the kinds of work that are not creative
    writing.

    Attributes:
        temperature: 0 to 2. Sent if the model takes one.
    """

    name: ClassVar[str] = "creative_writing"
    creative: ClassVar[bool] = True
