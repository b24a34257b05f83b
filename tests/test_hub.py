"""Uploads to the hub: what goes there, on request alone, and private unless it is said."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import seedfree as sf
from tests.fakes import small_pipeline

ROWS = sf.Dataset(
    [
        sf.Instruction("closed_qa", "ถาม", "ตอบ", language="th", generator="m"),
        sf.Instruction("open_qa", "ຖາມ", "ຕອບ", language="lo", generator="m"),
        sf.Instruction("open_qa", "ถาม", "คำตอบ", language="th", generator="m"),
    ]
)


class Hub:
    """Stands in for `HfApi`, and keeps what it is asked."""

    def __init__(self, public: bool = False, fault: Exception | None = None) -> None:
        self.public, self.fault = public, fault
        self.made: list[tuple[str, str, bool]] = []
        self.files: dict[str, bytes] = {}

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        if self.fault:
            raise self.fault
        assert exist_ok
        self.made.append((repo_id, repo_type, private))

    def repo_info(self, repo_id: str, *, repo_type: str) -> Any:
        return SimpleNamespace(private=not self.public)

    def upload_folder(self, *, repo_id: str, repo_type: str, folder_path: str) -> None:
        assert (repo_id, repo_type) == self.made[-1][:2]
        self.files = {path.name: path.read_bytes() for path in Path(folder_path).rglob("*")}


def use(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> Hub:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    return hub


def front(card: bytes) -> dict[str, Any]:
    head: dict[str, Any] = yaml.safe_load(card.decode().split("---\n")[1])
    return head


def test_rows_and_card_are_uploaded_privately(monkeypatch: Any) -> None:
    hub = use(monkeypatch, Hub())
    address = "https://huggingface.co/datasets/me/rows"
    assert ROWS.push_to_hub("me/rows") == address and hub.made == [("me/rows", "dataset", True)]
    assert set(hub.files) == {"dataset.jsonl", "README.md"}
    lines = hub.files["dataset.jsonl"].decode().splitlines()
    assert [json.loads(line) for line in lines] == ROWS.to_rows()
    head = front(hub.files["README.md"])
    assert head["language"] == ["lo", "th"] and head["pretty_name"] == "Instructions in Thai"
    assert head["dataset_info"]["splits"] == [{"name": "train", "num_examples": 3}]


def test_a_run_brings_its_own_card_and_nothing_else_of_its_folder(
    tmp_path: Path, monkeypatch: Any
) -> None:
    hub = use(monkeypatch, Hub())
    run = small_pipeline().run(size=6, out=tmp_path / "run", progress=False)
    run.dataset.push_to_hub("me/rows", private=False)
    assert hub.made == [("me/rows", "dataset", False)]
    assert hub.files == {
        name: (run.path / name).read_bytes() for name in ("dataset.jsonl", "README.md")
    }
    # The run's card tells of all its rows, so a part of them has one of its own.
    run.dataset[:1].push_to_hub("me/part")
    assert front(hub.files["README.md"])["dataset_info"]["splits"][0]["num_examples"] == 1


def test_a_public_repository_that_is_there_is_not_added_to_unasked(monkeypatch: Any) -> None:
    hub = use(monkeypatch, Hub(public=True))
    with pytest.raises(sf.ConfigError, match="me/rows is there already and public.*private=False"):
        ROWS.push_to_hub("me/rows")
    assert not hub.files
    ROWS.push_to_hub("me/rows", private=False)
    assert hub.files


def test_what_the_hub_refuses_is_one_line(monkeypatch: Any) -> None:
    use(monkeypatch, Hub(fault=OSError("403 Forbidden\nmore")))
    with pytest.raises(sf.ConfigError, match="The hub refused me/rows: 403 Forbidden more. Log in"):
        ROWS.push_to_hub("me/rows")
    with pytest.raises(sf.ConfigError, match="has no rows"):
        sf.Dataset().push_to_hub("me/rows")


def test_without_the_package_its_command_is_named(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(sf.ConfigError, match=r"pip install 'seedfree\[hub\]'"):
        ROWS.push_to_hub("me/rows")


def test_datasets_alone_loads_a_run_folder(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    run = small_pipeline().run(size=6, out=tmp_path / "run", progress=False)
    code = (
        "import sys; sys.modules['seedfree'] = None; import datasets\n"
        "rows = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])\n"
        "print(list(rows), rows['train'].num_rows, rows['train'].features['source']['fictional'])"
    )
    command = [sys.executable, "-c", code, str(run.path), str(tmp_path / "cache")]
    environment = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.strip() == f"['train'] {len(run.dataset)} Value('bool')", done.stderr
