/* rooms: grammar unicode base */
/* What constraints allow, over a vocabulary of all bytes and some longer tokens: texts that are accepted and refused, masks against
 * a try of each token, the shortest end, and that a text which is cut anywhere can be ended with so many tokens as was said. */
#include "base/utf8.h"
#include "grammar/grammar.h"
#include "unicode/unicode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static uint64_t seed = 88172645463325252u;

static uint32_t below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 11) % n);
}

/* ---- a vocabulary: ids 0 to 255 are bytes; then these; the last one ends an answer ---- */

static const char *const longer[] = {
    "ab", "abc", "aa", "aaa", "aaaa", "bb", "the", " the", "{\"", "\":", "\": \"", "\", \"", "\"}", "\"", "}}", "]]", "[[", "12",
            "123", "00",
    "true", "false", "null", "name", "  ", "\n  ", "\xc3\xa9", "\xe4\xbd\xa0", "\xe4\xbd\xa0\xe5\xa5\xbd", "\xe4\xbd", "a\"",
            "x\",", "\\n", "\\u",
    "\\\"", "-1", ".0", "e1", ", ", ": ", "a b", "hello world", "hello", "[1,", "(((", ")))", "\xf0\x9f\x98\x80",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
};
enum { N_LONGER = sizeof longer / sizeof *longer, END = 256 + N_LONGER, N_VOCAB = END + 1 };

static bool only_some_bytes;             /* the vocabulary lacks single bytes above 127 and most letters */
static char single[256];

static const char *text_of(void *context, uint32_t id, size_t *ret_n)
{
    (void)context;
    *ret_n = 0;
    if (id >= END)
        return NULL;
    if (id >= 256) {
        *ret_n = strlen(longer[id - 256]);
        return longer[id - 256];
    }
    *ret_n = only_some_bytes && (id > 127 || (id >= 'f' && id <= 'z')) ? 0 : 1;
    single[id] = (char)id;
    return single + id;
}

static bool is_end(void *context, uint32_t id)
{
    (void)context;
    return id == END;
}

static struct vs_vocabulary *vocabulary(void)
{
    static const struct vs_vocabulary_source source = { .n = N_VOCAB, .text = text_of, .is_end = is_end };
    struct vs_vocabulary *v;
    assert_int_equal(vs_vocabulary_create(&source, NULL, &v), VS_OK);
    return v;
}

static struct vs_vocabulary *v;

static int compile(const char *constraint, enum vs_grammar_use use, struct vs_grammar **ret, struct vs_error *err)
{
    json_error_t at;
    json_t *o = json_loads(constraint, JSON_ALLOW_NUL, &at);
    if (!o)
        fail_msg("%s: %s", constraint, at.text);
    *ret = NULL;
    int r = vs_grammar_compile(o, use, v, NULL, ret, err);
    json_decref(o);
    return r;
}

static struct vs_grammar *compiled(const char *constraint)
{
    struct vs_grammar *g;
    struct vs_error err = { 0 };
    if (compile(constraint, VS_GRAMMAR_WRITES, &g, &err) != VS_OK)
        fail_msg("%s: %s", constraint, err.text);
    return g;
}

static struct vs_matcher *matcher(const struct vs_grammar *g)
{
    struct vs_matcher *m;
    assert_int_equal(vs_matcher_create(g, &m), VS_OK);
    return m;
}

static bool accepts(const struct vs_grammar *g, const char *text, size_t n)
{
    struct vs_matcher *m = matcher(g);
    bool ok = vs_matcher_read(m, text, n) == n && vs_matcher_may_end(m);
    vs_matcher_free(m);
    return ok;
}

/* ---- accepted and refused ---- */

static const struct { const char *constraint, *good, *bad; } texts[] = {   /* words, separated by | */
    { "{\"regex\":\"ab*c?\"}", "a|ab|abbb|abbbc|ac", "|b|abca|cc|ba" },
    { "{\"regex\":\"^[a-c]{2,3}$\"}", "ab|abc|ccc", "a|abcd|ad" },
    { "{\"regex\":\"(foo|ba(r|z)+)?\"}", "|foo|bar|bazrz", "fo|ba|foobar" },
    { "{\"regex\":\"\\\\d{3}-[^0-9x]\"}", "123-a|000-\xc3\xa9|999--", "12-a|123-x|123-9|123-\xc3" },
    { "{\"regex\":\"(ab){0,2}(?:c|d){2}e{1,}\"}", "cde|abcce|ababdde", "abababcce|ce|cd" },
    { "{\"regex\":\"\\\\u00e9|\\\\x41|\\\\.\"}", "\xc3\xa9|A|.", "B|\xc3" },
    { "{\"regex\":\"[\\\\]\\\\-a]+\"}", "]|-a]", "b|" },
    { "{\"regex\":\"\\\\p{Lu}[\\\\p{Ll}\\\\p{M}'-]{0,9}\"}", "\xc3\x89ric|Ab|A-b|E\xcc\x81",
      "ab|AB|A1|\xc3\x89" "ric\xc3\x89" },
    { "{\"regex\":\"[^\\\\p{L}\\\\p{Nd}]\\\\P{Script=Han}\\\\p{gc=Decimal_Number}\"}", "-x1|--\xd9\xa3",
      "ax1|-\xe4\xbd\xa0" "1|-xx" },
    { "{\"regex\":\"(?=.*\\\\d)(?!.*aa)[a-c\\\\d]{2,4}\"}", "a1|1a|abc1|12", "ab|aa1|1|abcd1" },
    { "{\"regex\":\"(?:(?!end).)*end(?<!xend)\"}", "end|ab end|eend|enend", "xend|end end|en|ab" },
    { "{\"regex\":\"\\\\w+\\\\b.\\\\b\\\\w+|\\\\B-\\\\B\"}", "a b|ab.c|-|a\xc3\xa9" "b", "ab|a  b|a b |.ab" },
    { "{\"regex\":\"a(?=b|c$)[bc]c?(?<=(?<!ab)c)|x^|$y\"}", "ac", "ab|abc|acc|x|y" },
    { "{\"regex\":\"(^a|b)(c|d$)\"}", "ac|bd|bc|ad", "a|cc|adc" },
    { "{\"regex\":\"a\\\\^|^b\"}", "a^|b", "a|a^b" },
    { "{\"regex\":\"(?:a(?=(?:a|b(?!c))))*[ab]c?\"}", "ab|aab|a|aaa|bc|ac", "abc|aabc|c" },
    { "{\"regex\":\"(?<=^|[ ,])(?!b)[a-c ,]+\"}", "a|ab c|  b", "b|bc|" },
    { "{\"regex\":\"(?=.{1,253}$)(?:(?!-)[a-z0-9-]{1,63}(?<!-)\\\\.)+[a-z]{2,63}\"}", "a.io|x-1.example.com",
      "-a.io|a-.io|a..io|io|a.i" },
    { "{\"choice\":[\"yes\",\"no\",\"yes sir\"]}", "yes|no|yes sir", "ye|yes |nono|" },
    { "{\"grammar\":\"root ::= \\\"(\\\" root* \\\")\\\"\\n\"}", "()|(())|(()())|(((())))", "(|(()|())|)(" },
    { "{\"grammar\":\"root ::= e # sum\\ne ::= t (\\\"+\\\" t)*\\nt ::= [0-9]+ |\\n \\\"(\\\" e \\\")\\\"\"}",
      "1|1+2|(1+2)+33|((7))", "+|1+|(1|1)2" },
    { "{\"grammar\":\"root ::= \\\"a\\\" root \\\"b\\\" | \\\"a\\\" root \\\"c\\\" | \\\"x\\\"\"}", "x|axb|axc|aaxbc|aaxcc",
            "ax|axbb|aaxb" },
    { "{\"grammar\":\"root ::= [^\\\\n\\\\x22]{2,3} \\\"\\\\u00e9\\\"?\"}", "ab|abc\xc3\xa9|\xe4\xbd\xa0y", "a|a\"|abcd" },
};

/* The schema, texts that it allows, and texts that it does not, one a line. A text may be spelled in all ways that are read. */
static const struct { const char *schema, *good, *bad; } schemas[] = {
    { "true", "1\nnull\n{\"a\":[1,{}]}\n \"x\" ", "\n{\n[1,]\n{\"a\":}\n01\n'x'\nnul" },
    { "{\"type\":\"integer\"}", "0\n-1\n12\n1.0", "1.5\n\"1\"\n-\n1e\n" },
    { "{\"type\":\"number\"}", "0\n-1.5\n1e5\n1.25E-3\n0.1", ".5\n1.\n+1\n0x1\n00.1" },
    { "{\"type\":\"integer\",\"minimum\":-5,\"maximum\":17}", "-5\n0\n9\n17\n10", "-6\n18\n100\n-10\n20" },
    { "{\"type\":\"integer\",\"exclusiveMinimum\":99,\"exclusiveMaximum\":1002}", "100\n1001\n999", "99\n1002\n1003\n10\n-100" },
    { "{\"type\":\"number\",\"minimum\":0.5,\"exclusiveMaximum\":2.25}", "0.5\n0.50\n2.249\n1\n2", "0.49\n2.25\n2.3\n-1\n0\n3" },
    { "{\"type\":\"number\",\"maximum\":-1.5}", "-1.5\n-2\n-10.25", "-1.4\n0\n1.5\n-1" },
    { "{\"type\":\"integer\",\"multipleOf\":7,\"minimum\":10}", "14\n21\n70\n7000", "7\n10\n15\n0\n-7" },
    { "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"ab\"\n\"abc\"\n\"\xc3\xa9\\u00e9\"\n\"\\ud83d\\ude00x\"\n\""
      "\\n\\\"\"",
      "\"a\"\n\"abcd\"\nab\n\"ab\n\"\\ud83d\\ude00\"\n\"\\ud83d x\"\n\"a\tb\"" },
    { "{\"type\":\"string\",\"pattern\":\"^[a-z]+$\",\"maxLength\":3}", "\"a\"\n\"xyz\"", "\"\"\n\"abcd\"\n\"a1\"" },
    { "{\"type\":\"string\",\"pattern\":\"b+\"}", "\"b\"\n\"abba\"\n\"x\\nb\"\n\"\\u0001b\"", "\"\"\n\"aaa\"" },
    { "{\"type\":\"string\",\"pattern\":\"\\\\bcat\\\\b|(?<![.])x$\"}",
      "\"cat\"\n\"a cat.\"\n\"x\"\n\"ax\"\n\"\\ncat\\n\"\n\"\xc3\xa9" "cat\"", "\"cats\"\n\"concat\"\n\".x\"\n\"xa\"\n\"\"" },
    { "{\"type\":\"string\",\"pattern\":\"^(?!a)b|(?=..c)[ab]{2}(?!.d)\"}",
      "\"b\"\n\"bad\"\n\"xabce\"\n\"aac\"", "\"ab\"\n\"abcd\"\n\"\"\n\"xab\"" },
    { "{\"type\":\"object\",\"patternProperties\":{\"^(?!x-)\":{\"type\":\"integer\"}}"
      ",\"additionalProperties\":{\"type\":\"string\"}}",
      "{\"x-a\":\"s\",\"a\":1}\n{\"x\":2}", "{\"x-a\":1}\n{\"a\":\"s\"}" },
    { "{\"type\":\"string\",\"not\":{\"pattern\":\"\\\\bno\\\\b\"},\"maxLength\":5}",
      "\"know\"\n\"\"\n\"no1\"", "\"no\"\n\"a no\"\n\"notice\"" },
    { "{\"type\":\"string\",\"pattern\":\"[\\\"\\\\\\\\]$\"}", "\"a\\\"\"\n\"\\\\\"", "\"a\"\n\"\\\"a\"" },
    { "{\"type\":\"string\",\"pattern\":\"^\\\\p{L}[\\\\p{L}\\\\p{M} .-]{0,99}$\"}",
      "\"Zo\xc3\xab\"\n\"Zo\xc3\xab B.\"", "\"\"\n\"1\"" },
    { "{\"type\":\"string\",\"pattern\":\"^2\",\"format\":\"date\"}", "\"2024-02-29\"\n\"2023-12-31\"",
      "\"1999-01-01\"\n\"2023-02-29\"\n\"2023-13-01\"" },
    { "{\"type\":[\"string\",\"null\"],\"format\":\"uuid\"}", "null\n\"123e4567-e89b-12d3-a456-426614174000\"", "\"x\"\n1" },
    { "{\"enum\":[1,\"a\",null,[1,{\"b\":2}]]}", "1\n1.0\n\"a\"\nnull\n[1, {\"b\": 2}]", "2\n\"b\"\n[1]\nfalse" },
    { "{\"type\":\"integer\",\"enum\":[1,\"a\",5,9],\"minimum\":3}", "5\n9", "1\n\"a\"\n3" },
    { "{\"const\":\"\\u0007\\\"x\"}", "\"\\u0007\\\"x\"", "\"x\"" },
    { "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}", "[1]\n[1, 2,3]\n[ 1 ]", "[]\n[1,2,3,"
      "4]\n[true]\n[1,]" },
    { "{\"type\":\"array\",\"prefixItems\":[{\"const\":1},{\"type\":\"string\"}],\"items\":false}", "[]\n[1]\n[1,\"x\"]", "[2]\n"
      "[1,2]\n[1,\"x\",3]" },
    { "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"string\"}},\"required\":[\"a\"],"
      "\"additionalProperties\":false}", "{\"a\":1}\n{\"a\": 1, \"b\": \"x\"}", "{}\n{\"b\":\"x\"}\n{\"a\":1,\"c\":2}\n{\"a\":\""
      "1\"}\n{\"a\":1,}" },
    { "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"z\"]}",
      "{\"z\":[]}\n{\"a\":1,\"z\":0}\n{\"z\":0,\"other\":1,\"more\":{}}", "{}\n{\"a\":\"x\",\"z\":0}\n{\"a\":1}\n{\"z\":0,\"a\""
      ":\"x\"}" },
    { "{\"type\":\"object\",\"patternProperties\":{\"^n\":{\"type\":\"number\"},\"x$\":{\"maximum\":5}},\"additionalProperties\""
      ":{\"type\":"
      "\"string\"}}", "{\"n\":7}\n{\"nx\":5}\n{\"s\":\"t\"}\n{\"x\":[]}", "{\"n\":\"t\"}\n{\"nx\":6}\n{\"s\":1}\n{\"x\":6}" },
    { "{\"type\":\"object\",\"properties\":{\"a\":true,\"b\":true,\"c\":true},\"additionalProperties\":false,\"minProperties\":2,"
      "\"maxProperties\":2}", "{\"a\":1,\"b\":1}\n{\"a\":1,\"c\":1}\n{\"b\":1,\"c\":1}", "{}\n{\"a\":1}\n{\"a\":1,\"b\":1,\"c\""
      ":1}" },
    { "{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":2}", "{\"a\":1}\n{\"a\":1,\"b\":2}", "{}\n{\"a\":1,\"b\":2,\""
      "c\":3}" },
    { "{\"anyOf\":[{\"type\":\"integer\"},{\"minLength\":2}],\"type\":[\"integer\",\"string\"]}", "1\n\"ab\"", "\"a\"\n[]\n1.5" },
    { "{\"allOf\":[{\"minimum\":3},{\"maximum\":8},{\"type\":\"integer\"}],\"multipleOf\":2}", "4\n8", "3\n2\n10\n\"x\"" },
    { "{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"a\"},\"v\":{\"type\":\"integer\"}},\"required\":[\""
      "k\",\"v\"]},"
      "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"}},\"required\":[\"k\"]},{\"type\":\"null\"}]}",
      "null\n{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\",\"v\":\"x\"}", "{\"k\":\"a\"}\n{\"k\":\"a\",\"v\":\"x\"}\n{\"k\":\"c\"}" },
    { "{\"$defs\":{\"tree\":{\"type\":\"object\",\"properties\":{\"v\":{\"type\":\"integer\"},\"c\":{\"type\":\"array\",\""
      "items\":{\"$ref\":"
      "\"#/$defs/tree\"}}},\"required\":[\"v\"],\"additionalProperties\":false}},\"$ref\":\"#/$defs/tree\"}",
      "{\"v\":1}\n{\"v\":1,\"c\":[]}\n{\"v\":1,\"c\":[{\"v\":2,\"c\":[{\"v\":3}]}]}", "{}\n{\"v\":1,\"c\":[{}]}\n{\"v\":1,\"c\""
      ":[{\"v\":2}]" },
    { "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"contains\":{\"const\":7},\"minContains\":2}",
      "[7,7]\n[1,7,2,7]\n[7,7,7]", "[]\n[7]\n[1,7,2]\n[7,7,\"x\"]" },
    { "{\"type\":\"object\",\"propertyNames\":{\"pattern\":\"^[a-c]+$\",\"maxLength\":2}}", "{}\n{\"a\":1,\"bc\":2}",
      "{\"d\":1}\n{\"abc\":1}" },
    { "{\"type\":\"object\",\"dependentRequired\":{\"a\":[\"b\"]}}", "{}\n{\"b\":1}\n{\"a\":1,\"b\":1}\n{\"b\":1,\"x\":2,\"a\":1}",
      "{\"a\":1}\n{\"a\":1,\"x\":1}" },
    { "{\"type\":\"object\",\"allOf\":[{\"properties\":{\"a\":true}}],\"properties\":{\"b\":true},\"unevaluatedProperties\":false}",
      "{}\n{\"b\":1,\"a\":2}", "{\"c\":1}\n{\"b\":1,\"c\":1}" },
    { "{\"anyOf\":[{\"type\":\"null\"},{\"anyOf\":[{\"oneOf\":[{\"const\":1},{\"const\":2}]},{\"const\":3}]}]}", "null\n1\n2\n3",
      "4" },
    { "{\"type\":\"string\",\"not\":{\"pattern\":\"^a\"}}", "\"b\"\n\"ba\"\n\"\"",
      "\"a\"\n\"abc\"\n1" },
    { "{\"not\":{\"type\":[\"string\",\"null\"]}}", "1\n{}\n[]\ntrue",
      "\"a\"\nnull" },
    { "{\"type\":[\"integer\",\"string\"],\"not\":{\"enum\":[1,\"a\",7]}}", "2\n\"b\"\n0\n8\n-1",
      "1\n7\n\"a\"\ntrue\n1.0" },
    { "{\"not\":{\"type\":\"object\",\"required\":[\"a\",\"b\"]}}", "{}\n{\"a\":1}\n{\"b\":1}\n3",
      "{\"a\":1,\"b\":2}" },
    { "{\"not\":{\"properties\":{\"a\":{\"minimum\":3}},\"required\":[\"b\"]}}", "{\"a\":2,\"b\":1}\n{\"a\":3}\n{}",
      "{\"a\":3,\"b\":1}\n{\"b\":1}\n1" },
    { "{\"type\":\"array\",\"not\":{\"items\":{\"type\":\"number\"}},\"maxItems\":3}", "[\"a\"]\n[1,\"a\"]\n[1,2,null]",
      "[]\n[1]\n[1,2,3]" },
    { "{\"type\":\"array\",\"not\":{\"contains\":{\"const\":0}}}", "[]\n[1,2]",
      "[0]\n[1,0]" },
    { "{\"not\":{\"anyOf\":[{\"type\":\"string\"},{\"minimum\":5},{\"const\":null}]}}", "4\n-1.5", "5\n\"a\"\nnull\ntrue\n[]" },
    { "{\"not\":{\"not\":{\"type\":\"string\",\"maxLength\":2}}}", "\"ab\"\n\"\"",
      "\"abc\"\n1" },
    { "{\"$defs\":{\"short\":{\"maxLength\":2}},\"type\":\"string\",\"not\":{\"$ref\":\"#/$defs/short\"}}", "\"abc\"",
      "\"ab\"\n\"\"" },
    { "{\"type\":\"object\",\"properties\":{\"k\":{\"enum\":[\"a\",\"b\"]},\"v\":true},\"required\":[\"k\"],"
      "\"additionalProperties\":false,\"if\":{\"properties\":{\"k\":{\"const\":\"a\"}}},\"then\":{\"required\":[\"v\"]},"
      "\"else\":{\"properties\":{\"v\":false}}}", "{\"k\":\"a\",\"v\":1}\n{\"k\":\"b\"}",
      "{\"k\":\"a\"}\n{\"k\":\"b\",\"v\":1}\n{}" },
    { "{\"if\":{\"type\":\"number\"},\"then\":{\"minimum\":3},\"else\":{\"type\":\"string\"}}", "3\n\"a\"",
      "2\nnull" },
    { "{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\",\"c\"]},\"uniqueItems\":true}", "[]\n[\"a\"]\n[\"c\",\"a\",\"b\"]",
      "[\"a\",\"a\"]\n[\"a\",\"b\",\"a\"]\n[\"d\"]" },
    { "{\"type\":\"array\",\"items\":{\"enum\":[\"a\",\"b\",\"c\",1,1.0]},\"uniqueItems\":true,\"minItems\":2,"
      "\"maxItems\":3}", "[\"a\",1]\n[1,\"b\",\"c\"]",
      "[\"a\"]\n[1,1]\n[\"a\",\"b\",\"c\",1]" },
    { "{\"type\":\"integer\",\"nullable\":true,\"minimum\":3}", "3\nnull", "2\n\"x\"" },     /* as OpenAPI 3.0 has it: */
    { "{\"type\":\"string\",\"nullable\":true,\"enum\":[\"a\"]}", "\"a\"", "null\n\"b\"" },      /* an enum says null itself, */
    { "{\"nullable\":true,\"enum\":[\"a\"]}", "\"a\"", "null" },              /* and without a type it says nothing */
    { "{\"type\":\"object\",\"required\":[\"a\",\"b\"],\"properties\":{\"a\":{\"$id\":\"A\",\"type\":\"integer\"},\"b\":{\"$ref\":"
      "\"A\"}}}", "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":\"x\"}" },
    { "{\"$ref\":\"#x\",\"$defs\":{\"a\":{\"$id\":\"A\",\"$defs\":{\"b\":{\"$anchor\":\"x\",\"type\":\"null\"}}},\"c\":{"
      "\"$anchor\":\"x\",\"type\":\"integer\"}}}", "1", "null" },
    { "{\"examples\":[{\"$id\":\"A\",\"type\":\"string\"}],\"$defs\":{\"a\":{\"$id\":\"A\",\"type\":\"integer\"}},"
      "\"$ref\":\"A\"}", "1", "\"x\"" },                                 /* no schema, and one */
    { "{\"$defs\":{\"const\":{\"$id\":\"A\",\"type\":\"integer\"}},\"$ref\":\"A\"}", "1", "\"x\"" },
    { "{\"properties\":{\"enum\":{\"$anchor\":\"x\",\"type\":\"integer\"}},\"$ref\":\"#x\"}", "1", "\"x\"" },
    { "{\"const\":{\"$id\":\"A\",\"$ref\":\"#\"}}", "{\"$id\":\"A\",\"$ref\":\"#\"}", "{\"$id\":\"A\"}" },
    { "{\"$id\":\"R\",\"$ref\":\"A#x\",\"$defs\":{\"a\":{\"$id\":\"A\",\"$defs\":{\"b\":{\"$anchor\":\"x\",\"type\":"
      "\"integer\"}}},\"b\":{\"$anchor\":\"x\",\"type\":\"null\"}}}", "1", "null" },
    { "{\"type\":\"array\",\"items\":{\"$ref\":\"A\"},\"not\":{\"not\":{\"items\":{\"$id\":\"A\",\"type\":\"null\"}}}}",
      "[null]", "[1]" },                                                /* a place that is written anew keeps its name */
    { "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"integer\",\"minimum\":-1,\"maximum\":8,\"multipleOf\":2}}",
      "[]\n[0,8,4]\n[2]", "[0,0]\n[1]\n[10]\n[-1]" },
    { "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"boolean\"}}", "[true]\n[false, true]\n[]",
      "[true,true]\n[true,false,true]\n[1]" },
    { "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"type\":\"boolean\",\"nullable\":true}}",
      "[null,true]\n[false,true,null]", "[null,null]" },
    { "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"const\":{\"a\":1}}}", "[{\"a\":1}]\n[]", "[{\"a\":1},{\"a\":1}]" },
    { "{\"type\":\"array\",\"uniqueItems\":true,\"maxItems\":1}", "[]\n[[1,1]]",
      "[1,1]\n[1,2]" },
    { "{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"contains\":{\"minimum\":5},"
      "\"maxContains\":2}", "[5]\n[1,6,2,7]\n[9,9]",
      "[]\n[1]\n[5,5,5]\n[5,1,5,1,5]" },
    { "{\"type\":\"array\",\"contains\":{\"const\":1},\"minContains\":0,\"maxContains\":1}", "[]\n[1]\n[2,1,\"x\"]",
      "[1,1]\n[1,2,1]" },
    { "{\"not\":{\"type\":\"integer\"}}",
      "1.5\n\"a\"\n-0.25", "1\n1.0\n0\n1.50e1" },
    { "{\"not\":{\"not\":{\"not\":{\"type\":\"integer\"}}}}", "1.5\n\"a\"", "1\n-20" },
    { "{\"not\":{\"not\":{\"type\":\"integer\"}}}", "1\n-20", "1.5\n\"a\"" },
    { "{\"not\":{\"not\":{\"not\":{\"type\":\"string\",\"pattern\":\"^a\"}}}}", "\"b\"\n1\nnull", "\"a\"\n\"ab\"" },
    { "{\"not\":{\"not\":{\"not\":{\"enum\":[\"a\",1]}}}}", "\"b\"\n2\n1.5\nnull", "\"a\"\n1" },
    { "{\"type\":\"string\",\"not\":{\"not\":{\"enum\":[\"a\",\"b\"]}}}", "\"a\"\n\"b\"", "\"ab\"" },
    { "{\"type\":\"number\",\"multipleOf\":0.25}",
      "0\n1.25\n-3.5\n7\n0.750", "0.3\n1.255\n0.125" },
    { "{\"type\":\"number\",\"multipleOf\":0.01,\"minimum\":1,\"maximum\":2.5}",
      "1\n1.01\n2.5\n2.49", "0.99\n2.51\n1.001" },
    { "{\"type\":\"integer\",\"multipleOf\":1.5}",
      "0\n3\n-6", "1\n2\n1.5" },
    { "{\"oneOf\":[{\"type\":\"integer\"},{\"minimum\":2}]}",
      "1\n2.5\n-7", "2\n3\n1.5" },
    { "{\"oneOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}],\"type\":\"object\",\"properties\":{\"a\":true,"
      "\"b\":true},\"additionalProperties\":false}",
      "{\"a\":1}\n{\"b\":1}", "{}\n{\"a\":1,\"b\":2}" },
    { "{\"type\":\"string\",\"pattern\":\"^(?!a)(?=[a-c]+$)\\\\w+$\"}",
      "\"b\"\n\"cab\"",
      "\"a\"\n\"bd\"\n\"\"\n\"ab\"" },
    { "{\"type\":\"string\",\"pattern\":\"^(?!\\\\.)(?!.*\\\\.\\\\.)[a-z.]*@[a-z]+$\"}",
      "\"a.b@c\"\n\"@c\"",
      "\".a@c\"\n\"a..b@c\"\n\"a@\"\n\"a\"" },
    { "{\"type\":\"string\",\"pattern\":\"^(?!(?:a|b[)|])x$)[abx)|]+$\"}",
      "\"axx\"\n\"bx\"\n\"x\"",
      "\"ax\"\n\"b|x\"\n\"b)x\"" },
    { "{\"type\":\"string\",\"format\":\"uuid4\"}",
      "\"123e4567-e89b-42d3-a456-426614174000\"",
      "\"123e4567-e89b-12d3-a456-426614174000\"\n\"x\"" },
    { "{\"type\":\"string\",\"format\":\"ipvanyaddress\"}",
      "\"1.2.3.4\"\n\"::1\"",
      "\"1.2.3\"\n\"x\"" },
    { "{\"type\":\"string\",\"format\":\"byte\",\"maxLength\":8}",
      "\"\"\n\"QUJD\"\n\"QQ==\"",
      "\"Q\"\n\"QQ=\"\n\"QUJDQUJDQUJD\"" },
    { "{\"type\":\"string\",\"format\":\"json-pointer\"}",
      "\"\"\n\"/a/~0b\"",
      "\"a\"\n\"/~2\"" },
    { "{\"type\":\"string\",\"format\":\"password\",\"minLength\":2}",
      "\"ab\"\n\"é x\"",
      "\"a\"\n1" },
    { "{\"type\":\"string\",\"format\":\"uri\",\"minLength\":1,\"maxLength\":2083}",
      "\"http://a.example/b?c=d\"",
      "\"a\"\n\"\"" },
    { "{\"type\":\"array\",\"items\":[{\"type\":\"integer\"},{\"type\":\"string\"}],\"additionalItems\":false}",
      "[]\n[1]\n[1,\"a\"]",
      "[\"a\"]\n[1,\"a\",2]" },
    { "{\"type\":\"array\",\"items\":[{\"type\":\"integer\"}],\"additionalItems\":{\"type\":\"null\"},\"maxItems\":2}",
      "[1]\n[1,null]",
      "[1,2]\n[null]" },
    { "{\"type\":\"array\",\"items\":[{\"type\":\"integer\"}]}",
      "[]\n[1,\"a\",{}]",
      "[\"a\"]" },
    { "{\"type\":\"object\",\"dependencies\":{\"a\":[\"b\"],\"c\":{\"properties\":{\"b\":{\"type\":\"string\"}}}}}",
      "{\"a\":1,\"b\":2}\n{\"b\":\"x\",\"c\":1}\n{}",
      "{\"a\":1}\n{\"b\":2,\"c\":1}" },
    { "{\"type\":\"integer\",\"minimum\":3,\"exclusiveMinimum\":true,\"maximum\":9,\"exclusiveMaximum\":false}",
      "4\n9",
      "3\n10" },
    { "{\"type\":\"object\",\"propertyNames\":{\"$ref\":\"#/$defs/k\"},\"$defs\":{\"k\":{\"enum\":[\"a\",\"b\"],\"titl"
      "e\":\"K\",\"type\":\"string\"}}}",
      "{}\n{\"a\":1}\n{\"b\":1,\"a\":2}",
      "{\"c\":1}" },
    { "{\"type\":\"array\",\"uniqueItems\":true,\"items\":{\"$ref\":\"#/$defs/k\"},\"$defs\":{\"k\":{\"enum\":[\"a\",\""
      "b\"]}}}",
      "[]\n[\"a\"]\n[\"b\",\"a\"]",
      "[\"a\",\"a\"]\n[\"c\"]" },
    { "false", "", "1\nnull\n{}" },
};

static void each_word(const char *words, const char *between, const struct vs_grammar *g, const char *what, bool good)
{
    for (const char *w = words;; w++) {
        size_t n = strcspn(w, between);
        if (accepts(g, w, n) != good)
            fail_msg("%s: '%.*s' should be %s", what, (int)n, w, good ? "accepted" : "refused");
        w += n;
        if (!*w)
            return;
    }
}

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct vs_grammar *g = compiled(texts[i].constraint);
        each_word(texts[i].good, "|", g, texts[i].constraint, true);
        each_word(texts[i].bad, "|", g, texts[i].constraint, false);
        vs_grammar_free(g);
    }
}

static char *schema_constraint(const char *schema)
{
    static char text[4096];
    snprintf(text, sizeof text, "{\"json_schema\":%s}", schema);
    return text;
}

/* Each character is in \\p{NAME} or in \\P{NAME}, as its category says. */
static void test_properties(void **state)
{
    static const struct { const char *name; uint32_t mask; } rows[] = {
        { "L", 1u << VS_U_LU | 1u << VS_U_LL | 1u << VS_U_LT | 1u << VS_U_LM | 1u << VS_U_LO }, { "Zs", 1u << VS_U_ZS },
        { "Number", 1u << VS_U_ND | 1u << VS_U_NL | 1u << VS_U_NO }, { "Cn", 1u << VS_U_CN }, { "sc=Han", 1u << VS_U_HAN },
    };
    (void)state;
    for (size_t i = 0; i < 2 * (sizeof rows / sizeof *rows); i++) {
        char constraint[64], text[4];
        snprintf(constraint, sizeof constraint, "{\"regex\":\"\\\\%c{%s}\"}", i % 2 ? 'P' : 'p', rows[i / 2].name);
        struct vs_grammar *g = compiled(constraint);
        for (uint32_t c = 0; c < 0x110000; c += c < 0x700 ? 1 : 1 + below(400)) {
            bool is_in = vs_unicode(c)->mask & rows[i / 2].mask;
            if ((c < 0xd800 || c > 0xdfff) && accepts(g, text, vs_utf8_encode(c, text)) != (is_in != i % 2))
                fail_msg("%s: U+%04X", constraint, (unsigned)c);
        }
        vs_grammar_free(g);
    }
}

static void test_schemas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct vs_grammar *g;
        struct vs_error err = { 0 };
        if (compile(schema_constraint(schemas[i].schema), VS_GRAMMAR_READS, &g, &err) != VS_OK)
            fail_msg("%s: %s", schemas[i].schema, err.text);
        if (schemas[i].good[0])
            each_word(schemas[i].good, "\n", g, schemas[i].schema, true);
        each_word(schemas[i].bad, "\n", g, schemas[i].schema, false);
        vs_grammar_free(g);
    }
}

/* ---- other spellings ---- */

static void test_respell(void **state)
{
    static const struct { const char *text, *plain; } rows[] = {
        { "{\"\\u0061\\/\\u00eb\":\"\\ud83d\\uDE00\\u20ac\"}", "{\"a/\xc3\xab\":\"\xf0\x9f\x98\x80\xe2\x82\xac\"}" },
        { "\"\\u0022\\u005C\\u000A\\u001F\\u0000\\\"\\n\"", "\"\\\"\\\\\\n\\u001f\\u0000\\\"\\n\"" },
        { "\"\\ud83d\"", "\"\\ud83d\"" }, { "\"\\ud83dx\\udc00\"", "\"\\ud83dx\\udc00\"" },       /* halves */
        { "\"\\ud83d\\u0041\"", "\"\\ud83dA\"" },
        { "\"\\u00g0\\x\\u12\"", "\"\\u00g0\\x\\u12\"" }, { "\"\\\\u0041\"", "\"\\\\u0041\"" },      /* none */
        { "\\u0041", "\\u0041" }, { "\"a\\", "\"a\\" }, { "\"\\u004", "\"\\u004" }, { "", "" },
        { "[1e-05,1.50,-0.0,0e9,12E+1,-1.0]", "[0.00001,1.5,0,0,120,-1]" }, { "1e-07", "0.0000001" }, { "10e99", "1e100" },
        { "-1.7976931348623157e+308", "-1.7976931348623157e308" }, { "5e-324", "5e-324" }, { "0.5E1", "5" }, { "125e-2", "1.25" },
        { "1e59", "100000000000000000000000000000000000000000000000000000000000" }, { "1e60", "1e60" },
        { "1e-40", "0.0000000000000000000000000000000000000001" }, { "1e-41", "1e-41" }, { "{\"1e5\":1e2}", "{\"1e5\":100}" },
        { "01e1", "01e1" }, { "1.e1", "1.e1" }, { ".5e1", ".5e1" }, { "+1e1", "+1e1" }, { "1e", "1e" }, { "1e5.0", "1e5.0" },
        { "-", "-" }, { "1e9999999", "1e9999999" }, { "1e1e1", "1e1e1" }, { "1-0e1", "1-0e1" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct vs_buf out = { 0 };
        size_t n = strlen(rows[i].text), n_plain = strlen(rows[i].plain);
        assert_int_equal(vs_json_respell(rows[i].text, n, SIZE_MAX, &out), n);
        assert_string_equal(out.data ? out.data : "", rows[i].plain);
        assert_int_equal(vs_json_respell(rows[i].text, n, n_plain, NULL), n);
        vs_buf_clear(&out);
    }
    assert_int_equal(vs_json_respell("[\"\\u20ac\"]", 10, 2, NULL), 2);
    assert_int_equal(vs_json_respell("[\"\\u20ac\"]", 10, 4, NULL), 2);       /* in the middle of it */
    assert_int_equal(vs_json_respell("[\"\\u20ac\"]", 10, 5, NULL), 8);
}

static size_t add_digits(char *text, unsigned most)
{
    size_t n = 1 + below(most);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)('0' + (below(3) ? 0 : below(10)));
    return n;
}

/* Another spelling is the same number, and the only one of it. */
static void test_respell_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < 20000; i++) {
        char text[200] = "-";
        struct vs_buf out = { 0 }, again = { 0 };
        size_t n = below(2), whole = n;
        n += add_digits(text + n, 70);
        if (text[whole] == '0')
            n = whole + 1;
        if (below(2)) {
            text[n++] = '.';
            n += add_digits(text + n, 50);
        }
        int exponent = below(2) ? (int)below(200) - 100 : 0;
        if (exponent)
            n += (size_t)snprintf(text + n, 16, below(2) ? "e%d" : "E%+04d", exponent);
        text[n] = 0;
        assert_int_equal(vs_json_respell(text, n, SIZE_MAX, &out), n);
        vs_json_respell(out.data, out.n, SIZE_MAX, &again);
        if (strtod(text, NULL) != strtod(out.data, NULL) || strcmp(out.data, again.data) != 0)
            fail_msg("%s became %s, and that %s", text, out.data, again.data);
        vs_buf_clear(&out);
        vs_buf_clear(&again);
    }
}

/* ---- what is refused ---- */

static const struct { const char *constraint; int code; const char *says; } refusals[] = {
    { "{}", VS_E_INVALID, "exactly one of" },
    { "{\"regex\":\"a\",\"choice\":[\"a\"]}", VS_E_INVALID, "exactly one of" },
    { "{\"regex\":7}", VS_E_INVALID, "constraint.regex: a string is needed" },
    { "{\"choice\":[]}", VS_E_INVALID, "at least one string" },
    { "{\"choice\":[\"a\",1]}", VS_E_INVALID, "entry 1 is not a string" },
    { "{\"regex\":\"(a\"}", VS_E_INVALID, "a ( without its )" },
    { "{\"regex\":\"a)\"}", VS_E_INVALID, "a ) without its (" },
    { "{\"regex\":\"[a\"}", VS_E_INVALID, "a [ without its ]" },
    { "{\"regex\":\"*a\"}", VS_E_INVALID, "nothing to repeat" },
    { "{\"regex\":\"a{3,2}\"}", VS_E_INVALID, "quantifier" },
    { "{\"regex\":\"(?=a)b\"}", VS_E_INVALID, "no answer can satisfy" },
    { "{\"regex\":\"(?<=(?=a))a\"}", VS_E_UNSUPPORTED, "a look-ahead in a look-behind" },
    { "{\"regex\":\"(?=a)(?=b)(?=c)(?=d)(?=e)(?=f)(?=g)(?=h)(?=i)(?=j)(?=k)(?=l)"
      "(?=m)(?=n)(?=o)(?=p)(?=q)(?=r)(?=s)(?=t)(?=u)(?=v)(?=w)(?=x)"
      "(?=y)(?=z)(?=A)(?=B)(?=C)(?=D)(?=E)(?=F)(?=G)\"}", VS_E_LIMIT, "more than 32 look-aheads" },
    { "{\"regex\":\"(?<=a\"}", VS_E_INVALID, "a ( without its )" },
    { "{\"regex\":\"(?<a[>(?=b)b)\"}", VS_E_INVALID, "a group without a name" },
    { "{\"regex\":\"(?<)>a$|b)c\"}", VS_E_INVALID, "a group without a name" },
    { "{\"regex\":\"a\\\\b*\"}", VS_E_INVALID, "quantifier" },
    { "{\"regex\":\"(?=.{3,20}.{0,9}x.{0,99}y)(?:a|(?=.{0,99}z.{0,99}).)*\"}", VS_E_LIMIT, "too large" },
    { "{\"regex\":\"(a)\\\\1\"}", VS_E_UNSUPPORTED, "reference to a group" },
    { "{\"regex\":\"\\\\k<a>\"}", VS_E_UNSUPPORTED, "\\k" },
    { "{\"regex\":\"a$b\"}", VS_E_INVALID, "no answer can satisfy" },
    { "{\"regex\":\"[]\"}", VS_E_INVALID, "no answer can satisfy" },
    { "{\"regex\":\"((a{1000}){1000}){1000}\"}", VS_E_LIMIT, "states" },
    { "{\"regex\":\"((((a{99999}){99999}){99999}){99999}){0}\"}", VS_E_LIMIT, "states" },
    { "{\"grammar\":\"root ::= root \\\"a\\\" | \\\"b\\\"\"}", VS_E_UNSUPPORTED, "'root' is left-recursive" },
    { "{\"grammar\":\"root ::= x\\nx ::= y? x\\ny ::= \\\"a\\\"\"}", VS_E_UNSUPPORTED, "'x' is left-recursive" },
    { "{\"grammar\":\"root ::= a\"}", VS_E_INVALID, "'a' is used and not there" },
    { "{\"grammar\":\"a ::= \\\"x\\\"\"}", VS_E_INVALID, "no rule 'root'" },
    { "{\"grammar\":\"root ::= \\\"x\\\"\\nroot ::= \\\"y\\\"\"}", VS_E_INVALID, "line 2: this rule was there before" },
    { "{\"grammar\":\"root ::= \\\"x\"}", VS_E_INVALID, "ends within a string" },
    { "{\"grammar\":\"root ::= (\\\"x\\\"\"}", VS_E_INVALID, "a ( has no )" },
    { "{\"grammar\":\"root ::= \\\"x\\\" root\"}", VS_E_INVALID, "no answer can satisfy" },
    { "{\"json_object\":false}", VS_E_INVALID, "only true" },
    { "{\"json_schema\":7}", VS_E_INVALID, "an object, true or false" },
    { "{\"json_schema\":false}", VS_E_INVALID, "no answer can satisfy" },
    { "{\"json_schema\":{\"type\":\"text\"}}", VS_E_INVALID, "type at #: a type" },
    { "{\"json_schema\":{\"properties\":{\"a\":{\"properties\":{\"b\":{\"minimum\":\"1\"}}}}}}", VS_E_INVALID,
      "minimum at #/properties/a/properties/b: a number is needed" },
    { "{\"json_schema\":{\"items\":[{}],\"prefixItems\":[{}]}}", VS_E_INVALID,
      "items at #: a schema is needed; for a list of schemas" },
    { "{\"json_schema\":{\"nullable\":1,\"type\":\"string\"}}", VS_E_INVALID, "nullable at #: true or false" },
    { "{\"json_schema\":{\"not\":{\"type\":\"string\",\"nullable\":true}}}", VS_E_UNSUPPORTED, "not at #" },
    { "{\"json_schema\":{\"$defs\":{\"a\":{\"$id\":\"a\",\"items\":{\"$ref\":\"#\"}}},\"$ref\":\"a\"}}", VS_E_UNSUPPORTED,
      "$id below the root" },
    { "{\"json_schema\":{\"$defs\":{\"a\":{\"$id\":\"a\"}},\"$ref\":\"b\"}}", VS_E_UNSUPPORTED, "$ref at #: only references" },
    { "{\"json_schema\":{\"$defs\":{\"a\":{\"$id\":\"A\"},\"b\":{\"$id\":\"A\"}},\"$ref\":\"A\"}}", VS_E_INVALID,
      "$ref at #: more than one schema" },
    { "{\"json_schema\":{\"$id\":\"A\",\"properties\":{\"a\":{\"$id\":\"A\"},\"b\":{\"$ref\":\"A\"}}}}", VS_E_INVALID,
      "$ref at #/properties/b: more than one schema" },
    { "{\"json_schema\":{\"$defs\":{\"a\":{\"$anchor\":\"x\"},\"b\":{\"$anchor\":\"x\"}},\"$ref\":\"#x\"}}", VS_E_INVALID,
      "$ref at #: more than one schema" },
    { "{\"json_schema\":{\"$defs\":{\"a\":{\"$id\":\"A\",\"$defs\":{\"b\":{\"$id\":\"B\"}}},\"c\":{\"$id\":\"B\"}},"
      "\"$ref\":\"B\"}}", VS_E_INVALID, "$ref at #: more than one schema" },
    { "{\"json_schema\":{\"default\":{\"$anchor\":\"x\"},\"$ref\":\"#x\"}}", VS_E_INVALID, "$ref at #: there is no schema" },
    { "{\"json_schema\":{\"type\":\"object\",\"properties\":{\"const\":{\"$id\":\"A\",\"type\":\"array\",\"items\":{\"$ref\":"
      "\"#\"}}},\"additionalProperties\":false}}", VS_E_UNSUPPORTED, "$id below the root" },
    { "{\"json_schema\":{\"not\":{\"$id\":\"A\",\"$defs\":{\"x\":{\"type\":\"string\"}},\"$ref\":\"#/$defs/x\"},"
      "\"$defs\":{\"x\":{\"type\":\"integer\"}}}}", VS_E_UNSUPPORTED, "$id below the root" },
    { "{\"json_schema\":{\"type\":\"array\",\"uniqueItems\":true}}", VS_E_UNSUPPORTED, "uniqueItems at #" },
    { "{\"json_schema\":{\"not\":{\"type\":\"string\",\"format\":\"date\"}}}", VS_E_UNSUPPORTED, "not at #" },
    { "{\"json_schema\":{\"not\":{\"type\":\"array\"},\"unevaluatedItems\":false}}", VS_E_UNSUPPORTED, "not at #" },
    { "{\"json_schema\":{\"if\":{\"multipleOf\":2},\"then\":{\"minimum\":3}}}", VS_E_UNSUPPORTED, "if at #" },
    { "{\"json_schema\":{\"const\":[1,1],\"uniqueItems\":true}}", VS_E_UNSUPPORTED, "beside a list or an object" },
    { "{\"json_schema\":{\"format\":\"date\"}}", VS_E_UNSUPPORTED, "say the type" },
    { "{\"json_schema\":{\"type\":\"string\",\"format\":\"iri\"}}", VS_E_UNSUPPORTED, "format at #" },
    { "{\"json_schema\":{\"type\":\"string\",\"pattern\":\"(?<!(?!b))\"}}", VS_E_UNSUPPORTED,
      "pattern at #: the regular expression has a look-ahead in" },
    { "{\"regex\":\"\\\\p{Script=Greek}\"}", VS_E_UNSUPPORTED, "\\p with a name that is not supported, at byte 2" },
    { "{\"regex\":\"\\\\p{L\"}", VS_E_UNSUPPORTED, "\\p with a name" },
    { "{\"json_schema\":{\"multipleOf\":0.123456789}}", VS_E_UNSUPPORTED, "multipleOf at #" },
    { "{\"json_schema\":{\"$ref\":\"#\"}}", VS_E_INVALID, "leads back to itself" },
    { "{\"json_schema\":{\"anyOf\":[{\"$ref\":\"#/$defs/a\"}],\"$defs\":{\"a\":{\"anyOf\":[{\"$ref\":\"#\"}]}}}}", VS_E_INVALID,
      "leads back to itself" },
    { "{\"json_schema\":{\"$ref\":\"#/$defs/x\"}}", VS_E_INVALID, "there is no schema" },
    { "{\"json_schema\":{\"$ref\":\"http://example.com/s\"}}", VS_E_UNSUPPORTED, "only references to places within" },
    { "{\"json_schema\":{\"oneOf\":[{\"type\":\"integer\"},{\"multipleOf\":2}]}}", VS_E_UNSUPPORTED, "alternatives 0 and 1" },
    { "{\"json_schema\":{\"type\":\"object\",\"minProperties\":2}}", VS_E_UNSUPPORTED, "one key could come twice" },
    { "{\"json_schema\":{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"$ref\":\"#\"}}}}", VS_E_INVALID, "no "
      "answer" },
    { "{\"json_schema\":{\"type\":\"string\",\"maxLength\":10000000}}", VS_E_LIMIT, "too large" },
    { "{\"json_schema\":{\"type\":\"string\",\"pattern\":\"(a|b)*a(a|b){25}\"}}", VS_E_LIMIT, "pattern at #" },
    { "{\"regex\":\"(.{0,50}a.{0,50}){20}\"}", VS_E_LIMIT, "too ambiguous" },
    { "{\"regex\":\"head (.{0,50}a.{0,50}){20} tail\"}", VS_E_LIMIT, "too ambiguous" },
    { "{\"regex\":\"(a*)*(a|a)*b(.{0,100}c){50}\"}", VS_E_LIMIT, "too ambiguous" },
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct vs_grammar *g;
        struct vs_error err = { 0 };
        int r = compile(refusals[i].constraint, VS_GRAMMAR_WRITES, &g, &err);
        if (r != refusals[i].code || !strstr(err.text, refusals[i].says))
            fail_msg("%s: %d '%s'", refusals[i].constraint, r, err.text);
    }
}

/* Look-aheads that are open at once, whichever were begun on the way: what would take half a minute is refused in time. */
static void test_work(void **state)
{
    (void)state;
    static const char *const wide[] = {
        "(?:(?:(?=z{0,40}x)|(?=z{0,40}y))z)*", "(?:(?:(?=z{1,60}x?$)|(?=z{1,60}y?$))z){60}[xy]",
    };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        struct vs_grammar *g;
        struct vs_error err = { 0 };
        char text[200];
        snprintf(text, sizeof text, "{\"regex\":\"%s\"}", wide[i]);
        clock_t begun = clock();
        assert_int_equal(compile(text, VS_GRAMMAR_WRITES, &g, &err), VS_E_LIMIT);
        assert_true(clock() - begun < 10 * CLOCKS_PER_SEC);
    }
}

/* ---- masks ---- */

static bool has(const uint64_t *mask, uint32_t id)
{
    return mask[id / 64] >> id % 64 & 1;
}

/* A token is allowed exactly where its bytes may come and what is left is enough for an end. */
static void check_mask(const struct vs_grammar *g, const char *so_far, size_t n, struct vs_matcher *m, uint32_t left)
{
    const uint64_t *mask = vs_matcher_mask(m, left);
    assert_non_null(mask);
    for (uint32_t id = 0; id < N_VOCAB; id++) {
        struct vs_matcher *other = matcher(g);
        size_t n_text;
        const char *s = text_of(NULL, id, &n_text);
        assert_int_equal(vs_matcher_read(other, so_far, n), n);
        bool good = id == END ? vs_matcher_may_end(other)
                              : n_text && vs_matcher_read(other, s, n_text) == n_text && vs_matcher_shortest(other) <= left;
        if (good != has(mask, id))
            fail_msg("after '%.*s' with %u left, token %u is %s", (int)n, so_far, left, id, good ? "missing" : "allowed");
        vs_matcher_free(other);
    }
}

/* Random answers with a random number of tokens end in time and are accepted. */
static void walk(const char *constraint, unsigned rounds)
{
    struct vs_grammar *g = compiled(constraint);
    for (unsigned round = 0; round < rounds; round++) {
        struct vs_matcher *m = matcher(g);
        char text[4096];
        size_t n = 0;
        uint32_t shortest = vs_matcher_shortest(m), left = shortest + below(round % 3 == 0 ? 2 : 40);
        assert_true(shortest < 1000);
        while (left && !vs_matcher_must_end(m)) {
            left--;
            const uint64_t *mask = vs_matcher_mask(m, left);
            assert_non_null(mask);
            uint32_t allowed[N_VOCAB], n_allowed = 0;
            for (uint32_t id = 0; id < N_VOCAB; id++)
                if (has(mask, id))
                    allowed[n_allowed++] = id;
            assert_true(n_allowed > 0);
            if (round < 2)
                check_mask(g, text, n, m, left);
            uint32_t id = allowed[below(n_allowed)];
            if (id == END)
                break;
            size_t n_text;
            const char *s = text_of(NULL, id, &n_text);
            assert_true(vs_matcher_take(m, id));
            memcpy(text + n, s, n_text);
            n += n_text;
            assert_true(vs_matcher_shortest(m) <= left);
        }
        if (!vs_matcher_may_end(m) || !accepts(g, text, n))
            fail_msg("%s: '%.*s' is no answer", constraint, (int)n, text);
        vs_matcher_free(m);
    }
    vs_grammar_free(g);
}

static void test_masks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        walk(texts[i].constraint, 40);
    walk("{\"regex\":\"[^\\\"]{3,60}\\\"\"}", 40);
    walk("{\"regex\":\"(.|\\n)*\"}", 20);
    for (size_t i = 0; i + 1 < sizeof schemas / sizeof *schemas; i++)
        walk(schema_constraint(schemas[i].schema), 12);
    walk("{\"json_object\":true}", 20);
    walk("{\"json_schema\":{\"type\":\"string\",\"minLength\":40,\"maxLength\":60}}", 20);
}

/* Tokens of several bytes are the only way to spell some of them. */
static void test_poor_vocabulary(void **state)
{
    (void)state;
    struct vs_vocabulary *rich = v;
    only_some_bytes = true;
    v = vocabulary();
    struct vs_grammar *g;
    struct vs_matcher *m;
    struct vs_error err;
    walk("{\"choice\":[\"the\",\"zoo\",\"\xe4\xbd\xa0\xe5\xa5\xbd\",\"\xc3\xa9\xc3\xa9\"]}", 40);
    walk("{\"regex\":\"(hello|hex|[a-e]|\xe4\xbd\xa0)+\"}", 40);
    assert_int_equal(compile("{\"choice\":[\"zoo\"]}", VS_GRAMMAR_WRITES, &g, &err), VS_OK);
    m = matcher(g);
    assert_int_equal(vs_matcher_shortest(m), UINT32_MAX);
    vs_matcher_free(m);
    vs_grammar_free(g);
    only_some_bytes = false;
    vs_vocabulary_free(v);
    v = rich;
}

static void test_shortest(void **state)
{
    (void)state;
    static const struct { const char *constraint; uint32_t tokens; } cases[] = {
        { "{\"choice\":[\"abcabc\"]}", 2 }, { "{\"choice\":[\"hello world\",\"xy\"]}", 2 }, { "{\"regex\":\"a*\"}", 0 },
        { "{\"regex\":\"a{9}\"}", 3 }, { "{\"regex\":\"a{5000}\"}", 5000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vs_grammar *g = compiled(cases[i].constraint);
        struct vs_matcher *m = matcher(g);
        assert_int_equal(vs_matcher_shortest(m), cases[i].tokens);
        vs_matcher_free(m);
        vs_grammar_free(g);
    }
}

/* All ways of an ambiguous grammar at once, and more states than are kept. */
static void test_bounds(void **state)
{
    (void)state;
    struct vs_grammar *g = compiled("{\"grammar\":\"root ::= \\\"a\\\" root \\\"b\\\" | \\\"a\\\" root \\\"c\\\" | \\\"a\\\" "
                                    "root root | \\\"a\\\"\"}");
    struct vs_matcher *m = matcher(g);
    char text[2000];
    memset(text, 'a', sizeof text);
    assert_int_equal(vs_matcher_read(m, text, sizeof text), sizeof text);
    assert_non_null(vs_matcher_mask(m, 5000));
    vs_matcher_free(m);
    vs_grammar_free(g);
    g = compiled("{\"regex\":\"[a-z]{60000}\"}");
    m = matcher(g);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(vs_matcher_read(m, text, sizeof text), sizeof text);
        assert_non_null(vs_matcher_mask(m, 100000));
    }
    assert_true(vs_matcher_must_end(m));
    vs_matcher_free(m);
    vs_grammar_free(g);
}

/* Seconds that it takes to compile 2,000 references (ref and "z1", ...) to as many schemas, behind 20,000 values that are none; of
 * three tries the least. */
static double seconds_of_references(const char *name, const char *ref)
{
    double least = 1e9;
    json_t *defs = json_object(), *list = json_array(), *values = json_array();
    for (int i = 0; i < 20000; i++)
        json_array_append_new(values, json_array());
    for (int i = 0; i < 2000; i++) {
        char key[16], to[32], word[16];
        snprintf(key, sizeof key, "z%d", i);
        snprintf(to, sizeof to, "%sz%d", ref, i);
        snprintf(word, sizeof word, "z%d", i);
        json_object_set_new(defs, key, json_pack("{s:s, s:s}", name, word, "type", "null"));
        json_array_append_new(list, json_pack("{s:s}", "$ref", to));
    }
    json_t *o = json_pack("{s:{s:o, s:o, s:o}}", "json_schema", "values", values, "$defs", defs, "prefixItems", list);
    assert_non_null(o);
    for (int i = 0; i < 3; i++) {
        struct vs_grammar *g = NULL;
        struct vs_error err = { 0 };
        struct timespec from, to;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        int r = vs_grammar_compile(o, VS_GRAMMAR_WRITES, v, NULL, &g, &err);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        if (r != VS_OK)
            fail_msg("%s: %s", name, err.text);
        vs_grammar_free(g);
        double s = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9;
        least = s < least ? s : least;
    }
    json_decref(o);
    return least;
}

/* A reference by name costs about as much as one by place, however large the schema is. */
static void test_references(void **state)
{
    (void)state;
    double place = seconds_of_references("title", "#/$defs/"), id = seconds_of_references("$id", ""),
           anchor = seconds_of_references("$anchor", "#");
    if (id > 4 * place || anchor > 4 * place)
        fail_msg("by place %.4f s, by id %.4f s, by anchor %.4f s", place, id, anchor);
}

/* Types are known through references and alternatives; where these multiply, any type is the answer, and soon. */
static void test_types(void **state)
{
    (void)state;
    json_t *root = json_pack("{s:{s:{s:[{s:s}, {s:s}]}}, s:[]}", "$defs", "a", "anyOf", "type", "integer", "type", "null", "anyOf");
    json_t *schema = json_pack("{s:s, s:[s, s]}", "$ref", "#/$defs/a", "type", "integer", "string");
    assert_int_equal(vs_schema_types(root, schema), VS_JSON_INTEGER);
    json_decref(schema);
    for (int i = 0; i < 150; i++)
        json_array_append_new(json_object_get(root, "anyOf"), json_pack("{s:s}", "$ref", "#"));
    struct timespec from, to;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    assert_int_equal(vs_schema_types(root, root), VS_JSON_ANY);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    assert_true(to.tv_sec - from.tv_sec < 2);            /* 150 to the power of four would be minutes */
    json_decref(root);
}

/* A property of tags is compiled alone: what it refers to must be there, and be the same. */
static void test_tags(void **state)
{
    (void)state;
    static const struct vs_call_tags code = { .key_open = "", .json_close = "=", .json_end = "", .end = ")", .between = ", " };
    static const struct vs_call_form form = { .open = "", .close = "(", .tags = &code };
    static const struct { const char *properties, *good, *bad, *says; } cases[] = {
        { "'a': {'type': 'array', 'items': {'$ref': '#/$defs/x'}}", "f(a=[1])", "f(a=[null])", NULL },
        { "'a': {'type': 'array', 'items': {'$ref': '#/$defs/x'}, '$defs': {'x': {'type': 'integer'}}}", "f(a=[1])", "f(a=[null])",
          NULL },
        { "'a': {'type': 'array', 'items': {'$ref': '#'}}", NULL, NULL, "f, a: in tags only references to #/$defs/..." },
        { "'b': true, 'a': {'type': 'object', 'properties': {'b': {}, 'c': {'$ref': '#/properties/b'}}}", NULL, NULL,
          "f, a: in tags only references to #/$defs/..." },
        { "'a': {'type': 'array', 'items': {'$ref': '#/$defs/x'}, '$defs': {'x': {'type': 'null'}}}", NULL, NULL,
          "f, a: it has other definitions" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        struct vs_grammar *g = NULL;
        struct vs_error err = { 0 };
        snprintf(text, sizeof text, "{'type': 'object', 'properties': {%s}, '$defs': {'x': {'type': 'integer'}}}",
                 cases[i].properties);
        for (char *at = text; (at = strchr(at, '\''));)
            *at = '"';
        json_t *parameters = json_loads(text, 0, NULL);
        assert_non_null(parameters);
        const struct vs_callable f = { "f", parameters };
        int r = vs_grammar_calls(&form, &f, 1, NULL, false, v, NULL, &g, &err);
        if (cases[i].says ? r != VS_E_UNSUPPORTED || !strstr(err.text, cases[i].says) : r != VS_OK)
            fail_msg("%s: %d '%s'", text, r, err.text);
        if (r == VS_OK) {
            assert_true(accepts(g, cases[i].good, strlen(cases[i].good)));
            assert_false(accepts(g, cases[i].bad, strlen(cases[i].bad)));
        }
        vs_grammar_free(r == VS_OK ? g : NULL);
        json_decref(parameters);
    }
}

/* Compiling stops when it is told to. */
static int stop(void *context)
{
    return ++*(int *)context > 2 ? VS_E_CANCELLED : VS_OK;
}

static void test_stopped(void **state)
{
    (void)state;
    int asked = 0;
    struct vs_check check = { .ask = stop, .context = &asked };
    struct vs_grammar *g = NULL;
    struct vs_error err;
    json_t *o = json_pack("{s:s}", "regex", "a{100000}");
    assert_int_equal(vs_grammar_compile(o, VS_GRAMMAR_WRITES, v, &check, &g, &err), VS_E_CANCELLED);
    assert_null(g);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts), cmocka_unit_test(test_schemas), cmocka_unit_test(test_respell),
        cmocka_unit_test(test_respell_numbers),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_work), cmocka_unit_test(test_masks),
        cmocka_unit_test(test_poor_vocabulary), cmocka_unit_test(test_shortest), cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_references), cmocka_unit_test(test_types), cmocka_unit_test(test_tags),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_stopped),
    };
    v = vocabulary();
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    vs_vocabulary_free(v);
    return r;
}
