#!/usr/bin/env python3
"""The same golden hashes on 64-bit Arm: builds veritas-selftest and kernels-ops static with the cross compiler, runs them under
qemu-user.

usage: aarch64.py BUILD [all]
exit 77: no cross compiler or no qemu-aarch64 (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)

Three processors of qemu: one with i8mm, one with the dot product only, one with neither, so that each level is chosen at run
time from the one binary. `all`: every way of the self-test, and the longer random part of kernels-ops.
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
for cpu, level in LEVEL.items():
    command = [QEMU, "-cpu", cpu]
    last = rooms.run(cpu, [*command, str(WORK / "selftest"), *([] if whole else ["--brief"])])[-1]
    print(f"{cpu}: {last}", flush=True)
    if "every hash golden" not in last or f"up to {level}," not in last:
        sys.exit(f"{cpu}: golden hashes up to {level} were expected")
    if whole or cpu == "max":                            # it has all levels
        for line in rooms.run(cpu, [*command, str(WORK / "ops"), *([] if whole else ["brief"])]):
            print(f"{cpu}: kernels {line}", flush=True)
shutil.rmtree(WORK, ignore_errors=True)
