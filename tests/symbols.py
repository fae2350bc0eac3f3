#!/usr/bin/env python3
"""The numeric rooms call no libm (rule G4 of docs/NUMERICS.md): its results differ between versions and machines.

usage: symbols.py BUILD. Reads the undefined symbols of each object in the rooms' libraries. Also holds every exported
name of every room to its prefix.
"""
import os
import re
import subprocess
import sys

BUILD = sys.argv[1]
# None: all objects
NUMERIC = {"base": {"num.c.o"}, "tensor": None, "cpu": None, "engine": None, "sampler": None, "kv": None, "selftest": None}
LIBM = """acos acosh asin asinh atan atan2 atanh cbrt ceil cos cosh drem erf erfc exp exp10 exp2 expm1 fdim floor fma fmod
frexp gamma hypot ilogb j0 j1 jn ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround modf nearbyint nextafter
nexttoward pow pow10 remainder remquo rint round roundeven scalb scalbln scalbn sin sincos sinh sqrt tan tanh tgamma trunc
y0 y1 yn fesetround fegetround""".split()
FORBIDDEN = {name + suffix for name in LIBM for suffix in ("", "f", "l", "f32", "f64", "f128")}
FORBIDDEN |= {f"__{name}_finite" for name in FORBIDDEN}
FORBIDDEN |= {"__addtf3", "__multf3", "__extenddftf2"}     # long double by library: slower, and not the contract's


def objects(archive, *options):
    """{object: [(kind, name)]}"""
    out = subprocess.run(["nm", *options, archive], capture_output=True, text=True, check=True).stdout
    result, current = {}, None
    for line in out.splitlines():
        if line.endswith(".o:"):
            current = result.setdefault(line[:-1], [])
        elif current is not None and line.strip():
            kind, name = line.split()[-2:]
            current.append((kind, name))
    return result


failed = 0
seen = 0
for file in sorted(os.listdir(BUILD)):
    found = re.fullmatch(r"libvs_(\w+)\.a", file)
    if not found:
        continue
    room = found[1]
    for name, symbols in objects(os.path.join(BUILD, file)).items():
        for kind, symbol in symbols:
            if kind in "TDBRVWGS" and not symbol.startswith(("vs_", "veritas_", "_")):
                print(f"{room}/{name} exports {symbol}: exported names begin with vs_")
                failed += 1
        if room in NUMERIC and (NUMERIC[room] is None or name in NUMERIC[room]):
            seen += 1
            for kind, symbol in symbols:
                if kind in "Uw" and symbol.split("@")[0] in FORBIDDEN:
                    print(f"{room}/{name} calls {symbol}: numeric rooms use base/num.h, not libm")
                    failed += 1
if seen < 3:
    sys.exit(f"only {seen} numeric objects found in {BUILD}")
print(f"{seen} numeric objects, {failed} faults")
sys.exit(1 if failed else 0)
