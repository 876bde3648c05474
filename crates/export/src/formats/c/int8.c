//@ scaled
/* sum * value / 2^shift, rounded to the nearest, halves up. C leaves it to the compiler what a right shift does to
   negative numbers; where it is not the usual, the complement is shifted. */
static int64_t scaled(int32_t sum, int32_t value, int shift)
{
    const int64_t wide = (int64_t)sum * value + ((int64_t)1 << (shift - 1));
#if (-1 >> 1) == -1
    return wide >> shift;
#else
    return wide < 0 ? ~(~wide >> shift) : wide >> shift;
#endif
}

//@ limited
/* A code from a scaled sum: both ends are those of the code less its zero point. */
static int8_t limited(int64_t value, int low, int high, int zero)
{
    return (int8_t)((value < low ? low : value > high ? high : (int)value) + zero);
}

//@ conv_layer
typedef struct {
    const int8_t *weight;
    const int32_t *bias;   /* with the input's zero point folded in, for whole windows */
    const int32_t *bare;   /* without it, for windows partly in the padding, whose codes are the zero point */
    const int32_t *value;  /* of each channel's factor, value / 2^shift */
    const uint8_t *shift;
    int from_zero;         /* code of 0 in the input */
    int low, high, zero;   /* limits less the code of 0 in the output, and that code */
    geometry g;
} conv_layer;

//@ wide
/* Where a processor of the x86 family adds products of 16 bits in pairs, it does so for 8 inputs at a time. */
#if defined(__SSE2__)
#include <emmintrin.h>

/* Eight codes as 16 bits each. */
static __m128i eight(const int8_t *codes)
{
    const __m128i read = _mm_loadl_epi64((const __m128i *)codes);
    return _mm_srai_epi16(_mm_unpacklo_epi8(read, read), 8);
}

static int32_t total(__m128i sums)
{
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0x4e));
    sums = _mm_add_epi32(sums, _mm_shuffle_epi32(sums, 0xb1));
    return _mm_cvtsi128_si32(sums);
}
#endif

//@ conv_tile_{{B}}x{{P}}{{KIND}}
/* {{P}} pixels of {{B}} channels{{ABOUT}}. */
static void conv_tile_{{B}}x{{P}}{{KIND}}(const conv_layer *l, const int8_t *x, const int8_t *w, int o, int rows, int columns,
                          int8_t *y)
{
    const int inputs = l->g.channels / l->g.group, step = l->g.right * l->g.channels;
    const int taps = l->g.rows * l->g.columns * inputs;
    /* Taps of a row lie side by side where there is one group. */
    const int runs = l->g.group == 1 ? 1 : columns, run = l->g.group == 1 ? columns * inputs : inputs;
{{PREPARE}}    int32_t sums[{{P}}][{{B}}];
#if defined(__SSE2__)
    __m128i wide[{{P}}][{{B}}];
#endif
    int row, r, i, p, j;
    UNROLLED
    for (p = 0; p < {{P}}; p++) {
        UNROLLED
        for (j = 0; j < {{B}}; j++) sums[p][j] = l->{{BIAS}}[o + j];
    }
#if defined(__SSE2__)
    UNROLLED
    for (p = 0; p < {{P}}; p++) {
        UNROLLED
        for (j = 0; j < {{B}}; j++) wide[p][j] = _mm_setzero_si128();
    }
#endif
    for (row = 0; row < rows; row++) {
        const int8_t *a = x + row * l->g.width * l->g.channels;
        const int8_t *b = w + row * l->g.columns * inputs;
        for (r = 0; r < runs; r++, a += l->g.channels, b += run) {
            i = 0;
#if defined(__SSE2__)
            for (; i + 8 <= run; i += 8) {
                __m128i weights[{{B}}];
                UNROLLED
                for (j = 0; j < {{B}}; j++) weights[j] = eight(b + j * taps + i);
                UNROLLED
                for (p = 0; p < {{P}}; p++) {
                    const __m128i values = {{EIGHT}};
                    UNROLLED
                    for (j = 0; j < {{B}}; j++) {
                        wide[p][j] = _mm_add_epi32(wide[p][j], _mm_madd_epi16(weights[j], values));
                    }
                }
            }
#endif
            for (; i < run; i++) {
                UNROLLED
                for (p = 0; p < {{P}}; p++) {
                    UNROLLED
                    for (j = 0; j < {{B}}; j++) sums[p][j] += b[j * taps + i] * {{CODE}};
                }
            }
        }
    }
#if defined(__SSE2__)
    UNROLLED
    for (p = 0; p < {{P}}; p++) {
        UNROLLED
        for (j = 0; j < {{B}}; j++) sums[p][j] += total(wide[p][j]);
    }
#endif
    UNROLLED
    for (p = 0; p < {{P}}; p++) {
        UNROLLED
        for (j = 0; j < {{B}}; j++) {
            const int64_t value = scaled(sums[p][j], l->value[o + j], l->shift[o + j]);
            y[p * l->g.outs + j] = limited(value, l->low, l->high, l->zero);
        }
    }
}

//@ conv_span_{{B}}
/* {{B}} channels, from `o` on, of the pixels `start` to before `end` of a row. */
static void conv_span_{{B}}(const conv_layer *l, const int8_t *x, const int8_t *w, int o, int rows, int start, int end,
                        int8_t *y)
{
    const int inputs = l->g.channels / l->g.group;
    for (; start < end; start++) {
        const part across = clip(start, l->g.right, l->g.left, l->g.columns, l->g.width);
        const int8_t *a = x + across.from * l->g.channels, *b = w + across.skip * inputs;
        int8_t *made = y + start * l->g.outs;
{{WHOLE}}    }
}

//@ conv_whole_padded_{{B}}
        if (rows < l->g.rows || across.count < l->g.columns) {
            conv_tile_{{B}}x1_clipped(l, a, b, o, rows, across.count, made);
            continue;
        }
//@ conv_whole_{{B}}
        if (start + 2 <= end && across.from + l->g.right + l->g.columns <= l->g.width) {
            conv_tile_{{B}}x2(l, a, b, o, rows, across.count, made);
            start++;
        } else {
            conv_tile_{{B}}x1(l, a, b, o, rows, across.count, made);
        }
//@ conv
/* A convolution; weights lie as [outs][rows][columns][inputs]. Some pixels at a time, so that they stay near while all
   channels read them. */
static void conv(const conv_layer *l, const int8_t *x, int8_t *y)
{
    enum { NEAR = 32 };
    const int inputs = l->g.channels / l->g.group, outs = l->g.outs / l->g.group;
    const int taps = l->g.rows * l->g.columns * inputs;
    int row, start, g, o;
    for (row = 0; row < l->g.out_height; row++, y += l->g.out_width * l->g.outs) {
        const part down = clip(row, l->g.down, l->g.top, l->g.rows, l->g.height);
        const int8_t *from = x + down.from * l->g.width * l->g.channels;
        for (start = 0; start < l->g.out_width; start += NEAR) {
            const int end = start + NEAR < l->g.out_width ? start + NEAR : l->g.out_width;
            for (g = 0; g < l->g.group; g++) {
                const int8_t *a = from + g * inputs;
                const int8_t *w = l->weight + g * outs * taps + down.skip * l->g.columns * inputs;
                const int last = (g + 1) * outs;
                o = g * outs;
{{SPANS}}            }
        }
    }
}

//@ conv_call_{{B}}
                for (; last - o >= {{B}}; o += {{B}}, w += {{B}} * taps)
                    conv_span_{{B}}(l, a, w, o, down.count, start, end, y + o);
//@ depthwise_tile_{{B}}{{KIND}}
/* {{B}} channels of a pixel{{ABOUT}}. */
static void depthwise_tile_{{B}}{{KIND}}(const conv_layer *l, const int8_t *x, const int8_t *w, int o, int rows, int columns,
                             int8_t *y)
{
    const int channels = l->g.channels;
{{PREPARE}}    int32_t sums[{{B}}];
    int row, column, j;
    UNROLLED
    for (j = 0; j < {{B}}; j++) sums[j] = l->{{BIAS}}[o + j];
    for (row = 0; row < rows; row++) {
        const int8_t *a = x + row * l->g.width * channels, *b = w + row * l->g.columns * channels;
        for (column = 0; column < columns; column++, a += channels, b += channels) {
            UNROLLED
            for (j = 0; j < {{B}}; j++) sums[j] += b[j] * {{CODE}};
        }
    }
    UNROLLED
    for (j = 0; j < {{B}}; j++) {
        const int64_t value = scaled(sums[j], l->value[o + j], l->shift[o + j]);
        y[j] = limited(value, l->low, l->high, l->zero);
    }
}

//@ depthwise_span_{{B}}
/* {{B}} channels, from `o` on, of a row. */
static void depthwise_span_{{B}}(const conv_layer *l, const int8_t *x, const int8_t *w, int o, int rows, int8_t *y)
{
    int column;
    for (column = 0; column < l->g.out_width; column++, y += l->g.channels) {
        const part across = clip(column, l->g.right, l->g.left, l->g.columns, l->g.width);
        const int8_t *a = x + across.from * l->g.channels, *b = w + across.skip * l->g.channels;
{{WHOLE}}    }
}

//@ depthwise_whole_padded_{{B}}
        if (rows < l->g.rows || across.count < l->g.columns) {
            depthwise_tile_{{B}}_clipped(l, a, b, o, rows, across.count, y);
            continue;
        }
//@ depthwise_whole_{{B}}
        depthwise_tile_{{B}}(l, a, b, o, rows, across.count, y);
//@ depthwise
/* A convolution of each channel by itself; weights lie as [rows][columns][channels]. */
static void depthwise(const conv_layer *l, const int8_t *x, int8_t *y)
{
    const int channels = l->g.channels;
    int row, o;
    for (row = 0; row < l->g.out_height; row++, y += l->g.out_width * channels) {
        const part down = clip(row, l->g.down, l->g.top, l->g.rows, l->g.height);
        const int8_t *a = x + down.from * l->g.width * channels;
        const int8_t *w = l->weight + down.skip * l->g.columns * channels;
        o = 0;
{{SPANS}}    }
}

//@ depthwise_call_{{B}}
        for (; channels - o >= {{B}}; o += {{B}})
            depthwise_span_{{B}}(l, a + o, w + o, o, down.count, y + o);
//@ scale
/* A factor and an addend a channel; also in place. */
static void scale(const conv_layer *l, const int8_t *x, int8_t *y)
{
    const int channels = l->g.channels, count = channels * l->g.height * l->g.width;
    int i, c;
    for (i = 0; i < count; i += channels) {
        for (c = 0; c < channels; c++) {
            const int32_t sum = l->bias[c] + l->weight[c] * x[i + c];
            y[i + c] = limited(scaled(sum, l->value[c], l->shift[c]), l->low, l->high, l->zero);
        }
    }
}

//@ last_conv
/* The convolution that ends in logits, one pixel; weights lie as [outs][rows][columns][inputs]. */
static void last_conv(const conv_layer *l, const int8_t *x, int32_t *logits)
{
    const int inputs = l->g.channels / l->g.group, outs = l->g.outs / l->g.group;
    const part down = clip(0, l->g.down, l->g.top, l->g.rows, l->g.height);
    const part across = clip(0, l->g.right, l->g.left, l->g.columns, l->g.width);
    int o, row, column, i;
    for (o = 0; o < l->g.outs; o++) {
        int32_t sum = l->bare[o];
        int64_t value;
        for (row = 0; row < down.count; row++) {
            for (column = 0; column < across.count; column++) {
                const int pixel = (down.from + row) * l->g.width + across.from + column;
                const int tap = (down.skip + row) * l->g.columns + across.skip + column;
                const int8_t *a = x + pixel * l->g.channels + o / outs * inputs;
                const int8_t *b = l->weight + (o * l->g.rows * l->g.columns + tap) * inputs;
                for (i = 0; i < inputs; i++) sum += b[i] * (a[i] - l->from_zero);
            }
        }
        value = scaled(sum, l->value[o], l->shift[o]);
        logits[o] = value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : (int32_t)value;
    }
}

//@ map_conv
/* The convolution that ends in the map; weights lie as [outs][rows][columns][inputs]. */
static void map_conv(const conv_layer *l, const int8_t *x, int32_t *map)
{
    const int inputs = l->g.channels / l->g.group, outs = l->g.outs / l->g.group;
    int y, place, o, row, column, i;
    for (y = 0; y < l->g.out_height; y++) {
        const part down = clip(y, l->g.down, l->g.top, l->g.rows, l->g.height);
        for (place = 0; place < l->g.out_width; place++) {
            const part across = clip(place, l->g.right, l->g.left, l->g.columns, l->g.width);
            for (o = 0; o < l->g.outs; o++) {
                int32_t sum = l->bare[o];
                int64_t value;
                for (row = 0; row < down.count; row++) {
                    for (column = 0; column < across.count; column++) {
                        const int pixel = (down.from + row) * l->g.width + across.from + column;
                        const int tap = (down.skip + row) * l->g.columns + across.skip + column;
                        const int8_t *a = x + pixel * l->g.channels + o / outs * inputs;
                        const int8_t *b = l->weight + (o * l->g.rows * l->g.columns + tap) * inputs;
                        for (i = 0; i < inputs; i++) sum += b[i] * (a[i] - l->from_zero);
                    }
                }
                value = scaled(sum, l->value[o], l->shift[o]);
                *map++ = value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : (int32_t)value;
            }
        }
    }
}

//@ last_codes
/* Logits from codes. */
static void last_codes(const int8_t *x, int zero, int32_t factor, int shift, int32_t *logits)
{
    int i;
    for (i = 0; i < {{COUNT}}; i++) {
        const int64_t value = scaled(x[i] - zero, factor, shift);
        logits[i] = value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : (int32_t)value;
    }
}

//@ add
typedef struct {
    int a_zero, b_zero;         /* codes of 0 of both inputs */
    int32_t a_factor, b_factor; /* over 2^shift */
    int shift;
    int low, high, zero; /* limits less the code of 0 in the output, and that code */
} add_layer;

/* A sum. */
static void add(const add_layer *l, const int8_t *a, const int8_t *b, int8_t *y, int count)
{
    int i;
    for (i = 0; i < count; i++) {
        const int32_t sum = (a[i] - l->a_zero) * l->a_factor + (b[i] - l->b_zero) * l->b_factor;
        y[i] = limited(scaled(sum, 1, l->shift), l->low, l->high, l->zero);
    }
}

//@ max_pool
/* The greatest of each window, padding left out. */
static void max_pool(const geometry *g, const int8_t *x, int8_t *y)
{
    int row, column, r, i, c;
    for (row = 0; row < g->out_height; row++) {
        const part down = clip(row, g->down, g->top, g->rows, g->height);
        for (column = 0; column < g->out_width; column++, y += g->channels) {
            const part across = clip(column, g->right, g->left, g->columns, g->width);
            for (r = 0; r < down.count; r++) {
                const int8_t *a = x + ((down.from + r) * g->width + across.from) * g->channels;
                for (i = 0; i < across.count; i++, a += g->channels) {
                    for (c = 0; c < g->channels; c++) {
                        y[c] = (r == 0 && i == 0) || a[c] > y[c] ? a[c] : y[c];
                    }
                }
            }
        }
    }
}

//@ average_pool
/* The mean of each window, padding left out; sums are from -128 up, so that they round the same way everywhere. */
static void average_pool(const geometry *g, const int8_t *x, int8_t *y)
{
    int row, column, r, i, c;
    for (row = 0; row < g->out_height; row++) {
        const part down = clip(row, g->down, g->top, g->rows, g->height);
        for (column = 0; column < g->out_width; column++, y += g->channels) {
            const part across = clip(column, g->right, g->left, g->columns, g->width);
            const int32_t count = (int32_t)down.count * across.count;
            for (c = 0; c < g->channels; c++) {
                int32_t sum = 128 * count + count / 2;
                for (r = 0; r < down.count; r++) {
                    const int8_t *a = x + ((down.from + r) * g->width + across.from) * g->channels + c;
                    for (i = 0; i < across.count; i++, a += g->channels) sum += *a;
                }
                y[c] = (int8_t)(sum / count - 128);
            }
        }
    }
}

//@ mean
typedef struct {
    int channels, plane, from_zero;
    int32_t value; /* of the factor, value / 2^shift */
    int shift;
    int low, high, zero; /* limits less the code of 0 in the output, and that code */
} mean_layer;

/* The mean of each channel. */
static void mean(const mean_layer *l, const int8_t *x, int8_t *y)
{
    int c, p;
    for (c = 0; c < l->channels; c++) {
        int32_t sum = 0;
        for (p = 0; p < l->plane; p++) sum += x[p * l->channels + c] - l->from_zero;
        y[c] = limited(scaled(sum, l->value, l->shift), l->low, l->high, l->zero);
    }
}

//@ lookup
/* An activation, from a table of all codes, -128 first; also in place. */
static void lookup(const int8_t *table, const int8_t *x, int8_t *y, int count)
{
    int i;
    for (i = 0; i < count; i++) y[i] = table[x[i] + 128];
}

//@ run
static int8_t arena[{{ARENA}}];

/* From the codes of the picture in the arena. */
static void network(int32_t *logits)
{
{{ASK}}{{CALLS}}}

{{READING}}static void probable(const int32_t *logits, float *probabilities)
{
    int i;
    for (i = 0; i < MODEL_CLASSES; i++) probabilities[i] = (float)logits[i] * (1.0f / 65536.0f);
    softmax(probabilities, MODEL_CLASSES);
}

{{FUNCTION}}
void model_run(const uint8_t *rgb, float *probabilities)
{
    int32_t logits[MODEL_CLASSES];
    model_logits(rgb, logits);
    probable(logits, probabilities);
}

void model_predict(const uint8_t *rgb, int width, int height, float *probabilities)
{
    int32_t logits[MODEL_CLASSES];
    int8_t *to = arena + {{INPUT}};
    int y, x, c;
    if (width == MODEL_WIDTH && height == MODEL_HEIGHT) {
        model_run(rgb, probabilities);
        return;
    }
{{RESIZED}}    network(logits);
    probable(logits, probabilities);
}
//@ reading
/* Levels, a channel, to codes of what the network learned from. */
static const int8_t codes[CHANNELS][256] = {
{{CODES}}};

//@ logits
void model_logits(const uint8_t *rgb, int32_t *logits)
{
    int8_t *to = arena + {{INPUT}};
    int i, c;
    for (i = 0; i < MODEL_HEIGHT * MODEL_WIDTH; i++, rgb += CHANNELS, to += CHANNELS) {
        for (c = 0; c < CHANNELS; c++) to[c] = codes[c][rgb[c]];
    }
    network(logits);
}
//@ resized
    for (y = 0; y < MODEL_HEIGHT; y++) {
        const taps down = taps_of(height, MODEL_HEIGHT, y);
        for (x = 0; x < MODEL_WIDTH; x++, to += CHANNELS) {
            const taps across = taps_of(width, MODEL_WIDTH, x);
            const uint64_t whole = (uint64_t)down.sum * across.sum;
            uint64_t sums[CHANNELS];
            resized(rgb, width, &down, &across, sums);
            for (c = 0; c < CHANNELS; c++) to[c] = codes[c][(sums[c] + whole / 2) / whole];
        }
    }
//@ run_boxes
static int8_t arena[{{ARENA}}];
static int32_t found[MAP_NUMBERS];

/* From the codes of the picture in the arena to the map. */
static void network(int32_t *logits)
{
{{ASK}}{{CALLS}}}

{{READING}}static float real(int32_t number) { return (float)number * (1.0f / 65536.0f); }

{{FIND}}
{{FUNCTION}}
void model_run(const uint8_t *rgb, float *map)
{
    int i;
    model_logits(rgb, found);
    for (i = 0; i < MAP_NUMBERS; i++) map[i] = real(found[i]);
}

int model_detect(const uint8_t *rgb, int width, int height, float at_least, model_object *objects, int most)
{
    int8_t *to = arena + {{INPUT}};
    int y, x, c;
    if (width == MODEL_WIDTH && height == MODEL_HEIGHT) {
        model_logits(rgb, found);
        return find(found, at_least, objects, most);
    }
{{RESIZED}}    network(found);
    return find(found, at_least, objects, most);
}
