// SPDX-License-Identifier: Apache-2.0
/* Parameters that a loss does not depend on stay as they are, bit for bit, whatever the optimiser
 * does to the others: decay and moments too. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "graph/plan.h"

enum { PARAMETERS = 6, MOST = 6000 };

/* In the order of the group: decayed ones, then the others. */
static const struct {
    const char *name;
    uint32_t count;
    bool decayed;
} parameters[PARAMETERS] = {{"net.a", 64, true}, {"net.b", 100, true}, {"net.c", 6000, true},
                            {"net.d", 7, true},  {"net.e", 65, false}, {"net.f", 3, false}};

/* Which of them the loss has, and the launches that the optimiser then is. */
static const struct {
    uint32_t reached, launches;
} masks[] = {{0x3f, 1}, {0x0d, 2}, {0x12, 2}, {0x15, 3}, {0x18, 1}, {0x0b, 2}, {0x01, 1}};

typedef enum optimiser { SGD, ADAMW } optimiser;

/* loss = the sum over what is reached of (w - 0.3)^2. */
static vkd_tensor build(vkd_graph *g, uint32_t mask, optimiser which) {
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < PARAMETERS; i++) {
        const vkd_tensor w = vkd_param(
            g, parameters[i].name, VKD_SHAPE(parameters[i].count),
            &(vkd_init){.kind = VKD_INIT_NORMAL, .value = 1, .no_decay = !parameters[i].decayed});
        if (!(mask >> i & 1)) continue;
        const vkd_tensor gap = vkd_sub(g, w, vkd_constant(g, 0.3f));
        const vkd_tensor one = vkd_sum(g, vkd_square(g, gap), VKD_ALL_AXES, false);
        loss = loss.id ? vkd_add(g, loss, one) : one;
    }
    const vkd_tensor gradient = vkd_gradient(g, loss, "net");
    const vkd_tensor guard = vkd_guard(g, "net", gradient, loss, 0);
    const vkd_tensor lr = vkd_constant(g, 0.05f);
    if (which == SGD)
        vkd_sgd(g, "net", gradient, guard, lr,
                &(vkd_sgd_desc){.momentum = 0.9f, .weight_decay = 0.1f});
    else
        vkd_adamw(g, "net", gradient, guard, lr, &(vkd_adamw_desc){.weight_decay = 0.1f});
    vkd_output(g, "loss", loss);
    return loss;
}

typedef struct state {
    float w[PARAMETERS][MOST];
} state;

static void read_all(vkd_ctx *ctx, vkd_store *store, state *out) {
    for (uint32_t i = 0; i < PARAMETERS; i++)
        if (vkd_store_read(store, parameters[i].name, out->w[i],
                           parameters[i].count * sizeof(float)))
            fail_msg("%s", vkd_ctx_error(ctx));
}

static uint32_t launches_of(const vkd_plan *plan, optimiser which) {
    const char *kernel = which == SGD ? "sgd" : "adamw";
    uint32_t count = 0;
    for (size_t i = 0; i < plan->launch_count; i++) {
        const char *name = plan->launches[i].kernel;
        count += !strcmp(name, kernel) || (!strncmp(name, kernel, strlen(kernel)) &&
                                           !strcmp(name + strlen(kernel), ".direct"));
    }
    return count;
}

static void run(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile, size_t mask,
                optimiser which, bool windows) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    vkd__host *host = NULL;
    static state before, after;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    build(g, masks[mask].reached, which);
    if (vkd_plan_create(g, profile, &plan) || vkd__host_create(g, &host))
        fail_msg("%s", vkd_ctx_error(ctx));
    const uint32_t launches = launches_of(plan, which);
    if (windows)
        assert_true(launches > masks[mask].launches || !(masks[mask].reached & 4));
    else
        assert_int_equal(launches, masks[mask].launches);
    read_all(ctx, store, &before);
    vkd_tensor w[PARAMETERS];
    for (uint32_t i = 0; i < PARAMETERS; i++) {
        w[i] = vkd_param(g, parameters[i].name, VKD_SHAPE(parameters[i].count), NULL);
        for (uint32_t k = 0; k < parameters[i].count; k++)
            vkd__host_values(host, w[i])[k] = (double)before.w[i][k];
    }
    if (vkd_program_create(device, plan, &program)) fail_msg("%s", vkd_ctx_error(ctx));
    for (int step = 0; step < 3; step++) {
        uint64_t ticket;
        if (vkd_program_submit(program, &ticket) || vkd_program_wait(program, ticket))
            fail_msg("%s", vkd_ctx_error(ctx));
        vkd__host_run(host);
    }
    read_all(ctx, store, &after);
    for (uint32_t i = 0; i < PARAMETERS; i++) {
        const size_t bytes = parameters[i].count * sizeof(float);
        const bool same = !memcmp(before.w[i], after.w[i], bytes);
        if (same != !(masks[mask].reached >> i & 1))
            fail_msg("mask %zu: %s %s", mask, parameters[i].name, same ? "stayed" : "moved");
        test_close(parameters[i].name, after.w[i], vkd__host_values(host, w[i]),
                   parameters[i].count, 2e-5, 1e-6);
    }
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    vkd__host_destroy(host);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
}

static void what_the_loss_does_not_reach_stays(void **ignored) {
    (void)ignored;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    vkd_profile profile = *vkd_device_profile(device), narrow;
    const int variants = profile.direct ? 2 : 1;
    for (int v = 0; v < variants; v++) {
        narrow = profile;
        narrow.max_binding = 4096 * sizeof(float); /* less than the longest stretch */
        for (size_t m = 0; m < VKD_COUNT(masks); m++)
            for (optimiser which = SGD; which <= ADAMW; which++) {
                run(ctx, device, &profile, m, which, false);
                run(ctx, device, &narrow, m, which, true);
            }
        profile.direct = false;
    }
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_loss_does_not_reach_stays),
    };
    return cmocka_run_group_tests_name("reach", tests, NULL, NULL);
}
