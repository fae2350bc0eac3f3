/* prog/worker/imatrix.h - `veritas-worker --imatrix`: what a model's matrices read while it reads a text, as a file.
 *
 *   veritas-worker --imatrix THREADS CTX NAME
 *
 * Descriptors as make.h has them: the input is the text, the others are the model's file, or its parts. It locks itself in before
 * it reads a byte of them. The file has the format of other projects' importance matrices (GGUF); NAME stands in it as the text's.
 */
#ifndef VS_WORKER_IMATRIX_H
#define VS_WORKER_IMATRIX_H

int vs_imatrix_main(int argc, char **argv);
#endif
