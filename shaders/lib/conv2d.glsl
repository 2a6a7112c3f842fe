// SPDX-License-Identifier: Apache-2.0
// Where a convolution's rows lie, for kernels with vkd_conv2d_params `p`, the constants CHANNELS and TAPS_W and the
// result `y`.

// Of these blocks of the result only the first pixel is a row of the product: the others meet no tap.
layout(constant_id = 18) const uint GAP_H = 1;
layout(constant_id = 19) const uint GAP_W = 1;

// Row m of the product: the image's pixel under tap (0, 0), and the result's pixel.
struct place {
    int first;    // element of the image, perhaps outside
    ivec2 origin; // its y and x
    uint result;  // element of the result
};

place place_of(uint m, uint item) {
    const uint row = m / p.grid_w, image_index = row / p.grid_h;
    const uint gx = m - row * p.grid_w, gy = row - image_index * p.grid_h;
    place at;
    at.origin = ivec2(gy, gx) * ivec2(p.step_y, p.step_x) + ivec2(p.base_y, p.base_x);
    const int pixel = (int(image_index * p.in_h) + at.origin.x) * int(p.in_w) + at.origin.y;
    at.first = pixel * int(p.in_c) + int(item * CHANNELS);
    at.result = p.out_first + image_index * p.out_image + gy * p.out_row + gx * p.out_pixel + item * p.N;
    return at;
}

// k as tap row, tap column, channel.
uvec3 tap_of(uint k) {
    const uint tap = k / CHANNELS, row = tap / TAPS_W;
    return uvec3(row, tap - row * TAPS_W, k - tap * CHANNELS);
}

// How far a tap lies from tap (0, 0): in y and x, and with the channel in elements of the image.
ivec2 step_of(uvec3 tap) {
    return ivec2(tap.xy) * ivec2(p.tap_y, p.tap_x);
}
int offset_of(uvec3 tap) {
    const ivec2 by = step_of(tap);
    return (by.x * int(p.in_w) + by.y) * int(p.in_c) + int(tap.z);
}

bool inside(ivec2 at) {
    return uint(at.x) < p.in_h && uint(at.y) < p.in_w;
}

// The weight's element for a tap, its channel and channel n of the result.
uint weight_of(uvec3 tap, uint n, uint item) {
    const uint base = p.w_first + item * p.w_group + tap.x * p.w_row + tap.y * p.w_tap;
    return base + (TRANSPOSED != 0u ? tap.z * p.w_line + n : n * p.w_line + tap.z);
}

// Zeros in the other pixels of a block, whose first one has element e.
void clear_gaps(uint e) {
    [[unroll]] for (uint i = 1u; i < GAP_H * GAP_W; ++i) {
        y[(e + (i / GAP_W) * (p.out_row / GAP_H) + (i % GAP_W) * (p.out_pixel / GAP_W)) >> 2] = vec4(0.0);
    }
}
