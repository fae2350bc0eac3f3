/* base/clock.h - time: that which only goes forward, and that of the wall. */
#ifndef VS_BASE_CLOCK_H
#define VS_BASE_CLOCK_H
#include <stdint.h>
uint64_t vs_clock_ns(void);             /* CLOCK_MONOTONIC */
int64_t vs_clock_real_ms(void);         /* since 1970, UTC; may jump: only to show */
#endif
