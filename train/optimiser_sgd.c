// SPDX-License-Identifier: Apache-2.0
/* Stochastic gradient descent; the update's formula is with vkd_sgd. */
#include "train/optimiser.h"

typedef struct config {
    vkd__optimiser_base base;
    float momentum, weight_decay;
    bool nesterov;
} config;

static const vkd__field fields[] = {
    VKD__OPTIMISER_FIELDS(config, "0.05"),
    {.name = "momentum",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, momentum),
     .low = 0,
     .high = 1,
     .preset = "0.9",
     .help = "v = momentum * v + g; 0 for plain descent"},
    {.name = "nesterov",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(config, nesterov),
     .preset = "false",
     .help = "step along g + momentum * v"},
    {.name = "weight_decay",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, weight_decay),
     .low = 0,
     .high = 1,
     .preset = "0",
     .help = "coupled: g += weight_decay * w; biases and norms are left alone"},
};

static void build(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor guard,
                  vkd_tensor lr, const void *cfg) {
    const config *c = cfg;
    vkd_sgd(g, group, gradient, guard, lr,
            &(vkd_sgd_desc){
                .momentum = c->momentum, .nesterov = c->nesterov, .weight_decay = c->weight_decay});
}

const vkd__optimiser_def vkd_optimiser_sgd = {
    .name = "sgd",
    .summary = "stochastic gradient descent with momentum, PyTorch's form",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
};
