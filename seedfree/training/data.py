"""The rows of a training: checked, held out by task, and synthetic ones mixed with human ones."""

from __future__ import annotations

from collections import Counter
from numbers import Integral, Real

from seedfree._seeds import seeded
from seedfree.dataset import Dataset, apportion, check_rows
from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.records import Instruction
from seedfree.text import count_scripts
from seedfree.training.config import QLoRAConfig

__all__ = ["check_language", "mix", "split"]

# A sample tells the script of a data set: at most this many letters, of about this many rows.
_LETTERS, _ROWS = 20_000, 500
# Most answers hold some foreign names and terms, so that all letters would be too much to ask.
_OWN_SCRIPT = 0.5


def check_language(dataset: Dataset, wanted: str | None) -> None:
    """Looks at the language that the rows name, and at the script of their answers.

    Args:
        wanted: Code of the language that every row must have; `None`: the commonest one.

    Raises:
        ConfigError: There are no rows, rows of several languages or of another one, or answers in
            another script.
    """
    if not len(dataset):
        hint = "Give a run's dataset, or Dataset.from_jsonl(path)."
        raise ConfigError("The data set is empty", hint=hint)
    counts = Counter(row.language for row in dataset if row.language)
    if wanted:
        wanted = Language.load(wanted).code
    elif counts:
        ((wanted, _),) = counts.most_common(1)
    others = sorted(set(counts) - {wanted})
    if others:
        count = sum(counts[code] for code in others)
        hint = "Leave them out, or say QLoRAConfig(language=...) and give rows of that language."
        reason = f"{count} of {len(dataset)} rows are in {', '.join(others)}, not {wanted}"
        raise ConfigError(reason, hint=hint)
    try:
        script = Language.load(wanted).script if wanted else ""
    except ConfigError:
        # A language of the user's own, of which nothing is known here.
        script = ""
    if not script:
        return
    share = _share_of_script(dataset, script)
    if share is not None and share < _OWN_SCRIPT:
        raise ConfigError(
            f"Only {share:.0%} of the answers' letters are {script}, though the rows say "
            f"{wanted!r}",
            hint="Look at the data set: it seems to be in another language.",
        )


def _share_of_script(dataset: Dataset, script: str) -> float | None:
    """Measures the share (0 to 1) of a script among the answers' letters, `None` without any."""
    letters: Counter[str] = Counter()
    for row in dataset[:: max(1, len(dataset) // _ROWS)]:
        letters.update(count_scripts(row.output[:_LETTERS]))
        if letters.total() >= _LETTERS:
            break
    return letters[script] / letters.total() if letters else None


def split(
    dataset: Dataset, validation: Dataset | None, config: QLoRAConfig
) -> tuple[Dataset, Dataset]:
    """Returns the rows to train on, and rows of every task that are held out.

    Args:
        validation: Rows to hold out; `None`: a share of the data set's own, by `config`.

    Raises:
        ConfigError: A side is empty, or the validation rows are in another language.
    """
    if validation is not None:
        if not len(validation):
            hint = "Leave validation out for a share of the rows."
            raise ConfigError("The validation rows are empty", hint=hint)
        named = next((row.language for row in dataset if row.language), None)
        check_language(validation, config.language or named)
        return dataset, validation
    if not config.validation_share:
        return dataset, Dataset()
    rows, held = dataset.split(config.validation_share, config.seed)
    for side, purpose in ((held, "validation"), (rows, "training")):
        if not len(side):
            share = f"validation_share={config.validation_share} of {len(dataset)} rows"
            hint = "Give more rows, another share, or 0 for no validation."
            raise ConfigError(f"{share} leaves none for {purpose}", hint=hint)
    return rows, held


def mix(synthetic: Dataset, human: Dataset, *, ratio: float, size: int, seed: int = 0) -> Dataset:
    """Draws rows of both sides and shuffles them.

    The paper leaves open how much of each is best. Each side keeps the shares of its own tasks to
    the row (largest remainder). The rows themselves stay as they are, so `generator` and `source`
    tell where each came from.

    Args:
        ratio: Share of human rows, 0 to 1. A row that it leaves over goes to the nearer side, on a
            tie to the human one.
        size: Rows in all, at least 1.
        seed: Another seed draws other rows.

    Raises:
        ConfigError: An argument is out of its range, or a side has too few rows.
    """
    for side in (synthetic, human):
        check_rows(side)
    if not isinstance(ratio, Real) or not 0 <= ratio <= 1:
        hint = "Give the share of human rows, 0 to 1."
        raise ConfigError(f"ratio={ratio!r} is not a share", hint=hint)
    if not isinstance(size, Integral) or size < 1:
        hint = "Give the number of rows, at least 1."
        raise ConfigError(f"size={size!r} is no number of rows", hint=hint)
    # Not round(), which takes half a row to the even side.
    of_human = int(size * ratio + 0.5)
    sides = [("synthetic", synthetic, size - of_human), ("human", human, of_human)]
    for name, side, n in sides:
        if n > len(side):
            hint = "Lower size, change ratio, or bring more rows."
            reason = f"{n:,} {name} rows are wanted, and there are {len(side):,}"
            raise ConfigError(reason, hint=hint)
    rows = [row for name, side, n in sides for row in _draw(side, n, name, seed)]
    seeded("mix", seed).shuffle(rows)
    return Dataset(rows)


def _draw(side: Dataset, n: int, name: str, seed: int) -> list[Instruction]:
    """Draws `n` rows of a side, each task with its share. They stay in the side's order."""
    if not n:
        return []
    wanted = apportion(Counter(row.task for row in side), n / len(side))
    numbers = list(range(len(side)))
    seeded("mix", seed, name).shuffle(numbers)
    drawn = []
    for number in numbers:
        task = side[number].task
        if wanted[task] > 0:
            wanted[task] -= 1
            drawn.append(number)
    return [side[number] for number in sorted(drawn)]
