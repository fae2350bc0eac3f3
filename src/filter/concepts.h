/* filter/concepts.h - what words that orders to a model need mean, in many languages: "forget", "vergiss" and "olvida" are one
 * concept. For linear.c alone, which learns what it means that they stand together. Constant. */
#ifndef VS_FILTER_CONCEPTS_H
#define VS_FILTER_CONCEPTS_H

enum { VS_CONCEPTS = 42 };

extern const char *const vs_concept_words[VS_CONCEPTS];
#endif
