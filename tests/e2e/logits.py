#!/usr/bin/env python3
"""`veritas logits` on tiny generated models lies within stated bounds of float64 (tests/golden/logits).

    logits.py BIN [NAME...]        BIN holds veritas, its worker and mkmodel; NAMEs choose cases
"""
import array
import ast
import math
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from logits_cases import CASES, TOKENS, mkmodel, rows_of

os.environ["VERITAS_SOCKET"] = "/nowhere/s"         # never a daemon that somebody left running

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "golden/logits")


def read_npy(path):
    """Rows of a two-dimensional float32 .npy."""
    with open(path, "rb") as f:
        data = f.read()
    assert data[:6] == b"\x93NUMPY" and data[6] in (1, 2), f"{path} is no .npy"
    start = 10 if data[6] == 1 else 12
    end = start + int.from_bytes(data[8:start], "little")
    head = ast.literal_eval(data[start:end].decode())
    assert head["descr"] == "<f4" and not head["fortran_order"], head
    n, width = head["shape"]
    values = array.array("f", data[end:])
    assert len(values) == n * width, f"{path} holds {len(values)} values, not {n} x {width}"
    return [values[i * width : (i + 1) * width] for i in range(n)]


def log_softmax(row):
    m = max(row)
    norm = m + math.log(math.fsum(math.exp(v - m) for v in row))
    return [v - norm for v in row]


def distance(kind, exact, ours):
    if kind == "difference":
        spread = max(max(r) - min(r) for r in exact)
        return max(abs(a - b) for r, o in zip(exact, ours) for a, b in zip(r, o)) / spread
    total = 0.0
    for r, o in zip(exact, ours):
        p, q = log_softmax(r), log_softmax(o)
        total += math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q))
    return total / len(exact)


def main():
    folder, names = sys.argv[1], sys.argv[2:] or list(CASES)
    if not all(os.path.exists(os.path.join(folder, p)) for p in ("veritas", "veritas-worker", "veritas-broker", "mkmodel")):
        print("the programs are not built yet")
        sys.exit(77)
    failed = 0
    with tempfile.TemporaryDirectory() as d:
        for name in names:
            options, kv, (kind, bound) = CASES[name]
            model, out = os.path.join(d, "m.gguf"), os.path.join(d, "out.npy")
            mkmodel(os.path.join(folder, "mkmodel"), options, model)
            p = subprocess.run([os.path.join(folder, "veritas"), "logits", "-m", model, "--tokens",
                                ",".join(map(str, TOKENS)), "-o", out,
                                "--kv-type", kv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if p.returncode:
                print(f"{name}: veritas logits ended with {p.returncode}: {p.stdout}")
                failed += 1
                continue
            exact, ours = read_npy(os.path.join(GOLDEN, name + ".npy")), rows_of(name, read_npy(out))
            same_shape = [len(r) for r in exact] == [len(r) for r in ours]
            got = distance(kind, exact, ours) if same_shape else math.inf
            ok = got <= bound                   # false for NaN too
            print(f"{'ok  ' if ok else 'FAIL'} {name}: {kind} {got:.2e}, bound {bound:.0e}")
            failed += not ok
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
