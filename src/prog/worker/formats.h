/* prog/worker/formats.h - `veritas inspect --formats`: what this build can run, from the tables that the code uses. */
#ifndef VS_WORKER_FORMATS_H
#define VS_WORKER_FORMATS_H

/* The worker started as `veritas-worker --formats [--json]`: it looks at no file, prints and ends. Returns its exit status. */
int vs_formats(int argc, char *const *argv);
#endif
