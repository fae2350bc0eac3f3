/* filter/stream.h - a text that comes in pieces, through a list of detectors: what was found is told, passed, replaced, taken out,
 * or ends the stream.
 *
 *   push --> view --> detectors --> spans, in order of their starts --> pieces: passed or replaced
 *            (the text; of JSON the characters that its escapes mean)
 *
 * What comes out depends on the bytes that went in, not on how they were cut (tests/fuzz/stream.c). A piece is given as soon as it
 * is decided: at most VS_DETECT_HELD bytes lie undecided, longer secrets (open spans) are swallowed from their marker on. Nothing
 * but found characters changes: bytes that are not UTF-8 pass as they are, characters are never cut, at the end all is out.
 *
 * Spans that overlap: the one that begins first wins, of those that begin together the longest, then that of the detector listed
 * first; what lies inside it is not told, what a later one has beyond its end is replaced for itself. A span that passes hides
 * only what passes too and is of its kind. One that blocks always does.
 *
 * JSON (a tool call's arguments, an answer that follows a schema): detectors see characters instead of escapes, and what was valid
 * JSON stays so: in a string the replacement needs no escape, of a bare value (a number) all goes and a string comes. A span that
 * reaches over several values is replaced in each; brackets, commas, colons and quotes stay.
 *
 * Memory: taken once, by _create (about 48 KiB); nothing per push. Threads: one at a time. Time: linear in the text for any cut.
 */
#ifndef VS_FILTER_STREAM_H
#define VS_FILTER_STREAM_H
#include "filter/detector.h"
#include "filter/redact.h"

enum vs_stream_action {
    VS_STREAM_PASS,                      /* told, and the text stays */
    VS_STREAM_REPLACE,                   /* by the style's mark */
    VS_STREAM_REMOVE,                    /* by nothing */
    VS_STREAM_BLOCK,                     /* the stream ends before it */
};

enum { VS_STREAM_DETECTORS = 16 };

struct vs_stream_config {
    const struct vs_detector *const *detectors;   /* they outlive the stream */
    unsigned n_detectors;                /* at most VS_STREAM_DETECTORS */
    enum vs_stream_action action[VS_N_FOUND];
    enum vs_redact_style style;
    uint8_t key[VS_REDACT_KEY];          /* of the style hash */
    bool json;
};

/* Pieces come in order and leave no gap in the input nor in the output. in_start, out_start: bytes since the stream began. A long
 * replacement may come as several pieces, the last of which has all of its input. */
struct vs_piece {
    uint64_t in_start, in_end, out_start, out_end;
    const char *bytes;                   /* out_end - out_start; valid during the call */
    const struct vs_finding *finding;    /* what it was replaced for; NULL: passed as it is. Valid during the call */
};

/* Offsets of a finding are in the input. Findings come when they are decided: those of one layer in order. */
struct vs_stream_sink {
    void *arg;
    void (*piece)(void *arg, const struct vs_piece *piece);
    void (*found)(void *arg, const struct vs_finding *finding, enum vs_stream_action action);  /* before its piece; or NULL */
};

struct vs_stream;

/* NULL: no memory, or too many detectors. */
struct vs_stream *vs_stream_create(const struct vs_stream_config *config, const struct vs_stream_sink *sink);
void vs_stream_free(struct vs_stream *s);

/* The next bytes; `end`: the last. false: the stream is at its end, by `end` or because it was blocked; more bytes are ignored. */
bool vs_stream_push(struct vs_stream *s, const char *bytes, size_t n, bool end);

bool vs_stream_blocked(const struct vs_stream *s);
size_t vs_stream_held_max(const struct vs_stream *s);    /* the most input bytes that were undecided after a push */
#endif
