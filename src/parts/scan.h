/* parts/scan.h - JSON byte by byte: what a byte begins or ends, and the first byte that no JSON has.
 *
 * It keeps no text and no values, so that a call can be followed while it is still being written. Strict (RFC 8259), but for
 * duplicate keys and the values of escapes, which whoever reads the whole text sees.
 *
 * Source: RFC 8259. Memory: none of its own. Threads: none.
 */
#ifndef VS_PARTS_SCAN_H
#define VS_PARTS_SCAN_H
#include <stdbool.h>
#include <stdint.h>

enum { VS_SCAN_DEPTH = 128 };            /* nested deeper it counts as broken */

enum vs_scan_state {                     /* what may come next */
    VS_SCAN_AT_VALUE, VS_SCAN_AT_ITEM, VS_SCAN_AT_KEY, VS_SCAN_AT_NEXT_KEY, VS_SCAN_AT_COLON, VS_SCAN_AT_COMMA, VS_SCAN_AT_END,
    VS_SCAN_IN_STRING, VS_SCAN_IN_ESCAPE, VS_SCAN_IN_HEX, VS_SCAN_IN_LITERAL,
    VS_SCAN_IN_MINUS, VS_SCAN_IN_ZERO, VS_SCAN_IN_INT, VS_SCAN_IN_POINT, VS_SCAN_IN_FRACTION, VS_SCAN_IN_E, VS_SCAN_IN_SIGN,
    VS_SCAN_IN_EXPONENT,
};

enum vs_scan_event {
    VS_SCAN_NOTHING,                     /* a byte of something */
    VS_SCAN_BROKEN,                      /* it stays so */
    VS_SCAN_OPEN,                        /* a list or an object begins, which is one level deeper */
    VS_SCAN_SCALAR,                      /* another value begins */
    VS_SCAN_KEY_OPEN, VS_SCAN_KEY_CLOSE, /* the quotes around a key */
    VS_SCAN_COMMA,
    VS_SCAN_CLOSE,                       /* a list or an object ends, and depth is that around it; 0: so does the text */
};

struct vs_scan {                         /* zeroed: the beginning */
    uint8_t state, n_hex;
    bool in_key;
    unsigned depth;
    const char *literal;                 /* what is still to come of true, false or null */
    uint8_t is_object[VS_SCAN_DEPTH];
};

enum vs_scan_event vs_scan_push(struct vs_scan *s, char c);
#endif
