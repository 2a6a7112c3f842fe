// SPDX-License-Identifier: Apache-2.0
/* recall@1 against a count by hand and by plain loops, and how a recipe asks for it and for the
 * embedding that it looks at. */
#include "train/retrieval.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "support/support.h"

static double recall(const float *rows, const int32_t *labels, uint32_t count, uint32_t width) {
    vkd_ctx *ctx = test_ctx();
    double out = 0;
    assert_int_equal(vkd__recall_at_1(ctx, rows, labels, count, width, &out), VKD_OK);
    vkd_ctx_destroy(ctx);
    return out;
}

static void a_sample_is_not_its_own_neighbour(void **state) {
    (void)state;
    static const float rows[] = {0, 0, 1, 0, 5, 5, 5, 6, 9, 9};
    static const int32_t labels[] = {0, 1, 2, 2, 3};
    /* 0 and 1 find each other, of another class; 2 and 3 each other; 4 finds 3. */
    assert_true(recall(rows, labels, 5, 2) == 0.4);
    assert_true(isnan(recall(rows, labels, 1, 2)));
}

static void of_equal_neighbours_the_first_counts(void **state) {
    (void)state;
    static const float rows[] = {1, 1, 1};
    static const int32_t first[] = {7, 7, 8}, last[] = {8, 7, 7};
    assert_true(recall(rows, first, 3, 1) == 2.0 / 3); /* they find 1, 0 and 0 */
    assert_true(recall(rows, last, 3, 1) == 0);
}

static void what_is_not_a_number_finds_nothing(void **state) {
    (void)state;
    const float rows[] = {(float)NAN, 1, (float)NAN};
    static const int32_t labels[] = {1, 1, 1};
    assert_true(recall(rows, labels, 3, 1) == 0);
}

/* Numbers of rows around whole blocks of candidates. */
static void blocks_find_what_plain_loops_find(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{2, 1}, {15, 3}, {16, 8}, {17, 5}, {33, 2}, {200, 20}};
    for (size_t i = 0; i < VKD_COUNT(sizes); i++) {
        const uint32_t count = sizes[i][0], width = sizes[i][1];
        float *rows = calloc((size_t)count * width, sizeof *rows);
        int32_t *labels = calloc(count, sizeof *labels);
        assert_true(rows && labels);
        for (uint32_t n = 0; n < count; n++) {
            labels[n] = (int32_t)(vkd__philox_at(1, 1, 0, n).v[0] % 3);
            for (uint32_t d = 0; d < width; d++)
                rows[n * width + d] =
                    vkd__philox_uniform(vkd__philox_at(1, 2, n, d).v[0]) + 0.1f * (float)labels[n];
        }
        uint32_t right = 0;
        for (uint32_t n = 0; n < count; n++) {
            double best = INFINITY;
            uint32_t found = n;
            for (uint32_t m = 0; m < count; m++) {
                double sum = 0;
                for (uint32_t d = 0; d < width; d++)
                    sum += pow((double)rows[n * width + d] - (double)rows[m * width + d], 2);
                if (m != n && sum < best) {
                    best = sum;
                    found = m;
                }
            }
            right += labels[found] == labels[n];
        }
        assert_true(recall(rows, labels, count, width) == (double)right / count);
        free(rows);
        free(labels);
    }
}

/* ---- In a recipe ---- */

static vkd_result parse(vkd_ctx *ctx, const char *const *sets, uint32_t count, vkd_recipe **out) {
    static const char text[] =
        "name: metric\n"
        "data: {format: idx}\n"
        "models: {net: {arch: mlp, hidden: [8], embedding: 5, embedding_unit: true}}\n"
        "stages:\n"
        "  - {train: net, losses: [{loss: triplet, taps: [embedding]}], optimiser: {name: sgd}, "
        "epochs: 1, batch: 4}\n"
        "evaluation: {retrieval: {tap: embedding, classes: [1, 2]}}\n";
    return vkd_recipe_parse(ctx, "r.yaml", text, sizeof text - 1, sets, count, out);
}

static void a_recipe_means_what_it_prints(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *first = NULL, *second = NULL;
    if (parse(ctx, NULL, 0, &first)) fail_msg("%s", vkd_ctx_error(ctx));
    assert_int_equal(first->models[0].embedding.width, 5);
    assert_true(first->models[0].embedding.unit);
    assert_string_equal(first->evaluation.retrieval.tap, "embedding");
    assert_int_equal(first->evaluation.retrieval.classes.count, 2);
    char *text = vkd_recipe_print(first);
    assert_non_null(text);
    if (vkd_recipe_parse(ctx, "printed", text, strlen(text), NULL, 0, &second))
        fail_msg("%s", vkd_ctx_error(ctx));
    char *again = vkd_recipe_print(second);
    assert_string_equal(text, again);
    assert_non_null(strstr(text, "  retrieval:\n    tap: 'embedding'\n    classes: [1, 2]\n"));
    vkd_free_text(ctx, text);
    vkd_free_text(ctx, again);
    vkd_recipe_destroy(first);
    vkd_recipe_destroy(second);
    vkd_ctx_destroy(ctx);
}

static void refuse(const char *set, const char *words) {
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = NULL;
    assert_int_equal(parse(ctx, &set, 1, &recipe), VKD_E_RECIPE);
    if (!strstr(vkd_ctx_error(ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), words);
    vkd_ctx_destroy(ctx);
}

static void mistakes_are_named(void **state) {
    (void)state;
    refuse("evaluation.retrieval={classes: [1]}", "retrieval needs 'tap'");
    refuse("evaluation.retrieval={tap: a, class: [1]}", "did you mean 'classes'");
    refuse("evaluation.retrieval=pool", "'retrieval' must be a map");
    refuse("models.net.embedding=wide", "embedding");
}

static int32_t labels[32];
static const vkd__dataset data = {.sample = {3, {4, 4, 1}},
                                  .channels = 1,
                                  .classes = 3,
                                  .train = {.count = 32, .labels = labels},
                                  .test = {.count = 8, .labels = labels}};

/* The head takes what the classifier takes, and the classifier does not take it. */
static void an_embedding_is_part_of_its_model(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = NULL;
    vkd__session *s = NULL;
    vkd_graph *g = NULL;
    if (parse(ctx, NULL, 0, &recipe) || vkd__session_sketch(ctx, recipe, &data, &s) ||
        vkd__graph_train(s, &s->phases[0], &g))
        fail_msg("%s", vkd_ctx_error(ctx));
    vkd_store_info info;
    assert_true(vkd_store_find(s->store, "net.embedding.weight", &info));
    assert_true(info.parameter && info.shape.dim[0] == 5 && info.shape.dim[1] == 8);
    assert_true(vkd_store_find(s->store, "net.embedding.bias", &info));
    vkd_graph_destroy(g);
    uint32_t width = 0;
    assert_int_equal(
        vkd__graph_tap(s, &recipe->models[0], "net", "fc0", "data.test", 8, 8, &width, &g), VKD_OK);
    assert_int_equal(width, 8);
    vkd_graph_destroy(g);
    assert_int_equal(
        vkd__graph_tap(s, &recipe->models[0], "net", "embeding", "data.test", 8, 8, &width, &g),
        VKD_E_RECIPE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "did you mean 'embedding'"));
    assert_int_equal(vkd__retrieval_check(s), VKD_OK);
    recipe->evaluation.retrieval.classes.v[1] = 3;
    assert_int_equal(vkd__retrieval_check(s), VKD_E_RECIPE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "evaluation.retrieval names class 3"));
    vkd__session_destroy(s);
    vkd_recipe_destroy(recipe);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_is_not_its_own_neighbour),
        cmocka_unit_test(of_equal_neighbours_the_first_counts),
        cmocka_unit_test(what_is_not_a_number_finds_nothing),
        cmocka_unit_test(blocks_find_what_plain_loops_find),
        cmocka_unit_test(a_recipe_means_what_it_prints),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(an_embedding_is_part_of_its_model),
    };
    return cmocka_run_group_tests_name("retrieval", tests, NULL, NULL);
}
