//@ lanes
/* Floats that one instruction handles, and pixels that share each weight while it is in a register. */
#if defined(__GNUC__) && (defined(__SSE2__) || defined(__ARM_NEON) || defined(__wasm_simd128__))
typedef float lanes_4 __attribute__((vector_size(16)));
#if defined(__AVX__)
typedef float lanes_8 __attribute__((vector_size(32)));
#else
typedef lanes_4 lanes_8;
#endif
#else
typedef float lanes_4;
typedef float lanes_8;
#endif
typedef float lanes_1;

//@ conv_layer
typedef struct {
    const float *weight, *bias;
    float low, high; /* limits of what it makes */
    geometry g;
} conv_layer;

//@ conv_tile_{{B}}x{{P}}
/* {{P}} pixels of {{B}} channels. The weights of a tap and an input lie side by side for the {{B}} channels. */
static void conv_tile_{{B}}x{{P}}(const conv_layer *l, const float *x, const float *w, const float *bias, int rows,
                          int columns, float *y)
{
    enum { PARTS = {{B}} * sizeof(float) / sizeof(lanes_{{B}}) };
    const int inputs = l->g.channels / l->g.group, step = l->g.right * l->g.channels;
    /* Taps of a row lie side by side where there is one group. */
    const int runs = l->g.group == 1 ? 1 : columns, run = l->g.group == 1 ? columns * inputs : inputs;
    lanes_{{B}} sums[{{P}}][PARTS];
    int row, r, i, p, j;
    UNROLLED
    for (p = 0; p < {{P}}; p++) memcpy(sums[p], bias, {{B}} * sizeof(float));
    for (row = 0; row < rows; row++) {
        const float *a = x + row * l->g.width * l->g.channels;
        const float *b = w + row * l->g.columns * inputs * {{B}};
        for (r = 0; r < runs; r++, a += l->g.channels) {
            for (i = 0; i < run; i++, b += {{B}}) {
                lanes_{{B}} weights[PARTS];
                memcpy(weights, b, {{B}} * sizeof(float));
                UNROLLED
                for (p = 0; p < {{P}}; p++) {
                    const float value = a[p * step + i];
                    UNROLLED
                    for (j = 0; j < PARTS; j++) sums[p][j] += weights[j] * value;
                }
            }
        }
    }
    UNROLLED
    for (p = 0; p < {{P}}; p++) {
        float made[{{B}}];
        memcpy(made, sums[p], {{B}} * sizeof(float));
        UNROLLED
        for (j = 0; j < {{B}}; j++) {
            const float value = made[j] > l->low ? made[j] : l->low;
            y[p * l->g.outs + j] = value < l->high ? value : l->high;
        }
    }
}

//@ conv_span_{{B}}
/* {{B}} channels of the pixels `start` to before `end` of a row. */
static void conv_span_{{B}}(const conv_layer *l, const float *x, const float *w, const float *bias, int rows, int start,
                        int end, float *y)
{
    const int inputs = l->g.channels / l->g.group;
    while (start < end) {
        const part across = clip(start, l->g.right, l->g.left, l->g.columns, l->g.width);
        const float *a = x + across.from * l->g.channels, *b = w + across.skip * inputs * {{B}};
        float *made = y + start * l->g.outs;
        /* Pixels whose windows are whole. */
        int whole = 0;
        if (across.count == l->g.columns) {
            whole = (l->g.width - across.from - across.count) / l->g.right + 1;
            if (whole > end - start) whole = end - start;
        }
#if defined(__AVX__) || defined(__aarch64__)
        if (whole >= 8) {
            conv_tile_{{B}}x8(l, a, b, bias, rows, across.count, made);
            start += 8;
            continue;
        }
#endif
        if (whole >= 4) {
            conv_tile_{{B}}x4(l, a, b, bias, rows, across.count, made);
            start += 4;
        } else {
            conv_tile_{{B}}x1(l, a, b, bias, rows, across.count, made);
            start += 1;
        }
    }
}

//@ conv
/* A convolution. Some pixels at a time, so that they stay near while all channels read them. */
static void conv(const conv_layer *l, const float *x, float *y)
{
    enum { NEAR = 32 };
    const int inputs = l->g.channels / l->g.group, outs = l->g.outs / l->g.group;
    const int taps = l->g.rows * l->g.columns * inputs;
    int row, start, g, o;
    for (row = 0; row < l->g.out_height; row++, y += l->g.out_width * l->g.outs) {
        const part down = clip(row, l->g.down, l->g.top, l->g.rows, l->g.height);
        const float *from = x + down.from * l->g.width * l->g.channels;
        const int skip = down.skip * l->g.columns * inputs;
        for (start = 0; start < l->g.out_width; start += NEAR) {
            const int end = start + NEAR < l->g.out_width ? start + NEAR : l->g.out_width;
            for (g = 0; g < l->g.group; g++) {
                const float *a = from + g * inputs, *w = l->weight + g * outs * taps;
                const int last = (g + 1) * outs;
                o = g * outs;
{{SPANS}}            }
        }
    }
}

//@ conv_call_{{B}}
                for (; last - o >= {{B}}; o += {{B}}, w += {{B}} * taps)
                    conv_span_{{B}}(l, a, w + {{B}} * skip, l->bias + o, down.count, start, end, y + o);
//@ depthwise_tile_{{B}}x{{P}}
/* {{P}} pixels of {{B}} channels, each from its own channel. */
static void depthwise_tile_{{B}}x{{P}}(const conv_layer *l, const float *x, const float *w, const float *bias, int rows,
                               int columns, float *y)
{
    enum { PARTS = {{B}} * sizeof(float) / sizeof(lanes_{{B}}) };
    const int channels = l->g.channels, step = l->g.right * l->g.channels;
    lanes_{{B}} sums[{{P}}][PARTS];
    int row, column, p, j;
    UNROLLED
    for (p = 0; p < {{P}}; p++) memcpy(sums[p], bias, {{B}} * sizeof(float));
    for (row = 0; row < rows; row++) {
        const float *a = x + row * l->g.width * channels, *b = w + row * l->g.columns * channels;
        for (column = 0; column < columns; column++, a += channels, b += channels) {
            lanes_{{B}} weights[PARTS];
            memcpy(weights, b, {{B}} * sizeof(float));
            UNROLLED
            for (p = 0; p < {{P}}; p++) {
                lanes_{{B}} values[PARTS];
                memcpy(values, a + p * step, {{B}} * sizeof(float));
                UNROLLED
                for (j = 0; j < PARTS; j++) sums[p][j] += weights[j] * values[j];
            }
        }
    }
    UNROLLED
    for (p = 0; p < {{P}}; p++) {
        float made[{{B}}];
        memcpy(made, sums[p], {{B}} * sizeof(float));
        UNROLLED
        for (j = 0; j < {{B}}; j++) {
            const float value = made[j] > l->low ? made[j] : l->low;
            y[p * channels + j] = value < l->high ? value : l->high;
        }
    }
}

//@ depthwise_span_{{B}}
/* {{B}} channels of a row. */
static void depthwise_span_{{B}}(const conv_layer *l, const float *x, const float *w, const float *bias, int rows,
                             float *y)
{
    int start = 0;
    while (start < l->g.out_width) {
        const part across = clip(start, l->g.right, l->g.left, l->g.columns, l->g.width);
        const float *a = x + across.from * l->g.channels, *b = w + across.skip * l->g.channels;
        float *made = y + start * l->g.channels;
        /* Whether the windows of this pixel and of three after it are whole. */
        if (across.count == l->g.columns && start + 4 <= l->g.out_width &&
            across.from + 3 * l->g.right + l->g.columns <= l->g.width) {
            depthwise_tile_{{B}}x4(l, a, b, bias, rows, across.count, made);
            start += 4;
        } else {
            depthwise_tile_{{B}}x1(l, a, b, bias, rows, across.count, made);
            start += 1;
        }
    }
}

//@ depthwise
/* A convolution of each channel by itself; weights lie as [rows][columns][channels]. */
static void depthwise(const conv_layer *l, const float *x, float *y)
{
    const int channels = l->g.channels;
    int row, c;
    for (row = 0; row < l->g.out_height; row++, y += l->g.out_width * channels) {
        const part down = clip(row, l->g.down, l->g.top, l->g.rows, l->g.height);
        const float *a = x + down.from * l->g.width * channels;
        const float *w = l->weight + down.skip * l->g.columns * channels;
        c = 0;
{{SPANS}}    }
}

//@ depthwise_call_{{B}}
        for (; channels - c >= {{B}}; c += {{B}})
            depthwise_span_{{B}}(l, a + c, w + c, l->bias + c, down.count, y + c);
//@ scale
/* A factor and an addend a channel; also in place. */
static void scale(const conv_layer *l, const float *x, float *y)
{
    const int channels = l->g.channels, count = channels * l->g.height * l->g.width;
    int i, c;
    for (i = 0; i < count; i += channels) {
        for (c = 0; c < channels; c++) {
            const float value = x[i + c] * l->weight[c] + l->bias[c], above = value > l->low ? value : l->low;
            y[i + c] = above < l->high ? above : l->high;
        }
    }
}

//@ add
/* A sum, kept between two limits. */
static void add(const float *a, const float *b, float *y, int count, float low, float high)
{
    int i;
    for (i = 0; i < count; i++) {
        const float sum = a[i] + b[i], above = sum > low ? sum : low;
        y[i] = above < high ? above : high;
    }
}

//@ max_pool
/* The greatest of each window, padding left out. */
static void max_pool(const geometry *g, const float *x, float *y)
{
    int row, column, r, i, c;
    for (row = 0; row < g->out_height; row++) {
        const part down = clip(row, g->down, g->top, g->rows, g->height);
        for (column = 0; column < g->out_width; column++, y += g->channels) {
            const part across = clip(column, g->right, g->left, g->columns, g->width);
            for (r = 0; r < down.count; r++) {
                const float *a = x + ((down.from + r) * g->width + across.from) * g->channels;
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
/* The mean of each window, padding left out. */
static void average_pool(const geometry *g, const float *x, float *y)
{
    int row, column, r, i, c;
    for (row = 0; row < g->out_height; row++) {
        const part down = clip(row, g->down, g->top, g->rows, g->height);
        for (column = 0; column < g->out_width; column++, y += g->channels) {
            const part across = clip(column, g->right, g->left, g->columns, g->width);
            const float share = 1.0f / (float)(down.count * across.count);
            for (c = 0; c < g->channels; c++) y[c] = 0.0f;
            for (r = 0; r < down.count; r++) {
                const float *a = x + ((down.from + r) * g->width + across.from) * g->channels;
                for (i = 0; i < across.count; i++, a += g->channels) {
                    for (c = 0; c < g->channels; c++) y[c] += a[c];
                }
            }
            for (c = 0; c < g->channels; c++) y[c] *= share;
        }
    }
}

//@ mean
/* The mean of each channel over `plane` pixels. */
static void mean(const float *x, int channels, int plane, float *y)
{
    int p, c;
    for (c = 0; c < channels; c++) y[c] = 0.0f;
    for (p = 0; p < plane; p++, x += channels) {
        for (c = 0; c < channels; c++) y[c] += x[c];
    }
    for (c = 0; c < channels; c++) y[c] /= (float)plane;
}

//@ clamp
/* Limits; also in place. */
static void clamp(const float *x, float *y, int count, float low, float high)
{
    int i;
    for (i = 0; i < count; i++) {
        const float above = x[i] > low ? x[i] : low;
        y[i] = above < high ? above : high;
    }
}

//@ hard_swish
/* x * max(0, min(1, x / 6 + 1/2)); also in place. */
static void hard_swish(const float *x, float *y, int count)
{
    int i;
    for (i = 0; i < count; i++) {
        const float gate = x[i] * (1.0f / 6.0f) + 0.5f, above = gate > 0.0f ? gate : 0.0f;
        y[i] = x[i] * (above < 1.0f ? above : 1.0f);
    }
}

//@ sigmoid
/* 1 / (1 + exp(-x)); also in place. */
static void sigmoid(const float *x, float *y, int count)
{
    int i;
    for (i = 0; i < count; i++) y[i] = 1.0f / (1.0f + expf(-x[i]));
}

//@ run
static float arena[{{ARENA}}];

/* From the normalised picture in the arena. */
static void network(float *probabilities)
{
{{ASK}}{{CALLS}}    memcpy(probabilities, arena + {{OUTPUT}}, MODEL_CLASSES * sizeof(float));
    softmax(probabilities, MODEL_CLASSES);
}

{{READING}}void model_run(const uint8_t *rgb, float *probabilities)
{
{{ASK}}    {{LEVELS}}(rgb, arena + {{INPUT}});
    network(probabilities);
}

void model_predict(const uint8_t *rgb, int width, int height, float *probabilities)
{
    float *to = arena + {{INPUT}};
    int y, x, c;
    if (width == MODEL_WIDTH && height == MODEL_HEIGHT) {
        model_run(rgb, probabilities);
        return;
    }
{{RESIZED}}    network(probabilities);
}
//@ reading
/* Levels to what the network learned from: level * factor + addend, a channel. */
static const float factors[CHANNELS] = {{FACTORS}};
static const float addends[CHANNELS] = {{ADDENDS}};

static void levels(const uint8_t *rgb, float *to)
{
    int i, c;
    for (i = 0; i < MODEL_HEIGHT * MODEL_WIDTH; i++, rgb += CHANNELS, to += CHANNELS) {
        for (c = 0; c < CHANNELS; c++) to[c] = (float)rgb[c] * factors[c] + addends[c];
    }
}

{{FAST_LEVELS}}
//@ resized
    for (y = 0; y < MODEL_HEIGHT; y++) {
        const taps down = taps_of(height, MODEL_HEIGHT, y);
        for (x = 0; x < MODEL_WIDTH; x++, to += CHANNELS) {
            const taps across = taps_of(width, MODEL_WIDTH, x);
            const float share = 1.0f / ((float)down.sum * (float)across.sum);
            uint64_t sums[CHANNELS];
            resized(rgb, width, &down, &across, sums);
            for (c = 0; c < CHANNELS; c++) to[c] = (float)sums[c] * share * factors[c] + addends[c];
        }
    }
//@ run_boxes
static float arena[{{ARENA}}];

/* From the normalised picture in the arena to the map in it. */
static void network(void)
{
{{ASK}}{{CALLS}}}

{{READING}}static float real(float number) { return number; }

{{FIND}}
void model_run(const uint8_t *rgb, float *map)
{
{{ASK}}    {{LEVELS}}(rgb, arena + {{INPUT}});
    network();
    memcpy(map, arena + {{OUTPUT}}, MODEL_MAP_HEIGHT * MODEL_MAP_WIDTH * MODEL_MAP_CHANNELS * sizeof(float));
}

int model_detect(const uint8_t *rgb, int width, int height, float at_least, model_object *objects, int most)
{
{{ASK}}    float *to = arena + {{INPUT}};
    int y, x, c;
    if (width == MODEL_WIDTH && height == MODEL_HEIGHT) {
        {{LEVELS}}(rgb, to);
        network();
        return find(arena + {{OUTPUT}}, at_least, objects, most);
    }
{{RESIZED}}    network();
    return find(arena + {{OUTPUT}}, at_least, objects, most);
}
