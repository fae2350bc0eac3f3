#!/usr/bin/env python3
"""src/unicode against Python's str and unicodedata: every character that both know, and NFC of texts made to be hard.

    unicode.py HELPER                       HELPER is the program of tests/helpers/unicode.c

Python may know another version of Unicode; a character whose facts changed in between is counted, and there are few of them.
"""
import random
import subprocess
import sys
import time
import unicodedata

HELPER = sys.argv[1]
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
CHANGED = 40                             # at most; between versions 14 and 15 there are five


def white_space(c):
    return c in "\t\n\v\f\r\x85\u2028\u2029" or unicodedata.category(c) == "Zs"


def han(c):
    name = unicodedata.name(c, "")
    return name.startswith(("CJK UNIFIED", "CJK COMPAT", "CJK RADICAL", "KANGXI", "HANGZHOU")) or c in "\u3005\u3007\u303b" or None


def flags_of(c):
    ignorable = ("A" + c + "\u03a3").lower()[-1] == "\u03c2" and ("1" + c + "\u03a3").lower()[-1] == "\u03c3"
    has = (c.isalpha(), c.isdecimal(), c.isdigit(), c.isnumeric(), c.isspace(), c.isprintable(), c.isupper(), c.islower(),
           unicodedata.category(c) == "Lt", ignorable)
    return sum(1 << i for i, on in enumerate(has) if on)


def code_points(s):
    return ",".join(str(ord(c)) for c in s)


def facts():
    version, *rows = subprocess.run([HELPER, "facts"], capture_output=True, text=True, check=True).stdout.splitlines()
    changed, n = [], 0
    for row in rows:
        number, category, white, is_han, flags, combining, *cases = row.split()
        c = chr(int(number))
        if unicodedata.category(c) == "Cn" or 0xd800 <= ord(c) < 0xe000:
            continue
        n += 1
        want = [str(CATEGORIES.index(unicodedata.category(c))), str(int(white_space(c))), str(unicodedata.combining(c)),
                code_points(c.upper()), code_points(c.lower()), code_points(c.title())]
        if [category, white, combining, *cases] != want or int(flags) & 0x3ff != flags_of(c) or (han(c) and is_han != "1"):
            changed.append(hex(ord(c)))
        assert unicodedata.is_normalized("NFC", c) or int(flags) & 0x400, hex(ord(c))
    assert n > 140000 and len(changed) <= (0 if version == unicodedata.unidata_version else CHANGED), (version, n, changed)
    print(f"Unicode {version} here, {unicodedata.unidata_version} in Python: {n} characters, {len(changed)} changed: "
          f"{' '.join(changed)}")


def nfc(text):
    return subprocess.run([HELPER, "nfc"], input=text.encode(), capture_output=True, check=True).stdout.decode()


def known(c):
    return unicodedata.category(c) not in ("Cn", "Cs")


def forms():
    rng = random.Random(11)
    apart = [chr(c) for c in range(0x30000) if known(chr(c)) and unicodedata.decomposition(chr(c))]
    marks = [chr(c) for c in range(0x30000) if known(chr(c)) and unicodedata.combining(chr(c))]
    jamo = [chr(c) for c in (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11a7, 0x11c3), 0xac00, 0xac01, 0xd7a3)]
    plain = list("aAeEoO<>= \n1") + ["\u4e2d", "\u0e01", "\u09c7", "\U0001f600", "\u0344", "\u212b", "\u2126", "\ufb1d", "\u0958"]
    lines = [unicodedata.normalize(form, c) + tail for c in apart for form in ("NFC", "NFD") for tail in ("", "\u0301", "x")]
    lines += ["".join(rng.choice(rng.choice((apart, marks, jamo, plain, plain))) for _ in range(rng.randint(1, 12)))
              for _ in range(60000)]
    lines = [line.replace("\n", " ") for line in lines]
    got = nfc("\n".join(lines)).split("\n")
    bad = [line for line, to in zip(lines, got, strict=True) if unicodedata.normalize("NFC", line) != to]
    assert not bad, [ascii(line) for line in bad[:5]]
    for mark in ("\u0301", "\u0301\u0323", "\u1161", "\u09be", "\u0344"):
        for base in ("", "a"):
            text = base + mark * 3000
            assert nfc(text) == unicodedata.normalize("NFC", text), (base, mark)
    # ordering by class takes linear time: a million marks that all stand wrong
    text = "a" + "\u0301\u0323\u0345\u0334" * 250000
    t0 = time.monotonic()
    got = nfc(text)
    assert time.monotonic() - t0 < 5
    assert got == "\u1ea1" + "\u0334" * 250000 + "\u0323" * 249999 + "\u0301" * 250000 + "\u0345" * 250000
    print(f"NFC: {len(lines)} texts")


facts()
forms()
