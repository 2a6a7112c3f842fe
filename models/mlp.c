// SPDX-License-Identifier: Apache-2.0
/* A multi-layer perceptron:
 *
 *   h[0] = the input, each sample as one row
 *   h[i+1] = dropout(act(norm(h[i] W[i]^T + b[i])))   for each hidden size
 *   logits = h[last] W[last]^T + b[last]
 *
 * Parameters "fc<i>.weight" (out, in) and "fc<i>.bias" (out), with layer normalisation also
 * "norm<i>.gamma" and "norm<i>.beta" (out). With batch normalisation "norm<i>.weight" and
 * "norm<i>.bias", which does what b[i] would, and the buffers "norm<i>.running_mean" and
 * "norm<i>.running_var"; outside of training it is folded into W[i]. The taps "fc<i>" are the
 * hidden activations before dropout, so that a tap means the same in training and in evaluation.
 *
 * He, Zhang, Ren, Sun, arXiv:1502.01852 for the Kaiming gains. */
#include <stdio.h>

#include "models/model.h"

enum { NORM_NONE, NORM_LAYER, NORM_BATCH };
enum {
    INIT_FAN_IN,
    INIT_KAIMING_UNIFORM,
    INIT_KAIMING_NORMAL,
    INIT_XAVIER_UNIFORM,
    INIT_XAVIER_NORMAL
};

typedef struct config {
    vkd__u32s hidden;
    uint32_t activation; /* vkd_activation */
    float dropout;
    uint32_t norm;
    uint32_t init;
} config;

static const vkd__field fields[] = {
    {.name = "hidden",
     .type = VKD__FIELD_U32S,
     .offset = offsetof(config, hidden),
     .low = 1,
     .high = 65536,
     .preset = "[128]",
     .help = "sizes of the hidden layers; [] makes a linear classifier"},
    {.name = "activation",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, activation),
     .preset = "relu",
     .words = "none|relu|gelu|silu|tanh|sigmoid|relu6",
     .help = "after each hidden layer"},
    {.name = "dropout",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, dropout),
     .low = 0,
     .high = 0.99,
     .preset = "0",
     .help = "probability that a hidden unit is left out in a training step"},
    {.name = "norm",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, norm),
     .preset = "none",
     .words = "none|layernorm|batchnorm",
     .help = "normalisation between a hidden layer and its activation"},
    {.name = "init",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, init),
     .preset = "kaiming_uniform",
     .words = "fan_in|kaiming_uniform|kaiming_normal|xavier_uniform|xavier_normal",
     .help = "start values of the weights; biases start at 0, with fan_in as in PyTorch's Linear"},
};

/* The factor that keeps the variance of the signal through the activation. */
static float gain_of(vkd_activation activation) {
    switch (activation) {
    case VKD_ACT_RELU:
    case VKD_ACT_RELU6:
    case VKD_ACT_GELU:
    case VKD_ACT_SILU:
        return 1.41421356f;
    case VKD_ACT_TANH:
        return 5.0f / 3.0f;
    case VKD_ACT_NONE:
    case VKD_ACT_SIGMOID:
        break;
    }
    return 1.0f;
}

static vkd_init weight_init(const config *c, vkd_activation after) {
    static const vkd_init_kind kinds[] = {VKD_INIT_FAN_IN_UNIFORM, VKD_INIT_KAIMING_UNIFORM,
                                          VKD_INIT_KAIMING_NORMAL, VKD_INIT_XAVIER_UNIFORM,
                                          VKD_INIT_XAVIER_NORMAL};
    const bool kaiming = c->init == INIT_KAIMING_UNIFORM || c->init == INIT_KAIMING_NORMAL;
    return (vkd_init){.kind = kinds[c->init], .gain = kaiming ? gain_of(after) : 1.0f};
}

static vkd_tensor param(vkd_graph *g, const char *group, const char *layer, uint32_t index,
                        const char *what, vkd_shape shape, const vkd_init *init) {
    char name[256];
    snprintf(name, sizeof name, "%s.%s%u.%s", group, layer, index, what);
    return vkd_param(g, name, shape, init);
}

/* One fully connected layer; `activation` rides on the matmul. */
static vkd_tensor linear(vkd_graph *g, const vkd__model_io *io, const config *c, uint32_t index,
                         vkd_tensor x, uint32_t out, vkd_activation activation,
                         vkd_activation after) {
    const uint32_t in = vkd_tensor_shape(g, x).dim[1];
    const vkd_init weight = weight_init(c, after);
    const vkd_init bias = {.kind =
                               c->init == INIT_FAN_IN ? VKD_INIT_FAN_IN_UNIFORM : VKD_INIT_ZEROS,
                           .fan_in = in,
                           .no_decay = true};
    const vkd_tensor w = param(g, io->group, "fc", index, "weight", VKD_SHAPE(out, in), &weight);
    const vkd_tensor b = param(g, io->group, "fc", index, "bias", VKD_SHAPE(out), &bias);
    return vkd_matmul(g, x, w,
                      &(vkd_matmul_desc){.transpose_b = true,
                                         .bias = b,
                                         .activation = activation,
                                         .f32_result = index == c->hidden.count});
}

static vkd_tensor statistic(vkd_graph *g, const char *group, uint32_t index, const char *what,
                            uint32_t width, const vkd_init *init) {
    char name[256];
    snprintf(name, sizeof name, "%s.norm%u.%s", group, index, what);
    return vkd_buffer(g, name, VKD_SHAPE(width), init);
}

static vkd_tensor activate(vkd_graph *g, vkd_tensor x, vkd_activation activation) {
    switch (activation) {
    case VKD_ACT_RELU:
        return vkd_relu(g, x);
    case VKD_ACT_GELU:
        return vkd_gelu(g, x);
    case VKD_ACT_SILU:
        return vkd_silu(g, x);
    case VKD_ACT_TANH:
        return vkd_tanh(g, x);
    case VKD_ACT_SIGMOID:
        return vkd_sigmoid(g, x);
    case VKD_ACT_RELU6:
        return vkd_relu6(g, x);
    case VKD_ACT_NONE:
        break;
    }
    return x;
}

static vkd_tensor batch_layer(vkd_graph *g, const vkd__model_io *io, const config *c,
                              uint32_t index, vkd_tensor x) {
    const vkd_activation act = (vkd_activation)c->activation;
    const uint32_t in = vkd_tensor_shape(g, x).dim[1], width = c->hidden.v[index];
    const vkd_init init = weight_init(c, act);
    const vkd_init ones = {.kind = VKD_INIT_ONES, .no_decay = true};
    const vkd_init zeros = {.kind = VKD_INIT_ZEROS, .no_decay = true};
    vkd_tensor w = param(g, io->group, "fc", index, "weight", VKD_SHAPE(width, in), &init);
    const vkd_batchnorm_desc norm = {
        .gamma = param(g, io->group, "norm", index, "weight", VKD_SHAPE(width), &ones),
        .beta = param(g, io->group, "norm", index, "bias", VKD_SHAPE(width), &zeros),
        .running_mean = statistic(g, io->group, index, "running_mean", width, &zeros),
        .running_var = statistic(g, io->group, index, "running_var", width, &ones),
        .training = io->training,
        .activation = act};
    if (io->training) {
        const vkd_matmul_desc plain = {.transpose_b = true, .f32_result = true};
        return vkd_batchnorm(g, vkd_matmul(g, x, w, &plain), &norm);
    }
    vkd_matmul_desc folded = {.transpose_b = true, .activation = act};
    w = vkd_batchnorm_fold(g, w, &norm, &folded.bias);
    return vkd_matmul(g, x, w, &folded);
}

static vkd_tensor hidden_layer(vkd_graph *g, vkd__model_io *io, const config *c, uint32_t index,
                               vkd_tensor x) {
    const vkd_activation act = (vkd_activation)c->activation;
    const uint32_t width = c->hidden.v[index];
    vkd_tensor h;
    if (c->norm == NORM_LAYER) {
        const vkd_init ones = {.kind = VKD_INIT_ONES, .no_decay = true};
        const vkd_init zeros = {.kind = VKD_INIT_ZEROS, .no_decay = true};
        h = linear(g, io, c, index, x, width, VKD_ACT_NONE, act);
        const vkd_tensor gamma =
            param(g, io->group, "norm", index, "gamma", VKD_SHAPE(width), &ones);
        const vkd_tensor beta =
            param(g, io->group, "norm", index, "beta", VKD_SHAPE(width), &zeros);
        h = activate(g, vkd_layernorm(g, h, gamma, beta, 1e-5f), act);
    } else if (c->norm == NORM_BATCH) {
        h = batch_layer(g, io, c, index, x);
    } else {
        h = linear(g, io, c, index, x, width, act, act);
    }
    char name[32];
    snprintf(name, sizeof name, "fc%u", index);
    h = vkd__tap_add(g, io, name, h);
    if (io->training && c->dropout > 0) {
        /* Without the group in its name: a control draws the student's masks. */
        snprintf(name, sizeof name, "dropout%u", index);
        h = vkd_dropout(g, h, c->dropout, name);
    }
    return h;
}

static void build(vkd_graph *g, vkd__model_io *io, const void *cfg) {
    const config *c = cfg;
    const vkd_shape shape = vkd_tensor_shape(g, io->input);
    uint32_t elements = 1;
    for (uint32_t i = 1; i < shape.axes; i++)
        elements *= shape.dim[i];
    vkd_tensor h = vkd_reshape(g, io->input, VKD_SHAPE(shape.dim[0], elements));
    for (uint32_t i = 0; i < c->hidden.count; i++)
        h = hidden_layer(g, io, c, i, h);
    h = linear(g, io, c, c->hidden.count, h, io->classes, VKD_ACT_NONE, VKD_ACT_NONE);
    vkd__tap_add(g, io, "logits", h);
}

const vkd__model_def vkd_model_mlp = {
    .name = "mlp",
    .summary = "fully connected layers on the flattened sample",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
};
