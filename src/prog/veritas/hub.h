/* prog/veritas/hub.h - which files of a model hub are meant, and what they must be: read from the hub's own listing.
 *
 * The listing is a JSON array of {"type": "file", "path", "size", "lfs": {"oid": SHA-256, "size"}}. It comes from outside: paths
 * that could lead anywhere else are refused, numbers are checked.
 */
#ifndef VS_VERITAS_HUB_H
#define VS_VERITAS_HUB_H
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VS_HUB_PATH = 400 };

struct vs_part {
    char path[VS_HUB_PATH];              /* in the repository; of a plain URL: the whole URL is elsewhere */
    char sha256[65];                     /* "": not known */
    uint64_t bytes;                      /* 0: not known */
};

/* "OWNER/REPO[/FILE]" after "hf:". VS_E_INVALID when it is no such thing. */
int vs_hub_parse(const char *text, char ret_repo[VS_HUB_PATH], char ret_file[VS_HUB_PATH], struct vs_error *err);

/* The parts of `file` (all of them when it is split), or of the only model in the repository when file is "". *ret_parts is
 * malloced. VS_E_NOT_FOUND names what there is; VS_E_MALFORMED: the listing is none. */
int vs_hub_pick(const char *listing, size_t n, const char *file, struct vs_part **ret_parts, size_t *ret_n, struct vs_error *err);

/* Percent-encodes a path for a URL; slashes stay. False when it does not fit. */
bool vs_url_path(const char *path, char *ret, size_t n);
#endif
