#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/pretok.txt: how each pre-tokenizer rule cuts mixed.txt (golden_tokenizer.py) and edges.txt beside
it.

    golden_pretok.py edges > tests/golden/tokenizer/edges.txt
    golden_pretok.py > tests/golden/tokenizer/pretok.txt

The oracle is the `tokenizers` package from PyPI (0.23; Oniguruma with Unicode 16) running the patterns that the models' own
tokenizer.json files name, pass after pass. Lines with characters that this Python knows as unassigned and the library does not are
left out: the first row lists them.
A row: name of tokenizer.ggml.pre, number of pieces, FNV-1a (64 bits) over the pieces' lengths in bytes as u32le.
"""
import pathlib
import sys
import unicodedata

from tokenizers import Regex, pre_tokenizers

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
    "glm4": [LLAMA3],
    "glm5": [LLAMA3],
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
    "youtu": ["[\uac00-\ud7a3\u3131-\u318e]+"
              "|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
              "|[\u3105-\u312f]+|" + CJK_KANA, cased(CI + "?") + r"|\p{N}" + SLASH + W1],
    "tekken": [cased() + r"|\p{N}" + SLASH + W1],
    "gpt-4o": [GPT4O],
    "granite-embed-multi-97m": [GPT4O],         # whose cased() has marks in both halves
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
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
    "gemma4": [r"[^\n]+|[\n]+"],
    "laguna": [r"[^\n]+|[\n]+", QWEN2],
    "minicpm5": [r"\p{N}{1,3}", CI + "|" + LETTER + r"|\p{N}+" + SYM + W1],
    "ufakzeka": [LETTER + r"|\p{N}" + SYM + W1],
}


# Names whose tokenizer.json says {"type": "NFC"}; the table in src/tokenizer/pretok.c has the whole list.
NFC = {"qwen2", "qwen35", "tiny_aya"}


def passes(name):
    """The rule as the library's pre-tokenizers, pass after pass."""
    return [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in RULES[name]]


def assigned(c, unassigned=pre_tokenizers.Split(Regex(r"\p{Cn}"), "removed")):
    return bool(unassigned.pre_tokenize_str(c))


def edges():
    """Characters of every category, and those that engines take for parts of words, where rules look at their neighbours."""
    of = {}
    for point in range(0x20, 0x30000):
        category = unicodedata.category(chr(point))
        if category not in ("Cn", "Cs") and assigned(chr(point)):
            of.setdefault((category, point > 0xff, point > 0xffff), []).append(chr(point))
    some = [c for k in sorted(of)
            for c in of[k][::max(1, len(of[k]) // 6)][:6]] + list("\u24b6\u24e9\u2160\u2070\u00aa\u200d\u203f")
    for c in some:
        yield f"1{c}12{c}123{c}1234567{c} {c}{c}a{c}A{c} a{c}'s{c}S'{c}!{c}{c}7 {c}"


def main():
    if sys.argv[1:] == ["edges"]:
        sys.stdout.buffer.write("\n".join(edges()).encode())
        return
    lines = [line for name in ("mixed.txt", "edges.txt") for line in (HERE / name).read_bytes().decode().split("\n")]
    # whole paragraphs, so that newlines and long runs are cut too
    lines += ["\n".join(lines[i:i + 9]) for i in range(0, len(lines), 9)]
    strange = {c for c in set("".join(lines)) if (unicodedata.category(c) != "Cn") != assigned(c)}
    out = {i for i, line in enumerate(lines) if strange & set(line)}
    print("without", *sorted(out))
    for name in RULES:
        rule = pre_tokenizers.Sequence(passes(name))
        n, h = 0, 0xcbf29ce484222325
        for i, line in enumerate(lines):
            if i in out or not line:
                continue
            for piece, _ in rule.pre_tokenize_str(line):
                n += 1
                for b in len(piece.encode()).to_bytes(4, "little"):
                    h = (h ^ b) * 0x100000001b3 & 0xffffffffffffffff
        print(name, n, f"{h:016x}")


if __name__ == "__main__":
    main()
