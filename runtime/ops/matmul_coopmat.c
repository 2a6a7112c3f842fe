// SPDX-License-Identifier: Apache-2.0
#include "ops/matmul.h"

bool vkd__matmul_coopmat(const vkd__lower *l, const vkd__matmul_part *q) {
    const vkd__coop *c = &l->profile->coop;
    const vkd_dtype half = vkd__half_of(l);
    return c->m && !q->sums && ((half == VKD_F16 && c->f16) || (half == VKD_BF16 && c->bf16));
}

void vkd__matmul_size_coopmat(vkd__lower *l, vkd__launch *launch, const vkd__matmul_part *q) {
    const vkd_profile *f = l->profile;
    const struct vkd_matmul_params *push = &q->push;
    const vkd__coop *c = &f->coop;
    const vkd__coop_tile *t = &c->tile[vkd__matmul_classify(f, push->M, push->N, push->batch)];
    launch->subgroup = c->subgroup;
    vkd__spec(launch, 0, c->subgroup * t->sub_m * t->sub_n);
    vkd__spec(launch, 3, t->m);
    vkd__spec(launch, 4, t->n);
    vkd__spec(launch, 5, t->k);
    vkd__spec(launch, 6, t->sub_n);
    vkd__spec(launch, 7, c->subgroup);
    vkd__spec(launch, 17, push->M % t->m == 0);
    vkd__spec(launch, 18, push->N % t->n == 0);
    vkd__spec(launch, 19, push->K % t->k == 0);
    vkd__spec(launch, 21, c->m);
    vkd__spec(launch, 22, c->n);
    vkd__spec(launch, 23, c->k);
    vkd__matmul_groups(l, launch, q, t->m, t->n);
}
