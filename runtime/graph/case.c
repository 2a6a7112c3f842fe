// SPDX-License-Identifier: Apache-2.0
#include "graph/case.h"

#include <math.h>
#include <stdio.h>

#include "base/philox.h"

static vkd_tensor add_input(vkd__case *c, vkd_dtype dtype, vkd_shape shape, double low, double high,
                            bool differentiate) {
    VKD_ASSERT(c->input_count < VKD__CASE_INPUTS);
    char name[8];
    snprintf(name, sizeof name, "x%u", c->input_count);
    /* A differentiated input is a parameter: that is what gradients flow to. */
    char member[16];
    snprintf(member, sizeof member, "case.%s", name);
    const vkd_tensor t =
        differentiate ? vkd_param(c->g, member, shape, NULL) : vkd_input(c->g, name, dtype, shape);
    c->inputs[c->input_count++] =
        (vkd__case_input){.tensor = t, .low = low, .high = high, .differentiate = differentiate};
    return t;
}

vkd_tensor vkd__case_f32(vkd__case *c, vkd_shape shape, double low, double high) {
    return add_input(c, VKD_F32, shape, low, high, true);
}

vkd_tensor vkd__case_fixed(vkd__case *c, vkd_shape shape, double low, double high) {
    return add_input(c, VKD_F32, shape, low, high, false);
}

vkd_tensor vkd__case_i32(vkd__case *c, vkd_shape shape, int32_t low, int32_t high) {
    return add_input(c, VKD_I32, shape, low, high, false);
}

vkd_tensor vkd__case_u8(vkd__case *c, vkd_shape shape) {
    return add_input(c, VKD_U8, shape, 0, 256, false);
}

void vkd__case_special(vkd__case *c, double value, uint32_t every) {
    VKD_ASSERT(c->input_count > 0);
    c->inputs[c->input_count - 1].special = value;
    c->inputs[c->input_count - 1].special_every = every;
}

void vkd__case_half(vkd__case *c, vkd_dtype dtype) {
    const double unit = dtype == VKD_F16 ? 0x1p-10 : 0x1p-7;
    c->rtol = c->atol = 4 * unit;
}

void vkd__case_output(vkd__case *c, vkd_tensor t) {
    VKD_ASSERT(c->output_count < VKD__MAX_OUT);
    if (vkd__is_half(vkd__tensor_get(c->g, t)->dtype)) t = c->g->widen(c->g, t);
    c->outputs[c->output_count++] = t;
}

double vkd__case_value(const vkd__case_input *in, uint32_t k, uint64_t i, vkd_dtype dtype) {
    if (in->special_every && i % in->special_every == in->special_every - 1) return in->special;
    const vkd__philox p = vkd__philox_at(17, k, 0, (uint32_t)i);
    const double u = (double)vkd__philox_uniform(p.v[0]);
    if (dtype == VKD_F32) return (double)(float)(in->low + u * (in->high - in->low));
    return in->low + floor(u * (in->high - in->low));
}
