// SPDX-License-Identifier: Apache-2.0
#include "base/philox.h"

#include <string.h>

#include "base/base.h"

vkd__philox vkd__philox_at(uint32_t seed, uint32_t stream, uint32_t step, uint32_t index) {
    uint32_t c0 = index, c1 = step, c2 = 0, c3 = 0, k0 = seed, k1 = stream;
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* the golden ratio and sqrt(3)-1: the paper's Weyl constants */
        k1 += 0xBB67AE85u;
    }
    return (vkd__philox){{c0, c1, c2, c3}};
}

uint32_t vkd__philox_stream(const char *name) {
    const uint64_t h = vkd__hash(VKD__HASH_SEED, name, strlen(name));
    return (uint32_t)(h ^ (h >> 32));
}
