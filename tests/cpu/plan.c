// SPDX-License-Identifier: Apache-2.0
#include "support/plan_ops.h"
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
    vkd_profile profile;
    vkd_plan *plan;
    vkd_tensor x; /* an input of 64 */
} fixture;

static fixture begin(void) {
    fixture f = {.ctx = test_ctx(), .profile = *vkd_profile_find("cpu")};
    assert_int_equal(vkd_store_create(f.ctx, &f.store), VKD_OK);
    assert_int_equal(vkd_graph_create(f.ctx, f.store, &(vkd_graph_desc){.name = "test"}, &f.g),
                     VKD_OK);
    f.x = vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(64));
    return f;
}

static void plan(fixture *f) {
    const vkd_result r = vkd_plan_create(f->g, &f->profile, &f->plan);
    if (r) fail_msg("%s", vkd_ctx_error(f->ctx));
}

static void end(fixture *f) {
    vkd_plan_destroy(f->plan);
    vkd_graph_destroy(f->g);
    vkd_store_destroy(f->store);
    vkd_ctx_destroy(f->ctx);
}

static void expect_failure(fixture *f, vkd_result code, const char *words) {
    assert_int_equal(vkd_plan_create(f->g, &f->profile, &f->plan), code);
    assert_null(f->plan);
    if (!strstr(vkd_ctx_error(f->ctx), words))
        fail_msg("'%s' does not say '%s'", vkd_ctx_error(f->ctx), words);
    end(f);
}

static bool same_place(const fixture *f, vkd_tensor a, vkd_tensor b) {
    const vkd__place x = f->plan->places[a.id], y = f->plan->places[b.id];
    return x.space == y.space && x.index == y.index && x.offset == y.offset;
}

/* ---- Order ---- */

static void a_node_that_nothing_needs_is_not_launched(void **state) {
    (void)state;
    fixture f = begin();
    const vkd_tensor a = plain(f.g, f.x, 64);
    plain(f.g, a, 64);
    vkd_output(f.g, "a", a);
    plan(&f);
    assert_int_equal(f.plan->launch_count, 1);
    assert_int_equal(f.plan->info.transient_bytes, 256);
    end(&f);
}

static void a_change_of_the_store_is_launched_with_all_that_it_needs(void **state) {
    (void)state;
    fixture f = begin();
    const vkd_tensor s = vkd_state(f.g, "s", VKD_F32, VKD_SHAPE(64));
    update(f.g, s, view(f.g, plain(f.g, f.x, 64)));
    plan(&f);
    assert_int_equal(f.plan->launch_count, 2);
    assert_string_equal(f.plan->launches[1].label, "s");
    end(&f);
}

/* ---- Storage ---- */

static void a_view_lies_where_its_source_lies(void **state) {
    (void)state;
    fixture f = begin();
    const vkd_tensor w = vkd_param(f.g, "net.w", VKD_SHAPE(3), &(vkd_init){0});
    const vkd_tensor b = vkd_param(f.g, "net.b", VKD_SHAPE(64), &(vkd_init){0});
    const vkd_tensor a = plain(f.g, w, 64), v = view(f.g, view(f.g, a)), u = view(f.g, b);
    vkd_output(f.g, "v", v);
    vkd_output(f.g, "u", u);
    plan(&f);
    assert_true(same_place(&f, a, v));
    assert_true(same_place(&f, b, u));
    assert_int_equal(f.plan->places[u.id].space, VKD__SPACE_STORE);
    assert_int_equal(f.plan->places[u.id].offset, 256);
    assert_int_equal(f.plan->info.persistent_bytes, 512);
    end(&f);
}

static void storage_is_taken_over_only_from_who_dies_there(void **state) {
    (void)state;
    fixture f = begin();
    const vkd_tensor a = plain(f.g, f.x, 64);
    const vkd_tensor taken = in_place(f.g, a, 64);
    const vkd_tensor larger = in_place(f.g, taken, 65);
    const vkd_tensor twice[] = {larger, view(f.g, larger)};
    const vkd_tensor both =
        plan_op(f.g, &op_in_place, twice, 2, &(plan_op_params){.outs = 1, .count = {65}});
    const vkd_tensor kept = in_place(f.g, both, 65);
    const vkd_tensor of_input = in_place(f.g, f.x, 64);
    vkd_output(f.g, "kept", kept);
    vkd_output(f.g, "both", both);
    vkd_output(f.g, "of_input", of_input);
    plan(&f);
    assert_true(same_place(&f, a, taken));
    assert_false(same_place(&f, taken, larger)); /* another size */
    assert_false(same_place(&f, larger, both));  /* read a second way */
    assert_false(same_place(&f, both, kept));    /* an output */
    assert_false(same_place(&f, f.x, of_input)); /* the host's */
    end(&f);
}

static void a_chain_needs_two_tensors_at_a_time(void **state) {
    (void)state;
    fixture f = begin();
    vkd_tensor t = f.x;
    for (int i = 0; i < 20; i++)
        t = plain(f.g, t, 1000);
    vkd_output(f.g, "t", t);
    plan(&f);
    assert_int_equal(f.plan->info.transient_bytes, 2 * 4096);
    assert_int_equal(f.plan->info.barriers, 19);
    end(&f);
}

static void sharing_storage_adds_no_barrier(void **state) {
    (void)state;
    fixture f = begin();
    const vkd_tensor a = plain(f.g, f.x, 64), b = plain(f.g, a, 1);
    const vkd_tensor c = plain(f.g, f.x, 64); /* beside b, so not where a lies */
    const vkd_tensor d = plain(f.g, c, 1), e = in_place(f.g, c, 64); /* beside d, which reads c */
    const vkd_tensor h = plain(f.g, e, 64), i = plain(f.g, h, 64);   /* a's time is over */
    vkd_output(f.g, "b", b);
    vkd_output(f.g, "d", d);
    vkd_output(f.g, "i", i);
    plan(&f);
    assert_int_equal(f.plan->info.barriers, 4);
    assert_false(same_place(&f, a, c));
    assert_false(same_place(&f, c, e));
    assert_int_equal(f.plan->info.transient_bytes, 4 * 256);
    end(&f);
}

static void tensors_that_do_not_fit_one_allocation_go_to_several(void **state) {
    (void)state;
    fixture f = begin();
    f.profile.max_allocation = 1024;
    for (int i = 0; i < 3; i++) {
        const char *names[] = {"a", "b", "c"};
        vkd_output(f.g, names[i], plain(f.g, f.x, 192)); /* 768 bytes */
    }
    plan(&f);
    assert_int_equal(f.plan->arena_count, 3);
    assert_int_equal(f.plan->info.transient_bytes, 3 * 768);
    end(&f);
}

/* ---- Placements ---- */

static void a_value_is_made_where_it_belongs(void **state) {
    (void)state;
    fixture f = begin();
    const vkd_tensor s = vkd_state(f.g, "s", VKD_F32, VKD_SHAPE(256));
    const vkd_tensor a = plain(f.g, f.x, 64), b = plain(f.g, a, 33);
    put(f.g, view(f.g, a), s, 512);
    put(f.g, b, s, 0);
    put(f.g, b, s, 768); /* it lies at 0, so this is a copy */
    update(f.g, vkd_state(f.g, "w", VKD_F32, VKD_SHAPE(1)), s);
    plan(&f);
    assert_int_equal(f.plan->launch_count, 4);
    assert_int_equal(f.plan->places[b.id].offset, 0);
    assert_int_equal(f.plan->places[a.id].space, VKD__SPACE_STORE);
    assert_int_equal(f.plan->places[a.id].offset, 512);
    assert_int_equal(f.plan->info.transient_bytes, 0);
    assert_int_equal(f.plan->info.barriers, 3);
    end(&f);
}

static void a_value_is_copied_where_the_place_is_still_in_use(void **state) {
    (void)state;
    fixture f = begin();
    const vkd_tensor s = vkd_state(f.g, "s", VKD_F32, VKD_SHAPE(256));
    const vkd_tensor a = plain(f.g, f.x, 64);
    const vkd_tensor old = plain(f.g, s, 64); /* must see s before the placement */
    put(f.g, a, s, 0);
    put(f.g, a, s, 256);   /* a cannot be in two places */
    put(f.g, f.x, s, 512); /* nor can an input be made there */
    vkd_output(f.g, "old", old);
    plan(&f);
    assert_int_equal(f.plan->launch_count, 5);
    assert_int_equal(f.plan->places[a.id].space, VKD__SPACE_ARENA);
    end(&f);
}

/* ---- Inputs, outputs, launches ---- */

static void inputs_keep_their_names_and_constants_only_their_readers(void **state) {
    (void)state;
    fixture f = begin();
    vkd_setting(f.g, "rate", 0.5f);
    vkd_constant(f.g, 3.0f);
    vkd_output(f.g, "a", plain(f.g, vkd_constant(f.g, 2.0f), 5));
    vkd_output(f.g, "x", f.x);
    plan(&f);
    const vkd_plan *p = f.plan;
    assert_int_equal(p->input_count, 3);
    assert_string_equal(p->inputs[1].name, "rate");
    assert_true(p->inputs[1].value == 0.5f && !p->inputs[1].constant);
    assert_true(p->inputs[2].constant && p->inputs[2].value == 2.0f);
    assert_int_equal(p->inputs[2].block_offset, 512);
    assert_int_equal(p->output_bytes, 32 + 256);
    assert_int_equal(p->outputs[1].block_offset, 32);
    assert_int_equal(p->outputs[1].source.space, VKD__SPACE_INPUT);
    end(&f);
}

static void an_absent_input_binds_zeros(void **state) {
    (void)state;
    fixture f = begin();
    const vkd_tensor in[] = {{0}, f.x};
    vkd_output(f.g, "a",
               plan_op(f.g, &op_plain, in, 2, &(plan_op_params){.outs = 1, .count = {64}}));
    plan(&f);
    const vkd__binding *b = f.plan->launches[0].bindings;
    assert_int_equal(b[0].space, VKD__SPACE_DUMMY);
    assert_int_equal(b[0].bytes, 256);
    assert_int_equal(b[1].space, VKD__SPACE_INPUT);
    end(&f);
}

static void a_long_step_is_cut_into_slices(void **state) {
    (void)state;
    fixture f = begin();
    f.profile.gflops = 1e-6; /* a millisecond for each element */
    f.profile.launch_seconds = 0.04;
    const uint32_t counts[] = {1, 1, 1, 1, 200, 1}, slices[] = {0, 0, 1, 1, 2, 3};
    vkd_tensor t = f.x;
    for (uint32_t i = 0; i < 6; i++)
        t = plain(f.g, t, counts[i]);
    vkd_output(f.g, "t", t);
    plan(&f);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(f.plan->launches[i].slice, slices[i]);
    assert_int_equal(f.plan->info.slices, 4);
    assert_true(f.plan->info.seconds > 0.443 && f.plan->info.seconds < 0.446);
    end(&f);
}

/* Two groups of 0.4 s, and a hundred of 0.5 s: there are no more pieces than groups. */
static void a_launch_that_takes_too_long_is_cut_into_pieces_of_its_grid(void **state) {
    (void)state;
    fixture f = begin();
    f.profile.gflops = 0.5e-6; /* two milliseconds for each element */
    f.profile.flat_workgroup = 64;
    const vkd_tensor t = plain(f.g, f.x, 400), u = plain(f.g, t, 4 * 64 * 100);
    vkd_output(f.g, "u", u);
    plan(&f);
    const vkd__launch *l = f.plan->launches;
    assert_int_equal(f.plan->launch_count, 2 + 100);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(l[i].piece && l[i].base[0] == i && l[i].groups[0] == 1);
        assert_int_equal(l[i].spec[l[i].spec_count - 3], 2);
        assert_int_equal(l[i].spec_id[l[i].spec_count - 3], VKD__SPEC_GRID);
        assert_true(fabs(l[i].flops - 200) < 1e-9);
        assert_int_equal(l[i].slice, i);
    }
    uint32_t next = 0;
    for (l += 2; l < f.plan->launches + 102; next += l->groups[0], l++)
        assert_int_equal(l->base[0], next);
    assert_int_equal(next, 100);
    assert_int_equal(f.plan->info.slices, 102);
    assert_true(fabs(f.plan->info.flops - 26000) < 1e-6);
    end(&f);
}

static void a_plan_outlives_its_graph(void **state) {
    (void)state;
    fixture f = begin();
    vkd_output(f.g, "a", plain(f.g, f.x, 64));
    plan(&f);
    vkd_graph_destroy(f.g);
    f.g = NULL;
    char *text = vkd_plan_print(f.plan);
    assert_non_null(strstr(text, "in x@in:0  out plain.0@0:0"));
    vkd_free_text(f.ctx, text);
    end(&f);
}

/* ---- Windows ---- */

static void windows_fit_and_stay_aligned(void **state) {
    (void)state;
    vkd_profile p = *vkd_profile_find("gpu");
    p.max_binding = 100000;
    for (size_t size = 1; size <= 4; size += 3) {
        const uint64_t n = vkd__window_elements(&p, size);
        assert_true(n * size <= p.max_binding && n * size > p.max_binding - 512);
        assert_true(n % 64 == 0 && n * size % 256 == 0);
    }
    assert_int_equal(vkd__window_rows(&p, 400, 250), 250); /* all of them: no window */
    assert_int_equal(vkd__window_rows(&p, 400, 251), 240); /* sixteen rows are a multiple of 256 */
    assert_int_equal(vkd__window_rows(&p, 2052, 1000), 0);
    assert_int_equal(vkd__window_rows(&p, 512, 1000), 195);
}

/* ---- Failures ---- */

static void a_failed_graph_gives_its_first_mistake(void **state) {
    (void)state;
    fixture f = begin();
    vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(2));
    expect_failure(&f, VKD_E_ARGUMENT, "already an input 'x'");
}

static void an_op_may_refuse_a_profile(void **state) {
    (void)state;
    fixture f = begin();
    vkd_name(f.g, f.x, "pixels");
    vkd_output(f.g, "a",
               plan_op(f.g, &op_plain, &f.x, 1,
                       &(plan_op_params){.outs = 1, .count = {1}, .refuse = true}));
    assert_int_equal(vkd_graph_status(f.g), VKD_OK);
    expect_failure(&f, VKD_E_SHAPE, "plain('pixels'): rows of 7 bytes fit nowhere");
}

static void a_kernel_that_is_not_there_is_named(void **state) {
    (void)state;
    fixture f = begin();
    vkd_output(f.g, "a",
               plan_op(f.g, &op_plain, &f.x, 1,
                       &(plan_op_params){.outs = 1, .count = {1}, .kernel = "no_such"}));
    expect_failure(&f, VKD_E_ARGUMENT, "no kernel 'no_such'");
}

static void a_binding_beyond_the_limit_is_named(void **state) {
    (void)state;
    fixture f = begin();
    f.profile.max_binding = 256;
    vkd_output(f.g, "a", vkd_name(f.g, plain(f.g, f.x, 65), "big"));
    expect_failure(&f, VKD_E_SHAPE, "plain binds 272 bytes of 'big' at once, 'cpu' allows 256");
}

static void a_tensor_beyond_one_allocation_gives_the_arithmetic(void **state) {
    (void)state;
    fixture f = begin();
    f.profile.max_allocation = 1100; /* 1280 with the padding to a multiple of 256 */
    vkd_output(f.g, "a", vkd_name(f.g, plain(f.g, f.x, 257), "big"));
    expect_failure(&f, VKD_E_DEVICE_MEMORY, "'big', 257 elements of 4 bytes, 1028 bytes in all");
}

static void inputs_beyond_one_allocation_are_refused(void **state) {
    (void)state;
    fixture f = begin();
    f.profile.max_allocation = 128;
    vkd_output(f.g, "a", plain(f.g, f.x, 1));
    expect_failure(&f, VKD_E_DEVICE_MEMORY, "inputs up to 'x' take 256 bytes");
}

static void an_unknown_profile_is_not_found(void **state) {
    (void)state;
    assert_null(vkd_profile_find("tpu"));
}

typedef struct limited {
    size_t left, live;
} limited;

static void *limited_alloc(void *user, size_t size) {
    limited *l = user;
    if (!l->left) return NULL;
    l->left--;
    l->live++;
    return malloc(size);
}

static void limited_free(void *user, void *memory) {
    ((limited *)user)->live--;
    free(memory);
}

static void a_plan_without_memory_fails_and_leaks_nothing(void **state) {
    (void)state;
    limited l = {SIZE_MAX, 0};
    fixture f = {.profile = *vkd_profile_find("cpu")};
    vkd_ctx_create(&(vkd_ctx_desc){.alloc = limited_alloc, .free = limited_free, .user = &l},
                   &f.ctx);
    vkd_store_create(f.ctx, &f.store);
    vkd_graph_create(f.ctx, f.store, NULL, &f.g);
    vkd_tensor t = vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(64));
    for (int i = 0; i < 40; i++)
        t = plan_op(f.g, &op_plain, &t, 1,
                    &(plan_op_params){.outs = 1, .count = {64}, .scratch = 9});
    vkd_output(f.g, "t", t);
    const size_t before = l.live;
    size_t failures = 0;
    for (;; failures++) {
        l.left = failures;
        const vkd_result r = vkd_plan_create(f.g, &f.profile, &f.plan);
        if (!r) break;
        assert_int_equal(r, VKD_E_MEMORY);
        assert_null(f.plan);
        assert_int_equal(l.live, before);
    }
    assert_true(failures > 5);
    l.left = 0;
    assert_null(vkd_plan_print(f.plan));
    end(&f);
    assert_int_equal(l.live, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_that_nothing_needs_is_not_launched),
        cmocka_unit_test(a_change_of_the_store_is_launched_with_all_that_it_needs),
        cmocka_unit_test(a_view_lies_where_its_source_lies),
        cmocka_unit_test(storage_is_taken_over_only_from_who_dies_there),
        cmocka_unit_test(a_chain_needs_two_tensors_at_a_time),
        cmocka_unit_test(sharing_storage_adds_no_barrier),
        cmocka_unit_test(tensors_that_do_not_fit_one_allocation_go_to_several),
        cmocka_unit_test(a_value_is_made_where_it_belongs),
        cmocka_unit_test(a_value_is_copied_where_the_place_is_still_in_use),
        cmocka_unit_test(inputs_keep_their_names_and_constants_only_their_readers),
        cmocka_unit_test(an_absent_input_binds_zeros),
        cmocka_unit_test(a_long_step_is_cut_into_slices),
        cmocka_unit_test(a_launch_that_takes_too_long_is_cut_into_pieces_of_its_grid),
        cmocka_unit_test(a_plan_outlives_its_graph),
        cmocka_unit_test(windows_fit_and_stay_aligned),
        cmocka_unit_test(a_failed_graph_gives_its_first_mistake),
        cmocka_unit_test(an_op_may_refuse_a_profile),
        cmocka_unit_test(a_kernel_that_is_not_there_is_named),
        cmocka_unit_test(a_binding_beyond_the_limit_is_named),
        cmocka_unit_test(a_tensor_beyond_one_allocation_gives_the_arithmetic),
        cmocka_unit_test(inputs_beyond_one_allocation_are_refused),
        cmocka_unit_test(an_unknown_profile_is_not_found),
        cmocka_unit_test(a_plan_without_memory_fails_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
