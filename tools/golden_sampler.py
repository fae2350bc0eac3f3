#!/usr/bin/env python3
"""Writes tests/golden/sampler.txt: sampling as docs/NUMERICS.md states it, in exact rational arithmetic.

Independent of the C code: no floating point takes part in a decision (floats are fractions, every rounding is written
out), the order is Python's sort, and the filters follow the text. Standard library only.

A line: temperature top_k top_p min_p typical_p repeat_penalty presence frequency (floats as hexadecimal bits),
repeat_last_n + 1, n and n logits, n and n history ids, n and n pairs of bias, seed, first position, n and n ids drawn
at consecutive positions.
"""
import random
import struct
import sys
from fractions import Fraction
from pathlib import Path

INF = "inf"


def bits(x):
    return struct.unpack("<I", struct.pack("<f", x))[0]


def exact(u):
    """The number that 32 bits mean; -INF as None."""
    sign = -1 if u >> 31 else 1
    exponent, mantissa = u >> 23 & 255, u & 0x7fffff
    if exponent == 255:
        assert sign == -1 and mantissa == 0
        return None
    if exponent == 0:
        return Fraction(sign * mantissa, 2 ** 149)
    return Fraction(sign * (mantissa | 0x800000)) * Fraction(2) ** (exponent - 150)


def rne(x):
    """Fraction to integer, ties to even."""
    floor = x.numerator // x.denominator
    rest = x - floor
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor & 1):
        floor += 1
    return floor


def f32(x):
    """Nearest float, ties to even, as a fraction (no overflow in these cases)."""
    if x == 0:
        return Fraction(0)
    a = abs(x)
    e = a.numerator.bit_length() - a.denominator.bit_length()
    if Fraction(2) ** e > a:
        e -= 1
    unit = Fraction(2) ** max(e - 23, -149)
    return rne(x / unit) * unit


def fma(a, b, c):
    return f32(a * b + c)


def hexf(s):
    return Fraction(float.fromhex(s))


LOG2E, LN2_HI, LN2_LO = hexf("0x1.715476p+0"), hexf("0x1.62e43p-1"), hexf("-0x1.05c61p-29")
EXP_MIN = hexf("-0x1.5d589ep+6")
EXP = [hexf(c) for c in ("0x1.6ac74ep-10", "0x1.123dep-7", "0x1.555858p-5", "0x1.55548cp-3", "0x1.fffffcp-2", "1", "1")]


def expf(x):
    """x <= 0"""
    if x < EXP_MIN:
        return Fraction(0)
    magic = Fraction(3 * 2 ** 22)
    n = f32(fma(x, LOG2E, magic) - magic)
    r = fma(n, -LN2_LO, fma(n, -LN2_HI, x))
    p = EXP[0]
    for c in EXP[1:]:
        p = fma(p, r, c)
    return p * Fraction(2) ** int(n)


def philox(key, counter):
    k, c = list(key), list(counter)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [p1 >> 32 ^ c[1] ^ k[0], p1 & 0xffffffff, p0 >> 32 ^ c[3] ^ k[1], p0 & 0xffffffff]
        k = [(k[0] + 0x9E3779B9) & 0xffffffff, (k[1] + 0xBB67AE85) & 0xffffffff]
    return c


def weights(case):
    """[(id, q)] that may be drawn, in the total order."""
    logits = [exact(u) for u in case["logits"]]
    for i, u in case["bias"]:
        b = exact(u)
        logits[i] = None if b is None or logits[i] is None else f32(logits[i] + b)
    history = case["history"]
    last_n = case["repeat_last_n"]
    if last_n >= 0:
        history = history[len(history) - last_n:] if last_n < len(history) else history
        if last_n == 0:
            history = []
    penalty, presence, frequency = (exact(case[k]) for k in ("repeat_penalty", "presence", "frequency"))
    for i in sorted(set(history)):
        if logits[i] is None:
            continue
        l = f32(logits[i] / penalty) if logits[i] > 0 else f32(logits[i] * penalty)
        l = f32(l - f32(history.count(i) * frequency))
        logits[i] = f32(l - presence)
    order = sorted((i for i in range(len(logits)) if logits[i] is not None), key=lambda i: (-logits[i], i))
    top = logits[order[0]]
    temperature = exact(case["temperature"])
    if temperature == 0:
        return [(order[0], 1)]
    if case["top_k"]:
        order = order[:case["top_k"]]
    d = {i: f32(f32(logits[i] - top) / temperature) for i in order}
    q = {i: int(expf(d[i]) * 2 ** 40) for i in order}
    order = [i for i in order if q[i] > 0]

    def limit(name):
        return exact(case[name]) * 2 ** 32 // 1

    if exact(case["typical_p"]) < 1:
        total = sum(q[i] for i in order)
        deep = {i: rne(-d[i] * 2 ** 20) for i in order}
        mean = sum(q[i] * deep[i] for i in order)
        far = {i: abs(deep[i] * total - mean) for i in order}
        for edge in sorted(set(far.values())):
            kept = [i for i in order if far[i] <= edge]
            if sum(q[i] for i in kept) * 2 ** 32 >= limit("typical_p") * total:
                break
        order = kept
    if exact(case["top_p"]) < 1:
        total, part, kept = sum(q[i] for i in order), 0, []
        for i in order:
            kept.append(i)
            part += q[i]
            if part * 2 ** 32 >= limit("top_p") * total:
                break
        order = kept
    best = max(q[i] for i in order)
    order = [i for i in order if q[i] * 2 ** 32 >= limit("min_p") * best]
    return [(i, q[i]) for i in order]


def draw(pairs, seed, position):
    r = philox((seed & 0xffffffff, seed >> 32), (position & 0xffffffff, position >> 32, 0, 0))
    at = ((r[1] << 32 | r[0]) * sum(q for _, q in pairs)) >> 64
    part = 0
    for i, q in pairs:
        part += q
        if part > at:
            return i


def make_case(rng, k):
    n = rng.choice([1, 2, 5, 30, 60])
    shapes = [
        lambda i: rng.gauss(0, 4), lambda i: 2.5, lambda i: float(rng.randrange(4)), lambda i: -0.6931472 * i,
        lambda i: rng.choice([0.0, -0.0, 1e-42, -1e-44, 1e-30]), lambda i: 50.0 if i == n // 2 else rng.random(),
    ]
    shape = shapes[k % len(shapes)]
    p = [0.0, 1.0, 0.5, 0.25, 0.95, 0.05, 0.9, 2.0 ** -9]
    penalties = rng.random() < 0.4
    history = [rng.randrange(n) for _ in range(rng.randrange(20))] if penalties else []
    bias = [(rng.randrange(n), bits(rng.choice([-float("inf"), 1.5, -2.25, 0.1]))) for _ in range(rng.randrange(4))]
    if n < 5 or rng.random() < 0.6:
        bias = []
    return {
        "temperature": bits(rng.choice([0.0, 0.8, 1.0, 1.5, 0.1, 0.7, 30.0])), "top_k": rng.choice([0, 0, 1, 3, 40]),
        "top_p": bits(rng.choice(p)), "min_p": bits(rng.choice([0.0] + p)), "typical_p": bits(rng.choice([1.0, 1.0] + p)),
        "repeat_penalty": bits(rng.choice([1.1, 1.3, 0.9]) if penalties else 1.0),
        "presence": bits(rng.choice([0.0, 0.5, -0.25]) if penalties else 0.0),
        "frequency": bits(rng.choice([0.0, 0.3, -0.1]) if penalties else 0.0),
        "repeat_last_n": rng.choice([-1, 0, 4, 64]), "logits": [bits(shape(i)) for i in range(n)],
        "history": history, "bias": bias, "seed": rng.choice([0, 1, rng.getrandbits(64)]),
        "position": rng.choice([0, 5, 2 ** 32 - 2, rng.getrandbits(40)]),
    }


def main():
    rng = random.Random(20261124)
    lines = ["# Made by tools/golden_sampler.py, which says what stands here; do not edit."]
    for k in range(320):
        c = make_case(rng, k)
        pairs = weights(c)
        ids = [draw(pairs, c["seed"], c["position"] + i) for i in range(24)]
        floats = ["%08x" % c[name] for name in ("temperature",)] + [str(c["top_k"])]
        floats += ["%08x" % c[name] for name in ("top_p", "min_p", "typical_p", "repeat_penalty", "presence", "frequency")]
        fields = floats + [str(c["repeat_last_n"] + 1), str(len(c["logits"]))] + ["%08x" % u for u in c["logits"]]
        fields += [str(len(c["history"]))] + [str(i) for i in c["history"]]
        fields += [str(len(c["bias"]))] + ["%d %08x" % b for b in c["bias"]]
        fields += [str(c["seed"]), str(c["position"]), str(len(ids))] + [str(i) for i in ids]
        lines.append(" ".join(fields))
    text = "\n".join(lines) + "\n"
    path = Path(__file__).resolve().parent.parent / "tests" / "golden" / "sampler.txt"
    if "--check" in sys.argv[1:]:
        sys.exit(0 if path.read_text() == text else f"{path.name} is not what tools/golden_sampler.py makes")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    main()
