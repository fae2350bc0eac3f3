#!/usr/bin/env python3
"""mkmodel must write the same bytes everywhere: other tests keep results for its models.

    mkmodel.py MKMODEL            compares with mkmodel.txt beside this file
    mkmodel.py MKMODEL --print    prints a new one
"""
import hashlib, os, subprocess, sys, tempfile

ARGUMENTS = [
    "",
    "--arch qwen2 --type mixed --embd 256 --ff 512 --kv-heads 1",
    "--arch gemma3 --type Q4_K --head-dim 40 --layers 3",
    "--tokenizer llama --type BF16 --rope-freqs --bias --tied --heads 1 --head-dim 96 --ff 72",
    "--pre llama-bpe --type F16 --version 2 --vocab 1001",
    "--pre gpt-2 --vocab-only",
] + [f"--type {t} --embd 256 --layers 1" for t in "F32 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K".split()]

lines = []
with tempfile.TemporaryDirectory() as d:
    path = os.path.join(d, "m.gguf")
    for a in ARGUMENTS:
        subprocess.run([sys.argv[1], *a.split(), "-o", path], check=True)
        with open(path, "rb") as f:
            lines.append(f"{hashlib.sha256(f.read()).hexdigest()} {a}".strip())
if "--print" in sys.argv:
    print("\n".join(lines))
    sys.exit(0)
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "mkmodel.txt")) as f:
    wanted = f.read().split("\n")[:-1]
for w, l in zip(wanted, lines):
    if w != l:
        print(f"wanted {w}\ngot    {l}")
sys.exit(wanted != lines)
