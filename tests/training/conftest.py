"""What the tests of training share."""

import pytest

from seedfree.dataset import Dataset
from tests.training import tiny


@pytest.fixture(scope="session")
def rows():
    """Eight rows of each task."""
    return Dataset(tiny.item(task, number) for number in range(8) for task in tiny.TASKS)


@pytest.fixture(scope="session")
def one_thread():
    with tiny.one_thread():
        yield


@pytest.fixture(scope="session")
def base(tmp_path_factory, one_thread):
    return tiny.save_base(tmp_path_factory.mktemp("base") / "tiny")
