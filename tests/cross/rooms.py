"""Builds the numeric rooms without CMake, with any compiler, as aarch64.py and compilers.py want them: they need the C library
only."""
import concurrent.futures
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = "base tensor graph import backend cpu sampler kv selftest".split()
PROGRAMS = {"selftest": "src/prog/selftest/main.c", "ops": "tests/kernels/ops.c"}
FLAGS = """-std=gnu17 -ffp-contract=off -fno-math-errno -fno-strict-aliasing -Wall -Wextra -Wshadow -Werror -D_GNU_SOURCE
-DVERITAS_VERSION="cross" """.split()
# The suffix is the instruction set, as in CMakeLists.txt.
X86 = {
    "_avx2.c": ["-mavx2", "-mfma", "-mf16c"],
    "_avxvnni.c": ["-mavx2", "-mfma", "-mf16c", "-mavxvnni"],
    "_shani.c": ["-msha", "-msse4.1"],
    "_avx512vl.c": "-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512vnni".split(),
    "_avx512.c": "-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c -mavx2 -mprefer-vector-width=512".split(),
}
ARM = {"_neon.c": ["-march=armv8.2-a+dotprod"], "_i8mm.c": ["-march=armv8.2-a+dotprod+i8mm"]}


def build(work, compiler, flags, suffixes, link=()):
    """Puts the programs into the folder work."""
    others = tuple(suffix for suffix in {**X86, **ARM} if suffix not in suffixes)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)

    def compile_one(source):
        target = work / (source.replace("/", "+") + ".o")
        extra = next((more for suffix, more in suffixes.items() if source.endswith(suffix)), [])
        subprocess.run([compiler, *FLAGS, *flags, *extra, f"-I{ROOT / 'src'}", "-c", str(ROOT / source), "-o", str(target)],
                       check=True)
        return str(target)

    sources = [str(p.relative_to(ROOT)) for room in ROOMS for p in sorted((ROOT / "src" / room).glob("*.c"))
               if not p.name.endswith(others)]
    objects = list(side_by_side(compile_one, [(source,) for source in sources]))
    for name, source in PROGRAMS.items():
        subprocess.run([compiler, *flags, *link, "-o", str(work / name), compile_one(source), *objects, "-pthread"], check=True)


def side_by_side(function, arguments):
    """function(*a) for each a of arguments, some at a time; the results in the order of the arguments."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(lambda a: function(*a), arguments)


def run(what, command, timeout=3000):
    """The lines that the command prints; ends with a message when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        sys.exit(f"{what}: {' '.join(command)}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()
