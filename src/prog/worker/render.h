/* prog/worker/render.h - `veritas-worker --render`: chat templates and what they are given, a JSON line each; no model.
 *
 *   veritas-worker --render NOW RUNS
 *
 * Descriptors: 3 where the answers go, 4 the lines, 5 last words. It locks itself in before it reads a byte.
 * A line is {"template", "context"}, and "now" where it is not NOW (seconds since 1970); its answer {"text"}, with RUNS 1
 * also "runs": [[bytes, made by the template], ...], or {"error", "code", "message"}. Answers come in order, each as soon as known.
 */
#ifndef VS_WORKER_RENDER_H
#define VS_WORKER_RENDER_H
#include "template/template.h"

int vs_render_main(int argc, char **argv);
/* [[bytes, made by the template], ...]; NULL: no memory. */
json_t *vs_render_runs(const struct vs_marked_text *text);
#endif
