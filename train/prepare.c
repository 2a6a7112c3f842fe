// SPDX-License-Identifier: Apache-2.0
/* Before a phase's first step, losses see the training split and may fill their states from it. */
#include "train/session.h"

vkd_result vkd__term_prepare(const vkd__session *s, const vkd__phase *p, uint32_t term) {
    const vkd__term *t = &p->terms[term];
    char adapters[VKD__ADAPTERS_NAME];
    vkd__order order = {0};
    if (!t->def->prepare) return VKD_OK;
    vkd__adapters_name(p, t, adapters);
    const vkd__order_desc desc = vkd__stage_order(s, p->stage);
    vkd_result r = vkd__order_init(s->ctx, &order, &desc);
    const vkd__loss_split split = {.adapters = adapters,
                                   .labels = s->data->train.labels,
                                   .samples = s->data->train.count,
                                   .classes = s->data->classes,
                                   .used = order.pool,
                                   .used_count = order.count,
                                   .seed = s->seed};
    if (!r) r = t->def->prepare(s->ctx, s->store, &split, t->config);
    vkd__order_term(s->ctx, &order);
    return r;
}
