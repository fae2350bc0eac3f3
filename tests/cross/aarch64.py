#!/usr/bin/env python3
"""The same golden hashes on 64-bit Arm: builds veritas-selftest and kernels-ops static with the cross compiler, runs them under qemu-user.

usage: aarch64.py BUILD [all]      exit 77: no cross compiler or no qemu-aarch64 (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)

The instruction sets that are tried: what qemu's strongest processor has (i8mm), one without i8mm, one without dotprod, so that each level
is chosen at run time from the one binary. `all`: the whole of kernels-ops, not its brief form.
"""
import concurrent.futures
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = Path(sys.argv[1]).resolve() / "aarch64"
COMPILER, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64"
ROOMS = "base tensor graph import cpu sampler selftest".split()
PROGRAMS = {"selftest": "src/prog/selftest/main.c", "ops": "tests/kernels/ops.c"}
FLAGS = """-std=gnu17 -O2 -ffp-contract=off -fno-math-errno -fno-strict-aliasing -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE
-DVERITAS_VERSION="cross" """.split()
SUFFIXES = {"_neon.c": ["-march=armv8.2-a+dotprod"], "_i8mm.c": ["-march=armv8.2-a+dotprod+i8mm"]}

missing = [tool for tool in (COMPILER, QEMU) if not shutil.which(tool)]
if missing:
    print(f"skipped: {' and '.join(missing)} not there (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)")
    sys.exit(77)


def compile_one(source):
    target = WORK / (source.replace("/", "+") + ".o")
    extra = next((flags for suffix, flags in SUFFIXES.items() if source.endswith(suffix)), [])
    subprocess.run([COMPILER, *FLAGS, *extra, f"-I{ROOT / 'src'}", "-c", str(ROOT / source), "-o", str(target)], check=True)
    return str(target)


def run(program, words, cpu):
    command = [QEMU, "-cpu", cpu, str(WORK / program), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()


shutil.rmtree(WORK, ignore_errors=True)
WORK.mkdir(parents=True)
sources = [str(p.relative_to(ROOT)) for room in ROOMS for p in sorted((ROOT / "src" / room).glob("*.c"))
           if not p.name.endswith(("_avx2.c", "_avx512.c"))]
with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
    objects = list(pool.map(compile_one, sources))
for name, source in PROGRAMS.items():
    subprocess.run([COMPILER, "-static", "-o", str(WORK / name), compile_one(source), *objects, "-pthread"], check=True)

whole = sys.argv[2:] == ["all"]
for cpu in ("max", "max,sve=off", "neoverse-n1", "cortex-a72") if whole else ("max", "neoverse-n1", "cortex-a72"):
    last = run("selftest", [] if whole else ["--brief"], cpu)[-1]
    print(f"{cpu}: {last}", flush=True)
    if "every hash golden" not in last:
        sys.exit("no golden hashes")
    for line in run("ops", [] if whole else ["brief"], cpu):
        print(f"{cpu}: kernels {line}", flush=True)
shutil.rmtree(WORK, ignore_errors=True)
