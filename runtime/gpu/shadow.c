// SPDX-License-Identifier: Apache-2.0
/* A step taken node by node, the device waited for after each: so that every node's inputs and
 * outputs can be looked at. Shadow mode compares them with the op's reference; after a failed run
 * the same walk finds the first tensor that is not finite. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "gpu/gpu.h"

typedef struct walk walk;
struct walk {
    vkd_program *p;
    vkd__arena values; /* of one node */
    vkd__ref ref;
    vkd_result (*before)(walk *w);
    vkd_result (*after)(walk *w);
};

static bool lies_somewhere(const vkd_program *p, vkd_tensor t) {
    return t.id && t.id < p->tensor_count && p->places[t.id].space != VKD__SPACE_DUMMY;
}

/* A tensor's values as doubles, from the device. */
static vkd_result fetch(walk *w, vkd_tensor t, vkd__values *out) {
    vkd_program *p = w->p;
    out->tensor = vkd__tensor_get(p->graph, t);
    const uint64_t count = vkd_shape_count(out->tensor->shape);
    const size_t size = vkd_dtype_size(out->tensor->dtype);
    out->v = VKD_NEW(&w->values, double, count);
    uint8_t *raw = vkd__alloc(p->ctx, count, size);
    if (!out->v || !raw) {
        vkd__free(p->ctx, raw);
        return VKD_E_MEMORY;
    }
    const vkd__place *place = &p->places[t.id];
    uint64_t offset = place->offset;
    const VkBuffer buffer = vkd__program_buffer(p, place->space, place->index, &offset);
    const vkd_result r = vkd__download(p->device, buffer, offset, raw, count * size);
    for (uint64_t i = 0; !r && i < count; i++) {
        if (out->tensor->dtype == VKD_F32) {
            float f;
            memcpy(&f, raw + i * size, size);
            out->v[i] = (double)f;
        } else if (vkd__is_half(out->tensor->dtype)) {
            uint16_t h;
            memcpy(&h, raw + i * size, size);
            out->v[i] = (double)(out->tensor->dtype == VKD_F16 ? vkd__f16_to(h) : vkd__bf16_to(h));
        } else if (out->tensor->dtype == VKD_I32) {
            int32_t n;
            memcpy(&n, raw + i * size, size);
            out->v[i] = n;
        } else {
            out->v[i] = raw[i];
        }
    }
    vkd__free(p->ctx, raw);
    return r;
}

static vkd_result run_launches(vkd_program *p, size_t first, size_t end) {
    VkCommandBuffer cb;
    const vkd_result r = vkd__once_begin(p->device, &cb);
    if (r) return r;
    for (size_t i = first; i < end; i++) {
        vkd__record_inputs_ready(p->device, cb);
        vkd__record_launch(p, cb, i);
    }
    return vkd__once_end(p->device);
}

static vkd_result run_step(walk *w, int32_t step) {
    vkd_program *p = w->p;
    vkd_result r = vkd_program_wait(p, p->submitted);
    for (uint32_t i = 0; i < p->input_count; i++)
        if (p->inputs[i].is_step) memcpy(p->master + p->inputs[i].offset, &step, sizeof step);
    if (!r && p->input_bytes)
        r = vkd__upload(p->device, p->input_block.buffer, 0, p->master, p->input_bytes);
    for (uint32_t i = 0; !r && i < p->input_count; i++)
        p->inputs[i].changed = false;
    size_t end = 0;
    for (size_t first = 0; !r && first < p->launch_count; first = end) {
        const uint32_t node = p->launches[first].node;
        while (end < p->launch_count && p->launches[end].node == node)
            end++;
        w->ref = (vkd__ref){.graph = p->graph, .node = &p->graph->nodes[node]};
        w->values.ctx = p->ctx;
        r = w->before(w);
        if (!r) r = run_launches(p, first, end);
        if (!r) r = w->after(w);
        vkd__arena_term(&w->values);
    }
    return r;
}

/* ---- Beside the references ---- */

static vkd_result fetch_inputs(walk *w) {
    const vkd__node *n = w->ref.node;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; !r && i < n->in_count; i++)
        if (lies_somewhere(w->p, n->in[i])) r = fetch(w, n->in[i], &w->ref.in[i]);
    return r;
}

static bool agrees(double got, double want, double rtol, double atol) {
    if (got == want || (isnan(got) && isnan(want))) return true;
    return fabs(got - want) <= atol + rtol * fabs(want);
}

static vkd_result compare(walk *w, vkd_tensor t, const vkd__values *want) {
    const vkd__node *n = w->ref.node;
    if (!lies_somewhere(w->p, t)) return VKD_OK;
    vkd__values got;
    const vkd_result r = fetch(w, t, &got);
    if (r) return r;
    const vkd_dtype dtype = got.tensor->dtype;
    const bool real = vkd__is_real(dtype);
    /* A sum that differs in its last bit may round to the next 16-bit value. */
    const double unit = dtype == VKD_F16 ? 0x1p-10 : dtype == VKD_BF16 ? 0x1p-7 : 0;
    const double rtol = !real ? 0 : (n->op->rtol > 0 ? n->op->rtol : 1e-5) + unit;
    const double atol = !real ? 0 : (n->op->atol > 0 ? n->op->atol : 1e-5) + unit * 0x1p-14;
    const uint64_t count = vkd_shape_count(got.tensor->shape);
    for (uint64_t i = 0; i < count; i++) {
        if (agrees(got.v[i], want->v[i], rtol, atol)) continue;
        return vkd__fail(w->p->ctx, VKD_E_MISMATCH,
                         "'%s' differs from its reference: node %u (%s), tensor '%s', element %llu "
                         "is %.9g, should be %.9g",
                         w->p->name, (unsigned)(n - w->p->graph->nodes), n->op->name,
                         got.tensor->name, (unsigned long long)i, got.v[i], want->v[i]);
    }
    return VKD_OK;
}

static vkd_result check_outputs(walk *w) {
    const vkd__node *n = w->ref.node;
    if (!n->op->reference) return VKD_OK;
    for (uint32_t i = 0; i < n->out_count; i++) {
        vkd__values *out = &w->ref.out[i];
        out->tensor = vkd__tensor_get(w->p->graph, n->out[i]);
        out->v = VKD_NEW(&w->values, double, vkd_shape_count(out->tensor->shape));
        if (!out->v) return VKD_E_MEMORY;
    }
    n->op->reference(&w->ref);
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; !r && i < n->out_count; i++)
        r = compare(w, n->out[i], &w->ref.out[i]);
    for (uint32_t i = 0; !r && i < n->in_count; i++)
        if (n->writes >> i & 1) r = compare(w, n->in[i], &w->ref.in[i]);
    return r;
}

/* The step's end: outputs to the host, and the ticket. */
static vkd_result finish(vkd_program *p, uint64_t ticket) {
    const VkCommandBufferSubmitInfo cb = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                          .commandBuffer = p->epilogue[ticket % VKD_PROGRAM_RING]};
    const VkSemaphoreSubmitInfo signal = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                          .semaphore = p->timeline,
                                          .value = vkd__program_value(p, ticket),
                                          .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
    return VKD__VK(p->device,
                   vkQueueSubmit2(p->device->queue, 1,
                                  &(VkSubmitInfo2){.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                                   .commandBufferInfoCount = 1,
                                                   .pCommandBufferInfos = &cb,
                                                   .signalSemaphoreInfoCount = 1,
                                                   .pSignalSemaphoreInfos = &signal},
                                  VK_NULL_HANDLE));
}

vkd_result vkd__shadow_step(vkd_program *p, uint64_t ticket) {
    walk w = {.p = p, .before = fetch_inputs, .after = check_outputs};
    const vkd_result r = run_step(&w, p->step);
    return r ? r : finish(p, ticket);
}

/* ---- The first tensor that is not finite ---- */

static vkd_result scan(walk *w, vkd_tensor t) {
    vkd_program *p = w->p;
    if (p->nonfinite || !lies_somewhere(p, t)) return VKD_OK;
    if (!vkd__is_real(vkd__tensor_get(p->graph, t)->dtype)) return VKD_OK;
    vkd__values values;
    const vkd_result r = fetch(w, t, &values);
    if (r) return r;
    const uint64_t count = vkd_shape_count(values.tensor->shape);
    for (uint64_t i = 0; i < count; i++) {
        if (isfinite(values.v[i])) continue;
        p->nonfinite = vkd__strdup(p->ctx, values.tensor->name);
        return p->nonfinite ? VKD_OK : VKD_E_MEMORY;
    }
    return VKD_OK;
}

/* Leaves are looked at before the node that reads them: a bad input is named, not its victims. */
static vkd_result scan_leaves(walk *w) {
    const vkd__node *n = w->ref.node;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; !r && i < n->in_count; i++)
        if (n->in[i].id && vkd__tensor_get(w->p->graph, n->in[i])->home != VKD__HOME_NODE)
            r = scan(w, n->in[i]);
    return r;
}

static vkd_result scan_results(walk *w) {
    const vkd__node *n = w->ref.node;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; !r && i < n->out_count; i++)
        r = scan(w, n->out[i]);
    for (uint32_t i = 0; !r && i < n->in_count; i++)
        if (n->writes >> i & 1) r = scan(w, n->in[i]);
    return r;
}

vkd_result vkd_program_find_nonfinite(vkd_program *program, const char **tensor) {
    vkd_program *p = program;
    *tensor = "";
    if (!p->graph)
        return vkd__fail(p->ctx, VKD_E_ARGUMENT, "the plan of '%s' has no graph", p->name);
    vkd__free(p->ctx, p->nonfinite);
    p->nonfinite = NULL;
    walk w = {.p = p, .before = scan_leaves, .after = scan_results};
    const int32_t step = p->submitted ? (int32_t)((uint32_t)p->step - 1) : p->step;
    const vkd_result r = run_step(&w, step);
    if (p->nonfinite) *tensor = p->nonfinite;
    return r;
}
