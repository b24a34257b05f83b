"""What is wrong with a data set before a base model is looked at, and the rows that are held out of it."""

from __future__ import annotations

import unicodedata
from collections import Counter

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.training.config import QLoRAConfig

__all__ = ["check_language", "split"]

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
