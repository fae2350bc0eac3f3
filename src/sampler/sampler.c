/* sampler/sampler.c - the rules of docs/NUMERICS.md, "sampler", in their order.
 *
 *   logits --mask, bias, penalties--> l --select--> candidates, best first --weigh--> q --cut--> kept --draw--> id
 *
 * A candidate is one number, (word in the order of l) << 32 | ~id, so that "greater" is the total order: logit descending,
 * id ascending. Once candidates are in order, every later filter keeps one unbroken run of them. Weights are integers
 * in units of 2^-40 of the heaviest, so no sum depends on an order and no threshold on a rounding.
 */
#include "sampler/sampler.h"

#include "base/num.h"
#include "base/word.h"

#include <stdlib.h>
#include <string.h>

#define VOCAB_MAX (1u << 22)            /* sums of weights stay below 2^62 */
#define HEAP_MAX 1024                   /* up to so many best are found by a heap, more by sorting all */
#define BLOCK 256                       /* logits looked at together before the heap is asked; a multiple of 64 */
#define FEW 8                           /* so many allowed ones of 64 are looked at one by one */

enum { PURPOSE_TOKEN = 0 };             /* third word of the random counter; a draft model draws the same, to say the same */

struct vs_sampler {
    uint32_t n_vocab;
    const float *logit;                 /* [n_vocab] the caller's, or `own` after bias and penalties; valid during a call, as is */
    const uint64_t *allowed;            /* the mask: what it leaves out is impossible, whatever `logit` says; NULL: none */
    float *own;                         /* [n_vocab] */
    uint32_t *count;                    /* [n_vocab] occurrences in the penalty window; zero between calls */
    uint64_t *order, *spare;            /* [n_vocab] candidates, and room to sort them */
    uint64_t *weight;                   /* [n_vocab] q of order[i] */
};

struct run { size_t first, end; };      /* candidates first <= i < end */

/* -- parameters -------------------------------------------------------------------------------------------------- */

void vs_sampling_defaults(struct vs_sampling *s)
{
    *s = (struct vs_sampling){
        .temperature = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .typical_p = 1.0f,
        .repeat_penalty = 1.0f, .repeat_last_n = 64,
    };
}

static bool is_finite(float x)
{
    return vs_absf(x) <= FLT_MAX;
}

int vs_sampling_check(const struct vs_sampling *s, uint32_t n_vocab, struct vs_error *err)
{
    const struct { const char *name; float value, min, max; const char *range; } rules[] = {
        { "temperature",       s->temperature,       0.0f,      FLT_MAX, "a number of at least 0" },
        { "top_p",             s->top_p,             0.0f,      1.0f,    "between 0 and 1" },
        { "min_p",             s->min_p,             0.0f,      1.0f,    "between 0 and 1" },
        { "typical_p",         s->typical_p,         0.0f,      1.0f,    "between 0 and 1" },
        { "repeat_penalty",    s->repeat_penalty,    0x1p-149f, FLT_MAX, "a number above 0" },
        { "presence_penalty",  s->presence_penalty,  -FLT_MAX,  FLT_MAX, "a finite number" },
        { "frequency_penalty", s->frequency_penalty, -FLT_MAX,  FLT_MAX, "a finite number" },
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!(rules[i].value >= rules[i].min && rules[i].value <= rules[i].max))
            return vs_error_set(err, VS_E_INVALID, "%s is %g; it must be %s", rules[i].name, (double)rules[i].value,
                                rules[i].range);
    if (s->repeat_last_n < -1)
        return vs_error_set(err, VS_E_INVALID, "repeat_last_n is %d; it must be -1 (all), 0 (off) or a number of tokens",
                            s->repeat_last_n);
    if (s->n_bias > 0 && !s->bias)
        return vs_error_set(err, VS_E_INVALID, "logit_bias has no entries");
    for (size_t i = 0; i < s->n_bias; i++) {
        if (s->bias[i].id >= n_vocab)
            return vs_error_set(err, VS_E_INVALID, "logit_bias names token %u; the vocabulary has %u token%s",
                                s->bias[i].id, n_vocab, vs_plural(n_vocab));
        if (!(s->bias[i].bias <= FLT_MAX))
            return vs_error_set(err, VS_E_INVALID, "logit_bias of token %u is %g; it must be a finite number or -infinity",
                                s->bias[i].id, (double)s->bias[i].bias);
    }
    return VS_OK;
}

int vs_sampler_create(uint32_t n_vocab, struct vs_sampler **ret)
{
    if (n_vocab == 0 || n_vocab > VOCAB_MAX)
        return VS_E_LIMIT;
    struct vs_sampler *s = calloc(1, sizeof *s);
    if (!s)
        return VS_E_NOMEM;
    s->n_vocab = n_vocab;
    s->own = malloc(n_vocab * sizeof *s->own);
    s->count = calloc(n_vocab, sizeof *s->count);
    s->order = malloc(n_vocab * sizeof *s->order);
    s->spare = malloc(n_vocab * sizeof *s->spare);
    s->weight = malloc(n_vocab * sizeof *s->weight);
    if (!s->own || !s->count || !s->order || !s->spare || !s->weight) {
        vs_sampler_free(s);
        return VS_E_NOMEM;
    }
    *ret = s;
    return VS_OK;
}

void vs_sampler_free(struct vs_sampler *s)
{
    if (!s)
        return;
    free(s->own);
    free(s->count);
    free(s->order);
    free(s->spare);
    free(s->weight);
    free(s);
}

/* -- logits -------------------------------------------------------------------------------------------------------- */

/* Numbers side by side, as every processor has them; some such at a time, so that none waits for the one before it. */
typedef float four __attribute__((vector_size(16)));
typedef int32_t four_bits __attribute__((vector_size(16)));
enum { AT_ONCE = 8, SIDE = 4 * AT_ONCE };

static inline four load(const float *x)
{
    four v;
    memcpy(&v, x, sizeof v);
    return v;
}

/* x - x is 0, unless x is NaN or infinite. */
static bool are_finite(const float *x, uint32_t n)
{
    four sum[AT_ONCE] = { 0 };
    float rest = 0;
    uint32_t i = 0;
    for (; i + SIDE <= n; i += SIDE)
        for (unsigned k = 0; k < AT_ONCE; k++) {
            four v = load(x + i + 4 * k);
            sum[k] += v - v;
        }
    for (; i < n; i++)
        rest += x[i] - x[i];
    for (unsigned k = 0; k < SIDE; k++)
        rest += sum[k / 4][k % 4];
    return rest == 0;
}

/* Looks at the caller's logits where they are, or copies them when they will be changed; refuses what is not finite. */
static int take_logits(struct vs_sampler *s, const float *logits, bool change, struct vs_error *err)
{
    s->allowed = NULL;
    s->logit = logits;
    if (change)
        s->logit = memcpy(s->own, logits, s->n_vocab * sizeof *logits);
    if (are_finite(logits, s->n_vocab))
        return VS_OK;
    uint32_t i = 0;
    while (is_finite(logits[i]))
        i++;
    return vs_error_set(err, VS_E_FAULT, "the logit of token %u is %s: the model's numbers broke down", i,
                        logits[i] != logits[i] ? "NaN" : "infinite");
}

static bool is_allowed(const struct vs_sampler *s, uint32_t id)
{
    return !s->allowed || s->allowed[id / 64] >> id % 64 & 1;
}

/* Those of the 64 tokens from `first` on that may come. */
static inline uint64_t allowed_of(const struct vs_sampler *s, uint32_t first)
{
    uint64_t all = s->n_vocab - first < 64 ? (UINT64_C(1) << (s->n_vocab - first)) - 1 : UINT64_MAX;
    return s->allowed ? s->allowed[first / 64] & all : all;
}

/* What bias and penalties change is impossible before, where the mask leaves it out. */
static float *changed(struct vs_sampler *s, uint32_t id)
{
    if (!is_allowed(s, id))
        s->own[id] = -__builtin_inff();
    return &s->own[id];
}

static int apply_bias(struct vs_sampler *s, const struct vs_sampling *p, struct vs_error *err)
{
    for (size_t i = 0; i < p->n_bias; i++) {
        uint32_t id = p->bias[i].id;
        float *l = changed(s, id);
        *l += p->bias[i].bias;
        if (!(*l <= FLT_MAX))
            return vs_error_set(err, VS_E_INVALID, "logit_bias makes the logit of token %u infinite", id);
    }
    return VS_OK;
}

static bool has_penalties(const struct vs_sampling *p)
{
    return p->repeat_penalty != 1.0f || p->presence_penalty != 0.0f || p->frequency_penalty != 0.0f;
}

static int apply_penalties(struct vs_sampler *s, const struct vs_sampling *p, const uint32_t *history, size_t n_history,
                           struct vs_error *err)
{
    if (!has_penalties(p))
        return VS_OK;
    size_t n = p->repeat_last_n < 0 || n_history < (size_t)p->repeat_last_n ? n_history : (size_t)p->repeat_last_n;
    if (n == 0)
        return VS_OK;
    const uint32_t *window = history + (n_history - n);
    for (size_t i = 0; i < n; i++)
        if (window[i] >= s->n_vocab)
            return vs_error_set(err, VS_E_INVALID, "token %u of the history is not in the vocabulary", window[i]);
    for (size_t i = 0; i < n; i++)
        s->count[window[i]] += s->count[window[i]] < UINT32_MAX;
    int status = VS_OK;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = window[i];
        if (s->count[id] == 0)          /* seen before in this loop */
            continue;
        float l = *changed(s, id);
        l = l > 0 ? l / p->repeat_penalty : l * p->repeat_penalty;
        l -= (float)s->count[id] * p->frequency_penalty;
        l -= p->presence_penalty;
        s->own[id] = l;
        s->count[id] = 0;
        if (!(l <= FLT_MAX) && status == VS_OK)
            status = vs_error_set(err, VS_E_INVALID, "penalties make the logit of token %u infinite", id);
    }
    return status;
}

/* -- order --------------------------------------------------------------------------------------------------------- */

static inline uint64_t candidate(float x, uint32_t id)
{
    return (uint64_t)vs_f32_order(x) << 32 | (uint32_t)~id;
}

static inline uint32_t candidate_id(uint64_t c)
{
    return ~(uint32_t)c;
}

static inline four greater(four a, four b)
{
    four_bits is_a = a > b;
    return (four)(((four_bits)a & is_a) | ((four_bits)b & ~is_a));
}

static float greatest(const float *x, uint32_t n)
{
    four best[AT_ONCE];
    float one = -__builtin_inff();
    uint32_t i = 0;
    for (unsigned k = 0; k < AT_ONCE; k++)
        best[k] = (four){ one, one, one, one };
    for (; i + SIDE <= n; i += SIDE)
        for (unsigned k = 0; k < AT_ONCE; k++)
            best[k] = greater(load(x + i + 4 * k), best[k]);
    for (; i < n; i++)
        one = x[i] > one ? x[i] : one;
    for (unsigned k = 0; k < SIDE; k++)
        one = best[k / 4][k % 4] > one ? best[k / 4][k % 4] : one;
    return one;
}

static void sift_down(uint64_t *heap, size_t n, size_t i)   /* the least on top */
{
    uint64_t v = heap[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && heap[child + 1] < heap[child])
            child++;
        if (v <= heap[child])
            break;
        heap[i] = heap[child];
    }
    heap[i] = v;
}

static float heap_least(const uint64_t *heap)
{
    return vs_f32_of_order((uint32_t)(heap[0] >> 32));
}

/* The k best, best first; returns how many there are, which is less where the mask allows less. Ids come in ascending order, so an
 * equal logit never displaces one that is kept. */
static size_t select_heap(const struct vs_sampler *s, uint64_t *heap, size_t k)
{
    const float *x = s->logit;
    size_t n = 0;
    for (uint32_t at = 0; at < s->n_vocab; at += BLOCK) {
        uint32_t end = s->n_vocab - at < BLOCK ? s->n_vocab : at + BLOCK;
        if (n == k && !s->allowed && greatest(x + at, end - at) <= heap_least(heap))
            continue;
        for (uint32_t first = at; first < end; first += 64) {
            uint64_t left = allowed_of(s, first);
            if (n == k && left && __builtin_popcountll(left) > FEW
                && greatest(x + first, end - first < 64 ? end - first : 64) <= heap_least(heap))
                continue;
            for (; left; left &= left - 1) {
                uint32_t id = first + (uint32_t)__builtin_ctzll(left);
                uint64_t c = candidate(x[id], id);
                if (n < k) {
                    heap[n++] = c;
                    for (size_t i = n == k ? k / 2 : 0; i-- > 0;)
                        sift_down(heap, k, i);
                } else if (c > heap[0]) {
                    heap[0] = c;
                    sift_down(heap, k, 0);
                }
            }
        }
    }
    for (size_t i = n < k ? n / 2 : 0; i-- > 0;)
        sift_down(heap, n, i);
    for (size_t rest = n; rest > 1;) {                      /* take the least away, again and again */
        uint64_t least = heap[0];
        heap[0] = heap[--rest];
        heap[rest] = least;
        sift_down(heap, rest, 0);
    }
    return n;
}

/* Sorts c[n], best first. Candidates must come with ascending ids: the sort is stable and looks at the logits only. */
static void sort_all(uint64_t *c, uint64_t *spare, size_t n)
{
    enum { BITS = 11, SIZE = 1 << BITS };
    uint32_t place[3][SIZE];
    memset(place, 0, sizeof place);
    for (size_t i = 0; i < n; i++)
        for (int pass = 0; pass < 3; pass++)
            place[pass][~c[i] >> (32 + pass * BITS) & (SIZE - 1)]++;
    for (int pass = 0; pass < 3; pass++)
        for (uint32_t digit = 0, sum = 0; digit < SIZE; digit++) {
            uint32_t here = place[pass][digit];
            place[pass][digit] = sum;
            sum += here;
        }
    uint64_t *from = c, *to = spare;
    for (int pass = 0; pass < 3; pass++) {
        for (size_t i = 0; i < n; i++)
            to[place[pass][~from[i] >> (32 + pass * BITS) & (SIZE - 1)]++] = from[i];
        uint64_t *other = from;
        from = to;
        to = other;
    }
    memcpy(c, spare, n * sizeof *c);                        /* three passes end in spare */
}

/* order[0..) = the k best, best first; returns how many. */
static size_t select_best(struct vs_sampler *s, size_t k)
{
    if (k <= HEAP_MAX && k < s->n_vocab)
        return select_heap(s, s->order, k);
    size_t n = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++)
        if (is_allowed(s, i))
            s->order[n++] = candidate(s->logit[i], i);
    sort_all(s->order, s->spare, n);
    return n < k ? n : k;
}

/* The greatest logit of what is allowed. */
static float best_logit(const struct vs_sampler *s)
{
    float best = -__builtin_inff();
    if (!s->allowed)
        return greatest(s->logit, s->n_vocab);
    for (uint32_t first = 0; first < s->n_vocab; first += 64)
        for (uint64_t left = allowed_of(s, first); left; left &= left - 1) {
            float l = s->logit[first + (uint32_t)__builtin_ctzll(left)];
            best = l > best ? l : best;
        }
    return best;
}

/* The k best without those whose weight is surely zero; returns how many there are. */
static size_t select_heavy(struct vs_sampler *s, size_t k, float temperature)
{
    float max = best_logit(s);
    size_t n = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        s->order[n] = candidate(s->logit[i], i);
        n += is_allowed(s, i) && !((s->logit[i] - max) / temperature < -28.0f);     /* e^-28 < 2^-40; NaN where all are -infinity */
    }
    sort_all(s->order, s->spare, n);
    return n < k ? n : k;
}

/* -- weights and thresholds ---------------------------------------------------------------------------------------- */

/* floor(e^d * 2^40), d <= 0. Both the product and the conversion are exact. */
static inline uint64_t to_weight(float d)
{
    return (uint64_t)(vs_expf(d) * 0x1p40f);
}

/* 0 <= p <= 1 in units of 2^-32, rounded down (exact for p >= 2^-8). */
static inline uint64_t threshold(float p)
{
    return (uint64_t)((double)p * 0x1p32);
}

/* part / whole >= p, exactly. */
static inline bool reaches(uint64_t part, uint64_t p, uint64_t whole)
{
    return (unsigned __int128)part << 32 >= (unsigned __int128)p * whole;
}

static uint64_t total(const uint64_t *weight, struct run r)
{
    uint64_t sum = 0;
    for (size_t i = r.first; i < r.end; i++)
        sum += weight[i];
    return sum;
}

/* Weights of the n best; returns how many are not zero (they come first). */
static size_t weigh(struct vs_sampler *s, size_t n, float temperature)
{
    float max = s->logit[candidate_id(s->order[0])];
    for (size_t i = 0; i < n; i++) {
        s->weight[i] = to_weight((s->logit[candidate_id(s->order[i])] - max) / temperature);
        if (s->weight[i] == 0)
            return i;
    }
    return n;
}

/* Locally typical (Meister et al. 2022): keep what is closest to the entropy in surprise. The normalisation cancels:
 * |-log p - H| = |d - mean of d|, with d = log of the weight. In units of 2^-20, D = RNE(-d 2^20), the distance times
 * the total is the integer |D total - sum(q D)|. Kept are all up to the least distance whose sum reaches p: equal
 * distances stay or go together. D ascends along the order, so the kept ones are neighbours around the mean. */
static struct run cut_typical(const struct vs_sampler *s, struct run r, float p, float temperature)
{
    uint64_t limit = threshold(p), all = total(s->weight, r), sum = 0;
    float max = s->logit[candidate_id(s->order[0])];
    unsigned __int128 mean = 0;
    int64_t *deep = (int64_t *)s->spare;
    for (size_t i = r.first; i < r.end; i++) {
        double d = (double)((s->logit[candidate_id(s->order[i])] - max) / temperature);
        deep[i] = (int64_t)((-d * 0x1p20 + 0x1p52) - 0x1p52);
        mean += (unsigned __int128)s->weight[i] * (uint64_t)deep[i];
    }
    size_t right = r.first;             /* first that lies at the mean or behind it */
    while (right < r.end && (unsigned __int128)all * (uint64_t)deep[right] < mean)
        right++;
    size_t left = right;                /* kept so far: left <= i < right */
    while (left > r.first || right < r.end) {
        bool has_left = left > r.first, has_right = right < r.end;
        unsigned __int128 a = has_left ? mean - (unsigned __int128)all * (uint64_t)deep[left - 1] : 0;
        unsigned __int128 b = has_right ? (unsigned __int128)all * (uint64_t)deep[right] - mean : 0;
        unsigned __int128 nearest = !has_right || (has_left && a < b) ? a : b;
        if (has_left && a == nearest)
            for (int64_t same = deep[left - 1]; left > r.first && deep[left - 1] == same; left--)
                sum += s->weight[left - 1];
        if (has_right && b == nearest)
            for (int64_t same = deep[right]; right < r.end && deep[right] == same; right++)
                sum += s->weight[right];
        if (reaches(sum, limit, all))
            break;
    }
    return (struct run){ left, right };
}

/* The shortest run from the best on, one at least, whose sum reaches p. */
static struct run cut_top_p(const struct vs_sampler *s, struct run r, float p)
{
    uint64_t limit = threshold(p), all = total(s->weight, r), sum = 0;
    for (size_t i = r.first; i < r.end; i++) {
        sum += s->weight[i];
        if (reaches(sum, limit, all))
            return (struct run){ r.first, i + 1 };
    }
    return r;
}

/* Those with at least p times the weight of the best. */
static struct run cut_min_p(const struct vs_sampler *s, struct run r, float p)
{
    uint64_t limit = threshold(p);
    while (r.end > r.first + 1 && !reaches(s->weight[r.end - 1], limit, s->weight[r.first]))
        r.end--;
    return r;
}

static uint32_t draw(const struct vs_sampler *s, struct run r, uint64_t seed, uint64_t position)
{
    const uint32_t key[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };
    const uint32_t counter[4] = { (uint32_t)position, (uint32_t)(position >> 32), PURPOSE_TOKEN, 0 };
    uint32_t random[4];
    vs_philox(key, counter, random);
    uint64_t u = random[0] | (uint64_t)random[1] << 32;
    uint64_t at = (uint64_t)((unsigned __int128)u * total(s->weight, r) >> 64), sum = 0;
    for (size_t i = r.first; i < r.end; i++) {
        sum += s->weight[i];
        if (sum > at)
            return candidate_id(s->order[i]);
    }
    return candidate_id(s->order[r.first]);                 /* not reached: at < total */
}

/* -- the two questions --------------------------------------------------------------------------------------------- */

int vs_sampler_sample(struct vs_sampler *s, const struct vs_sampling *params, const float *logits,
                      const uint32_t *history, size_t n_history, uint64_t position,
                      uint32_t *ret_id, struct vs_error *err)
{
    int status = vs_sampling_check(params, s->n_vocab, err);
    if (status == VS_OK)
        status = take_logits(s, logits, params->n_bias > 0 || has_penalties(params), err);
    s->allowed = params->allowed;
    if (status == VS_OK)
        status = apply_bias(s, params, err);
    if (status == VS_OK)
        status = apply_penalties(s, params, history, n_history, err);
    if (status != VS_OK)
        return status;

    size_t n = s->n_vocab;
    if (params->top_k > 0 && params->top_k < n)
        n = params->top_k;
    if (params->temperature == 0.0f)
        n = 1;
    n = n <= HEAP_MAX ? select_best(s, n) : select_heavy(s, n, params->temperature);
    uint32_t best = n ? candidate_id(s->order[0]) : 0;
    if (!n || !is_finite(s->logit[best]))
        return vs_error_set(err, VS_E_INVALID, "logit_bias or penalties forbid every token%s",
                            params->allowed ? " that the constraint allows" : "");
    if (n == 1) {
        *ret_id = best;
        return VS_OK;
    }
    n = weigh(s, n, params->temperature);

    struct run r = { 0, n };
    if (params->typical_p < 1.0f)
        r = cut_typical(s, r, params->typical_p, params->temperature);
    if (params->top_p < 1.0f)
        r = cut_top_p(s, r, params->top_p);
    if (params->min_p > 0.0f)
        r = cut_min_p(s, r, params->min_p);
    *ret_id = draw(s, r, params->seed, position);
    return VS_OK;
}

int vs_sampler_logprobs(struct vs_sampler *s, const float *logits, uint32_t id, size_t n_best,
                        float *ret_chosen, struct vs_logprob *ret_best)
{
    if (id >= s->n_vocab || n_best > s->n_vocab)
        return VS_E_INVALID;
    int status = take_logits(s, logits, false, NULL);
    if (status != VS_OK)
        return status;
    float max = greatest(s->logit, s->n_vocab);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++)
        sum += to_weight(s->logit[i] - max);
    double log_sum = vs_log64((double)sum * 0x1p-40);
    *ret_chosen = (float)(((double)s->logit[id] - max) - log_sum);
    if (n_best == 0)
        return VS_OK;
    select_best(s, n_best);
    for (size_t i = 0; i < n_best; i++) {
        uint32_t best = candidate_id(s->order[i]);
        ret_best[i] = (struct vs_logprob){ best, (float)(((double)s->logit[best] - max) - log_sum) };
    }
    return VS_OK;
}
