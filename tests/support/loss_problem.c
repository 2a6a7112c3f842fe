// SPDX-License-Identifier: Apache-2.0
#include "support/loss_problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"

static void randomise(double *out, size_t count, double size, uint32_t stream) {
    for (size_t i = 0; i < count; i++) {
        const vkd__philox r = vkd__philox_at(3, stream, 0, (uint32_t)i);
        out[i] = (double)(float)(size * (2 * (double)vkd__philox_uniform(r.v[0]) - 1));
    }
}

static double *numbers(size_t count) {
    double *out = calloc(count, sizeof *out);
    assert_non_null(out);
    return out;
}

/* ---- What a loss is computed from ---- */

static void add_variable(loss_problem *p, const vkd_store_info *info, size_t first, bool state) {
    assert_true(p->variable_count + p->state_count < LOSS_VARIABLES);
    loss_variable *v = &p->variables[p->variable_count + p->state_count];
    *v = (loss_variable){
        .shape = info->shape, .first = first, .count = (size_t)vkd_shape_count(info->shape)};
    snprintf(v->name, sizeof v->name, "%s", info->name);
    p->variable_count += !state;
    p->state_count += state;
}

/* Builds the loss once to see which parameters and states it has. Returns the elements of all. */
static size_t find_variables(loss_problem *p) {
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    vkd__loss_alone(g, p->def, p->config, &p->shapes, p->tau, false);
    if (vkd_graph_status(g)) fail_msg("%s: %s", p->def->name, vkd_ctx_error(ctx));
    size_t count = 0;
    for (int states = 0; states <= 1; states++)
        for (uint32_t i = 0; i < vkd_store_count(store); i++) {
            const vkd_store_info info = vkd_store_at(store, i);
            if (info.parameter == (bool)states) continue;
            if (states && !vkd__loss_alone_adapter(p->def, info.name)) continue;
            add_variable(p, &info, count, states);
            count += (size_t)vkd_shape_count(info.shape);
            if (!states) p->count = count;
        }
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
    return count;
}

/* States begin as the loss prepares them for its first step. A constant that it leaves at 0, for
 * the first step to set, is set here already: central differences would take what it then depends
 * on for a part of the gradient. */
static void prepare_states(loss_problem *p) {
    if (!p->def->prepare) return;
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    vkd__loss_alone(g, p->def, p->config, &p->shapes, p->tau, false);
    if (vkd__loss_alone_prepare(ctx, store, p->def, p->config, &p->shapes, p->labels, p->indices))
        fail_msg("%s: %s", p->def->name, vkd_ctx_error(ctx));
    for (uint32_t i = p->variable_count; i < p->variable_count + p->state_count; i++) {
        const loss_variable *v = &p->variables[i];
        vkd_store_info info;
        assert_true(vkd_store_find(store, v->name, &info));
        uint32_t *bits = calloc(v->count, sizeof *bits);
        assert_non_null(bits);
        assert_int_equal(vkd_store_read(store, v->name, bits, v->count * sizeof *bits), VKD_OK);
        for (size_t k = 0; k < v->count; k++) {
            float value;
            memcpy(&value, &bits[k], sizeof value);
            p->x[v->first + k] = info.dtype == VKD_I32 ? (double)(int32_t)bits[k] : (double)value;
        }
        if (v->count == 1 && bits[0] == 0) p->x[v->first] = 40.5;
        free(bits);
    }
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

static size_t teacher_count(const loss_problem *p) {
    size_t count = p->shapes.pair_count ? 0 : (size_t)p->N * p->V;
    for (uint32_t i = 0; i < p->shapes.pair_count; i++)
        count += (size_t)vkd_shape_count(p->shapes.teacher[i]);
    return count;
}

static void make_values(loss_problem *p, double size) {
    const size_t all = find_variables(p), teachers = teacher_count(p);
    p->student = p->x = numbers(all);
    p->teacher = numbers(teachers);
    for (uint32_t i = 0; i < p->variable_count + p->state_count; i++) {
        const bool adapter = vkd__loss_alone_adapter(p->def, p->variables[i].name) != NULL;
        const loss_variable *v = &p->variables[i];
        randomise(p->x + v->first, v->count, adapter ? 1 : size, i ? 10 + i : 1);
    }
    randomise(p->teacher, teachers, size, 2);
    p->labels = malloc(p->N * sizeof *p->labels);
    p->indices = malloc(p->N * sizeof *p->indices);
    assert_true(p->labels && p->indices);
    for (uint32_t n = 0; n < p->N; n++) {
        p->labels[n] = (int32_t)(vkd__philox_at(3, 3, 0, n).v[0] % p->V);
        p->indices[n] = (int32_t)(4 * n + 1);
    }
    prepare_states(p);
}

static void start(loss_problem *p, const vkd__loss_def *def, uint32_t N, uint32_t V) {
    *p = (loss_problem){.def = def, .N = N, .V = V, .tau = 2, .shapes = {.N = N, .V = V}};
    assert_non_null(p->def);
    assert_true(p->def->config_size <= sizeof p->config);
    vkd__fields_init(p->def->fields, p->def->field_count, p->config);
}

void loss_problem_init(loss_problem *p, const char *loss, uint32_t N, uint32_t V, double size) {
    start(p, vkd__loss_find(loss), N, V);
    make_values(p, size);
}

void loss_problem_init_case(loss_problem *p, const vkd__loss_def *def, const vkd__loss_case *c,
                            double size) {
    start(p, def, c->student[0].dim[0], c->pair_count ? 10 : c->student[0].dim[1]);
    for (size_t i = 0; i < VKD_COUNT(c->set) && c->set[i][0]; i++)
        loss_problem_set(p, c->set[i][0], c->set[i][1]);
    p->shapes.pair_count = c->pair_count;
    memcpy(p->shapes.student, c->student, sizeof c->student);
    memcpy(p->shapes.teacher, c->teacher, sizeof c->teacher);
    make_values(p, size);
}

void loss_problem_term(loss_problem *p) {
    free(p->student);
    free(p->teacher);
    free(p->labels);
    free(p->indices);
}

void loss_problem_set(loss_problem *p, const char *key, const char *text) {
    vkd_ctx *ctx = test_ctx();
    if (vkd__fields_set(ctx, p->def->fields, p->def->field_count, p->config, "test", key, text))
        fail_msg("%s", vkd_ctx_error(ctx));
    if (!strcmp(key, "tau")) p->tau = strtof(text, NULL);
    vkd_ctx_destroy(ctx);
}

/* ---- The reference ---- */

double loss_problem_reference(const loss_problem *p, double *dx) {
    vkd__loss_ref_pair pairs[VKD__MAX_PAIRS];
    vkd__loss_ref_adapter adapters[LOSS_VARIABLES];
    vkd__loss_ref r = {.N = p->N,
                       .V = p->V,
                       .student = p->student,
                       .teacher = p->teacher,
                       .labels = p->labels,
                       .tau = (double)p->tau,
                       .pairs = pairs,
                       .pair_count = p->shapes.pair_count,
                       .adapters = adapters,
                       .indices = p->indices,
                       .samples = 4 * p->N,
                       .dstudent = dx};
    memset(dx, 0, p->count * sizeof *dx);
    const double *teacher = p->teacher;
    for (uint32_t i = 0; i < p->shapes.pair_count; i++) {
        pairs[i] = (vkd__loss_ref_pair){.student_shape = p->shapes.student[i],
                                        .teacher_shape = p->shapes.teacher[i],
                                        .student = p->x + p->variables[i].first,
                                        .teacher = teacher,
                                        .dstudent = dx + p->variables[i].first};
        teacher += vkd_shape_count(p->shapes.teacher[i]);
    }
    for (uint32_t i = 0; i < p->variable_count + p->state_count; i++) {
        const loss_variable *v = &p->variables[i];
        const char *name = vkd__loss_alone_adapter(p->def, v->name);
        if (!name) continue;
        adapters[r.adapter_count++] = (vkd__loss_ref_adapter){
            name, v->shape, p->x + v->first, i < p->variable_count ? dx + v->first : NULL};
    }
    p->def->reference(&r, p->config);
    return r.loss;
}

/* ---- The graph ---- */

void loss_graph_init(loss_graph *lg, const loss_problem *p, loss_form form) {
    vkd_ctx *own = test_ctx();
    loss_graph_init_on(lg, p, form, own);
    lg->own = own;
}

void loss_graph_init_on(loss_graph *lg, const loss_problem *p, loss_form form, vkd_ctx *ctx) {
    *lg = (loss_graph){.ctx = ctx};
    assert_int_equal(vkd_store_create(lg->ctx, &lg->store), VKD_OK);
    assert_int_equal(vkd_graph_create(lg->ctx, lg->store, NULL, &lg->g), VKD_OK);
    lg->loss = vkd__loss_alone(lg->g, p->def, p->config, &p->shapes, p->tau, form == LOSS_FUSED);
    for (uint32_t i = 0; i < p->variable_count; i++)
        lg->variables[i] = vkd_param(lg->g, p->variables[i].name, p->variables[i].shape, NULL);
    vkd_backward(lg->g, lg->loss, lg->variables, p->variable_count, lg->gradients);
    vkd_output(lg->g, "loss", lg->loss);
    for (uint32_t i = 0; i < p->variable_count; i++) {
        char name[32];
        snprintf(name, sizeof name, "gradient.%u", (unsigned)i);
        vkd_output(lg->g, name, lg->gradients[i]);
    }
    if (vkd_graph_status(lg->g)) fail_msg("%s: %s", p->def->name, vkd_ctx_error(lg->ctx));
}

void loss_graph_term(loss_graph *lg) {
    vkd_graph_destroy(lg->g);
    vkd_store_destroy(lg->store);
    vkd_ctx_destroy(lg->own);
}

/* What gives every number of the problem to someone: the store on a device, or the host. */
typedef struct sink {
    const loss_graph *lg;
    vkd__host *host; /* NULL: the store */
} sink;

static void give(const sink *to, const char *name, const double *values, const int32_t *whole) {
    vkd_store_info info;
    if (!vkd_store_find(to->lg->store, name, &info)) return; /* the loss does not ask for it */
    const size_t count = (size_t)vkd_shape_count(info.shape);
    if (to->host) {
        const vkd_tensor t = info.parameter ? vkd_param(to->lg->g, name, info.shape, NULL)
                                            : vkd_state(to->lg->g, name, info.dtype, info.shape);
        for (size_t i = 0; i < count; i++)
            vkd__host_values(to->host, t)[i] = values ? values[i] : whole[i];
        return;
    }
    uint32_t *bits = calloc(count, sizeof *bits);
    assert_non_null(bits);
    for (size_t i = 0; values && i < count; i++) {
        const float value = (float)values[i];
        memcpy(&bits[i], &value, sizeof value);
        if (info.dtype == VKD_I32) bits[i] = (uint32_t)(int32_t)values[i];
    }
    if (vkd_store_write(to->lg->store, name, values ? (const void *)bits : whole,
                        count * sizeof *bits))
        fail_msg("%s", vkd_ctx_error(to->lg->ctx));
    free(bits);
}

static void give_all(const sink *to, const loss_problem *p) {
    for (uint32_t i = 0; i < p->variable_count + p->state_count; i++)
        give(to, p->variables[i].name, (i ? p->x : p->student) + p->variables[i].first, NULL);
    give(to, "teacher", p->teacher, NULL);
    const double *teacher = p->teacher;
    for (uint32_t i = 0; i < p->shapes.pair_count; i++) {
        char name[32];
        snprintf(name, sizeof name, "teacher.%u", (unsigned)i);
        give(to, name, teacher, NULL);
        teacher += vkd_shape_count(p->shapes.teacher[i]);
    }
    give(to, "labels", NULL, p->labels);
    give(to, "indices", NULL, p->indices);
}

void loss_graph_write(const loss_graph *lg, const loss_problem *p) {
    give_all(&(sink){.lg = lg}, p);
}

double loss_graph_host(const loss_graph *lg, const loss_problem *p, double *dx) {
    sink to = {.lg = lg};
    if (vkd__host_create(lg->g, &to.host)) fail_msg("%s", vkd_ctx_error(lg->ctx));
    give_all(&to, p);
    vkd__host_run(to.host);
    const double loss = vkd__host_values(to.host, lg->loss)[0];
    for (uint32_t i = 0; i < p->variable_count; i++)
        memcpy(dx + p->variables[i].first, vkd__host_values(to.host, lg->gradients[i]),
               p->variables[i].count * sizeof(double));
    vkd__host_destroy(to.host);
    return loss;
}

void loss_same(const loss_problem *p, const char *what, const double *got, const double *want,
               size_t count, double bound) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= bound * (1 + fabs(want[i]))) && got[i] != want[i])
            fail_msg("%s (%u, %u): %s[%zu] is %.12g, should be %.12g", p->def->name, p->N, p->V,
                     what, i, got[i], want[i]);
}
