"""What a training leaves: opened, asked, merged, converted, published."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from seedfree.errors import ConfigError
from seedfree.records import Message
from seedfree.training.config import QLoRAConfig
from seedfree.training.model import TrainedModel
from seedfree.training.trainer import QLoRATrainer
from tests.training.tiny import save_base


@pytest.fixture(scope="module")
def trained(base, rows, tmp_path_factory):
    """Five rows by heart."""
    config = QLoRAConfig(
        rank=8,
        max_length=256,
        learning_rate=2e-2,
        epochs=16,
        validation_share=0,
        dropout=0,
        accumulation=1,
        gradient_checkpointing=False,
    )
    out = tmp_path_factory.mktemp("model") / "out"
    return QLoRATrainer(base, config, show=False).train(rows[:5], out), rows[:5]


def asked(rows):
    return [row.messages[:-1] for row in rows]


def test_it_answers_as_it_was_taught_and_stops(trained):
    model, rows = trained
    answers = TrainedModel.open(model.folder).generate(asked(rows), max_new_tokens=120)
    right = [answer == row.messages[-1].content for answer, row in zip(answers, rows, strict=True)]
    assert sum(right) >= 4


def test_a_batch_gives_what_each_gives_alone_and_a_text_is_a_user_s_turn(trained):
    model, rows = trained
    together = model.generate(asked(rows), max_new_tokens=8)
    assert model.generate(asked(rows), max_new_tokens=8, batch_size=1) == together
    assert model.generate([rows[0].messages[0].content], max_new_tokens=8) == together[:1]
    assert model.generate([]) == []


def test_sampling_depends_on_the_seed_alone(trained):
    model, rows = trained
    settings = {"max_new_tokens": 20, "temperature": 2.0, "top_p": 0.99}
    first = model.generate(asked(rows), seed=1, **settings)
    assert model.generate(asked(rows), seed=1, **settings) == first
    assert model.generate(asked(rows), seed=2, **settings) != first


@pytest.mark.parametrize("top_p", [0.5, 1.0])
def test_what_is_drawn_does_not_depend_on_how_many_tokens_are_looked_at_first(
    trained, monkeypatch, top_p
):
    from seedfree.training import model as module

    model, rows = trained
    settings = {"max_new_tokens": 20, "temperature": 2.0, "top_p": top_p}
    found = []
    for likeliest in (1, 20, 10_000):
        monkeypatch.setattr(module, "_LIKELIEST", likeliest)
        found.append(model.generate(asked(rows), **settings))
    assert found[0] == found[1] == found[2]
    sure = model.generate(asked(rows), max_new_tokens=20)
    assert found[0] != sure
    assert model.generate(asked(rows), **settings | {"temperature": 0.001}) == sure


@pytest.mark.parametrize(
    "settings", [{"temperature": -1}, {"top_p": 0}, {"max_new_tokens": 0}, {"batch_size": 0}]
)
def test_settings_out_of_range_are_one_line(trained, settings):
    with pytest.raises(ConfigError, match="generate takes"):
        trained[0].generate([[Message("user", "ก")]], **settings)


def test_it_goes_with_its_own_base_model_alone(trained, base, tmp_path):
    model, _ = trained
    other = save_base(tmp_path / "other", seed=1)
    with pytest.raises(ConfigError, match="another base model than.*tiny") as caught:
        TrainedModel.open(model.folder, base_model=other)
    assert "\n" not in str(caught.value)
    moved = shutil.copytree(base, tmp_path / "moved")
    assert TrainedModel.open(model.folder, base_model=moved).base.name == str(moved)


def test_what_is_no_finished_training_is_one_line(trained, tmp_path):
    model, _ = trained
    with pytest.raises(ConfigError, match="holds no training"):
        TrainedModel.open(tmp_path)
    half = tmp_path / "half"
    half.mkdir()
    (half / "training.json").write_text(json.dumps(model.info | {"status": "running"}))
    with pytest.raises(ConfigError, match="not finished.*goes on"):
        TrainedModel.open(half)
    for text in ("{", "[]", "{}"):
        (half / "training.json").write_text(text)
        with pytest.raises(ConfigError, match="training.json"):
            TrainedModel.open(half)


def test_merged_it_computes_as_base_and_adapter_do(trained, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from seedfree.training.base_model import quiet

    model, rows = trained
    folder = model.merge(tmp_path / "merged")
    with quiet():
        whole = AutoModelForCausalLM.from_pretrained(folder).eval()
        adapted = model._with_adapter(None, "cpu").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.chat_template == model.info["chat_template"]
    chat = [{"role": "user", "content": rows[0].instruction}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(whole(ids).logits, adapted(ids).logits, atol=1e-3, rtol=1e-3)
    with pytest.raises(ConfigError, match="files of something else"):
        model.merge(folder)


def converter(folder, text, monkeypatch):
    path = folder / "convert_hf_to_gguf.py"
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_gguf_is_made_by_llama_cpps_converter(trained, tmp_path, monkeypatch):
    model, _ = trained
    (tmp_path / "bin").mkdir()
    script = "import sys\nopen(sys.argv[3], 'w').write(' '.join(sys.argv[1:]))\n"
    converter(tmp_path / "bin", script, monkeypatch)
    path = model.to_gguf(tmp_path / "model.gguf", kind="q8_0")
    assert path.read_text() == f"{tmp_path}/model-merged --outfile {path} --outtype q8_0"
    assert (tmp_path / "model-merged" / "config.json").exists()
    path.unlink()
    converter(tmp_path / "bin", "import sys\nsys.exit('no such architecture')\n", monkeypatch)
    with pytest.raises(ConfigError, match="no such architecture.*model-merged"):
        model.to_gguf(path)


def test_without_the_converter_the_command_is_named(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    command = "Run: python .*convert_hf_to_gguf.py .*m-merged --outfile .*m.gguf"
    with pytest.raises(ConfigError, match=command) as caught:
        trained[0].to_gguf(tmp_path / "m.gguf")
    assert "\n" not in str(caught.value)


def test_it_is_pushed_on_request(trained, monkeypatch):
    import huggingface_hub

    sent = []

    class Hub:
        def create_repo(self, repo_id, repo_type, private, exist_ok):
            if repo_id == "not/mine":
                raise OSError("403 Forbidden\nmore")
            sent.append((repo_id, repo_type, private))

        def repo_info(self, repo_id, repo_type):
            return SimpleNamespace(private=True)

        def upload_folder(self, repo_id, repo_type, folder_path):
            sent.append({path.name: path.read_bytes() for path in Path(folder_path).iterdir()})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    model, _ = trained
    with pytest.warns(DeprecationWarning, match="push is now push_to_hub"):
        assert model.push("me/thai") == "https://huggingface.co/me/thai"
    sent.clear()
    assert model.push_to_hub("me/thai") == "https://huggingface.co/me/thai"
    asked, files = sent
    assert asked == ("me/thai", "model", True)
    assert {
        "adapter_model.safetensors",
        "tokenizer.json",
        "training.json",
        "README.md",
        "loss.png",
    } <= set(files)
    base = model.base.folder()
    assert not [name for name, text in files.items() if str(base.parent).encode() in text]
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == base.name
    with pytest.raises(ConfigError, match="The hub refused not/mine: 403 Forbidden more"):
        model.push_to_hub("not/mine")


@pytest.mark.parametrize("alone", [True, False])
def test_likelihoods_do_not_hang_on_what_is_beside_them(trained, monkeypatch, alone):
    from seedfree.training import model as module

    groups = module._groups
    seen = []

    def grouped(rendered, vocabulary, **_):
        made = list(groups(rendered, vocabulary, alone=alone))
        seen.extend(made)
        return made

    monkeypatch.setattr(module, "_groups", grouped)
    # Room for some of the rows' logits at a time.
    monkeypatch.setattr(module, "_LOGITS", 200 * 400 * 4)
    model, rows = trained
    asked = [(row.messages[:-1], row.output) for row in list(rows)[:6]]
    together = model.likelihoods(asked)
    assert sorted(place for group in seen for place in group) == list(range(len(asked)))
    assert (max(map(len, seen)) == 1) == alone and len(seen) > 1
    for one, found in zip(asked, together, strict=True):
        # Where a CPU computes in bf16, products of other shapes differ in the third digit.
        assert model.likelihoods([one])[0].nats == pytest.approx(found.nats, rel=1e-2)


def test_likelihoods_are_those_of_the_whole_text(trained):
    import torch

    model, rows = trained
    row = rows[0]
    answer = row.output
    found = model.likelihoods([(row.messages[:-1], answer), (row.messages[:-1], answer * 3)])
    base = model.untrained()
    alone = base.likelihoods([(row.messages[:-1], answer)])[0]
    tokenizer = model.tokenizer()
    chat = [{"role": m.role, "content": m.content} for m in row.messages[:-1]]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    start = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    ids = torch.tensor([tokenizer(text + answer, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        logits = model.model()(ids).logits[0, start - 1 : -1].float()
        said = logits.log_softmax(-1).gather(1, ids[0, start:, None]).sum()
    assert found[0].nats == pytest.approx(-float(said), rel=1e-3)
    assert found[0].tokens == ids.shape[1] - start and found[0].size == len(answer.encode())
    assert found[1].nats > found[0].nats and alone.nats != found[0].nats
    first = model.likelihoods([(row.messages[:-1], answer)], max_tokens=3)[0]
    assert first.tokens == 3 and 0 < first.size < found[0].size and first.nats < found[0].nats
    assert base.model() is model.model()
    assert base.as_generator().identity.startswith("base:")
