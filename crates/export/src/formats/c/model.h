/*
 * {{TITLE}}
 * Made by Kindling for the task {{TASK}}.
 *
 * Classes, {{ORDER}}:
{{CLASSES}} *
 * Constants (weights, biases{{MORE_CONSTANTS}}): {{CONSTANT_BYTES}} bytes, read-only.
 * Working memory: {{ARENA_BYTES}} bytes, one static array{{MORE_MEMORY}}; no heap. So one thread at a time.
 *
 * C99, no dependency but the C library{{LIBM}}. Compile:
 *
 *     cc -std=c99 -O2 -c {{FILE}}.c
 *
 * Where a processor of the x86 family has AVX2, which the program finds out itself, other kernels run; they take at most 32 kB
 * of the stack. -DKINDLING_PORTABLE leaves them out. Use, also from C++:
 *
 *     #include "{{FILE}}.h"
 *
{{USE}} */
#ifndef KINDLING_MODEL_H
#define KINDLING_MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Size of a picture as the network sees it. */
#define MODEL_HEIGHT {{HEIGHT}}
#define MODEL_WIDTH {{WIDTH}}
#define MODEL_CLASSES {{COUNT}}
{{MACROS}}/* Size of the static working memory. */
#define MODEL_ARENA_BYTES {{ARENA_BYTES}}

/* Names of the classes in UTF-8. */
extern const char *const model_labels[MODEL_CLASSES];

{{FUNCTIONS}}
#ifdef __cplusplus
}
#endif

#endif
