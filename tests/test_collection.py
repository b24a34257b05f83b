"""Every process collects the same tests: those of `make test` refuse to start otherwise."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# A later time, another order of sets, another order of random numbers and another place on earth.
COLLECT = """
import random, sys, time
import pytest

now, shift = time.time, float(sys.argv[1])
time.time = lambda: now() + shift
random.seed(sys.argv[1])
sys.exit(pytest.main(["--collect-only", "--quiet", "--no-summary", "-p", "no:cacheprovider"]))
"""
WORLDS = [
    {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8"},
    {"PYTHONHASHSEED": "2", "TZ": "Asia/Bangkok", "LC_ALL": "POSIX", "LANG": "th_TH"},
]


def collecting(world: dict[str, str], shift: float) -> subprocess.Popen[str]:
    """Starts to collect the tests, `shift` seconds from now."""
    # The worker that runs this test names itself in the environment.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "COV_"))}
    return subprocess.Popen(
        [sys.executable, "-c", COLLECT, str(shift)],
        cwd=ROOT,
        env=kept | world,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )


def test_every_process_collects_the_same_tests_in_the_same_order():
    processes = [collecting(world, 1e7 * number) for number, world in enumerate(WORLDS)]
    lines = [process.communicate(timeout=300)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], lines[0][-9:] + lines[1][-9:]
    first, second = ([line for line in each if "::" in line] for each in lines)
    assert len(first) > 1000
    different = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
    assert not different, different[:3]
    assert len(first) == len(second)
