"""Executes the notebooks of this folder and writes down what they show.

`python examples/renew.py quick_start` does one, `python examples/renew.py` all. Needs the `dev`
extra, and neither key nor network; `train` takes the rows of `runs/pilot` and some 15 minutes. What
differs from run to run (times, counts of executions, the folder for temporary files) is taken out.
"""

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# What `tempfile.mkdtemp()` gives.
TEMPORARY = re.compile(re.escape(tempfile.gettempdir()) + r"/tmp\w+")


def executed(path: Path, limit: float | None = None) -> Any:
    """Returns a notebook as it is after all of its cells have run, each in `limit` seconds."""
    notebook: Any = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as cache:
        # Of an earlier preview nothing is taken over, so that each execution shows the same.
        # The kernel, another process, imports the library of this folder.
        paths = [str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]
        env = {
            **os.environ,
            "XDG_CACHE_HOME": cache,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            # Without widgets a progress bar is text.
            "PYTHONWARNINGS": "ignore:IProgress",
        }
        client = NotebookClient(
            notebook,
            timeout=limit,
            kernel_name="python3",
            resources={"metadata": {"path": str(EXAMPLES)}},
        )
        client.execute(env=env)
    return plain(notebook)


def plain(notebook: Any) -> Any:
    """Takes out of a notebook what differs from run to run."""
    notebook.metadata = nbformat.from_dict(KERNEL)
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if "outputs" in cell:
            cell.outputs = joined(cell.outputs)
        for output in cell.get("outputs", []):
            if "text" in output:
                output.text = TEMPORARY.sub("runs", output.text)
            for kind, text in output.get("data", {}).items():
                output.data[kind] = TEMPORARY.sub("runs", text)
    return notebook


def joined(outputs: list[Any]) -> list[Any]:
    """Joins what was written piece by piece, and keeps of a progress bar how it ended."""
    kept: list[Any] = []
    for output in outputs:
        if kept and "name" in output and output.name == kept[-1].get("name"):
            kept[-1].text += output.text
        else:
            kept.append(output)
    for output in kept:
        if "text" in output:
            lines = (line.rpartition("\r")[2] for line in output.text.split("\n"))
            output.text = "\n".join(line.rstrip() for line in lines)
    return kept


def main(names: list[str]) -> None:
    for path in NOTEBOOKS:
        if not names or path.stem in names:
            notebook = executed(path)
            nbformat.validate(notebook)
            nbformat.write(notebook, path)
            print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
