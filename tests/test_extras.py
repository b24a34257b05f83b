"""What each extra installs, read from `pyproject.toml`."""

import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
# The packages that PyPI has as source in C++ alone.
COMPILED = {"hnswlib"}


def packages(extra):
    """Names of the packages of an extra, those of the extras that it names included."""
    names = set()
    for requirement in EXTRAS[extra]:
        if requirement.startswith("seedfree["):
            for other in requirement.removeprefix("seedfree[").rstrip("]").split(","):
                names |= packages(other)
        else:
            names.add(requirement.partition(">")[0].partition("=")[0])
    return names


def test_no_extra_but_the_graph_needs_a_compiler():
    # Those who develop take every extra.
    in_need = {extra for extra in EXTRAS if packages(extra) & COMPILED}
    assert in_need == {"graph", "dev", "all"}


def test_a_hugging_face_data_set_needs_nothing_that_trains():
    assert packages("hub") == {"datasets"} < packages("train")
