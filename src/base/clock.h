/* base/clock.h - monotonic time. */
#ifndef VS_BASE_CLOCK_H
#define VS_BASE_CLOCK_H
#include <stdint.h>
uint64_t vs_clock_ns(void);             /* CLOCK_MONOTONIC */
#endif
