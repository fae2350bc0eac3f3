#!/usr/bin/env python3
"""Makes dtype.txt: hashes of what thousands of random blocks of each encoding mean, by an independent decoder.

Needs numpy and the package gguf (tried with 0.19.0); run by hand:  python3 tests/golden/dtype.py > tests/golden/dtype.txt
The plain and k-quantised types are decoded by that package, the others by decode() below, written from the notes on the format; the
package gives the tables of the IQ types, and must agree about every type that it knows.
A line is: what, how many blocks (or values), FNV-1a-64 of the results as little-endian words, every NaN counted as one.
Blocks are the bytes of a splitmix64 stream seeded with the type number, so scales are subnormal, infinite and NaN too.
"""
import os
import sys

import numpy as np
from gguf import GGMLQuantizationType as T, GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools"))
from gguf_types import SIZES, decode

N = 3000
np.seterr(all="ignore")


def stream(seed, n_bytes):
    n = (n_bytes + 7) // 8
    z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return z.view(np.uint8)[:n_bytes].copy()


def fnv(words):
    h = 0xCBF29CE484222325
    for w in words.tolist():
        h = ((h ^ w) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def bits32(x):
    x = np.ascontiguousarray(x, dtype=np.float32).reshape(-1)
    return np.where(np.isnan(x), np.uint32(0x7FC00000), x.view(np.uint32))


def line(what, n, words):
    print(f"{what} {n} {fnv(words):016x}")


for name in "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K".split():
    t = T[name]
    block_len, block_bytes = GGML_QUANT_SIZES[t]
    raw = stream(int(t), N * block_bytes)
    if name == "F32":
        x = raw.view(np.float32)
    elif name == "F16":
        x = raw.view(np.float16).astype(np.float32)
    else:
        x = dequantize(raw.reshape(N, block_bytes), t)
    assert x.size == N * block_len
    line(name, N, bits32(x))

for name, (number, block_len, block_bytes) in SIZES.items():
    raw = stream(number, N * block_bytes).reshape(N, block_bytes)
    x = decode(name, raw)
    assert x.shape == (N, block_len) and x.dtype == np.float32
    if name in T.__members__ and name not in ("Q8_1", "Q1_0"):
        assert np.array_equal(bits32(x), bits32(dequantize(raw, T[name]))), name
    line(name, N, bits32(x))

every = np.arange(65536, dtype=np.uint16)
line("f16-to-f32", 65536, bits32(every.view(np.float16)))
line("bf16-to-f32", 65536, bits32(dequantize(every.view(np.uint8).reshape(-1, 2), T.BF16)))

# Down-conversion: random f32 with the exponent drawn from the half's range and a bit beyond, ties made likely.
r = stream(99, 8 * N).view(np.uint32).astype(np.uint32)
sign, exponent, mantissa = r & np.uint32(0x80000000), (r >> np.uint32(23)) % np.uint32(48) + np.uint32(98), r & np.uint32(0x7FFFFF)
mantissa = np.where(np.arange(r.size) % 2 == 0, mantissa & np.uint32(0x7FF000), mantissa)
mantissa = np.where(np.arange(r.size) % 8 == 2, mantissa & np.uint32(0x7F8000), mantissa)
x = (sign | exponent << np.uint32(23) | mantissa).astype(np.uint32).view(np.float32)
line("f32-to-f16", x.size, x.astype(np.float16).view(np.uint16))
line("f32-to-bf16", x.size, quantize(x.reshape(1, -1), T.BF16).view(np.uint16).reshape(-1))
