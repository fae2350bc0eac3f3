#!/usr/bin/env python3
"""How many texts of each set the shipped program flags: `veritas scan --lines`, no policy but the built-in one.

    python3 bench/guard/sets.py build/release/bin/veritas FOLDER...

A FOLDER holds attack/*.jsonl and harmless/*.jsonl, a JSON object {"text"} on each line with an optional "zone". Sets that were
learned from or tuned on say nothing here. -v SET prints the texts of that set on which the program is wrong, with score and
what was found; --at N asks what another threshold would do.
"""
import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path


def scan(program, path):
    with tempfile.TemporaryDirectory() as home:
        env = {k: v for k, v in os.environ.items() if k != "VERITAS_POLICY"} | {"XDG_CONFIG_HOME": home}
        out = subprocess.run([program, "scan", "--lines", "--json", str(path)], stdout=subprocess.PIPE, env=env)
    return [json.loads(line) for line in out.stdout.split(b"\n") if line]


def show(row, answer):
    found = [f"{f['rule']}@{f['view']}={f['score']}" for f in answer["findings"] if f["kind"] == "injection"]
    print(f"{answer['score']:4} {row['text'][:600]!r} {' '.join(found)}")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("program")
    p.add_argument("folders", nargs="+", type=Path)
    p.add_argument("-v", action="append", default=[], metavar="SET")
    p.add_argument("--at", type=int, default=0, metavar="N")
    a = p.parse_args()
    for kind, what, wrong in (("attack", "recall", False), ("harmless", "false alarms", True)):
        shares = []
        print(f"| {kind} | texts | {what}, % |\n|---|---:|---:|")
        for path in sorted(f for folder in a.folders for f in folder.glob(kind + "/*.jsonl")):
            rows = [json.loads(line) for line in path.open(encoding="utf-8")]
            answers = scan(a.program, path)
            if len(answers) != len(rows) or any("error" in x for x in answers):
                raise SystemExit(f"{path}: {len(rows)} texts, {len(answers)} answers, {sum('error' in x for x in answers)} errors")
            flagged = [x["score"] >= a.at if a.at else x["flagged"] for x in answers]
            shares.append(100 * sum(flagged) / max(1, len(rows)))
            print(f"| {path.stem} | {len(rows)} | {shares[-1]:.1f} |")
            if path.stem in a.v:
                for row, answer, flag in sorted(zip(rows, answers, flagged), key=lambda x: -x[1]["score"]):
                    if flag == wrong:
                        show(row, answer)
        if shares:
            print(f"| mean | {len(shares)} sets | {sum(shares) / len(shares):.1f} |\n")


if __name__ == "__main__":
    main()
