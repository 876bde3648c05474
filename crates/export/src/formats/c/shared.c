//@ head
/* Made by Kindling; {{FILE}}.h says what it is and how it is used. */
#include "{{FILE}}.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum { CHANNELS = {{CHANNELS}}{{MORE_SIZES}} };

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

//@ find
static float score_of(float logit) { return 1.0f / (1.0f + expf(-logit)); }

/* Whether no place around it has a greater logit of the class. */
static int is_peak(const {{NUMBER}} *map, int label, int row, int column)
{
    const float own = real(map[(row * MODEL_MAP_WIDTH + column) * MODEL_MAP_CHANNELS + label]);
    int y, x;
    for (y = row > 0 ? row - 1 : 0; y <= row + 1 && y < MODEL_MAP_HEIGHT; y++) {
        for (x = column > 0 ? column - 1 : 0; x <= column + 1 && x < MODEL_MAP_WIDTH; x++) {
            if (!(own >= real(map[(y * MODEL_MAP_WIDTH + x) * MODEL_MAP_CHANNELS + label]))) return 0;
        }
    }
    return 1;
}

/* A side of a box in shares of the picture: no reach is over e^6 places, and what is beyond the picture is cut off. */
static float side(int place, float direction, float reach, int places)
{
    const float at = ((float)place + 0.5f + direction * expf(reach < 6.0f ? reach : 6.0f)) / (float)places;
    return at < 0.0f ? 0.0f : at > 1.0f ? 1.0f : at;
}

/* The objects of a map, the surest first; of equals the one that comes first in the map of its class. */
static int find(const {{NUMBER}} *map, float at_least, model_object *objects, int most)
{
    int count = 0, label, row, column, at;
    if (most > MODEL_MOST_OBJECTS) most = MODEL_MOST_OBJECTS;
    for (label = 0; label < MODEL_CLASSES; label++) {
        for (row = 0; row < MODEL_MAP_HEIGHT; row++) {
            for (column = 0; column < MODEL_MAP_WIDTH; column++) {
                const {{NUMBER}} *place = map + (row * MODEL_MAP_WIDTH + column) * MODEL_MAP_CHANNELS;
                const {{NUMBER}} *reach = place + MODEL_CLASSES;
                const float score = score_of(real(place[label]));
                if (!(score >= at_least) || !is_peak(map, label, row, column)) continue;
                at = count < most ? count : most;
                while (at > 0 && objects[at - 1].score < score) at--;
                if (at >= most) continue;
                if (count < most) count++;
                memmove(objects + at + 1, objects + at, (size_t)(count - 1 - at) * sizeof *objects);
                objects[at].label = label;
                objects[at].score = score;
                objects[at].left = side(column, -1.0f, real(reach[0]), MODEL_MAP_WIDTH);
                objects[at].top = side(row, -1.0f, real(reach[1]), MODEL_MAP_HEIGHT);
                objects[at].right = side(column, 1.0f, real(reach[2]), MODEL_MAP_WIDTH);
                objects[at].bottom = side(row, 1.0f, real(reach[3]), MODEL_MAP_HEIGHT);
            }
        }
    }
    return count;
}
