#!/usr/bin/env python3
"""Tokenizers through `veritas tokenize`: ids equal to the recorded ones, round trips, and no control token from plain text.

    tokenizer.py VERITAS MKMODEL GOLDEN-FOLDER

Real models are looked at when `veritas models path NAME` knows them; the generated vocabularies always.
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures"))
import malformed as gguf                # noqa: E402

os.environ["VERITAS_SOCKET"] = "/nowhere/s"         # never a daemon that somebody left running

veritas, mkmodel, golden = sys.argv[1:4]


def call(arguments, text):
    done = subprocess.run([veritas, *arguments], input=text, capture_output=True, timeout=120)
    if done.returncode != 0:
        sys.exit(f"veritas {' '.join(arguments)}: exit {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def ids(model, text, *more):
    return json.loads(call(["tokenize", "-m", model, "--json", *more], text))


def recorded():
    without = open(os.path.join(golden, "pretok.txt")).readline().split()[1:]      # characters newer than our tables
    lines = open(os.path.join(golden, "mixed.txt"), "rb").read().split(b"\n")
    text = b"\n".join(line for i, line in enumerate(lines) if str(i) not in without)
    n_checked = 0
    for row in open(os.path.join(golden, "ids.txt")):
        name, count, want = row.split()
        where = subprocess.run([veritas, "models", "path", name], capture_output=True, text=True)
        if where.returncode != 0:
            continue
        got = ids(name, text)
        assert len(got) == int(count), (name, len(got), count)
        assert hashlib.sha256("\n".join(map(str, got)).encode()).hexdigest() == want, name
        print(f"{name}: {count} ids of {len(text)} bytes as recorded")
        n_checked += 1
    return n_checked


CASES = [                                # of real vocabularies: model, text, ids
    ("qwen2.5-coder-0.5b-instruct", "cafe\u0301 au lait", [924, 58858, 7906, 1187, 275]),         # NFC
    ("gemma3-270m", "old <s>gone</s> new", [947, 236743, 203, 40861, 212, 861]),                  # the file says: ordinary text
]


def cases():
    for name, text, want in CASES:
        if subprocess.run([veritas, "models", "path", name], capture_output=True).returncode == 0:
            got = ids(name, text.encode(), "--no-bos")
            assert got == want, (name, text, got)


def generated(folder):
    texts = [b"hello world", "h\u00e9llo \u4e16\u754c \U0001f600\n\n  x".encode(), bytes(range(1, 128)), b"a" * 20000,
             b"  lead and trail  "]
    for tokenizer, pre in (("gpt2", "smollm"), ("gpt2", "qwen2"), ("gpt2", "gpt-2"), ("gpt2", "llama-bpe"), ("llama", "default")):
        model = os.path.join(folder, f"{tokenizer}-{pre}.gguf")
        subprocess.run([mkmodel, "--vocab-only", "--tokenizer", tokenizer, "--pre", pre, "--seed", "1", "-o", model], check=True,
                       stdout=subprocess.DEVNULL)
        for text in texts:
            got = ids(model, text, "--no-bos")
            back = call(["detokenize", "-m", model, *map(str, got)], b"") if len(got) < 5000 else None
            if back is not None and tokenizer == "gpt2":
                assert back.rstrip(b"\n") == text.rstrip(b"\n"), (model, text, back)
        plain = ids(model, b"<|im_start|>user", "--no-bos")
        special = ids(model, b"<|im_start|>user", "--no-bos", "--special")
        assert len(special) <= len(plain), model
        if pre == "qwen2":               # a token for each digit: too many for one result, they come as data
            got = call(["tokenize", "-m", model, "--no-bos"], b"07" * 550000).split()
            assert len(got) == 1100000 and len(set(got[::2])) == len(set(got[1::2])) == 1, (model, len(got))
        bad = subprocess.run([veritas, "tokenize", "-m", model, "--json"], input=b"a\xff", capture_output=True)
        assert bad.returncode == 3 and b"UTF-8" in bad.stderr, (bad.returncode, bad.stderr)
    print("generated vocabularies: ok")


def guessed(folder):
    """A file that does not say how text is cut: its ids are shown, and that they are a guess."""
    model = os.path.join(folder, "gpt2-smollm.gguf")
    with open(model, "rb") as f:
        cut = gguf.Model(f.read())
    cut.drop("tokenizer.ggml.pre")
    with open(os.path.join(folder, "guess.gguf"), "wb") as f:
        f.write(cut.pack())
    for name, line in ((model, b""), (os.path.join(folder, "guess.gguf"), b"tokenizer.ggml.pre")):
        done = subprocess.run([veritas, "tokenize", "-m", name], input=b"a b 12", capture_output=True)
        assert done.returncode == 0 and done.stdout and (line in done.stderr if line else not done.stderr), done
        assert done.stderr.count(b"\n") == (1 if line else 0), done


def rwkv(folder):
    """The longest piece at each byte, of a file that spells bytes by escapes."""
    with open(os.path.join(folder, "gpt2-smollm.gguf"), "rb") as f:
        cut = gguf.Model(f.read())
    pieces = ["<s>"] + [repr(bytes([i]))[2:-1] for i in range(256)] + ["ab", "abc", "\\n\\n", "\\xe4\\xb8\\x96"]
    for key in ("merges", "scores", "pre", "bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id"):
        cut.drop("tokenizer.ggml." + key)
    cut.set("tokenizer.ggml.model", gguf.STR, "rwkv")
    cut.set("tokenizer.ggml.tokens", gguf.ARRAY, (gguf.STR, pieces))
    cut.set("tokenizer.ggml.token_type", gguf.ARRAY, (gguf.I32, [3] + [1] * (len(pieces) - 1)))
    model = os.path.join(folder, "rwkv.gguf")
    with open(model, "wb") as f:
        f.write(cut.pack())
    text = "abcab\n\n\u4e16'\\ \u00e9".encode()
    got = ids(model, text)
    assert got == [258, 257, 259, 260, 1 + 0x27, 1 + 0x5c, 1 + 0x20, 1 + 0xc3, 1 + 0xa9], got
    assert call(["detokenize", "-m", model, *map(str, got)], b"").rstrip(b"\n") == text
    print("rwkv: ok")


def plamo(folder):
    """The cheapest cut, of a file whose pieces have scores; in PLaMo 3 runs are apart."""
    with open(os.path.join(folder, "gpt2-smollm.gguf"), "rb") as f:
        cut = gguf.Model(f.read())
    control = ["<|plamo:unk|>", "<|plamo:bos|>", "<|plamo:eos|>", "<|plamo:pad|>"]
    words = {"a": -3, "b": -3, "ab": -4, "b c": -2, "aaa": -8, " ": -1, "aa": -7}
    pieces = control + [f"<0x{i:02X}>" for i in range(256)] + list(words)
    for key in ("merges", "pre", "bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id"):
        cut.drop("tokenizer.ggml." + key)
    cut.set("tokenizer.ggml.tokens", gguf.ARRAY, (gguf.STR, pieces))
    cut.set("tokenizer.ggml.scores", gguf.ARRAY, (gguf.F32, [0.0] * 260 + [float(s) for s in words.values()]))
    cut.set("tokenizer.ggml.token_type", gguf.ARRAY, (gguf.I32, [2, 3, 3, 3] + [6] * 256 + [1] * len(words)))
    text = "ab caaaa\u00e9".encode()
    a, b, ab, b_c, aaa = 260, 261, 262, 263, 264
    for model, run in (("plamo2", [aaa, ab]), ("plamo3", [aaa, a, b])):
        cut.set("tokenizer.ggml.model", gguf.STR, model)
        path = os.path.join(folder, model + ".gguf")
        with open(path, "wb") as f:
            f.write(cut.pack())
        got = ids(path, text)
        assert got == [a, b_c, aaa, a, 4 + 0xc3, 4 + 0xa9], (model, got)
        assert call(["detokenize", "-m", path, *map(str, got)], b"").rstrip(b"\n") == text
        assert ids(path, b"<|plamo:eos|>") != [2] and ids(path, b"<|plamo:eos|>", "--special") == [2]
        assert ids(path, b"aaaab") == run, model
    print("plamo: ok")


recorded()
cases()
with tempfile.TemporaryDirectory() as temporary:
    generated(temporary)
    guessed(temporary)
    rwkv(temporary)
    plamo(temporary)
