#!/usr/bin/env python3
"""What the guard costs a start: `veritas run -n 1` with every filter on, with the built-in policy and with all filters off.

    python3 bench/guard/start.py BIN MODEL [ROUNDS]

First byte: process start to the first byte of the answer, the model in the page cache, the policies in turn; whole: to its end. A
guard that redacts secrets holds the one word back until the answer ends. There is no run without a guard, since nothing reaches a
worker past it; so its own share is told too: the processor time that it has spent when the answer begins (its start included), and
its memory (PSS, and what it shares with nobody).
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/..")
import start                                            # noqa: E402

BIN, MODEL, ROUNDS = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10
OFF = {"injection": {zone: {"mode": "off"} for zone in ("user", "retrieved", "tool")}, "secrets": {"input": "off", "output": "off"},
       "output": {"control": "off", "system_prompt": "off"}}
ON = {"pii": {"input": "warn", "output": "redact"}, "secrets": {"input": "warn", "output": "redact", "protect": ["nobody says so"]},
      "output": {"urls": "list", "url_allow": ["example.com"], "system_prompt": "redact"}}


def timed(command):
    """Milliseconds to the first byte of the answer, and to the end."""
    begin = time.monotonic()
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdout.read(1)
    first = time.monotonic() - begin
    p.stdout.read()
    if p.wait():
        raise SystemExit(f"{' '.join(command)}\nended with {p.returncode}")
    return 1000 * first, 1000 * (time.monotonic() - begin)


def guard_of(root):
    for pid in start.descendants(root):
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read().strip() == "veritas-guard":
                    return pid
        except OSError:
            pass
    return None


def share(command):
    """(milliseconds of the guard's processor time, PSS, private bytes) when the answer begins."""
    p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    p.stdout.read(1)
    pid = guard_of(p.pid)
    with open(f"/proc/{pid}/schedstat") as f:
        spent = int(f.read().split()[0]) / 1e6
    with open(f"/proc/{pid}/smaps_rollup") as f:
        rows = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in f if "kB" in line}
    p.stdout.read()
    p.wait()
    return spent, rows["Pss"], rows["Private_Clean"] + rows["Private_Dirty"]


def main():
    with tempfile.TemporaryDirectory() as folder:
        policies = {"all off": OFF, "built in": {}, "all on": ON}
        run, first, own = {}, {}, {}
        for name, policy in policies.items():
            path = os.path.join(folder, name.replace(" ", "-") + ".json")
            with open(path, "w") as f:
                json.dump({"version": 1, **policy}, f)
            run[name] = [BIN + "/veritas", "run", "-m", MODEL, "--temp", "0", "--raw", "--policy", path]
            first[name], own[name] = [], []
        for _ in range(ROUNDS):
            for name in policies:
                first[name].append(timed(run[name] + ["-n", "1", "Hello"]))
        for _ in range(max(3, ROUNDS // 3)):
            for name in policies:
                own[name].append(share(run[name] + ["-n", "60", "--ignore-eos", "Hello"]))
        print(f"{start.compare.machine()}\ncommit {start.compare.commit()}, {ROUNDS} rounds\n")
        print("| policy | first byte, ms, median | least | whole, ms, median | least | guard's processor time, ms "
              "| its memory, MB (PSS) | its own, MB |\n"
              "|---|---:|---:|---:|---:|---:|---:|---:|")
        for name in policies:
            spent, pss, private = (statistics.median(x) for x in zip(*own[name]))
            byte, whole = zip(*first[name])
            print(f"| {name} | {statistics.median(byte):.1f} | {min(byte):.1f} | {statistics.median(whole):.1f} | {min(whole):.1f} "
                  f"| {spent:.1f} | {pss / 1e6:.1f} | {private / 1e6:.1f} |")


main()
