#!/usr/bin/env python3
"""What the guard costs on the way: a short request, a prompt of 2 KiB that is looked through, tokens per second with all filters on
and off, memory.

    python3 bench/guard/path.py BIN MODEL [ROUNDS] > bench/results/guard-path-DATE.md

BIN holds the programs, MODEL is a model's file. Both daemons run all the time and are asked in turn, so that what else the machine
does meets both; medians of all rounds."""
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../../tests/e2e")
import client as c                                      # noqa: E402

BIN, MODEL, ROUNDS = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 7
if not os.path.isfile(MODEL):
    sys.exit(f"{MODEL} is no file; MODEL is a model's file, not its name")
OFF = {"injection": {zone: {"mode": "off"} for zone in ("user", "retrieved", "tool")}, "secrets": {"input": "off", "output": "off"},
       "output": {"control": "off", "system_prompt": "off"}}
ON = {"injection": {zone: {"mode": "warn"} for zone in ("user", "retrieved", "tool")}, "pii": {"input": "warn", "output": "redact"},
      "secrets": {"input": "warn", "output": "redact", "protect": ["a value that nobody says"]},
      "output": {"urls": "list", "url_allow": ["example.com"], "system_prompt": "redact"}}
SYSTEM = "You are the assistant of a small harbour; answer questions about tides, berths and fees, shortly and in good spirits."


class Daemon:
    def __init__(self, name, policy):
        self.dir = tempfile.mkdtemp(prefix="vsb")
        os.mkdir(self.dir + "/models")
        os.symlink(MODEL, self.dir + "/models/m.gguf")
        with open(self.dir + "/policy.json", "w") as f:
            json.dump({"version": 1, **policy}, f)
        env = dict(os.environ, VERITAS_MODELS=self.dir + "/models", VERITAS_SOCKET=self.dir + "/run/s")
        self.name = name
        self.process = subprocess.Popen([BIN + "/veritas", "serve", "--policy", self.dir + "/policy.json"], env=env,
                                        stderr=subprocess.DEVNULL)
        while True:
            try:
                self.x = c.Client(self.dir + "/run/s")
                break
            except OSError:
                time.sleep(0.01)
        self.x.wait(self.x.request(c.LOAD, {"model": "m"}))
        self.short, self.rate = [], []

    def tokenize(self, n):
        for _ in range(n):
            begin = time.perf_counter()
            self.x.wait(self.x.request(c.TOKENIZE, {"model": "m", "text": "harbour"}))
            self.short.append(time.perf_counter() - begin)

    def generate(self, n):
        asked = {"model": "m", "prompt": "The harbour is", "system": SYSTEM, "ignore_eos": True, "max_tokens": n,
                 "sampling": {"temperature": 0}}
        self.x.answer(self.x.request(c.GENERATE, asked))
        self.rate.append(0)

    def spent(self):
        """Nanoseconds of processor time of the worker, of the guard."""
        model, = self.x.wait(self.x.request(c.STATUS, {}))["models"]

        def of(pid):
            folder, n = f"/proc/{pid}/task", 0
            for thread in os.listdir(folder):
                with open(f"{folder}/{thread}/schedstat") as f:
                    n += int(f.read().split()[0])
            return n
        return of(model["pid"]), of(model["guard"]["pid"])

    def memory(self):
        model, = self.x.wait(self.x.request(c.STATUS, {}))["models"]
        with open(f"/proc/{model['guard']['pid']}/smaps_rollup") as f:
            rows = {line.split(":")[0]: int(line.split()[1]) for line in f if line.count(":") == 1 and "kB" in line}
        return rows["Rss"] / 1024, (rows["Private_Clean"] + rows["Private_Dirty"]) / 1024

    def end(self):
        self.process.terminate()
        self.process.wait()


def prompts():
    """Pieces of 2 KiB of this tree's documents."""
    root = os.path.dirname(os.path.abspath(__file__)) + "/../../docs/"
    text = "".join(open(root + name, encoding="utf-8").read() for name in sorted(os.listdir(root)) if name.endswith(".md"))
    text = text.encode()[:400 * 2048].decode("utf-8", "ignore")
    return [text[i:i + 2048] for i in range(0, len(text) - 2048, 2048)]


def main():
    daemons = [Daemon("off", OFF), Daemon("on", ON)]
    for d in daemons:
        d.tokenize(200)
        d.generate(16)
        d.short, d.rate = [], []
    looked, cost = [], [[0, 0] for _ in daemons]
    for _ in range(ROUNDS):
        for d in daemons:
            d.tokenize(300)
            before, begin = d.spent(), time.perf_counter()
            d.generate(128)
            d.rate[-1] = 128 / (time.perf_counter() - begin)
            of = cost[daemons.index(d)]
            of[:] = [n + now - was for n, now, was in zip(of, d.spent(), before)]
        x = daemons[1].x
        looked += [x.wait(x.request(c.SCAN, {"text": text}))["us"] for text in prompts()[:60]]
    share = [100 * guard / worker for worker, guard in cost]
    print("# What the guard costs on the way\n")
    print(f"`python3 bench/guard/path.py build/release/bin {os.path.basename(MODEL)}`, {platform.machine()}, load "
          f"{os.getloadavg()[0]:.0f} on {os.cpu_count()} processors, {ROUNDS} rounds.\n")
    print("| | all off | all on | goal |\n|---|---:|---:|---:|")
    off, on = daemons
    short = [1e6 * statistics.median(d.short) for d in daemons]
    print(f"| TOKENIZE of a word, µs, p50 | {short[0]:.0f} | {short[1]:.0f} | 150 |")
    print(f"| the same, least | {min(off.short) * 1e6:.0f} | {min(on.short) * 1e6:.0f} | |")
    a, b = statistics.median(off.rate), statistics.median(on.rate)
    print(f"| tokens/s of one answer, median | {a:.1f} | {b:.1f} ({100 * b / a:.1f} %) | 99 % |")
    print(f"| the same, best | {max(off.rate):.1f} | {max(on.rate):.1f} ({100 * max(on.rate) / max(off.rate):.1f} %) | |")
    print(f"| processor time of the guard while it answers, % of the worker's | {share[0]:.2f} | {share[1]:.2f} | 1 |")
    print(f"| SCAN of 2 KiB, µs, median (least) | | {statistics.median(looked)} ({min(looked)}) | 50 |")
    (ra, pa), (rb, pb) = off.memory(), on.memory()
    print(f"| memory of the guard, MiB, of its own (with shared pages) | {pa:.1f} ({ra:.1f}) | {pb:.1f} ({rb:.1f}) | 12 |")
    for d in daemons:
        d.end()


main()
