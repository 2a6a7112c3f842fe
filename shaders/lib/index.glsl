// SPDX-License-Identifier: Apache-2.0
// Which element a vec4 holds. A quad is four neighbouring elements, 4*quad to 4*quad + 3.

// Zeros beyond `count`: storage behind a tensor's last element may be padding that must stay zero.
vec4 keep4(vec4 v, uint quad, uint count) {
    const uint left = count - 4u * quad;
    return mix(vec4(0.0), v, lessThan(uvec4(0, 1, 2, 3), uvec4(left)));
}
