// SPDX-License-Identifier: Apache-2.0
#include "support/loss_problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

static double *random_logits(size_t count, double size, uint32_t stream) {
    double *out = malloc(count * sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < count; i++) {
        const vkd__philox r = vkd__philox_at(3, stream, 0, (uint32_t)i);
        out[i] = (double)(float)(size * (2 * (double)vkd__philox_uniform(r.v[0]) - 1));
    }
    return out;
}

void loss_problem_init(loss_problem *p, const char *loss, uint32_t N, uint32_t V, double size) {
    *p = (loss_problem){.def = vkd__loss_find(loss), .N = N, .V = V, .tau = 2};
    assert_non_null(p->def);
    assert_true(p->def->config_size <= sizeof p->config);
    vkd__fields_init(p->def->fields, p->def->field_count, p->config);
    p->student = random_logits((size_t)N * V, size, 1);
    p->teacher = random_logits((size_t)N * V, size, 2);
    p->labels = malloc(N * sizeof *p->labels);
    assert_non_null(p->labels);
    for (uint32_t n = 0; n < N; n++)
        p->labels[n] = (int32_t)(vkd__philox_at(3, 3, 0, n).v[0] % V);
}

void loss_problem_term(loss_problem *p) {
    free(p->student);
    free(p->teacher);
    free(p->labels);
}

void loss_problem_set(loss_problem *p, const char *key, const char *text) {
    vkd_ctx *ctx = test_ctx();
    if (vkd__fields_set(ctx, p->def->fields, p->def->field_count, p->config, "test", key, text))
        fail_msg("%s", vkd_ctx_error(ctx));
    if (!strcmp(key, "tau")) p->tau = strtof(text, NULL);
    vkd_ctx_destroy(ctx);
}

double loss_problem_reference(const loss_problem *p, double *ds) {
    vkd__loss_ref r = {
        .N = p->N,
        .V = p->V,
        .student = p->student,
        .teacher = p->teacher,
        .labels = p->labels,
        .tau = (double)p->tau,
        .dstudent = ds,
    };
    p->def->reference(&r, p->config);
    return r.loss;
}

void loss_graph_init(loss_graph *lg, const loss_problem *p, loss_form form) {
    vkd_ctx *own = test_ctx();
    loss_graph_init_on(lg, p, form, own);
    lg->own = own;
}

void loss_graph_init_on(loss_graph *lg, const loss_problem *p, loss_form form, vkd_ctx *ctx) {
    const vkd_shape shape = VKD_SHAPE(p->N, p->V);
    *lg = (loss_graph){.ctx = ctx};
    assert_int_equal(vkd_store_create(lg->ctx, &lg->store), VKD_OK);
    assert_int_equal(vkd_graph_create(lg->ctx, lg->store, NULL, &lg->g), VKD_OK);
    vkd__loss_io io = {.student = vkd_param(lg->g, "net.logits", shape, NULL)};
    lg->student = io.student;
    if (p->def->needs & VKD__LOSS_TEACHER)
        io.teacher = lg->teacher = vkd_input(lg->g, "teacher", VKD_F32, shape);
    if (p->def->needs & VKD__LOSS_LABELS)
        io.labels = lg->labels = vkd_input(lg->g, "labels", VKD_I32, VKD_SHAPE(p->N));
    if (p->def->needs & VKD__LOSS_TAU) io.tau = vkd_setting(lg->g, "tau", p->tau);
    const vkd_tensor one = form == LOSS_FUSED ? p->def->fused(lg->g, &io, p->config)
                                              : p->def->build(lg->g, &io, p->config);
    lg->loss = vkd_mul(lg->g, one, vkd_setting(lg->g, "weight", 1));
    vkd_backward(lg->g, lg->loss, &lg->student, 1, &lg->gradient);
    vkd_output(lg->g, "loss", lg->loss);
    vkd_output(lg->g, "gradient", lg->gradient);
    if (vkd_graph_status(lg->g)) fail_msg("%s", vkd_ctx_error(lg->ctx));
}

void loss_graph_term(loss_graph *lg) {
    vkd_graph_destroy(lg->g);
    vkd_store_destroy(lg->store);
    vkd_ctx_destroy(lg->own);
}

double loss_graph_host(const loss_graph *lg, const loss_problem *p, double *ds) {
    const size_t count = (size_t)p->N * p->V;
    vkd__host *h = NULL;
    if (vkd__host_create(lg->g, &h)) fail_msg("%s", vkd_ctx_error(lg->ctx));
    memcpy(vkd__host_values(h, lg->student), p->student, count * sizeof(double));
    if (lg->teacher.id)
        memcpy(vkd__host_values(h, lg->teacher), p->teacher, count * sizeof(double));
    for (uint32_t n = 0; lg->labels.id && n < p->N; n++)
        vkd__host_values(h, lg->labels)[n] = p->labels[n];
    vkd__host_run(h);
    const double loss = vkd__host_values(h, lg->loss)[0];
    memcpy(ds, vkd__host_values(h, lg->gradient), count * sizeof(double));
    vkd__host_destroy(h);
    return loss;
}

void loss_same(const loss_problem *p, const char *what, const double *got, const double *want,
               size_t count, double bound) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= bound * (1 + fabs(want[i]))) && got[i] != want[i])
            fail_msg("%s (%u, %u): %s[%zu] is %.12g, should be %.12g", p->def->name, p->N, p->V,
                     what, i, got[i], want[i]);
}
