"""What all tests share: repeatable property tests, a small local LLM, a MediaWiki.

The LLM is Gemma 3 270M in llama.cpp. The MediaWiki has Thai articles.
"""

import contextlib
import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from seedfree.generators.llamacpp import LlamaCppGenerator

settings.register_profile("derandomize", derandomize=True, deadline=None)
settings.load_profile("derandomize")

# A shell that starts the tests in the background lets them ignore Ctrl-C, and every process that
# they start would ignore it, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A script that starts a MediaWiki and prints "ready URL". Without it, the tests that need a
# MediaWiki are skipped.
WIKI = Path(__file__).parents[2] / "shared" / "thaiwiki" / "serve"
WIKI_MINUTES = 5


@pytest.fixture(scope="session")
def llama() -> Iterator[LlamaCppGenerator]:
    """Keeps one llama.cpp for all tests."""
    with LlamaCppGenerator() as generator:
        yield generator


class _Wiki:
    """A MediaWiki that comes up while the other tests run."""

    def __init__(self) -> None:
        # The system chooses a free port, which the script takes over.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [WIKI, str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")  # the script has ended

    def url(self) -> str:
        """Waits until the wiki is up and returns the address of its API; skips the test if not."""
        with contextlib.suppress(queue.Empty):
            while line := self._lines.get(timeout=WIKI_MINUTES * 60):
                if line.startswith("ready "):
                    return line.split()[1]
        pytest.skip("the MediaWiki did not come up")

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()


_wiki: list[_Wiki] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Starts the wiki if a test needs it, and puts those tests last: by then it is up."""
    live = [item for item in items if "live_wiki" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in live] + live
    wanted = live and "SEEDFREE_WIKI" not in os.environ and not config.option.collectonly
    if wanted and WIKI.exists():
        _wiki.append(_Wiki())


def pytest_unconfigure() -> None:
    for wiki in _wiki:
        wiki.stop()


@pytest.fixture(scope="session")
def live_wiki() -> str:
    """Returns the `api.php` of a real MediaWiki: `SEEDFREE_WIKI`, or the tests' own."""
    if url := os.environ.get("SEEDFREE_WIKI"):
        return url
    if not _wiki:
        pytest.skip("no MediaWiki: SEEDFREE_WIKI is not set")
    return _wiki[0].url()
