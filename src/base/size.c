/* base/size.c - see size.h */
#include "base/size.h"

#include <string.h>

bool vs_size_parse(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "kKmMgGtT";
    uint64_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (n > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    const char *unit = *at ? strchr(units, *at) : NULL;
    if (at == text || (*at && (!unit || at[1])))
        return false;
    unsigned shift = unit ? 10 * ((unsigned)(unit - units) / 2 + 1) : 0;
    if (n > (uint64_t)INT64_MAX >> shift)
        return false;
    *ret_bytes = n << shift;
    return true;
}

bool vs_duration_parse(const char *text, uint64_t *ret_seconds)
{
    static const struct { char unit; uint32_t seconds; } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    const uint64_t most = UINT64_C(36500) * 86400;
    uint64_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if ((n = n * 10 + (uint64_t)(*at - '0')) > most)
            return false;
    for (size_t i = 0; i < sizeof units / sizeof *units && n > 0; i++)
        if (at[0] == units[i].unit && at[1] == 0 && n * units[i].seconds <= most) {
            *ret_seconds = n * units[i].seconds;
            return true;
        }
    return false;
}
