//@ head
/* Made by Kindling; {{FILE}}.h says what it is and how it is used. */
#include "{{FILE}}.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum { CHANNELS = {{CHANNELS}} };

const char *const model_labels[MODEL_CLASSES] = {
{{LABELS}}};

//@ unroll
/* Asks for a short loop to be written out, so that its sums stay in registers. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8
#define UNROLLED _Pragma("GCC unroll 8")
#else
#define UNROLLED
#endif

//@ geometry
/* Sizes of a layer whose window moves over its input. Values lie as [height][width][channels]. */
typedef struct {
    int channels, height, width;
    int outs, out_height, out_width;
    int rows, columns; /* of the window */
    int down, right;   /* its steps */
    int top, left;     /* padding */
    int group;         /* independent groups of channels */
} geometry;

//@ clip
/* The part of a window that lies inside the input along one axis. */
typedef struct {
    int from;  /* first sample of the input that it covers */
    int skip;  /* taps before that, in the padding */
    int count; /* taps inside */
} part;

static part clip(int out, int step, int pad, int taps, int length)
{
    const int start = out * step - pad;
    part p;
    p.skip = start < 0 ? -start : 0;
    p.from = start + p.skip;
    p.count = (length - start < taps ? length - start : taps) - p.skip;
    /* Padding alone. */
    if (p.count <= 0) p.skip = p.from = p.count = 0;
    return p;
}

//@ avx2
/* The same for processors of the x86 family that have AVX2, which is asked when the program runs; KINDLING_PORTABLE leaves
   it out. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(KINDLING_PORTABLE)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define INLINED AVX2 __attribute__((always_inline)) static inline
/* The faster of a kernel's two forms. */
#define FASTEST(kernel) (*(fast ? kernel##_avx2 : kernel))
#define ASK_PROCESSOR const int fast = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
/* Numbers that may be read, not used, after weights. */
enum { BEYOND = 15 };

//@ avx2_end
#else
#define FASTEST(kernel) kernel
#define ASK_PROCESSOR
enum { BEYOND = 0 };
#endif

//@ resize
/* Samples along one axis that make one sample of the resized picture: a triangle filter, as wide as the scale when
   shrinking and two samples when growing. Weights are whole numbers, so that no rounding ever shows. */
typedef struct {
    int first, end;
    int32_t centre, half, step;
    uint32_t sum;
} taps;

static uint32_t weight_of(const taps *t, int i)
{
    const int32_t away = t->step * i - t->centre;
    return (uint32_t)(t->half - (away < 0 ? -away : away));
}

static taps taps_of(int from, int to, int at)
{
    taps t;
    int i;
    t.step = 2 * (int32_t)to;
    t.half = 2 * (int32_t)(from > to ? from : to);
    t.centre = (2 * (int32_t)at + 1) * from - to;
    t.first = t.centre < t.half ? 0 : (int)((t.centre - t.half) / t.step) + 1;
    t.end = (int)((t.centre + t.half + t.step - 1) / t.step);
    if (t.end > from) t.end = from;
    t.sum = 0;
    for (i = t.first; i < t.end; i++) t.sum += weight_of(&t, i);
    return t;
}

/* Sums of one resized pixel; its levels are these over the product of both sums of weights. */
static void resized(const uint8_t *rgb, int width, const taps *down, const taps *across, uint64_t *sums)
{
    int x, y, c;
    for (c = 0; c < CHANNELS; c++) sums[c] = 0;
    for (y = down->first; y < down->end; y++) {
        const uint8_t *pixel = rgb + ((size_t)y * (size_t)width + (size_t)across->first) * CHANNELS;
        const uint32_t of_row = weight_of(down, y);
        uint64_t row[CHANNELS] = {0};
        for (x = across->first; x < across->end; x++, pixel += CHANNELS) {
            const uint32_t weight = weight_of(across, x);
            for (c = 0; c < CHANNELS; c++) row[c] += weight * pixel[c];
        }
        for (c = 0; c < CHANNELS; c++) sums[c] += of_row * row[c];
    }
}

//@ softmax
/* Logits to probabilities, in place. */
static void softmax(float *values, int count)
{
    float greatest = values[0], sum = 0.0f;
    int i;
    for (i = 1; i < count; i++) greatest = values[i] > greatest ? values[i] : greatest;
    for (i = 0; i < count; i++) {
        values[i] = expf(values[i] - greatest);
        sum += values[i];
    }
    for (i = 0; i < count; i++) values[i] /= sum;
}
