#!/usr/bin/env python3
"""Each malformed model through the shipped programs: the right exit code, one clear line, no crash.

    malformed.py BIN [NAME...]        BIN holds veritas and mkmodel; NAMEs choose cases

Exit code 77 (skipped) as long as the worker is not built.
"""
import os, re, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures"))
import malformed


def call(*argv):
    env = dict(os.environ, NO_COLOR="1", VERITAS_SOCKET="/nowhere/s")        # never a daemon that somebody left running
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, env=env)
    return p.returncode, p.stderr.decode("utf-8", "replace"), p.stdout


def judge(what, result, codes, message):
    code, err, out = result
    lines = [line for line in err.splitlines() if line.strip()]
    if code not in codes:
        return f"{what}: exit {code}, expected {codes}: {err[-300:]!r}"
    if code == 0:
        return None
    if len(lines) != 1:
        return f"{what}: {len(lines)} lines on stderr instead of one: {err[-300:]!r}"
    if message and not re.search(message, lines[0]):
        return f"{what}: {lines[0]!r} does not match {message!r}"
    return None


def main():
    folder, only = sys.argv[1], sys.argv[2:]
    veritas = os.path.join(folder, "veritas")
    if not all(os.path.exists(os.path.join(folder, p)) for p in ("veritas", "veritas-worker", "veritas-broker", "mkmodel")):
        print("the programs are not built yet")
        return 77
    faults, n = [], 0
    with tempfile.TemporaryDirectory(prefix="veritas-malformed-") as directory:
        for c in malformed.cases(os.path.join(folder, "mkmodel"), directory):
            if only and c.name not in only:
                continue
            n += 1
            # a file's advice on sampling counts where nothing is said on the command line
            how = ["--seed", "1"] if "sampling" in c.name or c.template else ["--temp", "0"]
            run = call(veritas, "run", "-m", c.path, *how, "-n", "4", *([] if c.template else ["--raw"]), "The sky is")
            inspect = call(veritas, "inspect", "-m", c.path)
            for fault in (judge(f"{c.name}: run", run, c.run, c.message),
                          judge(f"{c.name}: inspect", inspect, c.inspect, c.message if c.inspect == c.run else "")):
                if fault:
                    faults.append(fault)
                    print(fault, flush=True)
    print(f"{n} files, {len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
