"""The notebooks in `examples/` run without a key or a network, and show what they showed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from examples.renew import NOTEBOOKS, executed  # noqa: E402

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
NAMES = "evaluate own_backend own_language own_task own_texts quick_start train"
# It takes too long, and rows that are not there.
BY_HAND = "train"
# Places of the machine on which a notebook was executed, and times.
PRIVATE = re.compile(r"/tmp/|/home/|/root|/work|/Users/|site-packages|20\d\d-\d\d-\d\dT\d\d")


def kinds(notebook: Any) -> list[list[str]]:
    """Returns what each cell shows: the kinds of its outputs, and of the data in them."""
    return [
        [
            kind
            for output in cell.get("outputs", [])
            for kind in (output.output_type, *sorted(output.get("data", ())))
        ]
        for cell in notebook.cells
    ]


def test_every_notebook_is_listed() -> None:
    assert " ".join(path.stem for path in NOTEBOOKS) == NAMES
    page = (Path(__file__).parents[1] / "docs" / "notebooks.md").read_text("utf-8")
    assert not [path for path in NOTEBOOKS if f"../examples/{path.name}" not in page]


@every_notebook
def test_a_notebook_is_small_valid_and_tells_nothing_of_a_machine(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.encode()) < 60_000 and not PRIVATE.search(text)
    notebook: Any = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert 5 <= len(notebook.cells) <= 12
    place = path.stem.replace("_", "-")
    assert [cell.id for cell in notebook.cells] == [
        f"{place}-{number:02d}" for number in range(len(notebook.cells))
    ]
    assert not [cell.metadata for cell in notebook.cells if cell.metadata]
    assert any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.parametrize(
    "path", [each for each in NOTEBOOKS if each.stem != BY_HAND], ids=lambda path: path.stem
)
def test_a_notebook_runs_and_shows_as_much_as_it_did(path: Path) -> None:
    was = nbformat.read(path, as_version=4)
    # Seconds a cell, on a machine that does much else.
    assert kinds(executed(path, limit=600)) == kinds(was)
