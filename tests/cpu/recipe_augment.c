// SPDX-License-Identifier: Apache-2.0
/* A stage's augment: how it is read, what it makes of teacher_logits, and that student and teacher
 * see one and the same augmented batch. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "ops/op.h"
#include "train/session.h"

/* A recipe whose second stage has these lines more. */
static vkd_result parse(vkd_ctx *ctx, const char *more, vkd_recipe **out) {
    char text[1500];
    snprintf(
        text, sizeof text,
        "name: augment\n"
        "data: {format: idx}\n"
        "models: {teacher: {arch: mlp, hidden: [8]}, student: {arch: mlp, hidden: [5]}}\n"
        "stages:\n"
        "  - {train: teacher, losses: [{loss: ce}], optimiser: {name: sgd}, epochs: 1, batch: 4}\n"
        "  - name: distil\n"
        "    train: student\n"
        "    teacher: teacher\n"
        "    control: true\n"
        "    losses: [{loss: kd_kl}, {loss: ce}]\n"
        "    optimiser: {name: sgd}\n"
        "    epochs: 1\n"
        "    batch: 4\n"
        "%s\n",
        more);
    return vkd_recipe_parse(ctx, "r.yaml", text, strlen(text), NULL, 0, out);
}

static void refuse(const char *more, const char *words) {
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = NULL;
    assert_int_equal(parse(ctx, more, &recipe), VKD_E_RECIPE);
    if (!strstr(vkd_ctx_error(ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), words);
    vkd_ctx_destroy(ctx);
}

static vkd_recipe *read_good(vkd_ctx *ctx, const char *more) {
    vkd_recipe *recipe = NULL;
    if (parse(ctx, more, &recipe)) fail_msg("%s", vkd_ctx_error(ctx));
    return recipe;
}

static const char all[] =
    "    augment: {crop: 4, pad_mode: reflect, flip: 0.5, shift: 1.5, rotate: 15,\n"
    "      scale: 0.25, shear: 0.125, cutout: 8, brightness: 0.75,\n"
    "      contrast: 0.375, randaugment_ops: 2, randaugment_magnitude: 14}";

static void every_field_is_read_and_printed(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *first = read_good(ctx, all), *second = NULL;
    const vkd_augment_desc *d = &first->stages[1].augment;
    assert_true(first->stages[1].augmented);
    assert_false(first->stages[0].augmented);
    assert_int_equal(d->crop, 4);
    assert_int_equal(d->pad_mode, VKD_PAD_REFLECT);
    assert_true(d->flip == 0.5f && d->shift == 1.5f && d->rotate == 15 && d->scale == 0.25f);
    assert_true(d->shear == 0.125f && d->brightness == 0.75f && d->contrast == 0.375f);
    assert_int_equal(d->cutout, 8);
    assert_int_equal(d->randaugment_ops, 2);
    assert_int_equal(d->randaugment_magnitude, 14);

    char *printed = vkd_recipe_print(first);
    if (vkd_recipe_parse(ctx, "printed", printed, strlen(printed), NULL, 0, &second))
        fail_msg("%s", vkd_ctx_error(ctx));
    char *again = vkd_recipe_print(second);
    assert_string_equal(printed, again);
    assert_memory_equal(d, &second->stages[1].augment, sizeof *d);
    /* The stage that says nothing of it is printed without. */
    const char *at = strstr(printed, "    augment:\n      crop: 4\n      pad_mode: reflect\n");
    assert_non_null(at);
    assert_null(strstr(at + 5, "augment:\n"));
    vkd_free_text(ctx, printed);
    vkd_free_text(ctx, again);
    vkd_recipe_destroy(first);
    vkd_recipe_destroy(second);
    vkd_ctx_destroy(ctx);
}

static uint32_t logits_of(const char *more) {
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = read_good(ctx, more);
    const uint32_t logits = recipe->stages[1].options.teacher_logits;
    vkd_recipe_destroy(recipe);
    vkd_ctx_destroy(ctx);
    return logits;
}

static void augmented_images_make_the_teacher_live(void **state) {
    (void)state;
    assert_int_equal(logits_of(""), VKD__LOGITS_CACHED);
    assert_int_equal(logits_of("    augment: {crop: 0, pad_mode: reflect}"), VKD__LOGITS_CACHED);
    assert_int_equal(logits_of("    augment: {randaugment_magnitude: 30}"), VKD__LOGITS_CACHED);
    assert_int_equal(logits_of("    augment: {flip: 0.5}"), VKD__LOGITS_LIVE);
    assert_int_equal(logits_of("    augment: {cutout: 1}\n    teacher_logits: live"),
                     VKD__LOGITS_LIVE);
    assert_int_equal(logits_of("    augment: {cutout: 0}\n    teacher_logits: cached"),
                     VKD__LOGITS_CACHED);
    refuse("    augment: {cutout: 1}\n    teacher_logits: cached",
           "r.yaml:15: stage 'distil' augments its images, and cached logits are those of the "
           "images as they were; leave teacher_logits out, or make it live");
    refuse(
        "    augment: {cutout: 1}\n    teacher_cache: a.cache",
        "stage 'distil' augments its images, and 'a.cache' has what 'teacher' said of the images "
        "as they were; leave the cache out");
    assert_int_equal(logits_of("    augment: {cutout: 0}\n    teacher_cache: a.cache"),
                     VKD__LOGITS_CACHED);
}

/* Each option by itself is one that changes images. */
static void any_option_turns_it_on(void **state) {
    (void)state;
    static const char *const options[] = {
        "crop: 1",    "flip: 0.1", "shift: 0.1",    "rotate: 1",     "scale: 0.1",
        "shear: 0.1", "cutout: 1", "brightness: 1", "contrast: 0.1", "randaugment_ops: 1"};
    for (size_t i = 0; i < VKD_COUNT(options); i++) {
        char line[64];
        snprintf(line, sizeof line, "    augment: {%s}", options[i]);
        assert_int_equal(logits_of(line), VKD__LOGITS_LIVE);
    }
}

static void what_is_wrong_is_said(void **state) {
    (void)state;
    refuse("    augment: {flipp: 0.5}",
           "r.yaml:14: augment of stage 'distil' has no key 'flipp', did you mean 'flip'?");
    refuse("    augment: {flip: 1.5}", "from 0 to 1");
    refuse("    augment: {pad_mode: mirror}", "reflect");
    refuse("    augment: crop", "'augment' must be a map of keys and values");
    refuse("    augment: {randaugment_magnitude: 31}", "from 0 to 30");
}

/* ---- The graph ---- */

static int32_t labels[32];

static vkd__session *sketch(vkd_ctx *ctx, const vkd_recipe *recipe, vkd_shape sample) {
    static vkd__dataset data;
    data = (vkd__dataset){.sample = sample,
                          .channels = 1,
                          .classes = 3,
                          .train = {.count = 32, .labels = labels},
                          .test = {.count = 8, .labels = labels}};
    vkd__session *s = NULL;
    (void)vkd__session_sketch(ctx, recipe, &data, &s);
    return s;
}

/* Nodes of an op; the last one's first result is in *last. */
static uint32_t count_of(const vkd_graph *g, const vkd_op_def *op, vkd_tensor *last) {
    uint32_t count = 0;
    for (size_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i].op != op) continue;
        count++;
        *last = g->nodes[i].out[0];
    }
    return count;
}

/* Inputs of nodes that are t. */
static uint32_t readers_of(const vkd_graph *g, vkd_tensor t) {
    uint32_t count = 0;
    for (size_t i = 0; i < g->node_count; i++)
        for (uint32_t k = 0; k < g->nodes[i].in_count; k++)
            count += g->nodes[i].in[k].id == t.id;
    return count;
}

static void student_and_teacher_see_one_augmented_batch(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = read_good(ctx, all);
    vkd__session *s = sketch(ctx, recipe, VKD_SHAPE(6, 6, 1));
    assert_non_null(s);
    assert_int_equal(s->phase_count, 3); /* teacher, control, student */
    uint32_t streams[3] = {0};
    for (uint32_t i = 0; i < s->phase_count; i++) {
        vkd_graph *g = NULL;
        vkd_tensor raw = {0}, shown = {0}, numbers = {0};
        if (vkd__graph_train(s, &s->phases[i], &g)) fail_msg("%s", vkd_ctx_error(ctx));
        assert_int_equal(count_of(g, &vkd_op_batch, &raw), 1);
        assert_int_equal(count_of(g, &vkd_op_augment, &shown), i > 0);
        assert_int_equal(count_of(g, &vkd_op_augment_draw, &numbers), i > 0);
        if (i) {
            assert_int_equal(readers_of(g, raw), 1); /* augment itself */
            assert_int_equal(readers_of(g, shown), s->phases[i].control ? 1 : 2);
            const struct vkd_augment_draw_params *drawn = vkd__producer(g, numbers)->params;
            streams[i] = drawn->stream;
        }
        vkd_graph_destroy(g);
    }
    assert_int_equal(streams[1], streams[2]); /* a control draws what its student draws */
    /* Nothing is augmented where models are evaluated. */
    vkd_graph *g = NULL;
    vkd_tensor none = {0};
    assert_int_equal(vkd__graph_infer(s, &recipe->models[1], "student", "data.test", 8, 8, &g),
                     VKD_OK);
    assert_int_equal(count_of(g, &vkd_op_augment, &none), 0);
    vkd_graph_destroy(g);
    vkd__session_destroy(s);
    vkd_recipe_destroy(recipe);
    vkd_ctx_destroy(ctx);
}

static void samples_that_are_no_images_are_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = read_good(ctx, all);
    assert_null(sketch(ctx, recipe, VKD_SHAPE(36)));
    assert_non_null(strstr(vkd_ctx_error(ctx), "stage 'distil' augments images (H, W, C), and "
                                               "samples of the data are (36)"));
    vkd_recipe_destroy(recipe);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_read_and_printed),
        cmocka_unit_test(augmented_images_make_the_teacher_live),
        cmocka_unit_test(any_option_turns_it_on),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(student_and_teacher_see_one_augmented_batch),
        cmocka_unit_test(samples_that_are_no_images_are_refused),
    };
    return cmocka_run_group_tests_name("recipe_augment", tests, NULL, NULL);
}
