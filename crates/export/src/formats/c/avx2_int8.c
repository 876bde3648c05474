//@ requantised
/* Sums of `pixels` pixels to codes, 8 channels from `o` on; each pixel's sums lie `apart`. As scaled() and limited(), for
   factors below 1: what is shifted is made positive first, since there is no other shift of 64 bits here. */
AVX2 static void requantised(const conv_layer *l, int o, const int32_t *sums, int apart, int pixels, int8_t *y)
{
    const __m256i ones = _mm256_set1_epi64x(1), above = _mm256_set1_epi64x((int64_t)1 << 62);
    const __m256i value = _mm256_loadu_si256((const __m256i *)(l->value + o)), odd_value = _mm256_srli_epi64(value, 32);
    const __m256i shift = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(l->shift + o)));
    const __m256i even_shift = _mm256_and_si256(shift, _mm256_set1_epi64x(0xff));
    const __m256i odd_shift = _mm256_srli_epi64(shift, 32);
    const __m256i even_half = _mm256_sllv_epi64(ones, _mm256_sub_epi64(even_shift, ones));
    const __m256i odd_half = _mm256_sllv_epi64(ones, _mm256_sub_epi64(odd_shift, ones));
    const __m256i even_more = _mm256_add_epi64(above, even_half), odd_more = _mm256_add_epi64(above, odd_half);
    const __m256i less = _mm256_blend_epi32(_mm256_srlv_epi64(above, even_shift),
                                            _mm256_slli_epi64(_mm256_srlv_epi64(above, odd_shift), 32), 0xaa);
    const __m128i zero = _mm_set1_epi16((short)l->zero);
    const __m128i low = _mm_set1_epi8((char)(l->low + l->zero)), high = _mm_set1_epi8((char)(l->high + l->zero));
    int p;
    for (p = 0; p < pixels; p++, sums += apart, y += l->g.outs) {
        const __m256i sum = _mm256_loadu_si256((const __m256i *)sums);
        const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(sum, value), even_more);
        const __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(sum, 32), odd_value), odd_more);
        const __m256i both = _mm256_blend_epi32(_mm256_srlv_epi64(even, even_shift),
                                                _mm256_slli_epi64(_mm256_srlv_epi64(odd, odd_shift), 32), 0xaa);
        const __m256i wide = _mm256_sub_epi32(both, less);
        __m128i codes = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
        codes = _mm_adds_epi16(codes, zero);
        codes = _mm_min_epi8(_mm_max_epi8(_mm_packs_epi16(codes, codes), low), high);
        _mm_storel_epi64((__m128i *)y, codes);
    }
}

//@ conv
/* Codes as 16 bits each. */
AVX2 static void widened(const int8_t *codes, int count, int16_t *to)
{
    int i = 0;
    for (; i + 16 <= count; i += 16) {
        const __m128i read = _mm_loadu_si128((const __m128i *)(codes + i));
        _mm256_storeu_si256((__m256i *)(to + i), _mm256_cvtepi8_epi16(read));
    }
    if (i < count && count >= 8) {
        /* The last eight may be read twice. */
        for (; i < count; i += 8) {
            const int at = i + 8 <= count ? i : count - 8;
            const __m128i read = _mm_loadl_epi64((const __m128i *)(codes + at));
            _mm_storeu_si128((__m128i *)(to + at), _mm_cvtepi8_epi16(read));
        }
    }
    for (; i < count; i++) to[i] = codes[i];
}

/* The window of a pixel in the order of the weights; padding has the code of 0. */
AVX2 static void window(const conv_layer *l, const int8_t *x, int row, int column, int16_t *to)
{
    const int channels = l->g.channels, run = l->g.columns * channels;
    const int top = row * l->g.down - l->g.top, left = column * l->g.right - l->g.left;
    const int whole = left >= 0 && left + l->g.columns <= l->g.width;
    int r, c, i;
    for (r = top; r < top + l->g.rows; r++) {
        const int inside = r >= 0 && r < l->g.height;
        if (inside && whole) {
            widened(x + (r * l->g.width + left) * channels, run, to);
            to += run;
            continue;
        }
        for (c = left; c < left + l->g.columns; c++, to += channels) {
            if (inside && c >= 0 && c < l->g.width) {
                widened(x + (r * l->g.width + c) * channels, channels, to);
            } else {
                for (i = 0; i < channels; i++) to[i] = (int16_t)l->from_zero;
            }
        }
    }
}

/* Pixels and channels whose sums are held at once, and the numbers of their windows. */
enum { PIXELS = 24, ABREAST = 64, NEAR = {{NEAR}} };

/* Has a sum made here. GCC would make all products first, which are more than there are registers. */
#define ADDED(sum) __asm__("" : "+x"(sum))

/* The sums of 4 channels for 3 pixels or 1, whose windows lie side by side. */
INLINED void dots(const int pixels, const int16_t *a, int wide, const int8_t *w, int taps, const int32_t *bias,
                  int32_t *sums)
{
    __m256i parts[3][4];
    int k, p, j;
    UNROLLED
    for (p = 0; p < pixels; p++) {
        UNROLLED
        for (j = 0; j < 4; j++) parts[p][j] = _mm256_setzero_si256();
    }
    for (k = 0; k < wide; k += 16) {
        __m256i codes[3];
        UNROLLED
        for (p = 0; p < pixels; p++) codes[p] = _mm256_loadu_si256((const __m256i *)(a + p * wide + k));
        UNROLLED
        for (j = 0; j < 4; j++) {
            const __m256i weights = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + j * taps + k)));
            UNROLLED
            for (p = 0; p < pixels; p++) {
                parts[p][j] = _mm256_add_epi32(parts[p][j], _mm256_madd_epi16(codes[p], weights));
                ADDED(parts[p][j]);
            }
        }
    }
    UNROLLED
    for (p = 0; p < pixels; p++) {
        const __m256i left = _mm256_hadd_epi32(parts[p][0], parts[p][1]);
        const __m256i all = _mm256_hadd_epi32(left, _mm256_hadd_epi32(parts[p][2], parts[p][3]));
        const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
        const __m128i biased = _mm_add_epi32(sum, _mm_loadu_si128((const __m128i *)bias));
        _mm_storeu_si128((__m128i *)(sums + p * ABREAST), biased);
    }
}

/* A convolution in one group of at least 4 channels. Some windows at a time are copied, then all channels read them. */
AVX2 static void conv_avx2(const conv_layer *l, const int8_t *x, int8_t *y)
{
    int16_t near[NEAR];
    int32_t sums[PIXELS * ABREAST];
    const int outs = l->g.outs, taps = l->g.rows * l->g.columns * l->g.channels, wide = (taps + 15) / 16 * 16;
    const int total = l->g.out_height * l->g.out_width;
    const int parts = (outs + ABREAST - 1) / ABREAST, part = (outs + parts - 1) / parts;
    /* Whether windows are pixels that lie side by side. */
    const int plain = taps == wide && taps == l->g.channels && l->g.right == 1 && l->g.top + l->g.left == 0 &&
                      l->g.out_width == l->g.width && l->g.out_height == l->g.height;
    int some = NEAR / wide, row = 0, column = 0, start, first, p, o, i;
    if (some > PIXELS) some = PIXELS;
    if (some > 3) some -= some % 3;
    for (p = 0; p < some; p++) {
        for (i = taps; i < wide; i++) near[p * wide + i] = 0;
    }
    for (start = 0; start < total; start += some) {
        const int count = total - start < some ? total - start : some;
        int8_t *made = y + start * outs;
        if (plain) widened(x + start * taps, count * taps, near);
        for (p = 0; p < count && !plain; p++) {
            window(l, x, row, column, near + p * wide);
            if (++column == l->g.out_width) column = 0, row++;
        }
        for (first = 0; first < outs; first += part) {
            const int channels = outs - first < part ? outs - first : part;
            /* The last block may begin within the one before. */
            for (i = 0; i < channels; i += 4) {
                o = first + i + 4 <= outs ? i : outs - 4 - first;
                for (p = 0; p + 3 <= count; p += 3) {
                    dots(3, near + p * wide, wide, l->weight + (first + o) * taps, taps, l->bias + first + o,
                           sums + p * ABREAST + o);
                }
                for (; p < count; p++) {
                    dots(1, near + p * wide, wide, l->weight + (first + o) * taps, taps, l->bias + first + o,
                           sums + p * ABREAST + o);
                }
            }
            for (i = 0; i < channels && channels >= 8; i += 8) {
                o = i + 8 <= channels ? i : channels - 8;
                requantised(l, first + o, sums + o, ABREAST, count, made + first + o);
            }
            for (o = 0; o < channels && channels < 8; o++) {
                for (p = 0; p < count; p++) {
                    const int64_t value = scaled(sums[p * ABREAST + o], l->value[first + o], l->shift[first + o]);
                    made[p * outs + first + o] = limited(value, l->low, l->high, l->zero);
                }
            }
        }
    }
}

//@ depthwise
/* Pixels whose sums are held at once. */
enum { ALONG = 24 };

INLINED __m128i bytes(const int eights, const int8_t *from)
{
    return eights == 2 ? _mm_loadu_si128((const __m128i *)from) : _mm_loadl_epi64((const __m128i *)from);
}

/* Where each tap of a window begins; one more, so that they are taken in pairs. */
typedef struct {
    const int8_t *at[{{TAPS}}];
} places;

/* The sums of 8 or 16 channels, from `o` on, for 4 pixels or 1 whose windows lie `step` apart: two taps at a time. */
INLINED void products(const int pixels, const int eights, const conv_layer *l, const places *from, int offset, int step,
                      int o, int32_t *sums)
{
    const int taps = l->g.rows * l->g.columns, channels = l->g.channels;
    __m256i made[4][2];
    int t, p, j;
    UNROLLED
    for (p = 0; p < pixels; p++) {
        UNROLLED
        for (j = 0; j < eights; j++) made[p][j] = _mm256_loadu_si256((const __m256i *)(l->bias + o + 8 * j));
    }
    for (t = 0; t < taps; t += 2) {
        const int8_t *w = l->weight + t * channels + o, *a = from->at[t] + offset, *b = from->at[t + 1] + offset;
        const __m128i first = bytes(eights, w), second = t + 1 < taps ? bytes(eights, w + channels) : _mm_setzero_si128();
        const __m256i low = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(first, second));
        const __m256i high = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(first, second));
        UNROLLED
        for (p = 0; p < pixels; p++) {
            const __m128i one = bytes(eights, a + p * step), two = bytes(eights, b + p * step);
            __m256i codes = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(one, two));
            made[p][0] = _mm256_add_epi32(made[p][0], _mm256_madd_epi16(codes, low));
            if (eights == 2) {
                codes = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(one, two));
                made[p][1] = _mm256_add_epi32(made[p][1], _mm256_madd_epi16(codes, high));
            }
        }
    }
    UNROLLED
    for (p = 0; p < pixels; p++) {
        UNROLLED
        for (j = 0; j < eights; j++) _mm256_storeu_si256((__m256i *)(sums + p * 16 + 8 * j), made[p][j]);
    }
}

/* Pixels whose windows lie `step` apart, all channels. */
AVX2 static void depthwise_along(const conv_layer *l, const places *from, int step, int count, int8_t *y)
{
    int32_t sums[ALONG * 16];
    const int channels = l->g.channels;
    int start, o, p;
    for (start = 0; start < count; start += ALONG) {
        const int some = count - start < ALONG ? count - start : ALONG;
        o = 0;
        while (o < channels) {
            const int eights = o + 16 <= channels ? 2 : 1;
            /* The last block may begin within the one before. */
            if (o + 8 > channels) o = channels - 8;
            for (p = 0; p < some;) {
                const int four = p + 4 <= some, offset = (start + p) * step + o;
                if (eights == 2 && four) products(4, 2, l, from, offset, step, o, sums + p * 16);
                else if (eights == 2) products(1, 2, l, from, offset, step, o, sums + p * 16);
                else if (four) products(4, 1, l, from, offset, step, o, sums + p * 16);
                else products(1, 1, l, from, offset, step, o, sums + p * 16);
                p += four ? 4 : 1;
            }
            requantised(l, o, sums, 16, some, y + start * channels + o);
            if (eights == 2) requantised(l, o + 8, sums + 8, 16, some, y + start * channels + o + 8);
            o += 8 * eights;
        }
    }
}

/* A convolution of each channel by itself, of at least 8 channels. Padding is read from a row of codes of 0. */
AVX2 static void depthwise_avx2(const conv_layer *l, const int8_t *x, int8_t *y)
{
    int8_t nothing[{{CHANNELS}}];
    const int channels = l->g.channels;
    int row, column, r, c;
    memset(nothing, l->from_zero, sizeof nothing);
    for (row = 0; row < l->g.out_height; row++) {
        const int top = row * l->g.down - l->g.top;
        for (column = 0; column < l->g.out_width;) {
            const int left = column * l->g.right - l->g.left;
            places from;
            int count = 1, t = 0;
            /* Pixels whose windows are whole. */
            if (top >= 0 && top + l->g.rows <= l->g.height && left >= 0 && left + l->g.columns <= l->g.width) {
                count = (l->g.width - left - l->g.columns) / l->g.right + 1;
                if (count > l->g.out_width - column) count = l->g.out_width - column;
            }
            for (r = top; r < top + l->g.rows; r++) {
                for (c = left; c < left + l->g.columns; c++) {
                    const int inside = r >= 0 && r < l->g.height && c >= 0 && c < l->g.width;
                    from.at[t++] = inside ? x + (r * l->g.width + c) * channels : nothing;
                }
            }
            from.at[t] = x; /* Any: its weight is 0. */
            depthwise_along(l, &from, l->g.right * channels, count, y + (row * l->g.out_width + column) * channels);
            column += count;
        }
    }
}

//@ add
AVX2 static void add_avx2(const add_layer *l, const int8_t *a, const int8_t *b, int8_t *y, int count)
{
    const __m256i a_factor = _mm256_set1_epi32(l->a_factor), b_factor = _mm256_set1_epi32(l->b_factor);
    const __m256i a_zero = _mm256_set1_epi32(l->a_zero), b_zero = _mm256_set1_epi32(l->b_zero);
    const __m256i half = _mm256_set1_epi32((int32_t)1 << (l->shift - 1));
    const __m128i shift = _mm_cvtsi32_si128(l->shift), zero = _mm_set1_epi16((short)l->zero);
    const __m128i low = _mm_set1_epi8((char)(l->low + l->zero)), high = _mm_set1_epi8((char)(l->high + l->zero));
    int i;
    for (i = 0; i + 8 <= count; i += 8) {
        const __m256i left = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(a + i)));
        const __m256i right = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(b + i)));
        const __m256i one = _mm256_mullo_epi32(_mm256_sub_epi32(left, a_zero), a_factor);
        const __m256i two = _mm256_mullo_epi32(_mm256_sub_epi32(right, b_zero), b_factor);
        const __m256i wide = _mm256_sra_epi32(_mm256_add_epi32(_mm256_add_epi32(one, half), two), shift);
        __m128i codes = _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
        codes = _mm_adds_epi16(codes, zero);
        codes = _mm_min_epi8(_mm_max_epi8(_mm_packs_epi16(codes, codes), low), high);
        _mm_storel_epi64((__m128i *)(y + i), codes);
    }
    add(l, a + i, b + i, y + i, count - i);
}

//@ mean
/* The mean of each channel, of at least 8. */
AVX2 static void mean_avx2(const mean_layer *l, const int8_t *x, int8_t *y)
{
    int c, p, i;
    for (c = 0; c < l->channels; c += 8) {
        const int o = c + 8 <= l->channels ? c : l->channels - 8;
        int32_t sums[8];
        __m256i sum = _mm256_set1_epi32(-l->plane * l->from_zero);
        for (p = 0; p < l->plane; p++) {
            const __m128i codes = _mm_loadl_epi64((const __m128i *)(x + p * l->channels + o));
            sum = _mm256_add_epi32(sum, _mm256_cvtepi8_epi32(codes));
        }
        _mm256_storeu_si256((__m256i *)sums, sum);
        for (i = 0; i < 8; i++) {
            y[o + i] = limited(scaled(sums[i], l->value, l->shift), l->low, l->high, l->zero);
        }
    }
}
