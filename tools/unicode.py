#!/usr/bin/env python3
"""Makes src/unicode/data.c: all that this tree knows of Unicode, as runs and lists that unicode.c expands when a program starts.

    tools/unicode.py > src/unicode/data.c
    tools/unicode.py --check        exit 0 when the committed file is what the source gives, 77 when the source is absent

Source: the Unicode Character Database 15.0.0 as Debian's package unicode-data (15.0.0-1) installs it, or unpacked in a folder that
UNICODE_DATA names; and tools/confusables.txt, for characters that look like others. The version is
pinned: a new one changes token ids of newly assigned characters, so moving on is a decision. 15.0 is what the regular expressions
of the tokenizers knew when today's models were made (later ones know 16), and what the strings of Python 3.12 know, which
templates are compared with.
"""
import bz2
import os
import pathlib
import re
import sys

VERSION = "15.0.0"
UCD = pathlib.Path(os.environ.get("UNICODE_DATA", "/usr/share/unicode"))
CONFUSABLES = pathlib.Path(__file__).resolve().parent / "confusables.txt"
OUT = pathlib.Path(__file__).resolve().parent.parent / "src/unicode/data.c"
N = 0x110000
# Bit numbers, in the order of the enums in src/unicode/unicode.h.
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
WHITE_SPACE, HAN = 30, 31
ALPHA, DECIMAL, DIGIT, NUMERIC, SPACE, PRINT, UPPER, LOWER, TITLE, IGNORABLE, NFC_MOVES = (1 << i for i in range(11))

MOST_FOLDED = 4                          # characters that one may become
# Letters whose shape is that of a plain one, and which no decomposition says so of.
LETTER_BY_NAME = re.compile(r"(?:LATIN LETTER SMALL CAPITAL|LATIN (?:SMALL|CAPITAL) LETTER(?= . WITH)|"
                            r"REGIONAL INDICATOR SYMBOL LETTER|"
                            r"PARENTHESIZED LATIN (?:SMALL|CAPITAL) LETTER|"
                            r"(?:CROSSED )?NEGATIVE (?:CIRCLED|SQUARED) LATIN CAPITAL LETTER) ([A-Z])(?: WITH .*)?$")
PLAIN = {0xdf: "ss", 0x1e9e: "ss", 0xe6: "ae", 0xc6: "ae", 0x153: "oe", 0x152: "oe",
         **dict.fromkeys((0x2018, 0x2019, 0x201a, 0x201b, 0x2039, 0x203a), "'"),
         **dict.fromkeys((0xab, 0xbb, 0x201c, 0x201d, 0x201e, 0x201f), '"')}


def lines(name):
    text = bz2.open(UCD / (name + ".bz2"), "rt", encoding="utf-8").read() if (UCD / (name + ".bz2")).exists() \
        else (UCD / name).read_text(encoding="utf-8")
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if line:
            yield line


def having(name, *wanted):
    """Code points for which a file of properties says one of wanted; a property with a value is said as "NAME; VALUE"."""
    for line in lines(name):
        where, what = (part.strip() for part in line.split(";", 1))
        if re.sub(r"\s", "", what) in wanted:
            low, _, high = where.partition("..")
            yield from range(int(low, 16), int(high or low, 16) + 1)


class Data:
    def __init__(self):
        self.mask, self.flags, self.ccc = [1 << CATEGORIES.index("Cn")] * N, [0] * N, [0] * N
        self.decomposed = {}             # canonical, one step: code point -> one or two code points
        self.apart = {}                  # canonical or compatible, one step
        self.name = {}
        self.case = {"upper": {}, "lower": {}, "title": {}}
        first = None
        for line in lines("UnicodeData.txt"):
            field = line.split(";")
            code, name, category, bidi = int(field[0], 16), field[1], field[2], field[4]
            if name.endswith(", First>"):
                first = code
                continue
            flags = (ALPHA if category[0] == "L" else 0) | (DECIMAL if field[6] else 0) | (DIGIT if field[7] else 0) \
                | (NUMERIC if field[8] else 0) | (SPACE if category == "Zs" or bidi in ("WS", "B", "S") else 0) \
                | (PRINT if category[0] not in "CZ" or code == 0x20 else 0) | (TITLE if category == "Lt" else 0)
            for c in range(first if name.endswith(", Last>") else code, code + 1):
                self.mask[c], self.flags[c], self.ccc[c] = 1 << CATEGORIES.index(category), flags, int(field[3])
            self.name[code] = name
            if field[5]:
                self.apart[code] = [int(x, 16) for x in field[5].split() if x[0] != "<"]
            if field[5] and field[5][0] != "<":
                self.decomposed[code] = [int(x, 16) for x in field[5].split()]
            for kind, at in (("upper", 12), ("lower", 13)):
                if field[at]:
                    self.case[kind][code] = [int(field[at], 16)]
            self.case["title"][code] = [int(field[14] or field[12] or field[0], 16)]
        for line in lines("SpecialCasing.txt"):
            code, lower, title, upper, *condition = (part.strip() for part in line.split(";"))
            if not condition or not condition[0]:
                for kind, to in (("upper", upper), ("lower", lower), ("title", title)):
                    self.case[kind][int(code, 16)] = [int(x, 16) for x in to.split()]
        for name, what, flag in (("DerivedCoreProperties.txt", ["Uppercase"], UPPER),
                                 ("DerivedCoreProperties.txt", ["Lowercase"], LOWER),
                                 ("DerivedCoreProperties.txt", ["Case_Ignorable"], IGNORABLE),
                                 ("DerivedNormalizationProps.txt", ["NFC_QC;N", "NFC_QC;M"], NFC_MOVES)):
            for c in having(name, *what):
                self.flags[c] |= flag
        for line in lines("Unihan_NumericValues.txt"):
            self.flags[int(line.split()[0][2:], 16)] |= NUMERIC
        for bit, name, what in ((WHITE_SPACE, "PropList.txt", "White_Space"), (HAN, "Scripts.txt", "Han")):
            for c in having(name, what):
                self.mask[c] |= 1 << bit
        for c in range(N):
            if self.ccc[c]:
                self.flags[c] |= NFC_MOVES
        # unicode.c finds composites by this: two parts, and nothing that NFC moves
        excluded = set(having("DerivedNormalizationProps.txt", "Full_Composition_Exclusion"))
        for c, to in self.decomposed.items():
            assert (c not in excluded) == (len(to) == 2 and not self.flags[c] & NFC_MOVES), hex(c)
        upper = self.case["upper"]       # only where title case isn't upper case
        self.case["title"] = {c: to for c, to in self.case["title"].items() if to != upper.get(c, [c])}
        for kind in ("upper", "lower"):
            self.case[kind] = {c: to for c, to in self.case[kind].items() if to != [c]}
        self.make_folds()

    def make_folds(self):
        """For searching: lower case, compatible forms, Latin letters without their marks; gone: what nobody sees."""
        self.alike = {}
        for line in CONFUSABLES.read_text(encoding="utf-8").splitlines():
            if line and line[0] != "#":
                to, *codes = line.split()
                self.alike.update({int(code, 16): ord(to) for code in codes})
        mark = [1 << CATEGORIES.index(kind) for kind in ("Mn", "Me")]
        stay = (0, 7, 8, 9)              # vowels and the like of Indic scripts, nukta, voicing of kana, virama: part of a letter
        self.gone = {c for c in having("DerivedCoreProperties.txt", "Default_Ignorable_Code_Point")}
        self.gone |= {c for c in range(N) if self.mask[c] in mark and (self.ccc[c] not in stay or self.mask[c] == mark[1])}
        self.gone |= {c for c in range(N) if self.mask[c] & 1 << CATEGORIES.index("Cf")} | {0x640}
        self.fold = {}
        for c in self.name:
            if c >= 0x80 and c not in self.gone:
                to = self.fold_of(c)
                if not to:
                    self.gone.add(c)
                elif to != [c] and len(to) <= MOST_FOLDED:
                    self.fold[c] = to

    def apart_fully(self, c):
        return [x for part in self.apart[c] for x in self.apart_fully(part)] if c in self.apart else [c]

    def fold_of(self, c):
        name = self.name[c]
        if self.mask[c] & 1 << CATEGORIES.index("Pd"):
            return [ord("-")]
        if c in PLAIN:
            return [ord(x) for x in PLAIN[c]]
        found = LETTER_BY_NAME.match(name)
        if found:
            return [ord(found[1].lower())]
        parts = self.apart_fully(c)
        if any(self.ccc[x] in (7, 8, 9) for x in parts):
            parts = [c]
        parts = [x for x in parts if x not in self.gone]
        low = [y for x in parts for y in self.case["lower"].get(x, [x]) if y not in self.gone]
        return [self.alike[x] if self.name.get(x, "").startswith("LATIN ") and self.alike.get(x, 0) > 0x60 and x >= 0x80 else x
                for x in low]


def rows(values):
    line = ""
    for v in values:
        if len(line) + len(str(v)) > 130:
            yield line
            line = ""
        line += f"{v},"
    yield line


def runs_of(values):
    """(length, value); lengths have 16 bits."""
    out = []
    for v in values:
        if out and out[-1][1] == v and out[-1][0] < 0xffff:
            out[-1][0] += 1
        else:
            out.append([1, v])
    return out


def case_runs(mapping):
    """[first, n, step, delta]: n code points, each step apart, go to themselves + delta; the others one by one."""
    runs, several = [], []
    for c in sorted(mapping):
        if len(mapping[c]) > 1:
            several.append((c, mapping[c] + [0] * (3 - len(mapping[c]))))
            continue
        delta = mapping[c][0] - c
        if runs:
            first, n, step, d = runs[-1]
            gap = c - (first + (n - 1) * step)
            if d == delta and gap <= 2 and (n == 1 or gap == step):
                runs[-1] = [first, n + 1, gap, d]
                continue
        runs.append([c, 1, 1, delta])
    return runs, several


def generate():
    if VERSION not in (UCD / "PropList.txt").read_text(encoding="utf-8").splitlines()[0]:
        sys.exit(f"unicode.py: want Unicode {VERSION} in {UCD}")
    data = Data()
    of = list(zip(data.mask, data.flags, data.ccc))
    classes = sorted(set(of))
    assert len(classes) <= 256
    index = {c: i for i, c in enumerate(classes)}
    yield "/* unicode/data.c - made by tools/unicode.py from the Unicode Character Database. Do not edit. */"
    yield '#include "unicode/internal.h"'
    yield ""
    yield f'const char vs_unicode_version[] = "{VERSION}";'
    tables = [("uint32_t", "vs_unicode_classes", 3, classes),
              ("uint16_t", "vs_unicode_runs", 2, runs_of(index[c] for c in of))]
    several = []
    for kind, name in enumerate(("upper", "lower", "title")):
        one, more = case_runs(data.case[name])
        tables.append(("int32_t", f"vs_case_{name}", 4, one))
        several += [(c, kind, *to) for c, to in more]
    tables.append(("int32_t", "vs_case_several", 5, sorted(several)))
    apart, last = [], 0
    for c, to in sorted(data.decomposed.items()):
        apart.append((c - last, *to, *[0] * (2 - len(to))))
        last = c
    tables.append(("uint32_t", "vs_decompositions", 3, apart))
    one, more = case_runs(data.fold)
    tables.append(("int32_t", "vs_folds", 4, one))
    tables.append(("int32_t", "vs_folds_several", 1 + MOST_FOLDED,
                   [(c, *to, *[0] * (MOST_FOLDED - len(to))) for c, to in sorted(data.fold.items()) if len(to) > 1]))
    gone = []
    for c in sorted(data.gone):
        if gone and gone[-1][1] == c - 1:
            gone[-1][1] = c
        else:
            gone.append([c, c])
    tables.append(("int32_t", "vs_folds_gone", 2, gone))
    tables.append(("int32_t", "vs_alike", 2, sorted((c, to) for c, to in data.alike.items() if c not in data.fold
                                                     or data.fold[c][0] >= 0x80)))
    for kind, name, width, cells in tables:
        yield ""
        yield f"const {kind} {name}[] = {{"
        yield from rows(v for cell in cells for v in cell)
        yield "};"
        yield f"const unsigned {name}_n = sizeof {name} / sizeof *{name} / {width};"


def main():
    if not (UCD / "UnicodeData.txt").exists():
        print("unicode.py: Debian package unicode-data is not installed", file=sys.stderr)
        sys.exit(77)
    text = "\n".join(generate()) + "\n"
    if "--check" not in sys.argv:
        sys.stdout.write(text)
    elif OUT.read_text(encoding="utf-8") != text:
        sys.exit(f"unicode.py: {OUT.name} is not what Unicode {VERSION} gives; run tools/unicode.py > src/unicode/{OUT.name}")


main()
