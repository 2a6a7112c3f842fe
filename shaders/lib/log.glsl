// SPDX-License-Identifier: Apache-2.0
// log r, where a = r - 1 is known better than r: the built-in logarithm is only good to 2^-21
// around 1.
vec4 log_near_one(vec4 r, vec4 a) {
    const vec4 s = a / (2.0 + a), s2 = s * s;
    const vec4 near =
        2.0 * s *
        (1.0 +
         s2 * (1.0 / 3.0 +
               s2 * (1.0 / 5.0 +
                     s2 * (1.0 / 7.0 + s2 * (1.0 / 9.0 + s2 * (1.0 / 11.0 + s2 * (1.0 / 13.0)))))));
    const bvec4 is_near = lessThan(abs(a - 0.25), vec4(0.75));
    return mix(mix(log(max(r, vec4(1e-37))), near, is_near), r, isnan(r));
}
float log_near_one(float r, float a) {
    const float s = a / (2.0 + a), s2 = s * s;
    const float near =
        2.0 * s *
        (1.0 +
         s2 * (1.0 / 3.0 +
               s2 * (1.0 / 5.0 +
                     s2 * (1.0 / 7.0 + s2 * (1.0 / 9.0 + s2 * (1.0 / 11.0 + s2 * (1.0 / 13.0)))))));
    return isnan(r) ? r : abs(a - 0.25) < 0.75 ? near : log(max(r, 1e-37));
}
