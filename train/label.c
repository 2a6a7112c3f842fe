// SPDX-License-Identifier: Apache-2.0
/* A stage that labels: its teacher's logits for some samples of the training split, filtered,
 * balanced and kept (pseudo.c). The labels are a file of the run, because the teacher may be
 * another by the time that a resumed run needs them again.
 *
 *   <stage>.labels.safetensors   "entries" (M) i32: numbers in the training split, one that was
 *                                duplicated several times
 *                                "targets" (N, V) f32: logits whose softmax is the label, of all
 *                                samples looked at
 *                                metadata: "format", "first" (number of the first one) */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "data/safetensors.h"
#include "train/session.h"

#define FORMAT "vkdistill labels 1"

void vkd__label_name(const vkd__recipe_stage *stage, char *out, size_t size) {
    snprintf(out, size, "data.labels.%s", stage->name);
}

uint32_t vkd__label_samples(const vkd__session *s, const vkd__recipe_stage *stage) {
    const uint32_t all = s->data->train.count, first = stage->label->first;
    if (first >= all) return 0;
    return stage->label->samples ? stage->label->samples : all - first;
}

/* ---- The file ---- */

static const char *path_of(vkd__session *s, const vkd__recipe_stage *stage) {
    return vkd__session_path(s, stage->name, ".labels.safetensors");
}

static vkd_result save(vkd__session *s, const vkd__recipe_stage *stage, const vkd__pseudo *p) {
    char first[16];
    const char *path = path_of(s, stage);
    if (!path) return VKD_E_MEMORY;
    snprintf(first, sizeof first, "%u", (unsigned)p->first);
    const vkd__st_pair pairs[] = {{"format", FORMAT}, {"first", first}};
    const size_t count = (size_t)p->samples * p->classes;
    const vkd__st_tensor tensors[] = {
        {"entries", VKD_I32, VKD_SHAPE(p->count), p->entries, p->count * sizeof(int32_t)},
        {"targets", VKD_F32, VKD_SHAPE(p->samples, p->classes), p->targets, count * sizeof(float)}};
    return vkd__st_write(s->ctx, path, tensors, 2, pairs, VKD_COUNT(pairs));
}

static vkd_result copy(vkd_ctx *ctx, const vkd__st_tensor *t, void **out) {
    *out = vkd__alloc(ctx, t->bytes, 1);
    if (!*out) return VKD_E_MEMORY;
    memcpy(*out, t->data, t->bytes);
    return VKD_OK;
}

/* Whether the file is of this stage and data. */
static bool fits(const vkd__session *s, const vkd__recipe_stage *stage, const vkd__st_file *file,
                 const vkd__st_tensor *entries, const vkd__st_tensor *targets) {
    const char *format = vkd__st_metadata(file, "format");
    const uint32_t samples = vkd__label_samples(s, stage);
    if (!format || strcmp(format, FORMAT) != 0 || !entries || entries->dtype != VKD_I32 ||
        entries->shape.axes != 1 || !targets || targets->dtype != VKD_F32 ||
        targets->shape.axes != 2 || targets->shape.dim[0] != samples ||
        targets->shape.dim[1] != s->data->classes)
        return false;
    for (uint32_t i = 0; i < entries->shape.dim[0]; i++) {
        int32_t entry;
        memcpy(&entry, (const char *)entries->data + i * sizeof entry, sizeof entry);
        if ((uint32_t)entry - stage->label->first >= samples) return false;
    }
    return true;
}

static vkd_result load(vkd__session *s, const vkd__recipe_stage *stage, vkd__pseudo *out) {
    vkd__st_file *file = NULL;
    const char *path = path_of(s, stage);
    if (!path) return VKD_E_MEMORY;
    vkd_result r = vkd__st_open(s->ctx, path, &file);
    if (r) return r;
    const vkd__st_tensor *entries = vkd__st_find(file, "entries");
    const vkd__st_tensor *targets = vkd__st_find(file, "targets");
    if (!fits(s, stage, file, entries, targets)) {
        r = vkd__fail(s->ctx, VKD_E_FORMAT,
                      "'%s' does not hold the labels of stage '%s'; start over with --force", path,
                      stage->name);
    } else {
        void *numbers = NULL, *rows = NULL;
        *out = (vkd__pseudo){.first = stage->label->first,
                             .samples = targets->shape.dim[0],
                             .classes = targets->shape.dim[1],
                             .count = entries->shape.dim[0]};
        r = copy(s->ctx, entries, &numbers);
        out->entries = numbers;
        if (!r) r = copy(s->ctx, targets, &rows);
        out->targets = rows;
        if (r) vkd__pseudo_term(s->ctx, out);
    }
    vkd__st_close(file);
    return r;
}

vkd_result vkd__label_get(vkd__session *s, uint32_t stage, const vkd__pseudo **out) {
    vkd__pseudo *p = &s->labels[stage];
    *out = p;
    return p->entries ? VKD_OK : load(s, &s->recipe->stages[stage], p);
}

/* ---- The phase ---- */

static vkd_result teacher_logits(vkd__session *s, const vkd__recipe_stage *stage, uint32_t samples,
                                 float **out) {
    const vkd__recipe_model *m = &s->recipe->models[stage->teacher];
    vkd__infer infer = {0};
    vkd_result r = vkd__infer_create(s, m, m->name, true, &infer);
    infer.first = stage->label->first;
    infer.count = samples;
    if (!r) {
        *out = vkd__alloc(s->ctx, (size_t)samples * infer.width, sizeof **out);
        r = *out ? vkd__infer_run(&infer, *out) : VKD_E_MEMORY;
    }
    vkd__infer_destroy(&infer);
    for (size_t i = 0; !r && i < (size_t)samples * s->data->classes; i++)
        if (isnan((*out)[i]))
            r = vkd__fail(s->ctx, VKD_E_DATA, "stage '%s': the teacher '%s' says NaN for a sample",
                          stage->name, m->name);
    return r;
}

/* Where each class is cut off, for whoever sets threshold and per_class. */
static vkd_result tell_classes(vkd__session *s, const vkd__recipe_stage *stage, const float *logits,
                               uint32_t samples) {
    const vkd__pseudo_options *o = stage->label;
    const uint32_t classes = s->data->classes;
    const uint32_t wanted = o->per_class ? o->per_class : samples / classes;
    float *confidences = vkd__alloc(s->ctx, samples, sizeof *confidences);
    if (!confidences) return VKD_E_MEMORY;
    for (uint32_t v = 0; v < classes && o->balance; v++) {
        uint32_t count = 0;
        for (uint32_t n = 0; n < samples; n++) {
            uint32_t class_index = 0;
            const float c =
                vkd__pseudo_confidence(logits + (size_t)n * classes, classes, &class_index);
            if (class_index == v && c >= o->threshold) confidences[count++] = c;
        }
        const float limit = vkd__pseudo_threshold(confidences, count, wanted, o->threshold);
        vkd__log(s->ctx, VKD_LOG_INFO,
                 "%s: class %u: %u samples, %u wanted, confident from %.2f on", stage->name,
                 (unsigned)v, (unsigned)count, (unsigned)wanted, (double)limit);
    }
    vkd__free(s->ctx, confidences);
    return VKD_OK;
}

/* Share of the entries whose most probable class is the one that the data set gives. */
static double share_right(const vkd__session *s, const vkd__pseudo *p) {
    uint32_t right = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        const float *z = p->targets + (size_t)(p->entries[i] - p->first) * p->classes;
        right += vkd__argmax(z, p->classes) == (uint32_t)s->data->train.labels[p->entries[i]];
    }
    return (double)right / p->count;
}

static vkd_result report(vkd__session *s, const vkd__phase *p, const vkd__pseudo *labels) {
    const vkd__label_row row = {labels->samples, labels->distinct, labels->count,
                                share_right(s, labels)};
    vkd__log(s->ctx, VKD_LOG_INFO,
             "%s: %u of %u samples kept, %u with copies, %.2f %% of them labelled right",
             p->stage->name, (unsigned)row.kept, (unsigned)row.samples, (unsigned)row.entries,
             100 * row.right);
    return vkd__metrics_label(s, p, &row);
}

vkd_result vkd__label_run(vkd__session *s, vkd__phase *p) {
    const vkd__recipe_stage *stage = p->stage;
    const uint32_t samples = vkd__label_samples(s, stage);
    vkd__pseudo *labels = &s->labels[stage - s->recipe->stages];
    const double started = vkd__seconds();
    float *logits = NULL;
    vkd_result r = teacher_logits(s, stage, samples, &logits);
    if (!r) r = tell_classes(s, stage, logits, samples);
    vkd__pseudo_term(s->ctx, labels);
    if (!r)
        r = vkd__pseudo_make(s->ctx, logits, stage->label->first, samples, s->data->classes,
                             s->seed, stage->label, labels);
    vkd__free(s->ctx, logits);
    if (!r && !labels->count)
        r = vkd__fail(s->ctx, VKD_E_RECIPE,
                      "stage '%s' keeps none of %u samples: no probability reaches label.threshold "
                      "(%g)",
                      stage->name, (unsigned)samples, (double)stage->label->threshold);
    if (!r) r = save(s, stage, labels);
    if (!r) r = report(s, p, labels);
    p->seconds = vkd__seconds() - started;
    return r;
}
