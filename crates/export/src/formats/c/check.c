/* Answers pictures from the standard input: for each, width and height as 32-bit words, then its RGB bytes. Writes floats. */
#include <stdio.h>
#include <stdlib.h>
#ifdef INT8
#include "model_int8.h"
#define PREDICT model_int8_predict
#define CLASSES MODEL_INT8_CLASSES
#else
#include "model.h"
#define PREDICT model_predict
#define CLASSES MODEL_CLASSES
#endif

int main(void)
{
    static float probabilities[CLASSES];
    uint32_t size[2];
    while (fread(size, sizeof size, 1, stdin) == 1) {
        const size_t bytes = (size_t)size[0] * size[1] * 3;
        uint8_t *rgb = malloc(bytes);
        if (!rgb || fread(rgb, 1, bytes, stdin) != bytes) return 1;
        PREDICT(rgb, (int)size[0], (int)size[1], probabilities);
        if (fwrite(probabilities, sizeof probabilities, 1, stdout) != 1) return 1;
        free(rgb);
    }
    return 0;
}
