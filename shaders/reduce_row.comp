// SPDX-License-Identifier: Apache-2.0
// y[r] = scale * sum (or max) over one run of x: chunk r % splits of row r / splits of x (outer, reduce).
// Runs begin anywhere, so whole quads are read and the elements outside the run replaced.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(constant_id = 11) const uint MAX = 0;

layout(push_constant) uniform Params { vkd_reduce_params p; };
VKD_IN(0, x);  // (outer, reduce) from offset_x on
VKD_OUT(1, y); // (rows) from offset_y on

// A NaN wins over every number, as it does in a sum.
vec4 larger(vec4 a, vec4 b) {
    return mix(a, b, bvec4(uvec4(greaterThan(b, a)) | uvec4(notEqual(b, b))));
}
float larger(float a, float b) {
    return b > a || b != b ? b : a;
}
ROW_REDUCTION(row_larger, float, row_scratch1, larger(a, b))

void main() {
    const float none = MAX != 0u ? -ROW_INFINITY : 0.0;
    ROW_FOR(first, p.rows) {
        const uint row = row_of(first, p.rows);
        const uint part = (row % p.splits) * p.chunk;
        const uint start = p.offset_x + (row / p.splits) * p.reduce + part;
        const uint end = start + min(p.chunk, p.reduce - part);
        vec4 total = vec4(none);
        for (uint q = (start >> 2) + row_lane(); q < (end + 3u) >> 2; q += ROW_LANES) {
            const uvec4 e = 4u * q + uvec4(0, 1, 2, 3);
            const bvec4 inside = bvec4(uvec4(greaterThanEqual(e, uvec4(start))) &
                                       uvec4(lessThan(e, uvec4(end))));
            const vec4 v = mix(vec4(none), LOAD4(x, q), inside);
            total = MAX != 0u ? larger(total, v) : total + v;
        }
        float v = MAX != 0u ? larger(larger(total.x, total.y), larger(total.z, total.w))
                            : row_sum4(total);
        v = MAX != 0u ? row_larger(v) : row_sum(v);
        if (row_writer(first, p.rows)) STORE1(y, p.offset_y + row, v * p.scale);
    }
}
