"""What the tests of training share."""

import pytest

from seedfree.dataset import Dataset
from tests.training.tiny import TASKS, item, save_base


@pytest.fixture(scope="session")
def rows():
    """Eight rows of each task."""
    return Dataset(item(task, number) for number in range(8) for task in TASKS)


@pytest.fixture(scope="session")
def one_thread():
    """Threads that wait for each other take longer than what such small matrices need."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def base(tmp_path_factory, one_thread):
    for package in ("trl", "peft", "bitsandbytes", "datasets"):
        pytest.importorskip(package)
    return save_base(tmp_path_factory.mktemp("base") / "tiny")
