// SPDX-License-Identifier: Apache-2.0
// A run of pixels of an image (..., in_w, CHANNELS) whose channels are no whole quads, for kernels that declare
// `image`, `p`, CHANNELS and PIXELS, and set image_last.

uint image_last; // its last quad

const uint FLOATS = PIXELS * CHANNELS;
const uint RAW_QUADS = (FLOATS + 3 + 3) / 4; // as many as hold them, wherever the first one lies in its quad

// FLOATS values from element `first` of the image on, which is pixel `x` of its row: shifted to their place by
// the two bits of where it lies. What lies outside the row, or all where the row is outside, becomes zero: by
// masking, where a product with zero would let a NaN through.
float row_floats[FLOATS];
void fetch_floats(int first, int x, bool valid) {
    float raw[RAW_QUADS * 4];
    [[unroll]] for (uint q = 0u; q < RAW_QUADS; ++q) {
        // Reads outside meet the bound, below zero too, as large numbers.
        const vec4 v = LOAD4(image, min(uint((first >> 2) + int(q)), image_last));
        [[unroll]] for (uint c = 0u; c < 4u; ++c) {
            raw[4u * q + c] = v[c];
        }
    }
    const bool one = (first & 1) != 0, two = (first & 2) != 0;
    [[unroll]] for (uint i = 0u; i < FLOATS + 2u; ++i) {
        raw[i] = one ? raw[i + 1u] : raw[i];
    }
    [[unroll]] for (uint i = 0u; i < FLOATS; ++i) {
        const bool inside = valid && uint(x + int(i / CHANNELS)) < p.in_w;
        const float v = two ? raw[i + 2u] : raw[i];
        row_floats[i] = uintBitsToFloat(floatBitsToUint(v) & (inside ? ~0u : 0u));
    }
}
