"""A trained model as a generator: each answer is the same in any batch, and it is measured too."""

import asyncio
import inspect

import pytest

from seedfree.dataset import Dataset
from seedfree.errors import ConfigError
from seedfree.evaluation.evaluate import Decoding, evaluate
from seedfree.evaluation.results import Evaluation
from seedfree.evaluation.wangchan import WangchanThaiInstruct
from seedfree.records import Message, Prompt
from seedfree.training.config import QLoRAConfig
from seedfree.training.generator import TrainedGenerator
from seedfree.training.model import TrainedModel
from seedfree.training.trainer import QLoRATrainer
from tests.evaluation.benchmarks import wangchan_rows, write_jsonl
from tests.training.tiny import TASKS, item, one_thread, save_base

PROMPTS = [
    Prompt(text, max_tokens=10, temperature=1.5, top_p=0.9, seed=n)
    for n, text in enumerate("ก ขข คคค ง".split())
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = QLoRAConfig(
        rank=4, max_length=256, epochs=1, validation_share=0, gradient_checkpointing=False
    )
    rows = Dataset(item(task, 0) for task in TASKS)
    with one_thread():
        trainer = QLoRATrainer(save_base(folder / "base"), config, show=False)
        yield trainer.train(rows, folder / "out")


def ask(generator, prompts):
    async def run():
        return await asyncio.gather(*map(generator.generate, prompts))

    return asyncio.run(run())


def counted(model, monkeypatch):
    """Sizes of the batches that the model is asked in."""
    sizes, replies = [], TrainedModel.replies

    def counting(self, prompts, *args, **settings):
        sizes.append(len(prompts))
        return replies(self, prompts, *args, **settings)

    monkeypatch.setattr(TrainedModel, "replies", counting)
    return sizes


def test_what_is_asked_side_by_side_is_answered_in_batches(model, monkeypatch):
    sizes = counted(model, monkeypatch)
    replies = ask(TrainedGenerator(model, batch_size=3), PROMPTS)
    assert sorted(sizes) == [1, 3]
    assert all(
        reply.usage.input_tokens > 0 and 1 <= reply.usage.output_tokens <= 10 for reply in replies
    )


def test_an_answer_is_the_same_in_any_batch_also_where_it_is_drawn(model):
    alone, together = (ask(TrainedGenerator(model, batch_size=size), PROMPTS) for size in (1, 4))
    assert [reply.text for reply in alone] == [reply.text for reply in together]
    turned = ask(TrainedGenerator(model, batch_size=2), PROMPTS[::-1])[::-1]
    assert [reply.text for reply in turned] == [reply.text for reply in alone]


def test_what_is_drawn_depends_on_the_seed(model):
    twins = [Prompt("ก", max_tokens=10, temperature=2.0, seed=n) for n in range(6)]
    assert len({reply.text for reply in ask(TrainedGenerator(model), twins)}) > 1
    greedy = [Prompt("ก", max_tokens=10, seed=n) for n in range(3)]
    assert len({reply.text for reply in ask(TrainedGenerator(model), greedy)}) == 1


def test_a_tiny_top_p_leaves_the_likeliest_token_alone(model):
    narrow = Prompt("ก", max_tokens=8, temperature=2.0, top_p=1e-6, seed=5)
    likeliest = Prompt("ก", max_tokens=8)
    first, second = ask(TrainedGenerator(model), [narrow, likeliest])
    assert first.text == second.text


def test_a_cut_off_answer_says_so_and_a_whole_one_ends(model):
    (cut,) = ask(TrainedGenerator(model), [Prompt("ก", max_tokens=1)])
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 1)
    texts = model.generate([[Message("user", "ก")]], max_new_tokens=1)
    assert [cut.text] == texts


def test_prompts_with_other_settings_are_not_mixed_into_a_batch(model, monkeypatch):
    sizes = counted(model, monkeypatch)
    mixed = [Prompt("ก", max_tokens=2), Prompt("ก", max_tokens=3), Prompt("ข", max_tokens=2)]
    replies = ask(TrainedGenerator(model), mixed)
    assert sorted(sizes) == [1, 2]
    for reply, prompt in zip(replies, mixed, strict=True):
        assert reply.usage.output_tokens <= prompt.max_tokens


def test_a_fault_is_told_to_those_who_asked_and_the_next_is_answered(model):
    generator = TrainedGenerator(model)
    with pytest.raises(ConfigError, match="generate takes"):
        ask(generator, [Prompt("ก", temperature=-1.0)])
    assert len(ask(generator, [Prompt("ก", max_tokens=2)])) == 1


def test_it_is_named_by_its_weights(model):
    identity = TrainedGenerator(model).identity
    assert identity == TrainedGenerator(TrainedModel.open(model.folder)).identity
    assert identity.startswith(f"trained:{model.info['base']['digest']}:")
    assert inspect.iscoroutinefunction(TrainedGenerator(model).generate)
    with pytest.raises(ConfigError, match="batch_size is 0"):
        TrainedGenerator(model, batch_size=0)


def test_a_trained_model_is_evaluated_and_kept_like_any_other(model, tmp_path, monkeypatch):
    benchmark = WangchanThaiInstruct(write_jsonl(tmp_path / "w.jsonl", wangchan_rows()))
    sizes = counted(model, monkeypatch)
    decoding = Decoding(temperature=0.05, top_p=0.9, repetition_penalty=1.15, max_tokens=6)
    first = evaluate(model, benchmark, tmp_path / "out", decoding=decoding, batch_size=4)
    assert sum(sizes) == 6 and max(sizes) > 1 and len(first.predictions) == 6
    assert first.info["model"] == TrainedGenerator(model).identity and first.scores.cut_off > 0
    again = evaluate(model, benchmark, tmp_path / "out", decoding=decoding)
    assert sum(sizes) == 6, "nothing is asked again"
    kept = Evaluation.open(tmp_path / "out")
    assert again.predictions == first.predictions == kept.predictions
