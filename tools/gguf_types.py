"""What blocks of the types of src/tensor/indexed.c mean, once more, in numpy: for the golden files and tools/reference.py.

Shares no code and no way of decoding with the engine: every element is its formula. Needs the package gguf for tables.
"""
import numpy as np
from gguf import quants

# name: (type number, elements, bytes) of a block
SIZES = {
    "Q8_1": (9, 32, 36), "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74), "IQ3_XXS": (18, 256, 98), "IQ1_S": (19, 256, 50),
    "IQ4_NL": (20, 32, 18), "IQ3_S": (21, 256, 110), "IQ2_S": (22, 256, 82), "IQ4_XS": (23, 256, 136), "IQ1_M": (29, 256, 56),
    "TQ1_0": (34, 256, 54), "TQ2_0": (35, 256, 66), "MXFP4": (39, 32, 17), "NVFP4": (40, 64, 36), "Q1_0": (41, 128, 18),
    "Q2_0": (42, 64, 18), "Q6_0": (133, 32, 26),
}
FOUR_BITS = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)
F = np.float32


def grid(cls):
    cls.init_grid()
    return np.asarray(cls.grid, F).reshape(cls.grid_shape)


def f16(b, at):
    return b[:, at : at + 2].copy().view("<f2").astype(F)            # [n, 1]


def words(b, at, n, kind):
    return b[:, at : at + n * np.dtype(kind).itemsize].copy().view(kind)


def nibbles(b):
    return b & 15, b >> 4


def halves(b):
    """Low nibbles, then high ones: element j and j + 16 of 32 in a byte."""
    return np.concatenate(nibbles(b), axis=1)


def pairs_of(b):
    """Nibble i of the bytes, low first."""
    return np.stack(nibbles(b), axis=2).reshape(len(b), -1)


def signs_of_seven(i):
    i = i & 127
    parity = sum(i >> k & 1 for k in range(7)) & 1
    return i | parity << 7


def plus_minus(masks):
    """[n, groups] masks of eight to [n, groups, 8] of 1 and -1."""
    return np.where(masks[:, :, None] >> np.arange(8) & 1, F(-1), F(1))


def packed_signs(w):
    """[n, 8] words of four times seven bits to [n, 32] masks."""
    return np.stack([signs_of_seven(w >> 7 * l) for l in range(4)], axis=2).reshape(len(w), 32)


def runs(scale, values):
    """scale[n, runs] times values[n, elements], each for its share."""
    n, many = scale.shape
    return (scale[:, :, None] * values.reshape(n, many, -1)).reshape(n, -1)


def q8_1(b):
    return f16(b, 0) * words(b, 4, 32, "i1").astype(F)


def iq4_nl(b):
    return f16(b, 0) * FOUR_BITS[halves(b[:, 2:])]


def mxfp4(b):
    e = b[:, :1].astype(np.float64)
    return np.ldexp(1.0, (e - 128).astype(int)).astype(F) * E2M1[halves(b[:, 1:])]


def nvfp4(b):
    code = b[:, :4] & 127
    e, m = (code >> 3).astype(int), (code & 7).astype(np.float64)
    scale = np.where(e == 0, np.ldexp(m, -9), np.ldexp(8 + m, e - 10))
    scale = np.where(b[:, :4] == 127, 0, scale) / 2
    values = np.concatenate([E2M1[halves(b[:, 4 + 8 * s : 12 + 8 * s])] for s in range(4)], axis=1)
    return runs(scale.astype(F), values)


def q6_0(b):
    q = np.zeros((len(b), 32), np.int32)
    for j in range(16):
        h = b[:, 2 + j % 8] & 15 if j < 8 else b[:, 2 + j % 8] >> 4
        q[:, j] = (b[:, 10 + j] & 15) | (h & 3).astype(np.int32) << 4
        q[:, j + 16] = (b[:, 10 + j] >> 4) | (h >> 2).astype(np.int32) << 4
    return f16(b, 0) * (q - 32).astype(F)


def q1_0(b):
    bits = np.unpackbits(b[:, 2:], axis=1, bitorder="little")
    return np.where(bits, f16(b, 0), -f16(b, 0))


def q2_0(b):
    q = np.stack([b[:, 2:] >> s & 3 for s in (0, 2, 4, 6)], axis=2).reshape(len(b), 64)
    return f16(b, 0) * (q.astype(F) - 1)


def tq1_0(b):
    def digits(at, n, passes):
        return [(((b[:, at : at + n].astype(int) * 3**k) & 255) * 3) >> 8 for k in range(passes)]
    q = np.concatenate(digits(0, 32, 5) + digits(32, 16, 5) + digits(48, 4, 4), axis=1)
    return f16(b, 52) * (q.astype(F) - 1)


def tq2_0(b):
    q = np.concatenate([b[:, 32 * h : 32 * h + 32] >> s & 3 for h in (0, 1) for s in (0, 2, 4, 6)], axis=1)
    return f16(b, 64) * (q.astype(F) - 1)


def iq4_xs(b):
    high = words(b, 2, 1, "<u2").astype(int)
    code = pairs_of(b[:, 4:8]) | (high >> 2 * np.arange(8) & 3) << 4
    values = np.concatenate([FOUR_BITS[halves(b[:, 8 + 16 * i : 24 + 16 * i])] for i in range(8)], axis=1)
    return runs(f16(b, 0) * (code - 32).astype(F), values)


def iq2_xxs(b):
    at = b[:, 2:].reshape(len(b), 8, 8)
    w = at[:, :, 4:].copy().view("<u4")[:, :, 0]
    scale = f16(b, 0) * (F(0.5) + (w >> 28).astype(F)) / 4
    values = grid(quants.IQ2_XXS)[at[:, :, :4].reshape(len(b), 32)] * plus_minus(packed_signs(w))
    return runs(scale, values)


def iq2_xs(b):
    q = words(b, 2, 32, "<u2").astype(int)
    scale = f16(b, 0) * (F(0.5) + pairs_of(b[:, 66:]).astype(F)) / 4
    return runs(scale, grid(quants.IQ2_XS)[q & 511] * plus_minus(signs_of_seven(q >> 9)))


def iq2_s(b):
    high = np.stack([b[:, 66:74].astype(int) >> 2 * l & 3 for l in range(4)], axis=2).reshape(len(b), 32)
    scale = f16(b, 0) * (F(0.5) + pairs_of(b[:, 74:]).astype(F)) / 4
    return runs(scale, grid(quants.IQ2_S)[b[:, 2:34] | high << 8] * plus_minus(b[:, 34:66].astype(int)))


def iq3_xxs(b):
    w = words(b, 66, 8, "<u4").astype(int)
    scale = f16(b, 0) * (F(0.5) + (w >> 28).astype(F)) / 2
    return runs(scale, grid(quants.IQ3_XXS)[b[:, 2:66]].reshape(len(b), 32, 8) * plus_minus(packed_signs(w)))


def iq3_s(b):
    high = np.unpackbits(b[:, 66:74], axis=1, bitorder="little").astype(int)
    scale = f16(b, 0) * (1 + 2 * pairs_of(b[:, 106:]).astype(F))
    return runs(scale, grid(quants.IQ3_S)[b[:, 2:66] | high << 8].reshape(len(b), 32, 8) * plus_minus(b[:, 74:106].astype(int)))


def iq1_s(b):
    h = words(b, 34, 8, "<u2").astype(int)
    scale = f16(b, 0) * (2 * (h >> 12 & 7) + 1).astype(F)
    high = np.stack([h >> 3 * l & 7 for l in range(4)], axis=2).reshape(len(b), 32)
    delta = np.where(h >> 15, F(-0.125), F(0.125)).repeat(4, axis=1)
    return runs(scale, grid(quants.IQ1_S)[b[:, 2:34] | high << 8] + delta[:, :, None])


def iq1_m(b):
    s = words(b, 48, 4, "<u2").astype(int)
    d = sum((s[:, i] >> 12) << 4 * i for i in range(4)).astype("<u2").view("<f2").astype(F)[:, None]
    sub = np.stack([s >> 3 * i & 7 for i in range(4)], axis=2).reshape(len(b), 16)
    high = pairs_of(b[:, 32:48]).astype(int)
    delta = np.where(high >> 3, F(-0.125), F(0.125))
    return runs(d * (2 * sub + 1).astype(F), grid(quants.IQ1_S)[b[:, :32] | (high & 7) << 8] + delta[:, :, None])


def decode(name, blocks):
    """blocks [n, bytes of a block] as float32 [n, elements]."""
    return globals()[name.lower()](blocks).astype(F)
