// SPDX-License-Identifier: Apache-2.0
// What products without shared memory share: one subgroup computes ROWS x 4*COL_LANES elements, a lane a
// quad of columns in every row. With COL_LANES < LANES the subgroup falls into parts that share the columns
// and divide k.
//
// Before including, declare the constants LANES, ROWS, COL_LANES and KC.

const uint PARTS = LANES / COL_LANES;
const uint KQ = KC / 4;
const uint TILE_N = 4 * COL_LANES;

vec4 shuffle4(vec4 v, uint lane) {
    return vec4(subgroupShuffle(v.x, lane), subgroupShuffle(v.y, lane), subgroupShuffle(v.z, lane),
                subgroupShuffle(v.w, lane));
}

// Masking, where a product with zero would let a NaN through; and not selecting, which costs more.
vec4 keep(vec4 v, bool valid) {
    return uintBitsToFloat(floatBitsToUint(v) & uvec4(valid ? ~0u : 0u));
}
