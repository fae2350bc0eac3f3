/* base/date.h - seconds since 1970 as a date. Our own, because gmtime_r reads the time zone's file, and a locked-in process may
 * open none. Threads: pure. */
#ifndef VS_BASE_DATE_H
#define VS_BASE_DATE_H
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define VS_DATE_MOST INT64_C(253402300799)    /* the last second of the year 9999 */

/* UTC, Gregorian calendar. false, and nothing written: not in the years 1 to 9999. */
bool vs_date_of(int64_t seconds, struct tm *ret);
#endif
