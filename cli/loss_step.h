// SPDX-License-Identifier: Apache-2.0
/* One loss on a device, for the commands loss and selftest. */
#ifndef VKD_CLI_LOSS_STEP_H
#define VKD_CLI_LOSS_STEP_H

#include "losses/loss.h"

/* A tensor of a loss, by the name that it has in a file: "student", "teacher", with several pairs
 * "student.0", "teacher.0", ...; "labels", "indices"; "adapter.<name>". */
typedef struct cli_loss_tensor {
    char name[96];
    vkd_dtype dtype;
    vkd_shape shape;
    void *data;
    float *gradient; /* NULL where the loss is not differentiated by it */
} cli_loss_tensor;

#define CLI_LOSS_TENSORS 96

typedef struct cli_loss_tensors {
    cli_loss_tensor v[CLI_LOSS_TENSORS];
    uint32_t count;
} cli_loss_tensors;

typedef struct cli_loss_problem {
    const vkd__loss_def *def;
    const void *config; /* of def->config_size; its field "tau" is the temperature */
    vkd__loss_shapes shapes;
    /* What the loss asks for, without gradients. Adapters that are left out start as in a run. */
    const cli_loss_tensors *given;
} cli_loss_problem;

/* The configuration's temperature; 1 for a loss without. */
float cli_loss_tau(const cli_loss_problem *p);

/* One step. `composed` takes the loss out of plain ops instead of its fused kernel, if it has one.
 *
 * out  what the loss is differentiated by, with values and gradients; the states of its adapters
 *      with values alone. To be freed by cli_loss_tensors_term, after a failure too
 *
 * Errors: VKD_E_SHAPE: a given adapter has another shape; VKD_E_DATA: there is none of its name;
 * those of graph, plan and program. */
vkd_result cli_loss_step(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile,
                         const cli_loss_problem *p, bool composed, float *loss,
                         cli_loss_tensors *out);

/* NULL when there is none. */
const cli_loss_tensor *cli_loss_find(const cli_loss_tensors *t, const char *name);
void cli_loss_tensors_term(vkd_ctx *ctx, cli_loss_tensors *t);

/* ---- loss_file.c ---- */

/* The tensors that the loss needs, and what adapters there are, as copies in `out`; says their
 * shapes. Errors: VKD_E_FILE, VKD_E_FORMAT, VKD_E_DATA: missing, or of another type; VKD_E_SHAPE:
 * they do not fit each other or the loss. */
vkd_result cli_loss_read(vkd_ctx *ctx, const char *path, const vkd__loss_def *def,
                         const void *config, vkd__loss_shapes *shapes, cli_loss_tensors *out);

#endif
