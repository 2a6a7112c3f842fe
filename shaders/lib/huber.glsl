// SPDX-License-Identifier: Apache-2.0
// The loss of Huber with threshold 1: e^2 / 2 where |e| <= 1, else |e| - 1/2; g is its derivative. A NaN
// stays one: in the value, and so in the norm of any step that has it.
vec4 huber_slope(vec4 e) {
    return clamp(e, -1.0, 1.0);
}
vec4 huber(vec4 e, vec4 g) {
    return g * (e - 0.5 * g);
}
