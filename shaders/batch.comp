// SPDX-License-Identifier: Apache-2.0
// y[b,e] = (data[indices[b],e] * scale - mean[c]) / std[c], c = e mod CHANNELS; zeros for an index
// outside the data set. A launch handles the samples in its window of the data; the first writes
// the zeros. With ALIGNED samples a workgroup takes a sample, and an invocation four elements out of
// one word: that way nothing is divided, which CPU devices do lane by lane, but three channels, which
// begin anew every third word.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 10) const uint ALIGNED = 0; // the sample's size is a multiple of four
layout(constant_id = 11) const uint CHANNELS = 1;

layout(push_constant) uniform Params { vkd_batch_params p; };
// data (rows, sample_size), four bytes a word; indices (B); y (B, sample_size)
layout(set = 0, binding = 0, std430) readonly restrict buffer Data { uint data[]; };
VKD_IN_INT(1, indices);
VKD_OUT(2, y);

// Whether this launch writes the sample, and whether it has data.
bool mine(uint index) {
    return index >= p.V ? p.first == 0u : index >= p.first && index - p.first < p.rows;
}

// One value a channel, as the four elements of a word want them.
vec4 spread(vec4 v, uint quad) {
    if (CHANNELS == 1u) return v.xxxx;
    if (CHANNELS == 2u) return v.xyxy;
    if (CHANNELS == 4u) return v;
    const uint c = quad % 3u; // 4 quad mod 3
    return c == 0u ? v.xyzx : c == 1u ? v.yzxy : v.zxyz;
}

void aligned_sample(uint b) {
    const uint index = uint(indices[b]), quads = p.sample_size / 4u;
    if (!mine(index)) return;
    const vec4 mean = vec4(p.mean0, p.mean1, p.mean2, p.mean3);
    const vec4 deviation = vec4(p.std0, p.std1, p.std2, p.std3);
    for (uint q = gl_LocalInvocationID.x; q < quads; q += LOCAL_X) {
        vec4 v = vec4(0.0);
        if (index < p.V) {
            const uint word = data[(index - p.first) * quads + q];
            const vec4 bytes = vec4((uvec4(word) >> uvec4(0u, 8u, 16u, 24u)) & 255u);
            v = (bytes * p.scale - spread(mean, q)) / spread(deviation, q);
        }
        y[b * quads + q] = v;
    }
}

void single(uint i) {
    const uint index = uint(indices[i / p.sample_size]), e = i % p.sample_size;
    if (!mine(index)) return;
    float v = 0.0;
    if (index < p.V) {
        const uint at = (index - p.first) * p.sample_size + e, c = e % CHANNELS;
        const float byte = float((data[at >> 2] >> (8u * (at & 3u))) & 255u);
        const float mean = vec4(p.mean0, p.mean1, p.mean2, p.mean3)[c];
        v = (byte * p.scale - mean) / vec4(p.std0, p.std1, p.std2, p.std3)[c];
    }
    STORE1(y, i, v);
}

void main() {
    if (ALIGNED != 0u) {
        const uint samples = p.count / p.sample_size;
        for (uint b = gl_WorkGroupID.x; b < samples; b += GROUPS_X) aligned_sample(b);
    } else {
        const uint stride = GROUPS_X * LOCAL_X;
        for (uint i = gl_GlobalInvocationID.x; i < (p.count + 3u) / 4u; i += stride) {
            for (uint k = 4u * i; k < min(4u * i + 4u, p.count); k++) single(k);
        }
    }
}
