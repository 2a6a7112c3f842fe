// SPDX-License-Identifier: Apache-2.0
#include "ops/matmul.h"

static vkd__matmul_class class_of(const vkd__lower *l, const vkd__matmul_part *q) {
    return vkd__matmul_classify(l->profile, q->push.M, q->push.N, q->push.batch);
}

/* A part of K below this is not worth the partial sums that it leaves to be written and read. */
#define SHORTEST_CHUNK 256u
/* More parts than this cost more memory traffic than idle workgroups do. */
#define MOST_SPLITS 16u

void vkd__matmul_split(const vkd__lower *l, vkd__matmul_part *q, bool coopmat) {
    const vkd__tile *tile = &l->profile->tile[class_of(l, q)];
    const vkd__coop_tile *coop = &l->profile->coop.tile[class_of(l, q)];
    const uint32_t m = coopmat ? coop->m : tile->m, n = coopmat ? coop->n : tile->n,
                   k = coopmat ? coop->k : tile->k;
    struct vkd_matmul_params *push = &q->push;
    const uint64_t tiles = vkd__div_up(push->M, m) * vkd__div_up(push->N, n) * push->batch;
    uint64_t splits = l->profile->fill_groups / tiles;
    if (splits > push->K / SHORTEST_CHUNK) splits = push->K / SHORTEST_CHUNK;
    if (splits > MOST_SPLITS) splits = MOST_SPLITS;
    /* All partial sums must fit into one binding. */
    const uint64_t bytes = 4ull * push->M * push->N * push->batch;
    if (splits > l->profile->max_binding / bytes) splits = l->profile->max_binding / bytes;
    if (splits < 2) return;
    push->chunk = (uint32_t)vkd__align_up(vkd__div_up(push->K, splits), k);
    push->splits = (uint32_t)vkd__div_up(push->K, push->chunk); /* no part is empty */
}

void vkd__matmul_size_tile(vkd__lower *l, vkd__launch *launch, const vkd__matmul_part *q) {
    const struct vkd_matmul_params *push = &q->push;
    const vkd__tile *t = &l->profile->tile[class_of(l, q)];
    vkd__spec(launch, 0, (uint32_t)(t->m / t->tm) * (t->n / t->tn));
    vkd__spec(launch, 3, t->m);
    vkd__spec(launch, 4, t->n);
    vkd__spec(launch, 5, t->k);
    vkd__spec(launch, 6, t->tm);
    vkd__spec(launch, 7, t->tn);
    vkd__spec(launch, 17, push->M % t->m == 0);
    vkd__spec(launch, 18, push->N % t->n == 0);
    vkd__spec(launch, 19, push->K % t->k == 0);
    vkd__matmul_groups(l, launch, q, t->m, t->n);
}

void vkd__matmul_groups(const vkd__lower *l, vkd__launch *launch, const vkd__matmul_part *q,
                        uint32_t m, uint32_t n) {
    const uint32_t *most = l->profile->max_groups;
    const uint64_t groups[3] = {vkd__div_up(q->push.N, n), vkd__div_up(q->push.M, m),
                                (uint64_t)q->push.batch * q->push.splits};
    for (uint32_t i = 0; i < 3; i++)
        launch->groups[i] = (uint32_t)(groups[i] < most[i] ? groups[i] : most[i]);
}
