// SPDX-License-Identifier: Apache-2.0
// The windows of pooling: which pixels of an image a pixel of the pooled image is made of.

layout(constant_id = 16) const uint KIND = 0;
layout(constant_id = 17) const uint KERNEL_H = 2;
layout(constant_id = 18) const uint KERNEL_W = 2;
layout(constant_id = 19) const uint STRIDE_H = 2;
layout(constant_id = 20) const uint STRIDE_W = 2;
layout(constant_id = 21) const uint PAD_H = 0;
layout(constant_id = 22) const uint PAD_W = 0;

const bool MAX = KIND == VKD_POOL_MAX || KIND == VKD_POOL_MAX_PLACES;
const bool BINS = KIND == VKD_POOL_BINS;

// Pixels x to y - 1 along an axis: of `size` pixels, of which `windows` are made.
ivec2 bin_of(uint i, uint size, uint windows) {
    return ivec2(i * size / windows, ((i + 1u) * size + windows - 1u) / windows);
}
ivec2 clipped(uint i, uint stride, uint pad, uint kernel, uint size) {
    const int first = int(i * stride) - int(pad);
    return ivec2(max(first, 0), min(first + int(kernel), int(size)));
}
