#!/usr/bin/env python3
"""One hash over all logits, whatever the instruction set, the number of threads and the prefill chunk: through the shipped program.

    determinism.py VERITAS MKMODEL [--all | --model FILE-OR-NAME [--tokens N]]

Without --model, tiny generated models of every weight class are used; with it, every combination (plain C takes minutes).
--all: more combinations for the tiny ones. Prints "N
configurations, 1 hash" for each.
"""
import itertools
import json
import os
import subprocess
import sys
import tempfile

os.environ["VERITAS_SOCKET"] = "/nowhere/s"         # never a daemon that somebody left running

TYPES = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K".split()
LISTS = ("IQ4_NL IQ4_XS MXFP4 NVFP4 IQ3_S IQ3_XXS IQ2_XXS IQ2_XS IQ2_S IQ1_S IQ1_M TQ1_0 TQ2_0 Q1_0 Q2_0 Q6_0 Q8_1 "
         "mixed-lists").split()
PROMPT = "The quick brown fox jumps over the lazy dog. " * 12


def runnable():
    """Instruction sets that this CPU has, plain C first."""
    with open("/proc/cpuinfo") as f:
        flags = f.read().split()
    isas = ["c"]
    if "avx2" in flags and "fma" in flags and "f16c" in flags:
        isas.append("avx2")
        if "avx512_vnni" in flags and "avx512bw" in flags and "avx512vl" in flags:
            isas += ["avxvnni", "avx512"]
        elif "avx_vnni" in flags:
            isas.append("avxvnni")
    return isas


def run(veritas, model, n, isa, threads, chunk, kv, precision):
    command = [veritas, "run", "-m", model, "--raw", "--temp", "0", "--seed", "1", "--ignore-eos", "-n", str(n), "--json",
               "--logits-hash",
               "--isa", isa, "--threads", str(threads), "--prefill-chunk", str(chunk), "--kv-type", kv, "--precision",
               precision, PROMPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr}")
    result = json.loads(done.stdout)
    return result["logits_hash"], tuple(result["tokens"])


def check(veritas, name, model, n, kv, grid, precision="fast"):
    want = None
    count = 0
    for isa, threads, chunk in grid:
        got = run(veritas, model, n, isa, threads, chunk, kv, precision)
        want = want or got
        if got != want:
            sys.exit(f"{name}: isa {isa}, threads {threads}, chunk {chunk}, kv {kv}: hash {got[0]}, want {want[0]}")
        count += 1
    print(f"{name} kv {kv} {precision}: {count} configurations, 1 hash {want[0][:16]}", flush=True)


def main():
    veritas, mkmodel = sys.argv[1:3]
    isas = runnable()
    every = "--all" in sys.argv
    if "--model" in sys.argv:
        model = sys.argv[sys.argv.index("--model") + 1]
        if subprocess.run([veritas, "models", "path", model], capture_output=True).returncode and not os.path.exists(model):
            print(f"{model} is not here: skipped")
            sys.exit(77)
        n = int(sys.argv[sys.argv.index("--tokens") + 1]) if "--tokens" in sys.argv else 300
        grid = list(itertools.product(reversed(isas), (1, 2, 3, 5), (1, 7, 64, 512)))
        check(veritas, os.path.basename(model), model, n, "f16", grid + grid[:2])
        return
    with tempfile.TemporaryDirectory() as folder:
        for i, dtype in enumerate(TYPES + LISTS):
            model = os.path.join(folder, f"{dtype}.gguf")
            arch = ("llama", "qwen2", "gemma3")[i % 3]
            subprocess.run([mkmodel, "--arch", arch, "--type", dtype, "--layers", "2", "--embd", "256", "--heads", "4",
                            "--kv-heads", "2",
                            "--head-dim", "64", "--ff", "768", "--ctx", "1024", "--seed", str(i), "--tokenizer", "gpt2",
                            "--pre", "smollm",
                            "-o", model], check=True, stdout=subprocess.DEVNULL)
            kv = ("f16", "f32", "q8_0")[i % 3 if dtype != "Q8_0" else 2]
            if dtype in LISTS:                      # kernels of the same shape: fewer ways to run them
                check(veritas, f"{arch} {dtype}", model, 4, kv,
                      [("c", 2, 512)] + [(isa, 2, c) for isa in isas[1:] for c in (7, 512)])
                continue
            ways = itertools.product(isas, ((1, 7), (3, 512), (2, 1)))
            high = itertools.product(isas, ((2, 512), (2, 3)))
            if not every:                           # every second way
                ways, high = itertools.islice(ways, 0, None, 2), itertools.islice(high, i % 2, None, 2)
            check(veritas, f"{arch} {dtype}", model, 8, kv, [("c", 1, 512)] + [(isa, *how) for isa, how in ways])
            check(veritas, f"{arch} {dtype}", model, 8, kv, [(isa, *how) for isa, how in high], "high")


if __name__ == "__main__":
    main()
