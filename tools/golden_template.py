#!/usr/bin/env python3
"""Renders templates with jinja2 into tests/golden/template/*.json: [{template, context, text | error}, ...].

    tools/golden_template.py [--gguf FILE.gguf ...]

expressions*.json and statements.json are small cases; families.json are chat templates of our own in the style of
real model families, each with many conversations, models.json and ../calls.json those of golden_families.py; gguf.json
holds the templates of the model files given.
"""
import itertools
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import golden_families  # noqa: E402
import template_oracle  # noqa: E402

OUT = pathlib.Path(__file__).parent.parent / "tests/golden/template"
UNSTABLE = ("object at 0x", "<built-in", "<bound method", "<generator", "0x7", "<class", "<list_reverse")
# an address as text, complex numbers, Python's inner attributes: refused here on purpose
NOT_OURS = ("l|map('string')|replace", "l|map('string')|upper", "l|map('string')|wordcount", "l|map('string') is lower",
            "l|map('string') is upper", "-7 ** 2.5", "missing.__class__")
CONTEXT = {
    "s": "Hello World", "t": "  it's \"ok\"\n\tdone  ", "u": "Straße ÉCLAIR ΣΑΣ ǆ ﬁn 😀", "e": "", "l": [3, 1, 2], "n": None,
    "d": {"b": 2, "a": 1, "items": "x", "C": [1, {"z": None}]}, "i": 42, "neg": -7, "f": 3.5, "yes": True, "no": False,
    "words": ["b", "A", "c", "a"], "mixed": [1, "1", None, True, 1.5, [], {}],
    "people": [{"name": "bo", "age": 30, "in": {"x": 1}}, {"name": "Al", "age": 25, "in": {"x": 3}}, {"name": "cy", "age": 30}],
    "html": "<a href='x'>&</a>", "nested": [[1, 2], [3, [4, 5]]], "lines": "one\ntwo\r\n\nthree\x0bfour", "nums": [1, 2.5, -3, 0],
}


def expressions():
    subjects = ["s", "t", "u", "e", "l", "d", "i", "neg", "f", "yes", "n", "words", "people", "html", "missing", "lines", "mixed",
                "range(3)", "d.items()", "('x', 1)", "l|map('string')"]
    filters = ["abs", "capitalize", "center(20)", "count", "default('D')", "d('D', true)", "dictsort", "dictsort(by='value')",
               "escape", "first", "float", "float(9.5)", "indent", "indent(2, true)", "indent('> ', blank=true)", "int", "int(5)",
               "items|list", "join", "join(', ')", "last", "length", "list", "lower", "max", "min", "replace('l', 'LL')",
               "replace('', '-')", "replace('o', '0', 1)", "reverse|list", "round", "round(1)", "safe", "select|list",
               "reject|list", "sort", "sort(reverse=true)", "string", "sum", "title", "tojson", "tojson(indent=2)",
               "tojson(ensure_ascii=true)", "tojson(sort_keys=true)", "tojson(separators=(',', ':'))", "trim", "truncate(8)",
               "truncate(9, true, '!', 0)", "unique|list", "upper", "wordcount", "batch(2)|list", "batch(2, 'F')|list",
               "slice(2)|list", "map('upper')|list", "map(attribute='name')|list", "map(attribute='in.x', default=0)|list",
               "selectattr('age', 'gt', 26)|list", "rejectattr('in')|list", "groupby('age')", "sort(attribute='age,name')",
               "sum(attribute='age')", "max(attribute='age')", "urlencode", "filesizeformat", "attr('name')", "forceescape",
               "select('odd')|list", "reject('none')|list", "select('string')|list", "nosuch"]
    tests = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "sequence", "iterable",
             "true", "false", "callable", "lower", "upper", "escaped", "odd", "even", "divisibleby(2)", "eq(42)", "ne 1", "gt 2",
             "lt(3)", "ge(2)", "le 2", "in(l)", "in([1, 'x', none])", "sameas(none)", "equalto('x')", "not none"]
    methods = ["strip()", "strip('Hd ')", "lstrip()", "rstrip('\\n d')", "split()", "split('o')", "split(' ', 1)", "rsplit(' ', 1)",
               "rsplit(none, 1)", "split(maxsplit=1)", "splitlines()", "splitlines(true)", "startswith('He')",
               "endswith(('d', 'x'))",
               "startswith('e', 1)", "upper()", "lower()", "title()", "capitalize()", "swapcase()", "replace('l', 'L', 1)",
               "find('o')", "rfind('o')", "find('zz')", "index('o')", "count('l')", "count('')", "isdigit()", "isalpha()",
               "isalnum()", "isspace()", "isupper()", "islower()", "istitle()", "removeprefix('Hello')", "removesuffix('World')",
               "join(['a', 'b'])", "join(words)", "zfill(15)", "ljust(14, '.')", "rjust(14)", "center(14, '*')", "partition('o')",
               "rpartition('o')", "expandtabs()", "items()", "keys()", "values()", "get('a')", "get('q', 1)", "copy()", "pop()",
               "append(1)", "update({})", "index(1)", "count(1)", "format(1)", "nosuch()", "nosuch", "__class__", "isnumeric()"]
    for x, f in itertools.product(subjects, filters):
        if f != "urlencode" or x in ("s", "t", "u", "e", "i", "f", "n", "html", "lines"):      # a mapping isn't supported
            yield f"{x}|{f}"
    for x, f in itertools.product(subjects, tests):
        yield f"{x} is {f}"
    for x, f in itertools.product(["s", "t", "u", "e", "l", "d", "n", "words", "('x', 1)", "missing", "i", "lines"], methods):
        yield f"{x}.{f}"
    operands = ["1", "0", "-7", "2.5", "'ab'", "s", "l", "[1]", "(1, 2)", "d", "true", "none", "missing", "3"]
    for a, op, b in itertools.product(operands, ["+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">=", "in", "not in",
                                                 "and", "or"], operands):
        yield f"{a} {op} {b}"
    for x, i in itertools.product(["s", "u", "l", "d", "range(9)", "(1, 2, 3)", "missing", "n", "nested"],
                                  ["0", "-1", "9", "1:", ":2", "::2", "::-1", "-3:-1", "5:1:-2", ":", "'a'", "'items'",
                                   "none", "1.0",
                                   "true", "-9:9:3"]):
        yield f"{x}[{i}]"
    yield from [
        "1 < 2 < 3", "1 < 2 > 5", "1 == 1.0 == true", "not 1", "not not e", "-2 ** 2", "2 ** -1", "2 ** 3 ** 2",
        "-7 // 2", "-7 % 3",
        "7 % -3", "-7.5 // 2", "7.5 % -2", "1e3", "1.5e-7", "1e16", "1e15", "123456789012345678", "0.1 + 0.2", "1_000", "0x1f",
        "0b11", "0o17",
        "1 if yes", "1 if no", "1 if no else 2", "'a' if e else 'b' if yes else 'c'", "(1 if no) is defined", "'a' 'b' \"c\"",
        "'\\n\\t\\\\\\x41\\u00e9\\q'", "\"it's\"", "[s, t, u]", "{'k': [1, (2,), none, true, 1.0]}", "()", "(1,)", "[]",
        "{}", "[1, 2,]",
        "d.items", "d['items']", "d.a", "d.C[1].z", "d.zz", "d.zz.y", "people[0]['in']['x']", "people.0.name", "people[0].in",
        "s.upper", "range(5)", "range(1, 10, 3)|list", "range(3, 0, -1)|list", "range(0)", "range(1, 2, 0)", "dict(a=1, b=2)",
        "dict([('a', 1)], b=2)", "namespace(a=1)", "namespace(a=1).a", "namespace({'x': 2}).x", "namespace(_a=1)",
        "strftime_now('%d %b %Y')", "strftime_now('%Y-%m-%d %H:%M:%S %A %B %j %p %I %y %-d %e %%')", "raise_exception('no')",
        "'%s is %d and %.2f %5s|%-5s|%05d|%x' % (s, i, f, 'r', 'l', 42, 255)", "'%(a)s' % {'a': 1}", "'%s' % l",
        "'%d' % 'x'", "'%s'",
        "'%r %%' % 'q'", "'%s %s' % 1", "'{} {}'.format(1, 'b')", "'{0}{1}{0}'.format('a', 'b')", "'{a[0]} {b.a}'.format(a=l, b=d)",
        "'{:>8}|{:<8}|{:^8}|{:*^9}'.format('a', 'b', 'c', 'd')",
        "'{:05d} {:,} {:.2f} {:x} {:+d} {!r}'.format(42, 1234567, 3.14159, 255, 7, 'q')",
        "'{{}}'.format()", "'{}'.format()", "'%s'|format('x')", "'%(x)s'|format(x=3)", "42.55|round(1, 'floor')", "42.45|round(1)",
        "2.5|round", "3.5|round|int", "-2.5|round", "1234|round(-2)", "1250|round(-2)", "7|round(1, 'ceil')", "'3.7'|int",
        "' 12 '|int",
        "'0x1f'|int(base=16)", "'ff'|int(0, 16)", "'1_000'|int", "'abc'|int(7)", "'1e3'|float", "'inf'|float", "none|int", "l|int",
        "('<b>'|safe) + '<i>'", "('<b>'|e) ~ '<i>'", "[html|e]", "'<b>'|e|upper", "('<%s>'|safe) % '<x>'", "'a'|safe is escaped",
        "[1, [2, {'a': (1, none)}]]|tojson", "d|tojson(indent=4)", "{}|tojson(indent=2)", "[[], {}, [1]]|tojson(indent=1)",
        "{1: 2, none: 3, true: 4, 1.5: 5}|tojson", "u|tojson", "'\\u2028\\x7f\\x01</script>'|tojson", "missing|tojson",
        "1e400|tojson",
        "people|map(attribute='name')|map('title')|join('/')",
        "people|selectattr('name', 'equalto', 'bo')|map(attribute='age')|first",
        "l|select('gt', 1)|list|length", "l|map('string')|length", "words|sort(case_sensitive=true)", "words|unique(true)|list",
        "nums|sum", "nums|map('abs')|list", "people|groupby('age')|map('first')|list", "(people|groupby('age'))[0].list|length",
        "mixed|select|list", "mixed|reject|list", "s|list|join('-')", "s|reverse", "u|reverse", "u|length", "u[3:6]", "u.find('É')",
        "'ΑΣ'.lower()", "'ΣΑΣ ΣΑ'|lower", "'ŉ ß ﬁ'|upper", "'hello wORLD-foo (bar)'|title", "\"they're bill's\".title()",
        "'ǆ'.title()",
        "'a' in s", "'Hello' in s", "1 in s", "1 in l", "'a' in d", "none in mixed", "[] in mixed", "1 in none", "'x' in missing",
        "s == missing", "missing == missing2", "none == missing", "missing < 1", "missing + 1", "missing.x",
        "missing['x']", "-missing",
        "[1, 2] < [1, 3]", "(1, 2) == [1, 2]", "'a' < 'B'", "1 < 'a'", "[1] + (2,)", "d == {'b': 2}", "{'a': 1} == {'a': 1.0}",
        "range is callable", "s.upper is callable", "missing is callable", "'upper' is filter", "'odd' is test", "'x' is filter",
        "i is not odd", "i is even and f is float", "not i is even", "i is divisibleby 7", "s is string and s", "l is sequence",
        "lipsum is defined", "cycler(1, 2).next()", "joiner('|')()", "loop is defined", "caller is defined",
        "l|first + l|last", "1, 2", "l[0], l[1]", "*l", "range(*[1, 4])|list", "dict(**{'a': 1})", "s.split(sep='o')",
        "s.strip(chars='H')",
        "s|trim('dH')", "s|trim(chars='H')", "s|default", "e|default('x', boolean=true)", "s|replace(old='l', new='L')",
        "s|replace('l')",
        "d|dictsort(reverse=true)|first", "d|items|first", "d.items()|first", "d.keys()|list", "d|list", "d|length",
        "d.values()|list|tojson",
        "'%c%c' % (65, 'b')", "'a' * 3", "3 * 'ab'", "[1] * 2", "'a' * -1", "l|join(attribute='x')",
        "people|join(', ', attribute='name')",
        "'x'.join('abc')", "''.join([1])", "'abc'[5]", "'abc'[5] is defined", "().__class__", "d._x",
    ]


def statements():
    yield from [
        "{% for x in l %}{{ x }},{% endfor %}", "{% for x in l %}{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }} "
        "{% endfor %}",
        "{% for x in l %}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.index0 }}{{ loop.previtem }}{{ loop.nextitem "
        "}};{% endfor %}",
        "{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{{ loop.depth }}{% endfor %}",
        "{% for x in [] %}a{% else %}none{% endfor %}",
        "{% for x in l %}{% continue %}{% else %}E{% endfor %}", "{% for x in l %}{% break %}{% else %}E{% endfor %}",
        "{% for x in l if x > 1 %}{{ x }}{{ loop.last }}{{ loop.length }}{% else %}E{% endfor %}",
        "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
        "{% for k in d %}{{ k }}{% endfor %}", "{% for c in u %}[{{ c }}]{% endfor %}", "{% for a, b in l %}{% endfor %}",
        "{% for x in n %}{% endfor %}",
        "{% for x in missing %}{% else %}E{% endfor %}",
        "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}",
        "{% for x in l %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}",
        "{% for x in l|map('string') %}{{ loop.length }}{{ x }}{% endfor %}",
        "{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}",
        "{% set x = 1 %}{% for y in l %}{% set x = y %}{{ x }}{% endfor %}{{ x }}",
        "{% for y in l %}{{ x }}{% set x = y %}{{ x }}{% endfor %}{{ x }}",
        "{% for y in l %}{{ i }}{% endfor %}{% set i = 5 %}{{ i }}",
        "{{ i }}{% set i = 5 %}{{ i }}", "{% if yes %}{% set i = 5 %}{% endif %}{{ i }}",
        "{% if no %}{% set i = 5 %}{% endif %}{{ i }}",
        "{% for y in l %}{% if no %}{% set i = 5 %}{% endif %}{{ i }}{% endfor %}",
        "{% if no %}{% elif yes %}{% set q = 5 %}{% else %}{% set q = 6 %}{% endif %}{{ q }}",
        "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = l %}{{ a }}", "{% set (a, b), c = (1, 2), 3 %}{{ a }}{{ b }}{{ c }}",
        "{% set ns = namespace(x=1) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}", "{% set d.x = 1 %}",
        "{% set ns = namespace() %}{{ ns.q }}|{{ ns }}",
        "{% set ns.x = 1 %}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set x %}a{{ i }}b{% endset %}{{ x }}",
        "{% set x | upper %}a{{ s }}{% endset %}{{ x }}",
        "{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}",
        "{% macro m(a, b='B') %}{{ a }}-{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3, a=4) }}{{ m() }}",
        "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}",
        "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}",
        "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
        "{% macro m() %}{{ caller() }}!{% endmacro %}{% call m() %}body {{ i }}{% endcall %}",
        "{% macro m() %}{{ caller(1, 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}+{{ b }}{% endcall %}",
        "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
        "{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}",
        "{% macro m() %}{% set i = 3 %}{{ i }}{% endmacro %}{{ m() }}{{ i }}",
        "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
        "{% macro m() %}x{% endmacro %}{{ m }}{{ m.name }}",
        "{{ m() }}{% macro m() %}x{% endmacro %}", "{% filter upper %}abc {{ s }}{% endfilter %}",
        "{% filter replace('a', 'b')|upper %}aab{% endfilter %}",
        "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q }}",
        "{% with i = i + 1 %}{{ i }}{% endwith %}{{ i }}",
        "{% generation %}{{ s }}{% set z = 1 %}{% endgeneration %}{{ z }}", "{% print 1, 2 %}",
        "{% raw %}{{ x }}{% y %}{% endraw %}", "  {% raw %}\n a {% endraw %}\n b", "{%- raw -%}  a  {%- endraw -%}  b",
        "a{# c #}b", "a\n  {# c #}\nb", "a {#- c -#} b", "a\n  {#+ c +#}\n b", "{% if yes %}\n  a\n{% endif %}\nb\n",
        "  {% if yes %}\n  a\n  {% endif %}\n  b\n\n",
        "x {% if yes %}\n y {% endif %} z", "x\n  {%- if yes -%}\n y \n {%- endif -%}\n z", "x\n  {%+ if yes +%}\n y{% endif %}",
        "  {{ s }}  \n  {{- s -}}  \n x", "{{ s }}\n{{ s }}\n",
        "\t{% set a = 1 %}\n\t{{ a }}", "{% if yes %}a{% elif no %}b{% else %}c{% endif %}",
        "{% if no %}a{% elif yes %}b{% else %}c{% endif %}", "{% if no %}a{% elif no %}b{% else %}c{% endif %}",
        "{% if l|length > 2 and s %}ok{% endif %}", "{% if missing %}a{% else %}b{% endif %}",
        "{% if missing is defined and missing.x %}a{% else %}b{% endif %}",
        "{% if no %}{{ 1|nosuch }}{% endif %}x", "{% if yes %}{{ 1|nosuch }}{% endif %}x", "{{ 1|nosuch if no else 2 }}",
        "{% for x in [] %}{{ x|nosuch }}{% endfor %}",
        "{% break %}", "{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "{% if yes %}", "{% endif %}",
        "{% foo %}", "{{", "{{ }}", "{% %}", "{{ 1 + }}", "{{ (1 }}", "{{ 1) }}",
        "{{ 'a }}", "{# a", "{% raw %}", "{{ a b }}", "{{ 1 ! 2 }}", "{% set 1 = 2 %}", "{% set true = 2 %}",
        "{% for loop in l %}{{ loop }}{% endfor %}", "{% set loop = 1 %}{{ loop }}",
        "{% for x in l %}{% set loop = 1 %}{% endfor %}", "{{ a is b is c }}", "{{ l|map }}", "{{ f(a=1, 2) }}",
        "{{ {1: 2, }[1] }}", "{% if yes: %}a{% endif %}", "a\r\nb\rc\n", "a\n\n", "\n", "", "{{ '\n' }}|",
        "{% set a = [] %}{% set _ = a.append(1) %}", "{% do 1 %}", "{{ loop.index }}", "{% for x in l %}{{ loop }}{% endfor %}",
        "{% for x in d|dictsort %}{{ x }}{% endfor %}",
        "{% set c = cycler('a', 'b') %}{% for x in l %}{{ c.next() }}{{ c.current }}{% endfor %}",
        "{% set j = joiner(', ') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
        "{% for x in l recursive %}{{ x }}{% endfor %}" if False else "{% for x in (1, 2) %}{{ x }}{% endfor %}",
        "{% for x in 1, 2 %}{{ x }}{% endfor %}", "{% for x in l if x is odd %}{{ x }}{% endfor %}",
        "{% for m in people %}{% if not loop.first %}, {% endif %}{{ m.name }}{% endfor %}",
        "{% for m in people[1:] %}{{ m.name }}{{ loop.index0 }}{% endfor %}", "{% for m in people[::-1] %}{{ m.name }}{% endfor %}",
    ]
    # white space control in every combination around statements, prints and comments
    for a, b, (open_, close, body) in itertools.product(["", "-", "+"], ["", "-", "+"],
                                                         [("{%", "%}", " set q = 1 "), ("{{", "}}", " i "), ("{#", "#}", " c ")]):
        if b == "+" and open_ == "{{":
            continue
        for text in ("a \n  @  \n b", "@\n\n@", " @ @\n", "x@\ny", "\n \n @ \n"):
            yield text.replace("@", open_ + a + body + b + close)


CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "Hi"}]},
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Why? "},
                  {"role": "assistant", "content": "Because.\n"},
                  {"role": "user", "content": "<|im_end|>é"}], "add_generation_prompt": True},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "part"}, {"type": "image"}]}],
     "add_generation_prompt": True},
    {"messages": [{"role": "user", "content": "weather?"},
                  {"role": "assistant", "content": None,
                   "tool_calls": [{"type": "function", "id": "c1aaaaaaa",
                                   "function": {"name": "get", "arguments": {"city": "Köln", "n": 2}}}]},
                  {"role": "tool", "name": "get", "content": "{\"t\": 5}", "tool_call_id": "c1aaaaaaa"},
                  {"role": "assistant", "content": "<think>\nhm\n</think>\n\n5 degrees"}],
     "tools": [{"type": "function",
                "function": {"name": "get", "description": "gets \"it\"", "parameters": {"type": "object", "properties": {
         "city": {"type": "string", "enum": ["a", "b"], "description": "c"}, "n": {"type": ["integer", "null"], "default": 1},
         "xs": {"type": "array", "items": {"type": "object", "properties": {"q": {"type": "number"}}}}}, "required": ["city"]}}}],
         "add_generation_prompt": True},
    {"messages": [{"role": "assistant", "content": "first"}, {"role": "assistant", "content": "again"}]},
    {"messages": []},
]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

CHATML = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages and messages[0]['role'] == 'system' %}{{- messages[0]['content'] + '\\n\\n' }}{%- endif %}
    {{- '# Tools' }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- elif messages and messages[0]['role'] == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool>')\
 and message.content.endswith('</tool>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- if loop.last or (not loop.last and reasoning) %}{{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' }}\
{%- endif %}
        {{- content }}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}\
{%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- if enable_thinking is defined and enable_thinking is false %}\
{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"""

LLAMA3 = """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not date_string is defined %}{%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}\
{%- set date_string = "26 Jul 2024" %}{%- endif %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages and messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content']|trim %}\
{%- set messages = messages[1:] %}{%- else %}{%- set system_message = "" %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday: " + date_string + "\\n" }}
{%- if tools is not none %}{%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}{%- endif %}
{{- system_message }}{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("one tool call at a time") }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + tool_call.name + '", "parameters": ' }}\
{{- tool_call.arguments | tojson }}{{- "}<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable and message.content is not string %}\
{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""

ALTERNATING = """{{ bos_token }}{% if messages and messages[0]['role'] == 'system' %}\
{% set system_message = '<<SYS>>\\n' + messages[0]['content'] | trim + '\\n<</SYS>>\\n\\n' %}{% set messages = messages[1:] %}\
{% else %}{% set system_message = '' %}{% endif %}{% for message in messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must\
 alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 %}\
{% set content = system_message + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}\
{% if message['role'] == 'user' %}{{ '[INST] ' + content | trim + ' [/INST]' }}{% elif message['role'] == 'assistant' %}\
{{ ' '  + content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"""

TURNS = """{{ bos_token }}
{%- if messages and messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}{%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}{%- else -%}\
{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}{%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}\
{%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}
"""

TYPESCRIPT = """{%- macro kind(p) -%}
    {%- if p.type == "array" -%}
        {%- if p['items'] -%}{{ kind(p['items']) }}[]{%- else -%}any[]{%- endif -%}
    {%- elif p.type is iterable and p.type is not string -%}
        {%- for t in p.type -%}{{ kind({"type": t}) }}{%- if not loop.last %} | {% endif -%}{%- endfor -%}
    {%- elif p.enum -%}
        {{- '"' + p.enum|join('" | "') + '"' -}}
    {%- elif p.type == "object" -%}
        {%- if p.properties -%}{{- "{\n" }}{%- for k, v in p.properties.items() -%}{{- "  " + k }}\
{%- if k not in (p.required or []) -%}?{%- endif -%}: {{ kind(v) }}{%- if not loop.last -%}, {%- endif -%}{%- endfor -%}{{- "}" }}\
{%- else -%}object{%- endif -%}
    {%- else -%}{{- {"string": "string", "integer": "number", "number": "number"}.get(p.type, p.type) -}}{%- endif -%}
{%- endmacro -%}
{%- macro namespace_of(name, tools) -%}
## {{ name }}
namespace {{ name }} {
{% for tool in tools %}{%- set tool = tool.function %}
// {{ tool.description }}
type {{ tool.name }} = (_: {
{%- for k, p in tool.parameters.properties.items() %}
{{ ("// " + p.description + "\n") if p.description else "" }}{{ k }}{{ "?" if k not in tool.parameters.required }}: {{ kind(p) }}\
{% if p.default is defined %} // default: {{ p.default | tojson }}{% endif %},
{%- endfor %}
}) => any;
{% endfor %}
} // namespace {{ name }}
{%- endmacro -%}
<|start|>system<|message|>Today {{ strftime_now("%Y-%m-%d") }}
{%- if tools %}{{ "\\n\\n" + namespace_of("functions", tools) }}{% endif %}<|end|>
{%- set last = namespace(tool=none) %}
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if "tool_calls" in message %}
            {%- set call = message.tool_calls[0].function %}
            {{- "<|start|>assistant to=functions." ~ call.name ~ "<|channel|>commentary json<|message|>" ~ call.arguments|tojson\
 ~ "<|call|>" }}
            {%- set last.tool = call.name %}
        {%- elif loop.last and not add_generation_prompt %}
            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
        {%- else %}{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}{%- set last.tool = none %}\
{%- endif %}
    {%- elif message.role == 'tool' -%}
        {%- if last.tool is none %}{{- raise_exception("no call before the tool") }}{%- endif %}
        {{- "<|start|>functions." + last.tool + " to=assistant<|message|>" + message.content|tojson + "<|end|>" }}
    {%- else -%}{{- "<|start|>" ~ message.role ~ "<|message|>" ~ message.content ~ "<|end|>" }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}"""

R1 = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}\
{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}\
{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}\
{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}\
{{'<｜User｜>' ~ message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is none %}\
{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}\
{{'<｜Assistant｜><｜tool▁calls▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name']\
 + '\\n' + '```json' + '\\n' + tool['function']['arguments']|tojson + '\\n' + '```'}}{%- set ns.is_first = true -%}{%- endif %}\
{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}\
{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}\
{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}\
{{'<｜tool▁output▁begin｜>' + message['content']}}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜tool▁outputs▁end｜>'}}{% endif %}\
{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜>'}}{% endif %}"""

NEMO = """{%- if messages and messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}\
{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- for message in loop_messages | rejectattr("role", "equalto", "tool") | rejectattr("role", "equalto", "tool_results")\
 | selectattr("tool_calls", "undefined") %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}{{- raise_exception("roles must alternate") }}{%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}{{- "[AVAILABLE_TOOLS][" }}{%- for tool in tools %}\
{%- set tool = tool.function %}{{- '{"type": "function", "function": {' }}{%- for key, val in tool.items() if key != "return" %}\
{%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}\
{%- if not loop.last %}{{- ", " }}{%- endif %}{%- endfor %}{{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}\
{%- endif %}{%- endfor %}{{- "[/AVAILABLE_TOOLS]" }}{%- endif %}
        {%- if loop.last and system_message is defined %}{{- "[INST]" + system_message + "\\n\\n" + message["content"]\
 + "[/INST]" }}{%- else %}{{- "[INST]" + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS][" }}{%- for tool_call in message.tool_calls %}{%- set out = tool_call.function|tojson %}{{- out[:-1] }}\
{%- if not tool_call.id is defined or tool_call.id|length != 9 %}{{- raise_exception("id") }}{%- endif %}\
{{- ', "id": "' + tool_call.id + '"}' }}{%- endfor %}{{- "]" + eos_token }}
    {%- elif message["role"] == "assistant" %}{{- message["content"] + eos_token}}
    {%- elif message["role"] == "tool" %}{{- '[TOOL_RESULTS]{"content": ' + message.content|string\
 + ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}"""

FAMILIES = [CHATML, LLAMA3, ALTERNATING, TURNS, TYPESCRIPT, R1, NEMO]


def case(template, context):
    if any(x in template for x in NOT_OURS):
        return None
    text, error = template_oracle.render(template, context)
    if text is not None and any(x in text for x in UNSTABLE):
        return None
    if error and ("AssertionError" in error or "MemoryError" in error):
        return None
    return {"template": template, "context": context, **({"text": text} if error is None else {"error": error[:120]})}


def write(name, cases):
    cases = [c for c in cases if c]
    with open(OUT / name, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases) + "\n]\n")
    print(f"{name}: {len(cases)} cases, {sum('error' in c for c in cases)} of them errors")


def names_used(source):
    return {k: v for k, v in CONTEXT.items() if k in source}


def chats(templates, conversations=CONVERSATIONS):
    for template in templates:
        for context in conversations:
            yield case(template, {**SPECIAL, **context})


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    cases = list(expressions())
    for part in range(2):
        write(f"expressions{part + 1}.json", (case("{{ " + x + " }}", names_used(x)) for x in cases[part::2]))
    write("statements.json", (case(x, names_used(x)) for x in statements()))
    write("families.json", chats(FAMILIES))
    write("models.json", chats(golden_families.MODELS.values(), golden_families.CONVERSATIONS))
    with open(OUT.parent / "calls.json", "w", encoding="utf-8") as f:
        rows = [json.dumps(row, ensure_ascii=False) for row in golden_families.called(template_oracle.render)]
        f.write("[\n" + ",\n".join(rows) + "\n]\n")
    if "--gguf" in sys.argv:
        from gguf import GGUFReader
        found = {}
        for path in sys.argv[sys.argv.index("--gguf") + 1:]:
            field = GGUFReader(path).get_field("tokenizer.chat_template")
            if field:
                found[field.contents()] = path
        write("gguf.json", chats(found))


main()
