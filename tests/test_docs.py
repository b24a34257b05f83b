"""The documentation's links, code and commands are those of this version."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import seedfree
from seedfree import evaluation, scale
from seedfree.tasks import wide_tasks

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


def anchors(page: Path) -> set[str]:
    """Returns the ids that GitHub gives to a page's headings."""
    text = FENCE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+\s+(.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def python_of(page: Path) -> Iterator[ast.AST]:
    """Yields every node of a page's Python code, which may await outside a function."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    for language, code in FENCE.findall(page.read_text("utf-8")):
        if language == "python":
            yield from ast.walk(compile(code, name_of(page), "exec", flags))


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(<?([^)>\s]+)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = page.parent / path if path else page
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), target


@every_page
def test_code_uses_what_there_is(page: Path) -> None:
    for node in python_of(page):
        match node:
            case ast.Attribute(value=ast.Name(id="sf"), attr=name):
                assert name in seedfree.__all__
            case ast.ImportFrom(module=str(name)) if name.startswith("seedfree"):
                module = importlib.import_module(name)
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@every_page
def test_commands_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    # On a line of its own, with or without a shell's prompt, or between backticks.
    command = re.compile(r"^\s*(?:\$ )?make ([a-z]+)|`make ([a-z]+)", re.MULTILINE)
    for alone, quoted in command.findall(page.read_text("utf-8")):
        assert (alone or quoted) in targets


def test_the_prompts_shown_are_those_of_the_language() -> None:
    thai = seedfree.Language.load("th")
    shown = FENCE.findall((ROOT / "docs" / "prompts.md").read_text("utf-8"))
    prompts = {"persona": thai.persona, **thai.prompts}
    for name, prompt in shown:
        if name != "json":
            form = ".*?".join(map(re.escape, re.split(r"\$\w+", prompts[name].strip())))
            assert re.fullmatch(form, prompt.strip(), re.DOTALL), name
    # A creative work is asked for as brainstorming is.
    tasks = {task.name for task in wide_tasks()} - {"creative_writing"}
    assert not tasks - {name for name, _ in shown}


def test_the_page_names_tests_that_exist() -> None:
    page = (ROOT / "docs" / "durability.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    files = (path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    written = {name for text in files for name in re.findall(r"def (test_\w+)", text)}
    assert named and not named - written


def test_the_pinned_versions_cover_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    packages = [re.split(r"[<>=;\[]", requirement)[0] for names in lists for requirement in names]
    names = {package.lower().replace("_", "-") for package in packages} - {"seedfree"}
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    assert not names - set(re.findall(r"^([\w.-]+)==[\w.]+$", pins, re.MULTILINE))
    assert "+" not in pins, "a local version such as +cpu is not on the index"


def test_the_reference_has_every_public_name_once() -> None:
    pages = (ROOT / "docs" / "reference").glob("*.md")
    named = [name for page in pages for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)]
    public = {f"seedfree.{name}" for name in seedfree.__all__ if name != "__version__"}
    # What both offer stands where the whole library's names do.
    own = set(evaluation.__all__) - set(seedfree.__all__)
    public |= {f"seedfree.evaluation.{name}" for name in own}
    assert sorted(named) == sorted(public | {f"seedfree.scale.{name}" for name in scale.__all__})


@every_page
def test_extras_to_install_are_there(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for extras in re.findall(r"(?:seedfree|\.)\[([a-z,]+)\]", page.read_text("utf-8")):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
