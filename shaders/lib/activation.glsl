// SPDX-License-Identifier: Apache-2.0
// Element-wise functions of one argument, four values at a time, for the unary kernels and for the
// epilogues of others. `kind` is a specialization constant, so that a driver drops what it does not
// select; 0 to 6 are vkd_activation of vkdistill.h, the rest are runtime/ops/unary.c's.
const uint ACT_NONE = 0u;
const uint ACT_RELU = 1u;
const uint ACT_GELU = 2u;
const uint ACT_SILU = 3u;
const uint ACT_TANH = 4u;
const uint ACT_SIGMOID = 5u;
const uint ACT_RELU6 = 6u;
const uint ACT_EXP = 7u;
const uint ACT_LOG = 8u;
const uint ACT_SQRT = 9u;
const uint ACT_SQUARE = 10u;

// erf near zero is x P(x^2), and beyond one 1 - exp(-Q(|x|)), both fitted by minimax to 1e-7. Q keeps
// growing like x^2 where the fit has ended (at 4), so that exp(-Q) fades to 0 as erfc does.
vec4 erf_near(vec4 x) {
    const vec4 u = min(x * x, vec4(1.0));
    vec4 p = vec4(7.88846053e-5);
    p = p * u - 8.02064373e-4;
    p = p * u + 5.1895133e-3;
    p = p * u - 2.68544331e-2;
    p = p * u + 1.128359e-1;
    p = p * u - 3.76126259e-1;
    p = p * u + 1.12837911;
    return x * p;
}
vec4 erfc_far(vec4 x) {
    const vec4 z = clamp(abs(x), vec4(1.0), vec4(12.0));
    vec4 q = vec4(2.16868097e-5);
    q = q * z - 4.41335898e-4;
    q = q * z + 4.20455961e-3;
    q = q * z - 2.52082497e-2;
    q = q * z + 1.08418569e-1;
    q = q * z + 6.3321990e-1;
    q = q * z + 1.12957847;
    q = q * z - 1.88039063e-4;
    return exp(-q);
}
// The normal distribution function, 0.5 (1 + erf(x / sqrt 2)), without that form's cancellation for
// negative x.
vec4 normal_cdf(vec4 x) {
    const vec4 z = x * 0.70710678;
    const vec4 tail = 0.5 * erfc_far(z);
    const vec4 far = mix(tail, 1.0 - tail, greaterThan(z, vec4(0.0)));
    return mix(far, 0.5 + 0.5 * erf_near(z), lessThan(abs(z), vec4(1.0)));
}

// tanh: near zero a series keeps the relative error small; beyond, exp(-2|x|) cannot overflow.
vec4 tanh4(vec4 x) {
    const vec4 u = x * x;
    vec4 p = vec4(2.06505731e-2) - 5.71703043e-3 * u;
    p = p * u - 5.37434933e-2;
    p = p * u + 1.33314912e-1;
    p = p * u - 3.33332839e-1;
    const vec4 e = exp(-2.0 * abs(x));
    return mix(sign(x) * (1.0 - e) / (1.0 + e), x + x * u * p, lessThan(abs(x), vec4(0.625)));
}

// For x < -88 exp(-x) is infinite and its inverse the right 0; the bound keeps it finite all the same.
vec4 sigmoid4(vec4 x) {
    return 1.0 / (1.0 + exp(-max(x, vec4(-87.0))));
}

vec4 act(uint kind, vec4 x) {
    if (kind == ACT_RELU) return mix(x, vec4(0.0), lessThan(x, vec4(0.0))); // keeps a NaN, max may not
    if (kind == ACT_GELU) return x * normal_cdf(x);
    if (kind == ACT_SILU) return x * sigmoid4(x);
    if (kind == ACT_TANH) return tanh4(x);
    if (kind == ACT_SIGMOID) return sigmoid4(x);
    if (kind == ACT_RELU6) {
        const vec4 v = mix(x, vec4(0.0), lessThan(x, vec4(0.0)));
        return mix(v, vec4(6.0), greaterThan(v, vec4(6.0)));
    }
    if (kind == ACT_EXP) return exp(x);
    if (kind == ACT_LOG) { // which GLSL leaves undefined at 0
        const vec4 y = mix(log(x), x, isnan(x));
        return mix(y, vec4(uintBitsToFloat(0xff800000u)), equal(x, vec4(0.0)));
    }
    if (kind == ACT_SQRT) return sqrt(x);
    if (kind == ACT_SQUARE) return x * x;
    return x;
}

// The derivative; v is the result y where that is cheaper (relu, tanh, sigmoid, relu6, exp, sqrt), else
// the argument x.
vec4 act_grad(uint kind, vec4 v) {
    if (kind == ACT_RELU) return mix(vec4(0.0), vec4(1.0), greaterThan(v, vec4(0.0)));
    if (kind == ACT_GELU) {
        // The density is 0 in f32 from 14 on; the bound keeps infinity times 0 out.
        const vec4 x = clamp(v, vec4(-40.0), vec4(40.0));
        return normal_cdf(x) + x * exp(-0.5 * x * x) * 0.39894228;
    }
    if (kind == ACT_SILU) {
        const vec4 s = sigmoid4(v);
        return s + v * s * (1.0 - s);
    }
    if (kind == ACT_TANH) return 1.0 - v * v;
    if (kind == ACT_SIGMOID) return v * (1.0 - v);
    if (kind == ACT_RELU6)
        return mix(vec4(0.0), vec4(1.0),
                   bvec4(uvec4(greaterThan(v, vec4(0.0))) & uvec4(lessThan(v, vec4(6.0)))));
    if (kind == ACT_EXP) return v;
    if (kind == ACT_LOG) return 1.0 / v;
    if (kind == ACT_SQRT) return 0.5 / v;
    if (kind == ACT_SQUARE) return 2.0 * v;
    return vec4(1.0);
}

// The derivative from the argument, of a vkd_activation; relu and relu6 see no difference.
vec4 act_slope(uint kind, vec4 x) {
    return act_grad(kind, kind == ACT_TANH || kind == ACT_SIGMOID ? act(kind, x) : x);
}
