#!/usr/bin/env python3
"""Logits of a GGUF model in float64: what our engine and its rivals are measured against.

A slow, plain forward pass written from the architecture notes, sharing no code with the engine: weights are
dequantised row by row, everything after that is numpy in double precision. Architectures: the keys of TRAITS.
What it does not know it refuses, so that a number it prints is never a guess.

    tools/reference.py -m MODEL.gguf --tokens 1,2,3 -o out.npy
    tools/reference.py -m MODEL.gguf --tokens ids.json --kv f16 --dump layer0.npz

Writes [n_tokens, n_vocab] (float32, or float64 with --f64). Needs numpy and gguf (both on PyPI); only development
uses it: tests in CI compare with what it wrote. Memory stays near 1 GB plus the logits, whatever the model's size.
"""
import argparse
import json
import math
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
import numpy as np
from gguf import GGUFReader, GGMLQuantizationType
from gguf.quants import dequantize

import gguf_types

CHUNK_ELEMENTS = 1 << 24                # of weights dequantised at a time: 128 MB as float64
FLOAT_TYPES = {GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16}


# What each does otherwise than Llama: adjacent = rope turns neighbours; qk = where q and k are normed; out_only = sub-layers read h
# itself; post = their results are normed; up = the gate's rows come first in ffn_up; period = of layers that see all.
TRAITS = {
    "llama": {"adjacent", "windows"}, "mistral3": {"adjacent", "temperature"}, "internlm2": {"adjacent"}, "xverse": {"adjacent"},
    "ernie4_5": {"adjacent"}, "granite": {"adjacent", "scales"}, "minicpm": {"adjacent", "scales"},
    "smollm3": {"adjacent", "no rope 4"}, "maincoder": {"adjacent", "qk last"}, "glm4": {"adjacent", "post", "up"},
    "qwen2": set(), "pangu-embedded": set(),
    "qwen3": {"qk"}, "seed_oss": {"ffn norm is post_attention_norm"}, "hunyuan-dense": {"qk last"}, "phi3": {"up", "windows"},
    "olmo2": {"qk row", "out only", "post", "windows"}, "exaone4": {"qk", "out only", "post", "windows"},
    "gemma": {"gelu", "wide"}, "gemma2": {"gelu", "wide", "post", "windows", "capped"},
    "gemma3": {"gelu", "wide", "qk", "post", "windows", "capped"},
}
LAYER_NORM = {"layer norm"}
PLAIN_GELU = LAYER_NORM | {"gelu", "no gate"}
TRAITS |= {
    "lfm2": {"qk", "windows", "short convolution"},
    "qwen35": {"qk", "delta net", "gated q", "ffn norm is post_attention_norm"},
    "mamba": {"mamba", "one part"}, "mamba2": {"mamba 2", "one part"}, "falcon-h1": {"mamba 2", "beside"},
    "granitehybrid": {"adjacent", "scales", "mamba 2"},
    "nemotron_h": {"mamba 2", "one part", "no rope", "relu2", "no gate"},
    "arcee": {"adjacent", "relu2", "no gate"}, "olmo": LAYER_NORM | {"adjacent"},
    "command-r": LAYER_NORM | {"adjacent", "parallel", "scales"},
    "cohere2": LAYER_NORM | {"adjacent", "parallel", "scales", "windows"},
    "orion": LAYER_NORM, "stablelm": LAYER_NORM | {"parallel without norm"}, "phi2": PLAIN_GELU | {"parallel"},
    "falcon": PLAIN_GELU | {"parallel"}, "gptneox": PLAIN_GELU | {"parallel by key"}, "starcoder2": PLAIN_GELU | {"windows"},
    "nemotron": LAYER_NORM | {"relu2", "no gate"}, "jais2": LAYER_NORM | {"relu2", "no gate"},
}
TRAITS |= {
    "baichuan": {"adjacent"}, "chatglm": {"adjacent", "up"}, "qwen": set(), "exaone": set(), "plamo": {"parallel"},
    "codeshell": PLAIN_GELU, "apertus": {"qk", "no gate", "xielu"},
}
OLD = PLAIN_GELU | {"adjacent"}
TRAITS |= {
    "gpt2": OLD | {"positions", "no rope"}, "starcoder": OLD | {"positions", "no rope"}, "gptj": OLD | {"parallel"},
    "bloom": OLD | {"embedding norm", "no rope", "alibi"}, "refact": {"no rope", "alibi"},
    "mpt": OLD | {"no rope", "alibi 0", "clamp", "qk row if there", "positions"}, "jais": LAYER_NORM | {"no rope", "alibi", "1/d"},
    "deci": {"adjacent", "loose"}, "openelm": {"qk", "loose"}, "bitnet": {"sub norms"}, "bitnet-25": {"sub norms", "relu2"},
    "bitnet-b1.58": {"sub norms", "relu2"}, "qwen2vl": {"sections"}, "qwen3vl": {"qk", "sections 3"}, "paddleocr": {"sections"},
    "hunyuan_vl": {"qk last", "sections", "alpha"},
}
TRAITS["hunyuan-dense"] |= {"alpha"}
TRAITS["glm4"] |= {"sections"}
TRAITS["olmo"] |= {"clamp"}
TRAITS["qwen35"] |= {"sections 3"}
TRAITS["baichuan"] |= {"alibi 40"}
# Of these traits: layers without heads of keys have it in place of attention.
RECURRENT = {"plamo 2", "kda", "short convolution", "mamba", "mamba 2", "delta net"}
BERT = LAYER_NORM | {"encoder", "sum norm"}
TRAITS |= {
    "bert": BERT | {"gelu erf", "no gate", "positions", "no rope"}, "nomic-bert": BERT,
    "jina-bert-v2": BERT | {"gelu erf", "up", "no rope", "alibi", "qk row"}, "jina-bert-v3": BERT | {"gelu erf", "no gate"},
    "modern-bert": LAYER_NORM | {"encoder", "gelu erf", "up", "windows", "dense first"},
    "eurobert": {"encoder"}, "neo-bert": {"encoder", "adjacent", "up"}, "llama-embed": {"encoder", "adjacent"},
    "t5encoder": {"encoder", "gelu", "no rope", "buckets"}, "t5": {"encoder", "gelu", "no rope", "buckets"},
    "gemma-embedding": {"encoder", "gelu", "wide", "qk", "post", "windows"},
}
PERIODS = {"gemma3n": 5, "plamo3": 8, "muse-glimmer": 4, "step35": 0, "gemma4": 0, "mimo2": 0, "laguna": 4, "spark2_5": 0,
          "granite_swa": 0, "llama4": 4, "cohere2moe": 4, "smallthinker": 4, "mellum": 4,
          "lfm2": 0, "lfm2moe": 0, "llama": 0, "starcoder2": 0,
           "exaone-moe": 4, "afmoe": 4, "gpt-oss": 2, "cohere2": 4, "gemma2": 2, "gemma3": 6, "olmo2": 4,
           "exaone4": 4, "phi3": 0, "modern-bert": 3, "gemma-embedding": 6}
# Models that may have experts: gating = what their routers' logits become where the file does not say (1 soft-max, 2 sigmoid, 3
# soft-max of those chosen); norm = the weights of those chosen add up to 1; bias = exp_probs_b counts; shared = one more for all
TRAITS |= {
    "ernie4_5-moe": {"adjacent", "gating 1", "norm", "bias", "shared"},
    "granitemoe": {"adjacent", "scales", "gating 1", "norm", "shared"},
    "qwen2moe": {"gating 1", "shared", "shared gate"}, "qwen3moe": {"qk", "gating 1", "norm"},
    "grovemoe": {"qk", "gating 1", "norm", "adjugate"}, "olmoe": {"qk row", "gating 1"},
    "dots1": {"qk", "gating 1", "norm by key", "bias", "shared"}, "minimax-m2": {"qk row", "gating 2", "norm", "bias"},
    "hunyuan-moe": {"qk last", "gating 1", "norm", "shared"},
}
SIGMOID_BY_KEYS = {"gating 2", "norm by key", "bias", "shared", "groups"}
TRAITS |= {
    "bailingmoe": {"adjacent", "gating 1", "norm by key", "shared"}, "bailingmoe2": SIGMOID_BY_KEYS | {"qk"},
    "glm4moe": SIGMOID_BY_KEYS | {"qk if there", "ffn norm is post_attention_norm", "sections"},
    "hy_v3": SIGMOID_BY_KEYS | {"qk"}, "exaone-moe": SIGMOID_BY_KEYS | {"qk", "windows"},
    "afmoe": SIGMOID_BY_KEYS | {"qk", "wide", "post", "windows", "attention gate"},
    "gpt-oss": {"gating 3", "oai", "sinks", "windows", "ffn norm is post_attention_norm"},
    "lfm2moe": TRAITS["lfm2"] | {"gating 2", "norm", "bias"},
}
SOFTMAX_BY_KEYS = (SIGMOID_BY_KEYS - {"gating 2"}) | {"gating 1"}
TRAITS |= {
    "deepseek": {"adjacent", "gating 1", "shared"},
    "deepseek2": SOFTMAX_BY_KEYS | {"adjacent", "latent", "temperature"},
    "mistral4": SOFTMAX_BY_KEYS | {"adjacent", "latent", "temperature"},
    "deepseek32": SIGMOID_BY_KEYS | {"adjacent", "latent", "indexer"},
    "glm-dsa": SIGMOID_BY_KEYS | {"adjacent", "latent", "indexer"},
}
_shared = {"gating 1", "norm", "shared"}
TRAITS["granitehybrid"] |= _shared
TRAITS["kimi-linear"] = {"kda", "latent", "no rope", "gating 2", "norm", "bias", "shared"}
TRAITS |= {
    "granite_swa": _shared | {"adjacent", "scales", "windows", "sinks", "shared up"},
    "llama4": {"adjacent", "windows", "chunks", "bare qk last", "gating 2", "weigh input", "shared"},
    "arctic": {"adjacent", "gating 1", "norm", "input experts"},
    "cohere2moe": LAYER_NORM | {"adjacent", "parallel", "scales", "windows", "dense first", "gating 2", "norm by key", "shared",
                                "halved"},
    "grok": {"gelu", "post", "scales", "capped", "gating 1", "norm", "router cap", "dense beside"},
    "phimoe": {"gating 1", "norm"}, "smallthinker": {"relu", "windows", "dense first", "gating 1", "norm", "read input"},
    "mellum": {"qk", "windows", "gating 1", "norm"}, "qwen3vlmoe": {"qk", "gating 1", "norm", "sections 3"},
    "gemma4": {"gelu", "wide", "qk", "post", "windows", "capped", "own heads", "gating 1", "norm"},
    "nanbeige": {"adjacent", "loops"}, "minicpm3": {"latent", "scales"},
    "dbrx": LAYER_NORM | {"clamp", "gating 1", "norm"},
    "mimo2": {"own heads", "windows", "sinks", "gating 2", "norm", "bias"},
    "laguna": SIGMOID_BY_KEYS | {"own heads", "qk", "windows", "dense first", "softplus gate"},
    "spark2_5": {"own heads", "gelu", "windows", "attention gate"},
    "nomic-bert-moe": BERT | {"gelu erf", "no gate", "gating 1"},
}
TRAITS |= {
    "qwen35moe": TRAITS["qwen35"] | _shared | {"shared gate"}, "qwen3next": TRAITS["qwen35"] | _shared | {"shared gate"},
    "nemotron_h_moe": TRAITS["nemotron_h"] | {"gating 2", "norm by key", "bias", "shared"},
}
TRAITS |= {
    "plm": {"adjacent", "latent", "relu2", "no gate"}, "plamo3": {"own heads", "qk", "post", "up", "windows"},
    "muse-glimmer": {"adjacent", "qk", "post", "scales", "capped", "windows", "attention gate", "bare embedding norm"},
    "step35": SIGMOID_BY_KEYS | {"own heads", "qk if there", "windows", "attention gate", "half rot", "limits"},
    "jamba": {"mamba", "no rope", "gating 1"}, "plamo2": {"own heads", "plamo 2", "post", "up", "qk each"},
    "rwkv6": LAYER_NORM | {"rwkv 6", "embedding norm", "no rope"}, "rwkv7": LAYER_NORM | {"rwkv 7", "embedding norm", "no rope"},
    "gemma3n": {"gelu", "wide", "qk", "post", "windows", "capped", "streams"},
}
TRAITS["command-r"] |= {"qk each"}
TRAITS["stablelm"] |= {"qk each"}
for _name in ("llama", "mistral3"):
    TRAITS[_name] |= {"gating 1", "norm"}


LOCAL_BASE = ("gemma3", "gemma3n", "modern-bert", "gemma-embedding", "plamo3")       # window layers turn by a base of their own


def values_of(data, dtype):
    """[..., bytes] as [..., elements], f32."""
    if dtype.name not in gguf_types.SIZES:
        return dequantize(data, dtype)
    return gguf_types.decode(dtype.name, data.reshape(-1, gguf_types.SIZES[dtype.name][2])).reshape(*data.shape[:-1], -1)


class Model:
    def __init__(self, path, quantise_activations=False, adapters=()):
        """adapters: (path, scale) of each."""
        self.adapters = [(scale, GGUFReader(p)) for p, scale in adapters]
        self.adapters = [(scale, r.get_field("adapter.lora.alpha").contents(), {t.name: t for t in r.tensors})
                         for scale, r in self.adapters]
        self.reader = GGUFReader(path)
        self.tensors = {t.name: t for t in self.reader.tensors}
        self.tensors = {n.replace("enc.blk.", "blk.").replace(".attn_o.", ".attn_output."): t for n, t in self.tensors.items()}
        self.arch = self.key("general.architecture", full=True)
        self.quantise_activations = quantise_activations
        if self.arch not in TRAITS:
            raise SystemExit(f"architecture '{self.arch}' is not known here; known are {', '.join(TRAITS)}")
        self.traits = TRAITS[self.arch]
        self.unread = set(self.tensors)
        self.n_layers = self.key("block_count") - self.key("nextn_predict_layers", 0)
        self.unread -= {n for n in self.tensors if "indexer" in self.traits and ".indexer." in n}
        self.unread -= {n for n in self.tensors if n.startswith("blk.") and int(n.split(".")[1]) >= self.n_layers}
        self.n_embd = self.key("embedding_length")
        self.n_heads = self.key("attention.head_count")
        self.n_kv_heads = self.key("attention.head_count_kv", self.n_heads)
        per_layer = self.n_kv_heads if isinstance(self.n_kv_heads, list) else [self.n_kv_heads] * self.n_layers
        self.n_kv_heads = max(per_layer)
        ff = self.key("feed_forward_length", 0)
        ff = ff if isinstance(ff, list) else [ff] * self.n_layers
        self.is_feed_forward = ["one part" in self.traits and n > 0 for n in ff]
        self.is_recurrent = [n == 0 and bool(self.traits & RECURRENT) and not f for n, f in zip(per_layer, self.is_feed_forward)]
        if "delta net" in self.traits:
            period = self.key("full_attention_interval", 4)
            self.is_recurrent = [(i + 1) % period != 0 for i in range(self.n_layers)]
            listed = self.key("attention.recurrent_layers", [])
            self.is_recurrent = [bool(x) for x in listed] or self.is_recurrent
        self.heads_of = self.n_heads if isinstance(self.n_heads, list) else [self.n_heads] * self.n_layers
        self.kv_heads_of = per_layer if {"loose", "own heads"} & self.traits else [self.n_kv_heads] * self.n_layers
        self.feeds = [n > 0 for n in ff]
        self.n_heads = max(self.heads_of)
        self.d_k = self.key("attention.key_length", self.n_embd // (self.n_heads or self.n_embd))
        self.d_v = self.key("attention.value_length", self.n_embd // (self.n_heads or self.n_embd))
        self.n_rot = self.key("rope.dimension_count", self.d_k)
        self.n_rot_local = self.key("rope.dimension_count_swa", self.n_rot)
        self.n_rot = self.n_rot // 2 if "half rot" in self.traits else self.n_rot
        if self.arch == "cohere2moe" and self.reader.get_field("cohere2moe.attention.layer_norm_rms_epsilon"):
            self.traits = self.traits - LAYER_NORM
        self.eps = self.key("attention.layer_norm_epsilon" if "layer norm" in self.traits else "attention.layer_norm_rms_epsilon")
        self.parallel = "parallel" in self.traits
        if "parallel without norm" in self.traits:
            self.parallel = "blk.0.ffn_norm.weight" not in self.tensors
        if "parallel by key" in self.traits:
            self.parallel = bool(self.key("use_parallel_residual", True))
        self.scale = self.key("attention.scale", 0.0) or 1.0 / (self.d_k if "1/d" in self.traits else
                                                          np.sqrt(self.key("attention.key_length_mla", self.d_k)))
        self.kept = {}                  # gemma4: keys and values of layers, which others may share
        if self.arch in ("gemma4", "gemma3n"):
            self.scale = self.key("attention.scale", 0.0) or 1.0
            preset = max(0, self.n_layers - 20) if self.arch == "gemma3n" else 0
            shared = self.own = self.n_layers - self.key("attention.shared_kv_layers", preset)
            self.unread -= {n for n in self.tensors if n.startswith("blk.") and int(n.split(".")[1]) >= shared
                            and (".attn_k" in n or ".attn_v" in n)}
        if "buckets" in self.traits:
            self.scale = 1.0
        if self.arch == "grok":
            self.scale = self.key("attention.output_scale", 0.08838834764831845)
        self.clamp = self.key("attention.clamp_kqv", 0.0) if "clamp" in self.traits else 0.0
        known = {"embedding_scale", "residual_scale", "logit_scale"} if "scales" in self.traits else set()
        known |= {"attn_logit_softcapping"} if self.arch in ("gemma2", "grok") else set()
        known |= {"rope.scaling.yarn_log_multiplier", "attention.temperature_scale"} if "temperature" in self.traits else set()
        known |= {"expert_count"} if self.gating() else set()
        known |= {"attention.clamp_kqv"} if "clamp" in self.traits else set()
        known |= {"rope.scaling.alpha"} if "alpha" in self.traits else set()
        for name in ("expert_count", "embedding_scale", "residual_scale", "logit_scale", "attn_logit_softcapping",
                     "attention.clamp_kqv", "use_parallel_residual", "rope.scaling.yarn_log_multiplier", "rope.scaling.alpha",
                     "attention.temperature_scale"):
            if name not in known and self.key(name, 0) not in ((0, 1) if name.endswith(("_scale", "alpha"))
                                         else (0,)) and (self.arch, name) not in (("qwen2", "use_parallel_residual"),
                                                                                       ("gptneox", "use_parallel_residual")):
                raise SystemExit(f"{self.arch}.{name} is not known here")
        self.both_ways = "encoder" in self.traits or not self.key("attention.causal", True)
        self.alibi = 8.0 if "alibi" in self.traits or ("alibi 40" in self.traits and self.n_layers == 40) else 0.0
        if self.arch in ("mpt", "jais", "jina-bert-v2"):
            self.alibi = self.key("attention.max_alibi_bias", self.alibi)
        usual = 1 + 0.1 * np.log(self.key("rope.scaling.factor", 1.0))
        if not any(abs(self.key("rope.scaling.yarn_attn_factor", 1.0) - v) < 1e-4 for v in (1, usual)):
            raise SystemExit("rope.scaling.yarn_attn_factor is not known here")
        self.final_softcap = self.key("final_logit_softcapping", 30.0 if self.arch in ("gemma2", "gemma3n", "gemma4") else 0.0)
        self.attention_softcap = self.key("attn_logit_softcapping", {"gemma2": 50.0, "grok": 30.0}.get(self.arch, 0.0))
        if self.final_softcap and "capped" not in self.traits:
            raise SystemExit(f"{self.arch}.final_logit_softcapping is not known here")
        if self.final_softcap < 0:
            raise SystemExit("negative soft cap")
        # the 27Bs divide by their model width, not by their head size, unless the file says by what
        if (self.arch, self.n_layers) in (("gemma3", 62), ("gemma2", 46)) and not self.key("attention.scale", 0.0):
            self.scale = 1.0 / np.sqrt(self.n_embd // self.n_heads)
        self.read_scales()
        self.read_windows()
        self.read_ropes()

    def key(self, name, default=None, full=False):
        field = self.reader.get_field(name if full else f"{self.arch}.{name}")
        if field is None:
            if default is None:
                raise SystemExit(f"the file has no {name}")
            return default
        return field.contents()

    def gating(self):
        preset = [int(t.split()[1]) for t in self.traits if t.startswith("gating")]
        last = f"blk.{self.n_layers - 1}.exp_probs_b.bias"
        if "latent" in self.traits and self.key("block_count") in (47, 48) and last in self.tensors:
            preset = [2]                # the first files of GLM-4.7-Flash
        return self.key("expert_gating_func", 0) or preset[0] if preset else 0

    def read_scales(self):
        self.embedding_scale = np.sqrt(self.n_embd) if "wide" in self.traits else 1.0
        self.residual_scale = self.logit_divisor = 1.0
        if "scales" in self.traits:
            mini = self.arch in ("minicpm", "minicpm3")
            self.embedding_scale = self.key("embedding_scale", 0.0) or (12.0 if mini else 1.0)
            self.residual_scale = self.key("residual_scale", 0.0) or (1.4 / np.sqrt(self.n_layers) if mini else 1.0)
            self.logit_divisor = self.key("logit_scale", 0.0) or (self.n_embd / 256 if mini else 1.0)
            if self.arch == "grok":
                self.embedding_scale = self.key("embedding_scale", 78.38367176906169)
                self.logit_divisor = self.key("logit_scale", 0.5773502691896257)
            if self.arch in ("command-r", "cohere2", "cohere2moe", "grok", "muse-glimmer"):
                self.logit_divisor = 1 / self.logit_divisor
        self.temperature = self.key("attention.temperature_scale", 0.0)

    def read_windows(self):
        self.window, self.is_local = 0, [False] * self.n_layers
        pattern = "attention.sliding_window_pattern"
        if "windows" not in self.traits:
            return
        default = {"llama4": 8192, "gemma2": 4096, "exaone4": 4096, "cohere2": 4096}
        self.window = self.key("attention.sliding_window", default.get(self.arch, 0))
        if self.arch == "exaone4" and self.n_layers != 64 and self.reader.get_field(f"{self.arch}.{pattern}") is None:
            self.window = 0
        period = self.key(pattern, PERIODS[self.arch])
        if self.window and isinstance(period, list):
            self.is_local = [bool(p) for p in period]
        elif self.window:
            dense = 0 if "dense first" in self.traits else period - 1
            self.is_local = [period == 0 or i % period != dense for i in range(self.n_layers)]

    def has_rope(self, i):
        if "no rope" in self.traits or ("alibi 40" in self.traits and self.alibi):
            return False
        if self.arch in ("granite", "granitemoe", "granitehybrid") and not self.key("rope.scaling.finetuned", True):
            return False
        listed = self.key("attention.rope_pattern", []) if self.arch == "granite_swa" else []
        if listed:
            return bool(listed[i])
        if self.arch == "cohere2moe" and i < self.key("leading_dense_block_count", 0):
            return True
        if "no rope 4" in self.traits:
            return (i + 1) % 4 != 0
        only_local = ("muse-glimmer", "exaone4", "cohere2", "exaone-moe", "afmoe", "llama4", "cohere2moe", "smallthinker")
        return self.arch not in only_local or not any(self.is_local) or self.is_local[i]

    def read_ropes(self):
        """self.rope_global and self.rope_local: (radians a position of each rotary pair, magnitude of the rotated)."""
        base = self.key("rope.freq_base", 10000.0)
        if "alpha" in self.traits and self.key("rope.scaling.alpha", 0.0):
            base *= self.key("rope.scaling.alpha") ** (self.d_k / (self.d_k - 2))
        kind = self.key("rope.scaling.type", "linear")
        if kind not in ("none", "linear", "yarn", "longrope"):
            raise SystemExit(f"rope scaling '{kind}' is not known here")
        factor = self.key("rope.scaling.factor", self.key("rope.scale_linear", 0.0)) or 1.0
        if kind == "none":
            factor = 1.0
        magnitude = self.key("rope.scaling.attn_factor", 1.0)
        ext = self.key("rope.scaling.yarn_ext_factor", 1.0 if kind == "yarn" else 0.0)
        plain = self.plain(base)
        sections = self.key("rope.dimension_sections", [0])
        self.sections = any(sections) and bool({"sections", "sections 3"} & self.traits)
        if self.sections:               # in a text the last position is 0, the others are the same
            at = np.arange(len(plain)) % sum(sections)
            last = at >= 3 * np.array(sections)[at % 3] if "sections 3" in self.traits else at >= sum(sections[:3])
            plain = np.where(last, 0, plain)
        frequency = plain / factor
        magnitude_local = 1.0 if self.arch in ("mellum", "laguna") else magnitude
        base_local = self.key("rope.freq_base_swa", 10000.0 if self.arch in LOCAL_BASE else base)
        n_local = self.n_rot_local if self.arch in ("laguna", "gemma4", "step35") else self.n_rot
        plain_local = (self.plain(base_local, n_local), magnitude_local)
        if ext:
            context = self.key("rope.scaling.original_context_length", self.key("context_length"))

            def pair_of(turns):
                return self.n_rot * np.log(context / (turns * 2 * np.pi)) / (2 * np.log(base))

            low = max(0.0, np.floor(pair_of(self.key("rope.scaling.yarn_beta_fast", 32.0))))
            high = min(self.n_rot - 1.0, np.ceil(pair_of(self.key("rope.scaling.yarn_beta_slow", 1.0))))
            ramp = 1 - np.clip((np.arange(len(plain)) - low) / max(0.001, high - low), 0, 1)
            frequency = frequency * (1 - ramp * ext) + plain * ramp * ext
            multiplier = self.key("rope.scaling.yarn_log_multiplier", 0.0)
            if "latent" in self.traits:          # in the scale of scores; the key holds a tenth already
                self.scale *= (magnitude * (1 + multiplier * np.log(factor))) ** 2
            else:
                magnitude = magnitude * (1 + 0.1 * np.log(factor)) / (1 + 0.1 * multiplier * np.log(factor))
        if "rope_factors_long.weight" in self.tensors:
            original = self.key("rope.scaling.original_context_length", self.key("context_length"))
            kinds = ("rope_factors_short.weight", "rope_factors_long.weight")
            factors = [self.weight(name) for name in kinds][self.key("context_length") > original]
            frequency = frequency / factors
        elif self.arch not in LOCAL_BASE and "rope_freqs.weight" in self.tensors:
            frequency = frequency / self.weight("rope_freqs.weight")[: len(frequency)]
        self.rope_global = (frequency, magnitude)
        own = LOCAL_BASE + ("muse-glimmer", "step35", "olmo2", "mellum", "laguna", "mimo2", "spark2_5", "gemma4")
        self.rope_local = plain_local if self.arch in own else self.rope_global

    def plain(self, base, n_rot=0):
        n_rot = n_rot or self.n_rot
        return np.float64(base) ** (-2.0 * np.arange(n_rot // 2) / n_rot)

    def weight(self, name):
        """A whole tensor (vectors and embeddings rows go through here) as float64."""
        t = self.take(name)
        return values_of(t.data, t.tensor_type).astype(np.float64).reshape(tuple(int(n) for n in t.shape[::-1]))

    def xielu(self, x):
        p, n, beta, eps = (float(self.key("xielu." + name, full=True)) for name in ("alpha_p", "alpha_n", "beta", "eps"))
        p, n = np.log1p(np.exp(p)), beta + np.log1p(np.exp(n))
        return np.where(x > 0, p * x * x + beta * x, (np.expm1(np.minimum(x, eps)) - x) * n + beta * x)

    def take(self, name):
        self.unread.discard(name)
        return self.tensors[name]

    def rows(self, name, ids):
        t = self.take(name)
        data = t.data.reshape(int(t.shape[1]), -1)
        return values_of(np.ascontiguousarray(data[ids]), t.tensor_type).astype(np.float64)

    def linear(self, name, x, out=None):
        """x [n, k] times the transposed matrix [m, k], plus the bias where the file has one."""
        t = self.take(name + ".weight")
        k, m = int(t.shape[0]), int(t.shape[1])
        if x.shape[1] != k:
            raise SystemExit(f"{name}: {k} columns meet {x.shape[1]} values")
        if self.quantise_activations and t.tensor_type not in FLOAT_TYPES:
            x = int8_per_32(x)
        data = t.data.reshape(m, -1)
        y = np.empty((x.shape[0], m)) if out is None else out
        step = max(1, CHUNK_ELEMENTS // k)
        for r in range(0, m, step):
            w = values_of(np.ascontiguousarray(data[r : r + step]), t.tensor_type).astype(np.float64)
            y[:, r : r + step] = x @ w.reshape(-1, k).T
        if name + ".scale" in self.tensors and name != "output" and not (self.arch == "gemma4" and "ffn_gate_inp" in name):
            y *= self.weight(name + ".scale")
        if name + ".bias" in self.tensors:
            y += self.weight(name + ".bias")
        for scale, alpha, tensors in self.adapters:
            if name + ".weight.lora_a" in tensors:
                a, b = (dequantize(t.data, t.tensor_type).astype(np.float64).reshape(tuple(int(n) for n in t.shape[::-1]))
                        for t in (tensors[name + ".weight.lora_a"], tensors[name + ".weight.lora_b"]))
                y += scale * (alpha / a.shape[0] if alpha else 1.0) * (x @ a.T @ b.T)
        return y

    def expert(self, stem, e, x, end="exps"):
        """x times expert e's matrix, with its scale and bias."""
        if f"{stem}_{end}.weight" not in self.tensors:
            return self.linear(f"{stem}.{e}", x)
        t = self.take(f"{stem}_{end}.weight")
        k, m, n = (int(v) for v in t.shape)
        if self.quantise_activations and t.tensor_type not in FLOAT_TYPES:
            x = int8_per_32(x)
        w = dequantize(np.ascontiguousarray(t.data.reshape(n, m, -1)[e]), t.tensor_type).astype(np.float64)
        y = x @ w.reshape(m, k).T
        for kind, join in (("scale", np.multiply), ("bias", np.add)):
            if f"{stem}_{end}.{kind}" in self.tensors:
                y = join(y, self.weight(f"{stem}_{end}.{kind}").reshape(n, -1)[e])
        return y

    def has_experts(self, i):
        if self.arch == "jamba":
            return f"blk.{i}.ffn_gate_inp.weight" in self.tensors
        if self.arch == "nomic-bert-moe":
            return i % self.key("moe_every_n_layers", 2) == 1
        return (self.key("expert_count", 0) > 0 and i >= self.key("leading_dense_block_count", 0)
                and (i + 1) % max(1, self.key("interleave_moe_layer_step", 1)) == 0)

    def experts(self, blk, x, act, source=None):
        """The weighted sum of what the chosen experts make of each row, and the shared expert. The router reads source."""
        used, gating = self.key("expert_used_count"), self.gating()
        logits = self.linear(blk + "ffn_gate_inp", x if source is None else source)
        if "router cap" in self.traits:
            cap = self.key("router_logit_softcapping", 30.0)
            logits = cap * np.tanh(logits / cap) if cap else logits
        p = logits if gating == 3 else 1 / (1 + np.exp(-logits)) if gating == 2 else soft_max(logits)
        score = logits.copy() if "weigh input" in self.traits else p.copy()
        for name in ("exp_probs_b", "exp_probs_b.bias"):
            if "bias" in self.traits and blk + name in self.tensors:
                score += self.weight(blk + name)
        groups = self.key("expert_group_count", 0)
        if groups > 1 and "groups" in self.traits:
            two = np.sort(score.reshape(len(x), groups, -1), axis=2)[:, :, -2:].sum(axis=2)
            best = np.argsort(-two, axis=1, kind="stable")[:, : self.key("expert_group_used_count")]
            kept = np.zeros((len(x), groups), bool)
            np.put_along_axis(kept, best, True, axis=1)
            score = np.where(np.repeat(kept, score.shape[1] // groups, axis=1), score, -np.inf)
        chosen = np.argsort(-score, axis=1, kind="stable")[:, :used]
        w = np.take_along_axis(p, chosen, axis=1)
        if gating == 3:
            w = soft_max(w)
        if "norm" in self.traits or ("norm by key" in self.traits and self.key("expert_weights_norm", False)):
            w = w / np.maximum(w.sum(axis=1, keepdims=True), 2.0**-14)
        w = w * (self.key("expert_weights_scale", 0.0) or 1.0)
        read = self.linear(blk + "ffn_latent_down", x) if blk + "ffn_latent_down.weight" in self.tensors else x
        y = np.zeros_like(read)
        for e in range(logits.shape[1]):
            rows, rank = np.nonzero(chosen == e)
            if "weigh input" in self.traits:
                scaled = w[rows, rank][:, None] * read[rows]
                y[rows] += self.expert(blk + "ffn_down", e, self.joined(act, self.expert(blk + "ffn_gate", e, scaled),
                                                                        self.expert(blk + "ffn_up", e, scaled)))
                continue
            if "no gate" in self.traits:
                inner = act(self.expert(blk + "ffn_up", e, read[rows]))
                y[rows] += w[rows, rank][:, None] * self.expert(blk + "ffn_down", e, inner)
                continue
            if blk + "ffn_gate_up_exps.weight" in self.tensors:
                gate, up = np.split(self.expert(blk + "ffn_gate_up", e, read[rows]), 2, axis=1)
            else:
                gate, up = (self.expert(blk + f"ffn_{s}", e, read[rows]) for s in ("gate", "up"))
            limit = self.limit("swiglu_clamp_exp", blk)
            y[rows] += w[rows, rank][:, None] * self.expert(blk + "ffn_down", e, self.joined(act, gate, up, limit))
            if "adjugate" in self.traits:        # as its authors compute it; llama.cpp reads y here in place of x, by other weights
                half = e // self.key("experts_per_group")
                gate, up = (self.expert(blk + f"ffn_{s}", half, x[rows], "chexps") for s in ("gate", "up"))
                y[rows] += w[rows, rank][:, None] * self.key("expert_group_scale") \
                    * self.expert(blk + "ffn_down", half, act(gate) * up, "chexps")
        if read is not x:
            y = self.linear(blk + "ffn_latent_up", y)
        if "shared" in self.traits and blk + "ffn_up_shexp.weight" in self.tensors:
            s = self.linear(blk + "ffn_up_shexp", x)
            if "shared up" in self.traits:
                gate, s = np.split(s, 2, axis=1)
                s = act(gate) * s
            else:
                s = act(s) if "no gate" in self.traits else self.joined(act, self.linear(blk + "ffn_gate_shexp", x), s,
                                                                        self.limit("swiglu_clamp_shexp", blk))
            s = self.linear(blk + "ffn_down_shexp", s)
            if "shared gate" in self.traits:
                s = s / (1 + np.exp(-x @ self.weight(blk + "ffn_gate_inp_shexp.weight").reshape(-1, 1)))
            y += s
            y *= 0.5 if "halved" in self.traits else 1
        if "dense beside" in self.traits and blk + "ffn_up.weight" in self.tensors:
            inner = act(self.linear(blk + "ffn_gate", x)) * self.linear(blk + "ffn_up", x)
            y = (y + self.linear(blk + "ffn_down", inner)) * np.sqrt(0.5)
        return y

    def limit(self, name, blk):
        """Of what is inside a feed-forward part; 0: none."""
        of = self.key(name, 0.0) if "limits" in self.traits else 0.0
        return of[int(blk.split(".")[1])] if isinstance(of, list) else of

    def joined(self, act, gate, up, limit=0.0):
        if limit > 1e-6:
            return np.minimum(act(gate), limit) * np.clip(up, -limit, limit)
        if "oai" not in self.traits:
            return act(gate) * up
        gate, up = np.minimum(gate, 7.0), np.clip(up, -7.0, 7.0)
        return (up + 1) * gate / (1 + np.exp(-1.702 * gate))

    def projections(self, blk, x):
        """q, k and v, from one matrix or from three."""
        i = int(blk.split(".")[1])
        widths = [self.heads_of[i] * self.d_k, self.kv_heads_of[i] * self.d_k, self.kv_heads_of[i] * self.d_v]
        names = ["attn_q", "attn_k", "attn_v"]
        if blk + "attn_qkv.weight" not in self.tensors:
            parts = [self.linear(blk + name, x) for name in names]
        else:
            parts = np.split(self.linear(blk + "attn_qkv", x), np.cumsum(widths)[:-1], axis=1)
            parts = [p + self.weight(blk + name + ".bias") if blk + name + ".bias" in self.tensors else p
                     for p, name in zip(parts, names)]
        return [np.clip(p, -self.clamp, self.clamp) for p in parts] if self.clamp else parts

    def norm(self, name, x):
        if "layer norm" in self.traits:
            x = x - np.mean(x, axis=-1, keepdims=True)
            x = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps)
            if self.arch != "olmo":
                x = x * self.weight(name + ".weight")
            return x + self.weight(name + ".bias") if name + ".bias" in self.tensors else x
        name = name + ".weight" if name + ".weight" in self.tensors else name            # Falcon-H1's ffn_norm
        x = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps) * self.weight(name)
        bias = name.replace(".weight", ".bias")
        return x + self.weight(bias) if self.arch == "phimoe" and bias in self.tensors else x


def int8_per_32(x):
    """The contract's activation quantisation, to see what it alone costs."""
    n, k = x.shape
    pad = -k % 32
    b = np.pad(x, ((0, 0), (0, pad))).reshape(n, -1, 32)
    amax = np.abs(b).max(axis=2, keepdims=True)
    d = np.where(amax < 2.0**-100, 1.0, amax / 127.0)
    return (np.where(amax < 2.0**-100, 0.0, np.rint(b / d)) * d).reshape(n, -1)[:, :k]


def rope(x, frequency, magnitude, adjacent, first_position):
    """x [n, heads, d]; pairs are neighbours (llama) or half a rotation apart (the others)."""
    half = len(frequency)
    angle = (first_position + np.arange(x.shape[0]))[:, None, None] * frequency
    c, s = magnitude * np.cos(angle), magnitude * np.sin(angle)
    y = x.copy()
    a, b = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if adjacent else (slice(0, half), slice(half, 2 * half))
    y[..., a] = x[..., a] * c - x[..., b] * s
    y[..., b] = x[..., a] * s + x[..., b] * c
    return y


def t5_bucket(distance, buckets=32, most=128):
    """As T5 was trained: half of the buckets for keys behind the query; of those the first half for distances of their own."""
    side, exact = buckets // 2, buckets // 4
    far = np.abs(distance)
    wide = exact + np.log(np.maximum(far, 1) / exact) / np.log(most / exact) * (side - exact)
    return np.where(distance > 0, side, 0) + np.where(far < exact, far, np.minimum(np.floor(wide + 1e-9), side - 1).astype(int))


def attention(q, k, v, scale, window, cap=0.0, sinks=None, both_ways=False, alibi=0.0, chunks=False, buckets=None):
    """q [n, heads, d], k and v [n, kv heads, d]: causal, the last `window` keys only unless it is 0. sinks: one more logit of each
    head, without a value. both_ways: all keys, or those at most window / 2 away. alibi: the largest bias by distance."""
    n, n_heads, _ = q.shape
    group = n_heads // k.shape[1]
    p, j = np.arange(n)[:, None], np.arange(n)[None, :]
    far = p - j >= window if not both_ways else np.abs(p - j) > window // 2
    far = p // window != j // window if chunks and window else far
    hidden = (np.zeros((n, n), bool) if both_ways else j > p) | (far if window else False)
    power = 2 ** int(np.floor(np.log2(n_heads)))
    slopes = [2 ** (-alibi * (h + 1) / power) if h < power else 2 ** (-alibi * (2 * (h - power) + 1) / (2 * power))
              for h in range(n_heads)]
    out = np.empty((n, n_heads, v.shape[2]))
    for h in range(n_heads):
        score = q[:, h] @ k[:, h // group].T * scale
        if cap:
            score = cap * np.tanh(score / cap)
        if alibi:
            score -= slopes[h] * np.abs(p - j)
        if buckets is not None:
            score += buckets[t5_bucket(j - p), h]
        score[hidden] = -np.inf
        most = score.max(axis=1, keepdims=True)
        if sinks is not None:
            most = np.maximum(most, sinks[h])
        e = np.exp(score - most)
        beside = np.exp(sinks[h] - most) if sinks is not None else 0.0
        out[:, h] = e @ v[:, h // group] / (e.sum(axis=1, keepdims=True) + beside)
    return out.reshape(n, -1)


def soft_max(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def silu(x):
    return x / (1.0 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def convolve(model, name, x):
    """Causal, channel by channel: y[t] = sum over j of w[:, j] * x[t - taps + 1 + j] (+ bias)."""
    w = model.weight(name + ".weight")
    w = w.reshape(x.shape[1], -1)
    taps = w.shape[1]
    padded = np.concatenate([np.zeros((taps - 1, x.shape[1])), x])
    y = sum(padded[j : j + len(x)] * w[:, j] for j in range(taps))
    return y + model.weight(name + ".bias") if name + ".bias" in model.tensors else y


def short_convolution(model, blk, x):
    b, c, x = np.split(model.linear(blk + "shortconv.in_proj", x), 3, axis=1)
    return model.linear(blk + "shortconv.out_proj", c * convolve(model, blk + "shortconv.conv", b * x))


def softplus(x):
    return np.logaddexp(0, x)


def mamba(model, blk, x):
    inner, n = model.key("ssm.inner_size"), model.key("ssm.state_size")
    u, z = np.split(model.linear(blk + "ssm_in", x), 2, axis=1)
    u = silu(convolve(model, blk + "ssm_conv1d", u))
    rank = model.key("ssm.time_step_rank")
    dt, b, c = np.split(model.linear(blk + "ssm_x", u), [rank, rank + n], axis=1)
    if blk + "ssm_dt_norm.weight" in model.tensors:      # Jamba's
        dt, b, c = (model.norm(f"{blk}ssm_{name}_norm", v) for name, v in (("dt", dt), ("b", b), ("c", c)))
    if model.key("ssm.dt_b_c_rms", False):
        dt, b, c = (v / np.sqrt(np.mean(v * v, axis=1, keepdims=True) + model.eps) for v in (dt, b, c))
    dt = softplus(model.linear(blk + "ssm_dt", dt))
    a, d = model.weight(blk + "ssm_a"), model.weight(blk + "ssm_d")
    state, y = np.zeros((inner, n)), np.empty((len(x), inner))
    for t in range(len(x)):
        state = state * np.exp(dt[t][:, None] * a) + (dt[t] * u[t])[:, None] * b[t]
        y[t] = state @ c[t] + d * u[t]
    return model.linear(blk + "ssm_out", y * silu(z))


def mamba2(model, blk, x):
    inner, n, groups = (model.key("ssm." + k) for k in ("inner_size", "state_size", "group_count"))
    heads = model.key("ssm.time_step_rank")
    z, xbc, dt = np.split(model.linear(blk + "ssm_in", x), [inner, 2 * inner + 2 * groups * n], axis=1)
    xbc = silu(convolve(model, blk + "ssm_conv1d", xbc))
    u, b, c = np.split(xbc, [inner, inner + groups * n], axis=1)
    dt = softplus(dt + model.weight(blk + "ssm_dt.bias"))
    a, d = (model.weight(blk + k).reshape(-1) for k in ("ssm_a", "ssm_d"))
    u, b, c = u.reshape(len(x), heads, -1), b.reshape(len(x), groups, n), c.reshape(len(x), groups, n)
    state, y = np.zeros((heads, inner // heads, n)), np.empty((len(x), heads, inner // heads))
    for t in range(len(x)):
        for h in range(heads):
            g = h // (heads // groups)
            state[h] = state[h] * np.exp(dt[t, h] * a[h]) + dt[t, h] * np.outer(u[t, h], b[t, g])
            y[t, h] = state[h] @ c[t, g] + d[h] * u[t, h]
    y = y.reshape(len(x), inner) * silu(z)
    if blk + "ssm_norm.weight" in model.tensors:
        parts = y.reshape(len(x), groups, -1)
        parts = parts / np.sqrt(np.mean(parts * parts, axis=2, keepdims=True) + model.eps)
        y = (parts * model.weight(blk + "ssm_norm.weight")).reshape(len(x), inner)
    return model.linear(blk + "ssm_out", y)


def plamo2(model, blk, x):
    n, inner, d, heads = len(x), *(model.key("ssm." + k) for k in ("inner_size", "state_size", "time_step_rank"))
    zx = model.linear(blk + "ssm_in", x).reshape(n, heads, 2, -1)
    z, u = zx[:, :, 0].reshape(n, -1), zx[:, :, 1].reshape(n, -1)
    u = silu(convolve(model, blk + "ssm_conv1d", u))
    b, c, dt = np.split(model.linear(blk + "ssm_x", u), [d, 2 * d], axis=1)
    b, c, dt = (model.norm(f"{blk}ssm_{name}_norm", v) for name, v in (("b", b), ("c", c), ("dt", dt)))
    dt = softplus(model.linear(blk + "ssm_dt", dt))
    a, skip = (model.weight(blk + k).reshape(-1) for k in ("ssm_a", "ssm_d"))
    u = u.reshape(n, heads, -1)
    state, y = np.zeros((heads, inner // heads, d)), np.empty(u.shape)
    for t in range(n):
        state = state * np.exp(dt[t] * a)[:, None, None] + (dt[t][:, None] * u[t])[:, :, None] * b[t]
        y[t] = state @ c[t] + skip[:, None] * u[t]
    return model.linear(blk + "ssm_out", y.reshape(n, -1) * silu(z))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def before(x):
    """The row before each."""
    return np.concatenate([np.zeros((1, x.shape[1])), x[:-1]])


def lerps(model, name, n):
    """[parts, n]"""
    return model.weight(name + ".weight").reshape(-1, n)


def head_norms(model, blk, o):
    o = o - o.mean(axis=2, keepdims=True)
    o = (o / np.sqrt(np.mean(o * o, axis=2, keepdims=True) + 64e-5)).reshape(len(o), -1)
    return o * model.weight(blk + "time_mix_ln.weight") + model.weight(blk + "time_mix_ln.bias")


def time_mix6(model, blk, x):
    n, size, d = len(x), model.n_embd, model.key("wkv.head_size")
    move = before(x) - x
    by = np.tanh(model.linear(blk + "time_mix_w1", x + move * lerps(model, blk + "time_mix_lerp_x", size)[0])).reshape(n, 5, -1)
    by = np.einsum("ncr,cor->cno", by, model.weight(blk + "time_mix_w2.weight"))
    if blk + "time_mix_lerp_fused.weight" in model.tensors:
        own = lerps(model, blk + "time_mix_lerp_fused", size)
    else:
        own = [lerps(model, blk + "time_mix_lerp_" + c, size)[0] for c in "wkvrg"]
    w, k, v, r, g = (x + move * (by[c] + own[c]) for c in range(5))
    r, k, v = (model.linear(blk + "time_mix_" + name, y).reshape(n, -1, d)
               for name, y in (("receptance", r), ("key", k), ("value", v)))
    w = model.linear(blk + "time_mix_decay_w2", np.tanh(model.linear(blk + "time_mix_decay_w1", w)))
    w = np.exp(-np.exp(w + model.weight(blk + "time_mix_decay.weight"))).reshape(n, -1, d)
    first = model.weight(blk + "time_mix_first.weight").reshape(-1, d)
    state, o = np.zeros((size // d, d, d)), np.empty(v.shape)
    for t in range(n):
        new = k[t][:, :, None] * v[t][:, None, :]
        o[t] = np.einsum("hkv,hk->hv", state + first[:, :, None] * new, r[t])
        state = state * w[t][:, :, None] + new
    return model.linear(blk + "time_mix_output", head_norms(model, blk, o) * silu(model.linear(blk + "time_mix_gate", g)))


def time_mix7(model, blk, x):
    n, size, d, i = len(x), model.n_embd, model.key("wkv.head_size"), int(blk.split(".")[1])
    gated = blk + "time_mix_g1.weight" in model.tensors
    parts = x + (before(x) - x) * lerps(model, blk + "time_mix_lerp_fused", size)[:, None, :]
    r, w, k, v, a = parts[:5]

    def low_rank(name, y, between=lambda z: z):
        z = model.linear(f"{blk}time_mix_{name}2", between(model.linear(f"{blk}time_mix_{name}1", y)))
        return z + model.weight(f"{blk}time_mix_{name}0.weight") if f"{blk}time_mix_{name}0.weight" in model.tensors else z

    of_v = v
    r, k, v = (model.linear(blk + "time_mix_" + name, y) for name, y in (("receptance", r), ("key", k), ("value", v)))
    if i == 0:
        model.kept["v"] = v
        model.unread -= {f"blk.0.time_mix_v{c}.weight" for c in "012"}
    else:
        v = v + (model.kept["v"] - v) * sigmoid(low_rank("v", of_v))
    w = np.exp(-0.606531 * sigmoid(low_rank("w", w, np.tanh)))
    a = sigmoid(low_rank("a", a))
    kk = (k * model.weight(blk + "time_mix_k_k.weight")).reshape(n, -1, d)
    kk = kk / np.maximum(np.sqrt((kk * kk).sum(axis=2, keepdims=True)), 1e-12)
    k = k + (a - 1) * (k * model.weight(blk + "time_mix_k_a.weight"))
    r, w, k, v, a = (y.reshape(n, -1, d) for y in (r, w, k, v, a))
    state, o = np.zeros((size // d, d, d)), np.empty(v.shape)              # [head, value, key]
    for t in range(n):
        had = np.einsum("hvk,hk->hv", state, kk[t])
        state = state * w[t][:, None, :] - had[:, :, None] * (kk[t] * a[t])[:, None, :] + v[t][:, :, None] * k[t][:, None, :]
        o[t] = np.einsum("hvk,hk->hv", state, r[t])
    bonus = (r * k * model.weight(blk + "time_mix_r_k.weight").reshape(-1, d)).sum(axis=2, keepdims=True) * v
    o = head_norms(model, blk, o) + bonus.reshape(n, -1)
    if gated:
        o = o * low_rank("g", parts[5], sigmoid)
    return model.linear(blk + "time_mix_output", o)


def rwkv_layer(model, i, h):
    blk, six = f"blk.{i}.", "rwkv 6" in model.traits
    h = h + (time_mix6 if six else time_mix7)(model, blk, model.norm(blk + "attn_norm", h))
    x = model.norm(blk + "attn_norm_2", h)
    move = before(x) - x
    y = model.linear(blk + "channel_mix_key", x + move * lerps(model, blk + "channel_mix_lerp_k", model.n_embd)[0])
    y = model.linear(blk + "channel_mix_value", np.maximum(y, 0) ** 2)
    if six:
        to = x + move * lerps(model, blk + "channel_mix_lerp_r", model.n_embd)[0]
        y = y * sigmoid(model.linear(blk + "channel_mix_receptance", to))
    period = model.key("rescale_every_n_layers", 0) if six else 0
    return (h + y) * (0.5 if period and (i + 1) % period == 0 else 1.0)


def magnitude_of(x):
    return np.sqrt(np.maximum(np.mean(x * x, axis=-1, keepdims=True), 1e-5))


def matched(x, like):
    return x * np.sqrt(np.mean(like * like, axis=-1, keepdims=True)) / magnitude_of(x)


def modalities(model, blk, z):
    return np.tanh(model.linear(blk + "altup_router", model.norm(blk + "altup_router_norm", z) / model.n_embd))


def streams_layer(model, i, s, inputs, act):
    """s [4, n, width]"""
    blk, n = f"blk.{i}.", s.shape[1]
    c = model.linear(blk + "altup_predict_coef", modalities(model, blk, s[0])).reshape(n, 4, 4)
    p = s + np.einsum("nkj,jnw->knw", c, s)
    a = model.norm(blk + "attn_norm", p[0])
    low = model.linear(blk + "laurel_r", model.linear(blk + "laurel_l", a))
    low = a + model.norm(blk + "laurel_post_norm", low)
    o = model.norm(blk + "post_attention_norm", gemma4_attention(model, i, a))
    t = (p[0] + o + low) / np.sqrt(2)
    f = model.norm(blk + "ffn_norm", t)
    g = model.linear(blk + "ffn_gate", f)
    scales = model.key("activation_sparsity_scale", [])
    above = scales[i] if scales else 1.6448533535003662 if i < 10 else 0
    if above > 0:
        g = np.maximum(g - (g.mean(axis=1, keepdims=True) + above * g.std(axis=1, ddof=1, keepdims=True)), 0)
    f = model.linear(blk + "ffn_down", act(g) * model.linear(blk + "ffn_up", f))
    o = t + model.norm(blk + "post_ffw_norm", f)
    c = 1 + model.linear(blk + "altup_correct_coef", modalities(model, blk, o))
    s = p + c.T[:, :, None] * (o - p[0])
    q = act(model.linear(blk + "inp_gate", s[0] * model.weight(blk + "altup_correct_scale.weight"))) * inputs[:, i]
    s[1:] += model.norm(blk + "post_norm", model.linear(blk + "proj", q))
    return s


def streams(model, h):
    w = model.weight("altup_proj.weight")
    return np.stack([h] + [matched(h @ m.T, h) for m in w])


def streams_end(model, s):
    w = model.weight("altup_unembd_proj.weight")
    return (s[0] + sum(matched(x @ m.T, s[0]) for x, m in zip(s[1:], w))) / 4


def delta_net(model, blk, x):
    n, heads, keys = len(x), model.key("ssm.time_step_rank"), model.key("ssm.group_count")
    d = model.key("ssm.state_size")
    if blk + "ssm_in.weight" in model.tensors:   # by heads of keys: q, k, the values that it serves, their gates
        r = heads // keys * (model.key("ssm.inner_size") // heads)
        parts = np.split(model.linear(blk + "ssm_in", x).reshape(n, keys, -1), [d, 2 * d, 2 * d + r], axis=2)
        parts = [p.reshape(n, -1) for p in parts]
        qkv, z = np.concatenate(parts[:3], axis=1), parts[3]
    else:
        qkv, z = model.linear(blk + "attn_qkv", x), model.linear(blk + "attn_gate", x)
    qkv = silu(convolve(model, blk + "ssm_conv1d", qkv))
    q, k, v = np.split(qkv, [keys * d, 2 * keys * d], axis=1)
    q, k, v = q.reshape(n, keys, d), k.reshape(n, keys, d), v.reshape(n, heads, -1)
    q, k = (y / np.sqrt(np.sum(y * y, axis=2, keepdims=True) + model.eps) for y in (q, k))
    q = q / np.sqrt(d)
    grouped = blk + "ssm_ba.weight" in model.tensors
    if grouped:
        beta, alpha = (p.reshape(n, -1) for p in np.split(model.linear(blk + "ssm_ba", x).reshape(n, keys, -1), 2, axis=2))
    else:
        beta, alpha = model.linear(blk + "ssm_beta", x), model.linear(blk + "ssm_alpha", x)
    beta = 1 / (1 + np.exp(-beta))
    decay = np.exp(softplus(alpha + model.weight(blk + "ssm_dt.bias")) * model.weight(blk + "ssm_a"))
    state, o = np.zeros((heads, d, v.shape[2])), np.empty(v.shape)
    for t in range(n):
        for h in range(heads):
            s = state[h] * decay[t, h]
            of = h // (heads // keys) if grouped else h % keys
            change = beta[t, h] * (v[t, h] - s.T @ k[t, of])
            state[h] = s + np.outer(k[t, of], change)
            o[t, h] = state[h].T @ q[t, of]
    o = o / np.sqrt(np.mean(o * o, axis=2, keepdims=True) + model.eps) * model.weight(blk + "ssm_norm.weight")
    return model.linear(blk + "ssm_out", o.reshape(n, -1) * silu(z))


def kda(model, blk, x):
    n, heads, d = len(x), model.n_heads, model.key("kda.head_dim")
    q, k, v = (silu(convolve(model, f"{blk}ssm_conv1d_{c}", model.linear(f"{blk}attn_{c}", x))).reshape(n, heads, d) for c in "qkv")
    q, k = (y / np.sqrt(np.sum(y * y, axis=2, keepdims=True) + model.eps) for y in (q, k))
    q = q / np.sqrt(d)
    steps = model.linear(blk + "ssm_f_b", model.linear(blk + "ssm_f_a", x)) + model.weight(blk + "ssm_dt.bias")
    decay = np.exp(softplus(steps).reshape(n, heads, d) * model.weight(blk + "ssm_a").reshape(heads, 1))
    beta = 1 / (1 + np.exp(-model.linear(blk + "ssm_beta", x)))
    state, o = np.zeros((heads, d, d)), np.empty(v.shape)
    for t in range(n):
        for h in range(heads):
            s = state[h] * decay[t, h][:, None]
            state[h] = s + np.outer(k[t, h], beta[t, h] * (v[t, h] - s.T @ k[t, h]))
            o[t, h] = state[h].T @ q[t, h]
    o = o / np.sqrt(np.mean(o * o, axis=2, keepdims=True) + model.eps) * model.weight(blk + "ssm_norm.weight")
    gate = model.linear(blk + "ssm_g_b", model.linear(blk + "ssm_g_a", x))
    return model.linear(blk + "attn_output", o.reshape(n, -1) / (1 + np.exp(-gate)))


MIXERS = {"plamo 2": plamo2, "kda": kda, "delta net": delta_net, "short convolution": short_convolution, "mamba": mamba,
          "mamba 2": mamba2}


def latent(model, i, x):
    """Attention whose keys and values come from one row; keys and values of all heads are made, whatever form the file has."""
    n, heads, rot, blk = len(x), model.n_heads, model.n_rot, f"blk.{i}."
    rank = model.key("attention.kv_lora_rank")
    if blk + "attn_q_a.weight" in model.tensors:
        q = model.linear(blk + "attn_q_b", model.norm(blk + "attn_q_a_norm", model.linear(blk + "attn_q_a", x)))
    else:
        q = model.linear(blk + "attn_q", x)
    q = q.reshape(n, heads, -1)
    plain = q.shape[2] - rot
    row, turns = np.split(model.linear(blk + "attn_kv_a_mqa", x), [rank], axis=1)
    row = model.norm(blk + "attn_kv_a_norm", row)
    if blk + "attn_kv_b.weight" in model.tensors:
        k, v = np.split(model.linear(blk + "attn_kv_b", row).reshape(n, heads, -1), [plain], axis=2)
    else:
        k = np.einsum("nr,hrp->nhp", row, model.weight(blk + "attn_k_b.weight"))
        v = np.einsum("nr,hvr->nhv", row, model.weight(blk + "attn_v_b.weight"))
    turn = (lambda y: y) if "no rope" in model.traits else lambda y: rope(y, *model.rope_global, "adjacent" in model.traits, 0)
    q = np.concatenate([q[..., :plain], turn(q[..., plain:])], axis=2)
    if model.temperature:
        original = model.key("rope.scaling.original_context_length", model.key("context_length"))
        original = model.key("attention.temperature_length", original)
        q = q * (1 + model.temperature * np.log(1 + np.arange(n) // original))[:, None, None]
    k = np.concatenate([k, np.repeat(turn(turns[:, None]), heads, axis=1)], axis=2)
    return model.linear(blk + "attn_output", attention(q, k, v, model.scale, 0))


def gemma4_attention(model, i, x):
    n, local, blk = len(x), model.is_local[i], f"blk.{i}."
    d = model.key("attention.key_length_swa", model.d_k) if local else model.d_k
    own = model.own
    turn = lambda y: rope(y, *(model.rope_local if local else model.rope_global), False, 0)
    fused = model.projections(blk, x) if blk + "attn_qkv.weight" in model.tensors else None
    q = fused[0] if fused else model.linear(blk + "attn_q", x)
    q = turn(model.norm(blk + "attn_q_norm", q.reshape(n, -1, d)))
    if i < own:
        k = v = (fused[1] if fused else model.linear(blk + "attn_k", x)).reshape(n, -1, d)
        if fused or blk + "attn_v.weight" in model.tensors:
            v = (fused[2] if fused else model.linear(blk + "attn_v", x)).reshape(n, -1, d)
        k = turn(model.norm(blk + "attn_k_norm", k))
        model.kept[i] = k, v / np.sqrt(np.mean(v * v, axis=-1, keepdims=True) + model.eps)
    k, v = model.kept[i if i < own else own - (2 if local else 1)]
    return model.linear(blk + "attn_output", attention(q, k, v, model.scale, model.window if local else 0))


def gemma4_experts(model, blk, h, act):
    """The dense part and the experts, side by side."""
    x = model.norm(blk + "ffn_norm", h)
    dense = model.linear(blk + "ffn_down", act(model.linear(blk + "ffn_gate", x)) * model.linear(blk + "ffn_up", x))
    source = h / np.sqrt(np.mean(h * h, axis=1, keepdims=True) + model.eps) * model.weight(blk + "ffn_gate_inp.scale")
    y = model.experts(blk, model.norm(blk + "pre_ffw_norm_2", h), act, source / np.sqrt(model.n_embd))
    return model.norm(blk + "post_ffw_norm_1", dense) + model.norm(blk + "post_ffw_norm_2", y)


def layer_inputs(model, ids, h):
    """[n, layers, width]: what each layer gets of a token beside h."""
    width = model.key("embedding_length_per_layer_input")
    own = model.rows("per_layer_token_embd.weight", ids).reshape(len(ids), -1, width) * np.sqrt(width)
    made = model.linear("per_layer_model_proj", h).reshape(len(ids), -1, width) / np.sqrt(model.n_embd)
    return (own + model.norm("per_layer_proj_norm", made)) / np.sqrt(2)


def attend(model, i, x, kv, trace, at):
    """The attention of layer i, its output matrix included."""
    traits, n, blk = model.traits, len(x), f"blk.{i}."
    local = model.is_local[i]
    frequency, magnitude = model.rope_local if local else model.rope_global
    gate = 1
    if "gated q" in traits:
        if blk + "attn_qkv.weight" in model.tensors:
            ends = np.cumsum([2 * model.n_heads * model.d_k, model.n_kv_heads * model.d_k])
            both, k, v = np.split(model.linear(blk + "attn_qkv", x), ends, axis=1)
        else:
            both, k, v = (model.linear(blk + name, x) for name in ("attn_q", "attn_k", "attn_v"))
        both = both.reshape(n, -1, 2, model.d_k)
        q, gate = both[:, :, 0], (1 / (1 + np.exp(-both[:, :, 1]))).reshape(n, -1)
        k, v = (y.reshape(n, -1, model.d_k) for y in (k, v))
    else:
        q, k, v = (y.reshape(n, -1, d) for y, d in zip(model.projections(blk, x), (model.d_k, model.d_k, model.d_v)))
    trace(at + "q_projected", q)
    trace(at + "k_projected", k)
    if "qk" in traits or ("qk if there" in traits and blk + "attn_q_norm.weight" in model.tensors):
        q, k = (model.norm(blk + name, y) for name, y in (("attn_q_norm", q), ("attn_k_norm", k)))
    if "qk each" in traits and blk + "attn_q_norm.weight" in model.tensors:
        q, k = (model.norm(blk + name, y) for name, y in (("attn_q_norm", q), ("attn_k_norm", k)))
    if "qk row" in traits or ("qk row if there" in traits and blk + "attn_q_norm.weight" in model.tensors):
        q, k = (model.norm(blk + name, y.reshape(n, -1)).reshape(y.shape)
                for name, y in (("attn_q_norm", q), ("attn_k_norm", k)))
    if model.has_rope(i):
        q, k = (rope(y, frequency, magnitude, "adjacent" in traits and not model.sections, 0) for y in (q, k))
    if "qk last" in traits:
        q, k = (model.norm(blk + name, y) for name, y in (("attn_q_norm", q), ("attn_k_norm", k)))
    if "bare qk last" in traits and model.has_rope(i) and model.key("expert_count", 0) != 128:
        q, k = (y / np.sqrt(np.mean(y * y, axis=-1, keepdims=True) + model.eps) for y in (q, k))
    if model.arch == "llama4" and any(model.is_local) and not model.has_rope(i):
        q = q * (1 + 0.1 * np.log(1 + (np.arange(n) + 1) // model.window))[:, None, None]
    if model.temperature:
        original = model.key("rope.scaling.original_context_length", model.key("context_length"))
        q = q * (1 + model.temperature * np.log(1 + np.arange(n) // original))[:, None, None]
    if kv != "f64":
        cache = {"f16": np.float16, "f32": np.float32}[kv]
        k, v = k.astype(cache).astype(np.float64), v.astype(cache).astype(np.float64)
    trace(at + "q", q)
    trace(at + "k", k)
    trace(at + "v", v)
    has_sinks = "sinks" in traits and blk + "attn_sinks.weight" in model.tensors
    sinks = model.weight(blk + "attn_sinks.weight").reshape(-1) if has_sinks else None
    if {"attention gate", "softplus gate"} & traits:
        gate = model.linear(blk + "attn_gate", x)
        gate = softplus(gate) if "softplus gate" in traits else 1 / (1 + np.exp(-gate))
        gate = np.repeat(gate, v.shape[2], axis=1) if gate.shape[1] == q.shape[1] else gate
    window = model.window if local else 0
    x = attention(q, k, v, model.scale, window, model.attention_softcap, sinks, model.both_ways, model.alibi,
                  "chunks" in traits, model.weight("blk.0.attn_rel_b.weight") if "buckets" in traits else None)
    trace(at + "attention", x)
    if "sub norms" in traits:
        x = model.norm(blk + "attn_sub_norm", x)
    x = model.linear(blk + "attn_output", x * gate)
    return x * model.key("attention.value_scale", 1.0) if model.arch == "mimo2" else x


def gelu_erf(x):
    return 0.5 * x * (1.0 + np.vectorize(math.erf, otypes=[float])(x / np.sqrt(2.0)))


def hidden(model, ids, kv="f64", dump=None, dump_layers=(0,), dump_tokens=4, progress=False):
    """What the last norm gives, [n, n_embd]. dump: a dict that receives the intermediate values of the named layers."""
    traits = model.traits
    acts = {"gelu": gelu, "gelu erf": gelu_erf, "relu2": lambda y: np.maximum(y, 0) ** 2,
            "relu": lambda y: np.maximum(y, 0)}
    if model.arch == "modern-bert" and model.key("hidden_activation", "gelu") in ("silu", "swish", "swiglu"):
        traits = traits - {"gelu erf"}
    act = model.xielu if "xielu" in traits else next((acts[name] for name in acts if name in traits), silu)
    n = len(ids)
    ids = np.asarray(ids, dtype=np.int64)
    n_vocab = int(model.tensors["token_embd.weight"].shape[1])
    if n == 0 or ids.min() < 0 or ids.max() >= n_vocab:
        raise SystemExit(f"token ids must lie in 0..{n_vocab - 1}")

    def keep(name, value):
        if dump is not None:
            dump[name] = value[:dump_tokens].copy()

    h = model.rows("token_embd.weight", ids)
    h *= model.embedding_scale
    if "positions" in traits and "position_embd.weight" in model.tensors:
        h = h + model.weight("position_embd.weight")[:n]
    if "token_types.weight" in model.tensors:
        h = h + model.weight("token_types.weight")[0]
    if {"encoder", "embedding norm"} & traits and "token_embd_norm.weight" in model.tensors:     # lfm2's is the last norm
        h = model.norm("token_embd_norm", h)
    keep("embedding", h)
    if "bare embedding norm" in traits:
        h = h / np.sqrt(np.mean(h * h, axis=1, keepdims=True) + model.eps)
    has_inputs = model.arch in ("gemma4", "gemma3n") and model.key("embedding_length_per_layer_input", 0)
    inputs = layer_inputs(model, ids, h) if has_inputs else None
    loops = model.key("num_loops", 1) if "loops" in traits else 1
    if "streams" in traits:
        h = streams(model, h)
        for i in range(model.n_layers):
            h = streams_layer(model, i, h, inputs, act)
        h, loops = streams_end(model, h), 0
    for i in range(model.n_layers if {"rwkv 6", "rwkv 7"} & traits else 0):
        h, loops = rwkv_layer(model, i, h), 0
    for turn in range(loops * model.n_layers):
        i = turn % model.n_layers
        if turn and i == 0 and not model.key("skip_loop_final_norm", False):
            h = model.norm("output_norm", h)
        trace = keep if i in dump_layers else lambda name, value: None
        blk, at = f"blk.{i}.", f"layer{i}."
        if "loose" in traits and model.kv_heads_of[i] == 0:
            if model.heads_of[i]:
                h = h + model.linear(blk + "attn_output", model.norm(blk + "attn_norm", h))
            if model.feeds[i]:
                x = model.norm(blk + "ffn_norm", h)
                x = act(model.linear(blk + "ffn_gate", x)) * model.linear(blk + "ffn_up", x)
                h = h + model.linear(blk + "ffn_down", x)
            continue
        bare = {"out only", "sum norm"} & traits or ("encoder" in traits and blk + "attn_norm.weight" not in model.tensors)
        x = beside = h if bare else model.norm(blk + "attn_norm", h)
        if model.parallel and blk + "attn_norm_2.weight" in model.tensors:
            x = model.norm(blk + "attn_norm_2", h)
        if model.parallel and blk + "ffn_norm.weight" in model.tensors:
            beside = model.norm(blk + "ffn_norm", h)
        trace(at + "attn_norm", x)
        mixer = next((MIXERS[t] for t in traits if t in MIXERS), None)
        if model.is_feed_forward[i]:
            has = blk + "ffn_gate_inp.weight" in model.tensors
            h = h + (model.experts(blk, x, act) if has else model.linear(blk + "ffn_down", act(model.linear(blk + "ffn_up", x))))
            continue
        scanned = mixer(model, blk, x) if "beside" in traits else 0
        if model.is_recurrent[i]:
            x = mixer(model, blk, x)
        else:
            own = latent if "latent" in traits else gemma4_attention if model.arch == "gemma4" else None
            x = own(model, i, x) if own else attend(model, i, x, kv, trace, at)
        if "one part" in traits:
            h = h + x
            continue
        trace(at + "attn_output", x)
        eps, model.eps = model.eps, 1e-8 if model.arch == "muse-glimmer" else model.eps
        if "post" in traits:
            x = model.norm(blk + ("attn_output_norm" if model.arch == "grok" else "post_attention_norm"), x)
        model.eps = eps
        entered, h = h, h + x * model.residual_scale + scanned
        if "sum norm" in traits:
            h = model.norm(blk + "attn_output_norm", h)
            if blk + "attn_norm_2.weight" in model.tensors:
                h = model.norm(blk + "attn_norm_2", entered + h)
        trace(at + "after_attention", h)
        if not model.feeds[i]:
            continue
        ffn_norm = "post_attention_norm" if "ffn norm is post_attention_norm" in traits else "ffn_norm"
        ffn_norm = "attn_output_norm" if model.arch == "dbrx" else ffn_norm
        x = beside if model.parallel else h if {"out only", "sum norm"} & traits else model.norm(blk + ffn_norm, h)
        trace(at + "ffn_norm", x)
        if model.arch == "gemma4" and model.has_experts(i):
            x = gemma4_experts(model, blk, h, act)
        elif model.has_experts(i) and "input experts" in traits:
            inner = act(model.linear(blk + "ffn_gate", x)) * model.linear(blk + "ffn_up", x)
            x = model.linear(blk + "ffn_down", inner) + model.experts(blk, model.norm(blk + "ffn_norm_exps", entered), act)
        elif model.has_experts(i):
            x = model.experts(blk, x, act, entered if "read input" in traits else None)
        else:
            up = model.linear(blk + "ffn_up", x)
            if "no gate" in traits:
                x = act(up)
            elif "buckets" in traits and blk + "ffn_gate.weight" not in model.tensors:
                x = np.maximum(up, 0)
            else:
                gate, up = np.split(up, 2, axis=1) if "up" in traits else (model.linear(blk + "ffn_gate", x), up)
                x = model.joined(act, gate, up, model.limit("swiglu_clamp_shexp", blk)) if "limits" in traits else act(gate) * up
            trace(at + "ffn_gated", x)
            if "sub norms" in traits:
                x = model.norm(blk + "ffn_sub_norm", x)
            x = model.linear(blk + "ffn_down", x)
        eps, model.eps = model.eps, 1e-8 if model.arch == "muse-glimmer" else model.eps
        if "post" in traits:
            x = model.norm(blk + ("layer_output_norm" if model.arch == "grok" else "post_ffw_norm"), x)
        model.eps = eps
        h = h + x * model.residual_scale
        if inputs is not None:
            y = gelu(model.linear(blk + "inp_gate", h)) * inputs[:, i]
            h = h + model.norm(blk + "post_norm", model.linear(blk + "proj", y))
        if blk + "layer_output_scale.weight" in model.tensors:
            h = h * model.weight(blk + "layer_output_scale.weight")
        if "sum norm" in traits:
            h = model.norm(blk + "layer_output_norm", h)
        trace(at + "out", h)
        if progress:
            print(f"\rlayer {i + 1}/{model.n_layers}", end="", file=sys.stderr, flush=True)
    if "sum norm" not in traits:
        names = ("output_norm", "enc.output_norm", "token_embd_norm")
        last = next((name for name in names if name + ".weight" in model.tensors), "output_norm")        # olmo's has no weight
        h = model.norm(last, h)
    keep("output_norm", h)
    if progress:
        print(file=sys.stderr)
    return h


def check_read(model):
    unread = model.unread - {"output.weight"} if model.both_ways else model.unread
    if unread:
        raise SystemExit(f"tensors that nothing reads: {', '.join(sorted(unread))}")


def t5_bucket_before(distance):
    """That of the decoder, which has no keys behind the query: twice as many for the distances before it."""
    wide = 16 + np.log(np.maximum(distance, 1) / 16) / np.log(128 / 16) * 16
    return np.where(distance < 16, np.maximum(distance, 0), np.minimum(np.floor(wide), 31)).astype(int)


def t5(model, ids):
    """Logits of the tokens from the first that begins answers on, to which those before it are the source."""
    at = list(ids).index(model.key("decoder_start_token_id"))
    source, ids = hidden(model, ids[:at]), np.asarray(ids[at:])
    n, heads = len(ids), model.n_heads
    p, j = np.arange(n)[:, None], np.arange(n)[None, :]
    bias = model.weight("dec.blk.0.attn_rel_b.weight")[t5_bucket_before(p - j)].transpose(2, 0, 1)
    bias = np.where(j > p, -np.inf, bias)

    def attend(name, x, of, beside):
        q, k, v = (model.linear(name + end, y).reshape(len(y), -1, model.d_k).transpose(1, 0, 2)
                   for end, y in (("q", x), ("k", of), ("v", of)))
        k, v = (np.repeat(y, heads // len(y), axis=0) for y in (k, v))
        e = q @ k.transpose(0, 2, 1) + beside
        e = np.exp(e - e.max(axis=2, keepdims=True))
        return (e / e.sum(axis=2, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(x), -1)

    h = model.rows("token_embd.weight", ids)
    for i in range(model.key("decoder_block_count")):
        blk = f"dec.blk.{i}."
        x = model.norm(blk + "attn_norm", h)
        h = h + model.linear(blk + "attn_output", attend(blk + "attn_", x, x, bias))
        h = h + model.linear(blk + "cross_attn_o", attend(blk + "cross_attn_", model.norm(blk + "cross_attn_norm", h), source, 0))
        x = model.norm(blk + "ffn_norm", h)
        up = model.linear(blk + "ffn_up", x)
        gated = blk + "ffn_gate.weight" in model.tensors
        h = h + model.linear(blk + "ffn_down", gelu(model.linear(blk + "ffn_gate", x)) * up if gated else np.maximum(up, 0))
    h = model.norm("dec.output_norm", h)
    tied = "output.weight" not in model.tensors
    return model.linear("token_embd", h / np.sqrt(model.n_embd)) if tied else model.linear("output", h)


def forward(model, ids, kv="f64", dump=None, dump_layers=(0,), dump_tokens=4, logits_type=np.float32, progress=False):
    """Logits [n, n_vocab]."""
    if model.arch == "t5":
        logits = t5(model, ids).astype(logits_type)
        if model.unread:
            raise SystemExit(f"tensors that nothing reads: {', '.join(sorted(model.unread))}")
        return logits
    h = hidden(model, ids, kv, dump, dump_layers, dump_tokens, progress)
    logits = np.empty((len(ids), int(model.tensors["token_embd.weight"].shape[1])), dtype=logits_type)
    tied = "output.weight" not in model.tensors
    model.linear("token_embd" if tied else "output", h, out=logits)
    if tied and "output.bias" in model.tensors:
        logits += model.weight("output.bias").astype(logits_type)
    check_read(model)
    if model.logit_divisor != 1:
        logits /= model.logit_divisor
    if model.final_softcap:
        logits[:] = model.final_softcap * np.tanh(logits / model.final_softcap)
    return logits


def score(model, ids):
    """What a model that ranks gives: a number for each label."""
    h = hidden(model, ids)
    mean = model.arch == "modern-bert" and model.key("classifier.pooling_type", 1) == 1
    h = h.mean(axis=0, keepdims=True) if mean else h[:1] if model.both_ways else h[-1:]
    if model.arch == "modern-bert" and "cls.weight" in model.tensors:
        h = gelu_erf(model.linear("cls", h))
        h = model.norm("cls.norm", h) if "cls.norm.weight" in model.tensors else h
    elif "encoder" in model.traits and "cls.weight" in model.tensors:
        h = np.tanh(model.linear("cls", h))
    return model.linear("cls.output", h)


def embed(model, ids, pooling, normalize=True):
    """The vectors of a text: one row, or one for each token (pooling none)."""
    h = hidden(model, ids)
    for name in ("dense_2", "dense_3"):
        if name + ".weight" in model.tensors:
            h = model.linear(name, h)
    rows = {"none": h, "mean": h.mean(axis=0, keepdims=True), "cls": h[:1], "last": h[-1:]}[pooling]
    return rows / np.sqrt((rows * rows).sum(axis=1, keepdims=True)) if normalize else rows


def perplexity(model, ids, context, bos=None):
    """As docs/PERPLEXITY.md counts: (perplexity, tokens scored)."""
    first, windows = context // 2, len(ids) // context
    if windows < 2:
        raise SystemExit(f"perplexity at context {context} needs at least {2 * context} tokens, not {len(ids)}")
    total = 0.0
    for w in range(windows):
        window = ids[w * context : (w + 1) * context]
        seen = window if bos is None else [bos] + window[1:]
        logits = forward(model, seen, "f16", logits_type=np.float64)[first:-1]
        logits -= logits.max(axis=1, keepdims=True)
        target = np.asarray(window[first + 1 :])
        total += (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(target)), target]).sum()
    count = windows * (context - 1 - first)
    return np.exp(total / count), count


def read_ids(text):
    """'1,2,3', or the name of a file with a JSON list of ids."""
    if os.path.exists(text):
        with open(text) as f:
            return json.load(f)
    return [int(t) for t in text.split(",")]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-m", "--model", required=True)
    p.add_argument("--tokens", required=True, help="ids with commas between, or a JSON file with a list")
    p.add_argument("-n", type=int, help="only the first N of them")
    p.add_argument("-o", "--output", help=".npy of [n_tokens, n_vocab]")
    p.add_argument("--perplexity", type=int, metavar="CONTEXT", help="print it instead (K and V in f16)")
    p.add_argument("--kv", choices=("f64", "f32", "f16"), default="f64", help="what K and V are rounded to")
    p.add_argument("--int8", action="store_true", help="simulate activations rounded to int8 per 32 values")
    p.add_argument("--f64", action="store_true", help="write float64")
    p.add_argument("--dump", metavar="FILE.npz", help="intermediate values, see --dump-layers and --dump-tokens")
    p.add_argument("--dump-layers", default="0", help="e.g. 0,1,29")
    p.add_argument("--dump-tokens", type=int, default=4)
    a = p.parse_args()
    ids = read_ids(a.tokens)[: a.n]
    if a.perplexity:
        model = Model(a.model, a.int8)
        adds_bos = model.key("tokenizer.ggml.add_bos_token", False, full=True)
        bos = model.key("tokenizer.ggml.bos_token_id", full=True) if adds_bos else None
        print("perplexity {:.4f} over {} tokens".format(*perplexity(model, ids, a.perplexity, bos)))
        return
    if not a.output:
        p.error("-o is missing")
    dump = {} if a.dump else None
    logits = forward(Model(a.model, a.int8), ids, a.kv, dump, [int(i) for i in a.dump_layers.split(",")], a.dump_tokens,
                     np.float64 if a.f64 else np.float32, progress=sys.stderr.isatty())
    np.save(a.output, logits)
    if a.dump:
        np.savez(a.dump, tokens=np.asarray(ids[: a.dump_tokens]), **dump)


if __name__ == "__main__":
    main()
