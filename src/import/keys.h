/* import/keys.h - every key that a file may have under its architecture's name, and what we do with it.
 *
 * A key that we don't know may change the arithmetic, and a model computed without it answers wrong: so unknown ones are refused by
 * name, and known ones are read by this room, known to change nothing, or refused unless they say what is so without them.
 */
#ifndef VS_IMPORT_KEYS_H
#define VS_IMPORT_KEYS_H
#include "base/status.h"
#include "import/gguf.h"

/* Refuses what is no model by itself: an adapter, an imatrix, what sees images; often of no known architecture. */
int vs_keys_check_type(const struct vs_gguf *g, struct vs_error *err);

/* VS_OK, or VS_E_UNSUPPORTED / VS_E_MALFORMED with a text that names the first key that stands in the way. */
int vs_keys_check(const struct vs_gguf *g, const char *architecture, struct vs_error *err);
#endif
