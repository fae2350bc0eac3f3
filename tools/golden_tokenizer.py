#!/usr/bin/env python3
"""Makes tests/golden/tokenizer: mixed.txt from a seed, and for each model the SHA-256 of llama.cpp's ids of the whole text.

    golden_tokenizer.py text > tests/golden/tokenizer/mixed.txt
    golden_tokenizer.py ids NAME < ids-one-a-line >> tests/golden/tokenizer/ids.txt

The ids are those of libllama's llama_tokenize(add_special = true, parse_special = false). A line of ids.txt: NAME COUNT SHA-256
of the decimal ids joined by newlines.
"""
import hashlib
import random
import sys

RANGES = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x400, 0x4ff), (0x600, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x3040, 0x30ff),
          (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0x1f300, 0x1f6ff), (0x2000, 0x206f), (0x1, 0x1f), (0x10000, 0x10ffff)]
PIECES = ["I'm", "don't", "WE'LL", "it's", "<|im_start|>", "</s>", "<s>", "<|endoftext|>", "\t\t", "def f(x):", "\r\n", "  \n\n ",
          "e\u0301", "\U0001f468\u200d\U0001f469", "x_y", "CamelCase", "...", "!!!?", "<0x41>", "\u2581", "{}", "//",
          "for (int i = 0; i < n; i++)", "the quick brown fox", " and ", ", "]


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


if sys.argv[1] == "text":
    source = random.Random(20261124)
    sys.stdout.buffer.write("\n".join(line(source) for _ in range(2200)).encode())
else:
    ids = sys.stdin.read().split()
    print(sys.argv[2], len(ids), hashlib.sha256("\n".join(ids).encode()).hexdigest())
