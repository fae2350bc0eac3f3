/* base/word.h - short words compared, for "did you mean". */
#ifndef VS_BASE_WORD_H
#define VS_BASE_WORD_H

/* How many letters must be put in, left out or changed to make a into b (Levenshtein); 99 for words over 31 bytes. */
unsigned vs_word_distance(const char *a, const char *b);
#endif
