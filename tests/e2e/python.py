#!/usr/bin/env python3
"""The Python wheel as a user gets it: made by tools/wheel from the build, installed by pip into a folder of its own, and used
through `import veritas_sdr`, with a private daemon and with one that runs; a tiny model.

usage: python.py BUILD                  python.py --inside: what runs in the installed package
"""
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GREEDY = {"temperature": 0}


def run(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, **more)
    assert done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
    return done.stdout


def raises(kind, function):
    try:
        function()
    except kind as e:
        return e
    raise AssertionError(f"no {kind.__name__}")


def answers(v):
    """One door among others: the same ids, text and hash as the command line."""
    command = [v._library.HERE + "/bin/veritas", "run", "-m", "tiny", "--temp", "0", "-n", "40", "--json", "--logits-hash", "ab"]
    want = json.loads(run(*command))
    answer = v.chat("tiny", "ab", max_tokens=40, sampling=GREEDY, logits_hash=True)
    told = v.generate("tiny", "ab", max_tokens=40, sampling=GREEDY, logits_hash=True)
    for one in (answer, told):
        assert one.tokens == want["tokens"] and one == want["text"], (one, want)
        assert one.result["logits_hash"] == want["logits_hash"] and one.finish_reason == want["finish_reason"]
    with v.chat("tiny", [{"role": "user", "content": "ab"}], stream=True, max_tokens=40, sampling=GREEDY) as stream:
        pieces = list(stream)
    assert len(pieces) > 1 and "".join(pieces) == want["text"] == stream.answer, pieces
    assert stream.answer.usage == answer.usage or stream.answer.usage["cached_tokens"] > 0
    many = v.generate("tiny", "ab", max_tokens=10, n=3, raw=True, sampling={"seed": 5, "temperature": 1.5}, ignore_eos=True)
    for i, choice in enumerate(many.choices):
        alone = v.generate("tiny", "ab", max_tokens=10, raw=True, sampling={"seed": 5 + i, "temperature": 1.5}, ignore_eos=True)
        assert choice == alone and choice.tokens == alone.tokens, (i, choice, alone)
    assert len(v.generate("tiny", "ab", raw=True, max_tokens=3, logprobs=2, ignore_eos=True).logprobs) == 3


def tools(v):
    """A model that knows nothing calls a tool when it must, and keeps its schema."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {
        "type": "object", "properties": {"a": {"enum": [1, 2]}, "b": {"type": "boolean"}}, "required": ["a", "b"],
        "additionalProperties": False}}}
    answer = v.chat("tiny", "ab", tools=[tool], tool_choice="required", parts=True, max_tokens=200, sampling={"temperature": 1.5})
    assert answer == "" and answer.finish_reason == "tool_calls", (answer, answer.result)
    (call,) = answer.tool_calls
    arguments = json.loads(call["arguments"])
    assert call["name"] == "add" and arguments["a"] in (1, 2) and arguments["b"] in (True, False), call
    stream = v.chat("tiny", "ab", stream=True, parts=True, max_tokens=5, ignore_eos=True)
    assert "".join(stream) == stream.answer and stream.answer.tool_calls == [] and len(stream.answer.tokens) == 5


def errors(v):
    assert raises(v.NotFoundError, lambda: v.chat("absent", "ab")).name == "NOT_FOUND"
    raises(v.InvalidError, lambda: v.chat("tiny\0", "ab"))
    assert "bar" in str(raises(v.InvalidError, lambda: v.chat("tiny", "ab", bar=1)))
    assert raises(v.ContextError, lambda: v.generate("tiny", "a b " * 5000, raw=True)).code == -15
    assert raises(v.VeritasError, lambda: v.chat("tiny", "ab", deadline_ms=1, max_tokens=4000, ignore_eos=True)).name == "TIMEOUT"
    raises(ValueError, lambda: v.Client(mode="other"))
    raises(v.NotFoundError, lambda: v.Client(mode="running", socket=os.environ["VERITAS_SOCKET"] + "-none"))


def tokens(v):
    text = "héllo wörld, 12"
    ids = v.tokenize("tiny", text, no_bos=True)
    assert v.detokenize("tiny", ids) == text
    long = v.tokenize("tiny", "ab" * 1_200_000, no_bos=True)         # comes as DATA
    assert len(long) > 1_000_000 and long[:8] == v.tokenize("tiny", "ab" * 40, no_bos=True)[:8]


def vectors(v):
    """Those of the command line, in the order of the texts; scores of a model that ranks."""
    command = [v._library.HERE + "/bin/veritas", "embed", "-m", "tiny", "--pooling", "mean", "--json", "ab", "longer text"]
    want = json.loads(run(*command))["embeddings"]
    got = v.embed("tiny", ["ab", "longer text"], pooling="mean")
    assert [[float(f"{x:.9g}") for x in row] for row in got] == want, (got, want)
    assert v.embed("tiny", "ab", pooling="mean").tolist() == got[0].tolist()
    assert len(v.embed("tiny", "longer text", pooling="none")) == len(v.tokenize("tiny", "longer text"))
    assert raises(v.UnsupportedError, lambda: v.embed("tiny", "ab")).name == "UNSUPPORTED"
    command = [v._library.HERE + "/bin/veritas", "rerank", "-m", "ranks", "--query", "who", "--json", "me", "nobody at all"]
    want = {r["index"]: r["score"] for r in json.loads(run(*command))["results"]}
    scores = v.rerank("ranks", "who", ["me", "nobody at all"])
    assert [round(s, 9) for s in scores] == [round(want[i], 9) for i in (0, 1)], (scores, want)
    raises(v.UnsupportedError, lambda: v.rerank("tiny", "who", ["me"]))

    async def work():
        async with v.AsyncClient() as client:
            assert (await client.embed("tiny", "ab", pooling="mean")).tolist() == got[0].tolist()
            assert await client.rerank("ranks", "who", ["me", "nobody at all"]) == scores
    asyncio.run(work())


def threads(v):
    """Many at once on one client, a stream closed early among them; each has its own answer."""
    want = [str(v.chat("tiny", f"a{i}", max_tokens=20, sampling=GREEDY)) for i in range(8)]
    got = [None] * 8

    def ask(i):
        stream = v.chat("tiny", "endless", stream=True, max_tokens=3000, ignore_eos=True)
        next(stream)
        stream.close()
        raises(v.CancelledError, lambda: list(stream))
        got[i] = str(v.chat("tiny", f"a{i}", max_tokens=20, sampling=GREEDY))
    crowd = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for t in crowd:
        t.start()
    for t in crowd:
        t.join()
    assert got == want, (got, want)


def event_loop(v):
    async def work():
        async with v.AsyncClient() as client:
            want = str(v.chat("tiny", "ab", max_tokens=20, sampling=GREEDY))
            got = await asyncio.gather(*(client.chat("tiny", "ab", max_tokens=20, sampling=GREEDY) for _ in range(5)))
            assert all(one == want for one in got), got
            stream = client.stream("generate", "tiny", "ab", max_tokens=20, sampling=GREEDY)
            assert "".join([piece async for piece in stream]) == want
            task = asyncio.ensure_future(client.chat("tiny", "ab", max_tokens=3500, ignore_eos=True))
            await asyncio.sleep(0.1)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            for _ in range(200):                # cancelled at the daemon too
                models = (await client.request("status"))["models"]
                if all(m["requests"]["running"] == 0 for m in models):
                    break
                await asyncio.sleep(0.05)
            else:
                raise AssertionError(models)
    asyncio.run(work())


def a_child(v):
    """A fork makes a client of its own, and its parent's goes on."""
    want = str(v.chat("tiny", "ab", max_tokens=10, sampling=GREEDY))
    pid = os.fork()
    if not pid:
        os._exit(0 if str(v.chat("tiny", "ab", max_tokens=10, sampling=GREEDY)) == want else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert v.chat("tiny", "ab", max_tokens=10, sampling=GREEDY) == want


def a_daemon(v):
    """The user's own daemon; it is killed, and each request ends by an error. The next one starts a private daemon."""
    daemon = subprocess.Popen([v._library.HERE + "/bin/veritas", "serve"], stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while not os.path.exists(os.environ["VERITAS_SOCKET"]):
        assert time.monotonic() < end
        time.sleep(0.02)
    with v.Client(mode="running") as client:
        assert not client.is_private
        stream = client.chat("tiny", "ab", stream=True, max_tokens=3500, ignore_eos=True)
        next(stream)
        assert [m["name"] for m in client.status()["models"]] == ["tiny"]
        daemon.kill()
        raises(v.DiedError, lambda: list(stream))
        raises(v.VeritasError, lambda: client.status())
    daemon.wait()
    with v.Client() as client:
        assert client.is_private and client.chat("tiny", "ab", max_tokens=2)
        stream = client.chat("tiny", "ab", stream=True, max_tokens=3500, ignore_eos=True)
        next(stream)
    raises(v.CancelledError, lambda: list(stream))


def inside():
    import veritas_sdr as v
    assert v.__file__.startswith(os.environ["VERITAS_TEST_PACKAGE"]), v.__file__
    for part in (answers, tools, errors, tokens, vectors, threads, event_loop, a_child, a_daemon):
        part(v)
        print(f"{part.__name__}: ok", flush=True)


def main(build):
    if not shutil.which("patchelf"):
        print("skipped: patchelf is missing")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="vspy") as folder:
        wheels = [run(TREE + "/tools/wheel", build, f"{folder}/{i}").strip() for i in range(2)]
        with open(wheels[0], "rb") as f, open(wheels[1], "rb") as g:
            assert f.read() == g.read(), "the same build gave two wheels"
        package = folder + "/site"
        run(sys.executable, "-I", "-m", "pip", "install", "--quiet", "--no-index", "--no-cache-dir", "--target", package, wheels[0])
        os.makedirs(folder + "/models")
        os.makedirs(folder + "/run", mode=0o700)
        run(build + "/bin/mkmodel", "--layers", "1", "--embd", "64", "--heads", "4", "--vocab", "600", "--ctx", "4096",
            "-o", folder + "/models/tiny.gguf")
        run(build + "/bin/mkmodel", "--arch", "qwen3", "--key", ".pooling_type=u32:4", "--labels", "2", "--layers", "1",
            "--embd", "64", "--heads", "4", "--vocab", "600", "--key", "tokenizer.chat_template.rerank=str:{query}? {document}",
            "-o", folder + "/models/ranks.gguf")
        env = {"PATH": "/usr/bin:/bin", "HOME": folder, "VERITAS_MODELS": folder + "/models", "VERITAS_SOCKET": folder + "/run/s",
               "PYTHONPATH": package, "VERITAS_TEST_PACKAGE": package}
        run(package + "/bin/veritas", "version", env=env)
        for at, _, names in os.walk(package + "/veritas_sdr"):          # nothing comes from the system but glibc
            for name in names:
                if os.access(f"{at}/{name}", os.X_OK) and ".so" not in name:
                    for line in run("ldd", f"{at}/{name}", env=env).splitlines():
                        where = line.split(" => ")
                        assert len(where) < 2 or where[1].startswith((package, "/lib/x86_64-linux-gnu/lib")), line
                        assert len(where) < 2 or package in where[1] or where[0].strip().split(".")[0] in ("libc", "libm"), line
        done = subprocess.run([sys.executable, "-B", os.path.abspath(__file__), "--inside"], env=env, timeout=240)
        assert done.returncode == 0, "see above"
        left = [name for name in os.listdir("/proc") if name.isdigit() and runs_from(name, package)]
        assert not left, f"processes were left: {left}"
    print("python: the wheel works")


def runs_from(pid, package):
    try:
        return os.readlink(f"/proc/{pid}/exe").startswith(package)
    except OSError:
        return False


if sys.argv[1:] == ["--inside"]:
    inside()
else:
    main(os.path.abspath(sys.argv[1]))
