// SPDX-License-Identifier: Apache-2.0
/* What `precision` of a recipe puts into the graphs of a run, for every recipe of recipes/: nothing
 * with f32, and with the others 16 bits where they belong and nowhere else. */
#include "support/support.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "graph/plan.h"
#include "ops/matmul.h"
#include "ops/op.h"
#include "train/session.h"

/* What one graph and its plans hold. */
typedef struct contents {
    uint32_t tensors[VKD_BF16 + 1]; /* by type */
    uint32_t kernels;               /* launches of kernels that read or write 16 bits */
    uint32_t products, half_products;
    uint32_t loss_products; /* those that a loss asked f32 for */
    uint32_t losses;        /* launches of fused ones: their values and gradients in one pass */
    bool scaled;
} contents;

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* By its name, or by being told a 16-bit type (constants 25 and 26 of shaders/lib/half.glsl). */
static bool is_half_kernel(const vkd__launch *l) {
    for (uint32_t i = 0; i < l->spec_count; i++)
        if (l->spec_id[i] == 25 || l->spec_id[i] == 26) return true;
    return ends_with(l->kernel, ".half") || strstr(l->kernel, "narrow") ||
           strstr(l->kernel, "widen") || strstr(l->kernel, "coopmat");
}

static void count_launches(vkd_graph *g, const char *profile, contents *c) {
    vkd_plan *plan = NULL;
    if (vkd_plan_create(g, vkd_profile_find(profile), &plan)) fail_msg("%s", vkd_ctx_error(g->ctx));
    for (size_t i = 0; i < plan->launch_count; i++) {
        c->kernels += is_half_kernel(&plan->launches[i]);
        c->losses += !strncmp(plan->launches[i].kernel, "loss_", 5) &&
                     strncmp(plan->launches[i].kernel, "loss_s", 6) != 0; /* sum, scale */
        c->scaled |= !strcmp(plan->launches[i].kernel, "guard.scaled");
    }
    vkd_plan_destroy(plan);
}

/* Whoever reads 16 bits is known to do so; what outlives a step has 32; no gradient of a parameter
 * was rounded on its way. */
static void check_nodes(const vkd_graph *g) {
    for (size_t i = 0; i < g->node_count; i++) {
        const vkd__node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->in_count; k++)
            if (vkd__is_half(vkd__tensor_get(g, n->in[k])->dtype))
                assert_true(n->op->is_view || n->op->takes_half >> k & 1);
        if (!n->op->is_placement) continue;
        const vkd__node *maker = vkd__producer(g, n->in[0]);
        assert_true(maker && maker->op != &vkd_op_cast);
    }
    for (size_t i = 1; i < g->tensor_count; i++)
        if (g->tensors[i].home != VKD__HOME_NODE) assert_false(vkd__is_half(g->tensors[i].dtype));
}

/* Takes the graph over. */
static contents look_at(vkd_graph *g) {
    contents c = {.kernels = 0};
    check_nodes(g);
    for (size_t i = 1; i < g->tensor_count; i++)
        c.tensors[g->tensors[i].dtype]++;
    for (size_t i = 0; i < g->node_count; i++) {
        const vkd__node *n = &g->nodes[i];
        c.products += n->op == &vkd_op_matmul;
        c.loss_products +=
            n->op == &vkd_op_matmul && ((const vkd__matmul *)n->params)->f32_operands;
        c.half_products +=
            n->op == &vkd_op_matmul && vkd__is_half(vkd__tensor_get(g, n->in[0])->dtype);
    }
    count_launches(g, "cpu", &c);
    count_launches(g, "gpu", &c);
    vkd_graph_destroy(g);
    return c;
}

typedef struct bench {
    vkd_ctx *ctx;
    vkd_recipe *recipe;
    vkd__session *session;
} bench;

/* Graphs depend on the sizes of the data set, and steps on its labels. */
static int32_t labels[12000];
static const vkd__dataset data = {.sample = {3, {28, 28, 1}},
                                  .channels = 1,
                                  .classes = 10,
                                  .train = {.count = 12000, .labels = labels},
                                  .test = {.count = 500, .labels = labels}};

static bench open_recipe(const char *path, const char *precision) {
    bench b = {.ctx = test_ctx()};
    char set[64];
    snprintf(set, sizeof set, "precision=%s", precision ? precision : "");
    const char *const sets[] = {set};
    const vkd_result r = vkd_recipe_load(b.ctx, path, sets, precision ? 1 : 0, &b.recipe);
    if (r || vkd__session_sketch(b.ctx, b.recipe, &data, &b.session))
        fail_msg("%s", vkd_ctx_error(b.ctx));
    return b;
}

static void close_recipe(bench *b) {
    vkd__session_destroy(b->session);
    vkd_recipe_destroy(b->recipe);
    vkd_ctx_destroy(b->ctx);
}

static contents training(const bench *b, const vkd__phase *p) {
    vkd_graph *g = NULL;
    if (vkd__graph_train(b->session, p, &g)) fail_msg("%s", vkd_ctx_error(b->ctx));
    return look_at(g);
}

static uint32_t losses_in_f32(const char *path, uint32_t phase) {
    bench b = open_recipe(path, "f32");
    const uint32_t count = training(&b, &b.session->phases[phase]).losses;
    close_recipe(&b);
    return count;
}

static contents inference(const bench *b, const vkd__phase *p) {
    vkd_graph *g = NULL;
    if (vkd__graph_infer(b->session, p->model, p->group, "data.test", 500, 100, &g))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    return look_at(g);
}

static void expect_pure(const contents *c) {
    assert_int_equal(c->tensors[VKD_F16], 0);
    assert_int_equal(c->tensors[VKD_BF16], 0);
    assert_int_equal(c->half_products, 0);
    assert_int_equal(c->kernels, 0);
    assert_false(c->scaled);
    assert_true(c->products > 0);
}

static void expect_mixed(const contents *c, vkd_dtype type) {
    assert_true(c->tensors[type] > 0);
    assert_int_equal(c->tensors[type == VKD_F16 ? VKD_BF16 : VKD_F16], 0);
    assert_true(c->products > 0);
    assert_int_equal(c->half_products + c->loss_products, c->products);
    assert_true(c->kernels > 0);
    assert_int_equal(c->scaled, type == VKD_F16);
}

/* precision NULL: what a recipe gets that says nothing of it. Returns the launches of fused losses,
 * which are as many in any precision. */
static uint32_t check_recipe(const char *path, const char *precision, vkd_dtype type) {
    bench b = open_recipe(path, precision);
    uint32_t fused = 0;
    assert_true(b.session->phase_count > 0);
    for (uint32_t i = 0; i < b.session->phase_count; i++) {
        const vkd__phase *p = &b.session->phases[i];
        if (p->stage->label) continue; /* trains nothing */
        const contents step = training(&b, p), evaluation = inference(&b, p);
        if (type == VKD_F32)
            expect_pure(&step);
        else
            expect_mixed(&step, type);
        expect_pure(&evaluation);
        assert_int_equal(step.losses, losses_in_f32(path, i));
        fused += step.losses;
    }
    close_recipe(&b);
    return fused;
}

static void check_recipes(const char *precision, vkd_dtype type) {
    DIR *dir = opendir("recipes");
    assert_non_null(dir);
    uint32_t count = 0, fused = 0;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (!ends_with(e->d_name, ".yaml")) continue;
        char path[300];
        snprintf(path, sizeof path, "recipes/%s", e->d_name);
        fused += check_recipe(path, precision, type);
        count++;
    }
    closedir(dir);
    assert_true(count > 3 && fused > count);
}

static void f32_never_rounds_to_16_bits(void **state) {
    (void)state;
    check_recipes(NULL, VKD_F32);
    check_recipes("f32", VKD_F32);
}

static void mixed_is_f16_in_training_and_f32_in_evaluation(void **state) {
    (void)state;
    check_recipes("mixed", VKD_F16);
}

static void mixed_bf16_is_bf16_and_needs_no_loss_scale(void **state) {
    (void)state;
    check_recipes("mixed_bf16", VKD_BF16);
}

/* Of values that f16 would round, in a mixed graph: similarities and their gradients stay f32. */
static void a_losss_own_products_stay_f32(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, &(vkd_graph_desc){.compute = VKD_F16}, &g),
                     VKD_OK);
    const vkd_tensor x = vkd_param(g, "m.x", VKD_SHAPE(8, 12), NULL);
    const vkd_tensor w = vkd_param(g, "m.w", VKD_SHAPE(12, 8), NULL);
    const vkd_matmul_desc own = {.transpose_b = true, .f32_operands = true};
    const vkd_tensor gram = vkd_matmul(g, x, x, &own);
    const vkd_tensor layer = vkd_matmul(g, x, w, NULL);
    const vkd_tensor loss = vkd_add(g, vkd_sum(g, vkd_square(g, gram), VKD_ALL_AXES, false),
                                    vkd_sum(g, vkd_square(g, layer), VKD_ALL_AXES, false));
    (void)vkd_gradient(g, loss, "m");
    if (vkd_graph_status(g)) fail_msg("%s", g->error);
    assert_int_equal(vkd_tensor_dtype(g, gram), VKD_F32);
    assert_int_equal(vkd_tensor_dtype(g, layer), VKD_F16);
    const contents c = look_at(g);
    assert_int_equal(c.products, 6); /* each with two gradients */
    assert_int_equal(c.half_products, 3);
    assert_int_equal(c.loss_products, 3);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f32_never_rounds_to_16_bits),
        cmocka_unit_test(mixed_is_f16_in_training_and_f32_in_evaluation),
        cmocka_unit_test(mixed_bf16_is_bf16_and_needs_no_loss_scale),
        cmocka_unit_test(a_losss_own_products_stay_f32),
    };
    return cmocka_run_group_tests_name("precision", tests, NULL, NULL);
}
