"""Measures what `generate_all` holds in memory.

It has 100,000 prompts of 1,000 characters and replies of 500. Prints one JSON line: megabytes of
resident memory at the peak, beyond what the process had with the prompts alone, and over the limit
of 500. It does so for prompts in a list and for an iterator that makes them (then the process had
the imports alone).

python benchmarks/memory.py [prompts]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

LIMIT = 500.0
PROMPT, REPLY = "ก" * 990, "ข" * 500


def _now() -> float:
    """Returns resident megabytes, or the peak so far where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return _peak()
    return pages * resource.getpagesize() / 2**20


def _peak() -> float:
    # In bytes on macOS, in kilobytes elsewhere.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(kind: str, n: int) -> float:
    import seedfree as sf

    class Model:
        """A generator that keeps no list of its calls, unlike `FunctionGenerator`."""

        identity = "memory"

        async def generate(self, prompt: sf.Prompt) -> sf.Reply:
            return sf.Reply(REPLY)

    def prompts() -> Iterator[sf.Prompt]:
        return (sf.Prompt(f"{i:9} {PROMPT}") for i in range(n))

    with tempfile.TemporaryDirectory() as folder:
        sf.generate_all(Model(), [sf.Prompt("warm")], out=f"{folder}/warm")
        given = list(prompts()) if kind == "list" else prompts()
        before = _now()
        replies = sf.generate_all(Model(), given, out=f"{folder}/run", concurrency=64)
        assert len(replies) == n
        assert all(reply.text == REPLY for reply in replies)
        return _peak() - before


def main(n: int = 100_000) -> None:
    used = {}
    for kind in ("list", "iterator"):
        command = [sys.executable, __file__, kind, str(n)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        used[kind] = float(done.stdout)
    result = {
        "prompts": n,
        "limit_mb": LIMIT,
        "mb_beyond_the_prompts": {kind: round(mb, 1) for kind, mb in used.items()},
        "over_limit": {kind: round(mb / LIMIT, 3) for kind, mb in used.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [("list" | "iterator") as kind, n]:
            print(measure(kind, int(n)))
        case numbers:
            main(*map(int, numbers))
