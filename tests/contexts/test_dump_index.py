"""The build of a dump's index, where it is ended early."""

from __future__ import annotations

import subprocess
import sys

import pytest

from seedfree.contexts.dump_index import DumpIndex
from tests import dumps

KILLED = """
import os, sys
from pathlib import Path
from seedfree.contexts import dump_index

dump_index._BATCH, calls = 2, []
before = getattr(dump_index, sys.argv[2])

def killed(*values):
    calls.append(before(*values))
    if len(calls) == int(sys.argv[3]):
        os._exit(9)
    return calls[-1]

setattr(dump_index, sys.argv[2], killed)
dump_index.DumpIndex.of(Path(sys.argv[1]))
"""


@pytest.mark.parametrize(("step", "call"), [("_begin", 1), ("_add", 3), ("_keep", 2), ("_name", 1)])
def test_a_kill_leaves_no_index_and_costs_little(step, call, tmp_path):
    path = dumps.write_xml(tmp_path / "pages.xml")
    whole = DumpIndex.of(path, tmp_path / "whole").about
    command = [sys.executable, "-c", KILLED, str(path), step, str(call)]
    assert subprocess.run(command, check=False).returncode == 9
    assert not (tmp_path / "pages.xml.index").exists()
    assert DumpIndex.of(path).about == whole


INTERRUPTED = """
import os, signal, sys
import seedfree as sf
from seedfree.contexts import dump_index
from tests.fakes import thai_llm

dump_index._BATCH, calls = 2, []
before = getattr(dump_index, sys.argv[3])

def interrupted(*values):
    calls.append(values)
    if len(calls) == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGINT)
    return before(*values)

setattr(dump_index, sys.argv[3], interrupted)
dump = sf.WikipediaDump(sys.argv[1])
sf.Pipeline("th", thai_llm(), contexts=[dump], diversity=None).run(4, sys.argv[2], progress=False)
"""


@pytest.mark.parametrize(("step", "call"), [("_add", 3), ("letters_and_digits", 3)])
def test_ctrl_c_ends_a_build_at_once_and_it_goes_on_later(step, call, tmp_path):
    path = dumps.write_xml(tmp_path / "pages.xml")
    whole = DumpIndex.of(path, tmp_path / "whole").about
    command = [sys.executable, "-c", INTERRUPTED, path, tmp_path / "run", step, str(call)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.rstrip().endswith("nothing was asked yet; run it again to go on")
    assert not (tmp_path / "pages.xml.index").exists()
    assert DumpIndex.of(path).about == whole
