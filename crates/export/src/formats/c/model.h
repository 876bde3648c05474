/*
 * {{TITLE}}
 * Made by Kindling for the task {{TASK}}.
 *
 * Classes, in the order of the probabilities:
{{CLASSES}} *
 * Constants (weights, biases{{MORE_CONSTANTS}}): {{CONSTANT_BYTES}} bytes, read-only.
 * Working memory: {{ARENA_BYTES}} bytes, one static array; no heap. So one thread at a time.
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
 *     float probabilities[MODEL_CLASSES];
 *     int best = 0;
 *     model_predict(pixels, width, height, probabilities);
 *     for (int i = 1; i < MODEL_CLASSES; i++)
 *         if (probabilities[i] > probabilities[best]) best = i;
 *     printf("%s %.1f%%\n", model_labels[best], 100 * probabilities[best]);
 */
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
/* An answer whose greatest probability is below this is likely for a picture of none of the classes. */
#define MODEL_UNKNOWN_BELOW {{UNKNOWN_BELOW}}
/* Size of the static working memory. */
#define MODEL_ARENA_BYTES {{ARENA_BYTES}}

/* Names of the classes in UTF-8. */
extern const char *const model_labels[MODEL_CLASSES];

/* The probability of each class for a picture of MODEL_WIDTH x MODEL_HEIGHT pixels:
   rows from the top, each pixel {{PIXEL}}, 0 to 255. */
void model_run(const uint8_t *rgb, float *probabilities);

/* The same for a picture of any size from 1 x 1 up to 65535 a side and 134 million pixels: it is resized as the
   pictures were that the network learned from, straight into the working memory. */
void model_predict(const uint8_t *rgb, int width, int height, float *probabilities);
{{LOGITS}}
#ifdef __cplusplus
}
#endif

#endif
