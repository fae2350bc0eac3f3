#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/pretok.txt: how each pre-tokenizer rule cuts tests/golden/tokenizer/mixed.txt.

    golden_pretok.py > tests/golden/tokenizer/pretok.txt

The oracle is Python's `regex` module running the patterns that the models' own tokenizer.json files name (pass after pass).
Lines with characters that the module's Unicode version sees otherwise than 15.0 are left out: the first row lists them.
A row: name of tokenizer.ggml.pre, number of pieces, FNV-1a (64 bits) over the pieces' lengths in bytes as u32le.
"""
import pathlib
import unicodedata

import regex

HERE = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/tokenizer"
C = "'s|'t|'re|'ve|'m|'ll|'d"
CI = "(?:'[sS\u017f]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
GPT2 = C + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
W1 = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LETTER = r"[^\r\n\p{L}\p{N}]?\p{L}+"
SYM = r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
SLASH = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*"
UP, LOW = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def cased(tail="", but=""):
    up, low = f"(?:{but}[{UP}])", f"(?:{but}[{LOW}])"
    return rf"[^\r\n\p{{L}}\p{{N}}]?{up}*{low}+{tail}|[^\r\n\p{{L}}\p{{N}}]?{up}+{low}*{tail}"


QWEN2 = CI + "|" + LETTER + r"|\p{N}" + SYM + W1
LLAMA3 = CI + "|" + LETTER + r"|\p{N}{1,3}" + SYM + W1
GPT4O = cased(CI + "?") + r"|\p{N}{1,3}" + SLASH + W1
DEEPSEEK3 = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
DEEPSEEK3_END = r"| ?[\p{P}\p{S}]+[\r\n]*" + W1
CJK_KANA = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
DEEPSEEK_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
PORO = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
RULES = {
    "llama-bpe": [LLAMA3],
    "qwen2": [QWEN2],
    "bailingmoe": ["'(?:[sS\u017fdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|" + LETTER + r"|\p{N}" + SYM + r"|\s*[\r\n]|\s+(?!\S)|\s+"],
    "qwen35": [CI + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + W1],
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", DEEPSEEK_CJK, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", CJK_KANA, DEEPSEEK3 + DEEPSEEK3_END],
    "spark2_5": [r"\p{N}{1,3}", CJK_KANA, DEEPSEEK3 + r"| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+", r"\p{N}"],
    "youtu": ["[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
              "|[\u3105-\u312f]+|" + CJK_KANA, cased(CI + "?") + r"|\p{N}" + SLASH + W1],
    "tekken": [cased() + r"|\p{N}" + SLASH + W1],
    "gpt-4o": [GPT4O],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*(?!\w))", GPT4O],
    "kimi-k2": [r"\p{Han}+|" + cased(CI + "?", r"(?!\p{Han})") + r"|\p{N}{1,3}" + SYM + W1],
    "superbpe": [r"\p{N}+", r"(?=(?:\d{3})+(?!\d))"],
    "seed-coder": [CI + "|" + LETTER + r"|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "exaone-moe": [CI + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"
                   r"|\s*[\r\n]|\s+(?!\S)|\s+"],
    "jais-2": [CI + "|" + LETTER + r"|\p{N}{1,3}" + SYM + r"|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)"
               r"|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}"],
    "bloom": [PORO],
    "viking": [PORO, r"\p{N}"],
    "chameleon": ["<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", r"[\t\n]|    |  ", r"\p{N}", r"[\p{P}!-/:-@\[-`{-~]", GPT2],
    "laguna": [r"[^\n]+|[\n]+", QWEN2],
    "minicpm5": [r"\p{N}{1,3}", CI + "|" + LETTER + r"|\p{N}+" + SYM + W1],
    "ufakzeka": [LETTER + r"|\p{N}" + SYM + W1],
}


def compiled(pattern):
    """\\s and \\d as the originals' engines have them: the property White_Space, and Nd."""
    pattern = pattern.replace(r"\s", r"\p{White_Space}").replace(r"\S", r"\P{White_Space}")
    return regex.compile(pattern.replace(r"\d", r"\p{Nd}").replace(r"\w", r"[\p{L}\p{M}\p{N}\p{Pc}]"), regex.V0)


def split(passes, text):
    pieces = [text]
    for pattern in passes:
        out = []
        for piece in pieces:
            at = 0
            for m in pattern.finditer(piece):
                if m.start() == m.end() and m.start() == at:
                    continue
                out += [piece[at:m.start()], m[0]]
                at = m.end()
            out.append(piece[at:])
        pieces = [p for p in out if p]
    return pieces


def same_everywhere(line, cn=regex.compile(r"\p{Cn}")):
    return all((unicodedata.category(c) == "Cn") == bool(cn.match(c)) for c in set(line))


lines = (HERE / "mixed.txt").read_bytes().decode().split("\n")
# whole paragraphs, so that newlines and long runs are cut too
lines += ["\n".join(lines[i:i + 9]) for i in range(0, len(lines), 9)]
out = [i for i, line in enumerate(lines) if not same_everywhere(line)]
print("without", *out)
for name, patterns in RULES.items():
    passes = [compiled(p) for p in patterns]
    n, h = 0, 0xcbf29ce484222325
    for i, line in enumerate(lines):
        if i in out:
            continue
        for piece in split(passes, line):
            n += 1
            for b in len(piece.encode()).to_bytes(4, "little"):
                h = (h ^ b) * 0x100000001b3 & 0xffffffffffffffff
    print(name, n, f"{h:016x}")
