// SPDX-License-Identifier: Apache-2.0
/* Every allocation fails once: each gives VKD_E_MEMORY, leaves nothing behind, and the next try
 * works. */
#include <stdlib.h>

#include "support/gpu.h"

/* Lets `left` allocations through, then fails one; counts what is alive. */
typedef struct allocator {
    long left, alive;
    bool failed;
} allocator;

static void *take(void *user, size_t size) {
    allocator *a = user;
    if (a->left-- == 0) {
        a->failed = true;
        return NULL;
    }
    a->alive++;
    return malloc(size);
}

static void give(void *user, void *memory) {
    ((allocator *)user)->alive--;
    free(memory);
}

static vkd_ctx *make_ctx(allocator *a) {
    *a = (allocator){.left = -1};
    vkd_ctx *ctx = NULL;
    const vkd_ctx_desc desc = {.alloc = take, .free = give, .user = a};
    assert_int_equal(vkd_ctx_create(&desc, &ctx), VKD_OK);
    return ctx;
}

static void a_device_opens_or_leaves_nothing(void **state) {
    (void)state;
    allocator a;
    vkd_ctx *ctx = make_ctx(&a);
    test_device_close(test_device(ctx)); /* skips where there is none */
    const long before = a.alive;
    bool opened = false;
    for (long n = 0; !opened; n++) {
        assert_in_range(n, 0, 200);
        a.left = n;
        a.failed = false;
        vkd_device *device = NULL;
        const vkd_result r = vkd_device_open(ctx, &(vkd_device_desc){.cache_dir = ""}, &device);
        a.left = -1;
        opened = !r;
        if (r) assert_int_equal(r, VKD_E_MEMORY);
        assert_true(a.failed == (r != VKD_OK)); /* no failure is overlooked */
        if (r) assert_null(device);
        vkd_device_close(device);
        assert_int_equal(a.alive, before);
    }
    vkd_ctx_destroy(ctx);
    assert_int_equal(a.alive, 0);
}

static vkd_result create_and_step(vkd_device *device, const vkd_plan *plan) {
    vkd_program *p = NULL;
    vkd_result r = vkd_program_create(device, plan, &p);
    uint64_t ticket = 0;
    if (!r) r = vkd_program_submit(p, &ticket);
    if (!r) r = vkd_program_wait(p, ticket);
    const char *name = "";
    if (!r) r = vkd_program_find_nonfinite(p, &name);
    if (!r) r = vkd_program_profile(p, true);
    if (!r) r = vkd_program_submit(p, &ticket);
    vkd_program_destroy(p);
    return r;
}

static void a_program_steps_or_leaves_nothing(void **state) {
    (void)state;
    allocator a;
    gpu_fixture f = {.ctx = make_ctx(&a)};
    f.device = test_device(f.ctx);
    assert_int_equal(vkd_store_create(f.ctx, &f.store), VKD_OK);
    assert_int_equal(vkd_graph_create(f.ctx, f.store, NULL, &f.g), VKD_OK);
    gpu_linear(&f);
    vkd_plan *plan = gpu_plan(&f);
    for (int check = 0; check <= 1; check++) {
        setenv("VKD_CHECK", check ? "1" : "0", 1);
        bool done = false;
        for (long n = 0; !done; n++) {
            assert_in_range(n, 0, 1000);
            a.left = n;
            a.failed = false;
            const vkd_result r = create_and_step(f.device, plan);
            a.left = -1;
            done = !r;
            if (r && r != VKD_E_MEMORY)
                fail_msg("allocation %ld gave %d: %s", n, r, vkd_ctx_error(f.ctx));
            assert_true(a.failed == (r != VKD_OK));
        }
    }
    unsetenv("VKD_CHECK");
    vkd_plan_destroy(plan);
    gpu_teardown(&f);
    assert_int_equal(a.alive, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_opens_or_leaves_nothing),
        cmocka_unit_test(a_program_steps_or_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
