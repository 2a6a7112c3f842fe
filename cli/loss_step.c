// SPDX-License-Identifier: Apache-2.0
#include "cli/loss_step.h"

#include <string.h>

float cli_loss_tau(const cli_loss_problem *p) {
    float tau = 1;
    for (size_t i = 0; i < p->def->field_count; i++) {
        const vkd__field *f = &p->def->fields[i];
        if (!strcmp(f->name, "tau") && f->type == VKD__FIELD_F32)
            memcpy(&tau, (const char *)p->config + f->offset, sizeof tau);
    }
    return tau;
}

/* The tensors are store tensors, so that neither size nor binding limits need a thought here. */
static vkd_result build(vkd_graph *g, const cli_loss_problem *p, bool composed) {
    const vkd_shape shape = VKD_SHAPE(p->N, p->V);
    vkd__loss_io io = {.student = vkd_param(g, "loss.student", shape, NULL)};
    if (p->def->needs & VKD__LOSS_TEACHER) io.teacher = vkd_state(g, "teacher", VKD_F32, shape);
    if (p->def->needs & VKD__LOSS_LABELS)
        io.labels = vkd_state(g, "labels", VKD_I32, VKD_SHAPE(p->N));
    if (p->def->needs & VKD__LOSS_TAU) io.tau = vkd_setting(g, "tau", cli_loss_tau(p));
    const vkd_tensor loss = p->def->fused && !composed ? p->def->fused(g, &io, p->config)
                                                       : p->def->build(g, &io, p->config);
    vkd_tensor gradient = {0};
    vkd_backward(g, loss, &io.student, 1, &gradient);
    vkd_output(g, "loss", loss);
    vkd_output(g, "gradient", gradient);
    return vkd_graph_status(g);
}

static vkd_result write_inputs(vkd_store *store, const cli_loss_problem *p) {
    const size_t bytes = (size_t)p->N * p->V * sizeof *p->student;
    vkd_result r = vkd_store_write(store, "loss.student", p->student, bytes);
    if (!r && (p->def->needs & VKD__LOSS_TEACHER))
        r = vkd_store_write(store, "teacher", p->teacher, bytes);
    if (!r && (p->def->needs & VKD__LOSS_LABELS))
        r = vkd_store_write(store, "labels", p->labels, p->N * sizeof *p->labels);
    return r;
}

static vkd_result step(vkd_ctx *ctx, vkd_program *program, const cli_loss_problem *p, float *loss,
                       float *gradient) {
    const size_t count = (size_t)p->N * p->V;
    uint64_t ticket = 0;
    vkd_result r = vkd_program_submit(program, &ticket);
    if (!r) r = vkd_program_wait(program, ticket);
    if (r) return r;
    const float *value = vkd_program_output(program, ticket, "loss", NULL);
    const float *values = vkd_program_output(program, ticket, "gradient", NULL);
    if (!value || !values)
        return vkd__fail(ctx, VKD_E_DEVICE, "the step of '%s' left no result", p->def->name);
    *loss = *value;
    memcpy(gradient, values, count * sizeof *gradient);
    return VKD_OK;
}

vkd_result cli_loss_step(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile,
                         const cli_loss_problem *p, bool composed, float *loss, float *gradient) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    vkd_result r = vkd_store_create(ctx, &store);
    if (!r) r = vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = p->def->name}, &g);
    if (!r) r = build(g, p, composed);
    if (!r) r = write_inputs(store, p);
    if (!r) r = vkd_plan_create(g, profile, &plan);
    if (!r) r = vkd_program_create(device, plan, &program);
    if (!r) r = step(ctx, program, p, loss, gradient);
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return r;
}
