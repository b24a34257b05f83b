"""The documentation's links, code and commands are those of this version."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import seedfree

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page):
    return str(page.relative_to(ROOT))


def anchors(page):
    """The ids that GitHub gives to a page's headings."""
    text = FENCE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+\s+(.+?)\s*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(<?([^)>\s]+)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = page.parent / path if path else page
        assert goal.exists(), target
        assert not anchor or anchor in anchors(goal), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_uses_what_there_is(page):
    for language, code in FENCE.findall(page.read_text("utf-8")):
        if language != "python":
            continue
        tree = compile(
            code, name_of(page), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "sf"
            ):
                assert node.attr in seedfree.__all__
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("seedfree"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for target in re.findall(
        r"^\s*(?:\$ )?make ([a-z]+)|`make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE
    ):
        assert "".join(target) in targets


def test_the_pinned_versions_cover_every_dependency():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *(one for names in extras.values() for one in names)]
    names = {re.split(r"[<>=;\[]", one)[0].lower().replace("_", "-") for one in wanted} - {
        "seedfree",
        "vllm",
    }
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    assert not names - set(re.findall(r"^([\w.-]+)==[\w.]+$", pins, re.MULTILINE))
    assert "+" not in pins, "a local version such as +cpu is not on the index"
