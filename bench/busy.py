#!/usr/bin/env python3
"""What is left of our speed when another job takes a core, and how long the longest pause between two tokens is.

    bench/busy.py -m MODEL.gguf [-m ...] [--rounds 5]

The other job is a loop that never waits, started and ended by this program, which the system schedules as it likes. Alone and
beside it, in turns: `veritas run -n N`, tokens/s over the stream as a client sees it, and the gaps between its pieces. Medians over
rounds. Only the standard library.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare


def stream(veritas, model, threads, n):
    """(tokens/s, median gap, longest gap) of one answer; the first tokens are left out. Seconds."""
    p = subprocess.Popen([veritas, "run", "-m", model, "--raw", "--temp", "0", "--ignore-eos", "-n", str(n), "--threads",
                          str(threads),
                          "Count: one, two, three, four, five, six,"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    at = []
    while os.read(p.stdout.fileno(), 4096):
        at.append(time.perf_counter())
    if p.wait():
        raise SystemExit(f"veritas run ended with {p.returncode}")
    at = at[8:-1]
    gaps = [b - a for a, b in zip(at, at[1:])]
    return len(gaps) / (at[-1] - at[0]), statistics.median(gaps), max(gaps)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-m", "--model", action="append", required=True)
    p.add_argument("--veritas", default=os.path.join(compare.ROOT, "build/release/bin/veritas"))
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("-n", type=int, default=200)
    a = p.parse_args()
    print(f"{compare.machine()}\ncommit {compare.commit()}, {a.threads} threads, median of {a.rounds}\n")
    print("| file | pieces/s alone | with a core taken | left | median gap, ms | longest gap, ms | 3 x median + 10 ms |")
    print("|---|---|---|---|---|---|---|")
    for model in a.model:
        alone, beside = [], []
        for _ in range(a.rounds):
            alone.append(stream(a.veritas, model, a.threads, a.n))
            hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            try:
                time.sleep(0.2)
                beside.append(stream(a.veritas, model, a.threads, a.n))
            finally:
                hog.kill()
                hog.wait()
        middle = lambda runs, i: statistics.median(r[i] for r in runs)
        gap = 1e3 * middle(beside, 1)
        print(f"| {os.path.basename(model)} | {middle(alone, 0):.1f} | {middle(beside, 0):.1f} | "
              f"{100 * middle(beside, 0) / middle(alone, 0):.0f} % "
              f"| {gap:.1f} | {1e3 * middle(beside, 2):.1f} | {3 * gap + 10:.1f} |", flush=True)


if __name__ == "__main__":
    main()
