/* evidence/ed25519.c - see ed25519.h.
 *
 *     number   five limbs of 51 bits modulo 2^255 - 19; "reduced": each below 2^51 and a little
 *     point    -x^2 + y^2 = 1 + d x^2 y^2, extended: x = X/Z, y = Y/Z, xy = T/Z
 *     rB       r in 64 signed digits of 4 bits: the odd ones, times 16, the even ones; each picks one of 8 multiples of 256^i B
 *     scalar   four limbs of 64 bits modulo L, the order of B, by Montgomery's product */
#include "evidence/ed25519.h"

#include "base/bytes.h"

#include <openssl/evp.h>
#include <string.h>

typedef unsigned __int128 u128;

/* ---- numbers modulo 2^255 - 19 ---- */

#define LIMB ((UINT64_C(1) << 51) - 1)

struct number { uint64_t l[5]; };

static const struct number one = { { 1 } };

static void carry(struct number *r)
{
    for (int i = 0; i < 4; i++) {
        r->l[i + 1] += r->l[i] >> 51;
        r->l[i] &= LIMB;
    }
    r->l[0] += 19 * (r->l[4] >> 51);
    r->l[4] &= LIMB;
}

/* Of reduced ones; the sum is none, but may be multiplied or subtracted. */
static struct number add(const struct number *a, const struct number *b)
{
    struct number r;
    for (int i = 0; i < 5; i++)
        r.l[i] = a->l[i] + b->l[i];
    return r;
}

/* b is reduced, or a sum of two that are: it is below four times the modulus, limb by limb. */
static struct number subtract(const struct number *a, const struct number *b)
{
    struct number r;
    for (int i = 0; i < 5; i++)
        r.l[i] = a->l[i] + 4 * (LIMB - (i == 0 ? 18 : 0)) - b->l[i];
    carry(&r);
    return r;
}

static struct number settle(u128 t0, u128 t1, u128 t2, u128 t3, u128 t4)
{
    struct number r;
    t1 += (uint64_t)(t0 >> 51);
    t2 += (uint64_t)(t1 >> 51);
    t3 += (uint64_t)(t2 >> 51);
    t4 += (uint64_t)(t3 >> 51);
    r.l[0] = ((uint64_t)t0 & LIMB) + 19 * (uint64_t)(t4 >> 51);
    r.l[1] = ((uint64_t)t1 & LIMB) + (r.l[0] >> 51);
    r.l[0] &= LIMB;
    r.l[2] = (uint64_t)t2 & LIMB;
    r.l[3] = (uint64_t)t3 & LIMB;
    r.l[4] = (uint64_t)t4 & LIMB;
    return r;
}

/* Of limbs below 2^54. */
static struct number multiply(const struct number *x, const struct number *y)
{
    const uint64_t *a = x->l, *b = y->l;
    uint64_t b1 = 19 * b[1], b2 = 19 * b[2], b3 = 19 * b[3], b4 = 19 * b[4];
    return settle((u128)a[0] * b[0] + (u128)a[1] * b4 + (u128)a[2] * b3 + (u128)a[3] * b2 + (u128)a[4] * b1,
                  (u128)a[0] * b[1] + (u128)a[1] * b[0] + (u128)a[2] * b4 + (u128)a[3] * b3 + (u128)a[4] * b2,
                  (u128)a[0] * b[2] + (u128)a[1] * b[1] + (u128)a[2] * b[0] + (u128)a[3] * b4 + (u128)a[4] * b3,
                  (u128)a[0] * b[3] + (u128)a[1] * b[2] + (u128)a[2] * b[1] + (u128)a[3] * b[0] + (u128)a[4] * b4,
                  (u128)a[0] * b[4] + (u128)a[1] * b[3] + (u128)a[2] * b[2] + (u128)a[3] * b[1] + (u128)a[4] * b[0]);
}

static struct number square(const struct number *x)
{
    const uint64_t *a = x->l;
    uint64_t d0 = 2 * a[0], d1 = 2 * a[1], d2 = 2 * a[2], n3 = 19 * a[3], n4 = 19 * a[4];
    return settle((u128)a[0] * a[0] + (u128)d1 * n4 + (u128)d2 * n3, (u128)d0 * a[1] + (u128)d2 * n4 + (u128)a[3] * n3,
                  (u128)d0 * a[2] + (u128)a[1] * a[1] + (u128)(2 * a[3]) * n4, (u128)d0 * a[3] + (u128)d1 * a[2] + (u128)a[4] * n4,
                  (u128)d0 * a[4] + (u128)d1 * a[3] + (u128)a[2] * a[2]);
}

static struct number square_times(struct number a, int n)
{
    while (n-- > 0)
        a = square(&a);
    return a;
}

/* a^(2^n) * b */
static struct number chain(const struct number *a, int n, const struct number *b)
{
    struct number r = square_times(*a, n);
    return multiply(&r, b);
}

/* a^(p - 2); names say which power: of x_n the exponent is 2^n - 1. */
static struct number invert(const struct number *a)
{
    struct number a2 = square(a), a8 = square_times(a2, 2), a9 = multiply(&a8, a), a11 = multiply(&a9, &a2);
    struct number x5 = chain(&a11, 1, &a9);         /* 2 * 11 + 9 = 31 */
    struct number x10 = chain(&x5, 5, &x5), x20 = chain(&x10, 10, &x10), x40 = chain(&x20, 20, &x20);
    struct number x50 = chain(&x40, 10, &x10), x100 = chain(&x50, 50, &x50), x200 = chain(&x100, 100, &x100);
    struct number x250 = chain(&x200, 50, &x50);
    return chain(&x250, 5, &a11);
}

static void number_write(struct number a, uint8_t ret[32])
{
    carry(&a);
    carry(&a);                          /* below 2^255, so below twice the modulus */
    uint64_t over = (a.l[0] + 19) >> 51;
    for (int i = 1; i < 5; i++)
        over = (a.l[i] + over) >> 51;
    a.l[0] += 19 * over;
    for (int i = 0; i < 4; i++) {
        a.l[i + 1] += a.l[i] >> 51;
        a.l[i] &= LIMB;
    }
    a.l[4] &= LIMB;
    vs_store_u64le(ret, a.l[0] | a.l[1] << 51);
    vs_store_u64le(ret + 8, a.l[1] >> 13 | a.l[2] << 38);
    vs_store_u64le(ret + 16, a.l[2] >> 26 | a.l[3] << 25);
    vs_store_u64le(ret + 24, a.l[3] >> 39 | a.l[4] << 12);
}

/* ---- points ---- */

struct point { struct number x, y, z, t; };
struct entry { struct number sum, difference, product; };    /* y + x, y - x, 2dxy */

enum { ROWS = 32, ROW = 8 };
static struct entry table[ROWS][ROW];    /* [i][j]: (j + 1) * 256^i * B */

static const struct point base_point = {
    { { 0x62d608f25d51a, 0x412a4b4f6592a, 0x75b7171a4b31d, 0x1ff60527118fe, 0x216936d3cd6e5 } },
    { { 0x6666666666658, 0x4cccccccccccc, 0x1999999999999, 0x3333333333333, 0x6666666666666 } },
    { { 1 } }, { { 0 } },
};
static const struct number twice_d = { { 0x69b9426b2f159, 0x35050762add7a, 0x3cf44c0038052, 0x6738cc7407977, 0x2406d9dc56dff } };

/* What both formulas end with: x = e f, y = g h, z = f g, t = e h. */
static void close_point(struct point *p, const struct number *e, const struct number *f, const struct number *g,
                        const struct number *h)
{
    p->x = multiply(e, f);
    p->y = multiply(g, h);
    p->z = multiply(f, g);
    p->t = multiply(e, h);
}

static void point_add(struct point *p, const struct entry *q)
{
    struct number sum = add(&p->y, &p->x), difference = subtract(&p->y, &p->x), z = add(&p->z, &p->z);
    struct number b = multiply(&sum, &q->sum), a = multiply(&difference, &q->difference), c = multiply(&p->t, &q->product);
    struct number e = subtract(&b, &a), f = subtract(&z, &c), g = add(&z, &c), h = add(&b, &a);
    close_point(p, &e, &f, &g, &h);
}

static void point_double(struct point *p)
{
    struct number sum = add(&p->x, &p->y), xx = square(&p->x), yy = square(&p->y), zz = square(&p->z);
    struct number c = add(&zz, &zz), whole = square(&sum), h = add(&yy, &xx), g = subtract(&yy, &xx);
    struct number e = subtract(&whole, &h), f = subtract(&c, &g);
    close_point(p, &e, &f, &g, &h);
}

static struct entry entry_of(const struct point *p)
{
    struct number z = invert(&p->z), x = multiply(&p->x, &z), y = multiply(&p->y, &z), xy = multiply(&x, &y);
    struct entry e = { add(&y, &x), subtract(&y, &x), multiply(&xy, &twice_d) };
    carry(&e.sum);
    return e;
}

static void make_table(void)
{
    struct point row = base_point;
    row.t = multiply(&row.x, &row.y);
    for (int i = 0; i < ROWS; i++) {
        table[i][0] = entry_of(&row);
        for (int j = 1; j < ROW; j++) {
            point_add(&row, &table[i][0]);
            table[i][j] = entry_of(&row);
        }
        for (int k = 0; k < 5; k++)     /* 8 times becomes 256 times */
            point_double(&row);
    }
}

/* All ones where a is b, else 0; the compiler is not to know that it is one of two. */
static uint64_t mask_of(uint64_t a, uint64_t b)
{
    uint64_t differ = a ^ b, mask = ((differ | (0 - differ)) >> 63) - 1;
    __asm__("" : "+r"(mask));
    return mask;
}

static void choose(struct number *a, const struct number *b, uint64_t mask)
{
    for (int i = 0; i < 5; i++)
        a->l[i] ^= mask & (a->l[i] ^ b->l[i]);
}

/* digit * 256^row * B, of a digit from -8 to 8: every entry of the row is read. */
static struct entry pick(int row, int8_t digit)
{
    static const struct number zero;
    uint64_t negative = (uint64_t)((uint8_t)digit >> 7), size = ((uint64_t)(int64_t)digit ^ (0 - negative)) + negative;
    struct entry r = { one, one, zero };
    for (int j = 0; j < ROW; j++) {
        uint64_t mask = mask_of(size, (uint64_t)j + 1);
        choose(&r.sum, &table[row][j].sum, mask);
        choose(&r.difference, &table[row][j].difference, mask);
        choose(&r.product, &table[row][j].product, mask);
    }
    struct entry other = { r.difference, r.sum, subtract(&zero, &r.product) };
    uint64_t mask = mask_of(negative, 1);
    choose(&r.sum, &other.sum, mask);
    choose(&r.difference, &other.difference, mask);
    choose(&r.product, &other.product, mask);
    return r;
}

/* scalar * B, as it stands in keys and signatures. The scalar, below 2^255, is in the machine's limbs. */
static void point_of(const uint64_t scalar[4], uint8_t ret[32])
{
    int8_t digit[2 * ROWS];
    struct point p = { .y = one, .z = one };
    struct entry e;
    for (int i = 0; i < 2 * ROWS; i++)
        digit[i] = (int8_t)(scalar[i / 16] >> 4 * (i % 16) & 15);
    for (int i = 0; i < 2 * ROWS - 1; i++) {         /* from 0..15 to -8..7, and a carry */
        int8_t over = (int8_t)((digit[i] + 8) >> 4);
        digit[i] = (int8_t)(digit[i] - 16 * over);
        digit[i + 1] = (int8_t)(digit[i + 1] + over);
    }
    for (int odd = 1; odd >= 0; odd--) {
        for (int i = 0; i < ROWS; i++) {
            e = pick(i, digit[2 * i + odd]);
            point_add(&p, &e);
        }
        for (int k = 0; odd && k < 4; k++)
            point_double(&p);
    }
    struct number z = invert(&p.z), x = multiply(&p.x, &z), y = multiply(&p.y, &z);
    uint8_t of_x[32];
    number_write(x, of_x);
    number_write(y, ret);
    ret[31] |= (uint8_t)(of_x[0] << 7);
    explicit_bzero(digit, sizeof digit);
    explicit_bzero(&p, sizeof p);
    explicit_bzero(&e, sizeof e);
    explicit_bzero(of_x, sizeof of_x);
}

/* ---- scalars modulo L = 2^252 + 27742317777372353535851937790883648493 ---- */

static const uint64_t order[4] = { 0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0, 0x1000000000000000 };
/* 2^256 mod L */
static const uint64_t r1[4] = { 0xd6ec31748d98951d, 0xc6ef5bf4737dcf70, 0xfffffffffffffffe, 0x0fffffffffffffff };
/* 2^512 mod L */
static const uint64_t r2[4] = { 0xa40611e3449c0f01, 0xd00e1ba768859347, 0xceec73d217f5be65, 0x0399411b7c309a3d };
#define ORDER_INVERSE UINT64_C(0xd2b51da312547e1b)               /* -1 / L modulo 2^64 */

/* a, below 2L, less L where it is not below L. */
static void order_off(uint64_t a[4])
{
    uint64_t less[4], borrow = 0;
    for (int i = 0; i < 4; i++) {
        u128 d = (u128)a[i] - order[i] - borrow;
        less[i] = (uint64_t)d;
        borrow = (uint64_t)(d >> 64) & 1;
    }
    uint64_t keep = mask_of(borrow, 1);
    for (int i = 0; i < 4; i++)
        a[i] = less[i] ^ (keep & (less[i] ^ a[i]));
    explicit_bzero(less, sizeof less);
}

static void scalar_add(const uint64_t a[4], const uint64_t b[4], uint64_t ret[4])
{
    uint64_t over = 0;
    for (int i = 0; i < 4; i++) {
        u128 sum = (u128)a[i] + b[i] + over;
        ret[i] = (uint64_t)sum;
        over = (uint64_t)(sum >> 64);
    }
    order_off(ret);
}

/* a b / 2^256 modulo L, of any a of 256 bits and b below L. */
static void scalar_multiply(const uint64_t a[4], const uint64_t b[4], uint64_t ret[4])
{
    uint64_t t[5] = { 0 };
    for (int i = 0; i < 4; i++) {
        u128 sum = 0;
        uint64_t over;
        for (int j = 0; j < 4; j++) {
            sum = (u128)a[i] * b[j] + t[j] + (uint64_t)(sum >> 64);
            t[j] = (uint64_t)sum;
        }
        sum = (u128)t[4] + (uint64_t)(sum >> 64);
        t[4] = (uint64_t)sum;
        over = (uint64_t)(sum >> 64);
        uint64_t m = t[0] * ORDER_INVERSE;
        sum = (u128)m * order[0] + t[0];
        for (int j = 1; j < 4; j++) {
            sum = (u128)m * order[j] + t[j] + (uint64_t)(sum >> 64);
            t[j - 1] = (uint64_t)sum;
        }
        sum = (u128)t[4] + (uint64_t)(sum >> 64);
        t[3] = (uint64_t)sum;
        t[4] = over + (uint64_t)(sum >> 64);
    }
    memcpy(ret, t, 4 * sizeof *ret);
    order_off(ret);
    explicit_bzero(t, sizeof t);
}

static void scalar_read(const uint8_t *b, uint64_t ret[4])
{
    for (int i = 0; i < 4; i++)
        ret[i] = vs_load_u64le(b + 8 * i);
}

/* A hash as a number modulo L. */
static void scalar_of_hash(const uint8_t hash[64], uint64_t ret[4])
{
    uint64_t low[4], high[4];
    scalar_read(hash, low);
    scalar_read(hash + 32, high);
    scalar_multiply(low, r1, low);
    scalar_multiply(high, r2, high);
    scalar_add(low, high, ret);
    explicit_bzero(low, sizeof low);
    explicit_bzero(high, sizeof high);
}

/* ---- keys and signatures ---- */

struct piece { const void *data; size_t n; };

static EVP_MD *sha512;

static bool hash(const struct piece *pieces, size_t n, uint8_t ret[64])
{
    static _Thread_local EVP_MD_CTX *context;
    unsigned length;
    bool done = (context || (context = EVP_MD_CTX_new())) && EVP_DigestInit_ex(context, sha512, NULL);
    for (size_t i = 0; i < n && done; i++)
        done = EVP_DigestUpdate(context, pieces[i].data, pieces[i].n);
    return done && EVP_DigestFinal_ex(context, ret, &length);
}

bool vs_ed25519_setup(void)
{
    if (!sha512 && (sha512 = EVP_MD_fetch(NULL, "SHA512", NULL)))
        make_table();
    return sha512 != NULL;
}

bool vs_ed25519_key_init(struct vs_ed25519_key *key, const uint8_t seed[VS_ED25519_SEED])
{
    uint8_t h[64];
    uint64_t scalar[4];
    bool done = hash((struct piece[]){ { seed, VS_ED25519_SEED } }, 1, h);
    h[0] &= 248;
    h[31] = (uint8_t)((h[31] & 63) | 64);
    scalar_read(h, scalar);
    point_of(scalar, key->public);
    scalar_multiply(scalar, r2, key->scalar);
    memcpy(key->prefix, h + 32, sizeof key->prefix);
    explicit_bzero(h, sizeof h);
    explicit_bzero(scalar, sizeof scalar);
    return done;
}

bool vs_ed25519_sign(const struct vs_ed25519_key *key, const void *data, size_t n, uint8_t ret[VS_ED25519_SIGNATURE])
{
    uint8_t h[64];
    uint64_t r[4], k[4], s[4];
    bool done = hash((struct piece[]){ { key->prefix, sizeof key->prefix }, { data, n } }, 2, h);
    scalar_of_hash(h, r);
    point_of(r, ret);
    done = done && hash((struct piece[]){ { ret, 32 }, { key->public, sizeof key->public }, { data, n } }, 3, h);
    scalar_of_hash(h, k);
    scalar_multiply(k, key->scalar, s);
    scalar_add(s, r, s);
    for (int i = 0; i < 4; i++)
        vs_store_u64le(ret + 32 + 8 * i, s[i]);
    explicit_bzero(h, sizeof h);
    explicit_bzero(r, sizeof r);
    explicit_bzero(s, sizeof s);
    return done;
}
