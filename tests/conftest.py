"""What every test shares: repeatable property tests, a llama.cpp with Gemma 3 270M, a MediaWiki with Thai articles."""

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

# Whatever starts the tests in the background may have them ignore Ctrl-C, and so would every
# process they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A script that starts a MediaWiki and says "ready URL"; where there is none, the tests that need it
# are skipped.
WIKI = Path(__file__).parents[2] / "shared" / "thaiwiki" / "serve"
WIKI_MINUTES = 5


@pytest.fixture(scope="session")
def llama() -> Iterator[LlamaCppGenerator]:
    with LlamaCppGenerator() as generator:
        yield generator


class _Wiki:
    """Comes up while the other tests run."""

    def __init__(self) -> None:
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
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._said.put(line)
        self._said.put("")

    def url(self) -> str:
        with contextlib.suppress(queue.Empty):
            while line := self._said.get(timeout=WIKI_MINUTES * 60):
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with the wiki come last: by then it is up."""
    live = [item for item in items if "live_wiki" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in live] + live
    if live and "SEEDFREE_WIKI" not in os.environ and WIKI.exists():
        _wiki.append(_Wiki())


def pytest_unconfigure() -> None:
    for wiki in _wiki:
        wiki.stop()


@pytest.fixture(scope="session")
def live_wiki() -> str:
    """The `api.php` of a real MediaWiki: `SEEDFREE_WIKI`, or the one that the tests start."""
    if url := os.environ.get("SEEDFREE_WIKI"):
        return url
    if not _wiki:
        pytest.skip("no MediaWiki: SEEDFREE_WIKI is not set")
    return _wiki[0].url()
