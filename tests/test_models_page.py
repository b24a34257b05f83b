"""The tables of docs/choose-a-model.md are those of the data.

python -m tests.test_models_page     writes them anew
"""

import re
from pathlib import Path

from seedfree.engine.providers import providers
from seedfree.generators.prices import listed_prices

PAGE = Path(__file__).parent.parent / "docs" / "choose-a-model.md"
_TABLE = re.compile(r"(?<=test_models_page` -->\n)(?:\|.*\n)+")


def provider_table() -> str:
    lines = [
        "| word | key | structured output | training on its words |",
        "|---|---|---|---|",
    ]
    for word, each in providers().items():
        key = f"`{each.key}`" if each.key else "none"
        terms = "the licence of the model"
        if each.terms:
            what = re.sub(r"^Written by .*?[;,] (whose )?", "", each.terms).rstrip(".")
            terms = f"[{what}]({each.terms_page})"
        key += " if the server wants one" if each.local and each.key else ""
        lines.append(f"| `{word}/` | {key} | {each.structured} | {terms} |")
    return "\n".join(lines) + "\n"


def price_table() -> str:
    lines = ["| model | in | out | a longer prompt | read on |", "|---|---:|---:|---|---|"]
    for word, models in listed_prices().items():
        for model, price in models.items():
            longer = ""
            if price.over is not None:
                longer = f"{price.over_input:.2f}, {price.over_output:.2f} from {price.over:,} on"
            cells = (f"`{word}/{model}`", f"{price.input:.2f}", f"{price.output:.2f}")
            lines.append(f"| {' | '.join(cells)} | {longer} | {price.checked} |")
    return "\n".join(lines) + "\n"


def test_the_tables_are_those_of_the_data() -> None:
    assert _TABLE.findall(PAGE.read_text("utf-8")) == [provider_table(), price_table()]


if __name__ == "__main__":
    made = iter([provider_table(), price_table()])
    PAGE.write_text(_TABLE.sub(lambda _: next(made), PAGE.read_text("utf-8")), "utf-8")
