#!/usr/bin/env python3
"""Writes src/template/unicode_table.c: what Python's str methods know of each code point.

    tools/unicode_template.py > src/template/unicode_table.c

The template interpreter must agree with jinja2, which runs on Python; so the tables come from Python itself (3.11,
Unicode 14). Case-Ignorable isn't exposed: it shows in how lower() treats a final sigma.
"""
import sys
import unicodedata

FLAGS = ["ALPHA", "DECIMAL", "DIGIT", "NUMERIC", "SPACE", "PRINT", "UPPER", "LOWER", "TITLE", "IGNORABLE"]


def flags(c):
    def ignorable():
        return ("A" + c + "\u03a3").lower()[-1] == "\u03c2" and ("1" + c + "\u03a3").lower()[-1] == "\u03c3"
    has = [c.isalpha(), c.isdecimal(), c.isdigit(), c.isnumeric(), c.isspace(), c.isprintable(),
           c.isupper(), c.islower(), unicodedata.category(c) == "Lt", ignorable()]
    return sum(1 << i for i, on in enumerate(has) if on)


def ranges():
    rows = []
    for cp in range(0x110000):
        f = flags(chr(cp))
        if rows and rows[-1][2] == f:
            rows[-1][1] = cp
        else:
            rows.append([cp, cp, f])
    return [r for r in rows if r[2]]


def mapping(change, skip=lambda c: False):
    rows = []
    for cp in range(0x110000):
        c = chr(cp)
        if 0xd800 <= cp < 0xe000 or change(c) == c or skip(c):
            continue
        to = [ord(x) for x in change(c)]
        assert len(to) <= 3
        rows.append((cp, to + [0] * (3 - len(to))))
    return rows


def emit(name, kind, cells, per_line=6):
    print(f"\nconst struct {kind} {name}[] = {{")
    for i in range(0, len(cells), per_line):
        print("    " + " ".join(cells[i:i + per_line]))
    print("};")
    print(f"const size_t {name}_n = sizeof {name} / sizeof *{name};")


def main():
    print("/* template/unicode_table.c - made by tools/unicode_template.py from Python "
          f"{sys.version_info[0]}.{sys.version_info[1]}, Unicode {unicodedata.unidata_version}. Do not edit. */")
    print('#include "template/unicode.h"')
    emit("vs_tp_ranges", "vs_tp_range", [f"{{0x{a:x},0x{b:x},0x{f:x}}}," for a, b, f in ranges()])
    one = lambda rows: [f"{{0x{cp:x},{{0x{t[0]:x},0x{t[1]:x},0x{t[2]:x}}}}}," for cp, t in rows]
    emit("vs_tp_upper", "vs_tp_mapping", one(mapping(str.upper)), 4)
    emit("vs_tp_lower", "vs_tp_mapping", one(mapping(str.lower)), 4)
    # only where title case isn't upper case
    emit("vs_tp_title", "vs_tp_mapping",
         one([(cp, t) for cp, t in ((ord(c), [ord(x) for x in c.title()] + [0] * (3 - len(c.title())))
              for c in map(chr, range(0x110000)) if not 0xd800 <= ord(c) < 0xe000 and c.title() != c.upper())]), 4)


main()
