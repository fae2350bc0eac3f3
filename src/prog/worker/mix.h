/* prog/worker/mix.h - which type each tensor of a model gets when it is quantised: "Q4_K_M" and its like.
 *
 * A mix has a type for most matrices, one for the output (and for an embedding that is the output too), and rules for those that
 * cost most quality. Norms, biases, routers, convolutions and whatever is no matrix stay as they are.
 */
#ifndef VS_WORKER_MIX_H
#define VS_WORKER_MIX_H
#include "base/entry.h"
#include "tensor/dtype.h"

struct vs_gguf;
struct vs_gguf_tensor;
struct vs_mix;

/* NULL when there is none of that name. */
const struct vs_mix *vs_mix_find(const char *name);
const char *vs_mix_name(size_t i);                       /* NULL behind the last */
uint32_t vs_mix_file_type(const struct vs_mix *mix);     /* general.file_type */

/* The type of one tensor; its own when it stays as it is. overrides[n]: "PATTERN=TYPE", * in a pattern stands for any text, the
 * first that fits counts. Each was checked by vs_mix_check_override. */
const struct vs_dtype_info *vs_mix_type(const struct vs_mix *mix, const struct vs_gguf *g, const struct vs_gguf_tensor *t,
                                        char *const *overrides, int n);
/* VS_E_INVALID says what is wrong with it. */
int vs_mix_check_override(const char *override, struct vs_error *err);
/* VS_E_INVALID: its pattern fits no matrix of the file. */
int vs_mix_check_fits(const char *override, const struct vs_gguf *g, struct vs_error *err);
#endif
