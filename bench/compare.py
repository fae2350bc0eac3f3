#!/usr/bin/env python3
"""Our speed beside the rivals', on the same file and threads, in turns.

    bench/compare.py --llama-bench BUILD/bin/llama-bench -m a.gguf -m b.gguf
    bench/compare.py --llama-bench A/bin/llama-bench --ik-bench B/bin/llama-bench --pp 1,4,512 --tg 128 --rounds 5 -m a.gguf
    bench/compare.py --llama-bench A/bin/llama-bench --ik-bench B/bin/llama-bench --table -m a.gguf -m b.gguf
        (everything, one page)

Machines drift by tens of percent within minutes, so nothing is quoted across runs: each round runs every engine once on every test,
in an order that turns from round to round, and what counts is the median over rounds and the ratio of medians. A rival is run with
each of its settings; the better one, test by test, is what we compare with. The machine's limits (bench/limits: int8 peak, read
bandwidth) are measured in every round too, and the best of them is what the last column divides by: a prompt by operations over the
peak, a generated token by bytes of weights over the bandwidth.
Prints a table, appends every single figure to a CSV in bench/results/, with the machine and the commit.
--table goes through every goal: prompt and generation, 1 to 32 tokens in one step, a long context with both KV types on the second
file (against ik_llama.cpp where it is given), AVX2 alone against --llama-avx2-bench, the first token and memory (bench/start.py), a
core taken by another job (bench/busy.py), and with --text the tokenizers (bench/text.py, which needs packages). Only the standard
library otherwise.
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
COLUMNS = ("date", "machine", "commit", "model", "threads", "engine", "version", "settings", "test", "depth", "round",
           "tokens_per_second")


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
    return (f"{os.cpu_count()} x {first_line('/proc/cpuinfo', r'^model name.*?:(.*)$')} family "
            f"{first_line('/proc/cpuinfo', r'^cpu family.*?:(.*)$')} "
            f"model {first_line('/proc/cpuinfo', r'^model.*?:(.*)$')} ({' '.join(told)}), {memory:.0f} GiB, Linux "
            f"{os.uname().release}")


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
            at_depth = []
            if depth != "0" and self.name == "llama.cpp":
                at_depth = ["-d", depth]
            elif depth != "0":          # ik has no depth, but tests that generate after a prompt
                command = command[:3] + ["-p", "0", "-n", "0", "-t", str(a.threads), "-r", "1", "-o", "json"]
                at_depth = [w for g in a.tg.split(",") for w in ("-gp", f"{depth},{g}")]
            for r in run(command + at_depth + self.settings.split()):
                self.version = f"{r.get('build_number', '?')} {r.get('build_commit', '?')}"
                n, g = r["n_prompt"], r["n_gen"]
                if r.get("test_kind") or (n and g):
                    yield f"tg{g}", n, float(r["avg_ts"])
                elif depth == "0" or at_depth[0] == "-d":
                    yield (f"tg{g}" if g else f"pp{n}"), int(r.get("n_depth", 0)), float(r["avg_ts"])


class Limits:
    """int8 operations/s and bytes/s, the best over all rounds of a comparison."""
    def __init__(self, program, threads):
        self.program, self.threads, self.int8, self.read = program, threads, 0.0, 0.0

    def measure(self):
        if not os.path.exists(self.program):
            return
        for r in run([self.program, "--threads", str(self.threads), "--reps", "3", "--json"])["results"]:
            if r["threads"] == self.threads and r["what"] == "int8":
                self.int8 = max(self.int8, r["best"] * 1e9)
            elif r["threads"] == self.threads and r["what"] == "read":
                self.read = max(self.read, r["best"] * 1e9)

    def part(self, weights, test, speed):
        """Percent of the limit; None where no single limit says anything."""
        operations, size = weights
        n = int(test[2:])
        if test.startswith("tg") and self.read:
            return 100 * speed * size / self.read
        if n >= 64 and self.int8:
            return 100 * speed * operations / self.int8
        return None


def weights_of(veritas, model):
    """Operations of one token of a prompt (the layers' matrices), bytes that one generated token reads (and the output matrix)."""
    tensors = {t["name"]: t for t in run([veritas, "inspect", "-m", model, "--json"])["tensors"]}
    layers = [t for name, t in tensors.items() if name.startswith("blk.") and len(t["dims"]) == 2]
    output = tensors.get("output.weight") or tensors.get("token_embd.weight")
    return (2 * sum(t["dims"][0] * t["dims"][1] for t in layers), sum(t["bytes"] for t in layers)
            + (output["bytes"] if output else 0))


def spread(values):
    """Half the range over the median, in percent."""
    return 50.0 * (max(values) - min(values)) / statistics.median(values)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-m", "--model", action="append", required=True, help="a GGUF file; may be repeated")
    p.add_argument("--veritas", default=os.path.join(ROOT, "build/release/bin/veritas"))
    p.add_argument("--llama-bench", help="llama.cpp's")
    p.add_argument("--ik-bench", help="ik_llama.cpp's")
    p.add_argument("--ours", action="append", metavar="SETTINGS",
                   help="options for ours, e.g. '--isa avx2'; may be repeated (default: none)")
    p.add_argument("--llama", action="append", metavar="SETTINGS", help="options for llama.cpp (default: '-fa 0' and '-fa 1')")
    p.add_argument("--ik", action="append", metavar="SETTINGS", help="options for ik_llama.cpp (default: '-rtr 0' and '-rtr 1')")
    p.add_argument("--pp", default="512", help="prompt lengths, commas between (default 512; 0: none)")
    p.add_argument("--tg", default="128", help="lengths of generation (default 128; 0: none)")
    p.add_argument("--depth", default="0", help="tokens already in the context")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--csv", help="default: bench/results/speed-DATE.csv; '-' for none")
    p.add_argument("--table", action="store_true", help="everything, see above")
    p.add_argument("--long-rounds", type=int, default=5, help="rounds with 8,192 tokens, some minutes each (default 5)")
    p.add_argument("--llama-avx2-bench", help="llama.cpp's, built for AVX2 without more")
    p.add_argument("--text", help="a UTF-8 file for the tokenizers")
    p.add_argument("--limits", default=os.path.join(ROOT, "build/release/bin/limits"))
    p.add_argument("-o", "--output", help="write the page to this file too")
    a = p.parse_args()
    now = datetime.datetime.now(datetime.timezone.utc)
    a.csv = a.csv or os.path.join(ROOT, "bench/results", f"speed-{now:%Y-%m-%d}.csv")
    page = [f"{machine()}; commit {commit()}; {a.threads} threads; {a.rounds} rounds in turns, medians ± half the range; "
            f"{now:%Y-%m-%d %H:%M} UTC.", ""]
    llama, ik = a.llama or ["-fa 0", "-fa 1"], a.ik or ["-rtr 0", "-rtr 1", "-rtr 1 -thp 1"]
    failed = False
    page += compare(a, a.model, a.ours or [""], llama, ik, now)
    if a.table:
        plain, long, rounds = dict(vars(a)), a.model[1:2] or a.model, a.rounds
        a.pp, a.tg = "1,2,4,8,16,32", "0"
        page += ["## 1 to 32 tokens in one step", ""] + compare(a, a.model, [""], llama, ik, now)
        a.llama_bench = None if a.ik_bench else a.llama_bench      # minutes a round
        a.rounds = min(rounds, a.long_rounds)
        for title, ours, theirs in (("f16", "--ctx 9000", "-fa 1"),
                                    ("q8_0", "--ctx 9000 --kv-type q8_0", "-fa 1 -ctk q8_0 -ctv q8_0")):
            for what, a.pp, a.tg, a.depth in (("A prompt of 8,192 tokens", "8192", "0", "0"),
                                              ("After 8,192 tokens", "0", "128", "8192")):
                page += [f"## {what}, {title} keys and values, {a.rounds} rounds", ""]
                page += compare(a, long, [ours], [theirs], ["-rtr 1 " + theirs], now)
        vars(a).update(plain)
        if a.llama_avx2_bench:
            a.llama_bench, a.ik_bench, a.rounds = a.llama_avx2_bench, None, min(rounds, 3)
            page += [f"## AVX2 only, {a.rounds} rounds (the last column divides by this machine's own peak)", ""]
            page += compare(a, a.model[:2], ["--isa avx2"], ["-fa 1"], [], now)
        ours = ["--veritas", a.veritas]
        jobs = [("First token and memory", "start.py", a.model, ours), ("A core taken by another job", "busy.py", a.model, ours)]
        if a.text:
            jobs.append(("Tokenizers, the vocabulary of " + os.path.basename(long[0]), "text.py", long,
                         ["--text", a.text, "--bin", os.path.dirname(a.veritas)]))
        for title, program, models, more in jobs:
            print(title, file=sys.stderr)
            done = subprocess.run([sys.executable, os.path.join(ROOT, "bench", program)]
                                  + [w for m in models for w in ("-m", m)] + more,
                                  stdout=subprocess.PIPE, text=True)
            failed |= done.returncode != 0
            page += [f"## {title}", ""] + (done.stdout.strip().splitlines()[2:] if done.returncode == 0
                                           else [f"bench/{program} failed (exit {done.returncode})."]) + [""]
    print("\n".join(page))
    if a.output:
        with open(a.output, "w") as f:
            f.write("# Speed\n\n" + "\n".join(page))
    if a.csv != "-":
        print(f"every figure: {os.path.relpath(a.csv)}")
    if failed:
        sys.exit("a part of the table failed, see above")


def compare(a, models, ours, llama, ik, now):
    """The tables of some models as lines of Markdown; every figure goes to the CSV."""
    engines = [Ours(a.veritas, s) for s in ours]
    if a.llama_bench:
        engines += [LlamaBench("llama.cpp", a.llama_bench, s) for s in llama]
    if a.ik_bench:
        engines += [LlamaBench("ik_llama.cpp", a.ik_bench, s) for s in ik]
    where, at, lines = machine(), commit(), []
    for model in models:
        found, rows = {}, []            # (test, depth) -> {engine index: [tokens/s by round]}
        limits = Limits(a.limits, a.threads)
        for r in range(a.rounds):
            limits.measure()
            turn = [(r + i) % len(engines) for i in range(len(engines))]
            for e in turn:
                print(f"\r{os.path.basename(model)}: round {r + 1}/{a.rounds}, {engines[e].name} {engines[e].settings}   ",
                      end="", file=sys.stderr, flush=True)
                for test, depth, speed in engines[e].measure(model, a):
                    found.setdefault((test, depth), {}).setdefault(e, []).append(speed)
                    rows.append((now.strftime("%Y-%m-%dT%H:%MZ"), where, at, os.path.basename(model), a.threads, engines[e].name,
                                 engines[e].version, engines[e].settings, test, depth, r, f"{speed:.3f}"))
        print("\r" + " " * 78 + "\r", end="", file=sys.stderr)
        if limits.int8:
            for what, value in (("int8", limits.int8), ("read", limits.read)):
                rows.append((now.strftime("%Y-%m-%dT%H:%MZ"), where, at, os.path.basename(model), a.threads, "limit", "-", what,
                             "-", 0, "-", f"{value:.4g}"))
        lines += show(os.path.basename(model), engines, found, limits, weights_of(a.veritas, model)) + [""]
        if a.csv != "-":
            fresh = not os.path.exists(a.csv)
            with open(a.csv, "a", newline="") as f:
                w = csv.writer(f, lineterminator="\n")
                if fresh:
                    w.writerow(COLUMNS)
                w.writerows(rows)
    return lines


def show(model, engines, found, limits, weights):
    """One Markdown table for a model: median tokens/s, +- half range; our best over each rival's best; the part of the limit."""
    names = list(dict.fromkeys(e.name for e in engines))
    rivals = names[1:]
    title = f"### {model}" + (f" (int8 peak {limits.int8 / 1e9:.0f} GOPS, read {limits.read / 1e9:.1f} GB/s)"
                              if limits.int8 else "")
    heads = ["test"] + names + [f"ratio to {r}" for r in rivals] + ["of the limit"]
    lines = [title, "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for (test, depth), by_engine in sorted(found.items(), key=lambda f: (f[0][0][:2], int(f[0][0][2:]), f[0][1])):
        best = {}
        for e, values in by_engine.items():
            name = engines[e].name
            if name not in best or statistics.median(values) > statistics.median(best[name][0]):
                best[name] = (values, engines[e].settings)
        cell = lambda n: (f"{statistics.median(best[n][0]):.1f} ±{spread(best[n][0]):.0f} %"
                          + (f" ({best[n][1]})" if best[n][1] else "")
                          if n in best else "-")
        ratio = lambda n: (f"{statistics.median(best[names[0]][0]) / statistics.median(best[n][0]):.2f}"
                           if n in best and names[0] in best else "-")
        part = limits.part(weights, test, statistics.median(best[names[0]][0])) if names[0] in best and not depth else None
        line = [test + (f" at {depth}" if depth else "")] + [cell(n) for n in names] + [ratio(n) for n in rivals]
        lines.append("| " + " | ".join(line + [f"{part:.0f} %" if part else "-"]) + " |")
    return lines


if __name__ == "__main__":
    main()
