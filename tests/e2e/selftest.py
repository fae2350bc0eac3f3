#!/usr/bin/env python3
"""`veritas selftest`: text and JSON, one digest whatever the instruction set, and a build whose answer is wrong says so.

usage: selftest.py VERITAS [quick|brief|all]
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from processes import patience

VERITAS = sys.argv[1]


def run(*words, program=VERITAS, status=0):
    done = subprocess.run([program, "selftest", *words], capture_output=True, text=True, timeout=250 * patience())
    assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr if status else done.stdout


HOW = (sys.argv[2:] or ["quick"])[0]
text = run() if HOW == "all" else run("--brief")
models = re.findall(r": (\d+) configurations, 1 hash ([0-9a-f]{16})\n", text)
last = re.search(r"selftest: (\d+) models, (\d+) configurations up to \w+, every hash golden, digest ([0-9a-f]{64})\n$", text)
assert last and len(models) == int(last[1]) > 12 and sum(int(n) for n, _ in models) == int(last[2]), text
rows = {name: int(n) for name, n in re.findall(r"^(alone|speculation|prefix cache|preemption): (\d+) configurations$", text, re.M)}
assert len(rows) == 4 and min(rows.values()) > (40 if HOW == "all" else 3) and sum(rows.values()) == int(last[2]), rows
# From here on a build that is slow tries each fourth model.
STEP = 4 if HOW == "brief" else 1
EVERY = ["--every", str(STEP)] if STEP > 1 else []
plain = json.loads(run("--json", "--isa", "c", "--brief", *EVERY))
assert plain["ok"] and (plain["digest"] == last[3]) == (STEP == 1) and plain["isa"] == "c" and plain["contract"] == "VNC-1", plain
assert set(plain["rows"]) == {"alone", "speculation", "prefix_cache", "preemption"}, plain
assert sum(plain["rows"].values()) == plain["configurations"], plain
assert [m["hash"][:16] for m in plain["models"]] == [h for _, h in models][::STEP]
if HOW != "quick":
    brief = json.loads(run("--json", "--brief", *EVERY))
    assert brief["ok"] and brief["digest"] == plain["digest"] and min(brief["rows"].values()) > 3, brief
    assert STEP > 1 or brief["configurations"] < int(last[2]) / 3, brief
run("--isa", "mmx", status=2)

# A program with one golden hash changed stands for a machine that computes wrong.
FOURTH = ("--brief", "--every", "4")
fourth = len(plain["models"][::4 // STEP])
with tempfile.TemporaryDirectory() as folder:
    where = os.path.dirname(VERITAS)
    shutil.copy(VERITAS, folder)
    data = open(os.path.join(where, "veritas-selftest"), "rb").read()
    golden = plain["models"][0]["golden"].encode()
    assert data.count(golden) == 1
    wrong = os.path.join(folder, "veritas-selftest")
    with open(wrong, "wb") as f:
        f.write(data.replace(golden, golden[::-1]))
    os.chmod(wrong, 0o755)
    said = run(*FOURTH, program=os.path.join(folder, "veritas"), status=1)
    assert "DIFFERS" in said and f"1 of {fourth} models differ" in said, said
    assert not json.loads(run("--json", "--isa", "c", *FOURTH, program=os.path.join(folder, "veritas"), status=1))["ok"]
    os.remove(wrong)
    assert "veritas-selftest is neither" in run(program=os.path.join(folder, "veritas"), status=4)
print(last[0].strip())
