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
    """A new folder, in memory where possible: thousands of syncs then wait for no disk."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else None))
    # A child that gave up root's rights still has to reach what lies in it.
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
