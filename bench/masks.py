#!/usr/bin/env python3
"""Masks of llguidance beside ours: the same vocabulary, cases and tokens, in turns.

    bench/masks.py BIN MODEL.gguf [CASES.jsonl] [--rounds 3]      (python3 -m pip install llguidance)

BIN holds bench-constraint. A round is one run of it, then one of llguidance; each mask is timed (theirs through their Python, whose
call costs some 1 us). Cases of GBNF are ours alone. Tokens of a text are found greedily, the longest first: the same for both would
need their tokenizer, and what a mask costs depends little on it.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import llguidance as theirs

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "fixtures"))
import malformed as gguf


class Vocabulary:
    """What TokenizerWrapper wants: the bytes of each token, the special ones, and a text's ids."""

    def __init__(self, tokens, eos):
        self.tokens, self.eos_token_id, self.bos_token_id, self.special_token_ids = tokens, eos, None, [eos]
        self.by_bytes = {t: i for i, t in enumerate(tokens) if t}
        self.longest = max(map(len, tokens))

    def __call__(self, text):
        data, ids, at = text.encode() if isinstance(text, str) else text, [], 0
        while at < len(data):
            n = next(n for n in range(min(self.longest, len(data) - at), 0, -1) if data[at:at + n] in self.by_bytes)
            ids.append(self.by_bytes[data[at:at + n]])
            at += n
        return ids


def byte_of_char():
    """GPT-2's letters for bytes, which vocabularies of bytes are written with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def vocabulary_of(path):
    found = {}

    def look(m):
        found.update({key: m.get("tokenizer.ggml." + key) for key in ("tokens", "token_type", "eos_token_id")})
    with open(path, "rb") as f:
        gguf.edit(f.read(64 << 20), look)
    chars = byte_of_char()
    tokens = [b"" if kind == 3 else bytes(chars[c] for c in token.decode()) if all(c in chars for c in token.decode())
              else token for token, kind in zip(found["tokens"][1], found["token_type"][1])]
    return Vocabulary(tokens, found["eos_token_id"])


def grammar_of(constraint):
    (kind, value), = constraint.items()
    if kind in ("json_schema", "json_object"):
        return theirs.LLMatcher.grammar_from_json_schema(json.dumps(value if kind == "json_schema" else {"type": "object"}))
    if kind == "regex":
        return theirs.LLMatcher.grammar_from_regex(value)
    return theirs.LLMatcher.grammar_from_lark(theirs.gbnf_to_lark.any_to_lark(value)) if kind == "grammar" else None


def run_theirs(tokenizer, vocabulary, cases):
    masks, compiled = [], []
    for case in cases:
        grammar = grammar_of(case["constraint"])
        if not grammar:
            continue
        begin = time.perf_counter_ns()
        matcher = theirs.LLMatcher(tokenizer, grammar)
        compiled.append(time.perf_counter_ns() - begin)
        if matcher.is_error():
            print("they refuse a case:", matcher.get_error()[:80])
            continue
        for id in vocabulary(case["text"]):
            begin = time.perf_counter_ns()
            matcher.compute_bitmask()
            masks.append(time.perf_counter_ns() - begin)
            if not matcher.consume_token(id):
                print("they do not allow a token of:", case["text"][:40])
                break
    return masks, compiled


def show(what, ns):
    ns = sorted(ns)
    at = [ns[int(len(ns) * q)] / 1e3 for q in (0.5, 0.9, 0.99)]
    print(f"{what}: {len(ns)}, p50 {at[0]:.1f} us, p90 {at[1]:.1f}, p99 {at[2]:.1f}, max {ns[-1] / 1e3:.1f}, "
          f"mean {statistics.mean(ns) / 1e3:.1f}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("bin")
    p.add_argument("model")
    p.add_argument("cases", nargs="?", default=os.path.join(ROOT, "bench", "constraint.jsonl"))
    p.add_argument("--rounds", type=int, default=3)
    args = p.parse_args()
    with open(args.cases, encoding="utf-8") as f:
        cases = [json.loads(line) for line in f]
    vocabulary = vocabulary_of(args.model)
    tokenizer = theirs.LLTokenizer(theirs.TokenizerWrapper(vocabulary)) if hasattr(theirs, "TokenizerWrapper") \
        else theirs.LLTokenizer(vocabulary)
    print(f"llguidance {theirs.__version__}, {len(vocabulary.tokens)} tokens, {len(cases)} cases")
    for _ in range(args.rounds):
        print(subprocess.run([os.path.join(args.bin, "bench-constraint"), args.model, args.cases], capture_output=True, text=True,
                             check=True).stdout, end="")
        masks, compiled = run_theirs(tokenizer, vocabulary, cases)
        show("theirs: compiled", compiled)
        show("theirs: masks", masks)


if __name__ == "__main__":
    main()
