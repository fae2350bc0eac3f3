#!/usr/bin/env python3
"""Makes tests/golden/vectors/NAME.npy: float64 vectors (tools/reference.py) of tiny models that mkmodel makes.

    tests/golden/vectors.py BIN [NAME...]      BIN holds mkmodel; needs numpy and gguf. tests/e2e/vectors.py reads what this writes.

Stored as float32: the rows of each pooling, and of each text in it, one behind the other.
"""
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tools"), os.path.join(ROOT, "tests/e2e")]
import numpy as np
import reference
from logits_cases import mkmodel
from vectors_cases import CASES, TEXTS

os.makedirs(os.path.join(ROOT, "tests/golden/vectors"), exist_ok=True)
with tempfile.TemporaryDirectory() as d:
    for name, (options, poolings) in CASES.items():
        if sys.argv[2:] and name not in sys.argv[2:]:
            continue
        path = os.path.join(d, "m.gguf")
        mkmodel(os.path.join(sys.argv[1], "mkmodel"), options, path)
        model = reference.Model(path)
        rows = []
        for pooling in poolings:
            texts = [ids for ids in TEXTS if pooling != "none" or len(ids) < 100]
            rows += [reference.score(model, ids) if pooling == "rank" else reference.embed(model, ids, pooling) for ids in texts]
        if "qwen" not in name and "gemma3" not in name:
            reference.check_read(model)
        out = np.concatenate(rows).astype(np.float32)
        np.save(os.path.join(ROOT, "tests/golden/vectors", name + ".npy"), out)
        print(f"{name}: {out.shape}")
