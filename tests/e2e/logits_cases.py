"""The models and bounds of tests/e2e/logits.py; tests/golden/logits.py makes their reference from the same list."""
import subprocess

TOKENS = [1, 263, 40, 297, 5, 266, 120, 280, 33, 77, 299, 260, 18, 201, 271, 64, 9, 288, 150, 99, 274, 3, 222, 290]
SIZE = "--layers 2 --embd 64 --heads 4 --kv-heads 2 --vocab 300 "
WIDE = "--layers 2 --embd 256 --heads 4 --kv-heads 2 --ff 256 --vocab 300 "

# name: (mkmodel's options, K/V type, bound). The bound is ("difference", largest |ours - exact| over the spread of the exact
# logits) where nothing is rounded below f32, and ("kl", mean nats) where activations become int8. Measured when this was written:
# 3e-7 to 5e-7 in f32, 4e-4 with a cache in f16, 5e-4 to 9e-4 nats; a wrong scale or a wrong order of rows costs a hundred times as
# much. (The mixed Gemma is so sure of itself that KL sees nothing.)
CASES = {
    "llama-f32-rope-freqs": ("--arch llama --type F32 --rope-freqs --bias " + SIZE, "f32", ("difference", 2e-6)),
    "llama-f16-linear-rope": ("--arch llama --type F16 --rope-scale 4 --tied " + SIZE, "f32", ("difference", 2e-6)),
    "qwen2-f32-bias": ("--arch qwen2 --type F32 --layers 2 --embd 64 --heads 4 --kv-heads 1 --vocab 300", "f32",
                       ("difference", 2e-6)),
    "qwen2-f16-cache": ("--arch qwen2 --type BF16 " + SIZE, "f16", ("difference", 1e-3)),
    "gemma3-f32-window": ("--arch gemma3 --type F32 --layers 7 --window 8 --embd 64 --heads 4 --kv-heads 1 --head-dim 32 "
                          "--vocab 400", "f32",
                          ("difference", 2e-6)),
    "llama-q4_1": ("--arch llama --type Q4_1 " + SIZE, "f16", ("kl", 1e-3)),
    "gemma3-mixed": ("--arch gemma3 --type mixed --layers 2 --window 8 --embd 256 --heads 2 --kv-heads 1 --ff 256 --vocab 400",
                     "f16", ("difference", 2e-2)),
} | {f"qwen2-{t.lower()}": (f"--arch qwen2 --type {t} " + WIDE, "f16", ("kl", 1e-3))
     for t in ("Q4_0", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")}


# Keys and tensors that change the arithmetic, each in a tiny model of its own: what the graph must honour. Of these only the rows
# ROWS are kept.
TINY = "--type F32 --layers 3 --embd 32 --heads 2 --head-dim 16 --vocab 300 "
LLAMA, QWEN2, QWEN3 = (f"--arch {a} " + TINY for a in ("llama", "qwen2", "qwen3"))
GEMMA = "--arch gemma3 --kv-heads 1 " + TINY.replace("300", "370")
YARN = "--key .rope.scaling.type=str:yarn --key .rope.scaling.factor=f32:4 --key .rope.scaling.original_context_length=u32:32 "
ROWS = [2, 9, 17, 23]
KEYS = {
    "gemma3-softcap": GEMMA + "--window 8 --key .final_logit_softcapping=f32:2.5",
    "gemma3-softcap-0": GEMMA + "--window 8 --key .final_logit_softcapping=f32:0 --key .attn_logit_softcapping=f32:0",
    "gemma3-period-2": GEMMA + "--window 8 --key .attention.sliding_window_pattern=u32:2",
    "gemma3-period-1": GEMMA + "--window 8 --key .attention.sliding_window_pattern=i32:1",
    "gemma3-period-0": GEMMA + "--window 8 --key .attention.sliding_window_pattern=u32:0",
    "gemma3-list-bool": GEMMA + "--window 8 --key .attention.sliding_window_pattern=bool[]:0,1,0",
    "gemma3-list-int": GEMMA + "--window 8 --key .attention.sliding_window_pattern=i32[]:1,0,0 --key .rope.freq_base_swa=f32:500",
    "gemma3-no-window": GEMMA + "--window 0 --rope-scale 8",
    "gemma3-window-0": GEMMA + "--window 0 --key .attention.sliding_window=u32:0 "
                       "--key .attention.sliding_window_pattern=bool[]:1,1,1",
    "gemma3-62-layers": GEMMA.replace("--layers 3", "--layers 62").replace("--heads 2", "--heads 4") + "--ff 32 --window 8",
    "gemma3-62-layers-scale": GEMMA.replace("--layers 3", "--layers 62").replace("--heads 2", "--heads 4") + "--ff 32 --window 8 "
                              "--key .attention.scale=f32:0.3",
    "gemma3-61-layers": GEMMA.replace("--layers 3", "--layers 61").replace("--heads 2", "--heads 4") + "--ff 32 --window 8",
    "gemma3-local-plain": GEMMA + "--layers 4 --window 8 --key .attention.sliding_window_pattern=u32:2 "
                          "--key .rope.scaling.attn_factor=f32:1.3 " + YARN,
    "gemma3-fused-scales": GEMMA + "--window 8 --qkv 2 --biases --scales",
    "llama-none-factor": LLAMA + "--key .rope.scaling.type=str:none --key .rope.scaling.factor=f32:8",
    "llama-factor-no-type": LLAMA + "--key .rope.scaling.factor=f32:8",
    "llama-scale-linear": LLAMA + "--key .rope.scale_linear=f32:4",
    "llama-both-scales": LLAMA + "--key .rope.scale_linear=f32:4 --key .rope.scaling.factor=f32:2",
    "llama-attn-factor": LLAMA + "--rope-freqs --key .rope.scaling.attn_factor=f32:1.4",
    "llama-yarn": LLAMA + "--freq-base 500 " + YARN,
    "llama-yarn-factors": LLAMA + "--rope-freqs --freq-base 500 --key .rope.scaling.attn_factor=f32:0.9 "
                          "--key .rope.scaling.yarn_ext_factor=f32:0.5 "
                          "--key .rope.scaling.yarn_beta_fast=f32:8 --key .rope.scaling.yarn_beta_slow=f32:0.5 " + YARN,
    "llama-attention-scale": LLAMA + "--key .attention.scale=f32:0.1",
    "llama-neutral-keys": LLAMA + "--key .logit_scale=f32:0 --key .embedding_scale=f32:1 --key .attention.causal=bool:1 "
                          "--key .expert_count=u32:0 --key .attention.sliding_window=u32:4096 --key .use_parallel_residual=bool:0 "
                          "--key .rope.scaling.finetuned=bool:1",
    "llama-tied-output-bias": LLAMA + "--tied --biases",
    "llama-fused-grouped": "--arch llama --type F32 --layers 2 --embd 64 --heads 4 --kv-heads 2 --vocab 300 --qkv 1 --bias",
    "llama-scales": LLAMA + "--scales --biases",
    "llama-ff-step": LLAMA + "--ff-step 32",
    "qwen2-fused-separate-bias": QWEN2 + "--qkv 1 --biases",
    "qwen2-fused-bias": QWEN2 + "--qkv 2 --scales --key .use_parallel_residual=bool:1",
    "qwen2-partial-rope": QWEN2 + "--rot 8 --rope-scale 2",
    "qwen3-plain": QWEN3,
    "qwen3-yarn": QWEN3 + YARN + "--key .pooling_type=u32:3",
    "qwen3-fused-partial": QWEN3 + "--qkv 2 --biases --scales --rot 12 --tied",
}
# Head sizes and blocks that take the fused ways through the kernels.
FUSED = {
    "llama-fused-q8": (WIDE + "--arch llama --type Q8_0 --qkv 1", "f16", ("kl", 1e-3)),
    "gemma3-fused-softcap-q4_k": (WIDE.replace("300", "370") + "--arch gemma3 --type Q4_K --window 8 --qkv 1 "
                                  "--key .final_logit_softcapping=f32:5", "f16", ("kl", 1e-3)),
    "qwen2-scales-q4_0": (WIDE + "--arch qwen2 --type Q4_0 --scales", "f16", ("kl", 1e-3)),
}
CASES |= {name: (options, "f32", ("difference", 1e-5 if "--layers 6" in options else 2e-6))
          for name, options in KEYS.items()} | FUSED


def rows_of(name, rows):
    """Those of the logits that are kept."""
    return [rows[i] for i in ROWS] if name in KEYS or name in FUSED else rows


def mkmodel(program, options, path):
    subprocess.run([program, *options.split(), "-o", path], check=True)
