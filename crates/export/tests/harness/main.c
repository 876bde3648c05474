/*
 * Runs a generated model on pictures from the standard input: for each, width and height as little-endian
 * 32-bit words, then its RGB bytes. Writes for each the probabilities (floats), and with -DINT8 before them the
 * logits (words) where the picture has the network's size. All little-endian, as the machine is.
 *
 *     cc -std=c99 -O2 main.c model.c -lm          (or -DINT8 main.c model_int8.c)
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
#define LABELS model_int8_labels
#define CLASSES MODEL_INT8_CLASSES
#define WIDTH MODEL_INT8_WIDTH
#define HEIGHT MODEL_INT8_HEIGHT
#else
#include "model.h"
#define RUN model_run
#define PREDICT model_predict
#define LABELS model_labels
#define CLASSES MODEL_CLASSES
#define WIDTH MODEL_WIDTH
#define HEIGHT MODEL_HEIGHT
#endif

static int failed(const char *what)
{
    fprintf(stderr, "%s\n", what);
    return 1;
}

int main(int count, char **words)
{
    static float probabilities[CLASSES];
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
            double least = 1e18;
            for (i = 0; i < TIMES; i++) {
                struct timespec from, to;
                clock_gettime(CLOCK_MONOTONIC, &from);
                RUN(rgb, probabilities);
                clock_gettime(CLOCK_MONOTONIC, &to);
                {
                    const double took = 1e9 * (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec);
                    if (took < least) least = took;
                }
            }
            printf("%.0f\n", least);
        }
#else
#ifdef INT8
        if (size[0] == WIDTH && size[1] == HEIGHT) {
            static int32_t logits[CLASSES];
            model_int8_logits(rgb, logits);
            if (fwrite(logits, sizeof logits, 1, stdout) != 1) return failed("nothing can be written");
        }
#endif
        PREDICT(rgb, (int)size[0], (int)size[1], probabilities);
        if (fwrite(probabilities, sizeof probabilities, 1, stdout) != 1) return failed("nothing can be written");
#endif
        free(rgb);
    }
    (void)RUN;
    return 0;
}
