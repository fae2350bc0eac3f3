#!/usr/bin/env python3
"""What a receipt costs: the same request without one and with one, in turns, one after the other.

    bench/receipts.py [-m MODEL] [--tokens 128] [--rounds 20] [--level 1] [--log] [--threads N]

Starts a daemon of its own; with --log it keeps an audit log, else receipts are signed by a process that only signs. Each round asks
both ways in turning order. Printed are medians over rounds: tokens a second of the answer (the worker's own count), the processor
time of the worker for each token, and for a request of one token its time from beginning to end, with the broker's and the
signer's part. Processor time is what a busy machine changes least. Only the standard library.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
import client as protocol
from processes import child


def cpu(pid):
    """Nanoseconds on a processor, of all threads that are there."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-m", default="smollm2-135m-instruct")
    p.add_argument("--tokens", type=int, default=128)
    p.add_argument("--rounds", type=int, default=20)
    p.add_argument("--level", type=int, default=1)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--log", action="store_true")
    p.add_argument("--bin", default=ROOT + "/build/release/bin")
    args = p.parse_args()
    folder = tempfile.TemporaryDirectory(prefix="vrb")
    with open(folder.name + "/policy.json", "w") as f:
        json.dump({"audit": {"dir": "log"}} if args.log else {}, f)
    env = dict(os.environ, VERITAS_SOCKET=folder.name + "/s", XDG_STATE_HOME=folder.name)
    threads = ["--threads", str(args.threads)] if args.threads else []
    serve = subprocess.Popen([args.bin + "/veritas", "serve", "--policy", folder.name + "/policy.json", *threads], env=env,
                             stderr=subprocess.DEVNULL)
    try:
        measure(args, serve, folder.name)
    finally:
        serve.terminate()
        serve.wait()


def measure(args, serve, folder):
    while True:
        try:
            x = protocol.Client(folder + "/s")
            break
        except OSError:
            time.sleep(0.01)

    def ask(n, level):
        request = x.request(protocol.GENERATE, {
            "model": args.m, "prompt": "Tell me about the sea.", "ignore_eos": True, "max_tokens": n, "speculation": "off",
            "sampling": {"temperature": 0}, **({"receipt": level} if level else {})})
        return x.wait(request)
    for _ in range(3):
        ask(args.tokens, args.level)
    names = ["veritas-worker", "veritas-broker", "veritas-audit"]
    pids = {name: child(serve.pid, name) for name in names}
    rate, worker, whole, others = ({0: [], args.level: []} for _ in range(4))
    for i in range(args.rounds):
        for level in (0, args.level) if i % 2 else (args.level, 0):
            before = cpu(pids["veritas-worker"])
            result = ask(args.tokens, level)
            worker[level].append((cpu(pids["veritas-worker"]) - before) / args.tokens)
            rate[level].append(result["timings"]["decode_per_second"])
    for i in range(10 * args.rounds):
        for level in (0, args.level) if i % 2 else (args.level, 0):
            before, begin = [cpu(pids[n]) for n in names[1:]], time.perf_counter()
            ask(1, level)
            whole[level].append(time.perf_counter() - begin)
            others[level].append([cpu(pids[n]) - b for n, b in zip(names[1:], before)])
    off, on = 0, args.level
    m = statistics.median

    def change(values):
        """Of pairs: the median of what the second adds, and the quartiles."""
        low, middle, high = statistics.quantiles([100 * (b / a - 1) for a, b in zip(values[off], values[on])], n=4)
        return f"{middle:+.2f} % (quartiles {low:+.2f}, {high:+.2f})"
    print(f"level {on}, {'audit log' if args.log else 'signer alone'}, {args.tokens} tokens, {args.rounds} rounds")
    print(f"tokens/s: {m(rate[off]):.1f} without, {m(rate[on]):.1f} with: {change(rate)}")
    print(f"worker, us of processor a token: {m(worker[off]) / 1e3:.1f} without, {m(worker[on]) / 1e3:.1f} with: "
          f"{change(worker)}")
    print(f"request of one token, ms: {1e3 * m(whole[off]):.3f} without, {1e3 * m(whole[on]):.3f} with: "
          f"{1e6 * m([b - a for a, b in zip(whole[off], whole[on])]):+.0f} us; the quickest tenth "
          f"{1e6 * (statistics.quantiles(whole[on], n=10)[0] - statistics.quantiles(whole[off], n=10)[0]):+.0f} us")
    for k, name in enumerate(names[1:]):
        print(f"{name}, us of processor a request: {m([o[k] for o in others[off]]) / 1e3:.0f} without, "
              f"{m([o[k] for o in others[on]]) / 1e3:.0f} with")


if __name__ == "__main__":
    main()
