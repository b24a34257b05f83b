"""Times `generate_all` against a bare aiohttp loop, and against curator and DataDesigner.

All ask the same server on this machine, which answers each request after 0.5 s. Each contestant
runs in its own process, and its clock starts after its imports. They take turns, three times each.
Prints one JSON line: wall seconds (medians), and these as multiples of the ideal (requests /
concurrency x latency) and of the bare loop's time.

python benchmarks/engine.py [requests] [concurrency] [turns]

curator and DataDesigner are left out where they are not installed. They need different versions of
pandas, so each has its own environment. PEERS names their interpreters, as PATH names folders:

python3.11 -m venv curator && curator/bin/pip install bespokelabs-curator==0.1.31
python3.11 -m venv designer && designer/bin/pip install data-designer==0.9.6
PEERS=curator/bin/python:designer/bin/python python benchmarks/engine.py
"""

from __future__ import annotations

import asyncio
import contextlib
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
CHOICE = {
    "index": 0,
    "message": {"role": "assistant", "content": "ข" * 200},
    "finish_reason": "stop",
}
REPLY = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [CHOICE],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(
    REPLY
)


class Server(asyncio.Protocol):
    """As much of HTTP/1.1 as the clients use.

    It reads a head with the body's length and the body, and answers after the latency.
    """

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
            body, self.data = self.data[end + 4 : end + 4 + length], self.data[end + 4 + length :]
            self.asked(head, body)

    def asked(self, head: bytes, body: bytes) -> None:
        """Takes a request: its head in lower case, and its body."""
        asyncio.get_running_loop().call_later(LATENCY, self.answer, HEAD + REPLY)

    def answer(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)


async def serve(protocol: type[Server] = Server) -> None:
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def bare(url: str, n: int, width: int) -> float:
    """Times aiohttp alone: a worker for every slot, and nothing is kept."""
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

    llm = sf.OpenAICompatibleGenerator(url, "m", api_key="k" * 50)
    prompts = [sf.Prompt(f"{i} {PROMPT}") for i in range(n)]
    with tempfile.TemporaryDirectory() as folder:
        sf.generate_all(llm, prompts[:1], out=f"{folder}/warm")  # loads the libraries
        start = time.perf_counter()
        replies = sf.generate_all(llm, prompts, out=f"{folder}/run", concurrency=width)
        seconds = time.perf_counter() - start
        assert len(replies) == n and not any(reply.error for reply in replies)
    return seconds


def keep_local(folder: str) -> None:
    """Has peers cache in a folder and report to nobody."""
    homes = ("HOME", "XDG_CACHE_HOME", "HF_HOME", "DATA_DESIGNER_HOME", "CURATOR_CACHE_DIR")
    os.environ.update(dict.fromkeys(homes, folder))
    os.environ.update(TELEMETRY_ENABLED="false", NEMO_TELEMETRY_ENABLED="false")
    # Where they would fetch something, they find a closed port.
    os.environ.update(HTTPS_PROXY="http://127.0.0.1:9", NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")


def curator(url: str, n: int, width: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        keep_local(folder)
        os.environ.update(CURATOR_DISABLE_RICH_DISPLAY="1", LITELLM_LOCAL_MODEL_COST_MAP="True")
        import litellm
        from bespokelabs import curator as peer

        # curator would fetch the tokenizer's file, which litellm brings along, to count the tokens
        # of its limits.
        tokenizers = Path(litellm.__file__).parent / "litellm_core_utils/tokenizers"
        os.environ["TIKTOKEN_CACHE_DIR"] = str(tokenizers)
        parameters = {
            "base_url": f"{url}/v1",
            "api_key": "k" * 50,
            "max_concurrent_requests": width,
            # Figures that no run reaches: `width` alone decides.
            "max_requests_per_minute": 10**12,
            "max_tokens_per_minute": 10**15,
        }
        tokens = {"max_tokens": 1024}
        llm = peer.LLM("m", backend="openai", backend_params=parameters, generation_params=tokens)
        llm([PROMPT])  # loads the libraries
        start = time.perf_counter()
        replies = llm([f"{i} {PROMPT}" for i in range(n)]).dataset
        seconds = time.perf_counter() - start
        assert len(replies) == n and all(replies["response"])
    return seconds


def data_designer(url: str, n: int, width: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        keep_local(folder)
        import data_designer.config as dd
        import pandas
        from data_designer.interface import DataDesigner

        seed = Path(folder) / "seed.parquet"
        pandas.DataFrame({"prompt": [f"{i} {PROMPT}" for i in range(n)]}).to_parquet(seed)
        provider = dd.ModelProvider(
            name="local", endpoint=f"{url}/v1", provider_type="openai", api_key="k" * 50
        )
        parameters = dd.ChatCompletionInferenceParams(max_parallel_requests=width, max_tokens=1024)
        model = dd.ModelConfig(
            alias="m",
            model="m",
            provider="local",
            inference_parameters=parameters,
            skip_health_check=True,
        )
        designer = DataDesigner(artifact_path=folder, model_providers=[provider])
        tasks = max(1024, width)
        designer.set_run_config(dd.RunConfig(max_in_flight_tasks=tasks, otel_metrics_port=None))
        builder = dd.DataDesignerConfigBuilder(model_configs=[model])
        builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(seed)))
        column = dd.LLMTextColumnConfig(name="reply", prompt="{{ prompt }}", model_alias="m")
        builder.add_column(column)
        designer.create(builder, num_records=1, dataset_name="warm")  # loads the libraries
        # The clock stops at the last rows written: the statistics that follow are no part of the
        # map.
        written = []

        def stop(_: object) -> None:
            written.append(time.perf_counter())

        start = time.perf_counter()
        run = designer.create(builder, num_records=n, on_batch_complete=stop)
        replies = run.load_dataset()
        assert len(replies) == n and all(replies["reply"])
    return written[-1] - start


CONTESTANTS = {
    "aiohttp": (bare, "aiohttp"),
    "seedfree": (ours, "seedfree"),
    "curator": (curator, "bespokelabs"),
    "data_designer": (data_designer, "data_designer"),
}


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Starts the server in a process and gives its URL."""
    command = [sys.executable, __file__, "serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def interpreter(module: str) -> str | None:
    """Returns the first Python that has a module: this one, or one of PEERS."""
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    pythons = [sys.executable, *filter(None, os.environ.get("PEERS", "").split(os.pathsep))]
    for python in pythons:
        if subprocess.run([python, "-c", probe], check=False).returncode == 0:
            return python
    return None


def main(n: int = 10_000, width: int = 1024, turns: int = 3) -> None:
    ideal = n / width * LATENCY
    times: dict[str, list[float]] = {}
    pythons = {name: interpreter(module) for name, (_, module) in CONTESTANTS.items()}
    with server() as url:
        for name in list(CONTESTANTS) * turns:
            if (python := pythons[name]) is None:
                continue
            command = [python, __file__, name, url, str(n), str(width)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                continue
            times.setdefault(name, []).append(float(done.stdout.split()[-1]))
    medians = {name: statistics.median(each) for name, each in times.items()}

    def over(base: float) -> dict[str, float]:
        return {name: round(seconds / base, 3) for name, seconds in medians.items()}

    result = {
        "requests": n,
        "concurrency": width,
        "latency": LATENCY,
        "turns": turns,
        "ideal_seconds": round(ideal, 2),
        "seconds": {name: round(seconds, 2) for name, seconds in medians.items()},
        "over_ideal": over(ideal),
        "over_aiohttp": over(medians["aiohttp"]),
        "cpus": os.cpu_count(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            asyncio.run(serve())
        case [name, url, n, width] if name in CONTESTANTS:
            print(CONTESTANTS[name][0](url, int(n), int(width)))
        case numbers:
            main(*map(int, numbers))
