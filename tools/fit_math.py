#!/usr/bin/env python3
"""Fits the single-precision polynomials of src/base/num.h and prints their constants.

Needs mpmath (development only; no test runs this). Method: Remez exchange in 60 digits for the smallest maximal
relative error of the whole function, then the coefficients are rounded to f32 one after the other, lowest degree
first, and the ones not yet rounded are fitted again.

    exp(r)    = 1 + r + r^2 E(r)            |r| <= ln2/2
    log(1+f)  = f - f^2/2 + f^3 L(f)        sqrt(1/2) <= 1+f <= sqrt(2)
    tanh(x)   = x + x^3 T(x^2)              0 < x <= 0.625
"""
import struct

from mpmath import mp, mpf

mp.dps = 60


def f32(x):
    """Nearest f32 (x is small enough in digits that double rounding is not an issue: checked below)."""
    return mpf(struct.unpack("<f", struct.pack("<f", float(x)))[0])


def c_hex(x):
    """An f32 as a C hexadecimal literal."""
    sign = "-" if x < 0 else ""
    mantissa, _, exponent = float(abs(x)).hex().partition("p")
    head, _, tail = mantissa[2:].partition(".")
    tail = tail.rstrip("0")
    return f"{sign}0x{head}{'.' + tail if tail else ''}p{exponent}f"


def remez(g, w, lo, hi, degree, fixed):
    """Coefficients c (c[i] = fixed[i] where given) with the smallest max |w (P - g)| on [lo, hi]."""
    free = [k for k in range(degree + 1) if k not in fixed]
    n = len(free) + 1
    grid = [lo + (hi - lo) * (1 - mp.cos(mp.pi * i / 1600)) / 2 for i in range(1601)]
    grid = [x for x in grid if abs(x) > mpf(10) ** -9]
    values = [(x, g(x), w(x)) for x in grid]
    rest = [v - sum(c * x ** k for k, c in fixed.items()) for x, v, _ in values]
    at = [round(i * (len(grid) - 1) / (n - 1)) for i in range(n)]
    best = None
    for _ in range(60):
        a = mp.matrix(n, n)
        b = mp.matrix(n, 1)
        for row, i in enumerate(at):
            x, _, weight = values[i]
            for column, k in enumerate(free):
                a[row, column] = x ** k
            a[row, n - 1] = (-1) ** row / weight
            b[row] = rest[i]
        solution = mp.lu_solve(a, b)
        coefficients = dict(fixed)
        coefficients.update({k: solution[i] for i, k in enumerate(free)})
        error = [weight * (sum(c * x ** k for k, c in coefficients.items()) - v) for x, v, weight in values]
        worst = max(abs(e) for e in error)
        if best is None or worst < best[0]:
            best = (worst, coefficients)
        # One extremum in each run of equal sign; keep the n neighbouring ones that reach highest.
        peaks = []
        for i, e in enumerate(error):
            if peaks and (e > 0) == (error[peaks[-1]] > 0):
                if abs(e) > abs(error[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        if len(peaks) < n:
            break
        while len(peaks) > n:
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        if peaks == at:
            break
        at = peaks
    return best


def fit(name, g, w, lo, hi, degree):
    fixed = {}
    for k in range(degree + 1):
        worst, c = remez(g, w, lo, hi, degree, fixed)
        if k == 0:
            print(f"{name}: exact coefficients, max relative error 2^{float(mp.log(worst, 2)):.2f}")
        fixed[k] = f32(c[k])
    error = max(abs(w(x) * (sum(c * x ** k for k, c in fixed.items()) - g(x)))
                for x in (lo + (hi - lo) * i / 4001 for i in range(1, 4001)) if abs(x) > mpf(10) ** -9)
    print(f"{name}: rounded to f32,     max relative error 2^{float(mp.log(error, 2)):.2f}")
    for k in range(degree + 1):
        print(f"    {name}{k}  {c_hex(fixed[k]):>20}   /* {float(fixed[k]):.9g} */")


def main():
    ln2 = mp.log(2)
    edge = ln2 / 2 * (1 + mpf(2) ** -18)          # n by magic add leaves a hair more than ln2 / 2
    fit("E", lambda r: (mp.exp(r) - 1 - r) / r ** 2, lambda r: r ** 2 / mp.exp(r), -edge, edge, 4)
    fit("L", lambda f: (mp.log1p(f) - f + f ** 2 / 2) / f ** 3, lambda f: abs(f ** 3 / mp.log1p(f)),
        mp.sqrt(mpf(1) / 2) - 1, mp.sqrt(2) - 1, 7)
    top = mpf("0.625") ** 2
    fit("T", lambda u: (mp.tanh(mp.sqrt(u)) - mp.sqrt(u)) / mp.sqrt(u) ** 3,
        lambda u: mp.sqrt(u) ** 3 / mp.tanh(mp.sqrt(u)), mpf(10) ** -8, top, 4)
    # erfc(a / sqrt 2) / 2 = exp(-a^2 / 2) t (H0 + H1 t + ...), t = 1 / (1 + P a), for a up to 14, where it is below every float
    p = f32(mpf("0.36"))
    tail = lambda a: mp.erfc(a / mp.sqrt(2)) / 2 * mp.exp(a * a / 2)
    fit("H", lambda t: tail((1 / t - 1) / p) / t, lambda t: t / tail((1 / t - 1) / p), 1 / (1 + 14 * p), mpf(1), 7)
    print(f"    GELU_P {c_hex(p)}")
    for label, hi_bits in (("LN2", 24),):
        hi = f32(ln2)
        print(f"    {label}_HI {c_hex(hi)}  {label}_LO {c_hex(f32(ln2 - hi))}")
    hi = mpf(round(ln2 * 2 ** 12)) / 2 ** 12
    print(f"    LOG_LN2_HI {c_hex(hi)}  LOG_LN2_LO {c_hex(f32(ln2 - hi))}")
    print(f"    LOG2E {c_hex(f32(1 / ln2))}")
    print(f"    exp range: {c_hex(f32(mp.log(mpf(2) ** -126)))} .. {c_hex(f32(mp.log((2 - mpf(2) ** -24) * mpf(2) ** 127)))}")
    gelu = 2 * mp.sqrt(2 / mp.pi)
    print(f"    GELU_A {c_hex(f32(gelu * mpf('0.044715')))}  GELU_B {c_hex(f32(gelu))}")
    for part, bits in (("1", 30), ("2", 30)):
        pass
    rest = mp.pi / 2
    for part in range(2):
        scale = mpf(2) ** (29 + 30 * part)
        p = mp.floor(rest * scale) / scale
        print(f"    PIO2_{part + 1} {float(p).hex()}")
        rest -= p
    print(f"    PIO2_3 {float(rest).hex()}   2/PI {float(2 / mp.pi).hex()}")
    hi = mp.floor(ln2 * mpf(2) ** 33) / mpf(2) ** 33
    print(f"    f64 LN2_HI {float(hi).hex()}  LN2_LO {float(ln2 - hi).hex()}  LOG2E {float(1 / ln2).hex()}")


if __name__ == "__main__":
    main()
