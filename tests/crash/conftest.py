"""The warm processes that the tests of this folder share, and a folder for their lives."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.lives import Workers


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    workers = Workers(2)
    yield workers
    workers.end()


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory, where there is such a folder: thousands of syncs wait for no disk. Anyone may look into it."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
