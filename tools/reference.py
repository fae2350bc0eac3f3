#!/usr/bin/env python3
"""Logits of a GGUF model in float64: what our engine and its rivals are measured against.

A slow, plain forward pass written from the architecture notes, sharing no code with the engine: weights are
dequantised row by row, everything after that is numpy in double precision. Architectures: llama, qwen2, qwen3, gemma3.
What it does not know it refuses, so that a number it prints is never a guess.

    tools/reference.py -m MODEL.gguf --tokens 1,2,3 -o out.npy
    tools/reference.py -m MODEL.gguf --tokens ids.json --kv f16 --dump layer0.npz

Writes [n_tokens, n_vocab] (float32, or float64 with --f64). Needs numpy and gguf (both on PyPI); only development
uses it: tests in CI compare with what it wrote. Memory stays near 1 GB plus the logits, whatever the model's size.
"""
import argparse
import json
import os
import sys

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
import numpy as np
from gguf import GGUFReader, GGMLQuantizationType
from gguf.quants import dequantize

CHUNK_ELEMENTS = 1 << 24                # of weights dequantised at a time: 128 MB as float64
FLOAT_TYPES = {GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16}


class Model:
    def __init__(self, path, quantise_activations=False):
        self.reader = GGUFReader(path)
        self.tensors = {t.name: t for t in self.reader.tensors}
        self.arch = self.key("general.architecture", full=True)
        self.quantise_activations = quantise_activations
        if self.arch not in ("llama", "qwen2", "qwen3", "gemma3"):
            raise SystemExit(f"architecture '{self.arch}' is not known here; known are llama, qwen2, qwen3, gemma3")
        self.unread = set(self.tensors)
        self.n_layers = self.key("block_count")
        self.n_embd = self.key("embedding_length")
        self.n_heads = self.key("attention.head_count")
        self.n_kv_heads = self.key("attention.head_count_kv", self.n_heads)
        self.d_k = self.key("attention.key_length", self.n_embd // self.n_heads)
        self.d_v = self.key("attention.value_length", self.n_embd // self.n_heads)
        self.n_rot = self.key("rope.dimension_count", self.d_k)
        self.eps = self.key("attention.layer_norm_rms_epsilon")
        self.scale = self.key("attention.scale", 0.0) or 1.0 / np.sqrt(self.d_k)
        for name in ("expert_count", "embedding_scale", "residual_scale", "logit_scale", "attn_logit_softcapping",
                     "attention.clamp_kqv", "use_parallel_residual", "rope.scaling.yarn_log_multiplier", "rope.scaling.alpha"):
            if self.key(name, 0) not in ((0, 1) if name.endswith(("_scale", "alpha"))
                                         else (0,)) and (self.arch, name) != ("qwen2", "use_parallel_residual"):
                raise SystemExit(f"{self.arch}.{name} is not known here")
        if not self.key("attention.causal", True) or self.key("rope.scaling.yarn_attn_factor", 1.0) != 1.0:
            raise SystemExit("attention.causal or rope.scaling.yarn_attn_factor is not known here")
        self.final_softcap = self.key("final_logit_softcapping", 0.0)
        self.read_ropes()
        self.window = 0
        self.is_local = [False] * self.n_layers
        if self.arch == "gemma3":
            if self.final_softcap < 0:
                raise SystemExit("negative soft cap")
            # the 27B divides by its model width, not by its head size, unless the file says by what
            if self.n_layers == 62 and not self.key("attention.scale", 0.0):
                self.scale = 1.0 / np.sqrt(self.n_embd // self.n_heads)
            self.window = self.key("attention.sliding_window", 0)
            period = self.key("attention.sliding_window_pattern", 6)
            if self.window and isinstance(period, list):
                self.is_local = [bool(p) for p in period]
            elif self.window:
                self.is_local = [period == 0 or i % period != period - 1 for i in range(self.n_layers)]
        elif self.final_softcap:
            raise SystemExit(f"{self.arch}.final_logit_softcapping is not known here")

    def key(self, name, default=None, full=False):
        field = self.reader.get_field(name if full else f"{self.arch}.{name}")
        if field is None:
            if default is None:
                raise SystemExit(f"the file has no {name}")
            return default
        return field.contents()

    def read_ropes(self):
        """self.rope_global and self.rope_local: (radians a position of each rotary pair, magnitude of the rotated)."""
        base = self.key("rope.freq_base", 10000.0)
        kind = self.key("rope.scaling.type", "linear")
        if kind not in ("none", "linear", "yarn"):
            raise SystemExit(f"rope scaling '{kind}' is not known here")
        factor = self.key("rope.scaling.factor", self.key("rope.scale_linear", 0.0)) or 1.0
        if kind == "none":
            factor = 1.0
        magnitude = self.key("rope.scaling.attn_factor", 1.0)
        ext = self.key("rope.scaling.yarn_ext_factor", 1.0 if kind == "yarn" else 0.0)
        plain = self.plain(base)
        frequency = plain / factor
        self.rope_local = (self.plain(self.key("rope.freq_base_swa", 10000.0)), magnitude)
        if ext:
            context = self.key("rope.scaling.original_context_length", self.key("context_length"))

            def pair_of(turns):
                return self.n_rot * np.log(context / (turns * 2 * np.pi)) / (2 * np.log(base))

            low = max(0.0, np.floor(pair_of(self.key("rope.scaling.yarn_beta_fast", 32.0))))
            high = min(self.n_rot - 1.0, np.ceil(pair_of(self.key("rope.scaling.yarn_beta_slow", 1.0))))
            ramp = 1 - np.clip((np.arange(len(plain)) - low) / max(0.001, high - low), 0, 1)
            frequency = frequency * (1 - ramp * ext) + plain * ramp * ext
            magnitude = magnitude * (1 + 0.1 * np.log(factor))
        if self.arch != "gemma3" and "rope_freqs.weight" in self.tensors:
            frequency = frequency / self.weight("rope_freqs.weight")
        self.rope_global = (frequency, magnitude)

    def plain(self, base):
        return np.float64(base) ** (-2.0 * np.arange(self.n_rot // 2) / self.n_rot)

    def weight(self, name):
        """A whole tensor (vectors and embeddings rows go through here) as float64."""
        t = self.take(name)
        return dequantize(t.data, t.tensor_type).astype(np.float64).reshape(tuple(int(n) for n in t.shape[::-1]))

    def take(self, name):
        self.unread.discard(name)
        return self.tensors[name]

    def rows(self, name, ids):
        t = self.take(name)
        data = t.data.reshape(int(t.shape[1]), -1)
        return dequantize(np.ascontiguousarray(data[ids]), t.tensor_type).astype(np.float64)

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
            w = dequantize(np.ascontiguousarray(data[r : r + step]), t.tensor_type).astype(np.float64)
            y[:, r : r + step] = x @ w.reshape(-1, k).T
        if name + ".scale" in self.tensors and name != "output":
            y *= self.weight(name + ".scale")
        if name + ".bias" in self.tensors:
            y += self.weight(name + ".bias")
        return y

    def projections(self, blk, x):
        """q, k and v, from one matrix or from three."""
        widths = [self.n_heads * self.d_k, self.n_kv_heads * self.d_k, self.n_kv_heads * self.d_v]
        names = ["attn_q", "attn_k", "attn_v"]
        if blk + "attn_qkv.weight" not in self.tensors:
            return [self.linear(blk + name, x) for name in names]
        parts = np.split(self.linear(blk + "attn_qkv", x), np.cumsum(widths)[:-1], axis=1)
        return [p + self.weight(blk + name + ".bias") if blk + name + ".bias" in self.tensors else p
                for p, name in zip(parts, names)]

    def norm(self, name, x):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps) * self.weight(name + ".weight")


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


def attention(q, k, v, scale, window):
    """q [n, heads, d], k and v [n, kv heads, d]: causal, the last `window` keys only unless it is 0."""
    n, n_heads, _ = q.shape
    group = n_heads // k.shape[1]
    p, j = np.arange(n)[:, None], np.arange(n)[None, :]
    hidden = (j > p) | ((p - j >= window) if window else False)
    out = np.empty((n, n_heads, v.shape[2]))
    for h in range(n_heads):
        score = q[:, h] @ k[:, h // group].T * scale
        score[hidden] = -np.inf
        score -= score.max(axis=1, keepdims=True)
        e = np.exp(score)
        out[:, h] = e @ v[:, h // group] / e.sum(axis=1, keepdims=True)
    return out.reshape(n, -1)


def silu(x):
    return x / (1.0 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))


def forward(model, ids, kv="f64", dump=None, dump_layers=(0,), dump_tokens=4, logits_type=np.float32, progress=False):
    """Logits [n, n_vocab]. dump: a dict that receives the intermediate values of the named layers."""
    gemma = model.arch == "gemma3"
    act = gelu if gemma else silu
    n = len(ids)
    ids = np.asarray(ids, dtype=np.int64)
    n_vocab = int(model.tensors["token_embd.weight"].shape[1])
    if n == 0 or ids.min() < 0 or ids.max() >= n_vocab:
        raise SystemExit(f"token ids must lie in 0..{n_vocab - 1}")

    def keep(name, value):
        if dump is not None:
            dump[name] = value[:dump_tokens].copy()

    h = model.rows("token_embd.weight", ids)
    if gemma:
        h *= np.sqrt(model.n_embd)
    keep("embedding", h)
    for i in range(model.n_layers):
        trace = keep if i in dump_layers else lambda name, value: None
        blk, at = f"blk.{i}.", f"layer{i}."
        local = model.is_local[i]
        frequency, magnitude = model.rope_local if local else model.rope_global
        x = model.norm(blk + "attn_norm", h)
        trace(at + "attn_norm", x)
        q, k, v = (y.reshape(n, -1, d) for y, d in zip(model.projections(blk, x), (model.d_k, model.d_k, model.d_v)))
        trace(at + "q_projected", q)
        trace(at + "k_projected", k)
        if model.arch in ("qwen3", "gemma3"):
            q = model.norm(blk + "attn_q_norm", q)
            k = model.norm(blk + "attn_k_norm", k)
        q = rope(q, frequency, magnitude, model.arch == "llama", 0)
        k = rope(k, frequency, magnitude, model.arch == "llama", 0)
        if kv != "f64":
            cache = {"f16": np.float16, "f32": np.float32}[kv]
            k, v = k.astype(cache).astype(np.float64), v.astype(cache).astype(np.float64)
        trace(at + "q", q)
        trace(at + "k", k)
        trace(at + "v", v)
        x = attention(q, k, v, model.scale, model.window if local else 0)
        trace(at + "attention", x)
        x = model.linear(blk + "attn_output", x)
        trace(at + "attn_output", x)
        if gemma:
            x = model.norm(blk + "post_attention_norm", x)
        h = h + x
        trace(at + "after_attention", h)
        x = model.norm(blk + "ffn_norm", h)
        trace(at + "ffn_norm", x)
        x = act(model.linear(blk + "ffn_gate", x)) * model.linear(blk + "ffn_up", x)
        trace(at + "ffn_gated", x)
        x = model.linear(blk + "ffn_down", x)
        if gemma:
            x = model.norm(blk + "post_ffw_norm", x)
        h = h + x
        trace(at + "out", h)
        if progress:
            print(f"\rlayer {i + 1}/{model.n_layers}", end="", file=sys.stderr, flush=True)
    h = model.norm("output_norm", h)
    keep("output_norm", h)
    logits = np.empty((n, n_vocab), dtype=logits_type)
    tied = "output.weight" not in model.tensors
    model.linear("token_embd" if tied else "output", h, out=logits)
    if tied and "output.bias" in model.tensors:
        logits += model.weight("output.bias").astype(logits_type)
    if model.unread:
        raise SystemExit(f"tensors that nothing reads: {', '.join(sorted(model.unread))}")
    if model.final_softcap:
        logits[:] = model.final_softcap * np.tanh(logits / model.final_softcap)
    if progress:
        print(file=sys.stderr)
    return logits


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
