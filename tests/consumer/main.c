// SPDX-License-Identifier: Apache-2.0
/* Three steps of gradient descent through the installed library, as a user's program would. */
#include <stdio.h>
#include <string.h>
#include <vkdistill/vkdistill.h>

static int fail(vkd_ctx *ctx, vkd_result r) {
    fprintf(stderr, "consumer: %s\n", vkd_ctx_error(ctx));
    return vkd_result_exit_code(r);
}

static vkd_tensor build(vkd_graph *g) {
    vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(8, 4));
    vkd_tensor labels = vkd_input(g, "labels", VKD_I32, VKD_SHAPE(8));
    vkd_tensor w =
        vkd_param(g, "net.weight", VKD_SHAPE(3, 4), &(vkd_init){.kind = VKD_INIT_XAVIER_UNIFORM});
    vkd_tensor logits = vkd_matmul(g, x, w, &(vkd_matmul_desc){.transpose_b = true});
    vkd_tensor loss = vkd_ce(g, logits, labels, 0.0f);
    vkd_tensor grad = vkd_gradient(g, loss, "net");
    vkd_sgd(g, "net", grad, vkd_guard(g, "net", grad, loss, 0.0f), vkd_constant(g, 0.5f), NULL);
    vkd_output(g, "loss", loss);
    return loss;
}

static vkd_result train(vkd_program *step, float *losses) {
    float x[8 * 4];
    int32_t labels[8];
    for (int i = 0; i < 8 * 4; i++)
        x[i] = (float)((i * 7) % 11) / 11.0f;
    for (int i = 0; i < 8; i++)
        labels[i] = i % 3;
    for (int i = 0; i < 3; i++) {
        memcpy(vkd_program_input(step, "x"), x, sizeof x);
        memcpy(vkd_program_input(step, "labels"), labels, sizeof labels);
        uint64_t ticket = 0;
        vkd_result r = vkd_program_submit(step, &ticket);
        if (!r) r = vkd_program_wait(step, ticket);
        if (r) return r;
        losses[i] = *(const float *)vkd_program_output(step, ticket, "loss", NULL);
    }
    return VKD_OK;
}

int main(void) {
    vkd_ctx *ctx = NULL;
    vkd_device *device = NULL;
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_program *step = NULL;
    float losses[3] = {0};
    vkd_result r = vkd_ctx_create(NULL, &ctx);
    if (r) return vkd_result_exit_code(r);
    r = vkd_device_open(ctx, NULL, &device);
    if (!r) r = vkd_store_create(ctx, &store);
    if (!r) r = vkd_graph_create(ctx, store, NULL, &g);
    if (r) return fail(ctx, r);
    build(g);
    r = vkd_plan_create(g, vkd_device_profile(device), &plan);
    if (!r) r = vkd_program_create(device, plan, &step);
    if (!r) r = train(step, losses);
    if (r) return fail(ctx, r);
    printf("%.6f %.6f %.6f\n", (double)losses[0], (double)losses[1], (double)losses[2]);
    vkd_program_destroy(step);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_device_close(device);
    vkd_ctx_destroy(ctx);
    return losses[2] < losses[0] ? 0 : 1;
}
