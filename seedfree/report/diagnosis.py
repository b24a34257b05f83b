"""What is weak in a run: each property that passes a limit, the rows it shows in, the remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from seedfree.errors import ConfigError
from seedfree.languages import Language
from seedfree.outcome import Dropped, Variety, code
from seedfree.records import Instruction
from seedfree.report.given import Reported, settings_of, variety_of
from seedfree.text import count_scripts, shown, squeeze

__all__ = ["Finding", "diagnose", "page_of"]

# Of fewer rows, doubts or requests a share says little: with 20, one more or less is 5 points.
_ENOUGH = 20
# A run that loses more to one rule pays for half as many rows again: 1 / (1 - 1/3) = 1.5.
_MOST_TO_ONE_RULE = 1 / 3
# The floor for a model in a language, as in `run.estimate.FLOOR`: 80 % of its replies can be read,
# and 90 % of its rows are in the language.
_MOST_UNREAD, _MOST_FOREIGN = 0.2, 0.1
# Answers that end in the middle come one by one from any model; one in twenty has a cause.
_MOST_CUT_OFF = 0.05
# Above one in ten, the topics repeat themselves: good topics give 1 to 5 %.
_MOST_DUPLICATES = 0.1
# A page with more of the rows is learnt by heart, and lies on both sides of a split.
_MOST_OF_ONE_PAGE = 0.1
# Tasks have equal shares of the rows; balance="fill" may hide that one gave half of its own.
_LEAST_OF_SHARE = 0.5
# More doubts overturned than not: the rule is wrong more often than right.
_MOST_OVERTURNED = 0.5

# Why a request to a model gave nothing, in the words of `engine.session`.
_MODEL_LOSSES = ("invalid", "rejected", "cut off", "refused")
# By what a diversity filter drops rows that are like another.
_ALIKE = ("diversity: near-duplicate", "diversity: same text")
# Kinds of source without a page.
_PAGELESS = ("written", "topic")

_BEGIN = "begin with"
# Words of a line of `Variety.monotonous`, what a finding is called, and the remedy.
_MONOTONOUS = (
    (
        _BEGIN,
        "instructions begin alike",
        "Add tasks and topics; if one task alone does it, mend its prompt so that it shows no such "
        "example.",
    ),
    (
        "question mark",
        "few questions",
        "Add tasks that ask (closed and open questions), or take a model that keeps to the form "
        "that a prompt asks for.",
    ),
    (
        "introduce themselves",
        "users introduce themselves",
        "Take a model that keeps to the form that a prompt asks for, or drop these rows with a "
        "filter of your own.",
    ),
    (
        "one length",
        "answers of one length",
        "Read some; where the task leaves room, take a model that keeps to the length that a "
        "prompt asks for, or add tasks with longer and shorter answers.",
    ),
    (
        "one cell",
        "many rows about one thing",
        "Ask for fewer topics in each request (`topics_per_request`), so that they come from more "
        "cells.",
    ),
)


@dataclass(frozen=True)
class Finding:
    """A weak property of a run; print it for three lines.

    Attributes:
        name: The property in a few words.
        what: How weak it is, in a sentence.
        remedy: What to do, in a sentence.
        rows: Ids of the rows that it shows in, kept or dropped. Empty where no single row shows it.
    """

    name: str
    what: str
    remedy: str
    rows: Sequence[str] = field(default=(), repr=False)

    def __str__(self) -> str:
        some = ", ".join(self.rows[:5]) + (" …" if len(self.rows) > 5 else "")
        rows = f"\n  {len(self.rows):,} rows: {some}" if self.rows else ""
        return shown(f"{self.name}: {self.what}\n  {self.remedy}{rows}")


def diagnose(run: Reported) -> list[Finding]:
    """Lists what is weak in a run, in the order in which to mend it; nothing for a healthy one.

    Raises:
        ConfigError: The run's files cannot be read.
    """
    return list(_Diagnosis(run).findings())


def page_of(row: Instruction) -> str:
    """Names the page that a row was made from; empty for a row without one."""
    source = row.source
    return "" if source.kind in _PAGELESS else source.url or source.title or ""


class _Diagnosis:
    def __init__(self, run: Reported) -> None:
        self._run = run
        self._kept, self._dropped = list(run.dataset), list(run.dropped)
        self._all: list[Instruction] = [*self._kept, *self._dropped]

    def findings(self) -> Iterator[Finding]:
        yield from self._unfinished()
        # Of a handful of rows nothing else can be said.
        if len(self._all) >= _ENOUGH:
            yield from self._unread()
            yield from self._lost_requests()
            yield from self._foreign()
            yield from self._cut_off()
            yield from self._one_rule()
            yield from self._near_duplicates()
            yield from self._overturned()
            yield from self._tasks()
            yield from self._kinds()
            yield from self._one_page()
            yield from self._monotonous()

    @cached_property
    def _language(self) -> Language | None:
        codes = Counter(row.language for row in self._all)
        try:
            return Language.load(codes.most_common(1)[0][0])
        except ConfigError:
            return None  # a language of the user's own: its file is not with the run

    def _unfinished(self) -> Iterator[Finding]:
        size = self._run.manifest.get("size")
        why = self._run.message.rstrip(".")
        what = f"{len(self._kept):,} of {size:,} rows" if isinstance(size, int) else "fewer rows"
        what = f"The run has {what}{f': {why}' if why else ''}."
        if self._run.status == "stopped":
            yield Finding("stopped", what, "Run it again: it goes on where it stopped.")
        elif self._run.status == "short":
            remedy = (
                "Give it more topics or sources, or tasks that suit the texts, and run it again."
            )
            yield Finding("too few rows", what, remedy)

    def _lost(self, test: Callable[[str], bool]) -> list[Dropped]:
        return [row for row in self._dropped if test(row.reason)]

    def _unread(self) -> Iterator[Finding]:
        lost = self._lost(lambda why: why.startswith("reply: "))
        share = len(lost) / len(self._all)
        if share > _MOST_UNREAD:
            ((why, _),) = Counter(code(row.reason) for row in lost).most_common(1)
            yield Finding(
                "unread replies",
                f"Of {share:.0%} of the replies no row could be made; the commonest reason is "
                f'"{why.removeprefix("reply: ")}".',
                "Take a larger model, or a server that holds replies to their JSON schema.",
                _ids(lost),
            )

    def _lost_requests(self) -> Iterator[Finding]:
        """Looks at the stages other than tasks, whose losses are rows."""
        tasks = {row.task for row in self._all}
        for stage, counts in self._run.stats.stages.items():
            asked, lost = int(counts.get("asked", 0)), counts.get("lost") or {}
            by_model = sum(int(lost.get(why, 0)) for why in _MODEL_LOSSES)
            if stage not in tasks and asked >= _ENOUGH and by_model > _MOST_UNREAD * asked:
                yield Finding(
                    "lost requests",
                    f"At the stage {stage}, {by_model / asked:.0%} of {asked:,} requests gave "
                    "nothing that could be used.",
                    "Look at the replies in the ledger, then take a larger model or lower the "
                    "temperature.",
                )

    def _foreign(self) -> Iterator[Finding]:
        lost = self._lost(lambda why: why.startswith("language: "))
        # Where the language filter was left out, the rows that it would have dropped are kept.
        foreign = [*lost, *(row for row in self._kept if self._in_other_script(row))]
        share = len(foreign) / len(self._all)
        if share > _MOST_FOREIGN:
            yield Finding(
                "another language",
                f"{share:.0%} of the rows are not in the language, or not in its script.",
                "Take a model that knows the language: `seedfree doctor --language` measures it "
                "on 20 rows.",
                _ids(foreign),
            )

    def _in_other_script(self, row: Instruction) -> bool:
        if self._language is None or not self._language.script:
            return False
        scripts = count_scripts(row.output)
        letters = sum(scripts.values())
        return letters > 0 and 2 * scripts.get(self._language.script, 0) < letters

    def _cut_off(self) -> Iterator[Finding]:
        lost = self._lost(_is_cut_off)
        share = len(lost) / len(self._all)
        if share > _MOST_CUT_OFF:
            yield Finding(
                "answers cut off",
                f"{share:.0%} of the answers end in the middle.",
                "Read some: if they go round in circles, take a larger model; if not, raise the "
                "server's limit of tokens.",
                _ids(lost),
            )

    def _one_rule(self) -> Iterator[Finding]:
        elsewhere = ("reply: ", "language: ", "diversity: ", "surplus")
        rules = self._lost(lambda why: not why.startswith(elsewhere) and not _is_cut_off(why))
        for rule, n in Counter(code(row.reason) for row in rules).most_common(1):
            share = n / len(self._all)
            if share > _MOST_TO_ONE_RULE:
                yield Finding(
                    "one rule drops much",
                    f'"{rule}" drops {share:.0%} of the rows.',
                    "Read ten of them: if the rule is wrong for the language, leave its filter "
                    "out; if it is right, take a larger model or mend the task's prompt.",
                    _ids(row for row in rules if code(row.reason) == rule),
                )

    def _near_duplicates(self) -> Iterator[Finding]:
        # Rows beyond a cap are no sign of it: the user set the cap.
        alike = self._lost(lambda why: why.startswith(_ALIKE))
        surplus = self._lost(lambda why: why == "surplus")
        reached = len(self._kept) + len(surplus) + len(alike)
        if reached >= _ENOUGH and len(alike) > _MOST_DUPLICATES * reached:
            yield Finding(
                "near-duplicates",
                f"{len(alike) / reached:.0%} of the rows that passed the filters resemble an "
                "earlier row.",
                "Ask for more topics with fewer in each request (`topics_per_request`), add "
                "sources, or see what another threshold keeps with `run.threshold_sweep`.",
                _ids(alike),
            )

    def _overturned(self) -> Iterator[Finding]:
        for rule, counts in self._run.stats.checks.items():
            raised, overturned = counts.get("raised", 0), counts.get("overturned", 0)
            if raised >= _ENOUGH and overturned > _MOST_OVERTURNED * raised:
                yield Finding(
                    "doubts mostly overturned",
                    f'Of {raised:,} doubts "{rule}", the appeal overturned {overturned:,}: the '
                    "rule is too strict here.",
                    "Read some: if the rows are sound, leave the rule out and save its requests.",
                    _ids(
                        row
                        for row in self._all
                        if any(c.rule == rule and c.verdict == "overturned" for c in row.checks)
                    ),
                )

    def _tasks(self) -> Iterator[Finding]:
        tasks = settings_of(self._run).get("tasks")
        number = len(tasks) if isinstance(tasks, list) else 0
        counts, seen = self._run.dataset.by_task, {row.task for row in self._all}
        if number < 2 or len(self._kept) < _ENOUGH:
            return
        share = len(self._kept) / number
        for task in sorted(seen):
            if counts.get(task, 0) < _LEAST_OF_SHARE * share:
                yield Finding(
                    "a task has few rows",
                    f"{task} has {counts.get(task, 0):,} rows; its equal share is {share:,.0f}.",
                    "See why its rows were dropped; then mend its prompt, leave it out, or give "
                    "it texts that suit it.",
                    _ids(row for row in self._dropped if row.task == task),
                )
        if number > len(seen):
            yield Finding(
                "a task has no rows",
                f"{number - len(seen)} of {number} tasks gave no row at all.",
                "Look for it among the losses by stage: no text may suit it.",
            )

    def _kinds(self) -> Iterator[Finding]:
        settings = settings_of(self._run)
        cultural = settings.get("cultural_share")
        if settings.get("topics") is not None or not isinstance(cultural, float):
            return
        counts = Counter(row.topic_kind for row in self._kept)
        generated = counts["general"] + counts["cultural"]
        if generated < _ENOUGH:
            return
        for kind, wanted in (("cultural", cultural), ("general", 1 - cultural)):
            share = counts[kind] / generated
            if share < _LEAST_OF_SHARE * wanted:
                yield Finding(
                    f"few {kind} rows",
                    f"{share:.0%} of the rows are about {kind} topics; {wanted:.0%} were asked "
                    "for.",
                    "See among the losses where they went: their topics may have no pages, or the "
                    "model may not know them.",
                    _ids(row for row in self._dropped if row.topic_kind == kind),
                )

    def _one_page(self) -> Iterator[Finding]:
        pages = Counter(filter(None, map(page_of, self._kept)))
        for page, n in pages.most_common(1):
            if n >= _ENOUGH and n > _MOST_OF_ONE_PAGE * len(self._kept):
                yield Finding(
                    "many rows from one page",
                    f"{n / len(self._kept):.0%} of the rows are from one page, {page[:200]}.",
                    "Put `sf.CapDiversityFilter(per_page=...)` before the other diversity filters, "
                    "or give the run more pages.",
                    _ids(row for row in self._kept if page_of(row) == page),
                )

    def _monotonous(self) -> Iterator[Finding]:
        """Names what `run.variety` calls monotonous, all lines of a kind in one finding."""
        figures = variety_of(self._run)
        for words, name, remedy in _MONOTONOUS if figures else ():
            lines = [line for line in figures.monotonous if words in line] if figures else []
            if lines:
                what = "; ".join(lines)
                rows = self._alike(figures) if figures and words == _BEGIN else ()
                yield Finding(name, f"{what[0].upper()}{what[1:]}.", remedy, rows)

    def _alike(self, figures: Variety) -> Sequence[str]:
        opening, _ = figures.commonest_opening
        return _ids(row for row in self._kept if squeeze(row.instruction).startswith(opening))


def _is_cut_off(reason: str) -> bool:
    return code(reason).endswith(": cut off")


def _ids(rows: Iterable[Instruction]) -> Sequence[str]:
    return tuple(row.id for row in rows)
