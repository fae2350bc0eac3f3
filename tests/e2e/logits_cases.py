"""The models and bounds of tests/e2e/logits.py; tests/golden/logits.py makes their reference from the same list."""
import subprocess

TOKENS = [1, 263, 40, 297, 5, 266, 120, 280, 33, 77, 299, 260, 18, 201, 271, 64, 9, 288, 150, 99, 274, 3, 222, 290]
SIZE = "--layers 2 --embd 64 --heads 4 --kv-heads 2 --vocab 300 "
WIDE = "--layers 2 --embd 256 --heads 4 --kv-heads 2 --ff 256 --vocab 300 "

# name: (mkmodel's options, K/V type, bound). The bound is ("difference", largest |ours - exact| over the spread of the exact logits) where
# nothing is rounded below f32, and ("kl", mean nats) where activations become int8. Measured when this was written: 3e-7 to 5e-7 in
# f32, 4e-4 with a cache in f16, 5e-4 to 9e-4 nats; a wrong scale or a wrong order of rows costs a hundred times as much. (The
# mixed Gemma is so sure of itself that KL sees nothing.)
CASES = {
    "llama-f32-rope-freqs": ("--arch llama --type F32 --rope-freqs --bias " + SIZE, "f32", ("difference", 2e-6)),
    "llama-f16-linear-rope": ("--arch llama --type F16 --rope-scale 4 --tied " + SIZE, "f32", ("difference", 2e-6)),
    "qwen2-f32-bias": ("--arch qwen2 --type F32 --layers 2 --embd 64 --heads 4 --kv-heads 1 --vocab 300", "f32", ("difference", 2e-6)),
    "qwen2-f16-cache": ("--arch qwen2 --type BF16 " + SIZE, "f16", ("difference", 1e-3)),
    "gemma3-f32-window": ("--arch gemma3 --type F32 --layers 7 --window 8 --embd 64 --heads 4 --kv-heads 1 --head-dim 32 --vocab 400", "f32",
                          ("difference", 2e-6)),
    "llama-q4_1": ("--arch llama --type Q4_1 " + SIZE, "f16", ("kl", 1e-3)),
    "gemma3-mixed": ("--arch gemma3 --type mixed --layers 2 --window 8 --embd 256 --heads 2 --kv-heads 1 --ff 256 --vocab 400", "f16", ("difference", 2e-2)),
} | {f"qwen2-{t.lower()}": (f"--arch qwen2 --type {t} " + WIDE, "f16", ("kl", 1e-3))
     for t in ("Q4_0", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")}


def mkmodel(program, options, path):
    subprocess.run([program, *options.split(), "-o", path], check=True)
