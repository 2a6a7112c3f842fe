// SPDX-License-Identifier: Apache-2.0
/* PNG and JPEG files that the test writes, whole and damaged, and the resize by area. */
#include "support/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/philox.h"
#include "data/image.h"

#define MOST (1 << 16)

typedef struct file {
    uint8_t v[MOST];
    size_t size;
} file;

/* Decodes a copy of exactly that size, so that the address sanitizer sees a byte too many. */
static vkd_result decode(vkd_ctx *ctx, const uint8_t *bytes, size_t size, uint32_t channels,
                         vkd__image *out, const char **why) {
    uint8_t *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    if (size) memcpy(exact, bytes, size);
    const vkd_result r = vkd__image_decode(ctx, exact, size, channels, VKD__IMAGE_PIXELS, out, why);
    free(exact);
    if (r) assert_memory_equal(out, &(vkd__image){0}, sizeof *out);
    assert_int_equal(r != VKD_OK, *why != NULL);
    return r;
}

static const char *fault(const uint8_t *bytes, size_t size) {
    uint8_t *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    if (size) memcpy(exact, bytes, size);
    const char *why = vkd__image_fault(exact, size);
    free(exact);
    return why;
}

static void expect_pixels(vkd_ctx *ctx, const file *f, uint32_t height, uint32_t width,
                          uint32_t channels, const uint8_t *want) {
    vkd__image image;
    const char *why = fault(f->v, f->size);
    if (why) fail_msg("%s", why);
    if (decode(ctx, f->v, f->size, channels, &image, &why)) fail_msg("%s", why);
    assert_int_equal(image.height, height);
    assert_int_equal(image.width, width);
    assert_int_equal(image.channels, channels);
    assert_memory_equal(image.pixels, want, (size_t)height * width * channels);
    vkd__free(ctx, image.pixels);
}

/* ---- Decoding ---- */

static uint8_t grey_of(const uint8_t *rgb) {
    return (uint8_t)((77 * rgb[0] + 150 * rgb[1] + 29 * rgb[2]) >> 8);
}

/* Two rows of three pixels, in each form that PNG has; 1, 2 and 4 bits spread over all 8. */
static void every_form_of_png_is_decoded(void **state) {
    (void)state;
    static const uint8_t bits1[] = {0xa0, 0x40}, bits2[] = {0x18, 0xe4},
                         bits4[] = {0x01, 0x20, 0xfe, 0xd0};
    static const uint8_t grey[] = {0, 10, 20, 30, 40, 255};
    static const uint8_t grey16[] = {1, 200, 2, 200, 3, 0, 4, 255, 5, 255, 6, 127};
    static const uint8_t alpha[] = {9, 0, 8, 255, 7, 3, 6, 0, 5, 1, 4, 255};
    static const uint8_t rgb[] = {1, 2, 3,   255, 0,  0,  0,   255, 0,
                                  0, 0, 255, 90,  80, 70, 255, 255, 255};
    static const uint8_t rgba[] = {1, 2, 3,   0, 255, 0,  0,  255, 0,   255, 0,   1,
                                   0, 0, 255, 9, 90,  80, 70, 0,   255, 255, 255, 128};
    static uint8_t rgb16[36];
    for (size_t i = 0; i < 18; i++) {
        rgb16[2 * i] = rgb[i];
        rgb16[2 * i + 1] = (uint8_t)(i * 13);
    }
    uint8_t palette[48];
    for (size_t i = 0; i < 16; i++)
        memcpy(palette + 3 * i, rgb + 3 * (i % 6), 3);
    static const uint8_t indices8[] = {0, 1, 2, 3, 4, 5}, indices4[] = {0x01, 0x20, 0x34, 0x50};
    static const uint8_t from1[] = {255, 0, 255, 0, 255, 0}, from2[] = {0, 85, 170, 255, 170, 85},
                         from4[] = {0, 17, 34, 255, 238, 221}, from16[] = {1, 2, 3, 4, 5, 6},
                         from_alpha[] = {9, 8, 7, 6, 5, 4};
    const struct {
        uint8_t colour, depth;
        const uint8_t *rows, *grey, *rgb;
    } forms[] = {
        {0, 1, bits1, from1, NULL},      {0, 2, bits2, from2, NULL},    {0, 4, bits4, from4, NULL},
        {0, 8, grey, grey, NULL},        {0, 16, grey16, from16, NULL}, {2, 8, rgb, NULL, rgb},
        {2, 16, rgb16, NULL, rgb},       {3, 8, indices8, NULL, rgb},   {3, 4, indices4, NULL, rgb},
        {4, 8, alpha, from_alpha, NULL}, {6, 8, rgba, NULL, rgb},
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(forms); i++) {
        static file f;
        uint8_t one[6], three[18];
        for (size_t k = 0; k < 6; k++) {
            one[k] = forms[i].grey ? forms[i].grey[k] : grey_of(forms[i].rgb + 3 * k);
            for (size_t c = 0; c < 3; c++)
                three[3 * k + c] = forms[i].grey ? forms[i].grey[k] : forms[i].rgb[3 * k + c];
        }
        const test_png_desc desc = {.height = 2,
                                    .width = 3,
                                    .colour = forms[i].colour,
                                    .depth = forms[i].depth,
                                    .rows = forms[i].rows,
                                    .palette = forms[i].colour == 3 ? palette : NULL};
        f.size = test_png(&desc, f.v, MOST);
        expect_pixels(ctx, &f, 2, 3, 3, three);
        /* Grey of 16-bit colour is taken before the lower halves go. */
        if (forms[i].rows != rgb16) expect_pixels(ctx, &f, 2, 3, 1, one);
    }
    vkd_ctx_destroy(ctx);
}

/* A smooth image, which a JPEG of the best quality keeps. */
static void smooth(uint32_t height, uint32_t width, uint32_t channels, uint8_t *out) {
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < channels; c++)
                *out++ = (uint8_t)(c == 0 ? 40 + 5 * x : c == 1 ? 200 - 6 * y : 90 + 2 * x + 3 * y);
}

static void a_jpeg_comes_back_nearly_as_it_was(void **state) {
    (void)state;
    enum { H = 19, W = 27 };
    static uint8_t pixels[H * W * 3];
    vkd_ctx *ctx = test_ctx();
    for (uint32_t channels = 1; channels <= 3; channels += 2) {
        static file f;
        smooth(H, W, channels, pixels);
        f.size = test_jpeg(H, W, channels, pixels, f.v, MOST);
        assert_null(fault(f.v, f.size));
        for (uint32_t wanted = 1; wanted <= 3; wanted += 2) {
            vkd__image image;
            const char *why;
            if (decode(ctx, f.v, f.size, wanted, &image, &why)) fail_msg("%s", why);
            assert_int_equal(image.height, H);
            assert_int_equal(image.width, W);
            for (size_t i = 0; i < H * W; i++)
                for (uint32_t c = 0; c < wanted; c++) {
                    const uint8_t *p = pixels + i * channels;
                    const int want = wanted == channels ? p[c] : wanted == 3 ? *p : grey_of(p);
                    assert_in_range(image.pixels[i * wanted + c] - want + 4, 0, 8);
                }
            vkd__free(ctx, image.pixels);
        }
    }
    vkd_ctx_destroy(ctx);
}

/* ---- Damage ---- */

static void make_files(file *png, file *jpeg) {
    static uint8_t pixels[9 * 11 * 3];
    smooth(9, 11, 3, pixels);
    const test_png_desc desc = {.height = 9, .width = 11, .colour = 2, .rows = pixels};
    png->size = test_png(&desc, png->v, MOST);
    jpeg->size = test_jpeg(9, 11, 3, pixels, jpeg->v, MOST);
}

static void every_beginning_of_a_file_is_refused(void **state) {
    (void)state;
    static file files[2];
    make_files(&files[0], &files[1]);
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < 2; i++) {
        assert_null(fault(files[i].v, files[i].size));
        for (size_t size = 0; size < files[i].size; size++) {
            const char *why = fault(files[i].v, size);
            assert_string_equal(why, size ? "it is cut short" : "it is empty");
            /* The decoder alone may make something of it, or not. */
            vkd__image image;
            if (!decode(ctx, files[i].v, size, 3, &image, &why)) {
                assert_int_equal(image.height * image.width, 99);
                vkd__free(ctx, image.pixels);
            }
        }
    }
    vkd_ctx_destroy(ctx);
}

static void every_wrong_bit_of_a_png_is_found(void **state) {
    (void)state;
    static file png, jpeg;
    make_files(&png, &jpeg);
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < 8 * png.size; i++) {
        png.v[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_non_null(fault(png.v, png.size));
        vkd__image image;
        const char *why;
        if (!decode(ctx, png.v, png.size, 1, &image, &why)) vkd__free(ctx, image.pixels);
        png.v[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    vkd_ctx_destroy(ctx);
}

static void what_is_no_image_is_told(void **state) {
    (void)state;
    const struct {
        const char *bytes;
        size_t size;
        const char *why;
    } cases[] = {
        {"GIF89a....", 10, "it is neither PNG nor JPEG"},
        {"\x89PNG\r\n\x1a\n", 8, "it is cut short"},
        {"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT", 16, "it is cut short"},
        {"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDAT1234", 20, "a chunk has no allowed length"},
        {"\x89PNG\r\n\x1a\n\0\0\0\0IEND1234", 20, "a chunk's checksum is wrong"},
        {"\xff\xd8\xff\xe0\0\4ab\xff\xd9\0\0", 12, "it has no image in it"},
        {"\xff\xd8\xff\xe0\0\1ab", 8, "a segment has no allowed length"},
        {"\xff\xd8\xff\xe0\0\4abcdef", 12, "it is cut short"},
        {"\xff\xd8\xff\xff\xff\xff\xff", 7, "it is cut short"},
        {"\xff\xd8\xff\xda\0\2ab\xff\0\xff\xd0", 12, "it is cut short"},
        {"\xff\xd8\xff\xda\0\2ab\xff\0\xff\xd9", 12, NULL},
        {"\xff\xd8\xff\xda\0\2ab\xff\xff\0\xff\xd9", 13, NULL},
        {"\xff\xd8\xff\xda\0\2ab\xff\xe1\0\4\xff\xd9", 14, "it is cut short"},
        {"\xff\xd8\xff\xc4\0\4abcdef", 12, "a Huffman table is impossible"},
        {"\xff\xd8\xff\xd0\xff\xff\xff\x01\xff\xda\0\2\xff\xd9", 14, NULL},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        const char *why = fault((const uint8_t *)cases[i].bytes, cases[i].size);
        if (!why != !cases[i].why || (why && strcmp(why, cases[i].why) != 0))
            fail_msg("case %zu: %s", i, why ? why : "nothing");
    }
}

/* Two tables, the second with `codes` codes of one length and no bytes behind them but padding. */
static const char *tables(uint32_t codes, uint32_t bytes) {
    static uint8_t f[1024];
    const uint32_t length = 2 + 17 + 1 + 17 + bytes;
    memset(f, 0, sizeof f);
    memcpy(f, "\xff\xd8\xff\xc4", 4);
    f[4] = (uint8_t)(length >> 8);
    f[5] = (uint8_t)length;
    f[6 + 1] = 1; /* the first: one code */
    for (uint32_t i = 0; i < codes; i++)
        f[24 + 1 + i / 255]++;
    memcpy(f + 4 + length, "\xff\xda\0\2\xff\xd9", 6);
    return fault(f, 4 + length + 6);
}

static void a_huffman_table_has_no_more_codes_than_there_are(void **state) {
    (void)state;
    assert_null(tables(0, 0));
    assert_null(tables(256, 256));
    assert_null(tables(7, 7));
    assert_string_equal(tables(257, 257), "a Huffman table is impossible");
    assert_string_equal(tables(256, 255), "a Huffman table is impossible");
    assert_string_equal(tables(7, 8), "a Huffman table is impossible");
    assert_string_equal(tables(0, 16), "a Huffman table is impossible");
}

/* The decoder would write behind its table. */
static void a_jpeg_with_an_impossible_table_is_not_decoded(void **state) {
    (void)state;
    static file png, jpeg;
    make_files(&png, &jpeg);
    size_t at = 0;
    while (memcmp(jpeg.v + at, "\xff\xc4", 2) != 0)
        at++;
    memset(jpeg.v + at + 5, 0x20, 16);
    vkd_ctx *ctx = test_ctx();
    vkd__image image;
    const char *why = NULL;
    assert_int_equal(decode(ctx, jpeg.v, jpeg.size, 3, &image, &why), VKD_E_DATA);
    assert_string_equal(why, "a Huffman table is impossible");
    vkd_ctx_destroy(ctx);
}

/* Only the header says how large the image is. */
static void huge_images_are_refused_before_they_are_unpacked(void **state) {
    (void)state;
    static const uint8_t pixel[4] = {1, 2, 3, 4};
    const struct {
        uint32_t height, width;
        const char *why;
    } sizes[] = {
        {16385, 1, "it has more than 16384 pixels a side"},
        {1, 16385, "it has more than 16384 pixels a side"},
        {8193, 8192, "or more in all than are read"},
        {0x7fffffff, 0x7fffffff, "impossible size"},
        {0xffffffff, 1, "impossible size"},
        {0, 5, "impossible size"},
        {8192, 8192, "not enough pixels"}, /* allowed, and not there */
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(sizes); i++) {
        static file f;
        f.size = test_png(&(test_png_desc){.height = 1, .width = 1, .rows = pixel}, f.v, MOST);
        for (uint32_t k = 0; k < 4; k++) {
            f.v[16 + k] = (uint8_t)(sizes[i].width >> (24 - 8 * k));
            f.v[20 + k] = (uint8_t)(sizes[i].height >> (24 - 8 * k));
        }
        vkd__image image;
        const char *why = NULL;
        assert_int_equal(decode(ctx, f.v, f.size, 1, &image, &why), VKD_E_DATA);
        if (!strstr(why, sizes[i].why)) fail_msg("%s: %s", sizes[i].why, why);
    }
    vkd_ctx_destroy(ctx);
}

/* A PNG of one pixel whose packed data is 64 MiB of zeros. */
static void packed_data_beyond_the_image_is_not_unpacked(void **state) {
    (void)state;
    enum { BOMB = 64 << 20 };
    static file f;
    static const uint8_t pixel[1] = {7};
    f.size = test_png(&(test_png_desc){.height = 1, .width = 1, .rows = pixel}, f.v, MOST);
    uint8_t *zeros = calloc(BOMB, 1), *packed = malloc(MOST * 2);
    uLongf size = MOST * 2;
    assert_true(zeros && packed);
    assert_int_equal(compress2(packed, &size, zeros, BOMB, 9), Z_OK);
    /* In front of the chunks IDAT and IEND, whose sizes are known: 8 + 25 bytes are kept. */
    uint8_t *bomb = malloc(33 + 12 + size + 12);
    assert_non_null(bomb);
    memcpy(bomb, f.v, 33);
    const uint8_t length[] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                              (uint8_t)size};
    memcpy(bomb + 33, length, 4);
    memcpy(bomb + 37, "IDAT", 4);
    memcpy(bomb + 41, packed, size);
    memset(bomb + 41 + size, 0, 4);
    memcpy(bomb + 45 + size, f.v + f.size - 12, 12);
    vkd_ctx *ctx = test_ctx();
    vkd__image image;
    const char *why = NULL;
    assert_int_equal(decode(ctx, bomb, 57 + size, 1, &image, &why), VKD_E_DATA);
    assert_string_equal(why, "it unpacks to more than its image");
    vkd_ctx_destroy(ctx);
    free(zeros);
    free(packed);
    free(bomb);
}

/* ---- Resizing ---- */

/* The length that [a, b) and [c, d) share. */
static double overlap(double a, double b, double c, double d) {
    const double low = a > c ? a : c, high = b < d ? b : d;
    return high > low ? high - low : 0;
}

/* The mean over the area of result pixel (y, x), by trying every pixel of the source. */
static double mean_of(const vkd__image *from, uint32_t height, uint32_t width, uint32_t y,
                      uint32_t x, uint32_t c) {
    const double h = (double)from->height / height, w = (double)from->width / width;
    double sum = 0;
    for (uint32_t i = 0; i < from->height; i++)
        for (uint32_t k = 0; k < from->width; k++)
            sum += overlap(y * h, (y + 1) * h, i, i + 1) * overlap(x * w, (x + 1) * w, k, k + 1) *
                   from->pixels[((size_t)i * from->width + k) * from->channels + c];
    return sum / (h * w);
}

static void a_resized_pixel_is_the_mean_of_its_area(void **state) {
    (void)state;
    const uint32_t sizes[][5] = {/* from, to, channels */
                                 {28, 28, 14, 14, 1}, {28, 28, 28, 28, 1}, {32, 32, 20, 24, 3},
                                 {5, 7, 3, 2, 3},     {3, 2, 5, 7, 1},     {1, 1, 4, 3, 3},
                                 {13, 17, 1, 1, 2},   {4, 9, 9, 4, 1}};
    vkd_ctx *ctx = test_ctx();
    for (size_t s = 0; s < VKD_COUNT(sizes); s++) {
        static uint8_t pixels[32 * 32 * 3], out[32 * 32 * 3];
        const uint32_t height = sizes[s][2], width = sizes[s][3], channels = sizes[s][4];
        const vkd__image from = {sizes[s][0], sizes[s][1], channels, pixels};
        for (size_t i = 0; i < sizeof pixels; i++)
            pixels[i] = (uint8_t)vkd__philox_at(1, 2, (uint32_t)s, (uint32_t)i).v[0];
        assert_int_equal(vkd__image_resize(ctx, &from, height, width, out), VKD_OK);
        const uint8_t *got = out;
        for (uint32_t y = 0; y < height; y++)
            for (uint32_t x = 0; x < width; x++)
                for (uint32_t c = 0; c < channels; c++)
                    assert_true(fabs(*got++ - mean_of(&from, height, width, y, x, c)) < 0.5001);
    }
    vkd_ctx_destroy(ctx);
}

static void a_resize_rounds_to_the_nearest(void **state) {
    (void)state;
    uint8_t pixels[] = {1, 2, 2, 255, 255, 255, 0, 1}, out[4];
    vkd_ctx *ctx = test_ctx();
    const vkd__image row = {1, 8, 1, pixels};
    assert_int_equal(vkd__image_resize(ctx, &row, 1, 4, out), VKD_OK);
    assert_memory_equal(out, ((const uint8_t[]){2, 129, 255, 1}), 4);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_of_png_is_decoded),
        cmocka_unit_test(a_jpeg_comes_back_nearly_as_it_was),
        cmocka_unit_test(every_beginning_of_a_file_is_refused),
        cmocka_unit_test(every_wrong_bit_of_a_png_is_found),
        cmocka_unit_test(what_is_no_image_is_told),
        cmocka_unit_test(a_huffman_table_has_no_more_codes_than_there_are),
        cmocka_unit_test(a_jpeg_with_an_impossible_table_is_not_decoded),
        cmocka_unit_test(huge_images_are_refused_before_they_are_unpacked),
        cmocka_unit_test(packed_data_beyond_the_image_is_not_unpacked),
        cmocka_unit_test(a_resized_pixel_is_the_mean_of_its_area),
        cmocka_unit_test(a_resize_rounds_to_the_nearest),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
