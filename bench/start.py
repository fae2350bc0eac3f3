#!/usr/bin/env python3
"""How soon the first token comes, how much memory stands behind it, and what the socket costs.

    bench/start.py -m MODEL.gguf [-m ...] [--llama-completion BUILD/bin/llama-completion] [--rounds 5]

first token: process start to the first byte of the answer of `run -n 1`, the model file in the page cache (one run before warms
it). memory: sum of PSS over the process and all its descendants, the largest of many samples: after the first token, and before;
over the file's size. socket: tokens/s that a client sees (127 tokens over the time that an answer of 128 takes longer than one of
1), beside `bench` in the worker. Only the standard library; reading another process's PSS needs its uid, or root.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare

ROOT = compare.ROOT


def descendants(root):
    parent = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as f:
                    parent[int(name)] = int(f.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError, ValueError):
                pass
    family, grown = {root}, True
    while grown:
        more = {p for p, q in parent.items() if q in family} - family
        family |= more
        grown = bool(more)
    return family


def pss_bytes(root):
    total = 0
    for pid in descendants(root):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += next(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass
    return total


def first_byte_seconds(command):
    t = time.monotonic()
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    byte = p.stdout.read(1)
    t = time.monotonic() - t
    p.stdout.read()
    if p.wait() or not byte:
        raise SystemExit(f"{' '.join(command)}\nended with {p.returncode}" + ("" if byte else " and no answer"))
    return t


def pss(command):
    """(most while it loads, most after the first byte of the answer)"""
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    os.set_blocking(p.stdout.fileno(), False)
    most, answering = [0, 0], 0
    while p.poll() is None:
        answering = 1 if p.stdout.read() or answering else 0
        most[answering] = max(most[answering], pss_bytes(p.pid))
        time.sleep(0.005)
    if p.returncode:
        raise SystemExit(f"{' '.join(command)}\nended with {p.returncode}")
    return most


def seconds(command):
    t = time.monotonic()
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - t


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-m", "--model", action="append", required=True)
    p.add_argument("--veritas", default=os.path.join(ROOT, "build/release/bin/veritas"))
    p.add_argument("--llama-completion")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--rounds", type=int, default=5)
    a = p.parse_args()
    print(f"{compare.machine()}\ncommit {compare.commit()}, {a.threads} threads, median of {a.rounds}\n")
    print("| file | first token | memory (PSS) | over the file | while it loads | worker's tokens/s | the client's | llama.cpp: "
          "first token | its memory |\n" + "|---" * 9 + "|")
    for model in a.model:
        size = os.path.getsize(model)
        ours = [a.veritas, "run", "-m", model, "--temp", "0", "--threads", str(a.threads), "--raw"]
        theirs = [a.llama_completion, "-m", model, "--temp", "0", "-t", str(a.threads), "-no-cnv", "--no-warmup",
                  "--no-display-prompt", "-p", "Hello"]
        first_byte_seconds(ours + ["-n", "1", "Hello"])
        start, start_other = [], []
        for _ in range(a.rounds):
            start.append(first_byte_seconds(ours + ["-n", "1", "Hello"]))
            if a.llama_completion:
                start_other.append(first_byte_seconds(theirs + ["-n", "1"]))
        loading, memory = pss(ours + ["-n", "100", "--ignore-eos", "Hello"])
        worker, client = [], []
        for _ in range(a.rounds):
            said = compare.run([a.veritas, "bench", "-m", model, "--pp", "0", "--tg", "128", "--threads", str(a.threads), "--reps",
                                "1", "--json"])
            worker += said["results"][0]["tokens_per_second"]
            one = seconds(ours + ["-n", "1", "--ignore-eos", "Hello"])
            client.append(127 / (seconds(ours + ["-n", "128", "--ignore-eos", "Hello"]) - one))
        other = ["-", "-"]
        if a.llama_completion:
            other = [f"{1000 * statistics.median(start_other):.0f} ms",
                     f"{pss(theirs + ['-n', '100', '--ignore-eos'])[1] / 1e6:.0f} MB"]
        print(f"| {os.path.basename(model)} | {1000 * statistics.median(start):.0f} ms | {memory / 1e6:.0f} MB | "
              f"{memory / size:.2f} | {loading / 1e6:.0f} MB "
              f"| {statistics.median(worker):.1f} | {statistics.median(client):.1f} | {other[0]} | {other[1]} |")


if __name__ == "__main__":
    main()
