/* base/date.c - see date.h */
#include "base/date.h"

static int days_of_year(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 366 : 365;
}

bool vs_date_of(int64_t seconds, struct tm *ret)
{
    if (seconds < INT64_C(-62135596800) || seconds > VS_DATE_MOST)
        return false;
    int64_t left = seconds / 86400, rest = seconds % 86400, year = 1970;
    if (rest < 0) {
        rest += 86400;
        left--;
    }
    *ret = (struct tm){ .tm_hour = (int)(rest / 3600), .tm_min = (int)(rest / 60 % 60), .tm_sec = (int)(rest % 60),
                        .tm_wday = (int)((left % 7 + 11) % 7) };    /* day 0 was a Thursday */
    if (left > 0) {                       /* the calendar repeats after 400 years */
        year += left / 146097 * 400;
        left %= 146097;
    }
    while (left < 0)
        left += days_of_year(--year);
    while (left >= days_of_year(year))
        left -= days_of_year(year++);
    ret->tm_year = (int)(year - 1900);
    ret->tm_yday = (int)left;
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    for (;; ret->tm_mon++) {
        int length = lengths[ret->tm_mon] + (ret->tm_mon == 1 && days_of_year(year) == 366);
        if (left < length)
            break;
        left -= length;
    }
    ret->tm_mday = (int)left + 1;
    return true;
}
