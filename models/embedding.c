// SPDX-License-Identifier: Apache-2.0
/* The embedding of a sample, beside what an architecture makes of it:
 *
 *   x = the last tap in front of the logits, all of a sample in one row
 *   y = x W^T + b, or with `unit` y / |y|: the tap "embedding"
 *
 * with parameters "embedding.weight" (width, in) and "embedding.bias" (width). */
#include <stdio.h>
#include <string.h>

#include "models/model.h"

const vkd__field vkd__embedding_fields[] = {VKD__EMBEDDING_FIELDS(0)};
const size_t vkd__embedding_field_count = VKD_COUNT(vkd__embedding_fields);

static const vkd__tap *in_front_of_logits(const vkd__model_io *io) {
    uint32_t logits = 0;
    while (logits < io->tap_count && strcmp(io->taps[logits].name, "logits") != 0)
        logits++;
    return logits ? &io->taps[logits - 1] : NULL;
}

static vkd_tensor param(vkd_graph *g, const vkd__model_io *io, const char *what, vkd_shape shape,
                        const vkd_init *init) {
    char name[256];
    snprintf(name, sizeof name, "%s.embedding.%s", io->group, what);
    return vkd_param(g, name, shape, init);
}

static void embed(vkd_graph *g, vkd__model_io *io, const vkd__embedding *e) {
    /* A classifier without hidden layers embeds the sample itself. */
    const vkd__tap *from = in_front_of_logits(io);
    vkd_tensor x = from ? from->tensor : io->input;
    const vkd_shape shape = vkd_tensor_shape(g, x);
    if (!shape.axes) return; /* a failed graph */
    const uint32_t in = (uint32_t)(vkd_shape_count(shape) / shape.dim[0]);
    const vkd_init weight = {.kind = VKD_INIT_FAN_IN_UNIFORM};
    const vkd_init bias = {.kind = VKD_INIT_FAN_IN_UNIFORM, .fan_in = in, .no_decay = true};
    const vkd_matmul_desc linear = {.transpose_b = true,
                                    .bias = param(g, io, "bias", VKD_SHAPE(e->width), &bias),
                                    .f32_result = true};
    x = vkd_matmul(g, vkd_reshape(g, x, VKD_SHAPE(shape.dim[0], in)),
                   param(g, io, "weight", VKD_SHAPE(e->width, in), &weight), &linear);
    vkd__tap_add(g, io, "embedding", e->unit ? vkd_l2_normalize(g, x, 1e-12f) : x);
}

void vkd__model_build(vkd_graph *g, const vkd__model_def *def, vkd__model_io *io,
                      const void *config, const vkd__embedding *e) {
    def->build(g, io, config);
    if (e->width) embed(g, io, e);
}
