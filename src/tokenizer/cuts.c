/* tokenizer/cuts.c - see cuts.h: plain C. */
#include "tokenizer/cuts_body.h"

#include "base/bytes.h"

#define EACH(byte) (0x0101010101010101u * (byte))

/* The lowest bits of eight bytes, one beside the other. */
static inline uint64_t gather(uint64_t w)
{
    return (w & EACH(1)) * 0x0102040810204080u >> 56;
}

/* Lowest bits of those that are 0. */
static inline uint64_t zeros(uint64_t w)
{
    return ~(((w & EACH(0x7f)) + EACH(0x7f)) | w) >> 7;
}

static inline void look(const char *s, struct kinds *ret)
{
    static const uint8_t low[16] = { OF_LOW_HALF }, high[16] = { OF_HIGH_HALF };
    struct kinds k = { 0 };
    for (unsigned i = 0; i < VS_CUT_BLOCK; i += 8) {
        uint64_t bytes = vs_load_u64le(s + i), w = 0;
        for (unsigned j = 0; j < 8; j++)
            w |= (uint64_t)(low[s[i + j] & 15] & high[(uint8_t)s[i + j] >> 4]) << 8 * j;
        k.upper |= gather(w | w >> 1) << i;
        k.lower |= gather(w >> 2 | w >> 3) << i;
        k.digit |= gather(w >> 4) << i;
        k.space |= gather(w >> 5) << i;
        k.newline |= gather(w >> 6) << i;
        k.blank |= gather(w >> 7) << i;
        k.other |= gather(bytes >> 7) << i;
        k.quote |= gather(zeros(bytes ^ EACH('\''))) << i;
        k.control |= gather(zeros(bytes & EACH(0xe0)) | zeros(bytes ^ EACH(0x7f))) << i;
    }
    k.control &= ~(k.newline | k.blank);
    *ret = k;
}

size_t vs_cut_c(unsigned flags, const char *s, const char *end, uint32_t *n_bytes, size_t cap, size_t *io_n)
{
    return cut(look, flags, s, end, n_bytes, cap, io_n);
}
