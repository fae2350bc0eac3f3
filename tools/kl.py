#!/usr/bin/env python3
"""How far logits are from a reference: KL divergence in nats and agreement of the best token, over teacher-forced positions.

    tools/kl.py reference.npy ours.npy [theirs.npy ...]        one line each; .npy of [n_tokens, n_vocab]
    tools/kl.py --json reference.npy ours.npy

Every position is a full distribution after the same tokens: KL(reference || other) = sum p ln(p / q), in float64.
"""
import argparse
import json
import sys

import numpy as np


def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def compare(reference, other, rows_at_a_time=32):
    """Both [n, n_vocab]; the shorter one decides n. A dict of figures; NaN or Inf in either is an error."""
    n = min(len(reference), len(other))
    if reference.shape[1] != other.shape[1]:
        raise SystemExit(f"vocabularies differ: {reference.shape[1]} and {other.shape[1]}")
    kl, same, largest, spread = np.empty(n), np.empty(n, dtype=bool), 0.0, 0.0
    for i in range(0, n, rows_at_a_time):
        r, o = reference[i : i + rows_at_a_time][: n - i], other[i : i + rows_at_a_time][: n - i]
        if not (np.isfinite(r).all() and np.isfinite(o).all()):
            raise SystemExit(f"not a finite number near position {i}")
        p, q = log_softmax(r), log_softmax(o)
        kl[i : i + len(r)] = (np.exp(p) * (p - q)).sum(axis=1)
        same[i : i + len(r)] = r.argmax(axis=1) == o.argmax(axis=1)
        largest = max(largest, float(np.abs(r.astype(np.float64) - o).max()))
        spread = max(spread, float((r.max(axis=1) - r.min(axis=1)).max()))
    return {"positions": n, "mean_kl": float(kl.mean()), "median_kl": float(np.median(kl)), "worst_kl": float(kl.max()),
            "worst_position": int(kl.argmax()), "same_argmax": float(same.mean()), "max_difference": largest, "spread": spread}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("reference")
    p.add_argument("other", nargs="+")
    p.add_argument("-n", type=int, help="only the first N positions")
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    reference = np.load(a.reference, mmap_mode="r")[: a.n]
    results = [dict(file=name, **compare(reference, np.load(name, mmap_mode="r"))) for name in a.other]
    if a.json:
        json.dump(results, sys.stdout, indent=1)
        print()
        return
    for r in results:
        print(f"{r['file']}: mean KL {r['mean_kl']:.3e}  median {r['median_kl']:.2e}  worst {r['worst_kl']:.2e} (position "
              f"{r['worst_position']})  same argmax {100 * r['same_argmax']:.1f} %  max difference {r['max_difference']:.3g} "
              f"of spread {r['spread']:.3g}  over {r['positions']} positions")


if __name__ == "__main__":
    main()
