// SPDX-License-Identifier: Apache-2.0
/* Adam with decoupled weight decay; the update's formula is with vkd_adamw. */
#include "train/optimiser.h"

typedef struct config {
    vkd__optimiser_base base;
    float beta1, beta2, eps, weight_decay;
} config;

static const vkd__field fields[] = {
    VKD__OPTIMISER_FIELDS(config, "0.001"),
    {.name = "beta1",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, beta1),
     .low = 1e-6,
     .high = 0.999999,
     .preset = "0.9",
     .help = "decay of the gradient's average"},
    {.name = "beta2",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, beta2),
     .low = 1e-6,
     .high = 0.999999,
     .preset = "0.999",
     .help = "decay of the squared gradient's average"},
    {.name = "eps",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, eps),
     .low = 1e-12,
     .high = 1,
     .preset = "1e-8",
     .help = "added to the root of the squared gradient's average"},
    {.name = "weight_decay",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, weight_decay),
     .low = 0,
     .high = 1,
     .preset = "0.01",
     .help = "decoupled: w -= lr * weight_decay * w; biases and norms are left alone"},
};

static void build(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor guard,
                  vkd_tensor lr, const void *cfg) {
    const config *c = cfg;
    vkd_adamw(
        g, group, gradient, guard, lr,
        &(vkd_adamw_desc){
            .beta1 = c->beta1, .beta2 = c->beta2, .eps = c->eps, .weight_decay = c->weight_decay});
}

const vkd__optimiser_def vkd_optimiser_adamw = {
    .name = "adamw",
    .summary = "Adam with decoupled weight decay",
    .paper = "Loshchilov & Hutter, arXiv:1711.05101",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
};
