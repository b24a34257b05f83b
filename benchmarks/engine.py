"""Times `generate_all` against a bare aiohttp loop, and against curator and DataDesigner where they are installed.

All ask the same server on this machine, which answers each request after 0.5 s; each contestant runs in a process of
its own, and its clock starts after its imports. They take turns, three times each. Prints one JSON line: wall seconds
(medians), and how many times the ideal (requests / concurrency x latency) and the bare loop's time that is.

python benchmarks/engine.py [requests] [concurrency] [turns]
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

LATENCY = 0.5
PROMPT = "ก" * 200
REPLY = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "ข" * 200}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    }
).encode()


class Server(asyncio.Protocol):
    """As much of HTTP/1.1 as the clients use: a head with its length, a body, an answer after the latency."""

    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(REPLY), REPLY)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.data) < end + 4 + length:
                return
            self.data = self.data[end + 4 + length :]
            asyncio.get_running_loop().call_later(LATENCY, self._answer)

    def _answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.answer)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def bare(url: str, n: int, width: int) -> float:
    """What aiohttp alone takes: a worker for every slot, and nothing kept."""
    import aiohttp

    async def work() -> None:
        left = iter(range(n))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=width)) as session:

            async def worker() -> None:
                for i in left:
                    messages = [{"role": "user", "content": f"{i} {PROMPT}"}]
                    body = {"model": "m", "max_tokens": 1024, "messages": messages}
                    async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                        assert (await response.json())["choices"][0]["message"]["content"]

            await asyncio.gather(*(worker() for _ in range(width)))

    start = time.perf_counter()
    asyncio.run(work())
    return time.perf_counter() - start


def ours(url: str, n: int, width: int) -> float:
    import seedfree as sf

    llm, prompts = (
        sf.OpenAICompatibleGenerator(url, "m", api_key="k" * 50),
        [sf.Prompt(f"{i} {PROMPT}") for i in range(n)],
    )
    with tempfile.TemporaryDirectory() as folder:
        sf.generate_all(llm, prompts[:1], out=f"{folder}/warm")  # loads the libraries
        start = time.perf_counter()
        replies = sf.generate_all(llm, prompts, out=f"{folder}/run", concurrency=width)
        seconds = time.perf_counter() - start
        assert len(replies) == n and not any(reply.error for reply in replies)
    return seconds


def curator(url: str, n: int, width: int) -> float:
    os.environ.update(OPENAI_API_KEY="none", TELEMETRY_ENABLED="0", CURATOR_DISABLE_RICH_DISPLAY="1")
    from bespokelabs import curator as peer

    with tempfile.TemporaryDirectory() as folder:
        os.environ["CURATOR_CACHE_DIR"] = folder
        limits = {"max_concurrent_requests": width, "max_requests_per_minute": 10**7, "max_tokens_per_minute": 10**10}
        llm = peer.LLM(model_name="m", backend="openai", backend_params={"base_url": f"{url}/v1", **limits})
        start = time.perf_counter()
        assert len(llm([f"{i} {PROMPT}" for i in range(n)]).dataset) == n
        return time.perf_counter() - start


def data_designer(url: str, n: int, width: int) -> float:
    import data_designer.config as dd
    import pandas
    from data_designer.interface import DataDesigner

    os.environ["NEMO_TELEMETRY_ENABLED"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        seed = Path(folder) / "seed.parquet"
        pandas.DataFrame({"prompt": [f"{i} {PROMPT}" for i in range(n)]}).to_parquet(seed)
        provider = dd.ModelProvider(name="local", endpoint=f"{url}/v1", provider_type="openai", api_key="none")
        parameters = dd.ChatCompletionInferenceParams(max_parallel_requests=width, max_tokens=1024)
        model = dd.ModelConfig(
            alias="m", model="m", provider="local", inference_parameters=parameters, skip_health_check=True
        )
        designer = DataDesigner(artifact_path=folder, model_providers=[provider])
        builder = dd.DataDesignerConfigBuilder(model_configs=[model])
        builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(seed)))
        builder.add_column(dd.LLMTextColumnConfig(name="reply", prompt="{{ prompt }}", model_alias="m"))
        start = time.perf_counter()
        assert len(designer.create(builder, num_records=n).load_dataset()) == n
        return time.perf_counter() - start


CONTESTANTS = {
    "aiohttp": (bare, "aiohttp"),
    "seedfree": (ours, "seedfree"),
    "curator": (curator, "bespokelabs"),
    "data_designer": (data_designer, "data_designer"),
}


@contextlib.contextmanager
def server() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def main(n: int = 10_000, width: int = 1024, turns: int = 3) -> None:
    ideal = n / width * LATENCY
    took: dict[str, list[float]] = {}
    with server() as url:
        for name in list(CONTESTANTS) * turns:
            if importlib.util.find_spec(CONTESTANTS[name][1]) is None:
                continue
            command = [sys.executable, __file__, name, url, str(n), str(width)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                continue
            took.setdefault(name, []).append(float(done.stdout.split()[-1]))
    seconds = {name: statistics.median(each) for name, each in took.items()}
    print(
        json.dumps(
            {
                "requests": n,
                "concurrency": width,
                "latency": LATENCY,
                "turns": turns,
                "ideal_seconds": round(ideal, 2),
                "seconds": {name: round(one, 2) for name, one in seconds.items()},
                "over_ideal": {name: round(one / ideal, 3) for name, one in seconds.items()},
                "over_aiohttp": {name: round(one / seconds["aiohttp"], 3) for name, one in seconds.items()},
                "cpus": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(serve())
        case [name, url, n, width] if name in CONTESTANTS:
            print(CONTESTANTS[name][0](url, int(n), int(width)))
        case numbers:
            main(*map(int, numbers))
