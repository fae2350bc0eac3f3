/* filter/control.h - what steers a terminal, reorders what a reader sees, or hides text: spans of kind CONTROL.
 *
 *   ansi        ESC and what belongs to it: CSI (ESC [ ... final), ESC with intermediates and a final; the same that begin with a
 *               C1 control (U+0080..U+009F in UTF-8)
 *   ansi-string OSC DCS SOS PM APC, up to BEL or ST; a newline ends it too
 *   control     C0 but tab and newline, DEL, C1. A carriage return passes before a newline, and is one otherwise: it lets a
 *               terminal overwrite what it showed
 *   bidi        U+202A..202E, U+2066..2069: embeddings, overrides, isolates. The marks U+200E, U+200F, U+061C pass: Arabic and
 *               Hebrew need them
 *   tags        U+E0000..E007F, but in a flag: U+1F3F4, two to six tag letters or digits, U+E007F
 *   selectors   a variation selector that follows no character that has variants: one after another selector, after ASCII (but for
 *               digits, # and *, the keycaps) or at the beginning; all of U+E0100..E01EF but one after a Han character
 *   invisible   U+00AD, U+034F, U+115F, U+1160, U+180E, U+200B..200D, U+2060..2064, U+206A..206F, U+3164, U+FEFF, U+FFA0,
 *               U+FFF9..FFFB when two or more of them stand together: text is hidden so. One alone passes, as emoji (ZWJ) and
 *               scripts (ZWNJ) need it
 *
 * Bytes that are not UTF-8 are none of its matters. A sequence is told when its end is there; a string that goes on for 128 bytes
 * is told open, so that a terminal never gets it. Threads: no state.
 */
#ifndef VS_FILTER_CONTROL_H
#define VS_FILTER_CONTROL_H
#include "filter/detector.h"

extern const struct vs_detector vs_control_detector;
#endif
