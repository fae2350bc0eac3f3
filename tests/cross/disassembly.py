#!/usr/bin/env python3
"""What the compiler made of the matrix kernels: encodings, and accumulators that stay in registers.

    disassembly.py OBJDUMP FOLDER_OF_OBJECTS

  matmul_avxvnni    vpdpbusd in the VEX encoding, nothing that needs AVX-512 (a CPU with AVX-VNNI alone would stop at it)
  matmul_avx512vl   vpdpbusd in the EVEX encoding, on 256 bits
  matmul_avx2       no vpdpbusd
  matmul_avx512     vpdpbusd on 512 bits; in the kernels named below no 512-bit register ever goes to the stack
"""
import collections
import os
import re
import subprocess
import sys

IN_REGISTERS = ("Q4", "Q4M", "Q5", "Q5M", "Q8", "K4", "K5")
EVEX_ONLY = re.compile(r"%zmm|%[xy]mm(1[6-9]|2[0-9]|3[01])\b|%k[0-7]\b")


def functions(objdump, path):
    """{name: [instructions]}"""
    found, name = collections.defaultdict(list), None
    for line in subprocess.run([objdump, "-d", "--no-show-raw-insn", path], capture_output=True, text=True,
                               check=True).stdout.splitlines():
        head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if head:
            name = head.group(1).split(".")[0]
        elif name and "\t" in line:
            found[name].append(line.split("\t", 1)[1].strip())
    return found


def main():
    objdump, folder = sys.argv[1:3]
    code = {n: functions(objdump, os.path.join(folder, f"matmul_{n}.c.o")) for n in ("avx2", "avxvnni", "avx512vl", "avx512")}
    every = {n: [i for f in code[n].values() for i in f] for n in code}
    vex = [i for i in every["avxvnni"] if i.startswith("{vex} vpdpbusd")]
    evex = [i for i in every["avx512vl"] if "vpdpbusd" in i and not i.startswith("{vex}")]
    wide = [i for i in every["avx512"] if "vpdpbusd" in i and "%zmm" in i]
    faults = [f"matmul_avxvnni: {i}" for i in every["avxvnni"] if EVEX_ONLY.search(i)]
    faults += [f"matmul_{n}: {i}" for n in ("avx2",) for i in every[n] if "vpdpbusd" in i or EVEX_ONLY.search(i)]
    faults += [f"matmul_avx512vl: {i}" for i in every["avx512vl"] if "%zmm" in i]
    faults += [f"{name} has none of its dots" for name, dots in (("avxvnni", vex), ("avx512vl", evex), ("avx512", wide))
               if len(dots) < 100]
    for cls in IN_REGISTERS:
        body = code["avx512"].get(f"panels_{cls}")
        if not body or not any("vpdpbusd" in i for i in body):
            faults.append(f"panels_{cls}: not found, or without a dot")
            continue
        faults += [f"panels_{cls}: {i}" for i in body if re.match(r"v?mov\S*\s+%zmm\d+,.*\((%rsp|%rbp)", i)]
    for f in faults[:20]:
        print(f)
    if faults:
        sys.exit(f"{len(faults)} instructions that should not be there")
    print(f"VEX dots {len(vex)}, EVEX dots {len(evex)}, 512-bit dots {len(wide)}; {len(IN_REGISTERS)} kernels keep their "
          f"accumulators in registers")


main()
