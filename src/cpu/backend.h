/* cpu/backend.h - the CPU as a backend (backend/backend.h): lowers a graph to a flat program, holds packed weights and KV pages,
 * runs steps on threads of its own. Its levels are instruction sets (enum vs_isa of cpu/ops.h). */
#ifndef VS_CPU_BACKEND_H
#define VS_CPU_BACKEND_H
#include "backend/backend.h"

extern const struct vs_backend_kind vs_backend_cpu;
#endif
