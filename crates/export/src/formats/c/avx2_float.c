//@ conv
/* Pixels that share each weight while it is in a register. */
enum { PIXELS = 6 };

/* The input under each tap of some pixels' windows, or under each row of taps: `run` numbers at each place. */
typedef struct {
    const float *at[{{TAPS}}][PIXELS];
    int runs, run, skip; /* `skip` rows of taps before the first are in the padding */
} windows;

/* The windows of `count` pixels from one on; padding is read from `nothing`. */
INLINED void look(const conv_layer *l, const float *x, const float *nothing, int row, int column, int count, windows *v)
{
    const int channels = l->g.channels, step = l->g.right * channels, line = l->g.width * channels;
    const int last = column + count <= l->g.out_width ? row : row + (column + count - 1) / l->g.out_width;
    int top = row * l->g.down - l->g.top, left = column * l->g.right - l->g.left;
    const int end = l->g.height - top < l->g.rows ? l->g.height - top : l->g.rows;
    int p, r, c, t = 0;
    v->skip = last * l->g.down - l->g.top < 0 ? l->g.top - last * l->g.down : 0;
    v->run = channels;
    v->runs = end > v->skip ? (end - v->skip) * l->g.columns : 0;
    if (row == last && left >= 0 && left + (count - 1) * l->g.right + l->g.columns <= l->g.width) {
        const float *a = x + (top + v->skip) * line + left * channels;
        v->run = l->g.columns * channels;
        v->runs = end > v->skip ? end - v->skip : 0;
        for (t = 0; t < v->runs; t++, a += line) {
            for (p = 0; p < count; p++) v->at[t][p] = a + p * step;
        }
        return;
    }
    for (p = 0; p < count; p++, t = 0) {
        for (r = top + v->skip; r < top + end; r++) {
            for (c = left; c < left + l->g.columns; c++) {
                const int inside = r >= 0 && r < l->g.height && c >= 0 && c < l->g.width;
                v->at[t++][p] = inside ? x + r * line + c * channels : nothing;
            }
        }
        left += l->g.right;
        if (++column == l->g.out_width) column = 0, left = -l->g.left, top += l->g.down;
    }
}

/* 16 channels of some pixels; the weights of both eights lie `apart`. */
INLINED void conv_sixteen(const int pixels, const conv_layer *l, const windows *v, const float *w, int apart, int o,
                          float *y)
{
    const __m256 low = _mm256_set1_ps(l->low), high = _mm256_set1_ps(l->high);
    __m256 sums[PIXELS][2];
    int t, i, p, j;
    UNROLLED
    for (p = 0; p < pixels; p++) {
        UNROLLED
        for (j = 0; j < 2; j++) sums[p][j] = _mm256_loadu_ps(l->bias + o + 8 * j);
    }
    for (t = 0; t < v->runs; t++) {
        const float *a[PIXELS];
        UNROLLED
        for (p = 0; p < pixels; p++) a[p] = v->at[t][p];
        for (i = 0; i < v->run; i++, w += 8) {
            const __m256 first = _mm256_loadu_ps(w), second = _mm256_loadu_ps(w + apart);
            UNROLLED
            for (p = 0; p < pixels; p++) {
                const __m256 value = _mm256_broadcast_ss(a[p] + i);
                sums[p][0] = _mm256_fmadd_ps(first, value, sums[p][0]);
                sums[p][1] = _mm256_fmadd_ps(second, value, sums[p][1]);
            }
        }
    }
    UNROLLED
    for (p = 0; p < pixels; p++) {
        UNROLLED
        for (j = 0; j < 2; j++) {
            _mm256_storeu_ps(y + p * l->g.outs + o + 8 * j, _mm256_min_ps(_mm256_max_ps(sums[p][j], low), high));
        }
    }
}

{{FEW}}/* All channels of some pixels. */
INLINED void conv_pixels(const int pixels, const conv_layer *l, const windows *v, float *y)
{
    const int outs = l->g.outs, size = l->g.rows * l->g.columns * l->g.channels;
    const int skip = v->skip * l->g.columns * l->g.channels;
    const float *w = l->weight;
    int o = 0, t, i, p;
    for (; o + 16 <= outs; o += 16, w += 16 * size) conv_sixteen(pixels, l, v, w + 8 * skip, 8 * size, o, y);
    for (; o + 8 <= outs; o += 8, w += 8 * size) conv_8(pixels, l, v, w + 8 * skip, o, y);
    for (; o + 4 <= outs; o += 4, w += 4 * size) conv_4(pixels, l, v, w + 4 * skip, o, y);
    for (; o < outs; o++, w += size) {
        for (p = 0; p < pixels; p++) {
            const float *b = w + skip;
            float sum = l->bias[o], above;
            for (t = 0; t < v->runs; t++, b += v->run) {
                for (i = 0; i < v->run; i++) sum += b[i] * v->at[t][p][i];
            }
            above = sum > l->low ? sum : l->low;
            y[p * outs + o] = above < l->high ? above : l->high;
        }
    }
}

/* A convolution in one group. Blocks of pixels end where a row does, but for narrow maps. */
AVX2 static void conv_avx2(const conv_layer *l, const float *x, float *y)
{
    float nothing[{{CHANNELS}}];
    const int narrow = l->g.out_width < 4, lines = narrow ? 1 : l->g.out_height;
    const int line = narrow ? l->g.out_height * l->g.out_width : l->g.out_width;
    int row, column, count;
    windows v;
    memset(nothing, 0, sizeof nothing);
    for (row = 0; row < lines; row++) {
        for (column = 0; column < line; column += count, y += count * l->g.outs) {
            count = line - column;
            /* No block that is much smaller than the others. */
            if (count > PIXELS) count = count < 2 * PIXELS ? (count + 1) / 2 : PIXELS;
            if (narrow) look(l, x, nothing, column / l->g.out_width, column % l->g.out_width, count, &v);
            else look(l, x, nothing, row, column, count, &v);
            switch (count) {
            case 6: conv_pixels(6, l, &v, y); break;
            case 5: conv_pixels(5, l, &v, y); break;
            case 4: conv_pixels(4, l, &v, y); break;
            case 3: conv_pixels(3, l, &v, y); break;
            case 2: conv_pixels(2, l, &v, y); break;
            default: conv_pixels(1, l, &v, y); break;
            }
        }
    }
}

//@ conv_few
/* {{B}} channels of some pixels. Two sums of each, so that an addition need not wait for the one before. */
INLINED void conv_{{B}}(const int pixels, const conv_layer *l, const windows *v, const float *w, int o, float *y)
{
    const {{V}} low = {{M}}_set1_ps(l->low), high = {{M}}_set1_ps(l->high);
    {{V}} sums[PIXELS], others[PIXELS];
    int t, i, p;
    UNROLLED
    for (p = 0; p < pixels; p++) sums[p] = {{M}}_loadu_ps(l->bias + o), others[p] = {{M}}_setzero_ps();
    for (t = 0; t < v->runs; t++) {
        const float *a[PIXELS];
        UNROLLED
        for (p = 0; p < pixels; p++) a[p] = v->at[t][p];
        for (i = 0; i + 2 <= v->run; i += 2, w += 2 * {{B}}) {
            const {{V}} first = {{M}}_loadu_ps(w), second = {{M}}_loadu_ps(w + {{B}});
            UNROLLED
            for (p = 0; p < pixels; p++) {
                sums[p] = {{M}}_fmadd_ps(first, {{M}}_broadcast_ss(a[p] + i), sums[p]);
                others[p] = {{M}}_fmadd_ps(second, {{M}}_broadcast_ss(a[p] + i + 1), others[p]);
            }
        }
        if (i < v->run) {
            const {{V}} weights = {{M}}_loadu_ps(w);
            UNROLLED
            for (p = 0; p < pixels; p++) sums[p] = {{M}}_fmadd_ps(weights, {{M}}_broadcast_ss(a[p] + i), sums[p]);
            w += {{B}};
        }
    }
    UNROLLED
    for (p = 0; p < pixels; p++) {
        const {{V}} sum = {{M}}_add_ps(sums[p], others[p]);
        {{M}}_storeu_ps(y + p * l->g.outs + o, {{M}}_min_ps({{M}}_max_ps(sum, low), high));
    }
}
//@ depthwise
/* 8 channels of `count` pixels, the taps' weights in registers: for the whole windows of 3 x 3 and the parts of such. */
INLINED void depthwise_small(const int rows, const int columns, const conv_layer *l, const float *x, const float *w,
                             int count, int o, float *y)
{
    const ptrdiff_t channels = l->g.channels, step = l->g.right * channels, line = l->g.width * channels;
    const __m256 low = _mm256_set1_ps(l->low), high = _mm256_set1_ps(l->high), bias = _mm256_loadu_ps(l->bias + o);
    const float *a = x + o, *b = a + line, *c = rows == 3 ? b + line : b;
    __m256 weights[3][3];
    int row, column, p;
    UNROLLED
    for (row = 0; row < rows; row++) {
        UNROLLED
        for (column = 0; column < columns; column++) {
            weights[row][column] = _mm256_loadu_ps(w + o + (row * l->g.columns + column) * channels);
        }
    }
    for (p = 0, y += o; p < count; p++, a += step, b += step, c += step, y += channels) {
        __m256 sum = bias;
        UNROLLED
        for (column = 0; column < columns; column++) {
            sum = _mm256_fmadd_ps(weights[0][column], _mm256_loadu_ps(a + column * channels), sum);
            sum = _mm256_fmadd_ps(weights[1][column], _mm256_loadu_ps(b + column * channels), sum);
            if (rows == 3) sum = _mm256_fmadd_ps(weights[2][column], _mm256_loadu_ps(c + column * channels), sum);
        }
        _mm256_storeu_ps(y, _mm256_min_ps(_mm256_max_ps(sum, low), high));
    }
}

/* 8 channels of a pixel, for windows of any size. */
INLINED void depthwise_any(const conv_layer *l, const float *x, const float *w, int rows, int columns, int o, float *y)
{
    const int channels = l->g.channels;
    const __m256 low = _mm256_set1_ps(l->low), high = _mm256_set1_ps(l->high);
    __m256 sum = _mm256_loadu_ps(l->bias + o);
    int row, column;
    for (row = 0; row < rows; row++) {
        const float *a = x + row * l->g.width * channels + o, *b = w + row * l->g.columns * channels + o;
        for (column = 0; column < columns; column++, a += channels, b += channels) {
            sum = _mm256_fmadd_ps(_mm256_loadu_ps(a), _mm256_loadu_ps(b), sum);
        }
    }
    _mm256_storeu_ps(y + o, _mm256_min_ps(_mm256_max_ps(sum, low), high));
}

/* A convolution of each channel by itself, of at least 8 channels. */
AVX2 static void depthwise_avx2(const conv_layer *l, const float *x, float *y)
{
    const int channels = l->g.channels, step = l->g.right * channels;
    int row, column, count, o, p;
    for (row = 0; row < l->g.out_height; row++) {
        const part down = clip(row, l->g.down, l->g.top, l->g.rows, l->g.height);
        const float *from = x + down.from * l->g.width * channels;
        const float *w = l->weight + down.skip * l->g.columns * channels;
        for (column = 0; column < l->g.out_width; column += count, y += count * channels) {
            const part across = clip(column, l->g.right, l->g.left, l->g.columns, l->g.width);
            const float *a = from + across.from * channels, *b = w + across.skip * channels;
            const int rows = down.count, columns = across.count, small = rows * 10 + columns;
            count = 1;
            if (columns == l->g.columns) {
                /* Pixels whose windows are whole. */
                count = (l->g.width - across.from - columns) / l->g.right + 1;
                if (count > l->g.out_width - column) count = l->g.out_width - column;
            }
            for (o = 0; o < channels; o += 8) {
                /* The last block may begin within the one before. */
                const int at = o + 8 <= channels ? o : channels - 8;
                if (small == 33) depthwise_small(3, 3, l, a, b, count, at, y);
                else if (small == 32) depthwise_small(3, 2, l, a, b, count, at, y);
                else if (small == 23) depthwise_small(2, 3, l, a, b, count, at, y);
                else if (small == 22) depthwise_small(2, 2, l, a, b, count, at, y);
                else
                    for (p = 0; p < count; p++) depthwise_any(l, a + p * step, b, rows, columns, at, y + p * channels);
            }
        }
    }
}

//@ add
AVX2 static void add_avx2(const float *a, const float *b, float *y, int count, float low, float high)
{
    const __m256 least = _mm256_set1_ps(low), most = _mm256_set1_ps(high);
    int i;
    for (i = 0; i + 8 <= count; i += 8) {
        const __m256 sum = _mm256_add_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
        _mm256_storeu_ps(y + i, _mm256_min_ps(_mm256_max_ps(sum, least), most));
    }
    add(a + i, b + i, y + i, count - i, low, high);
}

//@ mean
AVX2 static void mean_avx2(const float *x, int channels, int plane, float *y)
{
    int c, p;
    for (c = 0; c + 8 <= channels; c += 8) {
        __m256 sum = _mm256_setzero_ps();
        for (p = 0; p < plane; p++) sum = _mm256_add_ps(sum, _mm256_loadu_ps(x + p * channels + c));
        _mm256_storeu_ps(y + c, _mm256_div_ps(sum, _mm256_set1_ps((float)plane)));
    }
    for (; c < channels; c++) {
        float sum = 0.0f;
        for (p = 0; p < plane; p++) sum += x[p * channels + c];
        y[c] = sum / (float)plane;
    }
}

//@ hard_swish
AVX2 static void hard_swish_avx2(const float *x, float *y, int count)
{
    const __m256 sixth = _mm256_set1_ps(1.0f / 6.0f), half = _mm256_set1_ps(0.5f), one = _mm256_set1_ps(1.0f);
    int i;
    for (i = 0; i + 8 <= count; i += 8) {
        const __m256 value = _mm256_loadu_ps(x + i), gate = _mm256_add_ps(_mm256_mul_ps(value, sixth), half);
        const __m256 kept = _mm256_min_ps(_mm256_max_ps(gate, _mm256_setzero_ps()), one);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(value, kept));
    }
    hard_swish(x + i, y + i, count - i);
}

//@ levels
/* Levels to numbers, eight at a time; as many vectors of eight as there are channels repeat. */
AVX2 static void levels_avx2(const uint8_t *rgb, float *to)
{
    float factor[8 * CHANNELS], addend[8 * CHANNELS];
    int i, j;
    for (i = 0; i < 8 * CHANNELS; i++) factor[i] = factors[i % CHANNELS], addend[i] = addends[i % CHANNELS];
    for (i = 0; i + 8 * CHANNELS <= MODEL_HEIGHT * MODEL_WIDTH * CHANNELS; i += 8 * CHANNELS) {
        for (j = 0; j < 8 * CHANNELS; j += 8) {
            const __m256i level = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(rgb + i + j)));
            const __m256 scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(level), _mm256_loadu_ps(factor + j));
            _mm256_storeu_ps(to + i + j, _mm256_add_ps(scaled, _mm256_loadu_ps(addend + j)));
        }
    }
    for (; i < MODEL_HEIGHT * MODEL_WIDTH * CHANNELS; i++) {
        to[i] = (float)rgb[i] * factor[i % CHANNELS] + addend[i % CHANNELS];
    }
}
