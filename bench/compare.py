#!/usr/bin/env python3
"""Our speed beside the rivals', on the same file and threads, in turns.

    bench/compare.py --llama-bench BUILD/bin/llama-bench -m a.gguf -m b.gguf
    bench/compare.py --llama-bench A/bin/llama-bench --ik-bench B/bin/llama-bench --pp 1,4,512 --tg 128 --rounds 5 -m a.gguf

Machines drift by tens of percent within minutes, so nothing is quoted across runs: each round runs every engine once on every test, in an
order that turns from round to round, and what counts is the median over rounds and the ratio of medians. A rival is run with each of
its settings; the better one, test by test, is what we compare with. Prints a table, appends every single figure to a CSV
in bench/results/, with the machine and the commit. Only the standard library.
"""
import argparse
import csv
import datetime
import json
import os
import re
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COLUMNS = ("date", "machine", "commit", "model", "threads", "engine", "version", "settings", "test", "depth", "round", "tokens_per_second")


def first_line(path, pattern, otherwise="?"):
    try:
        with open(path) as f:
            m = re.search(pattern, f.read(), re.M)
            return m.group(1).strip() if m else otherwise
    except OSError:
        return otherwise


def machine():
    flags = set(first_line("/proc/cpuinfo", r"^flags\s*:(.*)$", "").split())
    told = [f for f in ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if f in flags]
    memory = int(first_line("/proc/meminfo", r"^MemTotal:\s*(\d+)", "0")) / 2**20
    return (f"{os.cpu_count()} x {first_line('/proc/cpuinfo', r'^model name.*?:(.*)$')} family {first_line('/proc/cpuinfo', r'^cpu family.*?:(.*)$')} "
            f"model {first_line('/proc/cpuinfo', r'^model.*?:(.*)$')} ({' '.join(told)}), {memory:.0f} GiB, Linux {os.uname().release}")


def commit():
    git = lambda *words: subprocess.run(("git", "-C", ROOT) + words, capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short=12", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def run(command):
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if p.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {p.returncode}: {p.stderr[-2000:]}")
    return json.loads(p.stdout)


class Ours:
    name = "veritas"
    def __init__(self, program, settings):
        self.program, self.settings, self.version = program, settings, commit()

    def measure(self, model, a):
        command = [self.program, "bench", "-m", model, "--pp", a.pp, "--tg", a.tg, "--depth", a.depth,
                   "--threads", str(a.threads), "--reps", "1", "--json"] + self.settings.split()
        for r in run(command)["results"]:
            yield r["test"], int(r.get("depth", 0)), statistics.median(r["tokens_per_second"])


class LlamaBench:
    """llama.cpp's llama-bench, and that of its fork, which differ a little in their options and output."""
    def __init__(self, name, program, settings):
        self.name, self.program, self.settings, self.version = name, program, settings, "?"

    def measure(self, model, a):
        command = [self.program, "-m", model, "-p", a.pp, "-n", a.tg, "-t", str(a.threads), "-r", "1", "-o", "json"]
        for depth in a.depth.split(","):
            for r in run(command + (["-d", depth] if depth != "0" else []) + self.settings.split()):
                self.version = f"{r.get('build_number', '?')} {r.get('build_commit', '?')}"
                n, g = r["n_prompt"], r["n_gen"]
                yield (f"tg{g}" if g else f"pp{n}"), int(r.get("n_depth", 0)), float(r["avg_ts"])


def spread(values):
    """Half the range over the median, in percent."""
    return 50.0 * (max(values) - min(values)) / statistics.median(values)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-m", "--model", action="append", required=True, help="a GGUF file; may be repeated")
    p.add_argument("--veritas", default=os.path.join(ROOT, "build/release/bin/veritas"))
    p.add_argument("--llama-bench", help="llama.cpp's")
    p.add_argument("--ik-bench", help="ik_llama.cpp's")
    p.add_argument("--ours", action="append", metavar="SETTINGS", help="options for ours, e.g. '--isa avx2'; may be repeated (default: none)")
    p.add_argument("--llama", action="append", metavar="SETTINGS", help="options for llama.cpp (default: '-fa 0' and '-fa 1')")
    p.add_argument("--ik", action="append", metavar="SETTINGS", help="options for ik_llama.cpp (default: '-rtr 0' and '-rtr 1')")
    p.add_argument("--pp", default="512", help="prompt lengths, commas between (default 512; 0: none)")
    p.add_argument("--tg", default="128", help="lengths of generation (default 128; 0: none)")
    p.add_argument("--depth", default="0", help="tokens already in the context")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--csv", help="default: bench/results/speed-DATE.csv; '-' for none")
    a = p.parse_args()
    engines = [Ours(a.veritas, s) for s in a.ours or [""]]
    if a.llama_bench:
        engines += [LlamaBench("llama.cpp", a.llama_bench, s) for s in a.llama or ["-fa 0", "-fa 1"]]
    if a.ik_bench:
        engines += [LlamaBench("ik_llama.cpp", a.ik_bench, s) for s in a.ik or ["-rtr 0", "-rtr 1"]]
    now = datetime.datetime.now(datetime.timezone.utc)
    where, at = machine(), commit()
    out = a.csv or os.path.join(ROOT, "bench/results", f"speed-{now:%Y-%m-%d}.csv")
    print(f"{where}\ncommit {at}, {a.threads} threads, {a.rounds} rounds in turns, {now:%Y-%m-%d %H:%M} UTC\n")
    rows = []
    for model in a.model:
        found = {}                      # (test, depth) -> {engine index: [tokens/s by round]}
        for r in range(a.rounds):
            turn = [(r + i) % len(engines) for i in range(len(engines))]
            for e in turn:
                print(f"\r{os.path.basename(model)}: round {r + 1}/{a.rounds}, {engines[e].name} {engines[e].settings}   ",
                      end="", file=sys.stderr, flush=True)
                for test, depth, speed in engines[e].measure(model, a):
                    found.setdefault((test, depth), {}).setdefault(e, []).append(speed)
                    rows.append((now.strftime("%Y-%m-%dT%H:%MZ"), where, at, os.path.basename(model), a.threads, engines[e].name,
                                 engines[e].version, engines[e].settings, test, depth, r, f"{speed:.3f}"))
        print("\r" + " " * 78 + "\r", end="", file=sys.stderr)
        show(os.path.basename(model), engines, found)
    if out != "-":
        fresh = not os.path.exists(out)
        with open(out, "a", newline="") as f:
            w = csv.writer(f, lineterminator="\n")
            if fresh:
                w.writerow(COLUMNS)
            w.writerows(rows)
        print(f"every figure: {os.path.relpath(out)}")


def show(model, engines, found):
    """One Markdown table for a model: median tokens/s, +- half range; our best over each rival's best."""
    names = list(dict.fromkeys(e.name for e in engines))
    rivals = names[1:]
    print(f"### {model}\n\n| test | " + " | ".join(names) + " | " + " | ".join(f"ratio to {r}" for r in rivals) + (" |" if rivals else ""))
    print("|---" * (1 + len(names) + len(rivals)) + "|")
    for (test, depth), by_engine in found.items():
        best = {}
        for e, values in by_engine.items():
            name = engines[e].name
            if name not in best or statistics.median(values) > statistics.median(best[name][0]):
                best[name] = (values, engines[e].settings)
        cell = lambda n: (f"{statistics.median(best[n][0]):.1f} ±{spread(best[n][0]):.0f} %" + (f" ({best[n][1]})" if best[n][1] else "")
                          if n in best else "-")
        ratio = lambda n: f"{statistics.median(best[names[0]][0]) / statistics.median(best[n][0]):.2f}" if n in best and names[0] in best else "-"
        line = [test + (f" at {depth}" if depth else "")] + [cell(n) for n in names] + [ratio(n) for n in rivals]
        print("| " + " | ".join(line) + " |")
    print()


if __name__ == "__main__":
    main()
