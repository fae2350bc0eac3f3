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
# Dense families, each with what is its own: GROUPED has biases, grouped heads and a head size of its own.
GROUPED = TINY.replace("--heads 2", "--heads 4 --kv-heads 2").replace("--layers 3", "--layers 5")
GEMMAS = GROUPED.replace("300", "370")
KEYS |= {
    "mistral3-plain": "--arch mistral3 " + GROUPED + YARN,
    "mistral3-temperature": "--arch mistral3 " + GROUPED + "--key .attention.temperature_scale=f32:0.7 "
                            "--key .rope.scaling.yarn_log_multiplier=f32:1 " + YARN.replace("u32:32", "u32:8"),
    "internlm2": "--arch internlm2 " + GROUPED,
    "xverse": "--arch xverse " + GROUPED,
    "ernie4_5": "--arch ernie4_5 --biases --tied " + GROUPED,
    "granite": "--arch granite --tied " + GROUPED + "--key .embedding_scale=f32:3 --key .residual_scale=f32:0.4 "
               "--key .logit_scale=f32:2.5 --key .attention.scale=f32:0.11",
    "granite-no-keys": "--arch granite " + GROUPED,
    "minicpm": "--arch minicpm " + GROUPED,
    "minicpm-keys": "--arch minicpm " + GROUPED + "--key .embedding_scale=f32:2 --key .residual_scale=f32:0.5 "
                    "--key .logit_scale=f32:0.5",
    "smollm3": "--arch smollm3 --tied " + GROUPED,
    "maincoder": "--arch maincoder " + GROUPED,
    "glm4": "--arch glm4 --rot 8 " + GROUPED,
    "glm4-fused": "--arch glm4 --rot 8 --qkv 2 " + GROUPED,
    "pangu-embedded": "--arch pangu-embedded --biases " + GROUPED,
    "seed_oss": "--arch seed_oss " + GROUPED,
    "hunyuan-dense": "--arch hunyuan-dense " + GROUPED,
    "phi3-window": "--arch phi3 --window 8 --qkv 1 " + GROUPED,
    "phi3-longrope": "--arch phi3 --window 0 --qkv 1 --rope-factors 2 " + GROUPED + "--key .rope.scaling.attn_factor=f32:1.19 "
                     "--key .rope.scaling.original_context_length=u32:64",
    "phi3-short": "--arch phi3 --window 0 --qkv 1 --rope-factors 2 " + GROUPED + "--key .rope.scaling.attn_factor=f32:1.19 "
                  "--key .rope.scaling.original_context_length=u32:512 --key .rope.scaling.type=str:longrope",
    "olmo2": "--arch olmo2 --window 0 " + GROUPED,
    "olmo3": "--arch olmo2 --window 8 " + GROUPED + YARN,
    "exaone4-small": "--arch exaone4 --window 8 " + GROUPED,
    "exaone4-pattern": "--arch exaone4 --window 8 " + GROUPED + "--key .attention.sliding_window_pattern=u32:4",
    "exaone4-64-layers": "--arch exaone4 --window 8 --ff 32 " + GROUPED.replace("--layers 5", "--layers 64"),
    "arcee": "--arch arcee " + GROUPED,
    "olmo": "--arch olmo --tied " + GROUPED,
    "command-r": "--arch command-r " + GROUPED + "--key .logit_scale=f32:0.0625",
    "cohere2": "--arch cohere2 --window 8 " + GROUPED + "--key .logit_scale=f32:0.25",
    "orion": "--arch orion " + GROUPED,
    "stablelm": "--arch stablelm --rot 4 --bias " + GROUPED,
    "stablelm-parallel": "--arch stablelm --rot 4 --no-ffn-norm " + GROUPED,
    "phi2": "--arch phi2 --rot 8 --biases --qkv 2 " + GROUPED,
    "falcon": "--arch falcon --qkv 1 --tied " + GROUPED,
    "falcon-two-norms": "--arch falcon --qkv 1 --attn-norm-2 " + GROUPED,
    "gptneox": "--arch gptneox --rot 4 --biases --qkv 2 " + GROUPED + "--key .use_parallel_residual=bool:1",
    "gptneox-serial": "--arch gptneox --rot 4 --biases " + GROUPED + "--key .use_parallel_residual=bool:0",
    "starcoder2": "--arch starcoder2 --biases " + GROUPED,
    "granite-4": "--arch granite " + GROUPED + "--key .expert_count=u32:0 --key .expert_used_count=u32:0 "
                 "--key .expert_shared_feed_forward_length=u32:128 --key .ssm.conv_kernel=u32:4 "
                 "--key .ssm.state_size=u32:128 --key .rope.scaling.finetuned=bool:1",
    "granite-no-rope": "--arch granite " + GROUPED + "--key .rope.scaling.finetuned=bool:0",
    "starcoder2-window": "--arch starcoder2 --biases " + GROUPED + "--key .attention.sliding_window=u32:8",
    "llama-window": "--arch llama " + GROUPED + "--key .attention.sliding_window=u32:8",
    "nemotron": "--arch nemotron --rot 8 " + GROUPED,
    "jais2": "--arch jais2 --biases " + GROUPED,
    "baichuan": "--arch baichuan " + GROUPED,
    "chatglm": "--arch chatglm --rot 8 --qkv 2 " + GROUPED,
    "qwen": "--arch qwen --qkv 2 " + GROUPED,
    "exaone": "--arch exaone --rope-freqs --tied " + GROUPED,
    "plamo": "--arch plamo " + GROUPED,
    "codeshell": "--arch codeshell --biases --qkv 2 " + GROUPED,
    "apertus": "--arch apertus " + GROUPED,
    "gemma": "--arch gemma --window 0 " + GEMMAS,
    "gemma2": "--arch gemma2 --window 8 " + GEMMAS,
    "gemma2-caps": "--arch gemma2 --window 8 " + GEMMAS + "--key .attn_logit_softcapping=f32:1.5 "
                   "--key .final_logit_softcapping=f32:3 "
                   "--key .attention.sliding_window_pattern=bool[]:1,1,0,1,0",
    "gemma2-no-caps": "--arch gemma2 --window 8 " + GEMMAS + "--key .attn_logit_softcapping=f32:0 "
                      "--key .final_logit_softcapping=f32:0",
    "gemma2-46-layers": "--arch gemma2 --window 8 --ff 32 " + GEMMAS.replace("--layers 5", "--layers 46"),
}
# The older dense ones: learned positions, biases by distance, norms within, numbers of heads that differ by layer.
KEYS |= {
    "gpt2": "--arch gpt2 --biases --qkv 2 --tied --ctx 32 " + GROUPED.replace("--kv-heads 2", ""),
    "starcoder": "--arch starcoder --biases --qkv 2 --ctx 32 " + GROUPED.replace("--kv-heads 2", "--kv-heads 1"),
    "gptj": "--arch gptj --rot 8 --biases " + GROUPED,
    "bloom": "--arch bloom --biases --qkv 2 --tied " + GROUPED.replace("--heads 4 --kv-heads 2", "--heads 6"),
    "mpt": "--arch mpt --tied --qkv 1 " + GROUPED + "--key .attention.max_alibi_bias=f32:8 --key .attention.clamp_kqv=f32:0.9",
    "mpt-norms": "--arch mpt --tied --row-norms --positions --ctx 32 " + GROUPED,
    "olmo-clamp": "--arch olmo " + GROUPED + "--key .attention.clamp_kqv=f32:0.7",
    "refact": "--arch refact " + GROUPED.replace("--kv-heads 2", "--kv-heads 1"),
    "jais": "--arch jais --biases --qkv 2 " + GROUPED + "--key .attention.max_alibi_bias=f32:6",
    "baichuan-40-layers": "--arch baichuan --ff 32 " + GROUPED.replace("--layers 5", "--layers 40"),
    "deci": "--arch deci --rope-freqs --ff-step 16 " + GROUPED,
    "openelm": "--arch openelm --qkv 1 --ff-step 16 " + GROUPED,
    "bitnet": "--arch bitnet --scales " + GROUPED,
    "bitnet-25": "--arch bitnet-25 " + GROUPED,
    "bitnet-b1.58": "--arch bitnet-b1.58 " + GROUPED,
    "qwen2vl": "--arch qwen2vl " + GROUPED + "--key .rope.dimension_sections=i32[]:2,3,2,1",
    "qwen3vl": "--arch qwen3vl " + GROUPED + "--key .rope.dimension_sections=i32[]:3,3,2,0",
    "paddleocr": "--arch paddleocr " + GROUPED + "--key .rope.dimension_sections=i32[]:2,3,3,0",
    "hunyuan_vl": "--arch hunyuan_vl " + GROUPED + "--key .rope.dimension_sections=i32[]:2,2,2,2 --key .rope.scaling.alpha=f32:50",
    "hunyuan-dense-alpha": "--arch hunyuan-dense " + GROUPED + "--key .rope.scaling.alpha=f32:1000 "
                           "--key .expert_count=u32:1 --key .expert_used_count=u32:1",
    "glm4-sections": "--arch glm4 --rot 8 " + GROUPED + "--key .rope.dimension_sections=i32[]:1,1,1,1",
}
# Recurrent families: layers with a state beside layers with attention, or none of these.
KEYS |= {
    "lfm2": "--arch lfm2 --window 0 " + GROUPED,
    "lfm2-window": "--arch lfm2 --window 8 --taps 4 --attend 3 " + GROUPED,
    "qwen35": "--arch qwen35 --taps 4 --rot 8 " + GROUPED + "--key .rope.dimension_sections=i32[]:1,1,1,1",
    "qwen35-sizes": "--arch qwen35 --taps 4 --attend 4 --ssm-heads 8 --ssm-groups 2 --ssm-state 24 --tied " + GROUPED,
    "mamba": "--arch mamba --taps 4 " + GROUPED,
    "mamba-normed-steps": "--arch mamba --taps 4 --steps-normed --ssm-state 7 --ssm-rank 5 " + GROUPED,
    "mamba2": "--arch mamba2 --taps 4 " + GROUPED,
    "mamba2-sizes": "--arch mamba2 --taps 2 --ssm-heads 8 --ssm-groups 1 --ssm-state 33 " + GROUPED,
    "falcon-h1": "--arch falcon-h1 --taps 4 " + GROUPED,
    "granitehybrid": "--arch granitehybrid --taps 4 --tied " + GROUPED + "--key .embedding_scale=f32:3 "
                     "--key .residual_scale=f32:0.4 --key .logit_scale=f32:2.5 --key .attention.scale=f32:0.11",
    "granitehybrid-no-rope": "--arch granitehybrid --taps 4 " + GROUPED + "--key .rope.scaling.finetuned=bool:0 "
                             "--key .expert_count=u32:0 --key .expert_used_count=u32:0 "
                             "--key .expert_shared_feed_forward_length=u32:96",
    "nemotron_h": "--arch nemotron_h --taps 4 " + GROUPED,
    "lfm2-no-attention": "--arch lfm2 --window 0 --attend 9 --taps 1 " + GROUPED,
}
# Layers with experts: the tables of gating, normalisation, shared experts, leading dense layers, forms of tensors.
MOE = GROUPED.replace("--layers 5", "--layers 3") + "--experts 8 --experts-used 3 --expert-ff 48 "
KEYS |= {
    "mixtral": "--arch llama --experts-used 2 " + MOE,
    "mixtral-old-files": "--arch llama --expert-files 2 " + MOE,
    "mistral3-experts": "--arch mistral3 --expert-files 1 " + MOE + YARN,
    "qwen2moe": "--arch qwen2moe --shared-ff 64 " + MOE,
    "qwen3moe": "--arch qwen3moe " + MOE,
    "qwen3moe-scales": "--arch qwen3moe --scales --biases --expert-ff 40 " + MOE,
    "grovemoe": "--arch grovemoe " + MOE,
    "grovemoe-five": "--arch grovemoe --expert-ff 64 --experts-used 5 " + MOE.replace("--experts-used 3 --expert-ff 48", ""),
    "qwen3moe-all-used": "--arch qwen3moe --experts 3 " + MOE.replace("--experts 8", ""),
    "olmoe": "--arch olmoe " + MOE,
    "granitemoe-no-rope": "--arch granitemoe " + MOE + "--key .rope.scaling.finetuned=bool:0",
    "granitemoe": "--arch granitemoe --shared-ff 32 " + MOE + "--key .embedding_scale=f32:3 --key .residual_scale=f32:0.4 "
                  "--key .logit_scale=f32:2.5 --key .attention.scale=f32:0.11",
    "ernie4_5-moe": "--arch ernie4_5-moe --shared-ff 64 --dense-lead 1 --expert-step 2 --choice-bias --layers 4 "
                    + MOE.replace("--layers 3", ""),
    "dots1": "--arch dots1 --shared-ff 96 --dense-lead 1 --choice-bias " + MOE + "--key .expert_gating_func=u32:2 "
             "--key .expert_weights_norm=bool:1 --key .expert_weights_scale=f32:2.5",
    "dots1-soft-max": "--arch dots1 " + MOE + "--key .expert_weights_norm=bool:0",
    "minimax-m2": "--arch minimax-m2 --choice-bias --rot 8 " + MOE + "--key .expert_gating_func=u32:2",
    "bailingmoe": "--arch bailingmoe --shared-ff 96 " + MOE,
    "bailingmoe2-groups": "--arch bailingmoe2 --shared-ff 96 --dense-lead 1 --choice-bias --nextn 1 --rot 8 --qkv 1 " + MOE
                          + "--experts 12 --key .expert_group_count=u32:4 --key .expert_group_used_count=u32:2",
    "glm4moe": "--arch glm4moe --shared-ff 48 --dense-lead 1 --choice-bias --nextn 1 --rot 8 " + MOE,
    "glm4moe-sections": "--arch glm4moe --shared-ff 48 --dense-lead 1 --choice-bias --rot 8 " + MOE
                        + "--key .rope.dimension_sections=i32[]:1,1,1,1",
    "hy_v3": "--arch hy_v3 --shared-ff 48 --choice-bias " + MOE,
    "exaone-moe": "--arch exaone-moe --window 8 --shared-ff 48 --dense-lead 1 --choice-bias --layers 5 "
                  + MOE.replace("--layers 3", ""),
    "afmoe": "--arch afmoe --window 8 --shared-ff 48 --dense-lead 1 --choice-bias --layers 5 " + MOE.replace("--layers 3", ""),
    "gpt-oss": "--arch gpt-oss --window 8 --biases " + MOE + YARN,
    "lfm2moe": "--arch lfm2moe --window 0 --dense-lead 1 --choice-bias " + MOE,
    "hunyuan-moe": "--arch hunyuan-moe --shared-ff 96 " + MOE,
    "deepseek": "--arch deepseek --shared-ff 96 --dense-lead 1 " + MOE + "--key .expert_weights_scale=f32:1.5",
    "deepseek-dense": "--arch deepseek " + GROUPED,
}
HYBRID = GROUPED + "--taps 4 --experts 8 --experts-used 3 --expert-ff 48 --shared-ff 40 "
KEYS |= {
    "qwen35moe": "--arch qwen35moe --rot 8 --nextn 1 " + HYBRID + "--key .rope.dimension_sections=i32[]:1,1,1,1",
    "qwen35moe-listed": "--arch qwen35moe --rot 8 --ssm-groups 1 " + HYBRID.replace("--layers 5", "--layers 4")
                        + "--key .attention.recurrent_layers=bool[]:1,0,1,0",
    "qwen3next": "--arch qwen3next --rot 4 --ssm-heads 4 --ssm-groups 2 " + HYBRID,
    "qwen3next-first-files": "--arch qwen3next --rot 4 --ssm-files 1 --attend 4 --ssm-heads 8 --ssm-groups 2 --ssm-state 24 "
                             + HYBRID,
    "granitehybrid-experts": "--arch granitehybrid " + HYBRID + "--key .residual_scale=f32:0.4 --key .logit_scale=f32:2.5",
    "nemotron_h_moe": "--arch nemotron_h_moe --choice-bias " + HYBRID,
    "nemotron_h_moe-narrow": "--arch nemotron_h_moe --choice-bias --expert-row 24 " + HYBRID,
}
KEYS |= {
    "kimi-linear": "--arch kimi-linear --choice-bias --dense-lead 1 --head-dim 16 --ssm-state 20 "
                   + HYBRID.replace("--kv-heads 2 ", ""),
    "kimi-linear-whole": "--arch kimi-linear --whole-kv --attend 4 --head-dim 16 --value-dim 24 "
                         + HYBRID.replace("--kv-heads 2 ", ""),
}
# What the converters of today write: yarn's own magnitude (OLMo 3), a layer that guesses (EXAONE 4.5, GLM-OCR).
KEYS |= {
    "olmo3-yarn-factor": "--arch olmo2 --window 8 " + GROUPED + YARN + "--key .rope.scaling.yarn_attn_factor=f32:1.1386294",
    "exaone4-nextn": "--arch exaone4 --nextn 1 " + GROUPED,
    "glm4-nextn": "--arch glm4 --rot 8 --nextn 1 " + GROUPED,
}
MANY = MOE.replace("--layers 3", "--layers 5")
KEYS |= {
    "llama4": "--arch llama4 --window 8 --shared-ff 40 --experts-used 1 " + MANY.replace("--experts-used 3", ""),
    "llama4-128-experts": "--arch llama4 --window 8 --shared-ff 40 --expert-step 2 --experts 128 --experts-used 1 "
                          + MANY.replace("--experts 8 --experts-used 3 ", ""),
    "llama4-no-window": "--arch llama4 --window 0 " + MANY + "--key .attention.sliding_window=u32:0",
    "arctic": "--arch arctic " + MANY,
    "cohere2moe": "--arch cohere2moe --window 8 --dense-lead 1 --shared-ff 40 " + MANY + "--key .logit_scale=f32:0.25",
    "cohere2moe-rms": "--arch cohere2moe --window 8 --dense-lead 2 " + MANY + "--key .logit_scale=f32:0.25 "
                      "--key .attention.layer_norm_rms_epsilon=f32:1e-5",
    "grok": "--arch grok " + MANY + "--key .embedding_scale=f32:2 --key .router_logit_softcapping=f32:2",
    "grok-2": "--arch grok --dense-beside " + MANY + "--key .embedding_scale=f32:2 --key .final_logit_softcapping=f32:3 "
              "--key .attn_logit_softcapping=f32:2 --key .attention.output_scale=f32:0.2",
    "phimoe": "--arch phimoe --biases --rope-factors 2 " + MANY + "--key .rope.scaling.attn_factor=f32:1.19 "
              "--key .rope.scaling.original_context_length=u32:64",
    "smallthinker": "--arch smallthinker --window 8 " + MANY + "--key .expert_gating_func=u32:2",
    "smallthinker-no-window": "--arch smallthinker --window 0 " + MANY,
    "mellum": "--arch mellum --window 8 " + MANY + YARN,
    "granite_swa": "--arch granite_swa --window 8 --tied " + GROUPED + "--key .attention.sliding_window_pattern=bool[]:1,1,0,1,0 "
                   "--key .attention.rope_pattern=bool[]:1,0,1,1,0 --key .residual_scale=f32:0.4 --key .logit_scale=f32:2.5",
    "granite_swa-experts": "--arch granite_swa --window 8 --shared-ff 40 " + MANY
                           + "--key .attention.sliding_window_pattern=bool[]:1,1,0,1,0 --key .logit_scale=f32:2.5",
}
KEYS |= {
    "dbrx": "--arch dbrx --qkv 1 " + MOE + "--key .attention.clamp_kqv=f32:0.9",
    "mimo2": "--arch mimo2 --window 8 --choice-bias --value-dim 24 --rot 8 --qkv 1 " + MANY
             + "--key .attention.sliding_window_pattern=bool[]:1,1,0,1,0 --key .rope.freq_base_swa=f32:500 "
             "--key .attention.value_scale=f32:0.7",
    "laguna": "--arch laguna --window 8 --choice-bias --shared-ff 40 --dense-lead 1 --rot 8 --gate-by-head " + MANY + YARN
              + "--key .rope.freq_base_swa=f32:500 --key .rope.dimension_count_swa=u32:16 --key .rope.scaling.attn_factor=f32:1.2",
    "laguna-no-window": "--arch laguna --window 0 --shared-ff 40 " + MANY,
    "spark2_5": "--arch spark2_5 --window 8 --gate-by-head --tied " + GROUPED + "--key .rope.freq_base_swa=f32:500 "
                "--key .attention.sliding_window_pattern=bool[]:0,1,1,0,1",
    "qwen3vlmoe": "--arch qwen3vlmoe " + MOE + "--key .rope.dimension_sections=i32[]:2,2,2,2",
    "nanbeige": "--arch nanbeige " + GROUPED + "--key .num_loops=u32:3",
    "nanbeige-no-norm": "--arch nanbeige " + GROUPED + "--key .num_loops=u32:2 --key .skip_loop_final_norm=bool:1",
    "minicpm3": "--arch minicpm3 --q-rank 24 --whole-kv --head-dim 16 --value-dim 12 --rope-factors 2 "
                + GROUPED.replace("--kv-heads 2", "").replace("--head-dim 16", "")
                + "--key .rope.scaling.original_context_length=u32:64",
}
GEMMA4 = "--arch gemma4 --window 8 " + TINY.replace("--layers 3", "--layers 6").replace("--vocab 300", "--vocab 370")
KEYS |= {
    "gemma4": GEMMA4 + "--rope-freqs --key .final_logit_softcapping=f32:3",
    "gemma4-sizes": GEMMA4.replace("--heads 2", "--heads 4 --kv-heads 2") + "--local-dim 12 --no-values",
    "gemma4-layers": GEMMA4 + "--layer-width 20 --shared-kv 3 --rope-freqs --ff-step 8",
    "gemma4-experts": GEMMA4 + "--experts 8 --experts-used 3 --expert-ff 48 --expert-files 1 --no-values",
}
# Keys and values from one latent row: both forms of the file, with and without a row for queries, YaRN, other value sizes.
LATENT = MOE.replace("--kv-heads 2 ", "") + "--head-dim 16 --shared-ff 96 --dense-lead 1 "
KEYS |= {
    "deepseek2-lite": "--arch deepseek2 " + LATENT,
    "deepseek2-whole": "--arch deepseek2 --whole-kv --value-dim 24 " + LATENT + YARN
                       + "--key .rope.scaling.yarn_log_multiplier=f32:0.0707",
    "deepseek2-v3": "--arch deepseek2 --q-rank 24 --value-dim 12 --latent-rank 40 --choice-bias --nextn 1 " + LATENT + YARN
                    + "--experts 12 --key .expert_gating_func=u32:2 --key .expert_group_count=u32:4 "
                    "--key .expert_group_used_count=u32:2 --key .rope.scaling.yarn_log_multiplier=f32:0.1",
    "deepseek2-flash": "--arch deepseek2 --layers 47 --nextn 1 --choice-bias --q-rank 24 --ff 32 "
                       + LATENT.replace("--layers 3", ""),
    "mistral4": "--arch mistral4 --q-rank 24 --latent-rank 24 " + LATENT + YARN
                + "--key .attention.temperature_scale=f32:0.4 --key .attention.temperature_length=u32:6 "
                "--key .rope.scaling.yarn_log_multiplier=f32:0.1",
    "deepseek32": "--arch deepseek32 --q-rank 24 --choice-bias --ctx 100 " + LATENT,
    "glm-dsa": "--arch glm-dsa --q-rank 24 --choice-bias --ctx 2000 " + LATENT,
}
# A state of another kind, streams, limits, norms of heads with weights of their own.
HYBRID = TINY.replace("--layers 3", "--layers 4")
KEYS |= {
    "plm": "--arch plm --whole-kv --value-dim 24 " + TINY,
    "muse-glimmer": "--arch muse-glimmer --kv-heads 1 --layers 5 --window 6 --key .logit_scale=f32:0.7 "
                    "--key .final_logit_softcapping=f32:3 --key .rope.freq_base_swa=f32:700 " + TINY.replace("--layers 3", ""),
    "plamo3": "--arch plamo3 --kv-heads 1 --qkv 1 --window 6 --key .attention.sliding_window_pattern=u32:2 " + TINY + YARN,
    "plamo3-plain": "--arch plamo3 --kv-heads 1 --qkv 1 --window 0 " + TINY,
    "step35": "--arch step35 --kv-heads 1 --window 6 --experts 6 --shared-ff 32 --dense-lead 1 --choice-bias --gate-by-head "
              "--key .swiglu_clamp_exp=f32[]:0,0.3,0,0.2 --key .swiglu_clamp_shexp=f32[]:0.25,0.3,0,0.2 "
              "--key .attention.sliding_window_pattern=bool[]:0,1,1,0 --key .rope.freq_base_swa=f32:600 "
              "--key .expert_gating_func=u32:2 " + HYBRID,
    "step35-rot": "--arch step35 --kv-heads 1 --window 6 --rot 12 --key .rope.dimension_count_swa=u32:8 "
                  "--key .attention.sliding_window_pattern=bool[]:0,1,1,0 --key .rope.freq_base_swa=f32:600 " + HYBRID,
    "jamba": "--arch jamba --kv-heads 1 --ssm-rank 6 " + HYBRID,
    "jamba-experts": "--arch jamba --kv-heads 1 --experts 6 --expert-ff 96 --expert-step 2 " + HYBRID,
    "plamo2": "--arch plamo2 --kv-heads 1 --qkv 1 " + HYBRID,
    "rwkv6": "--arch rwkv6 " + HYBRID, "rwkv6-fused": "--arch rwkv6 --ssm-files 1 " + HYBRID,
    "rwkv7": "--arch rwkv7 " + HYBRID, "rwkv7-64": "--arch rwkv7 --type F32 --layers 3 --embd 128 --heads 2 --vocab 300",
    "gemma3n": "--arch gemma3n --kv-heads 1 --layer-width 16 --window 6 --layers 7 " + TINY.replace("--layers 3", ""),
    "gemma3n-shared": "--arch gemma3n --kv-heads 1 --layer-width 16 --window 6 --layers 12 --shared-kv 2 --qkv 1 "
                      + TINY.replace("--layers 3", ""),
    "gemma3n-22-layers": "--arch gemma3n --kv-heads 1 --layer-width 256 --window 6 --layers 22 --ff 64 "
                         "--key .rope.freq_base_swa=f32:700 " + TINY.replace("--layers 3", ""),
    "gemma3n-dense": "--arch gemma3n --kv-heads 1 --layer-width 16 --window 6 --layers 3 "
                     "--key .activation_sparsity_scale=f32[]:0,0.5,-inf " + TINY.replace("--layers 3", ""),
    "command-r-norms": "--arch command-r --kv-heads 1 --each-norms " + TINY,
    "stablelm-norms": "--arch stablelm --kv-heads 1 --each-norms --rot 8 " + TINY,
}
# Head sizes and blocks that take the fused ways through the kernels.
FUSED = {
    "llama-fused-q8": (WIDE + "--arch llama --type Q8_0 --qkv 1", "f16", ("kl", 1e-3)),
    "gemma3-fused-softcap-q4_k": (WIDE.replace("300", "370") + "--arch gemma3 --type Q4_K --window 8 --qkv 1 "
                                  "--key .final_logit_softcapping=f32:5", "f16", ("kl", 1e-3)),
    "granite-q4_k": (WIDE + "--arch granite --type Q4_K --key .residual_scale=f32:0.4 --key .logit_scale=f32:2", "f16",
                     ("kl", 1e-3)),
    "phi2-q4_k": (WIDE + "--arch phi2 --type Q4_K --rot 32 --biases", "f16", ("kl", 1e-3)),
    "cohere2-q8": (WIDE + "--arch cohere2 --type Q8_0 --window 8", "f16", ("kl", 1e-3)),
    "apertus-q8": (WIDE + "--arch apertus --type Q8_0", "f16", ("kl", 1e-3)),
    "nemotron-q5_0": (WIDE + "--arch nemotron --type Q5_0", "f16", ("kl", 1e-3)),
    "olmo2-q8": (WIDE + "--arch olmo2 --type Q8_0 --window 8", "f16", ("kl", 1e-3)),
    "phi3-q6": (WIDE + "--arch phi3 --type Q6_K --window 0 --qkv 1", "f16", ("kl", 1e-3)),
    "hunyuan-dense-q4_0": (WIDE + "--arch hunyuan-dense --type Q4_0", "f16", ("kl", 1e-3)),
    "lfm2-q4_k": (WIDE + "--arch lfm2 --type Q4_K --window 0", "f16", ("kl", 1e-3)),
    "qwen3moe-q4_k": (WIDE + "--arch qwen3moe --type Q4_K --experts 8 --experts-used 3 --expert-ff 256", "f16", ("kl", 1e-3)),
    "qwen2moe-mixed": (WIDE + "--arch qwen2moe --type mixed --experts 6 --experts-used 2 --expert-ff 256 --shared-ff 256", "f16",
                       ("kl", 2e-3)),
    "granitemoe-q8": (WIDE + "--arch granitemoe --type Q8_0 --experts 8 --experts-used 3 --expert-ff 72", "f16", ("kl", 2e-3)),
    "gpt2-q4_k": (WIDE + "--arch gpt2 --type Q4_K --biases --qkv 2 --ctx 64", "f16", ("kl", 1e-3)),
    "bloom-q8": (WIDE + "--arch bloom --type Q8_0 --biases --qkv 2", "f16", ("kl", 1e-3)),
    "mpt-q6": (WIDE + "--arch mpt --type Q6_K --key .attention.max_alibi_bias=f32:8 --key .attention.clamp_kqv=f32:1.5", "f16",
               ("kl", 1e-3)),
    "deci-q8": (WIDE + "--arch deci --type Q8_0 --layers 4", "f16", ("kl", 2e-3)),
    "openelm-q5_0": (WIDE + "--arch openelm --type Q5_0 --qkv 1", "f16", ("kl", 1e-3)),
    "bitnet-tq2": (WIDE + "--arch bitnet-b1.58 --type TQ2_0 --scales", "f16", ("kl", 2e-3)),
    "deepseek2-q4_k": ("--type Q4_K --layers 2 --embd 256 --heads 4 --ff 256 --vocab 300 --arch deepseek2 --q-rank 96 "
                       "--latent-rank 128 --head-dim 64 --value-dim 64 --rot 32 --experts 8 --experts-used 3 --expert-ff 256 "
                       "--shared-ff 256", "f16", ("kl", 3e-3)),
    "rwkv7-q4_k": ("--arch rwkv7 --type Q4_K " + WIDE, "f16", ("kl", 3e-3)),
    "gemma3n-q8": ("--arch gemma3n --type Q8_0 --layer-width 64 --window 8 " + WIDE, "f16", ("kl", 3e-3)),
    "qwen2-scales-q4_0": (WIDE + "--arch qwen2 --type Q4_0 --scales", "f16", ("kl", 1e-3)),
}
# The types of src/tensor/indexed.c that the package gguf can read.
FUSED |= {f"{arch}-{t.lower()}": (f"--arch {arch} --type {t} " + WIDE, "f16", ("kl", 2e-3))
          for t, arch in zip("IQ4_NL IQ4_XS MXFP4 NVFP4 IQ3_S IQ3_XXS IQ2_XXS IQ2_XS IQ2_S IQ1_S IQ1_M TQ1_0 TQ2_0 Q1_0".split(),
                             ("llama", "qwen2", "qwen3", "granite", "olmo2") * 3)}
# A source and its answer, which begins at TOKENS[4]; then logits are those of the answer.
T5 = "--arch t5 --start 5 --heads 4 --type F32 --layers 2 --embd 48 --head-dim 16 --vocab 300 --ff 80 "
KEYS |= {
    "t5": T5 + "--decoder-layers 3",
    "t5-tied": T5 + "--decoder-layers 1 --no-gate --tied --kv-heads 2 --key .attention.relative_buckets_count=u32:32",
}
GROWS = ("--layers 6", "--layers 4", "--arch qwen3next", "--arch t5 ")       # roundings add up
SPARSE = "--arch gemma3n"                                       # and more where most of a gate is cut off just below them
CASES |= {name: (options, "f32", ("difference", 5e-5 if SPARSE in options else 1e-5 if any(o in options for o in GROWS) else 2e-6))
          for name, options in KEYS.items()} | FUSED


def rows_of(name, rows):
    """Those of the logits that are kept."""
    return [rows[i] for i in ROWS if i < len(rows)] if name in KEYS or name in FUSED else rows


def mkmodel(program, options, path):
    subprocess.run([program, *options.split(), "-o", path], check=True)
