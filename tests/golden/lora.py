#!/usr/bin/env python3
"""Makes tests/golden/lora/NAME.npy: float64 logits (tools/reference.py) of tiny models with adapters.

    tests/golden/lora.py BIN [NAME...]      BIN holds mkmodel; needs numpy and gguf. tests/e2e/lora.py reads what this writes.
"""
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tools"), os.path.join(ROOT, "tests/e2e")]
import numpy as np
import reference
from logits_cases import ROWS, TOKENS, mkmodel
from lora_cases import CASES, adapter_options

with tempfile.TemporaryDirectory() as d:
    for name, (options, ranks, scales, _, _) in CASES.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        make = os.path.join(sys.argv[1], "mkmodel")
        path = os.path.join(d, "m.gguf")
        mkmodel(make, options, path)
        adapters = []
        for k, rank in enumerate(ranks):
            adapters.append((os.path.join(d, f"a{k}.gguf"), scales[k]))
            mkmodel(make, adapter_options(options, k, rank), adapters[-1][0])
        out = np.asarray(reference.forward(reference.Model(path, adapters=adapters), TOKENS))[ROWS]
        plain = np.asarray(reference.forward(reference.Model(path), TOKENS))[ROWS]
        np.save(os.path.join(ROOT, "tests/golden/lora", name + ".npy"), out)
        print(f"{name}: from {out.min():.2f} to {out.max():.2f}; the adapters change {np.abs(out - plain).max():.2f}")
