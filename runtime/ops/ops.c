// SPDX-License-Identifier: Apache-2.0
#include "ops/op.h"

#include <string.h>

#define VKD_OP(name) &vkd_op_##name,
const vkd_op_def *const vkd__ops[] = {
#include "ops/ops.def"
    NULL};
#undef VKD_OP
const size_t vkd__op_count = VKD_COUNT(vkd__ops) - 1;

const vkd_op_def *vkd__op_find(const char *name) {
    for (size_t i = 0; i < vkd__op_count; i++)
        if (!strcmp(vkd__ops[i]->name, name)) return vkd__ops[i];
    return NULL;
}
