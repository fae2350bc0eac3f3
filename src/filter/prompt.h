/* filter/prompt.h - a system message that comes out again: spans of kind SYSTEM_PROMPT.
 *
 * Told is a run of 48 characters or more that the message has too. Both are compared without case, and any white space between
 * words is one space. The message is kept as two sets of hashes, of all its runs of 4 and of 16 characters: what has every such run
 * in common with it for 48 characters is taken from it. (A text that is pieced together from 16 characters here and there would be
 * told too; by chance, 33 hashes must agree.) So there is no copy of the message, time is linear, and memory bounded: 16 bits a
 * byte twice, at most 1 MiB and 128 KiB.
 *
 * Held is the longest end of the text that may be in the message: 3 characters, or more while its runs are. A run is told open when
 * its 48th character is there (they take at most 240 bytes), and goes on as long as it agrees. A last character of several bytes
 * that no longer agrees goes with it.
 */
#ifndef VS_FILTER_PROMPT_H
#define VS_FILTER_PROMPT_H
#include "base/check.h"
#include "filter/detector.h"

enum { VS_PROMPT_RUN = 48 };

struct vs_prompt;

/* NULL: no memory. A message of fewer than 48 characters is never told. The text is not kept. Threads: read-only after that. */
/* check: asked meanwhile; what it answers does not matter. NULL: nobody is. */
struct vs_prompt *vs_prompt_create(const char *text, size_t n, struct vs_check *check);
void vs_prompt_free(struct vs_prompt *p);
struct vs_detector vs_prompt_detector(const struct vs_prompt *p);
#endif
