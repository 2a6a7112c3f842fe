// SPDX-License-Identifier: Apache-2.0
/* What several teachers say together, as the logits of one:
 *
 *   probabilities   tau * log(sum_k w_k softmax(t_k / tau))   for a loss with temperature tau
 *   logits          sum_k w_k t_k
 *
 * The softmax at tau of the first is the weighted mean of the teachers' softmax at tau, which is
 * what Hinton, Vinyals, Dean (arXiv:1503.02531, section 5) call the arithmetic mean of their
 * predictions; that of the second is the renormalised geometric mean. Weights sum to 1.
 *
 * In log space: with l_k = log w_k + log softmax(t_k / tau) and m = max_k l_k,
 *
 *   log sum_k exp(l_k) = m + log sum_k exp(l_k - m).
 *
 * m is held at -10^4 and above, so that a class which all teachers mask gives -inf and no NaN; a
 * probability of e^-10000 is 0 for everyone. */
#include <math.h>

#include "train/session.h"

static vkd_tensor mean_logits(vkd_graph *g, const vkd__recipe_stage *s, const vkd_tensor *logits) {
    vkd_tensor sum = {0};
    for (uint32_t k = 0; k < s->teacher_count; k++) {
        const vkd_tensor part = vkd_scale(g, logits[k], vkd__teacher_share(s, k));
        sum = k ? vkd_add(g, sum, part) : part;
    }
    return sum;
}

static vkd_tensor mean_probabilities(vkd_graph *g, const vkd__recipe_stage *s,
                                     const vkd_tensor *logits, vkd_tensor tau) {
    vkd_tensor rows[VKD__MAX_TEACHERS];
    const vkd_shape shape = vkd_tensor_shape(g, logits[0]); /* (N, V) */
    const uint32_t axis = 1u << 1;
    for (uint32_t k = 0; k < s->teacher_count; k++) {
        const vkd_tensor soft = tau.id ? vkd_div(g, logits[k], tau) : logits[k];
        const vkd_tensor weight = vkd_constant(g, logf(vkd__teacher_share(s, k)));
        rows[k] = vkd_reshape(g, vkd_add(g, vkd_log_softmax(g, soft), weight),
                              VKD_SHAPE(shape.dim[0], 1, shape.dim[1]));
    }
    const vkd_tensor all = vkd_concat(g, rows, s->teacher_count, 1); /* (N, K, V) */
    const vkd_tensor floor = vkd_constant(g, 1e4f);
    const vkd_tensor top =
        vkd_sub(g, vkd_relu(g, vkd_add(g, vkd_max(g, all, axis, true), floor)), floor);
    const vkd_tensor sum = vkd_sum(g, vkd_exp(g, vkd_sub(g, all, top)), axis, true);
    const vkd_tensor mean = vkd_reshape(g, vkd_add(g, vkd_log(g, sum), top), shape);
    return tau.id ? vkd_mul(g, mean, tau) : mean;
}

vkd_tensor vkd__teachers_combine(vkd_graph *g, const vkd__recipe_stage *s, const vkd_tensor *logits,
                                 vkd_tensor tau) {
    if (s->teacher_count < 2) return s->teacher_count ? logits[0] : (vkd_tensor){0};
    if (s->options.combine == VKD__COMBINE_LOGITS) return mean_logits(g, s, logits);
    return mean_probabilities(g, s, logits, tau);
}

void vkd__teachers_mix(const vkd__recipe_stage *s, const float *const *logits, uint32_t rows,
                       uint32_t classes, float *out) {
    float weights[VKD__MAX_TEACHERS];
    for (uint32_t k = 0; k < s->teacher_count; k++)
        weights[k] = vkd__teacher_share(s, k);
    (s->options.combine == VKD__COMBINE_LOGITS ? vkd__mix_logits : vkd__mix_probabilities)(
        logits, weights, s->teacher_count, rows, classes, out);
}

vkd_result vkd__teachers_test(vkd__session *s, const vkd__recipe_stage *stage, float **out) {
    const uint32_t tests = s->data->test.count, classes = s->data->classes;
    float *parts[VKD__MAX_TEACHERS] = {0};
    vkd_result r = VKD_OK;
    *out = NULL;
    for (uint32_t k = 0; k < stage->teacher_count && !r; k++) {
        const vkd__recipe_model *m = &s->recipe->models[stage->teachers[k].model];
        r = vkd__infer_logits(s, m, m->name, false, &parts[k]);
    }
    if (!r && stage->teacher_count == 1) {
        *out = parts[0];
        return VKD_OK;
    }
    if (!r) {
        *out = vkd__alloc(s->ctx, (size_t)tests * classes, sizeof **out);
        r = *out ? VKD_OK : VKD_E_MEMORY;
    }
    if (!r) vkd__teachers_mix(stage, (const float *const *)parts, tests, classes, *out);
    for (uint32_t k = 0; k < stage->teacher_count; k++)
        vkd__free(s->ctx, parts[k]);
    return r;
}
