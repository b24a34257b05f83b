"""The settings of a run, as its folder keeps them: what counts, what differs, what is left out."""

from __future__ import annotations

import dataclasses
import json

import pytest

import seedfree as sf
from seedfree.run.settings import describe, differing, fingerprint


def test_settings_are_plain_json_without_keys_or_what_may_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary-000")
    llm = sf.ClaudeGenerator(api_key="sk-canary-111", timeout=7)
    text = json.dumps(sf.Pipeline("th", llm).settings(), ensure_ascii=False)
    assert "canary" not in text and "timeout" not in text and "claude-haiku-5-5" in text


def test_a_components_public_settings_count_and_its_private_state_does_not() -> None:
    class Mine:
        operational = frozenset({"folder"})

        def __init__(self, k: int) -> None:
            self.k, self.folder, self._cache = k, "/tmp/x", object()

    assert describe(Mine(3)) == {"kind": "own:Mine", "k": 3}


def test_differing_names_the_setting_inside() -> None:
    was = {"a": 1, "list": [{"x": 1, "y": 2}, 3], "gone": 0}
    now = {"a": 1, "list": [{"x": 1, "y": 5}, 3], "new": 0}
    assert differing(was, now) == ["gone", "list.0.y", "new"]
    assert differing(was, was) == []


def _fingerprint(**settings: object) -> str:
    return fingerprint(sf.Pipeline("th", sf.ClaudeGenerator(api_key="k"), **settings).settings())


def test_equal_pipelines_have_one_fingerprint() -> None:
    assert _fingerprint() == _fingerprint()
    assert _fingerprint() != _fingerprint(tasks=[sf.ClosedQA(pairs=2)])


def test_a_field_that_a_language_does_not_use_leaves_no_trace() -> None:
    pack = sf.Language(code="xx", name="X", native="x", script="Latin", persona="p")
    was = describe(pack)
    assert describe(dataclasses.replace(pack, digits="")) == was
    assert describe(dataclasses.replace(pack, digits="๐๑๒๓๔๕๖๗๘๙")) != was
