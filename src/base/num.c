/* base/num.c - the double-precision functions: used a few times for each token, so plain rather than fast. The series
 * are Taylor's, long enough that what is cut off lies below 2^-56 of the result. */
#include "base/num.h"

#define LN2_HI 0x1.62e42fefp-1          /* 33 bits: n * LN2_HI is exact for every exponent n */
#define LN2_LO 0x1.473de6af278edp-34
#define LOG2E  0x1.71547652b82fep+0
#define MAGIC  0x1.8p52                 /* x + MAGIC rounds x to an integer, ties to even */

static double horner(const double *c, int n, double x)      /* c[0] + c[1] x + ... + c[n - 1] x^(n - 1) */
{
    double y = c[n - 1];
    for (int i = n - 2; i >= 0; i--)
        y = y * x + c[i];
    return y;
}

static double scale(double x, int n)                        /* x * 2^n where the result is normal */
{
    int half = n / 2;
    return x * vs_f64_of_bits((uint64_t)(1023 + half) << 52) * vs_f64_of_bits((uint64_t)(1023 + n - half) << 52);
}

double vs_exp64(double x)
{
    static const double c[] = {         /* 1 / (k + 2)! */
        1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800,
        1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800, 1.0 / 87178291200,
    };
    if (x != x)
        return x;
    if (x < -708.0)
        return 0.0;
    if (x > 709.7)
        return (double)__builtin_inff();
    double n = (x * LOG2E + MAGIC) - MAGIC;
    double hi = x - n * LN2_HI, lo = n * LN2_LO;
    double r = hi - lo, tail = (hi - r) - lo;               /* r + tail = x - n ln 2 */
    double y = 1.0 + (r + (r * r * horner(c, 13, r) + tail));
    return scale(y, (int)n);
}

double vs_log64(double x)
{
    static const double c[] = {         /* log(1 + f) = 2 atanh(s), s = f / (2 + f): 2 / (2k + 3) */
        2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13, 2.0 / 15, 2.0 / 17, 2.0 / 19, 2.0 / 21, 2.0 / 23,
    };
    if (!(x > 0))
        return x == 0 ? -(double)__builtin_inff() : (double)__builtin_nanf("");
    if (x > DBL_MAX)
        return x;
    int e = 0;
    if (x < DBL_MIN) {
        x *= 0x1p52;
        e = -52;
    }
    uint64_t u = vs_f64_bits(x);
    int64_t k = (int64_t)(u - 0x3fe6a09e667f3bcdu) >> 52;   /* x = 2^k m, sqrt(1/2) <= m < sqrt(2) */
    double f = vs_f64_of_bits(u - ((uint64_t)k << 52)) - 1.0;
    double n = (double)(e + k);
    double s = f / (2.0 + f), z = s * s, h = 0.5 * f * f;
    double y = s * (h + z * horner(c, 11, z));              /* log(1 + f) = f - (h - y) */
    return n * LN2_HI - ((h - (y + n * LN2_LO)) - f);
}

double vs_pow64(double base, double exponent)
{
    return vs_exp64(exponent * vs_log64(base));
}

#define TRIG_MAX 1e7
#define PIO2_1 0x1.921fb54p+0           /* pi / 2 in 30 + 30 + 53 bits: n * PIO2_1 and n * PIO2_2 are exact */
#define PIO2_2 0x1.10b46118p-30
#define PIO2_3 0x1.313198a2e037p-61
#define TWO_OVER_PI 0x1.45f306dc9c883p-1

/* x = n pi/2 + (r + tail), |r| <= pi/4; returns n mod 4. */
static unsigned reduce(double x, double *ret_r, double *ret_tail)
{
    double t = x * TWO_OVER_PI + MAGIC, n = t - MAGIC;
    double a = x - n * PIO2_1, p = n * PIO2_2;
    double b = a - p;
    double v = b - a;
    double lost = (a - (b - v)) - (p + v);                  /* b + lost = a - p exactly */
    double q = n * PIO2_3 - lost;
    *ret_r = b - q;
    *ret_tail = (b - *ret_r) - q;
    return (unsigned)(vs_f64_bits(t) & 3);
}

static double sine(double r, double tail)
{
    static const double c[] = {         /* (-1)^(k+1) / (2k + 3)! */
        -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000,
        1.0 / 355687428096000,
    };
    double z = r * r;
    return r + (r * z * horner(c, 8, z) + tail * (1.0 - 0.5 * z));
}

static double cosine(double r, double tail)
{
    static const double c[] = {         /* (-1)^k / (2k + 4)! */
        1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000,
    };
    double z = r * r, h = 0.5 * z, w = 1.0 - h;
    return w + (((1.0 - w) - h) + (z * z * horner(c, 7, z) - r * tail));
}

static double trig(double x, unsigned quarter)
{
    if (!(x >= -TRIG_MAX && x <= TRIG_MAX))
        return (double)__builtin_nanf("");
    double r, tail;
    unsigned n = (reduce(x, &r, &tail) + quarter) & 3;
    double y = n & 1 ? cosine(r, tail) : sine(r, tail);
    return n & 2 ? -y : y;
}

double vs_sin64(double x)
{
    return trig(x, 0);
}

double vs_cos64(double x)
{
    return trig(x, 1);
}
