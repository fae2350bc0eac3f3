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
    VS_I_POSITION,      /* y = x + the row of `tensor` that belongs to the position */
    VS_I_TAKE,          /* rows whose output is read */
    VS_I_NORM,          /* y and/or act = norm(x) * weight (+ add) */
    VS_I_ACT,           /* act = quantised x */
    VS_I_LINEAR,        /* a group of matrices that read the same x */
    VS_I_QKV,           /* head norms and rope in place, then K and V to their pages; where VS_I_LINEAR could not */
    VS_I_ATTENTION,     /* whole heads, or single splits into partial results */
    VS_I_MERGE,         /* the partial results, when there are some */
    VS_I_GLU,           /* y and/or act = act(x) * x2, or act(x) */
    VS_I_ADD,
    VS_I_SCALE,         /* y = x * weight2, without weight2 * scale (+ weight, a bias) */
    VS_I_GATE,          /* y = each part of x * act(its element of x2) (+ x3) */
    VS_I_ROUTE,         /* experts.c has these: who is chosen for a row, from its logits x; few rows leave it to VS_I_GROUP */
    VS_I_GROUP,         /* the table of who is chosen, sorted by expert */
    VS_I_GATHER,        /* what the experts read, in the table's order; few rows leave it to VS_I_GROUP */
    VS_I_EXPERTS,       /* gate, up and their product */
    VS_I_COMBINE,       /* down, and a row's weighted sum of it (+ x2) */
    VS_I_SOFTCAP,
    VS_I_CLAMP,         /* y = x limited to -scale .. scale */
    VS_I_CONV,          /* y = act(convolution of x (* x2)) (* x3); weight by channels, bias */
    VS_I_SCAN_HEADS,    /* Mamba 2: y from x = [x | B | C] and x2 = time steps; weight = A, weight2 = D, bias = that of the steps */
    VS_I_SCAN,          /* Mamba: y from x, x2 = time steps, x3 = [B | C]; weight = A, weight2 = D */
    VS_I_DELTA,         /* gated DeltaNet: y from x = [Q | K | V], x2 = beta, x3 = time steps; weight = A, bias = of the steps */
    VS_I_SHIFT,         /* y = x + (that of the position before - x) * (weight (+ x2)) */
    VS_I_WKV6,          /* RWKV: y from x = [R | K | V], x2 = decays; weight = bonus */
    VS_I_WKV7,          /* the same, x2 = [decays | rates], y = [O | bonus]; weight = k_k, weight2 = k_a, bias = r_k */
    VS_I_STREAMS,       /* y = x, and in its parts from `first` on the parts of x3 times their x2 + scale */
    VS_I_MATCH,         /* y = x, as large as x2 */
    VS_I_MEAN,          /* y = x, and the first row of a text the mean of all of its rows */
    VS_I_SPARSE,        /* y = what of x is above mean + scale * standard deviation, less that */
    VS_I_PICK,          /* y = so many elements of each part of x */
    VS_I_JOIN,          /* y = parts of x and x2 in turn */
    VS_I_BY_HEADS,      /* y = each part of x by a matrix of its own: the linears from `first` on */
    VS_I_OBSERVE,       /* squares of x are added up, for the sums of that number (first); experts: of what they read, or, where
                         * `of_inner`, of what is between up and down */
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
enum vs_side { VS_SIDE_ANSWER = 1, VS_SIDE_SOURCE = 2 };         /* rows of a step are all of one */

/* Buffers are indices into the memory plan; VS_NONE = not there. */
struct vs_linear {
    struct vs_matrix w;
    enum vs_role role;                   /* with VS_EPILOGUE_HEADS */
    uint32_t y, residual;
    const float *bias;
    uint32_t first_adapt, n_adapts;      /* in program.adapted */
};

struct vs_adapted {                      /* what an adapter adds to a matrix: struct vs_adapt, lowered */
    struct vs_matrix up;
    uint32_t down;                       /* buffer [rows, rank] */
    uint32_t adapter;
    float factor;
};

struct vs_instr {
    enum vs_instr_kind kind;
    enum vs_rows rows;
    uint32_t x, x2, x3, y, act;
    uint32_t act2;                       /* VS_I_LINEAR: the result of a GLU, quantised (act is what the matrices read) */
    uint32_t width;                      /* of x */
    const float *weight, *weight2;       /* norms; of q and k in VS_I_QKV */
    const float *bias;                   /* VS_I_NORM of the kind that takes the mean away (is_layer_norm) */
    bool is_layer_norm;
    float eps, scale, cap;
    enum vs_activation activation;
    float xielu[4];
    uint32_t first, n;                   /* VS_I_LINEAR: its matrices in program.linears; VS_I_PICK: the first element of a part;
                                          * VS_I_JOIN: parts of x2 */
    uint32_t adapters;                   /* VS_I_LINEAR: only what these adapters read of x, bits; 0: it has other matrices */
    enum vs_epilogue epilogue;
    uint32_t prologue;                   /* VS_I_LINEAR: the instruction before it that makes what only it, and others that follow
                                          * each other, read; or VS_NONE */
    bool is_prologue;
    uint32_t tensor;                     /* VS_I_EMBED, VS_I_POSITION; VS_I_ATTENTION: a bias by distance, or VS_NONE */
    unsigned outputs;                    /* it is run when one of these is wanted: bits 1 << VS_OUTPUT_*; */
    unsigned yields;                     /* y is one of these itself */
    uint32_t n_heads, n_kv_heads, head_dim, layer, window, rope;
    uint32_t value_dim;                  /* attention: of a head's value; head_dim: of its key */
    uint32_t rope_first;                 /* where the rotated part of a head begins */
    const float *sinks;                  /* VS_I_ATTENTION: a logit for each head that has no value, or NULL */
    bool both_ways;                      /* keys after the query count too */
    bool of_source;                      /* the keys of the source count in place of those of the answer */
    unsigned sides;                      /* for which rows it is: bits of enum vs_side */
    float alibi;
    bool norm_last;                      /* VS_I_QKV and its epilogue: norms of heads come after the rope */
    bool v_normed;                       /* so have values, without a weight */
    bool q_normed, k_normed;             /* VS_I_QKV and its epilogue: heads have norms (weight, weight2 or none) */
    float temperature;
    uint32_t temperature_length, temperature_first;
    bool chunks;
    uint32_t n_taps, n_state;
    bool each_key;                       /* VS_I_DELTA: each element of a head's keys has a step of its own */
    bool grouped;                        /* VS_I_DELTA: heads of v that lie together share one of q and k */
    uint32_t n_groups;                   /* VS_I_NORM: parts that are normed apart; 0: it is one. VS_I_PICK, VS_I_JOIN: parts */
    bool one_weight;                     /* VS_I_NORM: that of a part, for all of them; VS_I_SCALE: weight2 is one number */
    size_t state;                        /* floats before it in a slot */
    uint32_t experts;                    /* VS_I_ROUTE to VS_I_COMBINE: index into program.mixtures */
    bool by_expert, of_inner;            /* VS_I_OBSERVE */
};

/* The experts of a layer, which five instructions share. Buffers are indices, linears begin at their matrix of expert 0. */
struct vs_mixture {
    struct vs_experts of;
    const float *choice_bias, *gate_bias, *up_bias, *down_bias, *gate_scale, *up_scale, *down_scale;
    uint32_t gate, up, down;             /* in program.linears; gate VS_NONE: none */
    uint32_t route, table;
    uint32_t x, act;                     /* what experts read, as the model has it: f32, quantised */
    uint32_t own_x, own_act;             /* the same in the table's order, when there are several rows */
    uint32_t inner, inner_act;           /* what is between up and down, in the table's order */
};

struct vs_sums {                         /* struct vs_observed, of all tensors that read the same */
    uint32_t n_columns, n_matrices;
    double *sum;
    uint64_t *n_rows;
};

struct vs_weight {                       /* one tensor in memory */
    struct vs_matrix matrix;             /* data NULL until loaded */
    const float *vector;                 /* the same as F32: norms and biases are read as that; NULL where nothing does */
    bool used_as_matrix;
    bool widened;                        /* vector is a copy behind the data: a bias by distance of another type than F32 */
    bool turned;                         /* vs_state_arrange was here */
};

struct vs_share {                        /* run.c: how much of a thread's share of an instruction is taken */
    _Alignas(64) _Atomic uint64_t taken;
};

struct vs_block {                        /* rows of one sequence that attend together */
    uint32_t first, n;
    uint32_t end;                        /* one more than the last position of the sequence in this step */
};

struct vs_kv_layer_layout {
    uint32_t n_heads, head_dim, value_dim;
    size_t k_bytes, v_bytes;             /* of one head in one page; with scales: */
    size_t key_bytes, value_bytes;
    size_t key_at, value_at;             /* bytes of a page that lie before this layer's keys, before its values */
};
struct vs_kv_layout {
    enum vs_kv_type type;
    uint32_t n_kv_heads, head_dim, value_dim;            /* the most that a layer has */
    struct vs_kv_layer_layout *layers;
    size_t n_layers;
    size_t page_bytes;
};
/* Pages lie in runs, so that those of a sequence, which mostly ascend, are one stream of memory for each head:
 * [run][K, V][layer][KV head][page of the run]. page.c; VS_E_NOMEM: there is nothing to clear */
enum { VS_KV_RUN = 8 };
int vs_kv_layout_init(struct vs_kv_layout *l, const struct vs_graph *g, enum vs_kv_type type);
void vs_kv_layout_clear(struct vs_kv_layout *l);

/* What the graph became: made by lower.c, the same for every step. */
struct vs_program {
    struct vs_instr *instrs;
    struct vs_linear *linears;
    struct vs_adapted *adapted;
    struct vs_plan_item *buffers;
    uint32_t n_adapters;
    size_t n_instrs, n_linears, n_adapted, n_buffers, cap_instrs, cap_linears, cap_adapted, cap_buffers;
    uint32_t output[VS_N_OUTPUTS];       /* buffers; VS_NONE: the model has no such output */
    struct vs_mixture *mixtures;         /* one for each of the graph's experts */
    struct vs_sums *sums;                /* config.observe */
    struct vs_observed *observed;
    size_t n_sums, cap_sums, n_observed, cap_observed;
    struct vs_rope_table { uint32_t n_pairs; enum vs_rope_kind kind; double magnitude, *frequency; float *cosine, *sine; } ropes[2];
    size_t n_ropes;
    float *slopes;                       /* attention: of each head, where keys count less the farther away they are */
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
    /* of a piece; offsets: f32 rows at 0, their acts, gate and up, what experts gave for some columns, acts of a head */
    size_t private_bytes, private_act, private_glu, private_down, private_heads;
    uint8_t *kv;
    size_t kv_bytes;
    struct vs_kv_layout kv_layout;
    uint8_t *states;                     /* [config.n_states] slots */
    size_t state_bytes, states_bytes;    /* of a slot; of all */
    uint8_t *scratch;                    /* attention: one piece for each thread */
    size_t scratch_bytes;
    float *partial;                      /* attention: [rows, heads, splits, 2 + value_dim] for few rows in long contexts */
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
    uint32_t adapters;                   /* that count for some row, bits */
    uint32_t *n_tasks;                   /* [n_instrs] */
    struct vs_tasks_key {                        /* what they were counted for */
        uint32_t n_rows, n_out, n_blocks, n_splits, n_parts, n_stretches, adapters;
        unsigned outputs;
        bool split, source;
    } tasks_key;
    struct vs_share *shares;                     /* [threads] */
    _Alignas(64) _Atomic uint64_t cursor;        /* run.c: the instruction being run and the number of its tasks */
    _Alignas(64) _Atomic uint32_t n_done;        /* its tasks that are finished, as far as threads have told */
    struct vs_gate moved;                        /* the cursor, to another instruction; all of `between` is done */
    _Atomic int fault;
    _Atomic int stopped;                         /* what step->check said, when it was not VS_OK */
    uint64_t check_ns;                           /* thread 0: when to ask next */
    struct vs_between {                          /* run.c: vs_cpu_each */
        _Alignas(64) _Atomic uint64_t word;      /* generation | number of tasks | those that are taken */
        _Alignas(64) _Atomic uint32_t n_done;
        vs_task_fn *task;
        void *context;
    } between;
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

/* page.c: K or V of one page. */
uint8_t *vs_kv_place(const struct vs_cpu *c, uint32_t page, uint32_t layer, uint32_t head, bool value);
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
void vs_cpu_each(struct vs_backend *b, uint32_t n, vs_task_fn *task, void *context);
const float *vs_cpu_output(const struct vs_backend *b, int which);
const struct vs_observed *vs_cpu_observed(const struct vs_backend *b, size_t *ret_n);
int vs_cpu_load(struct vs_cpu *c, const struct vs_graph *g, const struct vs_source *file,
                vs_progress_fn *progress, void *context, struct vs_error *err);

/* run.c: act(x) * up, or act(x) where up is NULL. y may be x. */
void vs_cpu_activate(const struct vs_cpu *c, float *y, const float *x, const float *up, size_t n, enum vs_activation act);
/* act(x), at most the limit, times up, which is within it to both sides. */
void vs_cpu_activate_within(const struct vs_cpu *c, float *y, const float *x, const float *up, size_t n, enum vs_activation act,
                            float limit);
/* run.c: the step that is to be run, and how many tasks each instruction has in it. */
void vs_cpu_count_tasks(struct vs_cpu *c, const struct vs_step *step);
/* describe.c: the program as text. Weight i is told by its "address", marks + i; rows[max_rows], n_tasks[2 * n_instrs] are lent. */
struct vs_buf;
void vs_cpu_describe(struct vs_cpu *c, const struct vs_graph *g, const float *marks, struct vs_row *rows, uint32_t *n_tasks,
                     struct vs_buf *out);

/* Zeroed pages that cost nothing until touched; huge where the kernel allows. NULL when there is no room. munmap ends it. */
void *vs_cpu_reserve(size_t n);

/* run.c: bytes of a thread's private piece; sets the offsets. */
void vs_cpu_private_plan(struct vs_cpu *c);
/* Rows of one result to its activations: elements [begin, begin + n) of `row`, begin a multiple of 32. */
void vs_cpu_quantize(const struct vs_cpu *c, uint32_t act, uint32_t n_rows, uint32_t width, uint32_t row, const float *x,
                     size_t begin, size_t n);

/* state.c: a task is some channels of one stretch of rows. */
uint32_t vs_state_n_tasks(const struct vs_cpu *c, const struct vs_instr *in);
/* Weights of convolutions and scans as their tasks read them, once. VS_E_NOMEM. */
int vs_state_arrange(struct vs_cpu *c, const struct vs_graph *g);
void vs_state_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task);
/* The same to activations anywhere. */
void vs_cpu_quantize_to(const struct vs_cpu *c, struct vs_act *act, uint32_t n, uint32_t width, uint32_t row, const float *x,
                        size_t begin, size_t len);
/* y = act(x) * up, or act(x) where up is NULL. */
void vs_cpu_activate(const struct vs_cpu *c, float *y, const float *x, const float *up, size_t n, enum vs_activation act);
/* Where a task of `units` begins, in a step of n rows. */
uint64_t vs_cpu_edge(const struct vs_cpu *c, uint32_t n, uint64_t units, uint32_t task, uint32_t n_tasks);
/* Rows of this instruction in this step. */
uint32_t vs_cpu_n_rows(const struct vs_cpu *c, const struct vs_instr *in);
/* How many tasks share out so many units (each of unit_bytes of weights) in a step of n rows. */
uint32_t vs_cpu_share_out(const struct vs_cpu *c, uint32_t n, uint32_t units, size_t unit_bytes);

/* experts.c: VS_I_ROUTE to VS_I_COMBINE. glu and down are a thread's own. */
/* Pairs of gate and up panels at once; fewer when more than one panel of rows uses them, so that the private memory holds what they
 * give. */
enum { VS_GLU_UNITS = 32 };
static inline uint32_t vs_glu_units(uint32_t n)
{
    return n <= VS_ACT_ROWS ? VS_GLU_UNITS : VS_GLU_UNITS * VS_ACT_ROWS / VS_MANY_ROWS;
}
uint32_t vs_experts_n_tasks(const struct vs_cpu *c, const struct vs_instr *in);
/* Squares of x[begin .. end) to their sums; of what the experts of a layer read. */
enum { VS_OBSERVE_COLUMNS = 64 };         /* of a task */
void vs_cpu_square(double *sum, const float *x, uint32_t begin, uint32_t end);
void vs_experts_observe(const struct vs_cpu *c, const struct vs_instr *in, uint32_t begin, uint32_t end);
void vs_experts_task(const struct vs_cpu *c, const struct vs_instr *in, uint32_t task, uint32_t n_tasks, float *glu, float *down);
size_t vs_experts_table_bytes(const struct vs_experts *e, size_t n_rows);
size_t vs_experts_down_bytes(const struct vs_cpu *c, const struct vs_instr *in);      /* of the private `down` */

/* attention.c; `thread` picks the scratch. */
void vs_attention_plan(struct vs_cpu *c);                 /* blocks of the step, and whether splits are tasks */
/* One head of one row as the matrix left it: norm and rope (q, k), then k or v to its page. */
void vs_attention_head(const struct vs_cpu *c, const struct vs_instr *in, uint32_t row, enum vs_role role, uint32_t head, float *x);
void vs_attention_task(struct vs_cpu *c, const struct vs_instr *in, uint32_t task, unsigned thread);
void vs_attention_merge(struct vs_cpu *c, const struct vs_instr *in, uint32_t task);
uint32_t vs_attention_n_tasks(const struct vs_cpu *c, const struct vs_instr *in);
size_t vs_attention_scratch_bytes(struct vs_cpu *c);       /* sets max_queries */
#endif
