/* Answers pictures from the standard input: for each, width and height as 32-bit words, then its RGB bytes. Writes floats: how
   many follow, then the probabilities, or with -DBOXES the class, score, left, top, right and bottom of each object. */
#include <stdio.h>
#include <stdlib.h>
#ifdef INT8
#include "model_int8.h"
#define PREDICT model_int8_predict
#define DETECT model_int8_detect
#define CLASSES MODEL_INT8_CLASSES
#define OBJECT model_int8_object
#define MOST MODEL_INT8_MOST_OBJECTS
#else
#include "model.h"
#define PREDICT model_predict
#define DETECT model_detect
#define CLASSES MODEL_CLASSES
#define OBJECT model_object
#define MOST MODEL_MOST_OBJECTS
#endif

#ifdef BOXES
static int answer(const uint8_t *rgb, int width, int height)
{
    static OBJECT found[MOST];
    const int count = DETECT(rgb, width, height, LEAST_SCORE, found, MOST);
    float numbers[6];
    int i;
    numbers[0] = (float)(6 * count);
    if (fwrite(numbers, sizeof *numbers, 1, stdout) != 1) return 0;
    for (i = 0; i < count; i++) {
        numbers[0] = (float)found[i].label;
        numbers[1] = found[i].score;
        numbers[2] = found[i].left;
        numbers[3] = found[i].top;
        numbers[4] = found[i].right;
        numbers[5] = found[i].bottom;
        if (fwrite(numbers, sizeof numbers, 1, stdout) != 1) return 0;
    }
    return 1;
}
#else
static int answer(const uint8_t *rgb, int width, int height)
{
    static float numbers[1 + CLASSES];
    numbers[0] = CLASSES;
    PREDICT(rgb, width, height, numbers + 1);
    return fwrite(numbers, sizeof numbers, 1, stdout) == 1;
}
#endif

int main(void)
{
    uint32_t size[2];
    while (fread(size, sizeof size, 1, stdin) == 1) {
        const size_t bytes = (size_t)size[0] * size[1] * 3;
        uint8_t *rgb = malloc(bytes);
        if (!rgb || fread(rgb, 1, bytes, stdin) != bytes) return 1;
        if (!answer(rgb, (int)size[0], (int)size[1])) return 1;
        free(rgb);
    }
    return 0;
}
