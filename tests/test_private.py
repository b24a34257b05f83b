"""A run is its owner's: files that nobody else may read, and no connection but to the generator's own server."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

PRIVATE = """
import os, sys
os.umask(int(sys.argv[2], 8))
from pathlib import Path
import seedfree as sf
from tests.fakes import FakeClock
from tests.test_keys import GENERATORS, SERVERS, _run
modes = {}
real = os.replace
def replaced(a, b, **options):
    modes[os.path.basename(b)] = os.stat(a).st_mode & 0o777
    real(a, b, **options)
os.replace = replaced
Path.replace = lambda self, target: replaced(self, target)
run = _run(GENERATORS["claude"](), SERVERS["good"], Path(sys.argv[1]))
print(oct(min(modes.values())), oct(max(modes.values())), len(modes))
run.dataset.to_jsonl(sys.argv[1] + "-mine.jsonl")
run.dataset.to_csv(sys.argv[1] + "-mine.csv")
"""


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("umask", ["000", "022", "077"])
@pytest.mark.parametrize("there", [False, True])
def test_a_run_folder_is_its_owners_alone(umask: str, there: bool, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "th"
    if there:
        out.mkdir(parents=True)
        out.chmod(0o755)
    modes = _python(PRIVATE, str(out), umask)

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert modes.split() == ["0o600", "0o600", "6"], (
        "so are the temporary files, from the first byte"
    )
    assert mode(out) == (0o755 if there else 0o700)
    files = {path.name: oct(mode(path)) for path in out.iterdir()}
    assert len(files) >= 7 and not [
        name for name, found in files.items() if int(found, 8) & 0o177
    ], files
    for name in ("th-mine.jsonl", "th-mine.csv"):
        assert mode(out.parent / name) == 0o666 & ~int(umask, 8), (
            "a user's own export follows the umask"
        )


CONNECTIONS = """
import asyncio, json, sys, threading
opened = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        opened.append(arguments[1])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        opened.append(arguments[0])
    elif event in ("subprocess.Popen", "os.system", "urllib.Request", "webbrowser.open", "ftplib.connect"):
        opened.append(event)
sys.addaudithook(hook)
import seedfree as sf
from seedfree import *
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import httpx
from tests.fakes import FakeClock
from tests.test_keys import _Library, _answer

class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        content = self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(_answer(httpx.Request("POST", "http://x" + self.path, content=content))).encode()
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
run = sf.Pipeline("th", llm, contexts=[_Library()], filters=[], diversity=None).run(size=6, out=sys.argv[1])
assert run.status == "complete", run
ask = llm.generate(sf.Prompt("q", schema=sf.Summarization.Fields))
repr(run), run.dataset.to_jsonl(sys.argv[1] + "/mine.jsonl")
server.shutdown()
print(json.dumps([port, sorted({str(one) for one in opened})]))
"""


def test_nothing_is_connected_to_but_the_generators_own_server(tmp_path: Path) -> None:
    port, opened = json.loads(_python(CONNECTIONS, str(tmp_path / "run")))
    assert opened and set(opened) <= {f"('127.0.0.1', {port})", "127.0.0.1"}
