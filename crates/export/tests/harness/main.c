/*
 * Runs a generated model on pictures from the standard input: for each, width and height as little-endian
 * 32-bit words, then its RGB bytes. Writes for each the probabilities (floats), and with -DINT8 before them the
 * logits (words) where the picture has the network's size. All little-endian, as the machine is.
 *
 *     cc -std=c99 -O2 main.c model.c -lm          (or -DINT8 main.c model_int8.c)
 *
 * With -DBOXES, of a network that finds objects: where the picture has the network's size the map, floats or words; then how
 * many objects have a score of 0.05 or more (a word), and each as label, score, left, top, right, bottom (floats).
 *
 * With -DTIMES=n it writes instead, as text, the least nanoseconds that one of n runs of model_run took.
 */
#ifdef TIMES
#define _POSIX_C_SOURCE 199309L
#include <time.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#ifdef INT8
#include "model_int8.h"
#define RUN model_int8_run
#define PREDICT model_int8_predict
#define DETECT model_int8_detect
#define OBJECT model_int8_object
#define LABELS model_int8_labels
#define CLASSES MODEL_INT8_CLASSES
#define MOST MODEL_INT8_MOST_OBJECTS
#define NUMBERS (MODEL_INT8_MAP_HEIGHT * MODEL_INT8_MAP_WIDTH * MODEL_INT8_MAP_CHANNELS)
#define WIDTH MODEL_INT8_WIDTH
#define HEIGHT MODEL_INT8_HEIGHT
#else
#include "model.h"
#define RUN model_run
#define PREDICT model_predict
#define DETECT model_detect
#define OBJECT model_object
#define LABELS model_labels
#define CLASSES MODEL_CLASSES
#define MOST MODEL_MOST_OBJECTS
#define NUMBERS (MODEL_MAP_HEIGHT * MODEL_MAP_WIDTH * MODEL_MAP_CHANNELS)
#define WIDTH MODEL_WIDTH
#define HEIGHT MODEL_HEIGHT
#endif
#ifndef BOXES
#undef NUMBERS
#define NUMBERS CLASSES
#endif

static int failed(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return 1;
}

static int written(const void *from, size_t bytes)
{
    return bytes == 0 || fwrite(from, bytes, 1, stdout) == 1;
}

#ifdef BOXES
static int answer(const uint8_t *rgb, int width, int height)
{
    static OBJECT found[MOST], first[2];
    int32_t few, count, i;
    if (width == WIDTH && height == HEIGHT) {
#ifdef INT8
        static int32_t map[NUMBERS];
        model_int8_logits(rgb, map);
#else
        static float map[NUMBERS];
        RUN(rgb, map);
#endif
        if (!written(map, sizeof map)) return 0;
    }
    /* Where there is room for fewer, they are the first of all. */
    few = DETECT(rgb, width, height, 0.05f, first, 2);
    count = DETECT(rgb, width, height, 0.05f, found, MOST);
    if (few != (count < 2 ? count : 2)) return 0;
    for (i = 0; i < few; i++) {
        if (first[i].score != found[i].score || first[i].left != found[i].left) return 0;
    }
    if (!written(&count, sizeof count)) return 0;
    for (i = 0; i < count; i++) {
        const OBJECT *o = found + i;
        float numbers[6];
        numbers[0] = (float)o->label;
        numbers[1] = o->score;
        numbers[2] = o->left;
        numbers[3] = o->top;
        numbers[4] = o->right;
        numbers[5] = o->bottom;
        if (!written(numbers, sizeof numbers)) return 0;
    }
    return 1;
}
#else
static int answer(const uint8_t *rgb, int width, int height)
{
    static float probabilities[CLASSES];
#ifdef INT8
    if (width == WIDTH && height == HEIGHT) {
        static int32_t logits[CLASSES];
        model_int8_logits(rgb, logits);
        if (!written(logits, sizeof logits)) return 0;
    }
#endif
    PREDICT(rgb, width, height, probabilities);
    return written(probabilities, sizeof probabilities);
}
#endif

int main(int count, char **words)
{
    uint32_t size[2];
    int i;
    /* With any argument: the labels, each ended by a zero byte. */
    if (count > 1 && words[1]) {
        for (i = 0; i < CLASSES; i++) {
            fputs(LABELS[i], stdout);
            putchar(0);
        }
        return 0;
    }
    while (fread(size, sizeof size, 1, stdin) == 1) {
        const size_t bytes = (size_t)size[0] * size[1] * 3;
        uint8_t *rgb = malloc(bytes);
        if (!rgb || fread(rgb, 1, bytes, stdin) != bytes) return failed("the picture is cut short");
#ifdef TIMES
        {
            static float numbers[NUMBERS];
            double least = 1e18;
            for (i = 0; i < TIMES; i++) {
                struct timespec from, to;
                clock_gettime(CLOCK_MONOTONIC, &from);
                RUN(rgb, numbers);
                clock_gettime(CLOCK_MONOTONIC, &to);
                {
                    const double took = 1e9 * (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec);
                    if (took < least) least = took;
                }
            }
            printf("%.0f\n", least);
        }
        (void)answer;
#else
        if (!answer(rgb, (int)size[0], (int)size[1])) return failed("nothing can be written, or fewer objects are others");
#endif
        free(rgb);
    }
    (void)RUN;
    return 0;
}
