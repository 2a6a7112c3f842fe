// SPDX-License-Identifier: Apache-2.0
/* Folders of images, made of files that the test writes. */
#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/platform.h"

static char root[] = "/tmp/vkd_folder_XXXXXX";
enum { SIDE = 6, MOST = 1 << 14 };

static const char *path_of(const char *name) {
    static char ring[4][256];
    static unsigned next;
    char *path = ring[next++ % 4];
    snprintf(path, sizeof ring[0], "%s/%s", root, name);
    return path;
}

/* An image of one colour, as PNG or, by its name, JPEG. */
static void put(const char *name, uint32_t height, uint32_t width, uint8_t red, uint8_t green) {
    static uint8_t pixels[16 * 16 * 3], bytes[MOST];
    for (size_t i = 0; i < (size_t)height * width; i++) {
        pixels[3 * i] = red;
        pixels[3 * i + 1] = green;
        pixels[3 * i + 2] = 200;
    }
    const test_png_desc desc = {.height = height, .width = width, .colour = 2, .rows = pixels};
    const size_t size = strstr(name, ".jp") || strstr(name, ".JP")
                            ? test_jpeg(height, width, 3, pixels, bytes, MOST)
                            : test_png(&desc, bytes, MOST);
    test_write(path_of(name), bytes, size);
}

static void put_text(const char *name, const char *text) {
    test_write(path_of(name), text, strlen(text));
}

/* Three classes of 3, 1 and 2 training images and one test image each. */
static void make_images(void) {
    test_remove(root);
    put("train/cat/a.png", SIDE, SIDE, 10, 1);
    put("train/cat/b.jpg", SIDE, SIDE, 20, 2);
    put("train/cat/c.PNG", SIDE, SIDE, 30, 3);
    put("train/Bird/only.jpeg", SIDE, SIDE, 40, 4);
    put("train/dog/2.png", SIDE, SIDE, 60, 6);
    put("train/dog/10.png", SIDE, SIDE, 50, 5);
    put("test/cat/x.png", SIDE, SIDE, 70, 7);
    put("test/Bird/y.JPG", SIDE, SIDE, 80, 8);
    put("test/dog/z.png", SIDE, SIDE, 90, 9);
}

static int make_root(void **state) {
    (void)state;
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    test_remove(root);
    return 0;
}

static vkd_result load(vkd_ctx *ctx, const char *key, const char *value, vkd__dataset *d) {
    return test_load(ctx, "folder", (const char *const[]){"dir", root, key, value, NULL}, d);
}

/* Red says which image it is; a JPEG may round it. */
static void expect(const vkd__dataset *d, const vkd__split *s, uint32_t i, int32_t label, int red) {
    assert_int_equal(s->labels[i], label);
    assert_in_range(s->bytes[i * vkd_shape_count(d->sample)] - red + 2, 0, 4);
}

static void images_are_numbered_round_robin(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    make_images();
    vkd__dataset d;
    if (load(ctx, "channels", "3", &d)) fail_msg("%s", vkd_ctx_error(ctx));
    assert_int_equal(d.classes, 3);
    assert_string_equal(d.class_names[0], "Bird");
    assert_string_equal(d.class_names[1], "cat");
    assert_string_equal(d.class_names[2], "dog");
    assert_int_equal(d.channels, 3);
    assert_memory_equal(d.sample.dim, ((uint32_t[]){SIDE, SIDE, 3}), 3 * sizeof(uint32_t));
    static const int reds[] = {40, 10, 50, 20, 60, 30}, classes[] = {0, 1, 2, 1, 2, 1};
    assert_int_equal(d.train.count, 6);
    for (uint32_t i = 0; i < 6; i++)
        expect(&d, &d.train, i, classes[i], reds[i]);
    assert_int_equal(d.test.count, 3);
    expect(&d, &d.test, 0, 0, 80);
    expect(&d, &d.test, 1, 1, 70);
    expect(&d, &d.test, 2, 2, 90);
    /* The colours of a PNG are exact. */
    assert_memory_equal(d.train.bytes + SIDE * SIDE * 3, ((uint8_t[]){10, 1, 200, 10, 1, 200}), 6);
    vkd__dataset_term(ctx, &d);
    assert_int_equal(load(ctx, "samples", "4", &d), VKD_OK);
    assert_int_equal(d.train.count, 4);
    expect(&d, &d.train, 3, 1, 20);
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

static void colour_becomes_grey_where_asked(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    make_images();
    vkd__dataset d;
    assert_int_equal(load(ctx, "channels", "1", &d), VKD_OK);
    assert_int_equal(d.channels, 1);
    assert_int_equal(d.sample.dim[2], 1);
    assert_int_equal(d.train.bytes[SIDE * SIDE], (77 * 10 + 150 * 1 + 29 * 200) >> 8);
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

static void images_of_any_size_become_one_size(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    make_images();
    put("train/cat/b.jpg", 13, 5, 20, 2);
    vkd__dataset d;
    assert_int_equal(load(ctx, "channels", "3", &d), VKD_E_DATA);
    assert_non_null(strstr(vkd_ctx_error(ctx), "cat/b.jpg' is 13 x 5 pixels, the images before it "
                                               "6 x 6; say to what they are to be resized"));
    assert_int_equal(load(ctx, "size", "[4, 3]", &d), VKD_OK);
    assert_memory_equal(d.sample.dim, ((uint32_t[]){4, 3, 3}), 3 * sizeof(uint32_t));
    for (uint32_t i = 0; i < 12; i++)
        assert_memory_equal(d.train.bytes + 36 + 3 * i, ((uint8_t[]){10, 1, 200}), 3);
    expect(&d, &d.train, 3, 1, 20);
    vkd__dataset_term(ctx, &d);
    put("train/cat/b.jpg", SIDE, SIDE, 20, 2);
    put("test/dog/z.png", 4, 4, 90, 9);
    assert_int_equal(load(ctx, "channels", "3", &d), VKD_E_DATA);
    assert_non_null(strstr(vkd_ctx_error(ctx), "test/dog/z.png' is 4 x 4 pixels"));
    vkd_ctx_destroy(ctx);
}

/* ---- What does not belong there ---- */

static void other_files_are_passed_over(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    make_images();
    put_text("train/README", "x");
    put_text("train/cat/list.txt", "x");
    put_text("train/cat/._a.png", "x");
    put_text("train/cat/png", "x");
    put_text("train/.hidden/a.png", "x");
    put("train/cat/deeper/a.png", SIDE, SIDE, 1, 1);
    vkd__dataset d;
    assert_int_equal(load(ctx, "channels", "3", &d), VKD_OK);
    assert_int_equal(d.train.count, 6);
    assert_int_equal(d.classes, 3);
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

static void refuse(vkd_ctx *ctx, const char *key, const char *value, vkd_result want,
                   const char *words) {
    vkd__dataset d;
    const vkd_result r = load(ctx, key, value, &d);
    if (r != want) fail_msg("%s: %s", vkd_result_text(r), vkd_ctx_error(ctx));
    if (!strstr(vkd_ctx_error(ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), words);
}

static void classes_that_differ_are_named(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    make_images();
    put("train/eel/a.png", SIDE, SIDE, 1, 1);
    put("train/ant/a.png", SIDE, SIDE, 1, 1);
    put("test/fox/a.png", SIDE, SIDE, 1, 1);
    test_remove(path_of("test/cat"));
    char want[256];
    snprintf(want, sizeof want, "differ: '%s' lacks 'ant', 'cat', 'eel'; '%s' lacks 'fox'",
             path_of("test"), path_of("train"));
    refuse(ctx, "channels", "3", VKD_E_DATA, want);
    make_images();
    for (int i = 0; i < 11; i++) {
        char name[] = "train/_/a.png";
        name[6] = (char)('a' + i);
        put(name, SIDE, SIDE, 1, 1);
    }
    refuse(ctx, "channels", "3", VKD_E_DATA, "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h' and 3 more");
    vkd_ctx_destroy(ctx);
}

static void empty_and_missing_folders_are_named(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    make_images();
    test_remove(path_of("train/dog/2.png"));
    test_remove(path_of("train/dog/10.png"));
    refuse(ctx, "channels", "3", VKD_E_DATA, "train/dog' has no .png, .jpg or .jpeg files");
    test_remove(path_of("train"));
    refuse(ctx, "channels", "3", VKD_E_FILE, "cannot read folder '");
    assert_int_equal(vkd__make_folder(ctx, path_of("train")), VKD_OK);
    refuse(ctx, "channels", "3", VKD_E_DATA, "train' has no class folders");
    refuse(ctx, "dir", "", VKD_E_RECIPE, "format folder needs 'dir'");
    put("train/one/a.png", SIDE, SIDE, 1, 1);
    test_remove(path_of("test"));
    put("test/one/a.png", SIDE, SIDE, 1, 1);
    refuse(ctx, "channels", "3", VKD_E_DATA, "the data has 1 class; there must be two");
    vkd_ctx_destroy(ctx);
}

static void links_do_not_lead_round_in_a_circle(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    make_images();
    /* A class that is the folder of classes: looked into, and not any deeper. */
    assert_int_equal(symlink("..", path_of("train/cat/up")), 0);
    assert_int_equal(symlink("../train", path_of("train/loop")), 0);
    refuse(ctx, "channels", "3", VKD_E_DATA, "train/loop' has no .png, .jpg or .jpeg files");
    test_remove(path_of("train/loop"));
    assert_int_equal(symlink("self", path_of("train/self")), 0);
    refuse(ctx, "channels", "3", VKD_E_FILE, "cannot look at '");
    test_remove(path_of("train/self"));
    assert_int_equal(symlink("self.png", path_of("train/cat/self.png")), 0);
    refuse(ctx, "channels", "3", VKD_E_FILE, "self.png'");
    test_remove(path_of("train/cat/self.png"));
    assert_int_equal(symlink("a.png", path_of("train/cat/same.png")), 0);
    assert_int_equal(symlink("cat", path_of("train/tac")), 0);
    assert_int_equal(symlink("../train/dog", path_of("test/tac")), 0);
    vkd__dataset d;
    if (load(ctx, "channels", "3", &d)) fail_msg("%s", vkd_ctx_error(ctx));
    assert_int_equal(d.classes, 4);
    assert_int_equal(d.train.count, 3 + 1 + 2 + 2 * 1 + 3);
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

/* ---- Broken images ---- */

typedef struct warnings {
    uint32_t count;
    char last[512];
} warnings;

static void keep(void *user, vkd_log_level level, const char *message) {
    warnings *w = user;
    if (level != VKD_LOG_WARNING) return;
    w->count++;
    snprintf(w->last, sizeof w->last, "%s", message);
}

static void broken_images_end_the_load_or_are_counted(void **state) {
    (void)state;
    warnings w = {0};
    vkd_ctx *ctx = NULL;
    assert_int_equal(vkd_ctx_create(&(vkd_ctx_desc){.log = keep, .user = &w}, &ctx), VKD_OK);
    make_images();
    put_text("train/cat/a.png", "");
    put_text("train/cat/b.jpg", "no image");
    refuse(ctx, "broken", "error", VKD_E_DATA,
           "cat/a.png': it is empty; data.broken=skip leaves such images out");
    w.count = 0;
    vkd__dataset d;
    assert_int_equal(load(ctx, "broken", "skip", &d), VKD_OK);
    assert_int_equal(d.train.count, 4);
    static const int reds[] = {40, 50, 60, 30}, classes[] = {0, 2, 2, 1};
    for (uint32_t i = 0; i < 4; i++)
        expect(&d, &d.train, i, classes[i], reds[i]);
    vkd__dataset_term(ctx, &d);
    assert_int_equal(w.count, 1);
    char want[256];
    snprintf(want, sizeof want,
             "2 images of '%s' cannot be decoded and were left out, the first is '%s': it is empty",
             path_of("train"), path_of("train/cat/a.png"));
    assert_string_equal(w.last, want);
    put_text("train/cat/c.PNG", "x");
    refuse(ctx, "broken", "skip", VKD_E_DATA, "no image in '");
    assert_non_null(strstr(vkd_ctx_error(ctx), "train/cat' can be decoded"));
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_numbered_round_robin),
        cmocka_unit_test(colour_becomes_grey_where_asked),
        cmocka_unit_test(images_of_any_size_become_one_size),
        cmocka_unit_test(other_files_are_passed_over),
        cmocka_unit_test(classes_that_differ_are_named),
        cmocka_unit_test(empty_and_missing_folders_are_named),
        cmocka_unit_test(links_do_not_lead_round_in_a_circle),
        cmocka_unit_test(broken_images_end_the_load_or_are_counted),
    };
    return cmocka_run_group_tests_name("folder", tests, make_root, remove_root);
}
