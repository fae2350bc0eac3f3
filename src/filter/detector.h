/* filter/detector.h - what finds spans (personal data, secrets, URLs, ...) in a text, whole or while it still comes.
 *
 * The same detectors serve texts that are whole and streams; filter/stream.h drives them. So that an answer's text depends on its
 * bytes alone, and not on how they were cut, a detector keeps two rules:
 *
 *   decided   A span is told as soon as no bytes that may follow could change it, and not before. What is told never changes.
 *   held      The answer is where the first byte lies that may still become part of a span: the text before it is free to go.
 *             It is never more than VS_DETECT_HELD bytes before the end, but for spans that are told open.
 *
 * Both depend on the text alone and on at most VS_DETECT_CONTEXT bytes before a span ("SSN:" before digits). The simple way to keep
 * both: what begins at p is a function of text[p - VS_DETECT_CONTEXT, p + VS_DETECT_HELD); who reads at n while more may follow is
 * undecided, and the first such p is held. So a span that is not open has at most VS_DETECT_HELD bytes.
 * An open span is one whose end is not there yet, and whose beginning says that all of it goes (a PEM block, a JWT): the stream
 * gives nothing of it out, asks `closed` for its end with every further byte, and goes on behind it. Until then the detector is not
 * asked.
 *
 * Memory: none that lasts beyond a call, and none per byte. Threads: a detector's state is only read. Time: linear in the text.
 */
#ifndef VS_FILTER_DETECTOR_H
#define VS_FILTER_DETECTOR_H
#include "filter/finding.h"

enum {
    VS_DETECT_HELD = 256,                /* bytes at the end of a text that may be undecided */
    VS_DETECT_CONTEXT = 256,             /* bytes before a span that may decide about it */
};

struct vs_span {
    enum vs_finding_kind kind;
    enum vs_pii type;                    /* of PII and SECRET */
    const char *rule;                    /* static, or the detector's */
    size_t start, end;                   /* bytes of the text that was given to `find` */
    unsigned score;                      /* 0 to 1000 */
    bool open;                           /* the end is not known yet; `end` is that of its marker: `closed` looks from there */
};

typedef void vs_span_fn(void *arg, const struct vs_span *span);

struct vs_detector {
    const char *name;
    const void *state;                   /* what it knows: types that are asked for, protected values, ...; read only */
    /* Tells the spans of text[0, n) that begin at `from` or later, in order of their starts, once each over all calls. text[0,
     * from) is what was decided before: at least the last VS_DETECT_CONTEXT bytes of it, or all. `whole`: nothing follows, so that
     * all is decided. Returns what is held: from..n. */
    size_t (*find)(const struct vs_detector *d, const char *text, size_t n, size_t from, bool whole, vs_span_fn *told, void *arg);
    /* Of an open span of this detector: where it ends in text[at, n], or SIZE_MAX while it goes on. text[0, at): what was looked at
     * in earlier calls, or the marker; at least its last VS_DETECT_CONTEXT bytes. NULL when it tells none that is open. */
    size_t (*closed)(const struct vs_detector *d, const char *rule, const char *text, size_t n, size_t at);
};
#endif
