// SPDX-License-Identifier: Apache-2.0
#include "models/layers.h"

#include <math.h>
#include <stdio.h>

typedef struct path {
    char text[192];
} path;

static path path_of(const vkd__model_io *io, const char *at, const char *name, const char *what) {
    path p;
    snprintf(p.text, sizeof p.text, "%s.%s%s%s.%s", io->group, at ? at : "", at ? "." : "", name,
             what);
    return p;
}

static vkd_tensor param(vkd_graph *g, const vkd__model_io *io, const char *at, const char *name,
                        const char *what, vkd_shape shape, const vkd_init *init) {
    const path p = path_of(io, at, name, what);
    return vkd_param(g, p.text, shape, init);
}

static vkd_tensor buffer(vkd_graph *g, const vkd__model_io *io, const char *at, const char *name,
                         const char *what, uint32_t channels, vkd_init_kind kind) {
    const path p = path_of(io, at, name, what);
    return vkd_buffer(g, p.text, VKD_SHAPE(channels), &(vkd_init){.kind = kind});
}

static uint32_t channels_of(const vkd_graph *g, vkd_tensor x) {
    const vkd_shape s = vkd_tensor_shape(g, x);
    return s.axes ? s.dim[s.axes - 1] : 1;
}

static vkd_batchnorm_desc norm_of(vkd_graph *g, const vkd__model_io *io, const char *at,
                                  const char *name, uint32_t channels, vkd_activation activation) {
    const vkd_init ones = {.kind = VKD_INIT_ONES, .no_decay = true};
    const vkd_init zeros = {.kind = VKD_INIT_ZEROS, .no_decay = true};
    const vkd_shape c = VKD_SHAPE(channels);
    return (vkd_batchnorm_desc){
        .gamma = param(g, io, at, name, "weight", c, &ones),
        .beta = param(g, io, at, name, "bias", c, &zeros),
        .running_mean = buffer(g, io, at, name, "running_mean", channels, VKD_INIT_ZEROS),
        .running_var = buffer(g, io, at, name, "running_var", channels, VKD_INIT_ONES),
        .training = io->training,
        .activation = activation};
}

vkd_tensor vkd__layer_norm(vkd_graph *g, const vkd__model_io *io, vkd_tensor x, const char *at,
                           const char *name, vkd_activation activation) {
    const vkd_batchnorm_desc d = norm_of(g, io, at, name, channels_of(g, x), activation);
    return vkd_batchnorm(g, x, &d);
}

vkd_tensor vkd__layer_conv(vkd_graph *g, const vkd__model_io *io, vkd_tensor x,
                           const vkd__conv *c) {
    const vkd_init kaiming = {.kind = VKD_INIT_KAIMING_NORMAL_FAN_OUT, .gain = 1.41421356f};
    const vkd_init zeros = {.kind = VKD_INIT_ZEROS, .no_decay = true};
    const uint32_t groups = c->groups ? c->groups : 1, k = c->kernel;
    const vkd_shape shape = VKD_SHAPE(c->out, k, k, channels_of(g, x) / groups);
    vkd_tensor weight = param(g, io, c->at, c->name, "weight", shape, &kaiming);
    vkd_conv2d_desc d = {.stride = {c->stride, c->stride},
                         .padding = {k / 2, k / 2},
                         .groups = groups,
                         .activation = c->activation,
                         .residual = c->residual};
    if (c->bias) d.bias = param(g, io, c->at, c->name, "bias", VKD_SHAPE(c->out), &zeros);
    if (!c->norm) return vkd_conv2d(g, x, weight, &d);

    vkd_batchnorm_desc n = norm_of(g, io, c->at, c->norm, c->out, c->activation);
    if (io->training) {
        n.residual = d.residual;
        d.residual = (vkd_tensor){0};
        d.activation = VKD_ACT_NONE;
        return vkd_batchnorm(g, vkd_conv2d(g, x, weight, &d), &n);
    }
    /* (z + bias) - mean is z - (mean - bias). */
    if (c->bias) n.running_mean = vkd_sub(g, n.running_mean, d.bias);
    weight = vkd_batchnorm_fold(g, weight, &n, &d.bias);
    return vkd_conv2d(g, x, weight, &d);
}

vkd_tensor vkd__layer_linear(vkd_graph *g, const vkd__model_io *io, vkd_tensor x, const char *name,
                             uint32_t out, vkd_activation activation) {
    const uint32_t in = channels_of(g, x);
    const vkd_init weight = {.kind = VKD_INIT_FAN_IN_UNIFORM};
    const vkd_init bias = {.kind = VKD_INIT_FAN_IN_UNIFORM, .fan_in = in, .no_decay = true};
    const vkd_tensor w = param(g, io, NULL, name, "weight", VKD_SHAPE(out, in), &weight);
    const vkd_tensor b = param(g, io, NULL, name, "bias", VKD_SHAPE(out), &bias);
    return vkd_matmul(
        g, x, w,
        &(vkd_matmul_desc){
            .transpose_b = true, .bias = b, .activation = activation, .f32_result = true});
}

vkd_tensor vkd__layer_dropout(vkd_graph *g, const vkd__model_io *io, vkd_tensor x, float p,
                              const char *name) {
    return io->training && p > 0 ? vkd_dropout(g, x, p, name) : x;
}

vkd_tensor vkd__layer_drop_path(vkd_graph *g, const vkd__model_io *io, vkd_tensor x, float p,
                                const char *name) {
    if (!io->training || p <= 0) return x;
    vkd_tensor one = io->input; /* a 1 for each sample, (N, 1, 1, 1) */
    for (uint32_t axis = 1; axis < 4; axis++)
        one = vkd_slice(g, one, axis, 0, 1);
    one = vkd_add(g, vkd_scale(g, one, 0.0f), vkd_constant(g, 1.0f));
    return vkd_mul(g, x, vkd_dropout(g, one, p, name));
}

void vkd__layer_head(vkd_graph *g, vkd__model_io *io, vkd_tensor x, const char *name,
                     float dropout) {
    vkd_tensor pool = vkd__tap_add(g, io, "pool", vkd_mean(g, x, 1u << 1 | 1u << 2, false));
    pool = vkd__layer_dropout(g, io, pool, dropout, "dropout");
    vkd__tap_add(g, io, "logits", vkd__layer_linear(g, io, pool, name, io->classes, VKD_ACT_NONE));
}

vkd_tensor vkd__layer_pool(vkd_graph *g, vkd_tensor x) {
    return vkd_max_pool2d(g, x, &(vkd_pool2d_desc){.kernel = {2, 2}, .stride = {2, 2}});
}

vkd_tensor vkd__tap_block(vkd_graph *g, vkd__model_io *io, uint32_t stage, uint32_t block,
                          bool last, vkd_tensor t) {
    char name[48];
    snprintf(name, sizeof name, "stage%u.block%u", (unsigned)stage, (unsigned)block);
    vkd__tap_add(g, io, name, t);
    if (!last) return t;
    snprintf(name, sizeof name, "stage%u.out", (unsigned)stage);
    return vkd__tap_add(g, io, name, t);
}

uint32_t vkd__widen(uint32_t channels, float width) {
    const double wanted = floor((double)channels * (double)width + 0.5);
    return wanted < 1 ? 1 : (uint32_t)wanted;
}

vkd_result vkd__check_image(vkd_ctx *ctx, const char *what, const vkd_shape *sample,
                            uint32_t halvings) {
    if (sample->axes != 3)
        return vkd__fail(ctx, VKD_E_RECIPE,
                         "%s takes images (height, width, channels), the samples have %u axes: "
                         "use arch mlp for them",
                         what, (unsigned)sample->axes);
    const uint32_t h = sample->dim[0], w = sample->dim[1];
    if ((h < w ? h : w) >> halvings) return VKD_OK;
    return vkd__fail(ctx, VKD_E_RECIPE,
                     "%s halves its images %u times, which leaves nothing of %u x %u pixels: take "
                     "fewer layers, or images of at least %u x %u",
                     what, (unsigned)halvings, (unsigned)h, (unsigned)w, 1u << halvings,
                     1u << halvings);
}
