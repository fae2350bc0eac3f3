#!/usr/bin/env python3
"""Many clients at once: how fast they are answered, and how evenly. Ours beside llama-server of llama.cpp and of its fork.

    bench/load.py -m MODEL.gguf [-m ...] --llama-server A/bin/llama-server --ik-server B/bin/llama-server
    bench/load.py -m MODEL.gguf --ours '' --ours itl_target_ms=50 --clients 16 --seconds 60 --cases load

Each round starts every server once for every number of clients, in an order that turns from round to round; figures are medians
over rounds. All servers have the same file, the same threads and the same texts (words at random, no two prompts begin alike),
greedy sampling, no end of text. With several settings of a rival the better one is shown; every figure goes to a CSV in
bench/results with machine and commit as soon as it is measured, and --page makes the page from such a file, so that many short
runs (--round numbers them) are as good as a long one. We speak to ours over its socket (each client's
connection is made by a process of its own, because ours is fair among processes) and to the others over HTTP: one thread, which
looks at headers and ends of lines only.

load      N clients, each with one request at a time: three of four prompts have 100 tokens, one has 1,500; --tokens are generated.
          Counted is what comes within --seconds, after --warm. First token: from the request to it. Gap: between two tokens of a
          stream, as they arrive.
short     The same with prompts of 20 tokens; beside it what `bench --batch N --tg 64` makes of N sequences in this daemon (ours),
          before it and after it.
turn      A conversation of 2,000 tokens, another one of 2,000, then the first goes on: its first token, and that of a cold one of
          the same length.
hog       One keeps 64 requests going (prompts as above); another one asks something of 20 tokens every second: its first token.
tokenize  A word, to its ids and back here: idle, and beside 16 streams.

Only the standard library.
"""
import argparse
import collections
import csv
import datetime
import http.client
import json
import os
import random
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "e2e"))
import client as protocol
import compare

COLUMNS = ("date", "machine", "commit", "model", "threads", "engine", "settings", "case", "clients", "round", "what", "value")
WORDS = """the of and to in is that it was for on are as with his they at be this from have or by one had not but what all were
when we there can an your which their said if do will each about how up out them then she many some so these would
other into has more her two like him see time could no make than first been its who now people my made over did down
only way find use may water long little very after words called just where most know get through back much before go
good new write our used me man too any day same right look think also around another came come work three word must
because does part even place well such here take why things help put years different away again off went old number
great tell men say small every found still between name should home big give air line set own under read last never us
left end along while might next sound below saw something thought both few those always show large often together
asked house world going want school important until form food keep children feet land side without boy once animal
life enough""".split()


class Texts:
    """Prompts of about n tokens: common words, most of which are a token each; none begins like another."""
    def __init__(self, seed):
        self.random = random.Random(seed)

    def of(self, n):
        return " ".join(self.random.choices(WORDS, k=max(1, n)))


class Stream:
    """One request under way. Times are of time.perf_counter."""
    __slots__ = ("started", "tokens", "done", "failed", "client", "prompt_tokens", "text")

    def __init__(self, client):
        self.started, self.tokens, self.done, self.failed = None, [], False, ""
        self.client, self.prompt_tokens, self.text = client, 0, []


class Server:
    """Starts in `start`, ends in `stop`; `connect` gives what a client sends requests through."""
    process = None

    def run(self, command, env=None):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def wait_until(self, ready, seconds=120):
        end = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None or time.monotonic() > end:
                self.log.seek(0)
                sys.exit(f"{self.name} did not start:\n{self.log.read()[-3000:].decode(errors='replace')}")
            try:
                return ready()
            except (OSError, http.client.HTTPException, ConnectionError):
                time.sleep(0.02)

    def stop(self):
        if not self.process:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.process = None


class Ours(Server):
    name = "veritas"

    def __init__(self, program, settings, speculation):
        self.program, self.settings = program, settings
        self.more = {"speculation": speculation} if speculation else {}

    def start(self, model, threads, n_clients, ctx):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "v.sock")
        os.mkdir(os.path.join(self.folder.name, "models"))
        self.run([self.program, "serve"],
                 dict(os.environ, VERITAS_SOCKET=path, VERITAS_MODELS=os.path.join(self.folder.name, "models")))
        self.path, self.model = path, os.path.abspath(model)
        first = self.wait_until(lambda: protocol.Client(path))
        settings = {"threads": threads, "ctx": ctx}
        for word in self.settings.split():
            key, value = word.split("=", 1)
            settings[key] = int(value) if value.isdigit() else value
        first.load_path(model, settings=settings)
        first.close()

    def stop(self):
        super().stop()
        self.folder.cleanup()

    def connect(self):
        return OurConnection(self)


class OurConnection:
    """Any number of requests at a time. A process of its own made the connection and lives as long: one more client."""
    def __init__(self, server):
        here, there = socket.socketpair()
        self.pid = os.fork()
        if not self.pid:
            os.closerange(3, there.fileno())        # or the connections of others would live as long as we
            os.closerange(there.fileno() + 1, 1 << 16)
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                    s.connect(server.path)
                    socket.send_fds(there, [b"."], [s.fileno()])
                there.recv(1)           # until the other end is closed
            finally:
                os._exit(0)
        there.close()
        self.life, (_, fds, _, _) = here, socket.recv_fds(here, 1, 1)
        if not fds:
            raise ConnectionError("no connection to the daemon")
        self.server, self.streams, self.buffer = server, {}, bytearray()
        self.client = protocol.Client(sock=socket.socket(fileno=fds[0]))
        self.socket = self.client.sock

    def ask(self, prompt, n_tokens, stream, keep=False):
        stream.started, stream.text = time.perf_counter(), [] if keep else None
        number = self.client.request(protocol.GENERATE,
                                     {"model": self.server.model, "prompt": prompt, "raw": True, "max_tokens": n_tokens,
                                                         "ignore_eos": True, "sampling": {"temperature": 0}, **self.server.more})
        self.streams[number] = stream

    def receive(self):
        """Streams that ended."""
        data, now, ended, at = self.socket.recv(16384), time.perf_counter(), [], 0
        if not data:
            raise ConnectionError("the daemon closed the connection")
        self.buffer += data
        while len(self.buffer) - at >= 16:
            n, kind, _, number = protocol.HEADER.unpack_from(self.buffer, at)
            if len(self.buffer) - at < 16 + n:
                break
            stream = self.streams.get(number)
            if kind == protocol.TOKEN and stream:
                stream.tokens.append(now)
                if stream.text is not None:
                    stream.text.append(bytes(self.buffer[at + 24:at + 16 + n]).decode(errors="replace"))
            elif kind in (protocol.COMPLETE, protocol.REJECTED, protocol.ERROR):
                envelope, _ = protocol.split(bytes(self.buffer[at + 16:at + 16 + n]))
                if not stream:
                    raise ConnectionError(envelope["error"]["message"])
                stream.done, stream.failed = True, envelope.get("error", {}).get("message", "")
                stream.prompt_tokens = envelope.get("usage", {}).get("prompt_tokens", 0)
                ended.append(self.streams.pop(number))
            at += 16 + n
        del self.buffer[:at]
        return ended

    def tokenizer(self, word):
        """A function that asks for the ids of a word and waits for them: bytes out, bytes in, so that Python's part is small."""
        payload = protocol.payload({"model": self.server.model}, {"text": word})
        request = protocol.HEADER.pack(len(payload), protocol.TOKENIZE, 0, 1 << 32) + payload

        def ask():
            self.socket.sendall(request)
            data = self.socket.recv(65536)
            while len(data) < 16 or len(data) < 16 + protocol.HEADER.unpack_from(data)[0]:
                data += self.socket.recv(65536)
            if protocol.HEADER.unpack_from(data)[1] != protocol.COMPLETE:
                raise ConnectionError("TOKENIZE failed")
        return ask

    def close(self):
        self.client.close()
        self.life.close()
        os.waitpid(self.pid, 0)


class Llama(Server):
    """llama-server; the fork's has the same HTTP interface."""
    def __init__(self, name, program, settings):
        self.name, self.program, self.settings = name, program, settings

    def start(self, model, threads, n_clients, ctx):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.run([self.program, "-m", model, "-t", str(threads), "-tb", str(threads), "-np", str(n_clients), "-c",
                  str(ctx * n_clients),
                  "--host", "127.0.0.1", "--port", str(self.port)] + self.settings.split())

        def healthy():
            c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            c.request("GET", "/health")
            if c.getresponse().status != 200:
                raise ConnectionError()
        self.wait_until(healthy)

    def connect(self):
        return LlamaConnection(self)


class LlamaConnection:
    """One request at a time, each through a connection of its own."""
    def __init__(self, server):
        self.server, self.socket, self.stream, self.buffer = server, None, None, b""
        self.control = http.client.HTTPConnection("127.0.0.1", server.port)

    def ask(self, prompt, n_tokens, stream, keep=False):
        body = json.dumps({"prompt": prompt, "n_predict": n_tokens, "stream": True, "temperature": 0, "ignore_eos": True,
                           "cache_prompt": True}).encode()
        stream.started, stream.text, self.stream, self.buffer = time.perf_counter(), [] if keep else None, stream, b""
        self.socket = socket.create_connection(("127.0.0.1", self.server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b"POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                            b"Content-Type: application/json\r\n"
                            b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def receive(self):
        data, now, stream = self.socket.recv(16384), time.perf_counter(), self.stream
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        for line in lines:
            if not line.startswith(b"data: {"):
                if line.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5", b"error:")):
                    stream.failed = line.decode(errors="replace").strip()
                continue
            if b'"stop":true' in line:
                last = json.loads(line[6:])
                stream.done, stream.prompt_tokens = True, last.get("tokens_evaluated", 0)
                if last.get("content"):
                    stream.tokens.append(now)
            else:
                stream.tokens.append(now)
            if stream.text is not None:
                stream.text.append(json.loads(line[6:]).get("content", ""))
        if not data and not stream.done:
            stream.done, stream.failed = True, stream.failed or "the connection was closed"
        if not stream.done:
            return []
        self.socket.close()
        self.socket = None
        return [stream]

    def tokenizer(self, word):
        def ask():
            self.control.request("POST", "/tokenize", json.dumps({"content": word}), {"Content-Type": "application/json"})
            self.control.getresponse().read()
        return ask

    def close(self):
        self.control.close()
        if self.socket:
            self.socket.close()


class Crowd:
    """Connections and their streams, and one loop for all."""
    def __init__(self, server):
        self.server, self.selector, self.open = server, selectors.DefaultSelector(), []

    def connect(self):
        connection = self.server.connect()
        self.open.append(connection)
        return connection

    def ask(self, connection, prompt, n_tokens, client, keep=False):
        stream = Stream(client)
        connection.ask(prompt, n_tokens, stream, keep)
        try:
            self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        except KeyError:                # ours: the connection stays
            pass
        return stream

    def turn(self, seconds):
        """What arrived within so many seconds: [(connection, stream that ended)]."""
        ended = []
        for key, _ in self.selector.select(max(0, seconds)):
            connection, file = key.data, key.fileobj
            for stream in connection.receive():
                if stream.failed:
                    sys.exit(f"{self.server.name}: a request failed: {stream.failed}")
                ended.append((connection, stream))
            if file.fileno() < 0:
                self.selector.unregister(file)
        return ended

    def finish(self, stream):
        while not stream.done:
            self.turn(1)
        return stream

    def close(self):
        for connection in self.open:
            connection.close()
        self.selector.close()


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def spread_of(ms, name):
    return {f"{name}_p50_ms": 1e3 * quantile(ms, 0.5), f"{name}_p95_ms": 1e3 * quantile(ms, 0.95)}


def length_of(i):
    return 1500 if i % 4 == 3 else 100


def keep_going(crowd, connections, texts, a, until, each=lambda now: None, n_each=1, tokens=None, length=length_of):
    """Requests without end, n_each on each connection; all streams that there were. `each` is called on every turn."""
    streams, count = [], 0

    def next_one(connection, client):
        nonlocal count
        streams.append(crowd.ask(connection, texts.of(length(count)), tokens or a.tokens, client))
        count += 1

    for client, connection in enumerate(connections):
        for _ in range(n_each):
            next_one(connection, client)
    while time.perf_counter() < until:
        for connection, stream in crowd.turn(min(0.05, until - time.perf_counter())):
            if stream.client is not None:
                next_one(connection, stream.client)
        each(time.perf_counter())
    return streams


def case_load(server, a, n_clients, seed, length=length_of):
    crowd, texts = Crowd(server), Texts(seed)
    begin = time.perf_counter() + a.warm
    streams = keep_going(crowd, [crowd.connect() for _ in range(n_clients)], texts, a, begin + a.seconds, length=length)
    crowd.close()
    end = begin + a.seconds
    inside = [t for s in streams for t in s.tokens if begin <= t < end]
    first = [s.tokens[0] - s.started for s in streams if s.tokens and begin <= s.tokens[0] < end]
    gaps = [y - x for s in streams for x, y in zip(s.tokens, s.tokens[1:]) if begin <= y < end]
    read = sum(s.prompt_tokens for s in streams if s.tokens and begin <= s.tokens[0] < end)
    return {"tokens_per_second": len(inside) / a.seconds, "prompt_tokens_per_second": read / a.seconds, "requests": len(first),
            **spread_of(first, "first"), **spread_of(gaps, "gap"), "gap_longest_ms": 1e3 * max(gaps, default=float("nan"))}


def rates_of_bench(server, n):
    """Tokens/s of n sequences in one step, three times."""
    client = protocol.Client(server.path)
    client.sock.settimeout(120)
    result = client.wait(client.request(protocol.BENCH, {"model": server.model, "tg": [64], "batch": [n], "reps": 3}))
    client.close()
    return result["results"][0]["tokens_per_second"]


def case_short(server, a, n_clients, seed):
    ours = isinstance(server, Ours)
    before = rates_of_bench(server, n_clients) if ours else []
    values = case_load(server, a, n_clients, seed, lambda i: 20)
    if ours:                            # a machine is not the same all the time
        values["bench_per_second"] = statistics.median(before + rates_of_bench(server, n_clients))
        values["over_bench"] = values["tokens_per_second"] / values["bench_per_second"]
    return values


def first_token_ms(crowd, connection, prompt, n_tokens=1):
    stream = crowd.finish(crowd.ask(connection, prompt, n_tokens, 0, keep=True))
    return 1e3 * (stream.tokens[0] - stream.started), "".join(stream.text)


def case_turn(server, a, n_clients, seed):
    crowd, texts = Crowd(server), Texts(seed)
    connection = crowd.connect()
    first_token_ms(crowd, connection, texts.of(300), 4)
    one, other = texts.of(2000), texts.of(2000)
    _, answer = first_token_ms(crowd, connection, one, 32)
    first_token_ms(crowd, connection, other, 32)
    again, _ = first_token_ms(crowd, connection, one + answer + " " + texts.of(20))
    cold, _ = first_token_ms(crowd, connection, texts.of(2000) + " " + texts.of(52))
    crowd.close()
    return {"second_turn_ms": again, "cold_ms": cold, "sooner": cold / again}


def case_hog(server, a, n_clients, seed):
    crowd, texts = Crowd(server), Texts(seed)
    many = isinstance(server, Ours)
    hogs = [crowd.connect() for _ in range(1 if many else n_clients - 1)]
    other, asked, next_at = crowd.connect(), [], time.perf_counter() + a.warm

    def ask(now):
        nonlocal next_at
        if now >= next_at and (not asked or asked[-1].done):
            asked.append(crowd.ask(other, texts.of(20), 4, None))
            next_at = now + 1
    keep_going(crowd, hogs, texts, a, time.perf_counter() + a.warm + a.seconds, ask, n_clients - 1 if many else 1)
    crowd.close()
    waits = [(s.tokens[0] if s.tokens else time.perf_counter()) - s.started for s in asked]      # the last may still wait
    return {"asked": len(waits), **spread_of(waits, "first")}


def case_tokenize(server, a, n_clients, seed):
    crowd, texts, idle, beside = Crowd(server), Texts(seed), [], []
    ask = crowd.connect().tokenizer("hello")

    def once(times):
        begin = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begin)
    for _ in range(2000):
        once(idle)
    next_at = time.perf_counter() + a.warm

    def sometimes(now):
        nonlocal next_at
        if now >= next_at:
            once(beside)
            next_at = now + 0.02
    keep_going(crowd, [crowd.connect() for _ in range(n_clients)], texts, a, time.perf_counter() + a.warm + a.seconds, sometimes)
    crowd.close()
    return {**spread_of(idle[100:], "idle"), **spread_of(beside, "beside")}


# case: (function, context of each place, numbers of clients)
CASES = {
    "load": (case_load, 2048, None),
    "short": (case_short, 2048, [16]),
    "turn": (case_turn, 4096, [1]),
    "hog": (case_hog, 2048, [65]),
    "tokenize": (case_tokenize, 2048, [16]),
}
# What the table shows: (key, digits).
SHOWN = {
    "load": [("tokens_per_second", 1), ("first_p50_ms", 0), ("first_p95_ms", 0), ("gap_p50_ms", 1), ("gap_p95_ms", 1),
             ("gap_longest_ms", 0)],
    "short": [("tokens_per_second", 1), ("bench_per_second", 1), ("over_bench", 2), ("gap_p95_ms", 1)],
    "turn": [("second_turn_ms", 1), ("cold_ms", 0), ("sooner", 1)],
    "hog": [("first_p50_ms", 0), ("first_p95_ms", 0)],
    "tokenize": [("idle_p50_ms", 3), ("idle_p95_ms", 3), ("beside_p50_ms", 2), ("beside_p95_ms", 2)],
}
SMALLER = {"turn": "second_turn_ms", "hog": "first_p95_ms", "tokenize": "beside_p95_ms"}


def measure(servers, model, a, write, now):
    """Calls write(rows) after every case."""
    where, at = compare.machine(), compare.commit()
    for r in range(a.round, a.round + a.rounds):
        for case in a.cases.split(","):
            run, ctx, counts = CASES[case]
            for n in counts or a.n_clients:
                for i in range(len(servers)):
                    e = (r + i) % len(servers)
                    server = servers[e]
                    print(f"\r{os.path.basename(model)}: round {r}, {case} {n}, {server.name} "
                          f"{server.settings}      ", end="", file=sys.stderr, flush=True)
                    try:
                        server.start(model, a.threads, 3 if case == "turn" else n + (case == "tokenize"), ctx)
                        values = run(server, a, n, f"{r} {case} {n}")
                    finally:
                        server.stop()
                    write([(now.strftime("%Y-%m-%dT%H:%MZ"), where, at, os.path.basename(model), a.threads, server.name,
                            server.settings, case, n, r, what, f"{value:.6g}") for what, value in values.items()])
    print("\r" + " " * 100 + "\r", end="", file=sys.stderr)


def by_model(rows):
    """{model: {(case, clients): {(server, settings): {what: [by round]}}}}"""
    found = {}
    for row in rows:
        r = dict(zip(COLUMNS, row))
        case = found.setdefault(r["model"], {}).setdefault((r["case"], int(r["clients"])), {})
        case.setdefault((r["engine"], r["settings"]), collections.defaultdict(list))[r["what"]].append(float(r["value"]))
    return found


def medians(values):
    return {what: statistics.median(v) for what, v in values.items()}


def best_of(case, by_server, name):
    """The settings of this server that did best, as {what: median}."""
    candidates = [(settings, medians(values)) for (server, settings), values in by_server.items() if server == name]
    key = (lambda c: c[1][SMALLER[case]]) if case in SMALLER else (lambda c: -c[1]["tokens_per_second"])
    return min(candidates, key=key)


def show(model, found):
    lines = [f"### {model}", ""]
    for case in dict.fromkeys(case for case, _ in found):
        shown = SHOWN[case]
        ratio = ["ours over it"] if case == "load" else []
        heads = ["clients", "server"] + [what.replace("_ms", ", ms").replace("_per_second", "/s").replace("_", " ")
                                         for what, _ in shown] + ["rounds"] + ratio
        lines += [f"**{case}**", "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        for (_, n), by_server in sorted((k, v) for k, v in found.items() if k[0] == case):
            for name in sorted({server for server, _ in by_server}, key=lambda name: (name != Ours.name, name)):
                picked = [best_of(case, by_server, name)]
                if name == Ours.name:               # all settings of ours, best of the others
                    picked = [(settings, medians(values)) for (server, settings), values in by_server.items() if server == name]
                for settings, values in picked:
                    line = [str(n), name + (f" ({settings})" if settings else "")]
                    line += [f"{values[what]:.{digits}f}" if what in values else "" for what, digits in shown]
                    line.append(str(len(by_server[name, settings][shown[0][0]])))
                    if ratio:
                        theirs = values["tokens_per_second"]
                        ours = best_of(case, by_server, Ours.name)[1]["tokens_per_second"] if name != Ours.name else 0
                        line.append(f"{ours / theirs:.2f}" if ours and theirs else "")
                    lines.append("| " + " | ".join(line) + " |")
        lines.append("")
    return lines


def page_of(path):
    """The page of a CSV file: what was measured where, then a table for each case."""
    with open(path, newline="") as f:
        rows = list(csv.reader(f))[1:]
    lines = [f"{machine}; commit {commit}; {threads} threads; medians over rounds in turns."
             for machine, commit, threads in dict.fromkeys((r[1], r[2], r[4]) for r in rows)] + [""]
    for model, found in by_model(rows).items():
        lines += show(model, found)
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-m", "--model", action="append", default=[], help="a GGUF file; may be repeated")
    p.add_argument("--veritas", default=os.path.join(compare.ROOT, "build/release/bin/veritas"))
    p.add_argument("--llama-server", help="llama.cpp's")
    p.add_argument("--ik-server", help="ik_llama.cpp's")
    p.add_argument("--ours", action="append", metavar="SETTINGS",
                   help="settings of LOAD for ours, as KEY=VALUE ...; may be repeated (default: none)")
    p.add_argument("--llama", action="append", metavar="OPTIONS", help="options for llama.cpp's (default: '-fa on')")
    p.add_argument("--ik", action="append", metavar="OPTIONS", help="options for ik_llama.cpp's (default: '-fa on -rtr')")
    p.add_argument("--clients", default="1,4,16,64", help="for load, commas between")
    p.add_argument("--cases", default=",".join(CASES))
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=30)
    p.add_argument("--warm", type=float, default=5)
    p.add_argument("--tokens", type=int, default=128, help="generated by each request")
    p.add_argument("--speculation", choices=("off", "auto"),
                   help="for ours; random words have nothing to guess, greedy answers that go in circles do")
    p.add_argument("--round", type=int, default=0, help="the number of the first round")
    p.add_argument("--csv", help="default: bench/results/load-DATE.csv")
    p.add_argument("--page", action="store_true", help="only print the page of the CSV")
    a = p.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # what we started ends with us
    a.n_clients = [int(n) for n in a.clients.split(",")]
    now = datetime.datetime.now(datetime.timezone.utc)
    a.csv = a.csv or os.path.join(compare.ROOT, "bench/results", f"load-{now:%Y-%m-%d}.csv")
    servers = [Ours(a.veritas, s, a.speculation) for s in a.ours or [""]]
    if a.llama_server:
        servers += [Llama("llama.cpp", a.llama_server, s) for s in a.llama or ["-fa on"]]
    if a.ik_server:
        servers += [Llama("ik_llama.cpp", a.ik_server, s) for s in a.ik or ["-fa on -rtr"]]
    if not a.model and not a.page:
        p.error("-m FILE, or --page")
    fresh = not os.path.exists(a.csv)
    for model in a.model:
        with open(a.csv, "a", newline="") as f:
            w = csv.writer(f, lineterminator="\n")

            def write(rows):
                w.writerows(rows)
                f.flush()
            write([COLUMNS] * fresh)
            fresh = False
            measure(servers, model, a, write, now)
    print(page_of(a.csv))


if __name__ == "__main__":
    main()
