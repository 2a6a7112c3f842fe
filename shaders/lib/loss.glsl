// SPDX-License-Identifier: Apache-2.0
// What the fused row losses share: masks, and divergences that do not cancel. Included after
// io.glsl and row.glsl; runtime/ops/row_loss.h is the host's half.

layout(constant_id = 11) const uint GRADIENT = 0; // write the gradient too, times dout
layout(push_constant) uniform Params { vkd_loss_params p; };

// What a masked logit, or one beyond the row's end, becomes: finite, so that no arithmetic here
// depends on how a driver treats infinities, and so low that its exponential is 0 beside any other.
const float MASKED = -1e38;

vec4 loss_logits(vec4 x, float factor) {
    return mix(x * factor, vec4(MASKED), lessThan(x, vec4(MASKED)));
}
#define LOSS_LOAD(x, row, q, factor) loss_logits(ROW_LOAD(x, row, p.V, q, ROW_LOWEST), factor)

bvec4 loss_masked(vec4 x) {
    return lessThanEqual(x, vec4(MASKED));
}
// x without the classes that y masks.
vec4 loss_hide(vec4 x, vec4 y) {
    return mix(x, vec4(MASKED), loss_masked(y));
}
// Whether a row, by its largest element and its sum, has a class left. A NaN keeps it alive, so
// that it shows.
bool loss_live(vec2 z) {
    return !(z.x <= MASKED && z.y >= 0.0);
}

#include "lib/log.glsl"
vec4 loss_log(vec4 r, vec4 a) {
    return log_near_one(r, a);
}
float loss_log(float r) {
    return loss_log(vec4(r), vec4(r - 1.0)).x;
}

// pp log(pp / qq) - pp + qq, from the logarithms and the probabilities: KL(pp || qq) when summed,
// since both sum to 1, but each term is at least 0, so that nothing cancels between near-equal
// rows, and an error in the normalisation of pp or qq counts only in second order. With
// x = log(qq/pp) it is pp (e^x - 1 - x). A class with pp = 0 gives qq; one masked in qq must be
// masked in pp.
vec4 loss_kl(vec4 lp, vec4 lq, vec4 pp, vec4 qq) {
    const vec4 x = lq - lp;
    const vec4 series =
        1.0 / 2.0 +
        x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x * (1.0 / 720.0 + x / 5040.0))));
    return mix(qq - pp - pp * x, pp * x * x * series, lessThan(abs(x), vec4(0.5)));
}
