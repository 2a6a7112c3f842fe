// SPDX-License-Identifier: Apache-2.0
// A quad of channels of the pixels that a run's taps read in one row, for kernels that declare `image`, `p`, RUN,
// STEP and TAPS_W. The run's first tap is at (y, x) of the image; what lies outside becomes zero, and is not read.

// Rows of taps: a CPU device wants their elements at constant places, a GPU few registers.
#ifdef VKD_DIRECT
#define EACH_ROW [[unroll]]
#else
#define EACH_ROW [[dont_unroll]]
#endif

const uint WINDOW = (RUN - 1) * STEP + TAPS_W;

vec4 window[WINDOW];
void fetch_window(uint image_index, int y, int x, uint quad) {
    const uint quads = p.in_c / 4u, row = (image_index * p.in_h + uint(clamp(y, 0, int(p.in_h) - 1))) * p.in_w;
    const bool valid = uint(y) < p.in_h;
    [[unroll]] for (uint j = 0u; j < WINDOW; ++j) {
        const int at = x + int(j);
        const vec4 v = LOAD4(image, (row + uint(clamp(at, 0, int(p.in_w) - 1))) * quads + quad);
        window[j] = valid && uint(at) < p.in_w ? v : vec4(0.0);
    }
}
