/* cpu/internal.h - the lowered program; stays inside the room. lower.c makes it, load.c fills the weights,
 * run.c executes it; backend.c is the door. */
#ifndef VS_CPU_INTERNAL_H
#define VS_CPU_INTERNAL_H
#include "cpu/backend.h"
#include "cpu/ops.h"
#include "cpu/pool.h"
#include "graph/graph.h"
#include "graph/plan.h"

#include <stdatomic.h>

enum vs_instr_kind {
    VS_I_ROPE_TABLE,    /* cos and sin of every row's position */
    VS_I_EMBED,
    VS_I_TAKE,          /* rows whose output is read */
    VS_I_NORM,          /* y and/or act = norm(x) * weight (+ add) */
    VS_I_ACT,           /* act = quantised x */
    VS_I_LINEAR,        /* a group of matrices that read the same x */
    VS_I_QKV,           /* head norms and rope in place, then K and V to their pages; where VS_I_LINEAR could not */
    VS_I_ATTENTION,     /* whole heads, or single splits into partial results */
    VS_I_MERGE,         /* the partial results, when there are some */
    VS_I_GLU,           /* y and/or act = act(x) * x2 */
    VS_I_ADD,
    VS_I_SCALE,         /* y = x * weight2[0] (+ weight, a bias) */
    VS_I_SOFTCAP,
    VS_I_CHECK,         /* NaN or infinity in the logits */
    VS_N_INSTRS
};

/* What a group of matrices does with its result while it is in the cache. */
enum vs_epilogue {
    VS_EPILOGUE_NONE,
    VS_EPILOGUE_GLU,    /* linears: gate, up; act(gate) * up to y and/or act, the matrices' own results are not stored */
    VS_EPILOGUE_HEADS,  /* linears: q, k, v in any order; a task is one head: norm, rope, K and V to their pages */
};
enum vs_role { VS_ROLE_Q, VS_ROLE_K, VS_ROLE_V };

/* Buffers are indices into the memory plan; VS_NONE = not there. */
struct vs_linear {
    struct vs_matrix w;
    enum vs_role role;                   /* with VS_EPILOGUE_HEADS */
    uint32_t y, residual;
    const float *bias;
};

struct vs_instr {
    enum vs_instr_kind kind;
    enum vs_rows rows;
    uint32_t x, x2, x3, y, act;
    uint32_t act2;                       /* VS_I_LINEAR: the result of a GLU, quantised (act is what the matrices read) */
    uint32_t width;                      /* of x */
    const float *weight, *weight2;       /* norms; of q and k in VS_I_QKV */
    float eps, scale, cap;
    enum vs_activation activation;
    uint32_t first, n;                   /* VS_I_LINEAR: its matrices in program.linears */
    enum vs_epilogue epilogue;
    uint32_t prologue;                   /* VS_I_LINEAR: the instruction before it that makes what only it reads, or VS_NONE */
    bool is_prologue;
    uint32_t tensor;                     /* VS_I_EMBED */
    uint32_t n_heads, n_kv_heads, head_dim, layer, window, rope;
};

struct vs_weight {                       /* one tensor in memory */
    struct vs_matrix matrix;             /* data NULL until loaded */
    const float *vector;                 /* the same data, of F32: norms and biases are read as that */
    bool used_as_matrix;
};

struct vs_share {                        /* run.c: how much of a thread's share of an instruction is taken */
    _Alignas(64) _Atomic uint64_t taken;
};

struct vs_block {                        /* rows of one sequence that attend together */
    uint32_t first, n;
};

struct vs_kv_layout {
    enum vs_kv_type type;
    uint32_t n_kv_heads, head_dim;
    uint32_t n_heads;                    /* KV heads of all layers */
    size_t k_bytes, v_bytes;             /* of one head in one page; with scales: */
    size_t key_bytes, value_bytes;
    size_t page_bytes;
};
/* Pages lie in runs, so that those of a sequence, which mostly ascend, are one stream of memory for each head:
 * [run][K, V][layer][KV head][page of the run]. */
enum { VS_KV_RUN = 8 };
void vs_kv_layout_init(struct vs_kv_layout *l, const struct vs_graph *g, enum vs_kv_type type);       /* page.c */

/* What the graph became: made by lower.c, the same for every step. */
struct vs_program {
    struct vs_instr *instrs;
    struct vs_linear *linears;
    struct vs_plan_item *buffers;
    size_t n_instrs, n_linears, n_buffers, cap_instrs, cap_linears, cap_buffers;
    uint32_t logits, n_vocab;
    struct vs_rope_table { uint32_t n_pairs; enum vs_rope_kind kind; double magnitude, *frequency; float *cosine, *sine; } ropes[2];
    size_t n_ropes;
    uint32_t max_group;                  /* attention: query heads for one KV head */
    uint32_t max_queries;                /* of a block */
};

/* All that is large, taken once. */
struct vs_memory {
    struct vs_weight *weights;           /* one for each tensor of the graph */
    uint8_t *weight_memory;
    size_t weight_bytes;
    uint8_t *arena;                      /* the intermediates, as planned */
    size_t arena_bytes;
    uint8_t *private;                    /* one piece for each thread: what it makes for itself alone */
    size_t private_bytes, private_act, private_glu;  /* of a piece; offsets: f32 rows at 0, their acts, gate and up */
    uint8_t *kv;
    size_t kv_bytes;
    struct vs_kv_layout kv_layout;
    uint8_t *scratch;                    /* attention: one piece for each thread */
    size_t scratch_bytes;
    float *partial;                      /* attention: [rows, heads, splits, 2 + head_dim] for few rows in long contexts */
    size_t partial_floats;
};

/* The step being run. */
struct vs_run {
    const struct vs_step *step;
    struct vs_block *blocks;
    uint32_t n_blocks;
    bool split_attention;
    uint32_t n_splits, n_parts;          /* attention: splits of the longest sequence; pieces of a KV head's queries */
    bool few;                            /* rows: prologues are computed by each thread for itself */
    uint32_t *n_tasks;                   /* [n_instrs] */
    struct vs_tasks_key { uint32_t n_rows, n_out, n_blocks, n_splits, n_parts; bool split; } tasks_key;  /* counted for these */
    struct vs_share *shares;                     /* [threads] */
    _Alignas(64) _Atomic uint64_t cursor;        /* run.c: the instruction being run and the number of its tasks */
    _Alignas(64) _Atomic uint32_t n_done;        /* its tasks that are finished, as far as threads have told */
    struct vs_gate moved;                        /* the cursor, to another instruction */
    _Atomic int fault;
    _Atomic int stopped;                         /* what step->check said, when it was not VS_OK */
    uint64_t check_ns;                           /* thread 0: when to ask next */
};

struct vs_cpu {
    struct vs_backend base;
    struct vs_cpu_ops ops;
    struct vs_backend_config config;
    struct vs_pool *pool;                /* another backend's, where config.beside is set */
    struct vs_program program;
    struct vs_memory memory;
    struct vs_run run;
};

/* page.c: K or V of one page; head counts through all layers. */
uint8_t *vs_kv_place(const struct vs_cpu *c, uint32_t page, uint32_t head, bool value);
void vs_cpu_copy_page(struct vs_backend *b, uint32_t from, uint32_t to, uint32_t n_tokens);
void vs_cpu_clear_pages(struct vs_backend *b, const uint32_t *pages, uint32_t n);

enum { VS_FEW_ROWS = 4, VS_MAX_INSTRS = 4095 };

static inline float *vs_cpu_at(const struct vs_cpu *c, uint32_t buffer)
{
    return (float *)(void *)(c->memory.arena + c->program.buffers[buffer].offset);
}

/* Rows of int8 for n rows of activations. */
static inline uint32_t vs_cpu_act_rows(const struct vs_cpu *c, uint32_t n)
{
    return c->config.high ? 2 * n : n;
}

int vs_cpu_lower(struct vs_cpu *c, const struct vs_graph *g, struct vs_error *err);
int vs_cpu_step(struct vs_backend *b, const struct vs_step *step, const float **ret_logits, struct vs_error *err);
int vs_cpu_load(struct vs_cpu *c, const struct vs_graph *g, const struct vs_source *file,
                vs_progress_fn *progress, void *context, struct vs_error *err);

/* run.c: the step that is to be run, and how many tasks each instruction has in it. */
void vs_cpu_count_tasks(struct vs_cpu *c, const struct vs_step *step);
/* describe.c: the program as text. Weight i is told by its "address", marks + i; rows[max_rows] and n_few[n_instrs] are lent. */
struct vs_buf;
void vs_cpu_describe(struct vs_cpu *c, const struct vs_graph *g, const float *marks, struct vs_row *rows, uint32_t *n_few,
                     struct vs_buf *out);

/* Zeroed pages that cost nothing until touched; huge where the kernel allows. NULL when there is no room. munmap ends it. */
void *vs_cpu_reserve(size_t n);

/* run.c: bytes of a thread's private piece; sets the offsets. */
void vs_cpu_private_plan(struct vs_cpu *c);
/* Rows of one result to its activations: elements [begin, begin + n) of `row`, begin a multiple of 32. */
void vs_cpu_quantize(const struct vs_cpu *c, uint32_t act, uint32_t n_rows, uint32_t width, uint32_t row, const float *x,
                     size_t begin, size_t n);

/* attention.c; `thread` picks the scratch. */
void vs_attention_plan(struct vs_cpu *c);                 /* blocks of the step, and whether splits are tasks */
/* One head of one row as the matrix left it: norm and rope (q, k), then k or v to its page. */
void vs_attention_head(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, enum vs_role role, uint32_t head, float *x);
void vs_attention_task(struct vs_cpu *c, const struct vs_instr *in, uint32_t task, unsigned thread);
void vs_attention_merge(struct vs_cpu *c, const struct vs_instr *in, uint32_t task);
uint32_t vs_attention_n_tasks(const struct vs_cpu *c, const struct vs_instr *in);
size_t vs_attention_scratch_bytes(struct vs_cpu *c);       /* sets max_queries */
#endif
