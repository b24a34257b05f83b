"""The command line: `seedfree demo | run | cancel | preview | estimate | report | doctor ...`.

To add a command, enter it in `_parser` and write its function below: it gets the parsed options and
returns the exit code.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedfree._version import __version__
from seedfree.errors import ConfigError, SeedfreeError
from seedfree.text import shown

if TYPE_CHECKING:
    from seedfree.run.folder import Run

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        0 when it did all it was asked to, 1 when the run is short or stopped, 2 for a wrong
        setting, 130 for Ctrl-C.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # They log a line for every request.
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return int(options.command(options))
    except SeedfreeError as error:
        sys.stderr.write(f"seedfree: {error}\n")
        return 2
    except KeyboardInterrupt as error:
        # A run says what is safe of it.
        what = str(error) or "run the same command again to go on"
        sys.stderr.write(f"seedfree: interrupted; {what}\n")
        return 130  # what shells give for SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seedfree", description="Synthetic instruction data for languages that have none."
    )
    parser.add_argument("--version", action="version", version=f"seedfree {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser(
        "demo", help="a small Thai data set without a key: by a model on this machine, or recorded"
    )
    demo.add_argument("--language", default="th", help="a language code (default: th)")
    demo.add_argument(
        "--recorded",
        action="store_true",
        help="replay the replies that a large model gave once: 50 Thai rows in seconds",
    )
    demo.add_argument("--rows", type=int, help="rows to make (default: 24; recorded: 50)")
    demo.add_argument("--out", help="the run folder (default: runs/demo, runs/demo-recorded)")
    demo.set_defaults(command=_demo)

    run = commands.add_parser("run", help="make a data set as a YAML file says; again to resume")
    run.add_argument("config", metavar="CONFIG.yaml")
    run.add_argument("--size", type=int, help="rows, in place of the file's")
    run.add_argument("--out", help="the run folder, in place of the file's")
    run.add_argument("--budget-usd", type=float, help="stop when this much is spent")
    _add_batch(run)
    run.add_argument(
        "--wait-for-quota",
        action="store_true",
        default=None,
        help="where the requests of a day are used up, wait for the next day",
    )
    _add_model(run)
    run.set_defaults(command=_run)

    cancel = commands.add_parser(
        "cancel", help="ask the provider to end the batches of a run that is not on"
    )
    cancel.add_argument("config", metavar="CONFIG.yaml")
    cancel.add_argument("--out", help="the run folder, in place of the file's")
    _add_model(cancel)
    cancel.set_defaults(command=_cancel)

    preview = commands.add_parser("preview", help="make and show a few rows")
    preview.add_argument("config", metavar="CONFIG.yaml")
    preview.add_argument("-n", type=int, default=4, help="rows (default: 4)")
    _add_model(preview)
    preview.set_defaults(command=_preview)

    estimate = commands.add_parser(
        "estimate", help="requests, tokens and price, measured on a few rows"
    )
    estimate.add_argument("config", metavar="CONFIG.yaml")
    estimate.add_argument("--size", type=int, help="rows, in place of the file's")
    _add_batch(estimate)
    _add_model(estimate)
    estimate.set_defaults(command=_estimate)

    report = commands.add_parser("report", help="write one HTML page that shows a whole run")
    report.add_argument("folder", metavar="FOLDER")
    report.add_argument("--out", help="the file (default: report.html in the folder)")
    report.set_defaults(command=_report)

    doctor = commands.add_parser(
        "doctor", help="what is installed, which keys are set, which servers answer"
    )
    doctor.add_argument(
        "config", metavar="CONFIG.yaml", nargs="?", help="also check what this file needs"
    )
    doctor.add_argument(
        "--language", help="make 20 rows in this language and say how good the model is at it"
    )
    _add_model(doctor)
    doctor.set_defaults(command=_doctor)

    salvage = commands.add_parser(
        "salvage", help="copy what is whole of a damaged run's replies to a new folder"
    )
    salvage.add_argument("folder", metavar="FOLDER")
    salvage.add_argument("out", metavar="OUT")
    salvage.set_defaults(command=_salvage)
    return parser


def _add_model(command: argparse.ArgumentParser) -> None:
    help = "in place of the file's generator, such as ollama/qwen3:8b"
    command.add_argument("--model", metavar="PROVIDER/MODEL", help=help)


def _add_batch(command: argparse.ArgumentParser) -> None:
    help = "in batches of the provider's: for less money, with a few waits of up to a day"
    command.add_argument("--batch", action="store_true", default=None, help=help)


# Each command imports what it needs, so that `--help` and a mistyped word answer at once.


def _demo(options: argparse.Namespace) -> int:
    from seedfree.cli.demo import RECORDED, demo, recorded_demo

    given = _given(rows=options.rows, out=options.out and Path(options.out))
    if options.recorded and options.language != "th":
        raise ConfigError("The recorded run is Thai", hint="Leave --language out.")
    run = recorded_demo(**given) if options.recorded else demo(options.language, **given)
    for row in run.dataset[:3]:
        _print(shown(f"\n[{row.task}] {row.topic}\n{row.instruction}\n-> {row.output}"))
    _print(f"\n{run.stats.rows} rows, {len(run.dropped)} dropped")
    for reason, count in run.stats.drops.items():
        _print(shown(f"  {count:3} {reason}"))
    _print(f"{run.path}: dataset.jsonl, dropped.jsonl with the reasons, README.md about them")
    _print(f"Open this page to see every row: {run.report()}")
    if options.recorded:
        _print(RECORDED)
    return _exit_code(run)


def _run(options: argparse.Namespace) -> int:
    from seedfree.config import Config

    config = Config.load(options.config, generator=options.model)
    names = ("size", "out", "budget_usd", "batch", "wait_for_quota")
    given = _given(**{name: getattr(options, name) for name in names})
    settings = {**config.run, **given}
    # Python's default is a data set of full size, which nobody should pay for by an oversight.
    if settings.get("size") is None:
        hint = "Add a line 'run: {size: 100, budget_usd: 5}' or pass --size."
        raise ConfigError(f"{options.config} does not say how many rows to make", hint=hint)
    run = config.pipeline.run(**settings)
    _print(repr(run))
    return _exit_code(run)


def _cancel(options: argparse.Namespace) -> int:
    from seedfree.config import Config

    config = Config.load(options.config, generator=options.model)
    out = _given(out=options.out or config.run.get("out"))
    _print(f"{config.pipeline.cancel(**out)} batches were asked to end; run it again to go on")
    return 0


def _preview(options: argparse.Namespace) -> int:
    from seedfree.config import Config

    config = Config.load(options.config, generator=options.model)
    _print(str(config.pipeline.preview(options.n, seed=config.run.get("seed", 0))))
    return 0


def _estimate(options: argparse.Namespace) -> int:
    from seedfree.config import Config

    config = Config.load(options.config, generator=options.model)
    file = _given(**{name: config.run.get(name) for name in ("size", "seed", "batch")})
    given = _given(size=options.size, batch=options.batch)
    _print(repr(config.pipeline.estimate(**{**file, **given})))
    return 0


def _report(options: argparse.Namespace) -> int:
    from seedfree.run.folder import Run

    run = Run.open(options.folder)
    path = run.report(options.out)
    for finding in run.diagnose():
        _print(str(finding))
    _print(f"The report: {path}")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from seedfree.cli.doctor import checkup, language_checkup

    lines, good = checkup(options.config, options.model)
    _print("\n".join(lines))
    if options.language and good:
        lines, good = language_checkup(options.language, options.config, options.model)
        _print("\n".join(lines))
    return int(not good)


def _salvage(options: argparse.Namespace) -> int:
    from seedfree.engine.salvage import salvage

    out = options.out
    saved = salvage(options.folder, out)
    # A ledger without its end may not say how many entries it had.
    lost = "an unknown number" if saved.lost is None else f"{saved.lost:,}"
    _print(f"{saved.entries:,} entries saved to {out}, {lost} lost; run it again with out={out}")
    return 0


def _given(**options: Any) -> dict[str, Any]:
    """Returns the options that have a value. The others are left to the pipeline's defaults."""
    return {name: value for name, value in options.items() if value is not None}


def _exit_code(run: Run) -> int:
    return int(run.status != "complete")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
