#!/usr/bin/env python3
"""The same golden hashes on 64-bit Arm: builds veritas-selftest and kernels-ops static with the cross compiler, runs them under
qemu-user.

usage: aarch64.py BUILD [all]
exit 77: no cross compiler or no qemu-aarch64 (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)

The processor of qemu has i8mm, so that all levels run, on every third model of the self-test. `all`: every model, in every way;
also a processor with the dot product only and one with neither, so that each level is chosen at run time from the one binary; and
the longer random part of kernels-ops.
"""
import shutil
import sys
from pathlib import Path

import rooms

WORK = Path(sys.argv[1]).resolve() / "aarch64"
COMPILER, QEMU = "aarch64-linux-gnu-gcc", "qemu-aarch64"
LEVEL = {"max": "i8mm", "neoverse-n1": "neon", "cortex-a72": "c"}

missing = [tool for tool in (COMPILER, QEMU) if not shutil.which(tool)]
if missing:
    print(f"skipped: {' and '.join(missing)} not there (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)")
    sys.exit(77)
whole = sys.argv[2:] == ["all"]
rooms.build(WORK, COMPILER, ["-O2"], rooms.ARM, ["-static"])


def run(cpu, program):
    """(cpu, program, the lines that it prints)"""
    how = [] if whole else ["--brief", "--every", "3"] if program == "selftest" else ["brief"]
    return cpu, program, rooms.run(cpu, [QEMU, "-cpu", cpu, str(WORK / program), *how])


cpus = LEVEL if whole else ("max",)
runs = [(cpu, program) for program in ("selftest", "ops") for cpu in cpus]
for cpu, program, lines in rooms.side_by_side(run, runs):
    for line in lines[-1:] if program == "selftest" else lines:
        print(f"{cpu}: {program} {line}", flush=True)
    if program == "selftest" and ("every hash golden" not in lines[-1] or f"up to {LEVEL[cpu]}," not in lines[-1]):
        sys.exit(f"{cpu}: golden hashes up to {LEVEL[cpu]} were expected")
shutil.rmtree(WORK, ignore_errors=True)
