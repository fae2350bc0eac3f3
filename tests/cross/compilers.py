#!/usr/bin/env python3
"""The same golden hashes whatever compiled it: every gcc and clang that is installed, from -O0 to -O3, link-time optimisation,
plain C built for a processor with the fma instruction.

usage: compilers.py BUILD      exit 77: no compiler
"""
import shutil
import subprocess
import sys
from pathlib import Path

import rooms

WORK = Path(sys.argv[1]).resolve() / "compilers"
WAYS = [["-O0"], ["-O1"], ["-O2"], ["-O3"], ["-O2", "-flto=auto"], ["-O3", "-march=x86-64-v3"], ["-Os"]]

found = {}
for name in ["gcc", "clang"] + [f"{kind}-{n}" for kind in ("gcc", "clang") for n in range(11, 23)]:
    path = shutil.which(name)
    if path:
        found.setdefault(Path(path).resolve(), name)     # gcc and gcc-12 are the same program
if not found:
    print("skipped: neither gcc nor clang is there")
    sys.exit(77)
digests, n = set(), 0
for name in found.values():
    version = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    print(f"{name}: {version}")
    for way in WAYS:
        if "-flto=auto" in way and name.startswith("clang"):
            continue                                     # wants a linker plugin of its own
        rooms.build(WORK, name, way, rooms.X86)
        last = rooms.run(name, [str(WORK / "selftest"), "--brief"])[-1]
        digests.add(last.split()[-1])
        n += 1
        rooms.run(name, [str(WORK / "ops"), "brief"])
        print(f"  {' '.join(way)}: {last}", flush=True)
        if "every hash golden" not in last:
            sys.exit("no golden hashes")
shutil.rmtree(WORK, ignore_errors=True)
print(f"compilers: {n} builds, {len(digests)} digest")
sys.exit(0 if len(digests) == 1 else 1)
