/* prog/worker/quantize.h - `veritas-worker --quantize`: a model's file in other types, from one descriptor to another.
 *
 *   veritas-worker --quantize MIX THREADS PARTS [PATTERN=TYPE...]
 *
 * Descriptors as make.h has them: the input is the old file, or the first of its PARTS; the others are the further parts, and an
 * importance matrix, if it is there. What is made is one file. It locks itself in before it reads a byte of either, as a worker
 * does; the parent stores what comes.
 * The bytes depend on the files and the words alone, not on the number of threads.
 */
#ifndef VS_WORKER_QUANTIZE_H
#define VS_WORKER_QUANTIZE_H

int vs_quantize_main(int argc, char **argv);
#endif
