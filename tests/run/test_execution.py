"""Whatever fails and however often a run stops: the same jobs are asked, the same bytes come."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import seedfree as sf
from tests.fakes import FakeClock, LetterEncoder, Riddle, published, small_pipeline, thai


class Moody:
    """An LLM whose replies hang on the prompt alone; some cannot be read, and some calls fail."""

    def __init__(self, seed: int, spoilt: int, failing: set[int] = frozenset()) -> None:
        self.seed, self.spoilt, self.failing = seed, spoilt, failing
        self.calls = 0
        self.answered: set[str] = set()

    def __call__(self, prompt: sf.Prompt) -> sf.Reply:
        self.calls += 1
        if self.calls in self.failing:
            raise ValueError("out of order")
        request = f"{self.seed}{prompt.user}{prompt.seed}{prompt.max_tokens}"
        self.answered.add(request)
        digest = hashlib.sha256(request.encode()).digest()
        return sf.Reply("no JSON") if digest[0] < self.spoilt else thai(prompt)


def run(llm: Moody, folder: Path, size: int, concurrency: int) -> sf.Run:
    pipeline = small_pipeline(
        sf.FunctionGenerator(llm, name="moody"),
        contexts=[sf.WrittenContexts(min_chars=40)],
        tasks=[Riddle(), sf.Summarization(), sf.ClosedQA()],
        diversity=sf.SemanticDiversityFilter(threshold=0.9, encoder=LetterEncoder()),
    )
    return pipeline.run(size=size, out=folder, concurrency=concurrency, clock=FakeClock())


@settings(max_examples=12)
@given(
    seed=st.integers(0, 99),
    spoilt=st.sampled_from([0, 30, 120]),
    size=st.sampled_from([5, 24]),
    concurrency=st.sampled_from([1, 5, 64]),
    failing=st.sets(st.integers(1, 60), max_size=4),
)
def test_failures_and_stops_change_neither_the_jobs_nor_the_bytes(
    seed: int, spoilt: int, size: int, concurrency: int, failing: set[int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        calm, moody = Moody(seed, spoilt), Moody(seed, spoilt, failing)
        undisturbed = run(calm, Path(folder) / "calm", size, 8)
        for _ in range(len(failing) + 1):
            disturbed = run(moody, Path(folder) / "moody", size, concurrency)
            if disturbed.status != "stopped":
                break
        assert disturbed.status == undisturbed.status
        assert moody.answered == calm.answered
        assert published(disturbed.path) == published(undisturbed.path)
