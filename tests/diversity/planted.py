"""Rows and an encoder with planted near-duplicates, for tests of the diversity filter."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from seedfree.languages import Language
from seedfree.records import Instruction


def row(instruction, output, **rest):
    return Instruction(task="closed_qa", instruction=instruction, output=output, **rest)


def prose(n, seed=0):
    """Rows of random words: about 1 % of them share much of their wording."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))

    def text(words):
        return " ".join("".join(rng.choice(letters, rng.integers(3, 9))) for _ in range(words))

    return [row(text(5), text(20), topic=f"topic {i}") for i in range(n)]


@dataclass
class Planted:
    """Gives each text a random direction, or the planted one; notes its texts."""

    planted: dict = field(default_factory=dict)
    unknown: float = 0.0
    seen: list = field(default_factory=list)

    def encode(self, texts):
        self.seen.extend(texts)
        return np.stack([self.planted.get(text, direction(text)) for text in texts])

    def unknown_share(self, texts):
        return self.unknown


@dataclass
class Returns:
    """Returns whatever `fn` makes of the texts."""

    fn: object

    def encode(self, texts):
        return self.fn(texts)


def unit(vectors):
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def direction(text, d=64):
    rng = np.random.default_rng(list(text.encode()))
    vector = rng.normal(size=d)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class InRun:
    """The session that `bind` is given."""

    language: Language
    seed: int = 0
    folder: Path | None = None
    tasks: tuple = ()


def near(text, cosine, d=64):
    """A direction at a cosine from that of a text."""
    base, aside = direction(text, d), direction(f"{text} aside", d)
    aside = aside - (aside @ base) * base
    return (cosine * base + np.sqrt(1 - cosine**2) * aside / np.linalg.norm(aside)).astype(
        np.float32
    )


def planted_rows(n):
    """Rows of which every third is close to one before it."""
    rng = np.random.default_rng(7)
    items, planted = prose(n), {}
    for i in range(2, n, 3):
        text = f"{items[i].instruction}\n{items[i].output}"
        of = items[rng.integers(0, i)]
        planted[text] = near(f"{of.instruction}\n{of.output}", 0.97)
    return [replace(item, id=f"row {i}") for i, item in enumerate(items)], planted


def same(a, b):
    for name in ("kept", "duplicate_of", "similarity"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
