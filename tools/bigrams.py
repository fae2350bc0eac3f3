#!/usr/bin/env python3
"""Makes src/filter/bigrams.c: what each pair of characters costs in words that people write, in eighths of a bit.

usage: bigrams.py FOLDER...              what holds source code and English; what is committed was made from this tree, Python's
                                         library, /usr/include and harmless prompts
       bigrams.py --judge FOLDER...      how far random strings and words of the corpus that were left out lie apart

A string of random characters is told from a word or an identifier by its mean cost, better than by its entropy: "configuration" and
"kq3zv9xw1mbt2" have nearly the same entropy. Every different word counts once, with the logarithm of how often it stands there, so
that no file rules. What looks like a hash itself is left out. Standard library only.
"""
import json
import math
import random
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "src/filter/bigrams.c"
N, OTHER, LONGEST, MAX_COST = 64, 63, 40, 120
SUFFIXES = {".c", ".h", ".py", ".md", ".txt", ".jsonl", ".cmake", ".html", ".js", ".json"}


def symbol(c):
    """As vs_random_symbol of src/filter/random.c."""
    if "a" <= c <= "z":
        return ord(c) - 97
    if "A" <= c <= "Z":
        return ord(c) - 65 + 26
    if "0" <= c <= "9":
        return ord(c) - 48 + 52
    return 62 if c in "_-" else OTHER


def words(folders):
    count = Counter()
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            if path.suffix not in SUFFIXES or not path.is_file() or path.stat().st_size > 1 << 20:
                continue
            if {"build", ".git", "data", "corpus", "golden", "results"} & set(path.relative_to(folder).parts[:-1]):
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            if path.suffix == ".jsonl":
                text = "\n".join(json.loads(line).get("text", "") for line in text.splitlines() if line)
            for word in re.findall(r"[A-Za-z0-9_-]+", text):
                word = word.strip("-_")
                if 3 <= len(word) <= LONGEST and sum(c.isdigit() for c in word) <= 3 and re.search("[A-Za-z]{3}", word):
                    count[word] += 1
    return count


def table(count):
    pair = [[0.0] * N for _ in range(N)]
    for word, times in count.items():
        before = OTHER
        for c in word:
            pair[before][symbol(c)] += 1 + math.log2(times)
            before = symbol(c)
    single = [sum(pair[a][b] for a in range(N)) + 1 for b in range(N)]
    total = sum(single)
    made = []
    for a in range(N):
        whole = sum(pair[a])
        row = [(pair[a][b] + 20 * single[b] / total) / (whole + 20) for b in range(N)]      # smoothed by the single characters
        made.append([min(MAX_COST, round(-8 * math.log2(p))) for p in row])
    return made


def cost(made, text):
    before, total = OTHER, 0
    for c in text:
        total += made[before][symbol(c)]
        before = symbol(c)
    return total / len(text)


def judge(count):
    rng = random.Random(1)
    held = {w for w in count if rng.random() < 0.1}
    made = table({w: n for w, n in count.items() if w not in held})
    small, large, digits = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
    alphabets = {"alnum": large + small + digits, "lower": small + digits, "hex": digits + small[:6], "letters": small,
                 "upper": large + digits[2:8]}
    for length in (8, 12, 16, 24, 32):
        near = sorted(cost(made, w) for w in held if length - 2 <= len(w) <= length + 4) or [0]
        line = f"{length:3} words " + " ".join(f"p{p} {near[len(near) * p // 100]:.0f}" for p in (50, 95, 99))
        for name, alphabet in alphabets.items():
            far = sorted(cost(made, "".join(rng.choice(alphabet) for _ in range(length))) for _ in range(2000))
            line += f" | {name} p1 {far[20]:.0f} p5 {far[100]:.0f} p50 {far[1000]:.0f}"
        print(line)


def main():
    folders = [a for a in sys.argv[1:] if a != "--judge"]
    if not folders:
        sys.exit(__doc__)
    count = words(folders)
    if "--judge" in sys.argv[1:]:
        return judge(count)
    lines = ["/* filter/bigrams.c - what each pair of characters costs in words, in eighths of a bit; a row for each",
             f" * first one, in the order of random.c. Made by tools/bigrams.py from {len(count)} words; not edited by hand. */",
             '#include "filter/random.h"', "", "const uint8_t vs_random_cost[VS_RANDOM_SYMBOLS][VS_RANDOM_SYMBOLS] = {"]
    for row in table(count):
        parts = [", ".join(map(str, row[at:at + 22])) for at in range(0, N, 22)]
        lines.append("    { " + ",\n      ".join(parts) + " },")
    OUT.write_text("\n".join(lines + ["};", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
