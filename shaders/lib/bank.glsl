// SPDX-License-Identifier: Apache-2.0
// One term of noise-contrastive estimation over a memory bank; formula in runtime/ops/bank_nce.c.

layout(constant_id = 11) const uint GRADIENT = 0;
layout(constant_id = 12) const uint ONLY_SUMS = 0; // for the constant, and none where it is there
layout(constant_id = 14) const uint QUADS = 32;    // of a row

layout(push_constant) uniform Params { vkd_bank_nce_params p; };

struct bank_term {
    float sum, value, weight; // exp(score / temperature), the loss, its derivative by the score
};

// Of a choice with that score; choice 0 is the positive one.
bank_term bank_score(float score, uint choice, float inverse_constant) {
    bank_term t;
    t.sum = exp(score * p.sharpness);
    const float P = t.sum * inverse_constant;
    const float a = choice == 0u ? p.floor / P : (P + (p.floor - p.noise)) / p.noise;
    const float r = choice == 0u ? 1.0 + a : (P + p.floor) / p.noise;
    t.value = log_near_one(r, a);
    t.weight = (choice == 0u ? -p.floor : P) / (P + p.floor) * p.sharpness * p.share;
    return t;
}
