#!/usr/bin/env python3
"""An old and a new build in turns: did speed hold?

    turns.py OLD/bin NEW/bin [--rounds 20] [--threads 2] [--pp 512] [--tg 64] MODEL...

Each round runs both programs once, in alternating order, on the same model; the ratio of a round is new over old. Prints the median
ratio of each test and the interval that 95 of 100 resamplings of the rounds stay in. Nothing else should run on the machine.
"""
import argparse
import json
import os
import random
import statistics
import subprocess


def tokens_per_second(folder, model, o):
    words = [os.path.join(folder, "veritas"), "bench", "-m", model, "--pp", str(o.pp), "--tg", str(o.tg), "--threads",
             str(o.threads),
             "--reps", "1", "--json"]
    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return {r["test"]: r["tokens_per_second"][0] for r in json.loads(out)["results"]}


def interval(ratios, n=2000):
    medians = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(n))
    return medians[n * 25 // 1000], medians[-1 - n * 25 // 1000]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("old")
    p.add_argument("new")
    p.add_argument("models", nargs="+", metavar="MODEL")
    for name, preset in (("rounds", 20), ("threads", 2), ("pp", 512), ("tg", 64)):
        p.add_argument("--" + name, type=int, default=preset)
    o = p.parse_args()
    for model in o.models:
        ratios = {}
        for i in range(o.rounds):
            r = {folder: tokens_per_second(folder, model, o) for folder in ((o.old, o.new) if i % 2 else (o.new, o.old))}
            for test in r[o.old]:
                ratios.setdefault(test, []).append(r[o.new][test] / r[o.old][test])
        for test, x in ratios.items():
            low, high = interval(x)
            print(f"{model} {test}: median {statistics.median(x):.3f}, interval {low:.3f} to {high:.3f}, {len(x)} rounds",
                  flush=True)


if __name__ == "__main__":
    main()
