/* Times model.c, or with -DINT8 model_int8.c: the median of repeated answers for one picture, in ms. */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef INT8
#include "model_int8.h"
#define RUN model_int8_run
#define SIZE (MODEL_INT8_HEIGHT * MODEL_INT8_WIDTH * 3)
#define CLASSES MODEL_INT8_CLASSES
#else
#include "model.h"
#define RUN model_run
#define SIZE (MODEL_HEIGHT * MODEL_WIDTH * 3)
#define CLASSES MODEL_CLASSES
#endif
#define MOST 100000

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int count, char **words) {
    static uint8_t picture[SIZE];
    static double times[MOST];
    float answer[CLASSES];
    double end = now() + (count > 1 ? atof(words[1]) : 0.3) * 1e3;
    int runs = 0, i;
    for (i = 0; i < SIZE; i++) picture[i] = (uint8_t)((i * 7919u) >> 3);
    for (i = 0; i < 3; i++) RUN(picture, answer);
    while (runs < MOST && (runs < 5 || now() < end)) {
        double start = now();
        picture[0] = (uint8_t)runs;
        RUN(picture, answer);
        times[runs++] = now() - start;
    }
    qsort(times, (size_t)runs, sizeof times[0], order);
    printf("%.6f %d %g\n", times[runs / 2], runs, (double)answer[0]);
    return 0;
}
