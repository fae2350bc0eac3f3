#!/usr/bin/env python3
"""Makes tests/golden/logits/NAME.npy: float64 logits (tools/reference.py) of tiny models that mkmodel makes.

    tests/golden/logits.py BIN [NAME...]      BIN holds mkmodel; needs numpy and gguf. tests/e2e/logits.py reads what this writes.

Stored as float32 of [24 tokens, n_vocab]. The reference itself agrees with llama.cpp (f32, no flash attention) to 1e-12 nats.
"""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tools"), os.path.join(ROOT, "tests/e2e")]
import numpy as np
import reference
from logits_cases import CASES, TOKENS, mkmodel, rows_of

with tempfile.TemporaryDirectory() as d:
    for name, (options, kv, _) in CASES.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        path = os.path.join(d, "m.gguf")
        mkmodel(os.path.join(sys.argv[1], "mkmodel"), options, path)
        out = np.asarray(rows_of(name, reference.forward(reference.Model(path), TOKENS)))
        np.save(os.path.join(ROOT, "tests/golden/logits", name + ".npy"), out)
        print(f"{name}: {out.shape}, from {out.min():.2f} to {out.max():.2f}")
