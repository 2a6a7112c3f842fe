// SPDX-License-Identifier: Apache-2.0
/* What a training step reads and does not change, beside the data set: the logits of its teachers
 * for the samples that it draws from, and the targets that another stage made. */
#include <math.h>

#include "train/session.h"

typedef struct range {
    uint32_t first, end;
} range;

/* What all stages of the recipe that read this teacher's cached logits take their batches from. */
static range samples_read(const vkd__session *s, uint32_t teacher) {
    range all = {.first = UINT32_MAX};
    for (uint32_t i = 0; i < s->recipe->stage_count; i++) {
        const vkd__recipe_stage *stage = &s->recipe->stages[i];
        for (uint32_t k = 0; k < stage->teacher_count; k++) {
            if (stage->teachers[k].model != teacher || stage->teachers[k].cache) continue;
            if (stage->options.teacher_logits != VKD__LOGITS_CACHED) continue;
            const vkd__order_desc order = vkd__stage_order(s, stage);
            if (order.first < all.first) all.first = order.first;
            if (order.end > all.end) all.end = order.end;
        }
    }
    return all;
}

/* A masked class is -inf and allowed; a NaN would spoil every step, and no learning rate helps. */
static vkd_result check_teacher(vkd__session *s, const vkd__recipe_model *m, const float *logits,
                                range samples) {
    const size_t classes = s->data->classes;
    for (size_t i = samples.first * classes; i < samples.end * classes; i++)
        if (isnan(logits[i]))
            return vkd__fail(s->ctx, VKD_E_DATA,
                             "the teacher '%s' says NaN for class %zu of training sample %zu; look "
                             "at %s%s%s",
                             m->name, i % classes, i / classes,
                             m->load ? "its file '" : "its stage", m->load ? m->load : "",
                             m->load ? "'" : "");
    return VKD_OK;
}

/* A teacher's logits for the samples that stages read into the store, once while it stays as it is;
 * the other rows are zero. */
static vkd_result fill_cache(vkd__session *s, uint32_t teacher) {
    const vkd__recipe_model *m = &s->recipe->models[teacher];
    if (s->cached[teacher]) return VKD_OK;
    const size_t classes = s->data->classes, count = s->data->train.count * classes;
    const range samples = samples_read(s, teacher);
    float *logits = vkd__alloc(s->ctx, count, sizeof *logits);
    if (!logits) return VKD_E_MEMORY;
    char name[128];
    vkd__cache_name(m, name, sizeof name);
    vkd__infer infer = {0};
    vkd_result r = vkd__infer_create(s, m, m->name, true, &infer);
    infer.first = samples.first;
    infer.count = samples.end - samples.first;
    if (!r) r = vkd__infer_run(&infer, logits + samples.first * classes);
    if (!r) r = check_teacher(s, m, logits, samples);
    if (!r) r = vkd_store_write(s->store, name, logits, count * sizeof *logits);
    s->cached[teacher] = !r;
    vkd__infer_destroy(&infer);
    vkd__free(s->ctx, logits);
    return r;
}

vkd_result vkd__tables_fill(vkd__session *s, const vkd__phase *p) {
    const vkd__recipe_stage *stage = p->stage;
    vkd_result r = vkd__graph_declare(s, p); /* which names them */
    for (uint32_t k = 0; k < p->teacher_count && !r; k++) {
        if (stage->teachers[k].cache) {
            r = vkd__cached_teacher_fill(s, p, k);
        } else if (stage->options.teacher_logits == VKD__LOGITS_CACHED) {
            r = fill_cache(s, stage->teachers[k].model);
            if (!r) r = vkd__kept_taps_fill(s, p, k);
        }
    }
    const vkd__pseudo *labels = NULL;
    if (!r && p->labels) r = vkd__label_get(s, stage->data.pseudo, &labels);
    if (r || !labels) return r;
    char name[128];
    vkd__label_name(p->labels, name, sizeof name);
    return vkd_store_write(s->store, name, labels->targets,
                           (size_t)labels->samples * labels->classes * sizeof(float));
}
