#!/usr/bin/env python3
"""The same request through every door, at random and all at once: the socket, the command line, the HTTP APIs, whole and as
streams, while clients leave and workers are killed. Each answer that comes must be the one that its prompt alone gets through the
socket.

usage: doors.py BIN SECONDS [SEED]
"""
import collections
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import client as c

BIN, SECONDS, SEED = os.path.abspath(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
CLIENTS, PROMPTS, MODEL = 10, 40, "one"
WORDS = "the sky is blue and sea green while one old man walks home from work in rain".split()
DIR = tempfile.TemporaryDirectory(prefix="vsd")
LOST = ("DIED", "BUSY", "CANCELLED", "SYSTEM")          # what may come instead of an answer when a worker is killed
JSON = {"Content-Type": "application/json"}


def cases():
    """[(text, tokens, sampling, constraint)]"""
    r = random.Random(SEED)
    common = " ".join(r.choice(WORDS) for _ in range(40))
    for i in range(PROMPTS):
        own = " ".join(r.choice(WORDS) for _ in range(r.randrange(1, 60)))
        sampling = {"seed": i, "temperature": r.choice((0, 0.8, 1.5)), "top_p": r.choice((1, 0.9))}
        constraint = {"regex": "[a-z]{1,8}( [a-z]{1,8}){2}"} if i % 5 == 4 else None
        yield (common + " " + own if i % 3 else own), r.choice((1, 8, 40, 120) if not constraint else (60,)), sampling, constraint


# Its answer has the two bytes of a character with a control token between them, which is no mark of parts.
PARTED = ("man and home sky is blue walks sky rain green sky is from from is while is from sky blue while sky home sky while sky "
          "and old from and blue old sea blue green walks blue is sky green is sea and while while the in sea one old",
          120, {"seed": 2, "temperature": 0, "top_p": 1}, None)
CASES = [*cases(), PARTED]


class Gone(Exception):
    """No answer, and that is allowed."""


def body_of(i):
    text, n, sampling, constraint = CASES[i]
    more = {"structured_outputs": constraint} if constraint else {}
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": n, **sampling, **more}


def by_socket(i):
    text, n, sampling, constraint = CASES[i]
    x = c.Client(DIR.name + "/run/s")
    try:
        x.sock.settimeout(60)
        more = {"constraint": constraint} if constraint else {}
        said, _, _ = x.answer(x.request(c.CHAT, {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": n,
                                                 "sampling": sampling, **more}))
        return said
    except c.Failure as e:
        if e.name in LOST:
            raise Gone() from e
        raise
    finally:
        x.close()


def by_command(i):
    text, n, sampling, constraint = CASES[i]
    words = ["--regex", constraint["regex"]] if constraint else []
    done = subprocess.run([BIN + "/veritas", "run", "-q", "-m", MODEL, "-n", str(n), "--temp", str(sampling["temperature"]),
                           "--top-p", str(sampling["top_p"]), "--seed", str(sampling["seed"]), "--json", *words, text],
                          env=ENV, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    if done.returncode in (5, 6, 70):
        raise Gone()
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["text"]


def ask(path, body, leave_after=0):
    """The body of an answer, line by line."""
    h = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    try:
        h.request("POST", path, json.dumps(body), JSON)
        reply = h.getresponse()
        if reply.status in (429, 502, 503):
            raise Gone()
        assert reply.status == 200, (reply.status, reply.read())
        lines = []
        for line in reply:
            lines.append(line.decode().rstrip("\n"))
            if leave_after and len(lines) >= leave_after:
                raise Gone()
        return lines
    finally:
        h.close()


def whole(path, body, get):
    return get(json.loads("".join(ask(path, body))))


def stream(path, body, get, leave_after):
    """The pieces that `get` finds in the events, joined."""
    said, ended = "", False
    for line in ask(path, dict(body, stream=True), leave_after):
        if line.startswith("data: ") and line != "data: [DONE]":
            event = json.loads(line[6:])
            if "error" in event or event.get("type") in ("error", "response.failed"):
                raise Gone()
            said += get(event) or ""
        ended |= line == "data: [DONE]" or "message_stop" in line or "response.completed" in line
        ended |= "response.incomplete" in line
    assert ended, "the stream just ends"
    return said


def delta(event):
    return event["choices"][0]["delta"].get("content") if event["choices"] else None


def responses_body(i):
    b = body_of(i)
    return dict({k: v for k, v in b.items() if k not in ("messages", "max_tokens")}, input=b["messages"][0]["content"],
                max_output_tokens=b["max_tokens"])


DOORS = {
    "socket": lambda i, r: by_socket(i),
    "command": lambda i, r: by_command(i),
    "chat": lambda i, r: whole("/v1/chat/completions", body_of(i), lambda v: v["choices"][0]["message"]["content"]),
    "chat stream": lambda i, r: stream("/v1/chat/completions", body_of(i), delta, r.choice((0, 0, 0, 3))),
    "messages": lambda i, r: whole("/v1/messages", body_of(i), lambda v: "".join(p["text"] for p in v["content"])),
    "messages stream": lambda i, r: stream("/v1/messages", body_of(i), lambda e: e.get("delta", {}).get("text"), 0),
    "responses": lambda i, r: whole("/v1/responses", responses_body(i),
                                    lambda v: "".join(p["text"] for o in v["output"] for p in o["content"])),
    "responses stream": lambda i, r: stream("/v1/responses", responses_body(i), lambda e: e["delta"]
                                            if e["type"] == "response.output_text.delta" else None, r.choice((0, 0, 7))),
}


class Soak:
    def __init__(self):
        self.counts, self.gone, self.faults, self.over, self.lock = collections.Counter(), 0, [], False, threading.Lock()

    def run_client(self, number):
        r = random.Random(f"{SEED} {number}")
        while not self.over:
            door, i = r.choice(list(DOORS)), r.randrange(len(CASES))
            try:
                said, wanted = DOORS[door](i, r), TRUTH[i]
                with self.lock:
                    self.counts[door] += 1
                    if said != wanted:
                        self.faults.append(f"{door}, case {i}: {said!r} is not {wanted!r}")
            except (Gone, ConnectionError):
                self.gone += 1
            except Exception as e:      # whatever it is, it is told
                self.faults.append(f"{door}, case {i}: {type(e).__name__}: {e}")
                return

    def kill_sometimes(self, until):
        r = random.Random(SEED)
        while time.monotonic() < until:
            time.sleep(min(r.uniform(4, 12), max(0, until - time.monotonic())))
            x = c.Client(DIR.name + "/run/s")
            for model in x.wait(x.request(c.STATUS, {}))["models"]:
                if model.get("pid") and time.monotonic() < until - 3:
                    os.kill(model["pid"], signal.SIGKILL)
                    self.counts["kills"] += 1
            x.close()


def wait_for(path):
    end = time.monotonic() + 20
    while not os.path.exists(path):
        assert time.monotonic() < end, path
        time.sleep(0.02)


def main():
    global ENV, PORT, TRUTH
    os.mkdir(DIR.name + "/models")
    os.mkdir(DIR.name + "/run", 0o700)
    subprocess.run([BIN + "/mkmodel", "--arch", "qwen2", "--layers", "2", "--embd", "64", "--heads", "4", "--kv-heads", "2",
                    "--vocab", "600", "--ctx", "1024", "--seed", "7", "-o", f"{DIR.name}/models/{MODEL}.gguf"], check=True,
                   stdout=subprocess.DEVNULL)
    ENV = dict(os.environ, VERITAS_MODELS=DIR.name + "/models", VERITAS_SOCKET=DIR.name + "/run/s", HOME=DIR.name)
    daemon = subprocess.Popen([BIN + "/veritas", "serve"], env=ENV, stderr=subprocess.DEVNULL)
    wait_for(DIR.name + "/run/s")
    subprocess.run([BIN + "/veritas", "load", MODEL, "--prefix-cache", "off", "--parallel", "1", "--speculation", "off"], env=ENV,
                   check=True, capture_output=True)
    TRUTH = [by_socket(i) for i in range(len(CASES))]
    assert "\u04a3" in TRUTH[-1], "the case that is parted by a control token has become another one"
    subprocess.run([BIN + "/veritas", "unload", MODEL], env=ENV, check=True, capture_output=True)
    subprocess.run([BIN + "/veritas", "load", MODEL, "--parallel", "6"], env=ENV, check=True, capture_output=True)
    gateway = subprocess.Popen([BIN + "/veritas", "gateway", "--listen", "127.0.0.1:0"], env=ENV, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    PORT = int(gateway.stdout.readline().rsplit(":", 1)[1])
    soak = Soak()
    crowd = [threading.Thread(target=soak.run_client, args=(i,)) for i in range(CLIENTS)]
    for t in crowd:
        t.start()
    soak.kill_sometimes(time.monotonic() + SECONDS)
    soak.over = True
    for t in crowd:
        t.join(90)
        assert not t.is_alive(), "somebody waits for ever"
    for process in (gateway, daemon):
        process.terminate()
        assert process.wait(30) == 0, process.args
    print(dict(soak.counts), f"{soak.gone} without an answer")
    if soak.faults:
        sys.exit("\n".join(soak.faults[:20]) + f"\n{len(soak.faults)} faults")
    assert all(soak.counts[door] > 0 for door in DOORS), "a door was never used"


main()
