"""The models and adapters of tests/e2e/lora.py; tests/golden/lora.py makes their reference from the same list."""
from logits_cases import GROUPED, WIDE

# name: (mkmodel's options, ranks of the adapters, their scales, K/V type, bound as in logits_cases.py)
CASES = {
    "llama": ("--arch llama --type F32 " + GROUPED, (4, 16), (1, -0.5), "f32", ("difference", 2e-6)),
    "qwen2-fused": ("--arch qwen2 --type F32 --qkv 2 " + GROUPED, (16,), (0.75,), "f32", ("difference", 2e-6)),
    "qwen3": ("--arch qwen3 --type F32 --tied " + GROUPED, (3,), (1,), "f32", ("difference", 2e-6)),
    "gemma3": ("--arch gemma3 --type F32 --window 8 " + GROUPED.replace("300", "370"), (16,), (1,), "f32", ("difference", 2e-6)),
    "phi3": ("--arch phi3 --type F32 --window 0 --qkv 1 " + GROUPED, (8,), (1,), "f32", ("difference", 2e-6)),
    "falcon": ("--arch falcon --type F32 --qkv 1 " + GROUPED, (8,), (1,), "f32", ("difference", 2e-6)),
    "llama-q4_k": ("--arch llama --type Q4_K " + WIDE, (16,), (1,), "f16", ("kl", 2e-3)),
}


def adapter_options(options, k, rank):
    """mkmodel's options for adapter k of a model."""
    return f"{options} --lora {rank} --lora-type {('F32', 'F16', 'BF16')[k % 3]} --seed {k + 7}"
