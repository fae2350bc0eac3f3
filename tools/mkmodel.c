/* tools/mkmodel.c - makes tiny seeded random models, whole GGUF files with a working vocabulary, for the tests.
 *
 *   mkmodel --arch llama --type Q4_1 --layers 2 --embd 64 --heads 4 --kv-heads 2 --vocab 600 --seed 1 -o tiny.gguf
 *
 * Same options, same bytes, on every machine. The weights are those of selftest/tiny.h; here are the options and the
 * vocabulary, which is trained (byte pair encoding) on the text below, then filled up with random pairs.
 */
#include "base/buf.h"
#include "base/status.h"
#include "import/gguf.h"
#include "selftest/tiny.h"
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

/* Options. */

struct options {
    struct vs_tiny tiny;
    const char *tokenizer, *pre, *template, *out;
    uint64_t vocab_only, split, lora;
    const char *lora_type;
    const char *keys[16];                       /* NAME=TYPE:VALUE, as they came */
    size_t n_keys;
};

static const struct {
    const char *name;
    char kind;                                  /* s string, n number, r real, f flag, k a key (any number of times) */
    size_t at;
    const char *help;
} option_table[] = {
#define O(name, kind, field, help) { name, kind, offsetof(struct options, field), help }
    O("--arch", 's', tiny.arch, "llama, qwen2, gemma3, ...: the table of src/selftest/tiny.c"),
    O("--type", 's', tiny.type, "type of the matrices (Q4_0, Q6_K, F16, ...), or mixed, mixed-lists: each another"),
    O("--embd-type", 's', tiny.embd_type, "type of token_embd; default as --type"),
    O("--output-type", 's', tiny.output_type, "type of output; default as --type"),
    O("--layers", 'n', tiny.layers, "layers"),
    O("--embd", 'n', tiny.embd, "width"),
    O("--heads", 'n', tiny.heads, "query heads"),
    O("--kv-heads", 'n', tiny.kv_heads, "key/value heads; default as --heads"),
    O("--head-dim", 'n', tiny.head_dim, "width of a head; default embd / heads"),
    O("--ff", 'n', tiny.ff, "width of the feed-forward layer; default 3 * embd"),
    O("--vocab", 'n', tiny.vocab, "tokens"),
    O("--ctx", 'n', tiny.ctx, "context length"),
    O("--seed", 'n', tiny.seed, "seed of everything random"),
    O("--tokenizer", 's', tokenizer, "gpt2, llama or bert; default by --arch"),
    O("--pre", 's', pre, "smollm, qwen2, gpt-2 or llama-bpe; default by --arch"),
    O("--chat-template", 's', template, "a file, or none; default ChatML for gpt2 tokenizers, else none"),
    O("--window", 'n', tiny.window, "sliding window, where the architecture has one (default 64, 0 = none)"),
    O("--freq-base", 'r', tiny.freq_base, "RoPE base"),
    O("--rope-scale", 'r', tiny.rope_scale, "linear RoPE scaling factor"),
    O("--version", 'n', tiny.version, "GGUF version, 2 or 3"),
    O("--tied", 'f', tiny.tied, "no output matrix of its own"),
    O("--rope-freqs", 'f', tiny.rope_freqs, "a rope_freqs tensor as Llama 3 has"),
    O("--rope-factors", 'n', tiny.rope_freqs, "2: rope_factors_short and _long, as Phi 3 has"),
    O("--bias", 'f', tiny.bias, "biases on q, k, v (always for qwen2) and on the attention output (llama)"),
    O("--biases", 'f', tiny.biases, "a bias beside every matrix"),
    O("--scales", 'f', tiny.scales, "a scale beside every matrix of a layer"),
    O("--attn-norm-2", 'f', tiny.attn_norm_2, "a second norm in each layer, as larger Falcons have"),
    O("--row-norms", 'f', tiny.row_norms, "norms of all heads of q and of k, as MPT may have"),
    O("--each-norms", 'f', tiny.each_norms, "norms of heads of q and k with weights of their own, as Command R+ has"),
    O("--positions", 'f', tiny.positions, "a learned vector for each position, as MPT may have"),
    O("--decoder-layers", 'n', tiny.decoder_layers, "of t5's decoder; default as many as there are others"),
    O("--start", 'n', tiny.start, "t5: the token that begins answers; default 0"),
    O("--no-gate", 'f', tiny.no_gate, "no ffn_gate, as the first T5 have none"),
    O("--no-ffn-norm", 'f', tiny.no_ffn_norm, "no norm before the feed-forward part, as larger StableLMs have"),
    O("--qkv", 'n', tiny.qkv, "1: q, k and v are one matrix; 2: their biases too"),
    O("--dense", 'n', tiny.dense, "width between dense_2 and dense_3, as EmbeddingGemma has them"),
    O("--labels", 'n', tiny.labels, "numbers that cls.output gives, of a model that ranks"),
    O("--rot", 'n', tiny.rot, "rotated part of a head; default all of it"),
    O("--latent-rank", 'n', tiny.latent_rank, "latent attention: width of the row of k and v; default 32"),
    O("--q-rank", 'n', tiny.q_rank, "latent attention: width of the row of q; default 0: none"),
    O("--value-dim", 'n', tiny.value_dim, "width of a head's values; default as --head-dim"),
    O("--local-dim", 'n', tiny.local_dim, "width of a head in window layers of gemma4; default half of --head-dim"),
    O("--shared-kv", 'n', tiny.shared_kv, "layers of gemma4 without keys and values of their own"),
    O("--layer-width", 'n', tiny.layer_width, "width of gemma4's embedding for each layer; default 0: none"),
    O("--no-values", 'f', tiny.no_values, "keys serve as values in layers that see all (gemma4)"),
    O("--gate-by-head", 'f', tiny.gate_by_head, "the gate of attention has an element for each head"),
    O("--whole-kv", 'f', tiny.whole_kv, "latent attention: one matrix makes k and v, as the first files have it"),
    O("--attend", 'n', tiny.attend, "recurrent families: every so manieth layer has attention (default 2)"),
    O("--ssm-heads", 'n', tiny.ssm_heads, "of Mamba 2; default 4"),
    O("--ssm-groups", 'n', tiny.ssm_groups, "of Mamba 2; default 2"),
    O("--ssm-state", 'n', tiny.ssm_state, "of Mamba; default 16"),
    O("--ssm-rank", 'n', tiny.ssm_rank, "of Mamba's time steps; default 8"),
    O("--steps-normed", 'f', tiny.steps_normed, "Falcon Mamba's norms"),
    O("--taps", 'n', tiny.taps, "of convolutions; default 3"),
    O("--ff-step", 'n', tiny.ff_step, "what each layer's --ff has over the one before it"),
    O("--experts", 'n', tiny.experts, "experts in a layer; default 0: none"),
    O("--experts-used", 'n', tiny.experts_used, "of which a token uses so many; default 2"),
    O("--expert-ff", 'n', tiny.expert_ff, "width of an expert; default half of --ff"),
    O("--shared-ff", 'n', tiny.shared_ff, "width of an expert that all tokens pass; default 0: none"),
    O("--dense-lead", 'n', tiny.dense_lead, "layers without experts at the beginning"),
    O("--expert-step", 'n', tiny.expert_step, "every so manieth layer has experts; default all"),
    O("--expert-files", 'n', tiny.expert_files, "1: gate and up of the experts are one tensor; 2: a tensor for each expert"),
    O("--dense-beside", 'f', tiny.dense_beside, "a dense part beside the experts, as Grok 2 has"),
    O("--expert-row", 'n', tiny.expert_row, "what experts read and give; default --embd"),
    O("--ssm-files", 'n', tiny.ssm_files, "1: q, k, v and the gate of DeltaNet are one tensor"),
    O("--nextn", 'n', tiny.nextn, "layers behind the others that guess further tokens"),
    O("--choice-bias", 'f', tiny.choice_bias, "a bias beside the router's result that counts for the choice alone"),
    O("--distinct", 'n', tiny.distinct, "rows of a matrix that are made; the others repeat them: large files within seconds"),
    O("--key", 'k', keys, "NAME=TYPE:VALUE or NAME=TYPE[]:VALUE,VALUE,... (u32 i32 f32 bool str); .NAME: under the architecture"),
    O("--vocab-only", 'f', vocab_only, "no weights"),
    O("--lora", 'n', lora, "an adapter of so high a rank for all matrices of the model's layers, in place of the model"),
    O("--lora-type", 's', lora_type, "F32 (the default), F16 or BF16"),
    O("--split", 'n', split, "so many files: of -o x.gguf x-00001-of-00002.gguf and so on"),
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
        if (option_table[k].kind == 'k') {
            if (o->n_keys == sizeof o->keys / sizeof *o->keys)
                die("too many keys");
            o->keys[o->n_keys++] = argv[i];
        } else if (option_table[k].kind == 's') {
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
    size_t i = vs_tiny_hash(bytes, n) & (t->n_slots - 1);
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
        uint64_t r = vs_tiny_random(&s);
        uint32_t a = (uint32_t)((r & 0xffffffff) % t->n_pieces), b = (uint32_t)((r >> 32) % t->n_pieces), made;
        if (kind_of((unsigned char)t->piece[a].bytes[0]) == 3 && kind_of((unsigned char)t->piece[b].bytes[0]) == 3)
            join(t, a, b, 12, true, &made);
    }
    free(symbol);
    free(pair);
}

/* Writing. */

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, BYTE = 6 };

struct vocab {
    struct vs_buf token, type, score, merge;    /* as they lie in the file */
    uint32_t n, n_merges;
};

static void add_token(struct vocab *v, const char *s, size_t n, int type, float score)
{
    vs_tiny_put_str(&v->token, s, n);
    vs_buf_u32le(&v->type, (uint32_t)type);
    vs_tiny_put_f32(&v->score, score);
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
    { "bert", "default", { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" }, true, 2, -1, -1, 0, 1, true, -1 },
    { "llama", "gemma3", { "<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>" }, true, 2, 1, 5, 0, 3, true, 0 },
};

static void add_controls(struct vocab *v, const struct flavour *fl, uint32_t *ret_base)
{
    *ret_base = v->n;
    for (int i = 0; i < 10 && fl->control[i]; i++) {
        bool unknown = i == fl->unknown && strcmp(fl->tokenizer, "gpt2");
        add_token(v, fl->control[i], strlen(fl->control[i]), unknown ? UNKNOWN : CONTROL, -1000);
    }
}

static void write_vocab(struct vs_tiny_head *f, const struct options *o)
{
    bool gpt2 = !strcmp(o->tokenizer, "gpt2"), bert = !strcmp(o->tokenizer, "bert");
    const struct flavour *fl = NULL;
    const char *wanted = gpt2 ? o->pre : !strcmp(o->tiny.arch, "gemma3") ? "gemma3" : "default";
    for (size_t i = 0; i < sizeof flavours / sizeof *flavours; i++)
        if (!strcmp(flavours[i].tokenizer, o->tokenizer) && !strcmp(flavours[i].pre, wanted))
            fl = &flavours[i];
    if (!fl)
        die("no tokenizer '%s' with pre-tokenizer '%s'", o->tokenizer, wanted);
    uint32_t n_control = 0, base = 0, n_other = gpt2 ? 1 : 257;  /* [tool], and SentencePiece's byte tokens */
    while (n_control < 10 && fl->control[n_control])
        n_control++;
    if (o->tiny.vocab < n_control + n_other || o->tiny.vocab > 1u << 20)
        die("--vocab must be at least %" PRIu32, n_control + n_other + 256);
    struct trainer t = { 0 };
    train(&t, (uint32_t)o->tiny.vocab - n_control - n_other, gpt2, o->tiny.seed);

    struct vocab v = { 0 };
    if (fl->first)
        add_controls(&v, fl, &base);
    if (!gpt2)
        for (int c = 0; c < 256; c++) {
            char name[8];
            if (bert) {                          /* words of one letter, in place of bytes */
                bool is_word = c > 32 && c < 127 && !(c >= 'A' && c <= 'Z');
                snprintf(name, sizeof name, is_word ? "\xe2\x96\x81%c" : "[u%02X]", c);
                add_token(&v, name, strlen(name), NORMAL, 0);
                continue;
            }
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
        vs_tiny_put_str(&v.merge, spelled.data, spelled.n);
        v.n_merges++;
    }

    vs_tiny_kv_str(f, "tokenizer.ggml.model", o->tokenizer, strlen(o->tokenizer));
    vs_tiny_kv_str(f, "tokenizer.ggml.pre", gpt2 ? o->pre : "default", strlen(gpt2 ? o->pre : "default"));
    vs_tiny_kv_array(f, "tokenizer.ggml.tokens", VS_TINY_STR, v.n);
    vs_buf_add(&f->buf, v.token.data, v.token.n);
    if (!gpt2) {
        vs_tiny_kv_array(f, "tokenizer.ggml.scores", VS_TINY_F32, v.n);
        vs_buf_add(&f->buf, v.score.data, v.score.n);
    }
    vs_tiny_kv_array(f, "tokenizer.ggml.token_type", VS_TINY_I32, v.n);
    vs_buf_add(&f->buf, v.type.data, v.type.n);
    if (gpt2) {
        vs_tiny_kv_array(f, "tokenizer.ggml.merges", VS_TINY_STR, v.n_merges);
        vs_buf_add(&f->buf, v.merge.data ? v.merge.data : "", v.merge.n);
    }
    const struct { const char *key; int id; } ids[] = {
        { "tokenizer.ggml.bos_token_id", fl->bos }, { "tokenizer.ggml.eos_token_id", fl->eos },
        { "tokenizer.ggml.eot_token_id", fl->eot }, { "tokenizer.ggml.padding_token_id", fl->pad },
        { "tokenizer.ggml.unknown_token_id", fl->unknown },
    };
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i].id >= 0)
            vs_tiny_kv_u32(f, ids[i].key, base + (uint32_t)ids[i].id);
    if (bert)
        vs_tiny_kv_u32(f, "tokenizer.ggml.seperator_token_id", base + 3);
    vs_tiny_kv_bool(f, "tokenizer.ggml.add_bos_token", fl->add_bos);
    if (!gpt2)
        vs_tiny_kv_bool(f, "tokenizer.ggml.add_eos_token", false);
    if (fl->space_prefix >= 0)
        vs_tiny_kv_bool(f, "tokenizer.ggml.add_space_prefix", fl->space_prefix);
    vs_buf_clear(&v.token);
    vs_buf_clear(&v.type);
    vs_buf_clear(&v.score);
    vs_buf_clear(&v.merge);
    vs_buf_clear(&spelled);
    free(t.piece);
    free(t.merge);
    free(t.slot);
}

static void write_template(struct vs_tiny_head *f, const struct options *o)
{
    if (!o->template) {
        if (!strcmp(o->tokenizer, "gpt2"))
            vs_tiny_kv_str(f, "tokenizer.chat_template", chatml, strlen(chatml));
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
    vs_tiny_kv_str(f, "tokenizer.chat_template", b.data ? b.data : "", b.n);
    vs_buf_clear(&b);
}

/* One value of a key; the key and the array were written already. */
static void put_value(struct vs_buf *b, uint32_t type, const char *v, size_t n)
{
    char word[64], *end = word;
    snprintf(word, sizeof word, "%.*s", (int)n, v);
    if (type == VS_TINY_STR)
        vs_tiny_put_str(b, v, n);
    else if (type == VS_TINY_F32)
        vs_tiny_put_f32(b, strtof(word, &end));
    else if (type == VS_TINY_BOOL)
        vs_buf_char(b, strtol(word, &end, 0) != 0);
    else
        vs_buf_u32le(b, (uint32_t)strtoll(word, &end, 0));
    if (type != VS_TINY_STR && (end == word || *end))
        die("'%s' is not a number", word);
}

static void write_key(struct vs_tiny_head *f, const char *spec)
{
    static const struct { const char *name; uint32_t type; } types[] = {
        { "u32", VS_TINY_U32 }, { "i32", VS_TINY_I32 }, { "f32", VS_TINY_F32 }, { "bool", VS_TINY_BOOL }, { "str", VS_TINY_STR },
    };
    char name[120];
    const char *type = strchr(spec, '='), *value = type ? strchr(type, ':') : NULL;
    if (!value || type - spec > 100)
        die("--key wants NAME=TYPE:VALUE, not '%s'", spec);
    snprintf(name, sizeof name, "%s%.*s", *spec == '.' ? "%s" : "", (int)(type - spec), spec);
    type++;
    size_t k = 0, n = sizeof types / sizeof *types;
    while (k < n && strncmp(type, types[k].name, strlen(types[k].name)) != 0)
        k++;
    if (k == n)
        die("'%s' has no type that is known", spec);
    bool list = value - type == (ptrdiff_t)strlen(types[k].name) + 2;
    uint64_t count = *++value ? 1 : 0;
    for (const char *c = value; *c; c++)
        count += *c == ',';
    if (list)
        vs_tiny_kv_array(f, name, types[k].type, count);
    else
        vs_tiny_key(f, name, types[k].type);
    for (uint64_t i = 0; i < count; i++) {
        size_t len = list ? strcspn(value, ",") : strlen(value);
        put_value(&f->buf, types[k].type, value, len);
        value += len + 1;
    }
}

/* ---- parts ---- */

static void write_file(const char *path, const struct vs_buf *file)
{
    FILE *out = fopen(path, "wb");
    if (!out)
        die("can't write %s", path);
    fwrite(file->data, 1, file->n, out);
    if (ferror(out) || fclose(out) != 0)
        die("writing %s failed", path);
}

static void put_u16_key(struct vs_buf *b, const char *name, uint16_t v)
{
    const char bytes[] = { (char)v, (char)(v >> 8) };
    vs_tiny_put_str(b, name, strlen(name));
    vs_buf_u32le(b, 2);                       /* GGUF's number of u16 */
    vs_buf_add(b, bytes, 2);
}

static void pad(struct vs_buf *b)
{
    while (b->n % 32)
        vs_buf_char(b, 0);
}

/* Tensors [begin, end) of the whole file, as part `no` of n; the first has all keys. */
static void make_part(const struct vs_gguf *g, const char *whole, uint16_t no, uint16_t n, size_t begin, size_t end,
                      struct vs_buf *b)
{
    size_t n_tensors = vs_gguf_n_tensors(g), n_kv = no ? 0 : vs_gguf_entries(g)->n;
    const char *keys_end = n_tensors ? vs_gguf_tensor_at(g, 0)->name.data - 8 : whole + vs_gguf_data_start(g);
    vs_buf_add(b, whole, 8);                     /* magic and version */
    vs_buf_u64le(b, end - begin);
    vs_buf_u64le(b, n_kv + 3);
    if (!no)
        vs_buf_add(b, whole + 24, (size_t)(keys_end - whole - 24));
    put_u16_key(b, "split.no", no);
    put_u16_key(b, "split.count", n);
    vs_tiny_put_str(b, "split.tensors.count", strlen("split.tensors.count"));
    vs_buf_u32le(b, VS_TINY_I32);
    vs_buf_u32le(b, (uint32_t)n_tensors);
    uint64_t at = 0;
    for (size_t i = begin; i < end; i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
        vs_tiny_put_str(b, t->name.data, t->name.n);
        vs_buf_u32le(b, t->n_dims);
        for (uint32_t d = 0; d < t->n_dims; d++)
            vs_buf_u64le(b, t->ne[d]);
        vs_buf_u32le(b, t->dtype->id);
        vs_buf_u64le(b, at);
        at += (t->n_bytes + 31) / 32 * 32;
    }
    pad(b);
    for (size_t i = begin; i < end; i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
        vs_buf_add(b, whole + t->offset, (size_t)t->n_bytes);
        pad(b);
    }
}

static void write_parts(const char *path, uint16_t n, const struct vs_buf *file)
{
    char stem[900], part[1000];
    struct vs_gguf *g;
    struct vs_error err;
    if (vs_gguf_open(file->data, file->n, file->n, &g, &err) != VS_OK)
        die("%s", err.text);
    snprintf(stem, sizeof stem, "%s", path);
    if (strlen(stem) > 5 && !strcmp(stem + strlen(stem) - 5, ".gguf"))
        stem[strlen(stem) - 5] = 0;
    size_t n_tensors = vs_gguf_n_tensors(g);
    for (uint16_t i = 0; i < n; i++) {
        struct vs_buf b = { 0 };
        make_part(g, file->data, i, n, n_tensors * i / n, n_tensors * (i + 1u) / n, &b);
        snprintf(part, sizeof part, "%s-%05u-of-%05u.gguf", stem, i + 1u, (unsigned)n);
        write_file(part, &b);
        vs_buf_clear(&b);
    }
    vs_gguf_close(g);
}

/* ---- adapters ---- */

/* A matrix of an adapter: [n_cols, n_rows], of this type, with its numbers drawn by name and seed. */
static void add_small(struct vs_buf *infos, struct vs_buf *data, const char *name, uint64_t n_cols, uint64_t n_rows, float spread,
                      const struct vs_dtype_info *type, uint64_t seed)
{
    vs_tiny_put_str(infos, name, strlen(name));
    vs_buf_u32le(infos, 2);
    vs_buf_u64le(infos, n_cols);
    vs_buf_u64le(infos, n_rows);
    vs_buf_u32le(infos, type->id);
    vs_buf_u64le(infos, data->n);
    uint64_t s = vs_tiny_hash(name, strlen(name)) ^ seed * 0xd1342543de82ef95;
    for (uint64_t i = 0; i < n_cols * n_rows; i++) {
        float v = spread * ((float)(vs_tiny_random(&s) & 0xffff) / 32768.0f - 1);
        uint8_t bytes[4];
        vs_quantize((enum vs_dtype)type->id, &v, bytes, 1);
        vs_buf_add(data, bytes, type->block_bytes);
    }
    pad(data);
}

static const struct vs_dtype_info *type_named(const char *name)
{
    for (uint32_t id = 0; id < 64; id++)
        if (vs_dtype_info(id) && !strcmp(vs_dtype_info(id)->name, name))
            return vs_dtype_info(id);
    die("unknown type '%s'", name);
}

static void write_lora(const struct options *o, const struct vs_buf *file)
{
    const struct vs_dtype_info *type = type_named(o->lora_type ? o->lora_type : "F32");
    struct vs_tiny_head h = { .arch = o->tiny.arch };
    struct vs_buf infos = { 0 }, data = { 0 }, out = { 0 };
    struct vs_gguf *g;
    struct vs_error err;
    if (vs_gguf_open(file->data, file->n, file->n, &g, &err) != VS_OK)
        die("%s", err.text);
    vs_tiny_kv_str(&h, "general.type", "adapter", 7);
    vs_tiny_kv_str(&h, "general.architecture", o->tiny.arch, strlen(o->tiny.arch));
    vs_tiny_kv_str(&h, "adapter.type", "lora", 4);
    vs_tiny_key(&h, "adapter.lora.alpha", VS_TINY_F32);
    vs_tiny_put_f32(&h.buf, 2 * (float)o->lora);
    uint64_t n = 0;
    for (size_t i = 0; i < vs_gguf_n_tensors(g); i++) {
        const struct vs_gguf_tensor *t = vs_gguf_tensor_at(g, i);
        char name[300];
        if (t->n_dims != 2 || t->name.n < 4 || memcmp(t->name.data, "blk.", 4) != 0)
            continue;
        snprintf(name, sizeof name, "%.*s.lora_a", (int)t->name.n, t->name.data);
        add_small(&infos, &data, name, t->ne[0], o->lora, 1 / __builtin_sqrtf((float)t->ne[0]), type, o->tiny.seed);
        snprintf(name, sizeof name, "%.*s.lora_b", (int)t->name.n, t->name.data);
        add_small(&infos, &data, name, o->lora, t->ne[1], 0.3f, type, o->tiny.seed);
        n += 2;
    }
    for (size_t i = 0; i < o->n_keys; i++)
        write_key(&h, o->keys[i]);
    vs_buf_str(&out, "GGUF");
    vs_buf_u32le(&out, 3);
    vs_buf_u64le(&out, n);
    vs_buf_u64le(&out, h.n_kv);
    vs_buf_add(&out, h.buf.data, h.buf.n);
    vs_buf_add(&out, infos.data ? infos.data : "", infos.n);
    pad(&out);
    vs_buf_add(&out, data.data ? data.data : "", data.n);
    write_file(o->out, &out);
    vs_buf_clear(&out);
    vs_buf_clear(&infos);
    vs_buf_clear(&data);
    vs_buf_clear(&h.buf);
    vs_gguf_close(g);
}

static void complete(struct options *o)
{
    const struct { const char *arch, *tokenizer, *pre; } archs[] = {
        { "llama", "gpt2", "smollm" }, { "qwen2", "gpt2", "qwen2" }, { "qwen3", "gpt2", "qwen2" },
        { "gemma", "llama", "default" }, { "gemma2", "llama", "default" }, { "gemma3", "llama", "default" },
        { "gemma-embedding", "llama", "default" }, { "bert", "bert", "default" }, { "nomic-bert", "bert", "default" },
        { o->tiny.arch, "gpt2", "smollm" },                                      /* all others */
    };
    struct vs_error err;
    if (vs_tiny_complete(&o->tiny, &err) != VS_OK)
        die("%s", err.text);
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (!strcmp(archs[i].arch, o->tiny.arch)) {              /* the first that fits */
            o->tokenizer = o->tokenizer ? o->tokenizer : archs[i].tokenizer;
            o->pre = o->pre ? o->pre : archs[i].pre;
        }
    if (!o->out)
        die("-o is needed");
}

int main(int argc, char **argv)
{
    struct options o = { .tiny = { .arch = "llama", .type = "Q4_0", .layers = 2, .embd = 64, .heads = 4, .vocab = 600, .ctx = 512,
                                   .seed = 1, .window = 64, .version = 3, .freq_base = 10000 } };
    parse_options(argc, argv, &o);
    complete(&o);

    struct vs_tiny_head head = { 0 };
    struct vs_buf file = { 0 };
    struct vs_error err;
    vs_tiny_metadata(&o.tiny, &head);
    write_vocab(&head, &o);
    write_template(&head, &o);
    for (size_t i = 0; i < o.n_keys && !o.lora; i++)
        write_key(&head, o.keys[i]);
    if (vs_tiny_file(&o.tiny, &head, !o.vocab_only, &file, &err) != VS_OK)
        die("%s", err.text);
    if (o.lora)
        write_lora(&o, &file);
    else if (o.split > 1)
        write_parts(o.out, (uint16_t)o.split, &file);
    else
        write_file(o.out, &file);
    vs_buf_clear(&file);
    vs_buf_clear(&head.buf);
    return 0;
}
