// SPDX-License-Identifier: Apache-2.0
// Walks two operands over up to five axes, innermost first, each with strides of its own: 0 repeats an
// element (broadcasting), other orders transpose. ops/strided.c merges the axes, so that the common
// cases have one or two. The includer declares the push constants `vkd_strided_params p`.
//
//   uvec2 at = strided_seek(e);   // where element e lies in operands a and b
//   at = strided_next(at);        // the next element, without a division

layout(constant_id = 10) const uint AXES = 1;

uint strided_at[VKD_STRIDED_AXES];

uvec2 strided_stride(uint k) {
    return uvec2(p.stride_a[k], p.stride_b[k]);
}

#define STRIDED_SEEK(k)                                                                            \
    if (AXES > (k) + 1u) {                                                                         \
        const uint above = e / p.dim[k];                                                           \
        strided_at[k] = e - above * p.dim[k];                                                      \
        at += strided_at[k] * strided_stride(k);                                                   \
        e = above;                                                                                 \
    } else if (AXES > (k)) {                                                                       \
        strided_at[k] = e;                                                                         \
        at += e * strided_stride(k);                                                               \
    }
uvec2 strided_seek(uint e) {
    uvec2 at = uvec2(p.offset_a, p.offset_b);
    STRIDED_SEEK(0u)
    STRIDED_SEEK(1u)
    STRIDED_SEEK(2u)
    STRIDED_SEEK(3u)
    STRIDED_SEEK(4u)
    return at;
}

#define STRIDED_CARRY(k)                                                                           \
    if (AXES > (k) + 1u && strided_at[k] == p.dim[k]) {                                            \
        strided_at[k] = 0u;                                                                        \
        strided_at[(k) + 1u]++;                                                                    \
        at += strided_stride((k) + 1u) - p.dim[k] * strided_stride(k);                             \
    }
uvec2 strided_next(uvec2 at) {
    strided_at[0]++;
    at += strided_stride(0u);
    STRIDED_CARRY(0u)
    STRIDED_CARRY(1u)
    STRIDED_CARRY(2u)
    STRIDED_CARRY(3u)
    return at;
}
