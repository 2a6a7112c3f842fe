// SPDX-License-Identifier: Apache-2.0
/* What models do in training alone: dropout in front of the classifier, and stochastic depth. */
#include "support/model.h"

#include <math.h>
#include <string.h>

enum { N = 60, CLASSES = 3 };

typedef struct answer {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
    vkd__host *host;
    vkd__model_io *io;
} answer;

/* The same images and parameters for all options. */
static answer ask(const char *arch, const char *options, bool training) {
    answer a = {.ctx = test_ctx()};
    assert_int_equal(vkd_store_create(a.ctx, &a.store), VKD_OK);
    assert_int_equal(vkd_graph_create(a.ctx, a.store, NULL, &a.g), VKD_OK);
    test_model m = test_model_make(a.ctx, arch, options);
    const vkd_tensor x = vkd_input(a.g, "x", VKD_F32, VKD_SHAPE(N, 8, 8, 1));
    a.io = test_model_build(a.g, &m, x, CLASSES, training);
    if (vkd_graph_status(a.g)) fail_msg("%s", vkd_ctx_error(a.ctx));
    assert_int_equal(vkd__host_create(a.g, &a.host), VKD_OK);
    test_model_fill(a.g, a.host);
    vkd__host_run(a.host);
    test_model_term(&m);
    return a;
}

static void close_answer(answer *a) {
    test_free(a->io);
    vkd__host_destroy(a->host);
    vkd_graph_destroy(a->g);
    vkd_store_destroy(a->store);
    vkd_ctx_destroy(a->ctx);
}

static const double *tap(const answer *a, const char *name, size_t *each) {
    const vkd_tensor t = vkd__tap_find(a->io, name);
    assert_true(t.id != 0);
    *each = (size_t)vkd_shape_count(vkd_tensor_shape(a->g, t)) / N;
    return vkd__host_values(a->host, t);
}

/* Three blocks, survival 0.4: the first leaves its branch out of 0.2 of the samples, the last of
 * 0.6. What stays is divided by what it stays with, so that its mean is what evaluation computes.
 */
static void a_branch_is_there_or_not_for_each_sample(void **state) {
    (void)state;
    answer deep = ask("resnet", "depth=8 width=0.25 survival=0.4", true);
    answer whole = ask("resnet", "depth=8 width=0.25", true);
    size_t each = 0;
    const double *stem = tap(&deep, "stem", &each), *got = tap(&deep, "stage1.block1", &each);
    const double *full = tap(&whole, "stage1.block1", &each);
    uint32_t dropped = 0, compared = 0;
    for (size_t n = 0; n < N; n++) {
        const double *x = stem + n * each, *y = got + n * each, *f = full + n * each;
        const bool out = !memcmp(x, y, each * sizeof *x);
        dropped += out;
        for (size_t i = 0; i < each && !out; i++) {
            if (f[i] <= 0) continue; /* behind the ReLU nothing is known of the branch */
            const double want = fmax((f[i] - x[i]) / 0.8 + x[i], 0);
            if (!(fabs(y[i] - want) <= 1e-6 * (1 + want)))
                fail_msg("sample %zu, %zu: %g, not %g", n, i, y[i], want);
            compared++;
        }
    }
    /* 60 draws of 0.2: 12, standard deviation 3.1. */
    assert_in_range(dropped, 1, 29);
    assert_true(compared > 1000);
    close_answer(&deep);
    close_answer(&whole);
}

/* Shares of samples whose branch is left out of each block rise in equal parts. */
static void blocks_are_left_out_the_more_the_deeper(void **state) {
    (void)state;
    answer a = ask("resnet", "depth=14 width=0.0625 survival=0.1", true);
    static const char *const first[] = {"stage1.block1", "stage2.block1", "stage3.block1"};
    static const char *const second[] = {"stage1.block2", "stage2.block2", "stage3.block2"};
    uint32_t dropped[3] = {0};
    for (int s = 0; s < 3; s++) {
        size_t each = 0;
        const double *x = tap(&a, first[s], &each), *y = tap(&a, second[s], &each);
        for (size_t n = 0; n < N; n++)
            dropped[s] += !memcmp(x + n * each, y + n * each, each * sizeof *x);
    }
    /* Blocks 2, 4 and 6 of 6: 0.3, 0.6 and 0.9 of 60, give or take four standard deviations. */
    assert_in_range(dropped[0], 18 - 14, 18 + 14);
    assert_in_range(dropped[1], 36 - 15, 36 + 15);
    assert_in_range(dropped[2], 54 - 9, 60);
    close_answer(&a);
}

static void same_logits(const char *arch, const char *one, const char *other, bool training,
                        bool same) {
    answer a = ask(arch, one, training), b = ask(arch, other, training);
    size_t each = 0;
    const double *x = tap(&a, "logits", &each), *y = tap(&b, "logits", &each);
    if (!memcmp(x, y, N * each * sizeof *x) != same)
        fail_msg("%s: '%s' and '%s' give %s logits", arch, one, other, same ? "other" : "the same");
    close_answer(&a);
    close_answer(&b);
}

static void evaluation_knows_no_noise(void **state) {
    (void)state;
    same_logits("resnet", "depth=8 width=0.25", "depth=8 width=0.25 survival=0.4 dropout=0.5",
                false, true);
    same_logits("resnet", "depth=8 width=0.25", "depth=8 width=0.25 survival=0.4", true, false);
    same_logits("resnet", "depth=8 width=0.25", "depth=8 width=0.25 dropout=0.5", true, false);
    same_logits("plain_cnn", "depth=2 width=4", "depth=2 width=4 dropout=0.5", false, true);
    same_logits("plain_cnn", "depth=2 width=4", "depth=2 width=4 dropout=0.5", true, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_branch_is_there_or_not_for_each_sample),
        cmocka_unit_test(blocks_are_left_out_the_more_the_deeper),
        cmocka_unit_test(evaluation_knows_no_noise),
    };
    return cmocka_run_group_tests_name("model_noise", tests, NULL, NULL);
}
