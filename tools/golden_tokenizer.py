#!/usr/bin/env python3
"""Makes tests/golden/tokenizer: mixed.txt from a seed, and for each model the SHA-256 of the ids of the whole text.

    golden_tokenizer.py text > tests/golden/tokenizer/mixed.txt
    golden_tokenizer.py ids NAME MODEL.gguf >> tests/golden/tokenizer/ids.txt
    golden_tokenizer.py ids - MODEL.gguf < TEXT            prints the ids of another text

The oracle is the `tokenizers` package from PyPI (0.23), given the vocabulary, merges and types of the file (read with `gguf`):
what the models' own tokenizer.json says, with the rules of golden_pretok.py. A bos comes first where the file wants one; control
pieces match nothing, as in text of a user. The lines that golden_pretok.py leaves out are left out here too. A line of ids.txt:
NAME COUNT SHA-256 of the decimal ids joined by newlines.
"""
import hashlib
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/tokenizer"
RANGES = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x400, 0x4ff), (0x600, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f),
          (0x3040, 0x30ff),
          (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0x1f300, 0x1f6ff), (0x2000, 0x206f), (0x1, 0x1f), (0x10000, 0x10ffff)]
PIECES = ["I'm", "don't", "WE'LL", "it's", "<|im_start|>", "</s>", "<s>", "<|endoftext|>", "\t\t", "def f(x):", "\r\n", "  \n\n ",
          "e\u0301", "\U0001f468\u200d\U0001f469", "x_y", "CamelCase", "...", "!!!?", "<0x41>", "\u2581", "{}", "//",
          "for (int i = 0; i < n; i++)", "the quick brown fox", " and ", ", "]
UNKNOWN, CONTROL, USER, BYTE = 2, 3, 4, 6


def line(rng):
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < .2:
            parts.append(" " * rng.randint(1, 5))
        elif kind < .35:
            parts.append(str(rng.randint(0, 10 ** rng.randint(1, 14))))
        elif kind < .55:
            parts.append(rng.choice(PIECES))
        else:
            low, high = rng.choice(RANGES)
            points = (rng.randint(low, high) for _ in range(rng.randint(1, 8)))
            parts.append("".join(chr(c) for c in points if not 0xd800 <= c <= 0xdfff))
    return "".join(parts)


def oracle(path):
    """The file's tokenizer, and the ids that come in front of a text."""
    import gguf
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

    import golden_pretok

    fields = gguf.GGUFReader(path).fields

    def key(name, default=None):
        field = fields.get("tokenizer.ggml." + name)
        return field.contents() if field else default

    pieces, types, model = key("tokens"), key("token_type"), key("model")
    vocabulary = {}
    for i, piece in enumerate(pieces):
        vocabulary.setdefault(piece, i)
    if model == "gpt2":
        pairs = [(m[0] + m[1:].split(" ", 1)[0], m[1:].split(" ", 1)[1]) for m in key("merges")]
        t = Tokenizer(models.BPE(vocabulary, [(a, b) for a, b in pairs if {a, b, a + b} <= vocabulary.keys()]))
        t.normalizer = normalizers.NFC() if key("pre") in golden_pretok.NFC else None
        t.pre_tokenizer = pre_tokenizers.Sequence(golden_pretok.passes(key("pre"))
                                                  + [pre_tokenizers.ByteLevel(False, use_regex=False)])
    else:                                # pairs in the order of what they make: best score first
        scores = key("scores")
        made = sorted((i for i in vocabulary.values() if types[i] not in (UNKNOWN, CONTROL, BYTE)), key=lambda i: -scores[i])
        pairs = [(pieces[i][:k], pieces[i][k:]) for i in made for k in range(1, len(pieces[i]))]
        t = Tokenizer(models.BPE(vocabulary, [(a, b) for a, b in pairs if a in vocabulary and b in vocabulary],
                                 unk_token=pieces[key("unknown_token_id", 0)], fuse_unk=True, byte_fallback=True))
        t.normalizer = normalizers.Replace(" ", "\u2581")
    t.add_tokens([AddedToken(p, normalized=False) for p, kind in zip(pieces, types) if kind == USER])
    return t, [key("bos_token_id")] if key("add_bos_token", model == "llama") else []


if sys.argv[1] == "text":
    source = random.Random(20261124)
    sys.stdout.buffer.write("\n".join(line(source) for _ in range(2200)).encode())
else:
    tokenizer, ids = oracle(sys.argv[3])
    if sys.argv[2] == "-":
        print(*ids + tokenizer.encode(sys.stdin.buffer.read().decode()).ids)
    else:
        without = set(map(int, (HERE / "pretok.txt").read_text().split("\n")[0].split()[1:]))
        lines = (HERE / "mixed.txt").read_bytes().decode().split("\n")
        ids += tokenizer.encode("\n".join(line for i, line in enumerate(lines) if i not in without)).ids
        print(sys.argv[2], len(ids), hashlib.sha256("\n".join(map(str, ids)).encode()).hexdigest())
