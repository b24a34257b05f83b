"""A run is private: nobody else may read its files, and it connects to the model's server alone."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from seedfree.config import Config
from seedfree.errors import ConfigError
from tests.fakes import small_pipeline

PRIVATE = """
import os, sys
os.umask(int(sys.argv[2], 8))
from pathlib import Path
import seedfree as sf
from tests.test_keys import GENERATORS, SERVERS, run_against

modes = {}
real = os.replace

def replaced(a, b, **options):
    modes[os.path.basename(b)] = os.stat(a).st_mode & 0o777
    real(a, b, **options)

os.replace = replaced
Path.replace = lambda self, target: replaced(self, target)
run = run_against(SERVERS["good"], GENERATORS["claude"](), Path(sys.argv[1]))
print(oct(min(modes.values())), oct(max(modes.values())), len(modes))
run.dataset.to_jsonl(sys.argv[1] + "-mine.jsonl")
run.dataset.to_csv(sys.argv[1] + "-mine.csv")
"""


def _python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("umask", ["000", "022", "077"])
@pytest.mark.parametrize("there", [False, True])
def test_a_run_folder_is_its_owners_alone(umask: str, there: bool, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "th"
    if there:
        out.mkdir(parents=True)
        out.chmod(0o755)
    least, most, count = _python(PRIVATE, str(out), umask).split()
    # Temporary files are private from the first byte.
    assert least == most == "0o600" and count == "6"

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert mode(out) == (0o755 if there else 0o700)
    modes = {path.name: oct(mode(path)) for path in out.iterdir()}
    assert len(modes) >= 7 and set(modes.values()) == {"0o600"}, modes
    # A user's own export follows the umask.
    for name in ("th-mine.jsonl", "th-mine.csv"):
        assert mode(out.parent / name) == 0o666 & ~int(umask, 8)


CONNECTIONS = """
import asyncio, json, sys, threading

opened = []
# Which argument of an event names the other side, and events that must not happen at all.
SIDES = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
}
NEVER = {"subprocess.Popen", "os.system", "urllib.Request", "webbrowser.open", "ftplib.connect"}

def hook(event, arguments):
    if event in SIDES:
        opened.append(arguments[SIDES[event]])
    elif event in NEVER:
        opened.append(event)

sys.addaudithook(hook)
import seedfree as sf
from seedfree import *
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import httpx
from tests.fakes import Library
from tests.test_keys import answer

class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        content = self.rfile.read(int(self.headers["content-length"]))
        request = httpx.Request("POST", "http://x" + self.path, content=content)
        body = json.dumps(answer(request)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]
llm = sf.OpenAICompatibleGenerator(f"http://127.0.0.1:{port}", "m", api_key="k" * 20)
pipeline = sf.Pipeline("th", llm, contexts=[Library()], filters=[], diversity=None)
run = pipeline.run(size=6, out=sys.argv[1])
assert run.status == "complete", run
llm.generate(sf.Prompt("q", schema=sf.Summarization.Fields))
repr(run), run.dataset.to_jsonl(sys.argv[1] + "/mine.jsonl")
server.shutdown()
print(json.dumps([port, sorted(set(map(str, opened)))]))
"""


def test_nothing_is_connected_to_but_the_generators_own_server(tmp_path: Path) -> None:
    port, opened = json.loads(_python(CONNECTIONS, str(tmp_path / "run")))
    assert opened and set(opened) <= {f"('127.0.0.1', {port})", "127.0.0.1"}


SHARED = """
import json, os, stat, sys
from pathlib import Path

out, umask, mode, size = sys.argv[1:]
os.umask(int(umask, 8))
import seedfree as sf
from tests.fakes import LetterEncoder, small_pipeline

out = Path(out)
seen = {}

def look():
    # A file that is being written gets its mode before it gets its name.
    for path in [out, *(each for each in out.rglob("*") if not each.name.endswith(".tmp"))]:
        seen.setdefault(path.relative_to(out).as_posix(), set()).add(path.lstat().st_mode)

class Looks:
    def check(self, item):
        look()

class Encoder(LetterEncoder):
    def encode(self, texts):
        look()
        return super().encode(texts)

diversity = sf.SemanticDiversityFilter(encoder=Encoder(), threshold=1.0)
pipeline = small_pipeline(filters=[Looks()], diversity=diversity)
pipeline.run(size=int(size), out=out, mode=int(mode, 8) if mode else None)
look()
modes = {}
for name, found in seen.items():
    for each in found:
        kind = "folder" if stat.S_ISDIR(each) else "file"
        modes.setdefault(f"{kind} {stat.S_IMODE(each) & 0o777:o}", []).append(name)
print(json.dumps(modes))
"""


@pytest.mark.parametrize("umask", ["000", "077"])
def test_a_run_folder_is_shared_with_its_group_where_that_is_asked_for(
    umask: str, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "th"

    def modes(mode: str, size: int) -> dict[str, list[str]]:
        printed = _python(SHARED, str(out), umask, mode, str(size))
        return dict(json.loads(printed))

    shared = modes("770", 4)
    assert set(shared) == {"folder 770", "file 660"}, shared
    assert {"ledger.sqlite-wal", "ledger.sqlite-shm", ".lock"} <= set(shared["file 660"])
    assert sorted(shared["folder 770"]) == [".", "vectors"]
    # Going on, and files that are written anew.
    assert set(modes("", 8)) == {"folder 770", "file 660"}
    assert out.stat().st_mode & stat.S_ISGID  # new files have its group, whoever makes them
    assert set(modes("750", 10)) == {"folder 750", "file 640"}
    assert set(modes("700", 12)) == {"folder 700", "file 600"}


@pytest.mark.parametrize("mode", [0o777, 0o755, 770, "770", True, 0o070])
def test_a_mode_that_is_none_of_a_shared_folder_is_refused(mode: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="0o770"):
        small_pipeline().run(size=2, out=tmp_path / "run", mode=mode)
    assert not (tmp_path / "run").exists()


def test_a_file_of_settings_says_a_mode_as_shells_do(tmp_path: Path) -> None:
    for text in ("770", "0770", "0o770"):
        path = tmp_path / "th.yaml"
        path.write_text(f"language: th\ngenerator: ClaudeGenerator\nrun: {{mode: {text}}}\n")
        assert Config.load(path).run == {"mode": 0o770}
