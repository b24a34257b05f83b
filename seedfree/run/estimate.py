"""What a run will take, measured on a few of its own rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from seedfree._views import Shown, View, one_line, price
from seedfree.dataset import row_table
from seedfree.engine.places import published
from seedfree.engine.request import identity
from seedfree.errors import ConfigError
from seedfree.generators.prices import price_of
from seedfree.outcome import Stats
from seedfree.protocols import Generator
from seedfree.records import Instruction
from seedfree.run.folder import Run
from seedfree.text import shown

__all__ = ["Estimate", "FLOOR", "Health", "Preview", "batch_share", "estimated", "health"]


@dataclass(frozen=True)
class Health:
    """Shares of what a model wrote, 0 to 1.

    Attributes:
        parsed: Replies that could be read.
        in_language: Rows whose text is in the language, of the rows that got as far as that check.
        unrepeated: Rows without loops.
        uncopied: Rows that copy neither a format example nor their context.
        rows: Rows and unreadable replies that it was measured on.
    """

    parsed: float
    in_language: float
    unrepeated: float
    uncopied: float
    rows: int

    def below(self) -> list[str]:
        """Returns what lies below the floor, as `"parsed 62 % (at least 80 %)"`."""
        values = asdict(self)
        return [
            f"{n} {values[n]:.0%} (at least {floor:.0%})"
            for n, floor in FLOOR.items()
            if values[n] < floor
        ]


# Below these, more than every second request is paid for nothing, or what is kept needs a native
# reader row by row.
FLOOR: Mapping[str, float] = {"parsed": 0.8, "in_language": 0.9, "unrepeated": 0.8, "uncopied": 0.8}


def health(rows: int, drops: Mapping[str, int]) -> Health:
    """Measures a run by what was dropped from it.

    Args:
        rows: Rows kept.
        drops: Dropped rows by reason.
    """
    by = Counter(drops)
    total = rows + sum(by.values())

    def count(part: str) -> int:
        return sum(n for reason, n in by.items() if part in reason)

    def share(part: str, of: int) -> float:
        return 1 - count(part) / of if of else 0.0

    read = total - count("reply:")
    checked = read - count("rules:")  # the rules come before the language
    return Health(
        share("reply:", total),
        share("language:", checked),
        share("repeti", read),
        share("cop", read),
        total,
    )


# Columns of the text that a question is about.
_ABOUT = 300
# Share of the requests of 5,000 rows that a run in batches has in them (benchmarks/batches.py).
_IN_BATCHES = 0.7
# Requests that a reply takes whose text cannot be read.
_SAMPLES = 3


@dataclass(frozen=True, repr=False)
class Preview(Shown):
    """A small run: iterate over it for its rows, print it to look at them."""

    run: Run

    def __len__(self) -> int:
        return len(self.run.dataset)

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self.run.dataset)

    def __str__(self) -> str:
        rows = []
        for row in self.run.dataset:
            about = [one_line(row.input, _ABOUT)] if row.input else []
            rows.append(
                "\n".join(
                    [f"[{row.task}] {row.topic}", *about, row.instruction, f"-> {row.output}"]
                )
            )
        # Only the first line of each part stands at the margin, so that no text looks like a part
        # of its own.
        parts = [self._head, *rows, *self._lost()]
        return "\n".join(shown(part).replace("\n", "\n  ") for part in parts)

    def _view(self, full: bool) -> View:
        rows = self.run.dataset[: None if full else 4]
        lost = self._lost()[: None if full else 2]
        return View(f"Preview({self._head})", tables=[row_table(rows)] * bool(rows), notes=lost)

    @property
    def _head(self) -> str:
        stats, run = self.run.stats, self.run
        state = ": ".join(filter(None, [run.status, run.message]))
        tokens = stats.input_tokens + stats.output_tokens
        paid = (
            f"{stats.requests:,} requests paid for ({tokens:,} tokens, {price(stats.price_usd, 4)})"
        )
        return f"{len(self)} rows; {state}; {paid}"

    def _lost(self) -> list[str]:
        drops = Counter(dropped.reason for dropped in self.run.dropped)
        return [f"dropped {n}: {why}" for why, n in drops.most_common()]


@dataclass(frozen=True, repr=False)
class Estimate(Shown):
    """Expected requests, tokens and price of a run of `size` rows.

    Attributes:
        low_usd, high_usd: Where the price lies in about nine runs of ten, if the sample is like the
            run; `None` where the price of the model is not known.
        sample: Rows that it was measured on.
        most_rows: Rows that the topics give at most; `None` where topics are generated.
        tokens_per_row: Tokens in and out for each row that is kept.
    """

    size: int
    requests: int
    input_tokens: int
    output_tokens: int
    price_usd: float | None
    low_usd: float | None
    high_usd: float | None
    sample: int
    most_rows: int | None = None

    @property
    def tokens_per_row(self) -> tuple[float, float]:
        return self.input_tokens / self.size, self.output_tokens / self.size

    def _view(self, full: bool) -> View:
        money = "unknown; pass price=(input, output) to the generator"
        if self.price_usd is not None:
            money = f"{price(self.price_usd)} ({self.low_usd:,.2f} to {self.high_usd:,.2f})"
        each = " and ".join(f"{n:,.0f}" for n in self.tokens_per_row)
        facts = {
            "requests": f"about {self.requests:,}",
            "tokens": f"{self.input_tokens:,} in, {self.output_tokens:,} out ({each} a row)",
            "price": money,
            "measured on": f"{self.sample:,} rows",
        }
        if self.most_rows is not None:
            facts["most"] = f"the topics give at most {self.most_rows:,} rows"
        return View(f"Estimate({self.size:,} rows)", facts)


def batch_share(stats: Stats, generators: Iterable[Generator]) -> float:
    """Returns what a run in batches costs, about, as a share of what it costs asked one by one."""
    saved = 0.0
    for model in {id(each): each for each in generators}.values():
        price = price_of(model)
        if price and getattr(model, "batches", None):
            usd = stats.models.get(published(identity(model)), {}).get("usd", 0.0)
            saved += _IN_BATCHES * usd * (1 - price.batch)
    return 1 - saved / stats.price_usd if stats.price_usd else 1.0


def estimated(
    preview: Preview, size: int, most_rows: int | None = None, share_paid: float = 1.0
) -> Estimate:
    """Scales a preview up to `size` rows.

    What varies most between runs is the share of prompts whose row is kept; the interval is
    Wilson's for that share (Wilson 1927), wider on both sides for the lengths of texts, of which a
    few rows say little.

    Args:
        share_paid: What is asked for the tokens, as a share of what the preview paid.
    """
    stats, rows = preview.run.stats, len(preview)
    if not rows:
        why = preview.run.message or "every row was dropped"
        raise ConfigError(f"The preview gave no rows: {why}")
    # A larger run would have kept the surplus.
    made = rows + stats.drops.get("surplus", 0)
    lost = {why: n for why, n in stats.drops.items() if why != "surplus"}
    requests_lost = sum(n * (_SAMPLES if why == "reply: invalid" else 1) for why, n in lost.items())
    share = made / (made + sum(lost.values()))
    low, high = _wilson(share, made + sum(lost.values()))
    each = requests_lost / sum(lost.values()) if lost else _SAMPLES

    def relative(kept: float) -> float:
        """Returns what a row costs where this share is kept, over what it costs as seen."""
        return (1 + each * (1 / kept - 1)) / (1 + each * (1 / share - 1))

    # The ledger may hold a larger preview, too.
    read = stats.requests_read / stats.requests if stats.requests else 1.0
    # Topics come several in a reply, of which a small run uses few and a large one nearly all.
    topics, left = stats.stages.get("topics", {}), stats.topics_left
    spare = 0.0
    if left and topics.get("requests"):
        spare = topics["asked"] * left / (stats.topics + left) / topics["requests"]

    def scaled(total: float, part: str) -> float:
        return (total * read - spare * float(topics.get(part, 0))) * size / made

    usd = low_usd = high_usd = None
    if stats.price_usd is not None:
        usd = scaled(stats.price_usd, "usd") * share_paid
        low_usd, high_usd = 0.85 * usd * relative(high), 1.2 * usd * relative(low)
    return Estimate(
        size=size,
        requests=math.ceil(scaled(stats.requests, "requests")),
        input_tokens=math.ceil(scaled(stats.input_tokens, "input_tokens")),
        output_tokens=math.ceil(scaled(stats.output_tokens, "output_tokens")),
        price_usd=usd,
        low_usd=low_usd,
        high_usd=high_usd,
        sample=rows,
        most_rows=most_rows,
    )


def _wilson(share: float, n: int, z: float = 1.64) -> tuple[float, float]:
    """Returns the interval in which a share lies nine times in ten (z = 1.64)."""
    middle = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - spread) / (1 + z * z / n), (middle + spread) / (1 + z * z / n)
