"""Do rows make a model better? Gemma 3 270M, measured on questions that Thai people asked.

    python examples/proof_thai.py test.jsonl rows.jsonl articles.jsonl --arm rows --seed 0

`test.jsonl` is the test split of WangchanThaiInstruct, `rows.jsonl` the rows to be judged, and
`articles.jsonl` Thai texts, one object with `text` a line. Each arm is a training of its own with
the same base model, tokens and steps:

- rows: the rows, in three seeds;
- exchanged: the same rows, each with the answer of another row of its task: what the model learns
  of Thai and of the form alone;
- plain: Thai text without requests;
- human: 240 of the questions with their people's answers, which are not asked later.

Questions about an article that is not given are left out. Of the others 240 go to the arm `human`,
60 choose the recipe (`--recipe`), and the rest is the test. An arm takes some half an hour on two
cores, and goes on where it was stopped. Without `--arm` all that is there is put into tables, with
the base model beside it, without and with two examples.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from train_thai import TEMPLATE, base_model

import seedfree as sf
from seedfree.evaluation import (
    Decoding,
    Evaluation,
    Likelihoods,
    Orders,
    WangchanThaiInstruct,
    evaluate,
    paired_p,
    score,
)

HUMAN, RECIPE = 240, 60
# Tokens of a row, and of all rows of an arm: what 240 rows of 320 tokens have.
LONGEST, TOKENS = 1024, 76_800
# Temperature 0.05, a repetition penalty of 1.15, and at most 512 tokens.
ANSWER = Decoding.paper()
# Both sides of a score of overlap are cut to so many characters.
CUT = 300


class Part:
    """Some questions of a benchmark; with `shown`, each after two others with their answers."""

    def __init__(
        self,
        whole: sf.Benchmark,
        name: str,
        questions: Sequence[sf.Question],
        shown: Sequence[sf.Question] = (),
    ) -> None:
        self.whole, self.name, self.language = whole, name, whole.language
        self._questions, self._shown = questions, shown

    def questions(self) -> Sequence[sf.Question]:
        return self._questions

    def prompt(self, question: sf.Question) -> sf.Prompt:
        asked = self.whole.prompt(question).user
        shown = [f"{self.whole.prompt(each).user}\n\n{each.answer[:CUT]}" for each in self._shown]
        return sf.Prompt("\n\n---\n\n".join([*shown, asked]))


def parts_of(path: str) -> dict[str, Part]:
    whole = WangchanThaiInstruct(path, noncommercial=True)
    # Questions about an article that is not given.
    names = sf.Language.load("th").text_names
    asked = [q for q in whole.questions() if q.context or not any(n in q.question for n in names)]
    Random(0).shuffle(asked)
    human, recipe, test = (
        asked[:HUMAN],
        asked[HUMAN : HUMAN + RECIPE],
        asked[HUMAN + RECIPE :],
    )
    return {
        "human": Part(whole, "wangchan-human", human),
        "recipe": Part(whole, "wangchan-recipe", recipe),
        "test": Part(whole, "wangchan-test", test),
        "shown": Part(whole, "wangchan-test-shown", test, recipe[:2]),
    }


def exchanged(rows: Sequence[sf.Instruction]) -> Iterator[sf.Instruction]:
    """Yields each row with the answers of the next one of its task."""
    tasks: dict[str, list[sf.Instruction]] = {}
    for row in rows:
        tasks.setdefault(row.task, []).append(row)
    for same in tasks.values():
        if len(same) < 2:
            continue
        for row, other in zip(same, [*same[1:], same[0]], strict=True):
            answers = [m.content for m in other.messages if m.role == "assistant"]
            turns = iter(answers * len(row.messages))
            messages = tuple(
                replace(m, content=next(turns)) if m.role == "assistant" else m
                for m in row.messages
            )
            yield replace(row, output=answers[0], messages=messages, id="", evidence="")


def rows_of(arm: str, options: argparse.Namespace, human: Part) -> Iterable[sf.Instruction]:
    if arm == "human":
        return [
            sf.Instruction(q.task, human.prompt(q).user, q.answer, language="th")
            for q in human.questions()
        ]
    if arm == "plain":
        lines = Path(options.articles).read_text("utf-8").splitlines()
        texts = [json.loads(line)["text"] for line in lines]
        # About as long as an answer.
        return [sf.Instruction("plain", "-", text[:1200], language="th") for text in texts]
    rows = list(sf.Dataset.from_jsonl(options.rows))
    return exchanged(rows) if arm == "exchanged" else rows


def training_set(rows: Iterable[sf.Instruction], seed: int) -> sf.Dataset:
    """Returns rows, drawn with a seed, that have together as many tokens as every arm."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_model(), trust_remote_code=False)
    drawn, taken, tokens = list(rows), [], 0
    Random(seed).shuffle(drawn)
    for row in drawn:
        size = sum(len(tokenizer(m.content)["input_ids"]) + 6 for m in row.messages)
        if size <= LONGEST and tokens + size <= TOKENS:
            taken.append(row)
            tokens += size
    if tokens < 0.9 * TOKENS:
        sys.exit(f"{tokens:,} tokens of rows that fit are too few; every arm has {TOKENS:,}")
    return sf.Dataset(taken)


def train(arm: str, seed: int, options: argparse.Namespace, parts: dict[str, Part]) -> None:
    rows = training_set(rows_of(arm, options, parts["human"]), seed)
    config = sf.QLoRAConfig(
        language="th",
        chat_template=TEMPLATE,
        rank=16,
        alpha=16,
        # Packed, an equal number of tokens is an equal number of steps.
        max_length=LONGEST,
        accumulation=1,
        learning_rate=options.rate,
        epochs=2,
        keep=options.keep,
        stop_weight=options.stop_weight,
        gradient_checkpointing=False,
        validation_share=0.05,
        checkpoints=4,
        seed=seed,
    )
    sys.stdout.write(f"{arm}, seed {seed}: {len(rows)} rows\n")
    folder = Path(options.out) / f"{arm}-{seed}"
    model = sf.QLoRATrainer(base_model(), config).train(rows, folder / "model")
    if options.recipe:
        found = []
        for each, out in ((model.untrained(), folder.parent / "base-0"), (model, folder)):
            found.append(evaluate(each, parts["recipe"], out / "recipe", measure="likelihood"))
            sys.stdout.write(f"{out.name}\n{found[-1]}\n")
        base, trained = found
        own, gained = paired_p(base.own, trained.own), paired_p(base.gained, trained.gained)
        sys.stdout.write(f"p of own {own:.3f}, of gained {gained:.3f}\n")
        out = folder / "recipe-answers"
        answered = evaluate(model, parts["recipe"], out, decoding=ANSWER, limit=30, batch_size=30)
        sys.stdout.write(f"answers that end: {ended(answered):.0%}\n")
        return
    evaluate(model, parts["test"], folder / "likelihood", measure="likelihood")
    if (arm, seed) == ("rows", 0):
        base, out = model.untrained(), Path(options.out)
        evaluate(base, parts["test"], out / "base-0" / "likelihood", measure="likelihood")
        answers(model, folder, parts)
        answers(base, out / "base-0", parts)
        evaluate(base, parts["shown"], out / "shown-0" / "likelihood", measure="likelihood")


def answers(model: sf.TrainedModel, folder: Path, parts: dict[str, Part]) -> None:
    # On a CPU, reading the weights takes longer than computing: many answers at a time.
    evaluate(model, Orders("th"), folder / "orders", decoding=ANSWER, batch_size=60)
    evaluate(model, parts["test"], folder / "answers", decoding=ANSWER, limit=96, batch_size=48)


def tables(options: argparse.Namespace, parts: dict[str, Part]) -> None:
    out = Path(options.out)
    likely, questions = {}, parts["test"].questions()
    for name in sorted(path.parent.name for path in out.glob("*/likelihood")):
        try:
            likely[name] = Likelihoods.open(out / name / "likelihood")
        except sf.ConfigError as error:
            sys.stdout.write(f"{name} is left out: {error}\n")
    if "base-0" not in likely:
        sys.exit("The base model is measured with --arm rows --seed 0; run that first.")
    base, human = likely["base-0"], likely.get("human-0")
    sys.stdout.write(f"{len(questions)} questions; bits a byte, and p beside the base model\n")
    sys.stdout.write("| arm | own | p | gained | p | choices right |\n|---|---|---|---|---|---|\n")
    for name, each in likely.items():
        whole = each.tasks["all"]
        own, gained = paired_p(base.own, each.own), paired_p(base.gained, each.gained)
        sys.stdout.write(
            f"| {name} | {whole.own:.4f} | {own:.3f} | {whole.gained:.4f} | {gained:.3f} "
            f"| {sum(each.hits)} of {len(each.hits)} |\n"
        )
    for name, rows in likely.items():
        if not name.startswith("rows-"):
            continue
        for other in ("exchanged-0", "plain-0"):
            if other not in likely:
                continue
            more = rows.tasks["all"].gained - likely[other].tasks["all"].gained
            p = paired_p(likely[other].gained, rows.gained)
            sys.stdout.write(f"{name} gains {more:+.4f} beside {other}, p {p:.3f}\n")
        if human:
            lower = base.tasks["all"].own - rows.tasks["all"].own
            lowest = base.tasks["all"].own - human.tasks["all"].own
            sys.stdout.write(f"{name}: {lower / lowest:.0%} of what the human arm's own fell\n")
    if not (out / "base-0" / "orders" / "predictions.jsonl").exists():
        return
    orders = Orders("th")
    sys.stdout.write("\n| arm | orders passed | p | answers that end | chrF | ROUGE-L |\n")
    sys.stdout.write("|---|---|---|---|---|---|\n")
    before = orders.passed(Evaluation.open(out / "base-0" / "orders"))
    for name in likely:
        if not (out / name / "answers" / "predictions.jsonl").exists():
            continue
        passed = orders.passed(Evaluation.open(out / name / "orders"))
        answers = Evaluation.open(out / name / "answers")
        scores = overlap(answers.predictions, answers.questions)
        sys.stdout.write(
            f"| {name} | {passed.share:.0%} | {passed.p_beside(before):.3f} | {ended(answers):.0%} "
            f"| {scores.chrf:.1f} | {scores.rougeL:.3f} |\n"
        )
    asked = answers.questions
    floors = {
        "another question's answer": [q.answer for q in [*asked[1:], asked[0]]],
        "the question, repeated": [q.question * 5 for q in asked],
    }
    for name, texts in floors.items():
        scores = overlap(texts, asked)
        sys.stdout.write(f"| {name} | | | | {scores.chrf:.1f} | {scores.rougeL:.3f} |\n")


def ended(answers: Evaluation) -> float:
    return sum(reason == "end" for reason in answers.stop_reasons) / len(answers.stop_reasons)


def overlap(answers: Sequence[str], questions: Sequence[sf.Question]) -> Any:
    wanted = [question.answer[:CUT] for question in questions]
    return score([answer[:CUT] for answer in answers], wanted, language="th")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("test")
    parser.add_argument("rows")
    parser.add_argument("articles")
    parser.add_argument("--arm", choices=["rows", "exchanged", "plain", "human"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=5e-4, help="the learning rate")
    parser.add_argument("--keep", type=float, default=0.4, help="share of the adapter kept")
    parser.add_argument("--stop-weight", type=float, default=20, help="of what ends an answer")
    parser.add_argument("--recipe", action="store_true", help="measure on the recipe's questions")
    parser.add_argument("--out", default="runs/proof")
    options = parser.parse_args()
    parts = parts_of(options.test)
    if options.arm:
        train(options.arm, options.seed, options, parts)
    else:
        tables(options, parts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
