#!/usr/bin/env python3
"""Speed of our tokenizer beside Hugging Face's `tokenizers` and `tiktoken`, on the same vocabulary and text, one thread,
in turns, by processor time.

    bench/text.py -m qwen2.5-coder-0.5b-instruct.gguf --text FILE [--rounds 5]

The rivals' tokenizers are made from the vocabulary and merges in the model file (byte-level BPE with the pre-tokenizer of Qwen 2
only), and must give the ids that ours gives, or the comparison stops. Medians of MB/s. Needs the packages gguf, tokenizers and
tiktoken.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def spelling():
    """{letter of a byte-level vocabulary: byte}"""
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255]
    rest = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(rest)}


def vocabulary(model):
    from gguf import GGUFReader
    fields = GGUFReader(model).fields
    texts = lambda key: [bytes(fields[key].parts[i]).decode() for i in fields[key].data]
    if texts("tokenizer.ggml.pre") != ["qwen2"]:
        sys.exit("only files with the pre-tokenizer qwen2 are compared")
    kinds = [int(fields["tokenizer.ggml.token_type"].parts[i][0]) for i in fields["tokenizer.ggml.token_type"].data]
    return [t for t, kind in zip(texts("tokenizer.ggml.tokens"), kinds) if kind == 1], texts("tokenizer.ggml.merges")


def hugging_face(tokens, merges):
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    t = Tokenizer(models.BPE({s: i for i, s in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return lambda text: t.encode(text).ids


def tiktoken(tokens):
    import tiktoken as package
    byte = spelling()
    ranks = {bytes(byte[c] for c in s): i for i, s in enumerate(tokens)}
    return package.Encoding("qwen2", pat_str=QWEN2, mergeable_ranks=ranks, special_tokens={}).encode_ordinary


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-m", "--model", required=True)
    p.add_argument("--text", required=True)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--bin", default=os.path.join(compare.ROOT, "build/release/bin"))
    a = p.parse_args()
    with open(a.text, encoding="utf-8") as f:
        text = f.read()
    size = len(text.encode())
    tokens, merges = vocabulary(a.model)
    rivals = {"tokenizers": hugging_face(tokens, merges), "tiktoken": tiktoken(tokens)}
    sample = text[:200000]
    ours = json.loads(subprocess.run([f"{a.bin}/veritas", "tokenize", "-m", a.model, "--json"], input=sample.encode(),
                                     capture_output=True, check=True).stdout)
    for name, encode in rivals.items():
        if encode(sample) != ours:
            sys.exit(f"{name} gives other ids: not the same tokenizer, nothing to compare")
    speeds = {"veritas": [], **{name: [] for name in rivals}}
    for _ in range(a.rounds):
        said = subprocess.run([f"{a.bin}/bench-tokenizer", a.model, a.text, "1"], capture_output=True, text=True, check=True).stdout
        speeds["veritas"].append(float(re.search(r"([0-9.]+) MB/s", said).group(1)))
        for name, encode in rivals.items():
            start = time.process_time()
            encode(text)
            speeds[name].append(size / 1e6 / (time.process_time() - start))
    print(f"{compare.machine()}\ncommit {compare.commit()}, one thread, {size / 1e6:.1f} MB, medians of {a.rounds} rounds "
          f"in turns\n")
    print("| tokenizer | MB/s | ours over it |\n|---|---|---|")
    best = statistics.median(speeds["veritas"])
    for name, values in speeds.items():
        middle = statistics.median(values)
        print(f"| {name} | {middle:.1f} | {best / middle:.1f} |")


if __name__ == "__main__":
    main()
