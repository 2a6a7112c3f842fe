// SPDX-License-Identifier: Apache-2.0
/* The matmul of cooperative matrices. Built twice: gpu.coopmat has the kernel as it is, and looks
 * at it where the device has such matrices; gpu.coopmat_emulated has it with the matrices in plain
 * GLSL (shaders/lib/coopmat.glsl), of every shape, so that all else about the kernel is held to the
 * reference on any device. VKD_REQUIRE_COOPMAT=1: the first fails where the device has none. */
#include "support/gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "check/check.h"
#include "ops/op.h"

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_device *device;
    vkd__coop coop; /* m is 0: nothing to look at */
} fixture;

static fixture shared;

/* ---- Which matrices ---- */

#ifdef VKD_EMULATED
/* Those that drivers are known to have: AMD and NVIDIA, NVIDIA, Intel, lavapipe; and a long one. */
static const uint32_t shapes[][3] = {{16, 16, 16}, {16, 8, 16}, {16, 8, 8},
                                     {8, 16, 16},  {8, 8, 8},   {16, 16, 32}};
enum { SHAPES = VKD_COUNT(shapes) };
#else
enum { SHAPES = 1 }; /* the device's own */
#endif

/* Matrices of a shape, on this device. false: they cannot be had. */
static bool use_shape(size_t shape, vkd_profile *p) {
#ifdef VKD_EMULATED
    p->coop = (vkd__coop){.m = shapes[shape][0],
                          .n = shapes[shape][1],
                          .k = shapes[shape][2],
                          .subgroup = shared.device->probe.subgroup,
                          .whole = shared.device->probe.subgroup,
                          .f16 = true,
                          .bf16 = true};
    if (!shared.coop.m) return false;
    const bool made = vkd__coop_choose(&p->coop, false, p->max_invocations, p->max_shared);
    /* The first has tiles for every size of a subgroup that a GPU has. */
    if (!shape && p->coop.subgroup >= 8) assert_true(made);
    return made;
#else
    (void)shape;
    p->coop = shared.coop;
    return shared.coop.m != 0;
#endif
}

/* As a GPU: tile kernels, and long products are split. */
static vkd_profile profile_of(void) {
    vkd_profile p = *vkd_device_profile(shared.device);
    p.direct = false;
    p.fill_groups = 64;
    return p;
}

static int open_device(void **state) {
    (void)state;
    /* A CPU device takes the direct kernels, which know no matrices, unless it is told. */
    setenv("VKD_KERNELS", "tile", 1);
    shared.ctx = test_ctx();
    shared.device = test_device(shared.ctx);
#ifdef VKD_EMULATED
    const vkd__probe *p = &shared.device->probe;
    const bool known = p->subgroup_min == p->subgroup_max ||
                       shared.device->features[VKD__FEATURE_SIZE_CONTROL].used;
    shared.coop.m = known;
    if (!known) printf("left out: the size of a subgroup is not known\n");
    if (p->subgroup < 8) printf("left out: no tile is for %u lanes\n", (unsigned)p->subgroup);
#else
    const vkd__feature *f = &vkd__device_features(shared.device)[VKD__FEATURE_COOPMAT];
    shared.coop = vkd_device_profile(shared.device)->coop;
    assert_true(f->used == (shared.coop.m != 0));
    if (f->used)
        printf("matrices of %ux%ux%u\n", (unsigned)shared.coop.m, (unsigned)shared.coop.n,
               (unsigned)shared.coop.k);
    else
        printf("no cooperative matrices: %s\n", f->why_not);
    if (!f->used && getenv("VKD_REQUIRE_COOPMAT")) fail_msg("%s", f->why_not);
#endif
    return 0;
}

static int close_device(void **state) {
    (void)state;
    test_device_close(shared.device);
    vkd_ctx_destroy(shared.ctx);
    return 0;
}

/* ---- Whole results, exactly ---- */

typedef struct product {
    uint32_t M, N, K, batch; /* batch 0: no leading axis */
    bool transpose_a, transpose_b, bias, residual;
    bool half_result;
    bool broadcast_b;
    vkd_activation activation;
    vkd_dtype compute;
} product;

/* Multiples of 1/8 up to 2: exact in 16 bits of either type, and sums of a few thousand products of
 * two are exact in f32, in whatever order. */
static float value_of(uint32_t which, uint32_t i) {
    return (float)((int)(vkd__philox_at(41, which, 3, i).v[0] % 33) - 16) / 8;
}

static void fill(vkd_program *p, const char *name, uint32_t which, uint64_t count) {
    float *x = vkd_program_input(p, name);
    for (uint32_t i = 0; x && i < count; i++)
        x[i] = value_of(which, i);
}

static double expected(const product *p, uint32_t item, uint32_t m, uint32_t n) {
    double sum = p->bias ? (double)value_of(2, n) : 0;
    if (p->residual) sum += (double)value_of(3, (item * p->M + m) * p->N + n);
    for (uint32_t k = 0; k < p->K; k++) {
        const uint32_t a = p->transpose_a ? k * p->M + m : m * p->K + k;
        const uint32_t b = p->transpose_b ? n * p->K + k : k * p->N + n;
        sum += (double)value_of(0, item * p->M * p->K + a) *
               (double)value_of(1, (p->broadcast_b ? 0 : item * p->N * p->K) + b);
    }
    return p->activation == VKD_ACT_RELU && sum < 0 ? 0 : sum;
}

static vkd_shape matrix(uint32_t batch, uint32_t rows, uint32_t columns) {
    return batch ? VKD_SHAPE(batch, rows, columns) : VKD_SHAPE(rows, columns);
}

static vkd_tensor build(vkd_graph *g, const product *p) {
    const vkd_shape c = matrix(p->batch, p->M, p->N);
    vkd_matmul_desc d = {.transpose_a = p->transpose_a,
                         .transpose_b = p->transpose_b,
                         .activation = p->activation,
                         .f32_result = !p->half_result};
    const vkd_tensor a =
        vkd_input(g, "a", VKD_F32,
                  p->transpose_a ? matrix(p->batch, p->K, p->M) : matrix(p->batch, p->M, p->K));
    const uint32_t items = p->broadcast_b ? 0 : p->batch;
    const vkd_tensor b = vkd_input(
        g, "b", VKD_F32, p->transpose_b ? matrix(items, p->N, p->K) : matrix(items, p->K, p->N));
    if (p->bias) d.bias = vkd_input(g, "bias", VKD_F32, VKD_SHAPE(p->N));
    if (p->residual) d.residual = vkd_input(g, "residual", VKD_F32, c);
    return vkd_cast(g, vkd_matmul(g, a, b, &d), VKD_F32);
}

static uint32_t count_kernel(const vkd_plan *plan, const char *kernel) {
    uint32_t count = 0;
    for (size_t i = 0; i < plan->launch_count; i++)
        count += !strcmp(plan->launches[i].kernel, kernel);
    return count;
}

static void compare(const product *p, const float *got, const char *what) {
    const uint32_t items = p->batch ? p->batch : 1;
    for (uint32_t item = 0; item < items; item++)
        for (uint32_t m = 0; m < p->M; m++)
            for (uint32_t n = 0; n < p->N; n++) {
                double want = expected(p, item, m, n);
                const double is = (double)got[(item * p->M + m) * p->N + n];
                /* f16 keeps eleven bits of a result, bf16 eight. */
                const double unit = p->compute == VKD_F16 ? 1.0 / 1024 : 1.0 / 128;
                const double off = p->half_result ? unit * (want < 0 ? -want : want) : 0;
                if (!(is >= want - off && is <= want + off))
                    fail_msg("%s: %ux%ux%u%s%s, item %u, (%u,%u) is %g, not %g", what, p->M, p->N,
                             p->K, p->transpose_a ? " TN" : "", p->transpose_b ? " NT" : "", item,
                             m, n, is, want);
            }
}

static void run_product(const vkd_profile *profile, const product *p, const char *what) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    uint64_t ticket = 0;
    size_t count = 0;
    const vkd_graph_desc desc = {.name = "product", .compute = p->compute};
    assert_int_equal(vkd_store_create(shared.ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(shared.ctx, store, &desc, &g), VKD_OK);
    vkd_output(g, "c", build(g, p));
    if (vkd_plan_create(g, profile, &plan)) fail_msg("%s", vkd_ctx_error(shared.ctx));
    assert_true(
        count_kernel(plan, p->compute == VKD_F16 ? "matmul.coopmat" : "matmul.coopmat.bf16") > 0);
    if (vkd_program_create(shared.device, plan, &program))
        fail_msg("%s: %s", what, vkd_ctx_error(shared.ctx));
    const uint32_t items = p->batch ? p->batch : 1;
    fill(program, "a", 0, (uint64_t)items * p->M * p->K);
    fill(program, "b", 1, (uint64_t)(p->broadcast_b ? 1 : items) * p->N * p->K);
    if (p->bias) fill(program, "bias", 2, p->N);
    if (p->residual) fill(program, "residual", 3, (uint64_t)items * p->M * p->N);
    if (vkd_program_submit(program, &ticket) || vkd_program_wait(program, ticket))
        fail_msg("%s", vkd_ctx_error(shared.ctx));
    compare(p, vkd_program_output(program, ticket, "c", &count), what);
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
}

static void set_layout(product *p, uint32_t layout) {
    p->transpose_b = layout % 3 == 1;
    p->transpose_a = layout % 3 == 2;
}

static void for_each_layout(const vkd_profile *profile, product p, const char *what) {
    for (uint32_t layout = 0; layout < 3; layout++) {
        set_layout(&p, layout);
        run_product(profile, &p, what);
    }
}

/* A type that this device has matrices of; f16 where both will do. */
static vkd_dtype other_type(const vkd_profile *p) {
    return p->coop.bf16 ? VKD_BF16 : VKD_F16;
}

static void products_are_exact_in_every_layout_at_ragged_sizes(void **state) {
    (void)state;
    static const uint32_t sizes[][3] = {{1, 1, 1},    {16, 16, 16},  {33, 31, 47},
                                        {64, 64, 64}, {130, 12, 96}, {70, 132, 601}};
    vkd_profile p = profile_of();
    if (!use_shape(0, &p)) skip();
    for (size_t i = 0; i < VKD_COUNT(sizes); i++)
        for_each_layout(&p,
                        (product){.M = sizes[i][0],
                                  .N = sizes[i][1],
                                  .K = sizes[i][2],
                                  .compute = i % 2 ? VKD_F16 : other_type(&p)},
                        "sizes");
}

/* A driver compiles each of these for half a second or more. So the first shape meets every tile,
 * and the others every fourth; sizes that each tile divides and sizes that none does, and the
 * layouts, take turns. */
static void every_tile_gives_the_same_with_every_shape(void **state) {
    (void)state;
    uint32_t seen = 0, knobs = 0;
    if (!shared.coop.m) skip();
    for (size_t k = 0; k < vkd__knob_count; k++) {
        if (strcmp(vkd__knobs[k].name, "coopmat matmul, large")) continue;
        knobs++;
        for (size_t i = 0; i < SHAPES; i++)
            for (uint32_t c = 0; c < vkd__knobs[k].count; c++) {
                char what[32];
                vkd_profile p = profile_of();
                if (!use_shape(i, &p) || !vkd__knobs[k].set(&p, c)) continue;
                if (i && seen++ % 4) continue;
                for (int n = 0; n < VKD__MATMUL_CLASSES; n++)
                    p.coop.tile[n] = p.coop.tile[VKD__MATMUL_LARGE];
                snprintf(what, sizeof what, "matrices %zu, tile %u", i, c);
                product whole = {.M = 128, .N = 128, .K = 128, .compute = VKD_F16};
                product ragged = {.M = 149, .N = 141, .K = 77, .compute = other_type(&p)};
                set_layout(&whole, c);
                set_layout(&ragged, c / 2);
                run_product(&p, (c + i) % 2 ? &whole : &ragged, what);
            }
    }
    assert_int_equal(knobs, 1);
}

static void every_epilogue_is_applied(void **state) {
    (void)state;
    vkd_profile p = profile_of();
    if (!use_shape(0, &p)) skip();
    /* What the op's cases have not: each by itself, in rows that begin anywhere, and all at once,
     * into 32 bits and into 16, where a row is whole quads. */
    const product bare = {.M = 40, .N = 37, .K = 24, .compute = VKD_F16};
    product bias = bare, residual = bare, all = bare;
    bias.bias = residual.residual = true;
    bias.activation = VKD_ACT_RELU;
    all.N = 36;
    all.bias = all.residual = true;
    all.activation = VKD_ACT_RELU;
    run_product(&p, &bias, "bias");
    run_product(&p, &residual, "residual");
    run_product(&p, &all, "all");
    all.half_result = true;
    run_product(&p, &all, "all, f16");
    all.compute = other_type(&p);
    run_product(&p, &all, "all, bf16");
}

static void a_batch_and_a_split_k_are_exact(void **state) {
    (void)state;
    vkd_profile p = profile_of();
    if (!use_shape(0, &p)) skip();
    product q = {.M = 20, .N = 24, .K = 36, .batch = 5, .compute = VKD_F16};
    run_product(&p, &q, "batch");
    q = (product){.M = 19, .N = 23, .K = 35, .batch = 3, .compute = other_type(&p)};
    for_each_layout(&p, q, "ragged batch");
    q.broadcast_b = true;
    q.transpose_a = true; /* else its rows are just more rows of one product */
    run_product(&p, &q, "one B for all");
    q = (product){.M = 33, .N = 40, .K = 1040, .bias = true, .compute = VKD_F16};
    q.activation = VKD_ACT_RELU;
    run_product(&p, &q, "split");
    q.batch = 2;
    q.K = 790;
    q.transpose_b = true;
    run_product(&p, &q, "split batch");
    /* A grid that the device limits, so that a workgroup makes several tiles. */
    for (int i = 0; i < 3; i++)
        p.max_groups[i] = 1;
    q = (product){.M = 150, .N = 140, .K = 40, .batch = 2, .compute = VKD_F16};
    run_product(&p, &q, "a small grid");
}

/* ---- The op's cases ---- */

/* Those of mixed graphs, the second half of the list: every third, for the sake of drivers that
 * compile slowly; f16 and bf16 take turns. */
static void check_cases(const vkd_profile *p, uint32_t first, uint32_t every, bool windows) {
    const vkd_op_def *op = &vkd_op_matmul;
    for (uint32_t i = op->case_count / 2 + first; i < op->case_count; i += every) {
        vkd_profile own = *p;
        if (i % 2 && !own.coop.bf16) continue;
        const vkd_result r = vkd__check_case(shared.ctx, shared.device, &own, op, i, NULL);
        const char *message = vkd_ctx_error(shared.ctx);
        if (r && !(windows && r == VKD_E_SHAPE && strstr(message, "binding")))
            fail_msg("%s", message);
    }
    assert_int_equal(vkd_device_validation_messages(shared.device), 0);
}

static void the_ops_cases_agree_forward_and_backward(void **state) {
    (void)state;
    vkd_profile p = profile_of();
    if (!use_shape(0, &p)) skip();
    check_cases(&p, 0, 3, false);
}

static void a_small_binding_is_worked_on_in_windows(void **state) {
    (void)state;
    vkd_profile p = profile_of();
    p.max_binding = 2048;
    if (!use_shape(0, &p)) skip();
    check_cases(&p, 1, 3, true);
}

/* Each group of every grid a launch of its own. */
static void a_slow_launch_is_worked_on_in_pieces(void **state) {
    (void)state;
    vkd_profile p = profile_of();
    p.launch_seconds = 2 * VKD__SPLIT_SECONDS;
    p.gflops = p.gbytes = 1e-9;
    if (!use_shape(0, &p)) skip();
    check_cases(&p, 2, 9, false);
}

/* ---- Which products take it ---- */

static const char *kernel_for(const vkd_profile *p, vkd_dtype compute) {
    static char name[64];
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    const vkd_graph_desc desc = {.name = "which", .compute = compute};
    assert_int_equal(vkd_store_create(shared.ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(shared.ctx, store, &desc, &g), VKD_OK);
    vkd_output(g, "c", build(g, &(product){.M = 40, .N = 40, .K = 40, .compute = compute}));
    if (vkd_plan_create(g, p, &plan)) fail_msg("%s", vkd_ctx_error(shared.ctx));
    for (size_t i = 0; i < plan->launch_count; i++)
        if (!strncmp(plan->launches[i].kernel, "matmul", 6))
            snprintf(name, sizeof name, "%s", plan->launches[i].kernel);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return name;
}

static void only_products_of_mixed_graphs_take_matrices(void **state) {
    (void)state;
    vkd_profile p = profile_of();
    if (use_shape(0, &p)) {
        assert_string_equal(kernel_for(&p, VKD_F32), "matmul");
        p.coop.f16 = p.coop.bf16 = true;
        assert_string_equal(kernel_for(&p, VKD_F16), "matmul.coopmat");
        p.coop.bf16 = false;
        assert_string_equal(kernel_for(&p, VKD_BF16), "matmul.half");
        p.coop.f16 = false;
        assert_string_equal(kernel_for(&p, VKD_F16), "matmul.half");
        p.coop.f16 = true;
        p.direct = true;
        assert_string_equal(kernel_for(&p, VKD_F16), "matmul.direct.half");
        p.direct = false;
    }
    p.coop = (vkd__coop){0};
    assert_string_equal(kernel_for(&p, VKD_F16), "matmul.half");
    assert_string_equal(kernel_for(&p, VKD_BF16), "matmul.half");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_exact_in_every_layout_at_ragged_sizes),
        cmocka_unit_test(every_tile_gives_the_same_with_every_shape),
        cmocka_unit_test(every_epilogue_is_applied),
        cmocka_unit_test(a_batch_and_a_split_k_are_exact),
        cmocka_unit_test(the_ops_cases_agree_forward_and_backward),
        cmocka_unit_test(a_small_binding_is_worked_on_in_windows),
        cmocka_unit_test(a_slow_launch_is_worked_on_in_pieces),
        cmocka_unit_test(only_products_of_mixed_graphs_take_matrices),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
