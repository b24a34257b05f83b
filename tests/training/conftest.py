"""What the tests of training share."""

import pytest

from seedfree.dataset import Dataset
from tests.training.tiny import TASKS, item


@pytest.fixture(scope="session")
def rows():
    """Eight rows of each task."""
    return Dataset(item(task, number) for number in range(8) for task in TASKS)
