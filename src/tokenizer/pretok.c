/* tokenizer/pretok.c - the pre-tokenizer rules as tables, and the matcher that reads them.
 *
 *     rule   = passes; pass k + 1 cuts every piece of pass k again
 *     pass   = blocks; the first that matches at a position wins; what no block matches stays together as one piece
 *     block  = elements in a row, each as long as it can; only a leading optional character is ever given back
 *
 * Most text is ASCII: there masks cut what the usual rules say (cuts.h). Elsewhere, and under other rules, the first two characters
 * of a piece tell which block matches, and that it is a run, or two: such shapes are found once, when a rule is chosen (plan). What
 * they do not decide is asked of the blocks.
 *
 * Nothing here backtracks further than that, and whatever must look ahead over a run remembers where the run ends, so a
 * rule costs linear time on any text. Which model wants which rule is a fact of its own tokenizer.json; where llama.cpp
 * approximates (cased letters outside ASCII), the original wins.
 */
#include "tokenizer/internal.h"

#include "base/status.h"
#include "base/utf8.h"
#include "unicode/unicode.h"

#include <string.h>

/* ---- sets of characters ---- */

#define GC(name) (1u << VS_U_##name)
#define GC_L (GC(LU) | GC(LL) | GC(LT) | GC(LM) | GC(LO))
#define GC_M (GC(MN) | GC(MC) | GC(ME))
#define GC_N (GC(ND) | GC(NL) | GC(NO))
#define GC_P (GC(PC) | GC(PD) | GC(PS) | GC(PE) | GC(PI) | GC(PF) | GC(PO))
#define GC_S (GC(SM) | GC(SC) | GC(SK) | GC(SO))
#define GC_ALL ((1u << VS_U_WHITE_SPACE) - 1)
#define WS GC(WHITE_SPACE)
#define HAN GC(HAN)
#define UPPERISH (GC(LU) | GC(LT) | GC(LM) | GC(LO) | GC_M)
#define LOWERISH (GC(LL) | GC(LM) | GC(LO) | GC_M)

struct range { uint32_t lo, hi; };
#define RANGES(...) ((const struct range[]){ __VA_ARGS__, { 1, 0 } })

/* A character is in a set when it is in `with`, or has a bit of `any`, no bit of `none` and is not in `without`. */
struct set {
    uint32_t any, none;
    const struct range *with, *without;
};

/*    name          any            none  with, without                                                       */
#define SETS(X)                                                                                               \
    X(SPACE,        0,             0,    RANGES({ ' ', ' ' }), NULL)                                          \
    X(WHITE,        WS,            0,    NULL, NULL)                                                          \
    X(VISIBLE,      GC_ALL,        WS,   NULL, NULL)                                                          \
    X(NEWLINE,      0,             0,    RANGES({ '\n', '\n' }, { '\r', '\r' }), NULL)                        \
    X(NEWLINE_SL,   0,             0,    RANGES({ '\n', '\n' }, { '\r', '\r' }, { '/', '/' }), NULL)          \
    X(LF,           0,             0,    RANGES({ '\n', '\n' }), NULL)                                        \
    X(NOT_LF,       GC_ALL,        0,    NULL, RANGES({ '\n', '\n' }))                                        \
    X(NOT_SPACE,    GC_ALL,        0,    NULL, RANGES({ ' ', ' ' }))                                          \
    X(LETTER,       GC_L,          0,    NULL, NULL)                                                          \
    X(LETTER_MARK,  GC_L | GC_M,   0,    NULL, NULL)                                                          \
    X(MARK,         GC_M,          0,    NULL, NULL)                                                          \
    X(NUMBER,       GC_N,          0,    NULL, NULL)                                                          \
    X(DECIMAL,      GC(ND),        0,    NULL, NULL)                                                          \
    /* what \b of the originals' engine looks for: Alphabetic, M, Nd, Pc, and six of Latin-1 */             \
    X(WORD,         GC_L | GC_M | GC(ND) | GC(NL) | GC(PC), 0,                                                \
      RANGES({ 0xb2, 0xb3 }, { 0xb9, 0xb9 }, { 0xbc, 0xbe }, { 0x24b6, 0x24e9 }, { 0x1f130, 0x1f149 },        \
             { 0x1f150, 0x1f169 }, { 0x1f170, 0x1f189 }), NULL)                                               \
    X(PUNCT,        GC_P,          0,    NULL, NULL)                                                          \
    X(PUNCT_SYMBOL, GC_P | GC_S,   0,    NULL, NULL)                                                          \
    X(NOT_NLN,      GC_ALL & ~(GC_L | GC_N), 0, NULL, RANGES({ '\n', '\n' }, { '\r', '\r' }))                 \
    X(NOT_NLPS,     GC_ALL & ~(GC_L | GC_P | GC_S), 0, NULL, RANGES({ '\n', '\n' }, { '\r', '\r' }))          \
    X(SYMBOL,       GC_ALL & ~(GC_L | GC_N), WS, NULL, NULL)                                                  \
    X(SYMBOL_NO_M,  GC_ALL & ~(GC_L | GC_N | GC_M), WS, NULL, NULL)                                           \
    X(UPPER,        UPPERISH,      0,    NULL, NULL)                                                          \
    X(LOWER,        LOWERISH,      0,    NULL, NULL)                                                          \
    X(UPPER_NO_HAN, UPPERISH,      HAN,  NULL, NULL)                                                          \
    X(LOWER_NO_HAN, LOWERISH,      HAN,  NULL, NULL)                                                          \
    X(HAN_SCRIPT,   HAN,           0,    NULL, NULL)                                                          \
    X(DIGIT,        0,             0,    RANGES({ '0', '9' }), NULL)                                          \
    X(ASCII_LETTER, 0,             0,    RANGES({ 'A', 'Z' }, { 'a', 'z' }), NULL)                            \
    X(ASCII_PUNCT,  0,             0,    RANGES({ '!', '/' }, { ':', '@' }, { '[', '`' }, { '{', '~' }), NULL) \
    X(PUNCT_ASCII,  GC_P,          0,    RANGES({ '!', '/' }, { ':', '@' }, { '[', '`' }, { '{', '~' }), NULL) \
    X(FALCON_PUNCT, GC_P,          0,    RANGES({ '$', '$' }, { '+', '+' }, { '<', '>' }, { '^', '^' },       \
                                                { '`', '`' }, { '|', '|' }, { '~', '~' }), NULL)              \
    X(DEFAULT_PUNCT, GC_P,         0,    RANGES({ '$', '$' }, { '+', '+' }, { '<', '>' }, { '^', '^' },       \
                                                { '|', '|' }, { '~', '~' }), NULL)                            \
    /* DeepSeek's list of cased scripts, said by what it leaves out of the cased letters */                   \
    X(DEEPSEEK_LETTER, GC(LU) | GC(LL) | GC(LT), 0, NULL,                                                     \
      RANGES({ 0x560, 0x588 }, { 0x10c7, 0x10ff }, { 0x1c80, 0x1c88 }, { 0x2d00, 0x2d2d }, { 0xa790, 0xab68 }, \
             { 0x10570, 0x105bc }, { 0x16e40, 0x1e8ff }))                                                     \
    X(DEEPSEEK_PUNCT, 0,           0,    RANGES({ 0x21, 0x2f }, { 0x3a, 0x7e }, { 0x2018, 0x201f },           \
                                                { 0x3000, 0x3002 }, { 0xff01, 0xff0f }, { 0xff1a, 0xff5e }), NULL) \
    X(DEEPSEEK_CJK, 0,             0,    RANGES({ 0x800, 0x9fa5 }, { 0xac00, 0xd7ff }), NULL)                 \
    X(CJK_KANA,     0,             0,    RANGES({ 0x3040, 0x30ff }, { 0x4e00, 0x9fa5 }), NULL)                \
    X(HANGUL,       0,             0,    RANGES({ 0x3131, 0x318e }, { 0xac00, 0xd7a3 }), NULL)                \
    X(CJK_PUNCT,    0,             0,    RANGES({ 0x2014, 0x2014 }, { 0x2018, 0x2019 }, { 0x201c, 0x201d },   \
                                                { 0x2026, 0x2026 }, { 0x3001, 0x303f }, { 0xfe30, 0xfe4f },   \
                                                { 0xff01, 0xff01 }, { 0xff0c, 0xff0c }, { 0xff1a, 0xff1b }), NULL) \
    X(BOPOMOFO,     0,             0,    RANGES({ 0x3105, 0x312f }), NULL)                                    \
    X(ASIAN_SCRIPT, 0,             0,    RANGES({ 0xe40, 0xeff }, { 0x1000, 0x109f }, { 0x1100, 0x11ff },     \
                                                { 0x1780, 0x17ff }, { 0x2f00, 0x2fdf }, { 0x3040, 0x30ff },   \
                                                { 0x3400, 0x4dbf }, { 0x4e00, 0x9fff }, { 0xa9e0, 0xa9ff },   \
                                                { 0xaa60, 0xaa7f }, { 0xac00, 0xd7af }, { 0xf900, 0xfaff },   \
                                                { 0xff65, 0xff9f }), NULL)                                    \
    X(PORO_TEXT,    GC_ALL,        WS,   NULL, RANGES({ '!', '!' }, { '(', ')' }, { ',', ',' }, { '.', '.' }, \
                                                { '?', '?' }, { '|', '|' }, { 0x60c, 0x60c }, { 0x6d4, 0x6d4 }, \
                                                { 0x964, 0x964 }, { 0x2026, 0x2026 }, { 0x3001, 0x3002 },     \
                                                { 0xff0c, 0xff0c }))                                          \
    X(TAB_LF,       0,             0,    RANGES({ '\t', '\n' }), NULL)                                        \
    X(A_TO_I,       0,             0,    RANGES({ 'A', 'I' }), NULL)

enum set_id {
#define SET_ID(name, any, none, with, without) S_##name,
    SETS(SET_ID)
    N_SETS
};
_Static_assert(N_SETS <= 64, "struct vs_pretok keeps one bit per set");

static const struct set sets[N_SETS] = {
#define SET_ROW(name, any, none, with, without) [S_##name] = { any, none, with, without },
    SETS(SET_ROW)
};

/* ---- elements, blocks, passes, rules ---- */

enum kind {
    END,
    RUN,                                /* min..max characters of set */
    MAYBE,                              /* one character of set, given back when the rest of the block fails */
    CONTRACTION,                        /* apostrophe + s t re ve m ll d; set = 1: in any letter case */
    MAYBE_CONTRACTION,                  /* the same in any case, or nothing */
    CASED,                              /* a run of set, then at least one of set2, sharing what both contain */
    LINES,                              /* white space up to and including the last newline of the run */
    TAIL,                               /* white space: all of it at the end of the text, else all but one */
    EXACT_TAIL,                         /* exactly max white space, not followed by visible text */
    THREES,                             /* a group of a digit run counted in threes from its end; see enum */
    WORDS,                              /* letters with marks, words joined by single spaces */
    LITERAL,
};

enum { THREES_ALL, THREES_FULL, THREES_AT_WORD_END };   /* min of THREES */

struct element {
    uint8_t kind, set, set2;
    uint16_t min, max;
    const char *literal;
};

struct block { struct element element[5]; };

struct pass {
    const struct block *block;
    unsigned n;
};

struct vs_pretok_rule {
    const char *name;
    unsigned n_passes;
    struct pass pass[VS_PRE_PASSES];
};

enum { MANY = UINT16_MAX };
#define B(...) { { __VA_ARGS__ } }
#define SOME(s) { RUN, S_##s, 0, 1, MANY, NULL }
#define ANY(s) { RUN, S_##s, 0, 0, MANY, NULL }
#define ONE(s) { RUN, S_##s, 0, 1, 1, NULL }
#define TIMES(s, lo, hi) { RUN, S_##s, 0, lo, hi, NULL }
#define OPT(s) { MAYBE, S_##s, 0, 0, 1, NULL }
#define LIT(text) { LITERAL, 0, 0, 0, 0, text }
#define JUST(kind) { kind, S_WHITE, 0, 0, 0, NULL }
#define CASES(upper, lower) { CASED, S_##upper, S_##lower, 0, 0, NULL }
#define GROUPS(how) { THREES, S_DECIMAL, 0, how, 3, NULL }
#define BREAK(n) B({ EXACT_TAIL, S_WHITE, 0, 0, n, NULL })

#define B_CONTR B({ CONTRACTION, 0, 0, 0, 0, NULL })
#define B_CONTR_I B({ CONTRACTION, 1, 0, 0, 0, NULL })
#define B_LETTER B(OPT(NOT_NLN), SOME(LETTER))
#define B_SYM B(OPT(SPACE), SOME(SYMBOL), ANY(NEWLINE))
#define B_SYM_SLASH B(OPT(SPACE), SOME(SYMBOL), ANY(NEWLINE_SL))
#define W1 B(JUST(LINES)), B(JUST(TAIL)), B(SOME(WHITE))
#define GPT2 B_CONTR, B(OPT(SPACE), SOME(LETTER)), B(OPT(SPACE), SOME(NUMBER)), B(OPT(SPACE), SOME(SYMBOL)), \
             B(JUST(TAIL)), B(ONE(WHITE))
#define CASED_WORD(upper, lower) B(OPT(NOT_NLN), CASES(upper, lower)), B(OPT(NOT_NLN), SOME(upper), ANY(lower))
#define CASED_WORD_CONTR(upper, lower)                                            \
    B(OPT(NOT_NLN), CASES(upper, lower), JUST(MAYBE_CONTRACTION)),                \
    B(OPT(NOT_NLN), SOME(upper), ANY(lower), JUST(MAYBE_CONTRACTION))
#define DEEPSEEK3_START B(ONE(ASCII_PUNCT), SOME(ASCII_LETTER)), B(OPT(NOT_NLPS), SOME(LETTER_MARK))

static const struct block llama3[] = { B_CONTR_I, B_LETTER, B(TIMES(NUMBER, 1, 3)), B_SYM, W1 };
static const struct block qwen2[] = { B_CONTR_I, B_LETTER, B(ONE(NUMBER)), B_SYM, W1 };
static const struct block qwen35[] = { B_CONTR_I, B(OPT(NOT_NLN), SOME(LETTER_MARK)), B(ONE(NUMBER)),
                                       B(OPT(SPACE), SOME(SYMBOL_NO_M), ANY(NEWLINE)), W1 };
static const struct block gpt2[] = { GPT2 };
static const struct block number[] = { B(ONE(NUMBER)) };
static const struct block numbers[] = { B(SOME(NUMBER)) };
static const struct block numbers3[] = { B(TIMES(NUMBER, 1, 3)) };
static const struct block digits3[] = { B(TIMES(DIGIT, 3, 3)) };
static const struct block falcon_punct[] = { B(SOME(FALCON_PUNCT)) };
static const struct block default_punct[] = { B(SOME(DEFAULT_PUNCT)) };
static const struct block newline[] = { B(ONE(NEWLINE)) };
static const struct block deepseek_letters[] = { B(OPT(WHITE), SOME(DEEPSEEK_LETTER)) };
static const struct block deepseek_punct[] = { B(OPT(WHITE), SOME(DEEPSEEK_PUNCT)) };
static const struct block white_at_end[] = { B({ EXACT_TAIL, S_WHITE, 0, 0, 0, NULL }) };
static const struct block deepseek_cjk[] = { B(SOME(DEEPSEEK_CJK)) };
static const struct block letters[] = { B(OPT(WHITE), SOME(LETTER)) };
static const struct block puncts[] = { B(OPT(WHITE), SOME(PUNCT)) };
static const struct block cjk_kana[] = { B(SOME(CJK_KANA)) };
static const struct block deepseek3[] = { DEEPSEEK3_START, B(OPT(SPACE), SOME(PUNCT_SYMBOL), ANY(NEWLINE)), W1 };
static const struct block spark[] = { DEEPSEEK3_START, B(OPT(SPACE), SOME(PUNCT_SYMBOL)), B(ONE(NEWLINE)),
                                      B(JUST(TAIL)), B(SOME(WHITE)) };
static const struct block youtu_scripts[] = { B(SOME(HANGUL)), B(SOME(CJK_PUNCT)), B(SOME(BOPOMOFO)),
                                              B(SOME(CJK_KANA)) };
static const struct block youtu[] = { CASED_WORD_CONTR(UPPER, LOWER), B(ONE(NUMBER)), B_SYM_SLASH, W1 };
static const struct block tekken[] = { CASED_WORD(UPPER, LOWER), B(ONE(NUMBER)), B_SYM_SLASH, W1 };
static const struct block gpt4o[] = { CASED_WORD_CONTR(UPPER, LOWER), B(TIMES(NUMBER, 1, 3)), B_SYM_SLASH, W1 };
static const struct block threes_at_word_end[] = { B(GROUPS(THREES_AT_WORD_END)) };
static const struct block threes_full[] = { B(GROUPS(THREES_FULL)) };
static const struct block threes[] = { B(GROUPS(THREES_ALL)) };
static const struct block kimi[] = { B(SOME(HAN_SCRIPT)), CASED_WORD_CONTR(UPPER_NO_HAN, LOWER_NO_HAN),
                                     B(TIMES(NUMBER, 1, 3)), B_SYM, W1 };
static const struct block seed[] = { B_CONTR_I, B_LETTER, B(ONE(NUMBER)), B(OPT(SPACE), SOME(SYMBOL)), W1 };
static const struct block exaone_moe[] = { B_CONTR_I, B(OPT(NOT_NLN), JUST(WORDS)), B(ONE(NUMBER)),
                                           B(OPT(SPACE), SOME(SYMBOL), TIMES(NEWLINE_SL, 0, 1)), W1 };
static const struct block jais2[] = { B_CONTR_I, B_LETTER, B(TIMES(NUMBER, 1, 3)), B_SYM, B(JUST(LINES)), BREAK(512),
                                      BREAK(256), BREAK(128), BREAK(64), BREAK(32), BREAK(16), BREAK(8), BREAK(4),
                                      BREAK(2), BREAK(1), B(ONE(WHITE)) };
static const struct block asian[] = { B(SOME(ASIAN_SCRIPT)) };
static const struct block poro[] = { B(OPT(SPACE), SOME(PORO_TEXT)) };
static const struct block sentinel[] = { B(LIT("<sentinel:"), SOME(DIGIT), LIT(">")) };
static const struct block image[] = { B(LIT("IMGIMG"), TIMES(A_TO_I, 1, 4), LIT("Z")) };
static const struct block spaces[] = { B(ONE(TAB_LF)), B(LIT("    ")), B(LIT("  ")) };
static const struct block punct_ascii[] = { B(ONE(PUNCT_ASCII)) };
static const struct block lines[] = { B(SOME(NOT_LF)), B(SOME(LF)) };
static const struct block spaced[] = { B(OPT(SPACE), SOME(NOT_SPACE)), B(ONE(SPACE)) };
static const struct block minicpm5[] = { B_CONTR_I, B_LETTER, B(SOME(NUMBER)), B_SYM, W1 };
static const struct block ufak[] = { B_LETTER, B(ONE(NUMBER)), B_SYM, W1 };

#define P(blocks) { blocks, sizeof blocks / sizeof *blocks }

/*    rule           passes                                                                    */
#define RULES(X)                                                                                \
    X(LLAMA3,        1, P(llama3))                                                              \
    X(QWEN2,         1, P(qwen2))                                                               \
    X(QWEN35,        1, P(qwen35))                                                              \
    X(GPT2,          1, P(gpt2))                                                                \
    X(STARCODER,     2, P(number), P(gpt2))                                                     \
    X(FALCON,        3, P(falcon_punct), P(gpt2), P(digits3))                                   \
    X(DEFAULT,       4, P(default_punct), P(gpt2), P(numbers), P(digits3))                      \
    X(DEEPSEEK_LLM,  6, P(newline), P(deepseek_letters), P(deepseek_punct), P(white_at_end), P(deepseek_cjk), \
                        P(numbers))                                                             \
    X(DEEPSEEK_CODER, 5, P(newline), P(letters), P(puncts), P(deepseek_cjk), P(number))         \
    X(DEEPSEEK3,     3, P(numbers3), P(cjk_kana), P(deepseek3))                                 \
    X(YOUTU,         2, P(youtu_scripts), P(youtu))                                             \
    X(TEKKEN,        1, P(tekken))                                                              \
    X(GPT4O,         1, P(gpt4o))                                                               \
    X(TINY_AYA,      2, P(threes_at_word_end), P(gpt4o))                                        \
    X(KIMI,          1, P(kimi))                                                                \
    X(SUPERBPE,      2, P(numbers), P(threes_full))                                             \
    X(SEED,          1, P(seed))                                                                \
    X(EXAONE_MOE,    1, P(exaone_moe))                                                          \
    X(JAIS2,         1, P(jais2))                                                               \
    X(AFMOE,         3, P(threes), P(asian), P(deepseek3))                                      \
    X(PORO,          1, P(poro))                                                                \
    X(VIKING,        2, P(poro), P(number))                                                     \
    X(CHAMELEON,     6, P(sentinel), P(image), P(spaces), P(number), P(punct_ascii), P(gpt2))   \
    X(MINICPM5,      2, P(numbers3), P(minicpm5))                                               \
    X(SPARK,         4, P(numbers3), P(cjk_kana), P(spark), P(number))                          \
    X(NEWLINE,       1, P(lines))                                                               \
    X(MMBERT,        2, P(lines), P(spaced))                                                    \
    X(LAGUNA,        2, P(lines), P(qwen2))                                                     \
    X(UFAK,          1, P(ufak))

enum rule_id {
#define RULE_ID(name, n, ...) R_##name,
    RULES(RULE_ID)
    N_RULES
};

static const struct vs_pretok_rule rules[N_RULES] = {
#define RULE_ROW(name, n, ...) [R_##name] = { #name, n, { __VA_ARGS__ } },
    RULES(RULE_ROW)
};

/* Which rules masks can cut, and how: see cuts.h. */
#define CUT_WORDS VS_CUT_USED | VS_CUT_LINES
#define CUT_CASED VS_CUT_USED | VS_CUT_LINES | VS_CUT_CASED | VS_CUT_SIGNS_TAKE_LINES
#define CUT_CONTRACTS_I VS_CUT_CONTRACTS | VS_CUT_CONTRACTS_ANY_CASE
static const uint16_t cut_flags[N_RULES] = {
    [R_LLAMA3] = CUT_WORDS | VS_CUT_SIGNS_TAKE_LINES | CUT_CONTRACTS_I | VS_CUT_THREES,
    [R_QWEN2] = CUT_WORDS | VS_CUT_SIGNS_TAKE_LINES | CUT_CONTRACTS_I,
    [R_QWEN35] = CUT_WORDS | VS_CUT_SIGNS_TAKE_LINES | CUT_CONTRACTS_I,
    [R_SEED] = CUT_WORDS | CUT_CONTRACTS_I,
    [R_UFAK] = CUT_WORDS | VS_CUT_SIGNS_TAKE_LINES,
    [R_MINICPM5] = CUT_WORDS | VS_CUT_SIGNS_TAKE_LINES | CUT_CONTRACTS_I | VS_CUT_THREES | VS_CUT_DIGITS_FIRST,
    [R_DEEPSEEK3] = CUT_WORDS | VS_CUT_SIGNS_TAKE_LINES | VS_CUT_THREES | VS_CUT_DIGITS_FIRST | VS_CUT_NO_CONTROLS,
    [R_GPT2] = VS_CUT_USED | VS_CUT_SPACE_ONLY | VS_CUT_CONTRACTS,
    [R_STARCODER] = VS_CUT_USED | VS_CUT_SPACE_ONLY | VS_CUT_CONTRACTS | VS_CUT_DIGITS_FIRST,
    [R_TEKKEN] = CUT_CASED | VS_CUT_SIGNS_TAKE_SLASHES,
    [R_GPT4O] = CUT_CASED | VS_CUT_SIGNS_TAKE_SLASHES | VS_CUT_THREES | VS_CUT_CONTRACTS_BEHIND,
    [R_KIMI] = CUT_CASED | VS_CUT_THREES | VS_CUT_CONTRACTS_BEHIND,
};

/* tokenizer.ggml.pre. The file does not say whether text is normalised; the models' own tokenizer.json do, or the code that came
 * with them: NFC for Qwen and what is made of it, for Cohere's, and for the GPT-NeoX vocabulary (mpt, olmo, modern-bert). */
static const struct {
    const char *name;
    uint8_t rule, flags;
} names[] = {
    { "llama3", R_LLAMA3, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "llama-v3", R_LLAMA3, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "llama-bpe", R_LLAMA3, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "falcon3", R_LLAMA3, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "falcon-h1", R_LLAMA3, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "pixtral", R_LLAMA3, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "midm-2.0", R_LLAMA3, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "lfm2", R_LLAMA3, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "jina-v5-nano", R_LLAMA3, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "dbrx", R_LLAMA3, 0 },
    { "smaug-bpe", R_LLAMA3, 0 },
    { "glm4", R_LLAMA3, VS_PRE_WHOLE_WORD },
    { "glm5", R_LLAMA3, VS_PRE_WHOLE_WORD },
    { "chatglm-bpe", R_LLAMA3, 0 },
    { "qwen2", R_QWEN2, VS_PRE_NFC },
    { "deepseek-r1-qwen", R_QWEN2, VS_PRE_NFC },
    { "kormo", R_QWEN2, 0 },
    { "f2llmv2", R_QWEN2, VS_PRE_NFC },
    { "openpangu", R_QWEN2, 0 },
    { "megrez", R_QWEN2, 0 },
    { "stablelm2", R_QWEN2, VS_PRE_NFC },
    { "hunyuan", R_QWEN2, VS_PRE_NFC },
    { "solar-open", R_QWEN2, 0 },
    { "grok-2", R_QWEN2, 0 },
    { "bailingmoe", R_QWEN2, 0 },       /* the same blocks, written otherwise */
    { "bailingmoe2", R_QWEN2, 0 },
    { "llada-moe", R_QWEN2, 0 },
    { "qwen35", R_QWEN35, VS_PRE_NFC },
    { "gpt-2", R_GPT2, 0 },
    { "phi-2", R_GPT2, 0 },
    { "jina-es", R_GPT2, 0 },
    { "jina-de", R_GPT2, 0 },
    { "jina-v2-es", R_GPT2, VS_PRE_MASK_STRIPS },
    { "jina-v2-de", R_GPT2, VS_PRE_MASK_STRIPS },
    { "gigachat", R_GPT2, 0 },
    { "a.x-4.0", R_GPT2, 0 },
    { "mellum", R_GPT2, 0 },
    { "modern-bert", R_GPT2, VS_PRE_NFC | VS_PRE_MASK_STRIPS },
    { "exaone4", R_GPT2, 0 },
    { "mpt", R_GPT2, VS_PRE_NFC },
    { "olmo", R_GPT2, VS_PRE_NFC },
    { "jais", R_GPT2, 0 },
    { "trillion", R_GPT2, 0 },
    { "granite-docling", R_GPT2, 0 },
    { "jina-v1-en", R_GPT2, VS_PRE_ADD_SEP },
    { "jina-v2-code", R_GPT2, VS_PRE_ADD_SEP | VS_PRE_MASK_STRIPS },
    { "roberta-bpe", R_GPT2, VS_PRE_ADD_SEP },
    { "starcoder", R_STARCODER, 0 },
    { "refact", R_STARCODER, 0 },
    { "codeshell", R_STARCODER, 0 },
    { "exaone", R_STARCODER, 0 },
    { "minerva-7b", R_STARCODER, 0 },
    { "mellum2", R_STARCODER, 0 },
    { "command-r", R_STARCODER, VS_PRE_NFC },
    { "smollm", R_STARCODER, 0 },
    { "cohere2_moe", R_STARCODER, VS_PRE_NFC },
    { "falcon", R_FALCON, 0 },
    { "default", R_DEFAULT, 0 },
    { "deepseek-llm", R_DEEPSEEK_LLM, 0 },
    { "deepseek-coder", R_DEEPSEEK_CODER, 0 },
    { "deepseek-v3", R_DEEPSEEK3, 0 },
    { "hunyuan-dense", R_DEEPSEEK3, 0 },
    { "joyai-llm", R_DEEPSEEK3, 0 },
    { "hy_v4", R_DEEPSEEK3, 0 },
    { "youtu", R_YOUTU, VS_PRE_WHOLE_WORD },
    { "tekken", R_TEKKEN, VS_PRE_WHOLE_WORD | VS_PRE_ADD_BOS },
    { "gpt-4o", R_GPT4O, 0 },
    { "llama4", R_GPT4O, 0 },
    { "kanana2", R_GPT4O, 0 },
    { "minimax-m2", R_GPT4O, 0 },
    { "talkie", R_GPT4O, 0 },
    /* the marks that llama.cpp adds for it are in CASED already */
    { "granite-embed-multi-97m", R_GPT4O, VS_PRE_WHOLE_WORD },
    { "tiny_aya", R_TINY_AYA, VS_PRE_NFC },
    { "cohere2moe", R_TINY_AYA, VS_PRE_NFC },
    { "kimi-k2", R_KIMI, 0 },
    { "superbpe", R_SUPERBPE, 0 },
    { "seed-coder", R_SEED, 0 },
    { "afmoe", R_AFMOE, 0 },
    { "exaone-moe", R_EXAONE_MOE, VS_PRE_NFC },
    { "jais-2", R_JAIS2, 0 },
    { "poro-chat", R_PORO, 0 },
    { "bloom", R_PORO, 0 },
    { "gpt3-finnish", R_PORO, 0 },
    { "viking", R_VIKING, 0 },
    { "chameleon", R_CHAMELEON, VS_PRE_ADD_BOS },
    { "gemma4", R_NEWLINE, VS_PRE_CHARACTERS | VS_PRE_ADD_BOS | VS_PRE_FORCES_BOS },
    { "granite-embed-multi-311m", R_NEWLINE, VS_PRE_CHARACTERS | VS_PRE_ADD_BOS | VS_PRE_FORCES_BOS },
    { "sarvam-moe", R_NEWLINE, VS_PRE_CHARACTERS },
    { "mmbert", R_MMBERT, VS_PRE_CHARACTERS | VS_PRE_SPACE_FIRST | VS_PRE_MASK_STRIPS },
    { "laguna", R_LAGUNA, 0 },
    { "minicpm5", R_MINICPM5, VS_PRE_WHOLE_WORD },
    { "spark2_5", R_SPARK, 0 },
    { "ufakzeka", R_UFAK, 0 },
};

const char *vs_pretok_name(size_t i)
{
    return i < sizeof names / sizeof *names ? names[i].name : NULL;
}

/* ---- the matcher ---- */

/* What is known about the run that a position lies in, so that looking ahead stays linear. Offsets in the text. */
struct ahead {
    const char *from, *end;             /* positions in [from, end) share the answer */
    const char *last;                   /* LINES: behind the last newline of the run, NULL when there is none */
    size_t left;                        /* THREES: digits in [from, end) */
};

enum { MANY_PIECES = 4 * VS_CUT_BLOCK };

struct scan {
    const struct vs_pretok *p;
    vs_pretok_pieces *pieces;
    void *context;
    const char *first;                  /* pieces that nobody was told of yet begin here */
    size_t n_pieces;
    uint32_t n_bytes[MANY_PIECES];
    const char *cut_from;               /* masks may find more from here on */
    size_t skip;                        /* bytes that they are to leave alone when they find few */
    struct ahead white, digits;
    struct vs_check *check;
    int r;                              /* VS_OK, or the check's answer: nothing matches any more */
};

enum { UNTIL_ASKED = 4096 };            /* bytes */

/* For each step of a run that began, or asked last, at *io_from and has come to s; false when the work is to stop. */
static inline bool go_on(struct scan *x, const char **io_from, const char *s)
{
    if (s - *io_from < UNTIL_ASKED)
        return true;
    *io_from = s;
    if (x->r == VS_OK)
        x->r = vs_check_work(x->check, UNTIL_ASKED);
    return x->r == VS_OK;
}

static bool in_ranges(const struct range *r, uint32_t c)
{
    if (r)
        for (; r->lo <= r->hi; r++)
            if (c >= r->lo && c <= r->hi)
                return true;
    return false;
}

static bool in_set(const struct set *s, uint32_t c)
{
    uint32_t mask = vs_unicode(c)->mask;
    if (in_ranges(s->with, c))
        return true;
    return (mask & s->any) && !(mask & s->none) && !in_ranges(s->without, c);
}

static size_t length(const char *s)
{
    uint32_t c;
    return vs_utf8_next(s, &c);
}

/* Length of the character at s when it is in the set, else 0. */
static inline size_t member(const struct scan *x, unsigned set, const char *s, const char *end)
{
    if (s == end)
        return 0;
    if ((uint8_t)*s < 0x80)
        return x->p->ascii[(uint8_t)*s] >> set & 1;
    uint32_t c;
    size_t n = vs_utf8_next(s, &c);         /* the text was checked, and a fragment never ends inside a character */
    return in_set(&sets[set], c) ? n : 0;
}

/* From s on; of ASCII characters of set alone. */
static inline const char *ascii_run(const struct scan *x, unsigned set, const char *s, const char *end)
{
    end = end - s > UNTIL_ASKED ? s + UNTIL_ASKED : end;
    while (s < end && x->p->ascii[(uint8_t)*s] >> set & 1)
        s++;
    return s;
}

static inline const char *run(struct scan *x, unsigned set, unsigned max, const char *s, const char *end)
{
    const char *from = s;
    size_t n;
    if (max == MANY) {
        s = ascii_run(x, set, s, end);
        if (s == end || ((uint8_t)*s < 0x80 && s - from < UNTIL_ASKED))
            return s;
    }
    while (max && (n = member(x, set, s, end)) && go_on(x, &from, s)) {
        s += n;
        max -= max != MANY;
    }
    return s;
}

/* Length of the letter at s when it is `lower`, in any case: 'S' has a third form, U+017F. */
static size_t same_letter(const char *s, const char *end, char lower, bool any_case)
{
    if (s == end)
        return 0;
    if (any_case && lower == 's' && end - s >= 2 && memcmp(s, "\xc5\xbf", 2) == 0)
        return 2;
    return (any_case ? *s | 0x20 : *s) == lower;
}

static const char *match_contraction(const char *s, const char *end, bool any_case)
{
    static const char tails[][3] = { "s", "t", "re", "ve", "m", "ll", "d" };
    if (s == end || *s != '\'')
        return NULL;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        const char *q = s + 1, *tail = tails[i];
        for (size_t n; *tail && (n = same_letter(q, end, *tail, any_case)); tail++)
            q += n;
        if (!*tail)
            return q;
    }
    return NULL;
}

/* [A]*[B]+ where A and B overlap: A takes all it can and gives back just enough for B to have one. */
static const char *match_cased(struct scan *x, const struct element *e, const char *s, const char *end)
{
    const char *last = NULL;            /* behind the last character of the run that B would take too */
    const char *from = s;
    size_t n;
    while ((n = member(x, e->set, s, end)) && go_on(x, &from, s)) {
        if (member(x, e->set2, s, end))
            last = s + n;
        s += n;
    }
    const char *b = run(x, e->set2, MANY, s, end);
    return b > s ? b : last;
}

/* Fills x->white for the run of white space at s. */
static void look_white(struct scan *x, const char *s, const char *end)
{
    struct ahead *a = &x->white;
    if (a->end && s >= a->from && s < a->end && a->end <= end)
        return;
    a->from = s;
    a->last = NULL;
    const char *from = s;
    size_t n;
    while ((n = member(x, S_WHITE, s, end)) && go_on(x, &from, s)) {
        if (*s == '\n' || *s == '\r')
            a->last = s + 1;
        s += n;
    }
    a->end = s;
}

static const char *match_lines(struct scan *x, const char *s, const char *end)
{
    if (!member(x, S_WHITE, s, end))
        return NULL;
    look_white(x, s, end);
    return x->white.last > s ? x->white.last : NULL;
}

static const char *match_tail(struct scan *x, const char *s, const char *end)
{
    if (!member(x, S_WHITE, s, end))
        return NULL;
    look_white(x, s, end);
    const char *e = x->white.end;
    if (e == end)
        return e;
    do e--; while (((uint8_t)*e & 0xc0) == 0x80);
    return e > s ? e : NULL;
}

/* max == 0: only at the end of the text. */
static const char *match_exact_tail(struct scan *x, unsigned max, const char *s, const char *end)
{
    if (!max) {
        if (!member(x, S_WHITE, s, end))
            return NULL;
        look_white(x, s, end);
        return x->white.end == end ? end : NULL;
    }
    for (; max; max--) {
        size_t n = member(x, S_WHITE, s, end);
        if (!n)
            return NULL;
        s += n;
    }
    return s == end || member(x, S_WHITE, s, end) ? s : NULL;
}

/* Fills x->digits for the digits from s on; how many there are. */
static size_t look_digits(struct scan *x, unsigned set, const char *s, const char *end)
{
    struct ahead *a = &x->digits;
    if (!member(x, set, s, end))
        return 0;
    if (!a->end || s < a->from || s >= a->end || a->end > end) {
        a->from = s;
        a->left = 0;
        const char *q = s, *from = s;
        for (size_t n; (n = member(x, set, q, end)) && go_on(x, &from, q); q += n)
            a->left++;
        a->end = q;
    }
    const char *from = a->from;
    for (; a->from < s && go_on(x, &from, a->from); a->from += length(a->from))
        a->left--;
    return a->left;
}

static const char *match_threes(struct scan *x, const struct element *e, const char *s, const char *end)
{
    size_t n = look_digits(x, e->set, s, end);
    if (!n || (e->min == THREES_FULL && n % 3))
        return NULL;
    if (e->min == THREES_AT_WORD_END && member(x, S_WORD, x->digits.end, end))
        return NULL;
    s = run(x, e->set, n % 3 ? n % 3 : 3, s, end);
    const char *from = s;
    /* the original cuts in front of groups only: what follows the last one stays with it */
    while (e->min == THREES_FULL && s < end && ((n = look_digits(x, e->set, s, end)) == 0 || n % 3) && go_on(x, &from, s))
        s += length(s);
    return s;
}

static const char *match_words(struct scan *x, const char *s, const char *end)
{
    size_t n = member(x, S_LETTER, s, end);
    if (!n)
        return NULL;
    const char *from = s;
    while (n && go_on(x, &from, s)) {
        s = run(x, S_MARK, MANY, s + n, end);
        n = member(x, S_LETTER, s, end);
        if (!n && s < end && *s == ' ' && (n = member(x, S_LETTER, s + 1, end)))
            s++;
    }
    return s;
}

static const char *match_literal(const char *text, const char *s, const char *end)
{
    size_t n = strlen(text);
    return (size_t)(end - s) >= n && memcmp(s, text, n) == 0 ? s + n : NULL;
}

/* End of the match of e and what follows it in its block; NULL when there is none. */
static const char *match(struct scan *x, const struct element *e, const char *s, const char *end)
{
    for (; s; e++) {
        const char *q;
        size_t n;
        switch ((enum kind)e->kind) {
        case END:
            return s;
        case RUN:
            q = run(x, e->set, e->max, s, end);
            s = (size_t)(q - s) >= e->min ? q : NULL;   /* min > 1 stands with ASCII sets only */
            break;
        case MAYBE:
            n = member(x, e->set, s, end);
            if (n && (q = match(x, e + 1, s + n, end)))
                return q;
            break;
        case CONTRACTION:
            s = match_contraction(s, end, e->set);
            break;
        case MAYBE_CONTRACTION:
            q = match_contraction(s, end, true);
            s = q ? q : s;
            break;
        case CASED:
            s = match_cased(x, e, s, end);
            break;
        case LINES:
            s = match_lines(x, s, end);
            break;
        case TAIL:
            s = match_tail(x, s, end);
            break;
        case EXACT_TAIL:
            s = match_exact_tail(x, e->max, s, end);
            break;
        case THREES:
            s = match_threes(x, e, s, end);
            break;
        case WORDS:
            s = match_words(x, s, end);
            break;
        case LITERAL:
            s = match_literal(e->literal, s, end);
            break;
        }
    }
    return NULL;
}

/* ---- what two ASCII characters decide ---- */

enum shape_kind { UNDECIDED, WORD, RUNS, WHITE_LINES, WHITE_TAIL };       /* WORD: of ASCII letters */

/* How many of eight bytes are ASCII letters, from the first on. */
static inline unsigned n_letters(const char *s)
{
    static const uint64_t high = 0x8080808080808080u;
    uint64_t w;
    memcpy(&w, s, 8);
    uint64_t low = (w | 0x2020202020202020u) & ~high, from_a = low + 0x1f1f1f1f1f1f1f1fu, behind_z = low + 0x0505050505050505u;
    uint64_t others = ~(from_a & ~behind_z & ~w) & high;
    return others ? (unsigned)__builtin_ctzll(others) / 8 : 8;
}

/* LINES where there are such, else TAIL, else the one character. NULL: what follows is not ASCII, or too far. */
static const char *quick_white(const struct scan *x, bool has_lines, const char *s, const char *end)
{
    const char *q = s, *last = NULL, *stop = end - s > UNTIL_ASKED ? s + UNTIL_ASKED : end;
    for (; q < stop && x->p->ascii[(uint8_t)*q] >> S_WHITE & 1; q++)
        if (*q == '\n' || *q == '\r')
            last = q + 1;
    if (q == stop ? q < end : (uint8_t)*q >= 0x80)
        return NULL;
    if (has_lines && last)
        return last;
    return q == end || q - s == 1 ? q : q - 1;
}

static const char *quick_runs(const struct scan *x, const struct vs_pretok_shape *h, const char *s, const char *end)
{
    const uint64_t *ascii = x->p->ascii;
    const char *from = s += h->from, *stop = end - s > h->most ? s + h->most : end;
    while (s < stop && ascii[(uint8_t)*s] >> h->run & 1)
        s++;
    if (h->has_then)
        for (stop = end - s > UNTIL_ASKED ? s + UNTIL_ASKED : end; s < stop && ascii[(uint8_t)*s] >> h->then & 1;)
            s++;
    if (s - from >= UNTIL_ASKED || (s < end && ((uint8_t)*s >= 0x80 || (h->may_contract && *s == '\''))))
        return NULL;
    return s;
}

/* The end of the piece at s; NULL: the blocks know. */
static inline const char *quick(const struct scan *x, const struct vs_pretok_plan *plan, const char *s, const char *end)
{
    if (end - s < 2)
        return NULL;
    const struct vs_pretok_shape *h = &x->p->shape[plan->shape[plan->class[(uint8_t)s[0]]][plan->class[(uint8_t)s[1]]]];
    if (h->kind == WORD && end - s > 9) {
        const char *q = s + h->from;
        unsigned n = n_letters(q);
        if (n < 8)
            return (uint8_t)q[n] < 0x80 ? q + n : NULL;
    }
    return h->kind == UNDECIDED ? NULL : h->kind <= RUNS ? quick_runs(x, h, s, end)
                                                         : quick_white(x, h->kind == WHITE_LINES, s, end);
}

/* ---- passes ---- */

static int split(struct scan *x, unsigned pass, const char *s, const char *end);

/* end: of the last of them. */
static int tell(struct scan *x, const char *end)
{
    int r = x->n_pieces ? x->pieces(x->context, x->first, x->n_bytes, x->n_pieces) : VS_OK;
    x->first = end;
    x->n_pieces = 0;
    return r;
}

static int say(struct scan *x, unsigned pass, const char *s, const char *end)
{
    if (pass == x->p->rule->n_passes || pass == VS_PRE_PASSES) {
        x->n_bytes[x->n_pieces++] = (uint32_t)(end - s);
        return x->n_pieces < MANY_PIECES ? VS_OK : tell(x, end);
    }
    struct ahead white = x->white, digits = x->digits;       /* deeper passes have ends of their own */
    int r = split(x, pass, s, end);
    x->white = white;
    x->digits = digits;
    return r;
}

enum { FEW = 64, MOST_SKIPPED = 512 };  /* bytes */

/* Cuts from s on as far as masks can, and not much further than the next question; *io_s goes on. */
static int cut(struct scan *x, const char **io_s, const char *end)
{
    const char *s = *io_s;
    while (s >= x->cut_from && end - s >= VS_CUT_BLOCK && s - *io_s < UNTIL_ASKED) {
        int r = x->n_pieces > MANY_PIECES - VS_CUT_BLOCK ? tell(x, s) : VS_OK;
        if (r != VS_OK)
            return r;
        size_t n = x->p->cut(x->p->cut_flags, s, end, x->n_bytes, MANY_PIECES, &x->n_pieces);
        if (!n) {
            x->skip = s - *io_s > FEW ? 0 : x->skip < MOST_SKIPPED ? 2 * x->skip + FEW / 2 : x->skip;
            x->cut_from = s + 1 + x->skip;
        }
        s += n;
    }
    *io_s = s;
    return VS_OK;
}

/* The next place behind s where a run of digits begins, before which a first pass cuts. */
static const char *next_digits(struct scan *x, const char *s, const char *end)
{
    const char *from = s;
    for (s++; s < end && go_on(x, &from, s); s++)
        if (*s >= '0' && *s <= '9' && (uint8_t)s[-1] < 0x80 && !(s[-1] >= '0' && s[-1] <= '9'))
            return s;
    return s;
}

/* Rules of several passes: what masks leave is cut up to the next digits. */
static int split_at_digits(struct scan *x, const char *s, const char *end)
{
    while (s < end) {
        const char *before = s;
        int r = cut(x, &s, end);
        if (r == VS_OK && s == before) {
            s = next_digits(x, s, end);
            r = x->r != VS_OK ? x->r : split(x, 0, before, s);
        } else if (r == VS_OK) {
            r = vs_check_work(x->check, (size_t)(s - before));
        }
        if (r != VS_OK)
            return r;
    }
    return VS_OK;
}

static int split(struct scan *x, unsigned pass, const char *s, const char *end)
{
    const struct pass *p = &x->p->rule->pass[pass];
    const struct vs_pretok_plan *plan = &x->p->plan[pass];
    const char *gap = s, *from = s;
    int r;
    bool has_masks = x->p->cut_flags & VS_CUT_USED && x->p->rule->n_passes == 1;
    x->white.end = x->digits.end = NULL;
    while (s < end) {
        if (has_masks && gap == s) {
            if ((r = cut(x, &s, end)) != VS_OK)
                return r;
            gap = s;
        }
        const char *q = quick(x, plan, s, end);
        if (!q) {
            uint32_t blocks = (uint8_t)*s < 0x80 ? x->p->first[pass][(uint8_t)*s] : UINT32_MAX >> (32 - p->n);
            for (; blocks && !q; blocks &= blocks - 1)
                q = match(x, p->block[__builtin_ctz(blocks)].element, s, end);
        }
        if (!go_on(x, &from, s) || x->r != VS_OK)
            return x->r;
        if (!q) {
            s += length(s);
            continue;
        }
        if (gap < s && (r = say(x, pass + 1, gap, s)) != VS_OK)
            return r;
        if ((r = say(x, pass + 1, s, q)) != VS_OK)
            return r;
        gap = s = q;
    }
    return gap < end ? say(x, pass + 1, gap, end) : VS_OK;
}

int vs_pretok_split(const struct vs_pretok *p, const char *text, size_t n, struct vs_check *check, vs_pretok_pieces *pieces,
                    void *context)
{
    struct scan x = { .p = p, .pieces = pieces, .context = context, .first = text, .cut_from = text, .check = check };
    if (!n)
        return VS_OK;
    bool at_digits = p->cut_flags & VS_CUT_USED && p->rule->n_passes > 1;
    int r = at_digits ? split_at_digits(&x, text, text + n) : split(&x, 0, text, text + n);
    return r == VS_OK ? tell(&x, text + n) : r;
}

/* May a text that begins with this ASCII character match e and what follows it in its block? */
static bool may_begin(const struct vs_pretok *p, const struct element *e, char c)
{
    bool in_set1 = p->ascii[(uint8_t)c] >> e->set & 1, in_set2 = p->ascii[(uint8_t)c] >> e->set2 & 1;
    switch ((enum kind)e->kind) {
    case RUN:
        return in_set1 || (!e->min && may_begin(p, e + 1, c));
    case MAYBE:
        return in_set1 || may_begin(p, e + 1, c);
    case CONTRACTION:
        return c == '\'';
    case CASED:
        return in_set1 || in_set2;
    case LINES: case TAIL: case EXACT_TAIL: case THREES:
        return in_set1;
    case WORDS:
        return p->ascii[(uint8_t)c] >> S_LETTER & 1;
    case LITERAL:
        return c == *e->literal;
    case MAYBE_CONTRACTION: case END:
        break;
    }
    return true;
}

/* ---- plans: see quick ---- */

static bool has(const struct vs_pretok *p, unsigned set, char c)
{
    return p->ascii[(uint8_t)c] >> set & 1;
}

static bool is_some(const struct element *e, unsigned set)
{
    return e->kind == RUN && e->set == set && e->min == 1;
}

/* Does a text that begins with a and b, and goes on in ASCII, match this block in a shape? *ret_kind is UNDECIDED where only the
 * block can tell. false: it does not match. */
static bool shape_of(const struct vs_pretok *p, const struct block *block, unsigned n_left, char a, char b,
                     struct vs_pretok_shape *ret)
{
    const struct element *e = block->element, *optional = e->kind == MAYBE ? e++ : NULL;
    *ret = (struct vs_pretok_shape){ 0 };
    if (!may_begin(p, block->element, a))
        return false;
    if (!optional && e->kind == LINES && n_left > 2 && block[1].element[0].kind == TAIL && is_some(&block[2].element[0], S_WHITE))
        ret->kind = WHITE_LINES;
    if (!optional && e->kind == TAIL && n_left > 1 && is_some(&block[1].element[0], S_WHITE))
        ret->kind = WHITE_TAIL;
    if (ret->kind || (e->kind != RUN && e->kind != CASED))
        return true;
    bool is_cased = e->kind == CASED, has_then = is_cased || (e[1].kind == RUN && !e[1].min && e[1].max == MANY);
    const struct element *last = e + 1 + (has_then && !is_cased);
    unsigned then = is_cased ? e->set2 : e[1].set;
    if ((!is_cased && e->min != 1) || (has_then && !is_cased && e->max != MANY) ||
        (last->kind != END && (last->kind != MAYBE_CONTRACTION || last[1].kind != END)))
        return true;
    for (int c = 0; c < 128 && is_cased; c++)
        if (has(p, e->set, (char)c) && has(p, then, (char)c))
            return true;                /* who gives what to whom? */
    bool begins[2];
    for (int k = 0; k < 2; k++)
        begins[k] = has(p, e->set, k ? b : a) || (is_cased && has(p, then, k ? b : a));
    bool takes = optional && has(p, optional->set, a) && begins[1];
    if (!takes && !begins[0])
        return false;
    *ret = (struct vs_pretok_shape){ .kind = RUNS, .from = takes, .run = e->set, .then = (uint8_t)then, .has_then = has_then,
                                     .most = is_cased ? MANY : e->max, .may_contract = last->kind == MAYBE_CONTRACTION };
    bool is_word = !has_then && !ret->may_contract && ret->most == MANY;
    for (int c = 0; c < 128; c++)
        is_word &= has(p, e->set, (char)c) == ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (is_word)
        ret->kind = WORD;
    return true;
}

static unsigned name_shape(struct vs_pretok *p, const struct vs_pretok_shape *h)
{
    for (unsigned i = 0; i < p->n_shapes; i++)
        if (memcmp(&p->shape[i], h, sizeof *h) == 0)
            return i;
    if (p->n_shapes == VS_PRE_SHAPES)
        return 0;
    p->shape[p->n_shapes] = *h;
    return p->n_shapes++;
}

/* The sets that a pass looks at. */
static uint64_t sets_of(const struct pass *pass)
{
    uint64_t all = 0;
    for (unsigned b = 0; b < pass->n; b++)
        for (const struct element *e = pass->block[b].element; e->kind != END; e++)
            all |= (uint64_t)1 << e->set | (uint64_t)1 << e->set2;
    return all;
}

/* Characters that are in the same sets, and begin the same blocks, are of one class; an apostrophe is alone. */
static void make_plan(struct vs_pretok *p, unsigned pass)
{
    const struct pass *blocks = &p->rule->pass[pass];
    struct vs_pretok_plan *plan = &p->plan[pass];
    uint64_t looked_at = sets_of(blocks);
    char of_class[VS_PRE_CLASSES];
    unsigned n = 1;
    for (unsigned c = 0; c < 128; c++) {
        unsigned k = 1;
        while (k < n && ((p->ascii[c] ^ p->ascii[(uint8_t)of_class[k]]) & looked_at || of_class[k] == '\'' || c == '\'' ||
                         p->first[pass][c] != p->first[pass][(uint8_t)of_class[k]]))
            k++;
        if (k == VS_PRE_CLASSES)
            continue;
        of_class[k] = k == n ? (char)c : of_class[k];
        n += k == n;
        plan->class[c] = (uint8_t)k;
    }
    for (unsigned i = 1; i < n; i++)
        for (unsigned j = 1; j < n; j++) {
            struct vs_pretok_shape h = { 0 };
            unsigned b = 0;
            while (b < blocks->n && !shape_of(p, &blocks->block[b], blocks->n - b, of_class[i], of_class[j], &h))
                b++;
            plan->shape[i][j] = (uint8_t)name_shape(p, &h);
        }
}

int vs_pretok_init(struct vs_pretok *p, const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i].name) != n || memcmp(names[i].name, name, n) != 0)
            continue;
        p->rule = &rules[names[i].rule];
        p->flags = names[i].flags;
        p->cut_flags = cut_flags[names[i].rule];
        p->cut = vs_level[vs_levels() - 1].cut;
        memset(p->ascii, 0, sizeof p->ascii);
        for (uint32_t c = 0; c < 128; c++)
            for (unsigned k = 0; k < N_SETS; k++)
                p->ascii[c] |= (uint64_t)in_set(&sets[k], c) << k;
        memset(p->first, 0, sizeof p->first);
        for (unsigned k = 0; k < p->rule->n_passes; k++)
            for (unsigned c = 0; c < 128; c++)
                for (unsigned b = 0; b < p->rule->pass[k].n; b++)
                    p->first[k][c] |= (uint32_t)may_begin(p, p->rule->pass[k].block[b].element, (char)c) << b;
        memset(p->plan, 0, sizeof p->plan);
        memset(p->shape, 0, sizeof p->shape);
        p->n_shapes = 1;                /* UNDECIDED */
        for (unsigned k = 0; k < p->rule->n_passes; k++)
            make_plan(p, k);
        return VS_OK;
    }
    return VS_E_UNSUPPORTED;
}
