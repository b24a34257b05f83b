"""Synthetic with human data: the paper leaves open how much of each is best."""

from __future__ import annotations

import unicodedata
from collections import Counter
from numbers import Integral, Real

from seedfree._seeds import seeded
from seedfree.dataset import Dataset, apportion, check_rows
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Instruction
from seedfree.training.config import QLoRAConfig

__all__ = ["check_language", "mix", "split"]

_LETTERS = 20_000
_OWN = 0.5
# The names of letters begin with their script's, but for these.
_LETTER_NAMES = {"Han": ("CJK",), "Japanese": ("CJK", "HIRAGANA", "KATAKANA")}


def check_language(dataset: Dataset, wanted: str | None) -> None:
    """Looks at the language that the rows name, and at the script of their answers.

    Raises:
        ConfigError: No rows, rows of several languages or another one, or answers in another
            script.
    """
    if not len(dataset):
        raise ConfigError(
            "The data set is empty", hint="Give a run's dataset, or Dataset.from_jsonl(path)."
        )
    codes = [
        code for code, _ in Counter(one.language for one in dataset if one.language).most_common()
    ]
    wanted = Language.load(wanted).code if wanted else codes[0] if codes else None
    others = [code for code in codes if code != wanted]
    if others:
        count = sum(one.language in others for one in dataset)
        hint = "Leave them out, or say QLoRAConfig(language=...) and give rows of that language."
        raise ConfigError(
            f"{count} of {len(dataset)} rows are in {', '.join(sorted(others))}, not {wanted}",
            hint=hint,
        )
    try:
        script = Language.load(wanted).script if wanted else ""
    except ConfigError:
        return  # A language of the user's own, of which nothing is known here.
    share = _share(dataset, script)
    if share is not None and share < _OWN:
        raise ConfigError(
            f"Only {share:.0%} of the answers' letters are {script}, though the rows say {wanted!r}",
            hint="Look at the data set: it seems to be in another language.",
        )


def _share(dataset: Dataset, script: str) -> float | None:
    """Share of letters of the script among those of answers drawn evenly; `None` where there are none."""
    if not script:
        return None
    names = _LETTER_NAMES.get(script, (script.upper(),))
    own = total = 0
    for one in dataset[:: max(1, len(dataset) // 500)]:
        for letter in one.output[:_LETTERS]:
            if letter.isalpha():
                total += 1
                own += unicodedata.name(letter, "").startswith(names)
        if total >= _LETTERS:
            break
    return own / total if total else None


def split(
    dataset: Dataset, validation: Dataset | None, config: QLoRAConfig
) -> tuple[Dataset, Dataset]:
    """Rows to train on and rows held out, by task.

    Raises:
        ConfigError: A side is empty.
    """
    if validation is not None:
        if not len(validation):
            raise ConfigError(
                "The validation rows are empty",
                hint="Leave validation out for a share of the rows.",
            )
        check_language(
            validation,
            config.language or next((one.language for one in dataset if one.language), None),
        )
        return dataset, validation
    if not config.validation_share:
        return dataset, Dataset()
    rows, held = dataset.split(config.validation_share, config.seed)
    if not len(held) or not len(rows):
        what = "for validation" if not len(held) else "for training"
        raise ConfigError(
            f"validation_share={config.validation_share} of {len(dataset)} rows leaves none {what}",
            hint="Give more rows, another share, or 0 for no validation.",
        )
    return rows, held


def mix(synthetic: Dataset, human: Dataset, *, ratio: float, size: int, seed: int = 0) -> Dataset:
    """Draws rows of both sides and shuffles them.

    Each side keeps the shares of its own tasks to the row (largest remainder). The rows themselves
    stay as they are, so `generator` and `source` tell where each came from.

    Args:
        ratio: Share of human rows, 0 to 1; the row that it leaves over goes to the nearer side, on
            a tie to the human.
        size: Rows in all, at least 1.
        seed: Another seed draws other rows.

    Raises:
        ConfigError: An argument is out of its range, or a side has too few rows.
    """
    for side in (synthetic, human):
        check_rows(side)
    if not isinstance(ratio, Real) or not 0 <= ratio <= 1:
        raise ConfigError(
            f"ratio={ratio!r} is not a share", hint="Give the share of human rows, 0 to 1."
        )
    if not isinstance(size, Integral) or size < 1:
        raise ConfigError(
            f"size={size!r} is no number of rows", hint="Give the number of rows, at least 1."
        )
    of_human = int(size * ratio + 0.5)
    wanted = [("synthetic", synthetic, size - of_human), ("human", human, of_human)]
    for name, side, n in wanted:
        if n > len(side):
            hint = "Lower size, change ratio, or bring more rows."
            raise ConfigError(
                f"{n:,} {name} rows are wanted, and there are {len(side):,}", hint=hint
            )
    rows = [one for name, side, n in wanted for one in _drawn(side, n, name, seed)]
    seeded("mix", seed).shuffle(rows)
    return Dataset(rows)


def _drawn(side: Dataset, n: int, name: str, seed: int) -> list[Instruction]:
    """`n` rows of a side in its order, each task with its share."""
    open_rows = apportion(Counter(one.task for one in side), n / len(side)) if n else Counter[str]()
    numbers = list(range(len(side)))
    seeded("mix", seed, name).shuffle(numbers)
    drawn = []
    for number in numbers:
        if open_rows[side[number].task] > 0:
            open_rows[side[number].task] -= 1
            drawn.append(number)
    return [side[number] for number in sorted(drawn)]
