/* prog/veritas/weak.c - commands whose file is not there yet. */
#include "prog/veritas/command.h"
#include "prog/veritas/term.h"
#define ABSENT(name) __attribute__((weak)) int vs_command_##name(const struct vs_args *args) { (void)args; vs_say("`veritas " #name "` is not built"); return 1; }
ABSENT(doctor)
