/* prog/worker/quantize.h - `veritas-worker --quantize`: a model's file in other types, from one descriptor to another.
 *
 *   veritas-worker --quantize MIX THREADS [PATTERN=TYPE...]
 *
 * Descriptors: 3 a pipe for the new file (eight bytes of its length, then the file), 4 the old file, 5 last words, 6 an importance
 * matrix or nothing. It locks itself in before it reads a byte of either file, as a worker does; the parent stores what comes.
 * The bytes depend on the files and the words alone, not on the number of threads.
 */
#ifndef VS_WORKER_QUANTIZE_H
#define VS_WORKER_QUANTIZE_H

int vs_quantize_main(int argc, char **argv);
#endif
