// SPDX-License-Identifier: Apache-2.0
// How a product's kernels store C: quads of sums plus bias and residual, through the activation, added to C
// or in its place, in 32 bits or in 16.
//
// Before including, declare the parameters p, the inputs bias and residual, the output c, and the constants
// ACTIVATION, HAS_BIAS, HAS_RESIDUAL, ACCUMULATE, C_SHIFTED and N_WHOLE; with VKD_HALF also C_HALF and c16.
#include "lib/activation.glsl"

void store_quad(uint i, vec4 v) {
#ifdef VKD_HALF
    if (C_HALF != 0u) {
        c16[i] = pack4(v);
        return;
    }
#endif
    c[i] = ACCUMULATE != 0u ? v + c[i] : v;
}

// The bias of columns n to n + 3. What lies behind the last is never stored.
vec4 bias_of(uint n) {
    return HAS_BIAS != 0u ? LOAD4(bias, n >> 2) : vec4(0.0);
}

// Row m, columns n to n + 3 of one item's C: sums with their bias.
void store_sums_of(uint item, uint m, uint n, vec4 v) {
    const uint e = item * p.stride_c + m * p.N + n;
    if (C_SHIFTED == 0u) {
        if (HAS_RESIDUAL != 0u) v += LOAD4(residual, e >> 2);
        store_quad(e >> 2, act(ACTIVATION, v));
        return;
    }
    const uint valid = N_WHOLE != 0u ? 4u : min(p.N - n, 4u);
    if (HAS_RESIDUAL != 0u) {
        [[unroll]] for (uint j = 0u; j < 4u; ++j) {
            if (j < valid) v[j] += LOAD1(residual, e + j);
        }
    }
    v = act(ACTIVATION, v);
    [[unroll]] for (uint j = 0u; j < 4u; ++j) {
        if (j < valid) {
            const float old = ACCUMULATE != 0u ? c[(e + j) >> 2][(e + j) & 3u] : 0.0;
            STORE1(c, e + j, v[j] + old);
        }
    }
}
