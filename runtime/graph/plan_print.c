// SPDX-License-Identifier: Apache-2.0
/* The plan as text that a person can check: what every launch reads and writes, and where it lies.
 *
 *   x@in:256     at byte 256 of the input block     x@net:512   at byte 512 of the store's 'net'
 *   x@0:1024     at byte 1024 of arena 0            -           an absent input: zeros
 *   x[256+64]@.. 64 bytes of x, from its byte 256 on */
#include "graph/plan.h"

#include <inttypes.h>

#define SCRATCH 0x80000000u

static void print_shape(vkd__text *t, vkd_dtype dtype, vkd_shape shape) {
    static const char *const names[] = {"f32", "i32", "u8", "f16", "bf16"};
    vkd__text_add(t, "(");
    for (uint32_t i = 0; i < shape.axes; i++)
        vkd__text_add(t, "%s%" PRIu32, i ? ", " : "", shape.dim[i]);
    vkd__text_add(t, ") %s", names[dtype]);
}

static void print_place(vkd__text *t, const vkd_plan *p, vkd__place place) {
    switch (place.space) {
    case VKD__SPACE_ARENA:
        vkd__text_add(t, "@%" PRIu32 ":%" PRIu64, place.index, place.offset);
        break;
    case VKD__SPACE_STORE:
        vkd__text_add(t, "@%s:%" PRIu64, p->store->entries[place.index].name, place.offset);
        break;
    case VKD__SPACE_INPUT:
        vkd__text_add(t, "@in:%" PRIu64, place.offset);
        break;
    case VKD__SPACE_DUMMY:
        break;
    }
}

static void print_binding(vkd__text *t, const vkd_plan *p, const vkd__binding *b) {
    if (!b->tensor) {
        vkd__text_add(t, " -");
        return;
    }
    const bool scratch = b->tensor & SCRATCH;
    const vkd__tensor *tensor = scratch ? NULL : &p->graph->tensors[b->tensor];
    vkd__text_add(t, " %s", scratch ? "scratch" : tensor->name);
    const bool all = tensor && b->window_bytes == vkd__tensor_bytes(tensor);
    if (b->window_bytes && !all)
        vkd__text_add(t, "[%" PRIu64 "+%" PRIu64 "]", b->window_offset, b->window_bytes);
    print_place(t, p, (vkd__place){b->space, b->index, b->offset});
}

static void print_bindings(vkd__text *t, const vkd_plan *p, const vkd__launch *l, const char *word,
                           vkd__access access) {
    bool any = false;
    for (uint32_t k = 0; k < l->binding_count; k++) {
        if (l->bindings[k].access != access) continue;
        if (!any) vkd__text_add(t, "  %s", word);
        print_binding(t, p, &l->bindings[k]);
        any = true;
    }
}

static void print_launch(vkd__text *t, const vkd_plan *p, size_t i) {
    const vkd__launch *l = &p->launches[i];
    if (l->barrier) {
        const vkd__binding *b = &l->bindings[l->barrier_binding];
        vkd__text_add(t, "  | barrier ");
        print_binding(t, p, b);
        vkd__text_add(t, " after %" PRIu32 "\n", l->barrier_after);
    }
    if (i && l->slice != p->launches[i - 1].slice)
        vkd__text_add(t, "  | slice %" PRIu32 "\n", l->slice);
    vkd__text_add(t, "%4zu %-20s %s", i, l->kernel, l->label);
    print_bindings(t, p, l, "in", VKD__READ);
    print_bindings(t, p, l, "inout", VKD__READ_WRITE);
    print_bindings(t, p, l, "out", VKD__WRITE);
    vkd__text_add(t, "  groups %" PRIu32, l->groups[0]);
    if (l->groups[1] > 1 || l->groups[2] > 1) vkd__text_add(t, "x%" PRIu32, l->groups[1]);
    if (l->groups[2] > 1) vkd__text_add(t, "x%" PRIu32, l->groups[2]);
    if (l->piece)
        vkd__text_add(t, " from %" PRIu32 "x%" PRIu32 "x%" PRIu32, l->base[0], l->base[1],
                      l->base[2]);
    vkd__text_add(t, "  spec");
    for (uint32_t k = 0; k < l->spec_count; k++)
        if (l->spec_id[k] < 1 || l->spec_id[k] > 2 || l->spec[k] != 1)
            vkd__text_add(t, " %" PRIu32 ":%" PRIu32, l->spec_id[k], l->spec[k]);
    vkd__text_add(t, "\n");
}

static void print_head(vkd__text *t, const vkd_plan *p) {
    const vkd_plan_info *info = &p->info;
    vkd__text_add(
        t, "plan %s  profile %s  launches %" PRIu32 "  barriers %" PRIu32 "  slices %" PRIu32 "\n",
        p->name, p->profile.name, info->launches, info->barriers, info->slices);
    vkd__text_add(t, "  persistent %" PRIu64 " B  transient %" PRIu64 " B", info->persistent_bytes,
                  info->transient_bytes);
    for (uint32_t i = 0; p->arena_count > 1 && i < p->arena_count; i++)
        vkd__text_add(t, "%s%" PRIu64 "%s", i ? " + " : " (", p->arena_bytes[i],
                      i + 1 == p->arena_count ? ")" : "");
    vkd__text_add(t, "  input %" PRIu64 " B  output %" PRIu64 " B\n", info->input_bytes,
                  info->output_bytes);
    vkd__text_add(t, "  flops %.6g  traffic %.6g B  predicted %.3g ms\n", info->flops, info->bytes,
                  info->seconds * 1e3);
}

char *vkd_plan_print(const vkd_plan *plan) {
    vkd__text t = {.ctx = plan->ctx};
    print_head(&t, plan);
    for (uint32_t i = 0; i < plan->input_count; i++) {
        const vkd__plan_io *io = &plan->inputs[i];
        vkd__text_add(&t, "  input %s ", io->name);
        print_shape(&t, io->dtype, io->shape);
        vkd__text_add(&t, " @in:%" PRIu64, io->block_offset);
        if (io->constant) vkd__text_add(&t, " constant %g", (double)io->value);
        vkd__text_add(&t, "%s\n", io->is_step ? " step" : "");
    }
    for (size_t i = 0; i < plan->launch_count; i++)
        print_launch(&t, plan, i);
    for (uint32_t i = 0; i < plan->output_count; i++) {
        const vkd__plan_io *io = &plan->outputs[i];
        vkd__text_add(&t, "  output %s ", io->name);
        print_shape(&t, io->dtype, io->shape);
        vkd__text_add(&t, " from ");
        print_place(&t, plan, io->source);
        vkd__text_add(&t, " to %" PRIu64 "\n", io->block_offset);
    }
    if (t.failed) {
        vkd__text_term(&t);
        return NULL;
    }
    return t.text;
}
