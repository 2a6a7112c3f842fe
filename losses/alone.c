// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "losses/loss.h"

#define PREFIX VKD__LOSS_ALONE ".adapter."

static void make_logits(vkd_graph *g, const vkd__loss_def *def, const vkd__loss_shapes *shapes,
                        vkd__loss_io *io) {
    const vkd_shape shape = VKD_SHAPE(shapes->N, shapes->V);
    io->student = vkd_param(g, VKD__LOSS_ALONE ".student", shape, NULL);
    if (def->needs & VKD__LOSS_TEACHER) io->teacher = vkd_state(g, "teacher", VKD_F32, shape);
}

/* One pair is "student" and "teacher", several have numbers. */
static void make_pairs(vkd_graph *g, const vkd__loss_def *def, const vkd__loss_shapes *shapes,
                       vkd__tap_pair *pairs) {
    for (uint32_t i = 0; i < shapes->pair_count; i++) {
        char student[64] = VKD__LOSS_ALONE ".student", teacher[32] = "teacher";
        if (shapes->pair_count > 1) {
            snprintf(student, sizeof student, VKD__LOSS_ALONE ".student.%u", (unsigned)i);
            snprintf(teacher, sizeof teacher, "teacher.%u", (unsigned)i);
        }
        pairs[i] = (vkd__tap_pair){
            .student_name = "student",
            .teacher_name = "teacher",
            .student = vkd_param(g, student, shapes->student[i], NULL),
        };
        if (!(def->needs & VKD__LOSS_OWN_TAPS))
            pairs[i].teacher = vkd_state(g, teacher, VKD_F32, shapes->teacher[i]);
    }
}

vkd_tensor vkd__loss_alone(vkd_graph *g, const vkd__loss_def *def, const void *config,
                           const vkd__loss_shapes *shapes, float tau, bool fused) {
    vkd__tap_pair pairs[VKD__MAX_PAIRS];
    char adapters[128];
    snprintf(adapters, sizeof adapters, PREFIX "%s", def->name);
    vkd__loss_io io = {.pairs = pairs,
                       .pair_count = shapes->pair_count,
                       .adapters = adapters,
                       .samples = 4 * shapes->N,
                       .used = 4 * shapes->N,
                       .classes = shapes->V};
    if (def->needs & VKD__LOSS_TAPS)
        make_pairs(g, def, shapes, pairs);
    else
        make_logits(g, def, shapes, &io);
    if (def->needs & VKD__LOSS_LABELS)
        io.labels = vkd_state(g, "labels", VKD_I32, VKD_SHAPE(shapes->N));
    if (def->needs & VKD__LOSS_INDICES)
        io.indices = vkd_state(g, "indices", VKD_I32, VKD_SHAPE(shapes->N));
    if (def->needs & VKD__LOSS_TAU) io.tau = vkd_setting(g, "tau", tau);
    const vkd_tensor loss = fused ? def->fused(g, &io, config) : def->build(g, &io, config);
    return vkd_mul(g, loss, vkd_setting(g, "weight", 1));
}

vkd_result vkd__loss_alone_prepare(vkd_ctx *ctx, vkd_store *store, const vkd__loss_def *def,
                                   const void *config, const vkd__loss_shapes *shapes,
                                   const int32_t *labels, const int32_t *indices) {
    if (!def->prepare) return VKD_OK;
    const uint32_t count = 4 * shapes->N;
    vkd__arena arena = {.ctx = ctx};
    const char *adapters = vkd__arena_format(&arena, PREFIX "%s", def->name);
    int32_t *all = VKD_NEW(&arena, int32_t, count);
    uint32_t *used = VKD_NEW(&arena, uint32_t, count);
    vkd_result r = VKD_E_MEMORY;
    if (adapters && all && used) {
        for (uint32_t i = 0; i < count; i++) {
            all[i] = (int32_t)(i % shapes->V);
            used[i] = i;
        }
        for (uint32_t n = 0; labels && indices && n < shapes->N; n++)
            if (indices[n] >= 0 && (uint32_t)indices[n] < count) all[indices[n]] = labels[n];
        const vkd__loss_split split = {.adapters = adapters,
                                       .labels = all,
                                       .samples = count,
                                       .classes = shapes->V,
                                       .used = used,
                                       .used_count = count};
        r = def->prepare(ctx, store, &split, config);
    }
    vkd__arena_term(&arena);
    return r;
}

const char *vkd__loss_alone_adapter(const vkd__loss_def *def, const char *name) {
    const size_t length = strlen(def->name);
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) return NULL;
    name += sizeof PREFIX - 1;
    return strncmp(name, def->name, length) || name[length] != '.' ? NULL : name + length + 1;
}
