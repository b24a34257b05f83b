"""A pipeline with one diversity filter, with several, or with none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seedfree as sf
from seedfree.config import Config
from seedfree.errors import ConfigMismatchError
from seedfree.records import Instruction
from tests.fakes import FakeClock, LetterEncoder, published, small_pipeline, thai_llm


@dataclass
class Every:
    """A diversity filter that drops every n-th row it sees, as a duplicate of the one before."""

    n: int

    def __post_init__(self) -> None:
        self._seen: list[int] = []
        self._calls: list[str] = []

    def select(self, items: Sequence[Instruction]) -> sf.Selection:
        self._seen.append(len(items))
        of = np.array(
            [i - 1 if i % self.n == self.n - 1 else -1 for i in range(len(items))], np.int64
        )
        return sf.Selection(np.flatnonzero(of < 0), of, np.where(of >= 0, 0.5, np.nan))

    def ready(self) -> None:
        self._calls.append("ready")

    def bind(self, session: sf.Session) -> None:
        self._calls.append("bind")

    def close(self) -> None:
        self._calls.append("close")


def test_each_diversity_filter_sees_what_those_before_it_left(tmp_path: Path) -> None:
    class Named(Every):
        reason = "every fifth"

    third, fifth = Every(3), Named(5)
    run = small_pipeline(diversity=[third, fifth]).run(size=30, out=tmp_path)
    assert len(run.dataset) == 30
    assert fifth._seen == [n - n // 3 for n in third._seen]
    drops = run.stats.drops
    assert drops["diversity: near-duplicate"] == third._seen[-1] // 3
    assert drops["diversity: every fifth"] == fifth._seen[-1] // 5
    assert third._calls == fifth._calls == ["ready", "bind", "close"]


def test_a_list_of_diversity_filters_gives_the_same_bytes_at_any_concurrency(
    tmp_path: Path,
) -> None:
    def diversity() -> list[sf.DiversityFilter]:
        semantic = sf.SemanticDiversityFilter(0.9, encoder=LetterEncoder())
        lexical = sf.LexicalDiversityFilter(0.5, fields="output", size=2)
        return [
            sf.ExactDiversityFilter(),
            lexical,
            semantic,
            sf.CapDiversityFilter(per_page=3, per_topic=1),
        ]

    for n in (1, 7, 64):
        made = small_pipeline(diversity=diversity()).run(
            size=25, out=tmp_path / str(n), concurrency=n, clock=FakeClock()
        )
    assert published(tmp_path / "1") == published(tmp_path / "7") == published(tmp_path / "64")
    assert {"diversity: enough on the topic", "diversity: near-duplicate"} <= set(made.stats.drops)
    again = small_pipeline(thai_llm(), diversity=diversity()).run(
        size=25, out=tmp_path / "1", clock=FakeClock()
    )
    assert published(tmp_path / "1") == published(tmp_path / "7") and again.status == "complete"
    assert "enough on the topic" in (tmp_path / "1" / "README.md").read_text()


def test_a_cap_says_which_one_and_names_the_row_that_came_last(tmp_path: Path) -> None:
    cap = sf.CapDiversityFilter(per_page=2)
    pipeline = small_pipeline(tasks=[sf.ClosedQA(pairs=5)], diversity=cap)
    run = pipeline.run(size=24, out=tmp_path)
    full = [d for d in run.dropped if d.reason == "diversity: enough from the page"]
    assert full and run.stats.drops["diversity: enough from the page"] == len(full)
    rows = {r.id for r in [*run.dataset, *run.dropped]}
    assert all(d.similarity is None and d.duplicate_of in rows for d in full)
    assert "NaN" not in (tmp_path / "dropped.jsonl").read_text()


def test_rows_that_a_diversity_filter_dropped_are_not_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seedfree.filters.rules import RuleFilter

    judged: list[str] = []
    monkeypatch.setattr(RuleFilter, "check", lambda self, item: judged.append(item.id))
    settings: dict[str, Any] = {
        "tasks": [sf.Summarization()],
        "filters": [RuleFilter()],
        "diversity": [Every(4), sf.CapDiversityFilter(per_topic=1)],
    }
    first = small_pipeline(**settings).run(size=12, out=tmp_path, clock=FakeClock())
    assert {"diversity: near-duplicate", "diversity: enough on the topic"} <= set(first.stats.drops)
    before = published(tmp_path)
    judged.clear()
    small_pipeline(**settings).run(size=12, out=tmp_path, clock=FakeClock())
    assert judged == [] and published(tmp_path) == before


def test_settings_describe_one_filter_or_a_list(tmp_path: Path) -> None:
    single = small_pipeline(diversity=sf.CapDiversityFilter(per_page=2)).settings()["diversity"]
    assert single == {
        "kind": "CapDiversityFilter",
        "per_page": 2,
        "per_topic": None,
    }
    many = small_pipeline(
        diversity=(sf.ExactDiversityFilter(), sf.CapDiversityFilter(per_page=2))
    ).settings()["diversity"]
    assert (
        many[1] == single
        and many[0]["fields"] == ["instruction", "output"]
        and "reason" not in many[0]
    )
    small_pipeline(diversity=[sf.CapDiversityFilter(per_page=2)]).run(size=2, out=tmp_path)
    with pytest.raises(ConfigMismatchError) as caught:
        small_pipeline(diversity=[sf.CapDiversityFilter(per_page=3)]).run(size=2, out=tmp_path)
    assert caught.value.fields == ("diversity.0.per_page",)


def test_no_diversity_filter_is_none_or_an_empty_list(tmp_path: Path) -> None:
    for name, none in (("a", None), ("b", [])):
        small_pipeline(diversity=none).run(size=8, out=tmp_path / name, clock=FakeClock())
    assert published(tmp_path / "a") == published(tmp_path / "b")


@pytest.mark.parametrize(
    ("diversity", "says"),
    [
        ([sf.ExactDiversityFilter(), object()], "object is not a DiversityFilter"),
        ([sf.ExactDiversityFilter], "holds the class ExactDiversityFilter"),
        ("exact", "'exact' is no DiversityFilter"),
        ([None], "NoneType is not a DiversityFilter"),
    ],
)
def test_what_is_no_diversity_filter_is_refused(diversity: Any, says: str) -> None:
    with pytest.raises(sf.ConfigError, match=says):
        small_pipeline(diversity=diversity)


def test_a_configuration_file_may_list_diversity_filters(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        """
language: th
generator: {use: OpenAICompatibleGenerator, base_url: 'http://127.0.0.1:1', model: m}
diversity:
  - ExactDiversityFilter
  - {use: LexicalDiversityFilter, threshold: 0.7}
  - {use: SemanticDiversityFilter, encoder: USEEncoder}
  - {use: CapDiversityFilter, per_page: 9}
"""
    )
    semantic = sf.SemanticDiversityFilter(encoder=sf.USEEncoder())
    filters = [
        sf.ExactDiversityFilter(),
        sf.LexicalDiversityFilter(0.7),
        semantic,
        sf.CapDiversityFilter(per_page=9),
    ]
    same = sf.Pipeline(
        "th", sf.OpenAICompatibleGenerator("http://127.0.0.1:1", "m"), diversity=filters
    )
    assert Config.load(file).pipeline.settings() == same.settings()


def test_two_filters_with_one_encoder_are_refused() -> None:
    two = [
        sf.SemanticDiversityFilter(encoder=LetterEncoder(), fields=name)
        for name in ("instruction", "output")
    ]
    with pytest.raises(sf.ConfigError, match="Two filters in diversity have the encoder"):
        small_pipeline(diversity=two)
