// SPDX-License-Identifier: Apache-2.0
/* A run in which one allocation fails says so, leaves nothing behind, and can be resumed. */
#include <stdlib.h>

#include "support/toy.h"

typedef struct allocator {
    long left, alive, taken;
} allocator;

static void *take(void *user, size_t size) {
    allocator *a = user;
    a->taken++;
    if (a->left-- == 0) return NULL;
    a->alive++;
    return malloc(size);
}

static void give(void *user, void *memory) {
    ((allocator *)user)->alive--;
    free(memory);
}

static const char *const sets[] = {
    "stages=[{name: teach, train: teacher, losses: [{loss: ce}], ema: 0.5, optimiser: {name: sgd, "
    "lr: 0.1}, epochs: 1, batch: 24}, {name: pseudo, label: {teacher: teacher, first: 100, "
    "balance: true}}, {name: distil, train: student, teacher: teacher, control: true, "
    "omit_classes: [2], data: {pseudo: pseudo}, losses: [{loss: kd_kl, weight: 0.9, tau: 3}, "
    "{loss: ce, weight: 0.1}], optimiser: {name: adamw, lr: 0.01}, epochs: 1, batch: 24}]",
    "evaluation.ensembles=[{name: both, models: [teacher, student]}]", NULL};

/* Every allocation of the beginning, then ever wider apart: a run has thousands, most of them of a
 * few kinds that come again in each phase. */
static long next(long n) {
    return n + 1 + n / 12;
}

static void a_failing_allocation_ends_a_run_cleanly(void **state) {
    (void)state;
    allocator a = {.left = -1};
    vkd_ctx *ctx = NULL;
    const vkd_ctx_desc desc = {.alloc = take, .free = give, .user = &a};
    assert_int_equal(vkd_ctx_create(&desc, &ctx), VKD_OK);
    vkd_device *device = test_device(ctx);
    toy data;
    toy_init(&data);
    const vkd_run_desc force = {.force = true}, resume = {.resume = true};
    assert_int_equal(toy_run(ctx, device, &data, sets, &force, "whole", NULL, NULL), VKD_OK);
    const long before = a.alive, start = a.taken; /* the device keeps pipelines from here on */
    vkd_recipe_destroy(toy_recipe(ctx, &data, sets));
    const long of_recipe = a.taken - start;
    assert_int_equal(toy_run(ctx, device, &data, sets, &force, "whole", NULL, NULL), VKD_OK);
    const long all = a.taken - start - 2 * of_recipe;
    assert_int_equal(a.alive, before);

    for (long n = of_recipe; n < of_recipe + all; n = of_recipe + next(n - of_recipe)) {
        a.left = n;
        const vkd_result r = toy_run(ctx, device, &data, sets, &force, "short", NULL, NULL);
        a.left = -1;
        if (r != VKD_E_MEMORY)
            fail_msg("allocation %ld of %ld: %s, %s", n, all, vkd_result_text(r),
                     vkd_ctx_error(ctx));
        if (a.alive != before) fail_msg("allocation %ld left %ld behind", n, a.alive - before);
    }
    assert_int_equal(toy_run(ctx, device, &data, sets, &resume, "short", NULL, NULL), VKD_OK);
    toy_same_file(toy_path(&data, "whole/student.safetensors"),
                  toy_path(&data, "short/student.safetensors"));
    toy_term(&data);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
    assert_int_equal(a.alive, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failing_allocation_ends_a_run_cleanly),
    };
    return cmocka_run_group_tests_name("train_memory", tests, NULL, NULL);
}
