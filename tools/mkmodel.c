/* tools/mkmodel.c - makes tiny seeded random models, whole GGUF files with a working vocabulary, for the tests.
 *
 *   mkmodel --arch llama --type Q4_1 --layers 2 --embd 64 --heads 4 --kv-heads 2 --vocab 600 --seed 1 -o tiny.gguf
 *
 * Same options, same bytes, on every machine: weights come from splitmix64 keyed by seed and tensor name (so a change of
 * type or of another tensor leaves them alone), arithmetic is + - * / sqrt. Scales are such that activations stay O(1)
 * and logits spread by about 2. The vocabulary is trained (byte pair encoding) on the text below, then filled up with random
 * pairs. A row that is no multiple of its type's block gets the type that real quantisers fall back to.
 */
#include "base/buf.h"
#include "base/bytes.h"
#include "base/status.h"
#include "tensor/dtype.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char text[] =
    "The sky is blue because the air scatters the light of the sun. Blue light is scattered more than red light, so the "
    "light that reaches us from all over the sky is blue. In the evening the light has a longer way through the air, and "
    "then the sky is red and orange.\n\nA runtime reads a model, a prompt and a seed, and it answers with the same "
    "tokens each time. What is the capital of France? The capital of France is Paris. Once upon a time there was a small "
    "machine that could count: 1, 2, 3, 10, 42, 100, 2024. It wasn't fast, but it didn't make mistakes; it's what they'd "
    "wanted.\n\nint main(void)\n{\n    int sum = 0;\n    for (int i = 0; i < 10; i++) {\n        sum += i;\n    }\n"
    "    return sum == 45 ? 0 : 1;\n}\n\ndef add(a, b):\n    return a + b\n\nUser: hello, how are you? Assistant: I am a "
    "helpful assistant, thank you. Caf\xc3\xa9, na\xc3\xafve, \xe4\xb8\x96\xe7\x95\x8c, \xf0\x9f\x98\x80.\n";

static const char chatml[] =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("mkmodel: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

static void *grow(void *p, size_t n)
{
    p = realloc(p, n ? n : 1);
    if (!p)
        die("out of memory");
    return p;
}

static uint64_t splitmix(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static uint64_t hash(const void *data, size_t n)
{
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
    return h;
}

/* Options. */

struct options {
    const char *arch, *type, *embd_type, *output_type, *tokenizer, *pre, *template, *out;
    uint64_t layers, embd, heads, kv_heads, head_dim, ff, vocab, ctx, seed, window, version, tied, rope_freqs, bias,
        vocab_only;
    double freq_base, rope_scale;
};

static const struct {
    const char *name;
    char kind;                                  /* s string, n number, r real, f flag */
    size_t at;
    const char *help;
} option_table[] = {
#define O(name, kind, field, help) { name, kind, offsetof(struct options, field), help }
    O("--arch", 's', arch, "llama, qwen2 or gemma3"),
    O("--type", 's', type, "type of the matrices (Q4_0, Q6_K, F16, ...), or mixed: each matrix another"),
    O("--embd-type", 's', embd_type, "type of token_embd; default as --type"),
    O("--output-type", 's', output_type, "type of output; default as --type"),
    O("--layers", 'n', layers, "layers"),
    O("--embd", 'n', embd, "width"),
    O("--heads", 'n', heads, "query heads"),
    O("--kv-heads", 'n', kv_heads, "key/value heads; default as --heads"),
    O("--head-dim", 'n', head_dim, "width of a head; default embd / heads"),
    O("--ff", 'n', ff, "width of the feed-forward layer; default 3 * embd"),
    O("--vocab", 'n', vocab, "tokens"),
    O("--ctx", 'n', ctx, "context length"),
    O("--seed", 'n', seed, "seed of everything random"),
    O("--tokenizer", 's', tokenizer, "gpt2 or llama; default by --arch"),
    O("--pre", 's', pre, "smollm, qwen2, gpt-2 or llama-bpe; default by --arch"),
    O("--chat-template", 's', template, "a file, or none; default ChatML for gpt2 tokenizers, else none"),
    O("--window", 'n', window, "sliding window (gemma3; default 64)"),
    O("--freq-base", 'r', freq_base, "RoPE base"),
    O("--rope-scale", 'r', rope_scale, "linear RoPE scaling factor"),
    O("--version", 'n', version, "GGUF version, 2 or 3"),
    O("--tied", 'f', tied, "no output matrix of its own"),
    O("--rope-freqs", 'f', rope_freqs, "a rope_freqs tensor as Llama 3 has"),
    O("--bias", 'f', bias, "biases on q, k, v (always for qwen2) and on the attention output (llama)"),
    O("--vocab-only", 'f', vocab_only, "no weights"),
    O("-o", 's', out, "the file to write"),
#undef O
};

static void parse_options(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc; i++) {
        size_t k = 0, n = sizeof option_table / sizeof *option_table;
        while (k < n && strcmp(argv[i], option_table[k].name) != 0)
            k++;
        if (k == n) {
            for (k = 0; k < n; k++)
                fprintf(stderr, "  %-16s %s\n", option_table[k].name, option_table[k].help);
            die("unknown option '%s'", argv[i]);
        }
        char *field = (char *)o + option_table[k].at, *end = NULL;
        if (option_table[k].kind == 'f') {
            memcpy(field, &(uint64_t){ 1 }, 8);
            continue;
        }
        if (++i == argc)
            die("%s wants a value", argv[i - 1]);
        if (option_table[k].kind == 's') {
            const char *v = argv[i];
            memcpy(field, &v, sizeof v);
        } else if (option_table[k].kind == 'n') {
            uint64_t v = strtoull(argv[i], &end, 0);
            memcpy(field, &v, sizeof v);
        } else {
            double v = strtod(argv[i], &end);
            memcpy(field, &v, sizeof v);
        }
        if (end && (end == argv[i] || *end))
            die("%s: '%s' is not a number", option_table[k].name, argv[i]);
    }
}

/* The vocabulary: pieces are raw bytes here; each tokenizer spells them in its own way when they are written. */

struct piece {
    char bytes[48];
    size_t n;
};

struct merge { uint32_t a, b; };

struct trainer {
    struct piece *piece;                        /* symbols first, then what merges made, in order */
    uint32_t n_pieces, n_wanted;
    struct merge *merge;
    size_t n_merges;
    uint32_t *slot;                             /* hash table of piece number + 1 */
    size_t n_slots;
};

static uint32_t *slot_of(struct trainer *t, const char *bytes, size_t n)
{
    size_t i = hash(bytes, n) & (t->n_slots - 1);
    while (t->slot[i] && (t->piece[t->slot[i] - 1].n != n || memcmp(t->piece[t->slot[i] - 1].bytes, bytes, n) != 0))
        i = (i + 1) & (t->n_slots - 1);
    return &t->slot[i];
}

static uint32_t piece_id(struct trainer *t, const char *bytes, size_t n)
{
    uint32_t *slot = slot_of(t, bytes, n);
    if (!*slot) {
        struct piece *p = &t->piece[t->n_pieces++];
        memcpy(p->bytes, bytes, n);
        p->n = n;
        *slot = t->n_pieces;
    }
    return *slot - 1;
}

/* Joins a and b; false when the piece would be too long or (new_only) is there already. */
static bool join(struct trainer *t, uint32_t a, uint32_t b, size_t limit, bool new_only, uint32_t *ret)
{
    char bytes[96];
    size_t n = t->piece[a].n + t->piece[b].n;
    if (n > limit)
        return false;
    memcpy(bytes, t->piece[a].bytes, t->piece[a].n);
    memcpy(bytes + t->piece[a].n, t->piece[b].bytes, t->piece[b].n);
    if (new_only && *slot_of(t, bytes, n))
        return false;
    *ret = piece_id(t, bytes, n);
    t->merge[t->n_merges++] = (struct merge){ a, b };
    return true;
}

enum { BARRIER = -1 };

static int kind_of(unsigned char c)             /* pieces join characters of one kind only, after at most one space */
{
    if (c == '\n') return 0;
    if (c == ' ') return 1;
    if (c >= '0' && c <= '9') return 2;
    if ((c | 32) >= 'a' && (c | 32) <= 'z') return 3;
    return c >= 0x80 ? 4 : 5;
}

static size_t character(const char *s)
{
    unsigned char c = (unsigned char)*s;
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* The text as symbols with a barrier between words. Digits stand alone. */
static size_t split(struct trainer *t, bool by_byte, int32_t *ret)
{
    size_t n = 0, length;
    int last = -1;
    for (const char *s = text; *s; s += length) {
        length = by_byte ? 1 : character(s);
        int kind = kind_of((unsigned char)*s);
        bool leads = last == 1 && kind != 1 && kind != 0 && kind != 2 && (n < 2 || ret[n - 2] == BARRIER);
        if (last >= 0 && !leads && (kind != last || kind == 2))
            ret[n++] = BARRIER;
        ret[n++] = (int32_t)piece_id(t, s, length);
        last = kind;
    }
    return n;
}

static int by_pair(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

static bool train_once(struct trainer *t, int32_t *symbol, size_t *n_symbols, uint64_t *pair)
{
    size_t n = 0, best_count = 0, out = 0;
    uint64_t best = 0;
    for (size_t i = 0; i + 1 < *n_symbols; i++)
        if (symbol[i] >= 0 && symbol[i + 1] >= 0)
            pair[n++] = (uint64_t)symbol[i] << 32 | (uint32_t)symbol[i + 1];
    qsort(pair, n, sizeof *pair, by_pair);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i; j < n && pair[j] == pair[i]; j++)
            ;
        if (j - i > best_count) {
            best_count = j - i;
            best = pair[i];
        }
    }
    uint32_t a = (uint32_t)(best >> 32), b = (uint32_t)best, made;
    if (!best_count || !join(t, a, b, 40, false, &made))
        return false;
    for (size_t i = 0; i < *n_symbols; i++) {
        bool hit = i + 1 < *n_symbols && symbol[i] == (int32_t)a && symbol[i + 1] == (int32_t)b;
        symbol[out++] = hit ? (int32_t)made : symbol[i];
        i += hit;
    }
    *n_symbols = out;
    return true;
}

static void train(struct trainer *t, uint32_t n_wanted, bool by_byte, uint64_t seed)
{
    t->n_slots = 1024;
    while (t->n_slots < 4 * (size_t)n_wanted + 4096)
        t->n_slots *= 2;
    t->slot = grow(NULL, t->n_slots * sizeof *t->slot);
    memset(t->slot, 0, t->n_slots * sizeof *t->slot);
    t->piece = grow(NULL, (n_wanted + 512) * sizeof *t->piece);
    t->merge = grow(NULL, (n_wanted + sizeof text) * sizeof *t->merge);
    if (by_byte)
        for (int c = 0; c < 256; c++)
            piece_id(t, (char[]){ (char)c }, 1);
    else
        for (char c = ' '; c < 127; c++)
            piece_id(t, &c, 1);
    int32_t *symbol = grow(NULL, 2 * sizeof text * sizeof *symbol);
    uint64_t *pair = grow(NULL, sizeof text * sizeof *pair);
    size_t n_symbols = split(t, by_byte, symbol);
    if (t->n_pieces > n_wanted)
        die("--vocab is too small: %" PRIu32 " more tokens are needed", t->n_pieces - n_wanted);
    while (t->n_pieces < n_wanted && train_once(t, symbol, &n_symbols, pair))
        ;
    uint64_t s = seed ^ 0x766f636162;
    while (t->n_pieces < n_wanted) {                             /* the text is used up: pairs of letters */
        uint64_t r = splitmix(&s);
        uint32_t a = (uint32_t)((r & 0xffffffff) % t->n_pieces), b = (uint32_t)((r >> 32) % t->n_pieces), made;
        if (kind_of((unsigned char)t->piece[a].bytes[0]) == 3 && kind_of((unsigned char)t->piece[b].bytes[0]) == 3)
            join(t, a, b, 12, true, &made);
    }
    free(symbol);
    free(pair);
}

/* Writing. */

struct file {
    struct vs_buf head;
    uint64_t n_kv;
};

static void put_u32(struct vs_buf *b, uint32_t v)
{
    uint8_t x[4];
    vs_store_u32le(x, v);
    vs_buf_add(b, x, 4);
}

static void put_u64(struct vs_buf *b, uint64_t v)
{
    uint8_t x[8];
    vs_store_u64le(x, v);
    vs_buf_add(b, x, 8);
}

static void put_f32(struct vs_buf *b, float v)
{
    uint32_t u;
    memcpy(&u, &v, 4);
    put_u32(b, u);
}

static void put_str(struct vs_buf *b, const char *s, size_t n)
{
    put_u64(b, n);
    vs_buf_add(b, s, n);
}

enum { T_U32 = 4, T_I32 = 5, T_F32 = 6, T_BOOL = 7, T_STR = 8, T_ARRAY = 9 };

/* key may hold one %s, the architecture. */
static void put_key(struct file *f, const struct options *o, const char *key, uint32_t type)
{
    char full[128];
    const char *mark = strstr(key, "%s");
    snprintf(full, sizeof full, "%.*s%s%s", mark ? (int)(mark - key) : 0, key, mark ? o->arch : "", mark ? mark + 2 : key);
    put_str(&f->head, full, strlen(full));
    put_u32(&f->head, type);
    f->n_kv++;
}

static void kv_u32(struct file *f, const struct options *o, const char *key, uint64_t v)
{
    put_key(f, o, key, T_U32);
    put_u32(&f->head, (uint32_t)v);
}

static void kv_f32(struct file *f, const struct options *o, const char *key, double v)
{
    put_key(f, o, key, T_F32);
    put_f32(&f->head, (float)v);
}

static void kv_bool(struct file *f, const struct options *o, const char *key, bool v)
{
    put_key(f, o, key, T_BOOL);
    vs_buf_char(&f->head, v);
}

static void kv_str(struct file *f, const struct options *o, const char *key, const char *v)
{
    put_key(f, o, key, T_STR);
    put_str(&f->head, v, strlen(v));
}

static void kv_array(struct file *f, const struct options *o, const char *key, uint32_t type, uint64_t n)
{
    put_key(f, o, key, T_ARRAY);
    put_u32(&f->head, type);
    put_u64(&f->head, n);
}

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, BYTE = 6 };

struct vocab {
    struct vs_buf token, type, score, merge;    /* as they lie in the file */
    uint32_t n, n_merges;
};

static void add_token(struct vocab *v, const char *s, size_t n, int type, float score)
{
    put_str(&v->token, s, n);
    put_u32(&v->type, (uint32_t)type);
    put_f32(&v->score, score);
    v->n++;
}

/* GPT-2 spells each byte as a printable character: itself where it is one, else the next of U+0100... */
static void spell_gpt2(struct vs_buf *b, const struct piece *p)
{
    for (size_t i = 0; i < p->n; i++) {
        unsigned c = (unsigned char)p->bytes[i], others = 0;
        for (unsigned k = 0; k < c; k++)
            others += !((k >= 33 && k <= 126) || (k >= 161 && k <= 172) || k >= 174);
        bool itself = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174;
        vs_buf_utf8(b, itself ? c : 256 + others);
    }
}

static void spell_spm(struct vs_buf *b, const struct piece *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->bytes[i] == ' ')
            vs_buf_utf8(b, 0x2581);
        else
            vs_buf_char(b, p->bytes[i]);
}

/* Control tokens by flavour, in the order of their ids; bos, eos, ... are numbers into the list. */
static const struct flavour {
    const char *tokenizer, *pre;
    const char *control[10];
    bool first;                                 /* controls before the pieces */
    int bos, eos, eot, pad, unknown;            /* -1: the file does not say */
    bool add_bos;
    int space_prefix;                           /* -1: the file does not say */
} flavours[] = {
    { "gpt2", "smollm", { "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>" }, true, 1, 2, -1, 2, 0, false, 0 },
    { "gpt2", "qwen2", { "<|endoftext|>", "<|im_start|>", "<|im_end|>" }, false, 0, 2, -1, 0, -1, false, -1 },
    { "gpt2", "gpt-2", { "<|endoftext|>", "<|im_start|>", "<|im_end|>" }, false, 0, 0, 2, -1, -1, false, -1 },
    { "gpt2", "llama-bpe", { "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
      "<|im_start|>", "<|im_end|>" }, false, 0, 1, 4, -1, -1, true, -1 },
    { "llama", "default", { "<unk>", "<s>", "</s>", "[INST]", "[/INST]" }, true, 1, 2, -1, -1, 0, true, -1 },
    { "llama", "gemma3", { "<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>" }, true, 2, 1, 5, 0, 3, true, 0 },
};

static void add_controls(struct vocab *v, const struct flavour *fl, uint32_t *ret_base)
{
    *ret_base = v->n;
    for (int i = 0; i < 10 && fl->control[i]; i++)
        add_token(v, fl->control[i], strlen(fl->control[i]), strcmp(fl->control[i], "<unk>") ? CONTROL : UNKNOWN, -1000);
}

static void write_vocab(struct file *f, const struct options *o)
{
    bool gpt2 = !strcmp(o->tokenizer, "gpt2");
    const struct flavour *fl = NULL;
    const char *wanted = gpt2 ? o->pre : !strcmp(o->arch, "gemma3") ? "gemma3" : "default";
    for (size_t i = 0; i < sizeof flavours / sizeof *flavours; i++)
        if (!strcmp(flavours[i].tokenizer, o->tokenizer) && !strcmp(flavours[i].pre, wanted))
            fl = &flavours[i];
    if (!fl)
        die("no tokenizer '%s' with pre-tokenizer '%s'", o->tokenizer, wanted);
    uint32_t n_control = 0, base = 0, n_other = gpt2 ? 1 : 257;  /* [tool], and SentencePiece's byte tokens */
    while (n_control < 10 && fl->control[n_control])
        n_control++;
    if (o->vocab < n_control + n_other || o->vocab > 1u << 20)
        die("--vocab must be at least %" PRIu32, n_control + n_other + 256);
    struct trainer t = { 0 };
    train(&t, (uint32_t)o->vocab - n_control - n_other, gpt2, o->seed);

    struct vocab v = { 0 };
    if (fl->first)
        add_controls(&v, fl, &base);
    if (!gpt2)
        for (int c = 0; c < 256; c++) {
            char name[8];
            snprintf(name, sizeof name, "<0x%02X>", c);
            add_token(&v, name, 6, BYTE, 0);
        }
    struct vs_buf spelled = { 0 };
    uint32_t n_symbols = 0;
    while (n_symbols < t.n_pieces && (gpt2 ? n_symbols < 256 : t.piece[n_symbols].n == character(t.piece[n_symbols].bytes)))
        n_symbols++;
    for (uint32_t i = 0; i < t.n_pieces; i++) {
        vs_buf_reset(&spelled);
        (gpt2 ? spell_gpt2 : spell_spm)(&spelled, &t.piece[i]);
        /* SentencePiece: the earlier a piece was merged the better its score; single characters come last */
        float score = i < n_symbols ? -(float)(t.n_pieces - n_symbols + i) : -(float)(i - n_symbols);
        add_token(&v, spelled.data, spelled.n, NORMAL, gpt2 ? 0 : score);
    }
    add_token(&v, "[tool]", 6, USER, 0);
    if (!fl->first)
        add_controls(&v, fl, &base);
    for (size_t i = 0; gpt2 && i < t.n_merges; i++) {
        vs_buf_reset(&spelled);
        spell_gpt2(&spelled, &t.piece[t.merge[i].a]);
        vs_buf_char(&spelled, ' ');
        spell_gpt2(&spelled, &t.piece[t.merge[i].b]);
        put_str(&v.merge, spelled.data, spelled.n);
        v.n_merges++;
    }

    kv_str(f, o, "tokenizer.ggml.model", o->tokenizer);
    kv_str(f, o, "tokenizer.ggml.pre", gpt2 ? o->pre : "default");
    kv_array(f, o, "tokenizer.ggml.tokens", T_STR, v.n);
    vs_buf_add(&f->head, v.token.data, v.token.n);
    if (!gpt2) {
        kv_array(f, o, "tokenizer.ggml.scores", T_F32, v.n);
        vs_buf_add(&f->head, v.score.data, v.score.n);
    }
    kv_array(f, o, "tokenizer.ggml.token_type", T_I32, v.n);
    vs_buf_add(&f->head, v.type.data, v.type.n);
    if (gpt2) {
        kv_array(f, o, "tokenizer.ggml.merges", T_STR, v.n_merges);
        vs_buf_add(&f->head, v.merge.data ? v.merge.data : "", v.merge.n);
    }
    const struct { const char *key; int id; } ids[] = {
        { "tokenizer.ggml.bos_token_id", fl->bos }, { "tokenizer.ggml.eos_token_id", fl->eos },
        { "tokenizer.ggml.eot_token_id", fl->eot }, { "tokenizer.ggml.padding_token_id", fl->pad },
        { "tokenizer.ggml.unknown_token_id", fl->unknown },
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= 0)
            kv_u32(f, o, ids[i].key, base + (uint32_t)ids[i].id);
    kv_bool(f, o, "tokenizer.ggml.add_bos_token", fl->add_bos);
    if (!gpt2)
        kv_bool(f, o, "tokenizer.ggml.add_eos_token", false);
    if (fl->space_prefix >= 0)
        kv_bool(f, o, "tokenizer.ggml.add_space_prefix", fl->space_prefix);
    vs_buf_clear(&v.token);
    vs_buf_clear(&v.type);
    vs_buf_clear(&v.score);
    vs_buf_clear(&v.merge);
    vs_buf_clear(&spelled);
    free(t.piece);
    free(t.merge);
    free(t.slot);
}

static void write_template(struct file *f, const struct options *o)
{
    if (!o->template) {
        if (!strcmp(o->tokenizer, "gpt2"))
            kv_str(f, o, "tokenizer.chat_template", chatml);
        return;
    }
    if (!strcmp(o->template, "none"))
        return;
    FILE *in = fopen(o->template, "rb");
    if (!in)
        die("can't open %s", o->template);
    struct vs_buf b = { 0 };
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof chunk, in)) > 0;)
        vs_buf_add(&b, chunk, n);
    fclose(in);
    put_key(f, o, "tokenizer.chat_template", T_STR);
    put_str(&f->head, b.data ? b.data : "", b.n);
    vs_buf_clear(&b);
}

/* Tensors. */

struct tensor {
    char name[64];
    uint64_t ne[2];
    uint32_t n_dims;
    const struct vs_dtype_info *dtype;
    float mean, spread;                         /* value = mean + spread * normal */
};

struct model {
    const struct options *o;
    struct tensor *tensor;
    size_t n;
    unsigned n_mixed;
};

static const struct vs_dtype_info *dtype_named(const char *name)
{
    for (uint32_t id = 0; id < 64; id++) {
        const struct vs_dtype_info *info = vs_dtype_info(id);
        if (info && info->computable && !strcmp(info->name, name))
            return info;
    }
    die("unknown type '%s'", name);
}

/* What real quantisers take when the row is no multiple of the block. */
static const struct vs_dtype_info *fitting(const struct vs_dtype_info *info, uint64_t ne0)
{
    static const struct { enum vs_dtype from, to; } fallback[] = {
        { VS_Q2_K, VS_Q4_0 }, { VS_Q3_K, VS_Q4_0 }, { VS_Q4_K, VS_Q5_0 }, { VS_Q5_K, VS_Q5_1 }, { VS_Q6_K, VS_Q8_0 },
    };
    for (size_t i = 0; ne0 % info->block_len != 0 && i < sizeof fallback / sizeof *fallback; i++)
        if (info->id == (uint32_t)fallback[i].from)
            info = vs_dtype_info(fallback[i].to);
    return ne0 % info->block_len == 0 ? info : vs_dtype_info(VS_F16);
}

__attribute__((format(printf, 7, 8))) static void add_tensor(struct model *m, const char *type, uint64_t n_in, uint64_t n_out,
                                                             float mean, float spread, const char *format, ...)
{
    static const char *const all[] = { "Q4_0", "Q6_K", "Q4_1", "Q5_K", "Q8_0", "Q4_K", "Q5_0", "Q3_K", "Q5_1", "Q2_K", "F16",
                                       "BF16", "F32" };
    m->tensor = grow(m->tensor, (m->n + 1) * sizeof *m->tensor);
    struct tensor *t = &m->tensor[m->n++];
    va_list args;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    t->ne[0] = n_in;
    t->ne[1] = n_out ? n_out : 1;
    t->n_dims = n_out ? 2 : 1;
    if (!strcmp(type, "mixed"))
        type = all[m->n_mixed++ % (sizeof all / sizeof *all)];
    t->dtype = fitting(dtype_named(type), n_in);
    t->mean = mean;
    t->spread = spread;
}

static void add_matrix(struct model *m, const char *type, uint64_t n_in, uint64_t n_out, const char *name, int layer)
{
    float spread = 1 / __builtin_sqrtf((float)n_in);
    if (layer < 0)
        add_tensor(m, type, n_in, n_out, 0, 2 * spread, "%s.weight", name);
    else
        add_tensor(m, type, n_in, n_out, 0, spread, "blk.%d.%s.weight", layer, name);
}

static void add_norm(struct model *m, uint64_t n, const char *name, int layer)
{
    if (layer < 0)
        add_tensor(m, "F32", n, 0, 1, 0.1f, "%s.weight", name);
    else
        add_tensor(m, "F32", n, 0, 1, 0.1f, "blk.%d.%s.weight", layer, name);
}

static void list_tensors(struct model *m)
{
    const struct options *o = m->o;
    bool gemma = !strcmp(o->arch, "gemma3"), qwen = !strcmp(o->arch, "qwen2"), llama = !strcmp(o->arch, "llama");
    uint64_t q = o->heads * o->head_dim, kv = o->kv_heads * o->head_dim;
    add_matrix(m, o->embd_type, o->embd, o->vocab, "token_embd", -1);
    if (o->rope_freqs)
        add_tensor(m, "F32", o->head_dim / 2, 0, 0, 0, "rope_freqs.weight");
    for (int i = 0; i < (int)o->layers; i++) {
        add_norm(m, o->embd, "attn_norm", i);
        add_matrix(m, o->type, o->embd, q, "attn_q", i);
        add_matrix(m, o->type, o->embd, kv, "attn_k", i);
        add_matrix(m, o->type, o->embd, kv, "attn_v", i);
        add_matrix(m, o->type, q, o->embd, "attn_output", i);
        if (qwen || o->bias) {
            add_tensor(m, "F32", q, 0, 0, 0.5f, "blk.%d.attn_q.bias", i);
            add_tensor(m, "F32", kv, 0, 0, 0.5f, "blk.%d.attn_k.bias", i);
            add_tensor(m, "F32", kv, 0, 0, 0.1f, "blk.%d.attn_v.bias", i);
        }
        if (llama && o->bias)
            add_tensor(m, "F32", o->embd, 0, 0, 0.1f, "blk.%d.attn_output.bias", i);
        if (gemma) {
            add_norm(m, o->head_dim, "attn_q_norm", i);
            add_norm(m, o->head_dim, "attn_k_norm", i);
            add_norm(m, o->embd, "post_attention_norm", i);
            add_norm(m, o->embd, "post_ffw_norm", i);
        }
        add_norm(m, o->embd, "ffn_norm", i);
        add_matrix(m, o->type, o->embd, o->ff, "ffn_gate", i);
        add_matrix(m, o->type, o->embd, o->ff, "ffn_up", i);
        add_matrix(m, o->type, o->ff, o->embd, "ffn_down", i);
    }
    add_norm(m, o->embd, "output_norm", -1);
    if (!o->tied && !gemma)
        add_matrix(m, o->output_type, o->embd, o->vocab, "output", -1);
}

static uint64_t tensor_bytes(const struct tensor *t)
{
    return t->ne[0] / t->dtype->block_len * t->dtype->block_bytes * t->ne[1];
}

static void write_tensor(FILE *out, const struct options *o, const struct tensor *t)
{
    float *x = grow(NULL, t->ne[0] * sizeof *x);
    size_t row_bytes = (size_t)(tensor_bytes(t) / t->ne[1]);
    uint8_t *row = grow(NULL, row_bytes);
    uint64_t s = hash(t->name, strlen(t->name)) ^ o->seed * 0xd1342543de82ef95;
    for (uint64_t r = 0; r < t->ne[1]; r++) {
        for (uint64_t i = 0; i < t->ne[0]; i++) {
            uint64_t u = splitmix(&s);                           /* four uniform numbers: near enough to a normal one */
            int32_t sum = (int32_t)(u & 0xffff) + (int32_t)(u >> 16 & 0xffff) + (int32_t)(u >> 32 & 0xffff)
                          + (int32_t)(u >> 48);
            x[i] = t->mean + t->spread * ((float)(sum - 131070) / 37837.0f);
            if (!strcmp(t->name, "rope_freqs.weight")) {         /* 1 for fast pairs, 8 for slow ones, a ramp between */
                float p = (float)i / (float)t->ne[0];
                x[i] = p < 0.375f ? 1 : p > 0.625f ? 8 : 1 + (p - 0.375f) * 28;
            }
        }
        vs_quantize((enum vs_dtype)t->dtype->id, x, row, t->ne[0]);
        fwrite(row, 1, row_bytes, out);
    }
    for (uint64_t n = tensor_bytes(t); n % 32; n++)
        fputc(0, out);
    free(x);
    free(row);
}

static void write_metadata(struct file *f, const struct options *o)
{
    bool gemma = !strcmp(o->arch, "gemma3");
    kv_str(f, o, "general.architecture", o->arch);
    kv_str(f, o, "general.type", "model");
    kv_str(f, o, "general.name", "tiny random");
    kv_u32(f, o, "%s.block_count", o->layers);
    kv_u32(f, o, "%s.context_length", o->ctx);
    kv_u32(f, o, "%s.embedding_length", o->embd);
    kv_u32(f, o, "%s.feed_forward_length", o->ff);
    kv_u32(f, o, "%s.attention.head_count", o->heads);
    kv_u32(f, o, "%s.attention.head_count_kv", o->kv_heads);
    if (gemma || o->head_dim * o->heads != o->embd) {
        kv_u32(f, o, "%s.attention.key_length", o->head_dim);
        kv_u32(f, o, "%s.attention.value_length", o->head_dim);
    }
    if (!strcmp(o->arch, "llama")) {
        kv_u32(f, o, "%s.rope.dimension_count", o->head_dim);
        kv_u32(f, o, "%s.vocab_size", o->vocab);
    }
    kv_f32(f, o, "%s.rope.freq_base", o->freq_base);
    if (o->rope_scale != 0) {
        kv_str(f, o, "%s.rope.scaling.type", "linear");
        kv_f32(f, o, "%s.rope.scaling.factor", o->rope_scale);
    }
    kv_f32(f, o, "%s.attention.layer_norm_rms_epsilon", gemma || !strcmp(o->arch, "qwen2") ? 1e-6 : 1e-5);
    if (gemma)
        kv_u32(f, o, "%s.attention.sliding_window", o->window);
    kv_u32(f, o, "general.quantization_version", 2);
}

static void complete(struct options *o)
{
    static const struct { const char *arch, *tokenizer, *pre; } archs[] = {
        { "llama", "gpt2", "smollm" }, { "qwen2", "gpt2", "qwen2" }, { "gemma3", "llama", "default" },
    };
    size_t i = 0;
    while (i < 3 && strcmp(archs[i].arch, o->arch) != 0)
        i++;
    if (i == 3)
        die("unknown architecture '%s'", o->arch);
    if (!o->tokenizer)
        o->tokenizer = archs[i].tokenizer;
    if (!o->pre)
        o->pre = archs[i].pre;
    if (!o->kv_heads)
        o->kv_heads = o->heads;
    if (!o->heads || o->heads % o->kv_heads || (!o->head_dim && o->embd % o->heads))
        die("the numbers of heads don't fit");
    if (!o->head_dim)
        o->head_dim = o->embd / o->heads;
    if (!o->ff)
        o->ff = 3 * o->embd;
    if (!o->embd_type)
        o->embd_type = o->type;
    if (!o->output_type)
        o->output_type = o->type;
    if (!o->out || !o->embd || o->head_dim % 2)
        die("-o, a width and an even head size are needed");
}

int main(int argc, char **argv)
{
    struct options o = { .arch = "llama", .type = "Q4_0", .layers = 2, .embd = 64, .heads = 4, .vocab = 600, .ctx = 512,
                         .seed = 1, .window = 64, .version = 3, .freq_base = 10000 };
    parse_options(argc, argv, &o);
    complete(&o);

    struct file f = { 0 };
    write_metadata(&f, &o);
    write_vocab(&f, &o);
    write_template(&f, &o);
    struct model m = { .o = &o };
    if (!o.vocab_only)
        list_tensors(&m);
    uint64_t offset = 0;
    for (size_t i = 0; i < m.n; i++) {
        put_str(&f.head, m.tensor[i].name, strlen(m.tensor[i].name));
        put_u32(&f.head, m.tensor[i].n_dims);
        for (uint32_t d = 0; d < m.tensor[i].n_dims; d++)
            put_u64(&f.head, m.tensor[i].ne[d]);
        put_u32(&f.head, m.tensor[i].dtype->id);
        put_u64(&f.head, offset);
        offset += (tensor_bytes(&m.tensor[i]) + 31) / 32 * 32;
    }
    if (f.head.status != VS_OK)
        die("out of memory");

    FILE *out = fopen(o.out, "wb");
    if (!out)
        die("can't write %s", o.out);
    struct vs_buf start = { 0 };
    vs_buf_str(&start, "GGUF");
    put_u32(&start, (uint32_t)o.version);
    put_u64(&start, m.n);
    put_u64(&start, f.n_kv);
    fwrite(start.data, 1, start.n, out);
    fwrite(f.head.data, 1, f.head.n, out);
    for (size_t n = start.n + f.head.n; n % 32; n++)
        fputc(0, out);
    for (size_t i = 0; i < m.n; i++)
        write_tensor(out, &o, &m.tensor[i]);
    int code = 0;
    if (ferror(out) || fclose(out) != 0) {
        fprintf(stderr, "mkmodel: writing %s failed\n", o.out);
        code = 1;
    }
    vs_buf_clear(&start);
    vs_buf_clear(&f.head);
    free(m.tensor);
    return code;
}
