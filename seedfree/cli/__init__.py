"""The command line: `seedfree demo | run | preview | estimate | doctor | salvage`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from seedfree.errors import SeedfreeError
from seedfree.text import shown

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
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return int(options.command(options))
    except SeedfreeError as error:
        sys.stderr.write(f"seedfree: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("seedfree: interrupted; run the same command again to go on\n")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seedfree", description="Synthetic instruction data for languages that have none."
    )
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser(
        "demo", help="a small Thai data set from a local model; no key, no network"
    )
    demo.add_argument("--language", default="th", help="a language code (default: th)")
    demo.add_argument("--rows", type=int, default=20, help="rows to make (default: 20)")
    demo.add_argument("--out", default="runs/demo", help="the run folder (default: runs/demo)")
    demo.set_defaults(command=_demo)

    run = commands.add_parser("run", help="make a data set as a YAML file says; again to resume")
    run.add_argument("config", metavar="CONFIG.yaml")
    run.add_argument("--size", type=int, help="rows, in place of the file's")
    run.add_argument("--out", help="the run folder, in place of the file's")
    run.add_argument("--budget-usd", type=float, help="stop when this much is spent")
    run.set_defaults(command=_run)

    preview = commands.add_parser("preview", help="make and show a few rows")
    preview.add_argument("config", metavar="CONFIG.yaml")
    preview.add_argument("-n", type=int, default=4, help="rows (default: 4)")
    preview.set_defaults(command=_preview)

    estimate = commands.add_parser(
        "estimate", help="requests, tokens and price, measured on a few rows"
    )
    estimate.add_argument("config", metavar="CONFIG.yaml")
    estimate.add_argument("--size", type=int, help="rows, in place of the file's")
    estimate.set_defaults(command=_estimate)

    doctor = commands.add_parser(
        "doctor", help="what is installed, which keys are set, which servers answer"
    )
    doctor.add_argument(
        "config", metavar="CONFIG.yaml", nargs="?", help="also check what this file needs"
    )
    doctor.add_argument(
        "--language", help="make 20 rows in this language and say how good the model is at it"
    )
    doctor.set_defaults(command=_doctor)

    salvage = commands.add_parser(
        "salvage", help="copy what is whole of a damaged run's replies to a new folder"
    )
    salvage.add_argument("folder", metavar="FOLDER")
    salvage.add_argument("out", metavar="OUT")
    salvage.set_defaults(command=_salvage)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from seedfree.cli.demo import demo

    run = demo(options.language, options.rows, Path(options.out))
    _print(repr(run))
    for row in run.dataset[:3]:
        _print(shown(f"\n[{row.task}] {row.topic}\n{row.instruction}\n-> {row.output}"))
    _print(
        f"\nRows: {run.path}/dataset.jsonl   Dropped rows with reasons: {run.path}/dropped.jsonl"
    )
    return 0 if run.status == "complete" else 1


def _run(options: argparse.Namespace) -> int:
    from seedfree.config import Config

    config = Config.load(options.config)
    given = {"size": options.size, "out": options.out, "budget_usd": options.budget_usd}
    settings = {**config.run, **{name: value for name, value in given.items() if value is not None}}
    run = config.pipeline.run(**settings)
    _print(repr(run))
    return 0 if run.status == "complete" else 1


def _preview(options: argparse.Namespace) -> int:
    from seedfree.config import Config

    config = Config.load(options.config)
    _print(repr(config.pipeline.preview(options.n, seed=config.run.get("seed", 0))))
    return 0


def _estimate(options: argparse.Namespace) -> int:
    from seedfree.config import Config

    config = Config.load(options.config)
    size = config.run.get("size", 5000) if options.size is None else options.size
    _print(repr(config.pipeline.estimate(size, seed=config.run.get("seed", 0))))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from seedfree.cli.doctor import checkup, language_checkup

    lines, good = checkup(options.config)
    _print("\n".join(lines))
    if options.language and good:
        lines, good = language_checkup(options.language, options.config)
        _print("\n".join(lines))
    return 0 if good else 1


def _salvage(options: argparse.Namespace) -> int:
    from seedfree.engine.salvage import salvage

    saved = salvage(options.folder, options.out)
    lost = "an unknown number" if saved.lost is None else f"{saved.lost:,}"
    _print(
        f"{saved.entries:,} entries saved to {options.out}, {lost} lost; run it again with out={options.out}"
    )
    return 0


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
