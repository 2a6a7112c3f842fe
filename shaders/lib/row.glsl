// SPDX-License-Identifier: Apache-2.0
// Rows: kernels that reduce over the last axis. ROW_LANES invocations share one row, so that
// LOCAL_X / ROW_LANES rows lie side by side in a workgroup. ROW_LANES is a power of two that
// divides LOCAL_X: 1 for short rows (no exchange at all), LOCAL_X for long ones. Base kernels
// exchange through a tree in shared memory; direct ones (VKD_DIRECT) by shuffles, and there
// LOCAL_X is the subgroup's size wherever ROW_LANES is not 1. In C, vkd__row_launch (ops/row.h)
// sets all of it.
//
// A kernel includes io.glsl, then this file (which declares the workgroup and spec constants 0, 3
// and 10), and reads a row as quads of four elements, whatever the row's length and alignment:
//
//   ROW_FOR(first, p.N) {                      // grid-stride; every lane runs equally often
//       const uint row = row_of(first, p.N);   // repeats the last row where there are none left
//       float m = ROW_LOWEST;
//       ROW_QUADS(q, p.V) m = max(m, row_max4(ROW_LOAD(x, row, p.V, q, ROW_LOWEST)));
//       m = row_max(m);                        // the same value in all lanes of the row
//       ...
//       if (row_live(first, p.N)) ROW_QUADS(q, p.V) ROW_STORE(y, row, p.V, q, value);
//       if (row_writer(first, p.N)) STORE1(loss, row, m);   // one lane of a live row
//   }
//
// ROW_LOAD gives `fill` for the lanes of the last quad beyond the row's end; ROW_STORE leaves what
// is beyond it alone. Reductions must be reached by all invocations: never inside
// `if (row_live(...))`.

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 3) const uint ROW_LANES = 64;
layout(constant_id = 10) const uint ROW_ALIGNED = 0; // the length is a multiple of four

const float ROW_LOWEST = -3.402823466e38;
#define ROW_INFINITY uintBitsToFloat(0x7f800000u)

#define ROW_FOR(first, rows)                                                                       \
    for (uint first = gl_WorkGroupID.x * (LOCAL_X / ROW_LANES); first < (rows);                    \
         first += GROUPS_X * (LOCAL_X / ROW_LANES))
#define ROW_QUADS(q, length) for (uint q = row_lane(); q < ((length) + 3u) / 4u; q += ROW_LANES)

uint row_lane() {
    return gl_LocalInvocationID.x & (ROW_LANES - 1u);
}
uint row_slot(uint first) {
    return first + gl_LocalInvocationID.x / ROW_LANES;
}
uint row_of(uint first, uint rows) {
    return min(row_slot(first), rows - 1u);
}
bool row_live(uint first, uint rows) {
    return row_slot(first) < rows;
}
bool row_writer(uint first, uint rows) {
    return row_lane() == 0u && row_live(first, rows);
}

// ---- Quads. Of a row that is not aligned, a quad lies in two neighbouring vec4s.

// Elements of quad q that are there: 1 to 4.
uint row_valid(uint len, uint q) {
    return min(len - 4u * q, 4u);
}
uint row_low(uint row, uint len, uint q) {
    return ROW_ALIGNED != 0u ? row * (len >> 2) + q : (row * len + 4u * q) >> 2;
}
// The vec4 with the quad's last element, so that nothing behind the tensor is read.
uint row_high(uint row, uint len, uint q) {
    return (row * len + 4u * q + row_valid(len, q) - 1u) >> 2;
}
vec4 row_join(vec4 low, vec4 high, uint row, uint len, uint q, vec4 fill) {
    if (ROW_ALIGNED != 0u) return low;
    const uint shift = (row * len) & 3u;
    vec4 v = low;
    if (shift == 1u) v = vec4(low.yzw, high.x);
    if (shift == 2u) v = vec4(low.zw, high.xy);
    if (shift == 3u) v = vec4(low.w, high.xyz);
    return mix(fill, v, lessThan(uvec4(0, 1, 2, 3), uvec4(row_valid(len, q))));
}
#define ROW_LOAD(from, row, len, q, fill)                                                          \
    row_join(LOAD4(from, row_low(row, len, q)),                                                    \
             ROW_ALIGNED != 0u ? vec4(0.0) : LOAD4(from, row_high(row, len, q)), row, len, q,      \
             vec4(fill))
#define ROW_STORE(to, row, len, q, value)                                                          \
    {                                                                                              \
        const vec4 row_value = value;                                                              \
        if (ROW_ALIGNED != 0u) {                                                                   \
            to[row_low(row, len, q)] = row_value;                                                  \
        } else {                                                                                   \
            const uint row_at = (row) * (len) + 4u * (q), row_end = row_valid(len, q);             \
            STORE1(to, row_at, row_value.x);                                                       \
            if (row_end > 1u) STORE1(to, row_at + 1u, row_value.y);                                \
            if (row_end > 2u) STORE1(to, row_at + 2u, row_value.z);                                \
            if (row_end > 3u) STORE1(to, row_at + 3u, row_value.w);                                \
        }                                                                                          \
    }

float row_max4(vec4 v) {
    return max(max(v.x, v.y), max(v.z, v.w));
}
float row_sum4(vec4 v) {
    return (v.x + v.y) + (v.z + v.w);
}
// exp that is 0 at -infinity and NaN at NaN on every driver (not every exp is). For arguments that
// are not positive.
vec4 row_exp(vec4 v) {
    return mix(mix(exp(v), vec4(0.0), lessThan(v, vec4(-104.0))), v, isnan(v));
}
float row_exp(float v) {
    return isnan(v) ? v : v < -104.0 ? 0.0 : exp(v);
}
// log that is NaN at NaN on every driver.
float row_log(float v) {
    return isnan(v) ? v : log(v);
}

// ---- Reductions over the lanes of a row. The order is fixed: the same bits in every run.

#ifdef VKD_DIRECT
#extension GL_KHR_shader_subgroup_shuffle : require
#define ROW_REDUCTION(name, type, scratch, combine)                                                \
    type name(type a) {                                                                            \
        for (uint step = ROW_LANES / 2u; step > 0u; step /= 2u) {                                  \
            const type b = subgroupShuffleXor(a, step);                                            \
            a = combine;                                                                           \
        }                                                                                          \
        return a;                                                                                  \
    }
#else
shared float row_scratch1[LOCAL_X];
shared vec2 row_scratch2[LOCAL_X];
shared vec4 row_scratch4[LOCAL_X];
shared uint row_scratch_uint[LOCAL_X];
// The last barrier lets the next reduction use the scratch again.
#define ROW_REDUCTION(name, type, scratch, combine)                                                \
    type name(type v) {                                                                            \
        if (ROW_LANES == 1u) return v;                                                             \
        const uint at = gl_LocalInvocationID.x;                                                    \
        scratch[at] = v;                                                                           \
        for (uint step = ROW_LANES / 2u; step > 0u; step /= 2u) {                                  \
            barrier();                                                                             \
            if (row_lane() < step) {                                                               \
                const type a = scratch[at], b = scratch[at + step];                                \
                scratch[at] = combine;                                                             \
            }                                                                                      \
        }                                                                                          \
        barrier();                                                                                 \
        v = scratch[at - row_lane()];                                                              \
        barrier();                                                                                 \
        return v;                                                                                  \
    }
#endif
ROW_REDUCTION(row_sum, float, row_scratch1, a + b)
ROW_REDUCTION(row_sum, vec2, row_scratch2, a + b)
ROW_REDUCTION(row_sum, vec4, row_scratch4, a + b)
ROW_REDUCTION(row_sum, uint, row_scratch_uint, a + b)
ROW_REDUCTION(row_max, float, row_scratch1, max(a, b))
ROW_REDUCTION(row_max, vec2, row_scratch2, max(a, b))
ROW_REDUCTION(row_min, uint, row_scratch_uint, min(a, b))

// The largest element so far (x, at least ROW_LOWEST) and the sum of exp(element - x) (y), for one
// pass over a row; start with vec2(ROW_LOWEST, 0). row_add takes a quad, row_lse joins the lanes.
vec2 row_add(vec2 z, vec4 v) {
    const float m = max(z.x, row_max4(v));
    return vec2(m, z.y * row_exp(z.x - m) + row_sum4(row_exp(v - m)));
}
vec2 row_lse(vec2 z) {
    const float m = row_max(z.x);
    return vec2(m, row_sum(z.y * row_exp(z.x - m)));
}
