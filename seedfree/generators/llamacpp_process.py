"""llama.cpp in a child process.

A crash of llama.cpp leaves our process alone. The child ends when the pipe to its standard input is
closed, which the system does for us however our process ends. Run as a module, this file is the
child.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from typing import Any, NoReturn

from seedfree.errors import ConfigError

__all__ = ["Server"]

# OpenMP's threads spin while they wait for each other. On processors that others use too, that is
# most of the time. Threads that wait spin for a moment only. Without any spinning a free machine
# takes twice as long; with more of it a busy machine suffers.
_ENVIRONMENT = {"GOMP_SPINCOUNT": "30000"}


class Server:
    """A running llama.cpp.

    Args:
        settings: `path`, `alias`, `context`, `parallel`, `reuse` and `threads`; see `_serve`.
        timeout: Seconds that it may take to load the model.

    Attributes:
        url: `http://127.0.0.1:<port>`.

    Raises:
        ConfigError: It does not come up.
    """

    def __init__(self, settings: dict[str, Any], timeout: float) -> None:
        given = json.dumps({**settings, "parent": os.getpid()})
        python_path = os.pathsep.join(filter(None, sys.path))
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, given],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": python_path},
                # Out of reach of a Ctrl-C in the terminal: the parent decides when the child ends.
                start_new_session=True,
            )
            # Also stops the child when this object is collected and when Python ends.
            self.stop = weakref.finalize(self, _stop, self._process)
            # A read of a pipe has no time limit. Without the child it ends at once.
            alarm = threading.Timer(timeout, self._process.kill)
            alarm.start()
            assert self._process.stdout is not None
            self.url = self._process.stdout.readline().decode().strip()
            alarm.cancel()
            if not self.url:
                self.stop()
                log.seek(0)
                lines = log.read().decode("utf-8", "replace").strip().splitlines()
                reason = lines[-1][:200] if lines else f"no answer in {timeout:g} s"
                raise ConfigError(
                    f"llama.cpp did not start with {settings['path']}: {reason}",
                    hint="Check the file, and the memory that context and parallel ask for.",
                )

    @property
    def alive(self) -> bool:
        """Tells whether the child runs."""
        return self._process.poll() is None


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(settings: dict[str, Any]) -> NoReturn:
    """Is the child: loads the model, writes its URL and serves until the parent ends."""
    # Before the import and the model, which take seconds: the parent may end meanwhile.
    threading.Thread(target=_wait_for_end, daemon=True).start()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["alias"]}
    # llama.cpp divides the context among the requests that it works on side by side.
    params.n_ctx = settings["context"] * settings["parallel"]
    params.n_parallel = settings["parallel"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    params.cache_prompt = settings["reuse"]
    # Without it the windows of attention slide past the shared beginning, and nothing of it can be
    # reused.
    params.swa_full = settings["reuse"]
    params.cache_ram_mib = 1024 if settings["reuse"] else 0
    # Any free port.
    params.port = 0
    params.ui = False
    params.verbosity = 1
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    # A process forked from the parent may hold the pipe open after the parent is gone.
    while os.getppid() == settings["parent"]:
        time.sleep(1)
    os._exit(0)


def _wait_for_end() -> None:
    sys.stdin.buffer.read()
    # sys.exit would end this thread alone.
    os._exit(0)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
