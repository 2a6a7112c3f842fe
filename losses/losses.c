// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "losses/loss.h"

#define VKD_LOSS(name) &vkd_loss_##name,
const vkd__loss_def *const vkd__losses[] = {
#include "losses/losses.def"
    NULL};
#undef VKD_LOSS
const size_t vkd__loss_count = VKD_COUNT(vkd__losses) - 1;

const vkd__loss_def *vkd__loss_find(const char *name) {
    for (size_t i = 0; i < vkd__loss_count; i++)
        if (!strcmp(vkd__losses[i]->name, name)) return vkd__losses[i];
    return NULL;
}

bool vkd__loss_needs_teacher(const vkd__loss_def *def) {
    const bool taps = (def->needs & VKD__LOSS_TAPS) && !(def->needs & VKD__LOSS_OWN_TAPS);
    return taps || (def->needs & VKD__LOSS_TEACHER);
}

double vkd__loss_log_sum_exp(const double *x, uint32_t V, double tau) {
    double most = x[0], z = 0;
    for (uint32_t v = 1; v < V; v++)
        most = fmax(most, x[v]);
    for (uint32_t v = 0; v < V; v++)
        z += exp((x[v] - most) / tau);
    return most / tau + log(z);
}

/* "(64, 14, 14, 8)" */
static void add_shape(vkd__text *t, vkd_shape shape) {
    for (uint32_t i = 0; i < shape.axes; i++)
        vkd__text_add(t, "%s%u", i ? ", " : "(", (unsigned)shape.dim[i]);
    vkd__text_add(t, ")");
}

vkd_result vkd__loss_check_pair(vkd_ctx *ctx, const vkd__loss_def *def, const void *config,
                                const char *where, const char *student_name, vkd_shape student,
                                const char *teacher_name, vkd_shape teacher) {
    const char *why = def->misfit ? def->misfit(student, teacher, config) : NULL;
    if (student.dim[0] != teacher.dim[0]) why = "they are not of the same number of samples";
    if (!why) return VKD_OK;
    vkd__text t = {.ctx = ctx};
    vkd__text_add(&t, "%s: cannot compare %s ", where, student_name);
    add_shape(&t, student);
    vkd__text_add(&t, " with %s ", teacher_name);
    add_shape(&t, teacher);
    const vkd_result r =
        t.failed ? VKD_E_MEMORY : vkd__fail(ctx, VKD_E_SHAPE, "%.600s: %s", t.text, why);
    vkd__text_term(&t);
    return r;
}

const vkd__loss_ref_adapter *vkd__loss_ref_find(const vkd__loss_ref *r, const char *name) {
    uint32_t i = 0;
    while (i < r->adapter_count && strcmp(r->adapters[i].name, name) != 0)
        i++;
    VKD_ASSERT(i < r->adapter_count);
    return &r->adapters[i];
}

vkd_tensor vkd__loss_rows(vkd_graph *g, vkd_tensor features) {
    const vkd_shape shape = vkd_tensor_shape(g, features);
    if (shape.axes == 2 || !shape.axes) return features;
    const uint32_t rest = (uint32_t)(vkd_shape_count(shape) / shape.dim[0]);
    return vkd_reshape(g, features, VKD_SHAPE(shape.dim[0], rest));
}
