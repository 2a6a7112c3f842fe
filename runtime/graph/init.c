// SPDX-License-Identifier: Apache-2.0
/* Start values of parameters. Made on the host, so that they are the same on every device.
 * Normal numbers: Box & Muller, A Note on the Generation of Random Normal Deviates (1958). */
#include <math.h>
#include <string.h>

#include "base/philox.h"
#include "graph/store.h"

/* Step 0xffffffff keeps start values apart from what dropout draws under the same name. */
static vkd__philox draw(uint32_t seed, uint32_t stream, uint32_t index) {
    return vkd__philox_at(seed, stream, UINT32_MAX, index);
}

static void fill_uniform(float *out, uint64_t count, uint32_t seed, uint32_t stream, double bound) {
    for (uint64_t i = 0; i < count; i++) {
        const vkd__philox p = draw(seed, stream, (uint32_t)(i / 4));
        out[i] = (float)((2.0 * (double)vkd__philox_uniform(p.v[i % 4]) - 1.0) * bound);
    }
}

static void fill_normal(float *out, uint64_t count, uint32_t seed, uint32_t stream, double sd) {
    const double two_pi = 6.283185307179586;
    for (uint64_t i = 0; i < count; i++) {
        const vkd__philox p = draw(seed, stream, (uint32_t)(i / 2));
        const double u =
            1.0 - (double)vkd__philox_uniform(p.v[0]); /* never 0, so the log is finite */
        const double angle = two_pi * (double)vkd__philox_uniform(p.v[1]);
        const double radius = sd * sqrt(-2.0 * log(u));
        out[i] = (float)(radius * (i % 2 ? sin(angle) : cos(angle)));
    }
}

static void fill_constant(float *out, uint64_t count, float value) {
    for (uint64_t i = 0; i < count; i++)
        out[i] = value;
}

void vkd__init_values(const vkd_init *init, vkd_shape shape, uint32_t seed, const char *name,
                      float *out) {
    const uint64_t count = vkd_shape_count(shape);
    const char *dot = strchr(name, '.');
    const uint32_t stream = vkd__philox_stream(dot ? dot + 1 : name);
    const double gain = init->gain != 0.0f ? (double)init->gain : 1.0;
    const double first = shape.axes ? shape.dim[0] : 1;
    const double last = shape.axes > 1 ? shape.dim[shape.axes - 1] : 1;
    const double fan_out = (double)count / last;
    const double own = shape.axes > 1 ? (double)count / first : first;
    const double fan_in = init->fan_in ? init->fan_in : own;
    switch (init->kind) {
    case VKD_INIT_ZEROS:
        fill_constant(out, count, 0.0f);
        break;
    case VKD_INIT_ONES:
        fill_constant(out, count, 1.0f);
        break;
    case VKD_INIT_CONSTANT:
        fill_constant(out, count, init->value);
        break;
    case VKD_INIT_UNIFORM:
        fill_uniform(out, count, seed, stream, (double)init->value);
        break;
    case VKD_INIT_NORMAL:
        fill_normal(out, count, seed, stream, (double)init->value);
        break;
    case VKD_INIT_XAVIER_UNIFORM:
        fill_uniform(out, count, seed, stream, gain * sqrt(6.0 / (fan_in + fan_out)));
        break;
    case VKD_INIT_XAVIER_NORMAL:
        fill_normal(out, count, seed, stream, gain * sqrt(2.0 / (fan_in + fan_out)));
        break;
    case VKD_INIT_KAIMING_UNIFORM:
        fill_uniform(out, count, seed, stream, gain * sqrt(3.0 / fan_in));
        break;
    case VKD_INIT_KAIMING_NORMAL:
        fill_normal(out, count, seed, stream, gain * sqrt(1.0 / fan_in));
        break;
    case VKD_INIT_FAN_IN_UNIFORM:
        fill_uniform(out, count, seed, stream, 1.0 / sqrt(fan_in));
        break;
    case VKD_INIT_KAIMING_NORMAL_FAN_OUT:
        fill_normal(out, count, seed, stream, gain * sqrt(1.0 / fan_out));
        break;
    }
}
