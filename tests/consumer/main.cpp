// SPDX-License-Identifier: Apache-2.0
// The same three steps from C++, where compound literals are not available.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vkdistill/vkdistill.h>

namespace {

vkd_shape shape(std::initializer_list<uint32_t> dims) {
    return vkd_shape_make(static_cast<uint32_t>(dims.size()), dims.begin());
}

void build(vkd_graph *g) {
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, shape({8, 4}));
    const vkd_tensor labels = vkd_input(g, "labels", VKD_I32, shape({8}));
    vkd_init init = {};
    init.kind = VKD_INIT_XAVIER_UNIFORM;
    const vkd_tensor w = vkd_param(g, "net.weight", shape({3, 4}), &init);
    vkd_matmul_desc transposed = {};
    transposed.transpose_b = true;
    const vkd_tensor loss = vkd_ce(g, vkd_matmul(g, x, w, &transposed), labels, 0.0f);
    const vkd_tensor grad = vkd_gradient(g, loss, "net");
    vkd_sgd(g, "net", grad, vkd_guard(g, "net", grad, loss, 0.0f), vkd_constant(g, 0.5f), nullptr);
    vkd_output(g, "loss", loss);
}

float step_once(vkd_program *step) {
    auto *x = static_cast<float *>(vkd_program_input(step, "x"));
    auto *labels = static_cast<int32_t *>(vkd_program_input(step, "labels"));
    for (int i = 0; i < 32; i++)
        x[i] = static_cast<float>((i * 7) % 11) / 11.0f;
    for (int i = 0; i < 8; i++)
        labels[i] = i % 3;
    uint64_t ticket = 0;
    if (vkd_program_submit(step, &ticket) || vkd_program_wait(step, ticket)) return -1.0f;
    return *static_cast<const float *>(vkd_program_output(step, ticket, "loss", nullptr));
}

} // namespace

int main() {
    vkd_ctx *ctx = nullptr;
    vkd_device *device = nullptr;
    vkd_store *store = nullptr;
    vkd_graph *g = nullptr;
    vkd_plan *plan = nullptr;
    vkd_program *step = nullptr;
    if (vkd_ctx_create(nullptr, &ctx)) return 1;
    if (vkd_device_open(ctx, nullptr, &device) || vkd_store_create(ctx, &store) ||
        vkd_graph_create(ctx, store, nullptr, &g)) {
        std::fprintf(stderr, "consumer: %s\n", vkd_ctx_error(ctx));
        return 1;
    }
    build(g);
    if (vkd_plan_create(g, vkd_device_profile(device), &plan) ||
        vkd_program_create(device, plan, &step)) {
        std::fprintf(stderr, "consumer: %s\n", vkd_ctx_error(ctx));
        return 1;
    }
    float losses[3];
    std::generate(losses, losses + 3, [step] { return step_once(step); });
    std::printf("%.6f %.6f %.6f\n", static_cast<double>(losses[0]), static_cast<double>(losses[1]),
                static_cast<double>(losses[2]));
    vkd_program_destroy(step);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_device_close(device);
    vkd_ctx_destroy(ctx);
    return losses[0] > 0 && losses[2] < losses[0] ? 0 : 1;
}
