// SPDX-License-Identifier: Apache-2.0
/* summary.json: what is written is read again, and what is not one is refused. */
#include "train/summary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static const char recipe_text[] = "name: small\n"
                                  "data: {format: idx}\n"
                                  "models: {a: {arch: mlp}}\n"
                                  "stages: [{train: a, losses: [{loss: ce}], optimiser: {name: "
                                  "sgd}, steps: 1}]\n";

/* Two rows, of which the first has one seed and no teacher. */
static char *write_summary(vkd_ctx *ctx) {
    vkd_recipe *recipe = NULL;
    assert_int_equal(vkd_recipe_parse(ctx, "r", recipe_text, strlen(recipe_text), NULL, 0, &recipe),
                     VKD_OK);
    const vkd_row rows[] = {{.label = "a \"quoted\"",
                             .model = "a",
                             .seeds = 1,
                             .tests = 96,
                             .parameters = 5000000000,
                             .accuracy = {0.75, 0},
                             .kl = {NAN, NAN}},
                            {.label = "b",
                             .model = "b",
                             .seeds = 3,
                             .accuracy = {0.5, 0.125},
                             .kl = {1e-3, 2e-4},
                             .calibration = {0.03125, 0.25}}};
    vkd__stage_note note = {.phase = "a", .stage = "s", .term_count = 1};
    note.terms[0] = (vkd__term_note){"ce", 0.5, 1.25, NAN};
    vkd__warning second = {.text = "it \\ is wrong"}, first = {.text = "it is", .next = &second};
    const vkd__summary s = {recipe, 3, "device", rows, 2, {&note, 1, &first}};
    vkd__text t = {.ctx = ctx};
    vkd__summary_json(&t, &s);
    assert_false(t.failed);
    vkd_recipe_destroy(recipe);
    return t.text;
}

static void rows_are_read_as_they_were_written(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    char *text = write_summary(ctx);
    vkd__arena arena = {.ctx = ctx};
    vkd_row *rows = NULL;
    uint32_t count = 0, seeds = 0;
    if (vkd__summary_parse(&arena, "s", text, strlen(text), &rows, &count, &seeds))
        fail_msg("%s\n%s", vkd_ctx_error(ctx), text);
    assert_int_equal(count, 2);
    assert_int_equal(seeds, 3);
    assert_string_equal(rows[0].label, "a \"quoted\"");
    assert_string_equal(rows[1].model, "b");
    assert_true(rows[0].parameters == 5000000000);
    assert_int_equal(rows[0].tests, 96);
    assert_int_equal(rows[1].seeds, 3);
    assert_true(rows[0].accuracy.mean == 0.75 && rows[1].accuracy.mean == 0.5);
    assert_true(rows[1].accuracy.deviation == 0.125);
    assert_true(isnan(rows[0].kl.mean));
    assert_true(rows[1].kl.mean == 1e-3 && rows[1].calibration.deviation == 0.25);
    /* Notes stand beside the rows, as JSON that others can read. */
    assert_non_null(strstr(text, "{\"term\": \"ce\", \"weight\": 0.5, \"scale\": 1.25, "
                                 "\"gradient_norm\": null}"));
    assert_non_null(strstr(text, "\"it is\",\n    \"it \\\\ is wrong\"\n  ]"));
    vkd__arena_term(&arena);
    vkd_free_text(ctx, text);
    vkd_ctx_destroy(ctx);
}

static void what_is_no_summary_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"rows\": []}",
                                        "{\"rows\": {}, \"seeds\": 1}",
                                        "{\"rows\": [], \"seeds\": -1}",
                                        "{\"rows\": [], \"seeds\": 99999999999}"};
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(texts); i++) {
        vkd__arena arena = {.ctx = ctx};
        vkd_row *rows = NULL;
        uint32_t count = 1, seeds = 0;
        assert_int_equal(vkd__summary_parse(&arena, "some.json", texts[i], strlen(texts[i]), &rows,
                                            &count, &seeds),
                         VKD_E_FORMAT);
        assert_int_equal(count, 0);
        assert_non_null(strstr(vkd_ctx_error(ctx), "some.json"));
        vkd__arena_term(&arena);
    }
    vkd_ctx_destroy(ctx);
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    char *text = write_summary(ctx);
    const size_t size = strlen(text);
    for (size_t n = 0; n + 2 < size; n++) { /* without the newline it is whole */
        char *exact = test_malloc(n ? n : 1);
        memcpy(exact, text, n);
        vkd__arena arena = {.ctx = ctx};
        vkd_row *rows = NULL;
        uint32_t count = 0, seeds = 0;
        assert_int_equal(vkd__summary_parse(&arena, "s", exact, n, &rows, &count, &seeds),
                         VKD_E_FORMAT);
        vkd__arena_term(&arena);
        test_free(exact);
    }
    vkd_free_text(ctx, text);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_read_as_they_were_written),
        cmocka_unit_test(what_is_no_summary_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
    };
    return cmocka_run_group_tests_name("summary", tests, NULL, NULL);
}
