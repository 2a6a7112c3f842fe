// SPDX-License-Identifier: Apache-2.0
/* Fisher and Yates's shuffle, drawn by Philox. A draw below n is bits * n / 2^32, whose bias is
 * under n / 2^32: for a million samples less than a four-thousandth of the chance itself.
 *
 * Batches made of classes, as metric learning wants them (Sohn, "Improved deep metric learning with
 * multi-class N-pair loss objective", NIPS 2016): each class's samples are shuffled and dealt in
 * groups of per_class, G = batch / per_class groups a batch, at most k of one class, k = 1 where
 * there are G classes. Of g_c groups of class c, T batches can be made if and only if
 *
 *   sum_c min(g_c, k T) >= G T
 *
 * so an epoch has the most batches T that this allows. The groups that are too many are dropped by
 * lot. With R batches to make, R G groups are left and no class has more than k R of them; whoever
 * has more than k (R - 1) must give the difference now, the rest is drawn in proportion to what is
 * left, and both facts hold for R - 1. So no batch ever lacks a class. */
#include "train/order.h"

#include <string.h>

#include "base/philox.h"

/* ---- Draws ---- */

typedef struct draws {
    uint32_t seed, stream, epoch, count;
    vkd__philox bits;
} draws;

static uint32_t draw_below(draws *d, uint32_t n) {
    if (d->count % 4 == 0) d->bits = vkd__philox_at(d->seed, d->stream, d->epoch, d->count / 4);
    return (uint32_t)(((uint64_t)d->bits.v[d->count++ % 4] * n) >> 32);
}

static void shuffle(draws *d, uint32_t *v, uint32_t count) {
    for (uint32_t i = 0; i + 1 < count; i++) {
        const uint32_t j = i + draw_below(d, count - i);
        const uint32_t swap = v[i];
        v[i] = v[j];
        v[j] = swap;
    }
}

/* The class that a lot falls on, each with as many as `left` says, where `here` is below `most`. */
static uint32_t draw_class(draws *d, const vkd__order *o, uint32_t most) {
    uint32_t all = 0;
    for (uint32_t c = 0; c < o->classes; c++)
        all += o->here[c] < most ? o->left[c] : 0;
    uint32_t lot = draw_below(d, all);
    for (uint32_t c = 0;; c++) {
        const uint32_t lots = o->here[c] < most ? o->left[c] : 0;
        if (lot < lots) return c;
        lot -= lots;
    }
}

/* ---- What takes part ---- */

static bool contains(const vkd__u32s *list, int32_t label) {
    for (uint32_t i = 0; i < list->count; i++)
        if (label >= 0 && (uint32_t)label == list->v[i]) return true;
    return false;
}

static bool takes_part(const vkd__order_desc *desc, int32_t label) {
    if (desc->classes && desc->classes->count && !contains(desc->classes, label)) return false;
    return !desc->omit || !contains(desc->omit, label);
}

/* How many groups of a class an epoch of so many batches uses. */
static uint64_t usable(const vkd__order *o, uint32_t c, uint64_t batches) {
    const uint64_t groups = (o->start[c + 1] - o->start[c]) / o->per_class;
    return groups < o->most * batches ? groups : o->most * batches;
}

static bool can_make(const vkd__order *o, uint64_t batches) {
    uint64_t sum = 0;
    for (uint32_t c = 0; c < o->classes; c++)
        sum += usable(o, c, batches);
    return sum >= batches * (o->batch / o->per_class);
}

/* What it takes grows as fast as the batches, what there is more and more slowly: where one number
 * of batches cannot be made, no larger one can. */
static void count_batches(vkd__order *o) {
    const uint32_t groups = o->batch / o->per_class;
    uint32_t rich = 0; /* classes that can give a group */
    for (uint32_t c = 0; c < o->classes; c++)
        rich += o->start[c + 1] - o->start[c] >= o->per_class;
    if (!rich) return;
    o->most = (uint32_t)vkd__div_up(groups, rich);
    uint32_t low = 0, high = o->count / o->batch;
    while (low < high) {
        const uint32_t middle = high - (high - low) / 2;
        if (can_make(o, middle))
            low = middle;
        else
            high = middle - 1;
    }
    o->steps = low;
}

/* The pool by class, each ascending. */
static vkd_result sort_by_class(vkd_ctx *ctx, vkd__order *o, const int32_t *labels) {
    for (uint32_t i = 0; i < o->count; i++)
        if ((uint32_t)labels[o->pool[i]] >= o->classes)
            o->classes = (uint32_t)labels[o->pool[i]] + 1;
    o->start = vkd__alloc(ctx, (size_t)o->classes + 2, sizeof *o->start);
    o->left = vkd__alloc(ctx, (size_t)o->classes + 1, sizeof *o->left);
    o->next = vkd__alloc(ctx, (size_t)o->classes + 1, sizeof *o->next);
    o->here = vkd__alloc(ctx, (size_t)o->classes + 1, sizeof *o->here);
    o->deck = vkd__alloc(ctx, (size_t)o->count + 1, sizeof *o->deck);
    if (!o->start || !o->left || !o->next || !o->here || !o->deck) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < o->count; i++)
        o->start[labels[o->pool[i]] + 1]++;
    for (uint32_t c = 0; c < o->classes; c++) {
        o->start[c + 1] += o->start[c];
        o->next[c] = o->start[c];
    }
    memcpy(o->deck, o->pool, o->count * sizeof *o->deck);
    for (uint32_t i = 0; i < o->count; i++)
        o->pool[o->next[labels[o->deck[i]]]++] = o->deck[i];
    return VKD_OK;
}

vkd_result vkd__order_from(vkd_ctx *ctx, vkd__order *o, uint32_t seed, const char *name,
                           const uint32_t *pool, uint32_t count, uint32_t batch) {
    *o = (vkd__order){.seed = seed,
                      .stream = vkd__philox_stream(name),
                      .batch = batch,
                      .count = count,
                      .steps = count / batch,
                      .epoch = UINT64_MAX};
    o->pool = vkd__alloc(ctx, (size_t)count + 1, sizeof *o->pool);
    o->index = vkd__alloc(ctx, (size_t)count + 1, sizeof *o->index);
    if (!o->pool || !o->index) {
        vkd__order_term(ctx, o);
        return VKD_E_MEMORY;
    }
    memcpy(o->pool, pool, count * sizeof *pool);
    return VKD_OK;
}

vkd_result vkd__order_init(vkd_ctx *ctx, vkd__order *o, const vkd__order_desc *desc) {
    const size_t samples = desc->end > desc->first ? desc->end - desc->first : 0;
    VKD_ASSERT(desc->batch && (!desc->per_class || desc->batch % desc->per_class == 0));
    *o = (vkd__order){.seed = desc->seed,
                      .stream = vkd__philox_stream(desc->name),
                      .batch = desc->batch,
                      .per_class = desc->per_class,
                      .epoch = UINT64_MAX};
    o->pool = vkd__alloc(ctx, samples + 1, sizeof *o->pool);
    o->index = vkd__alloc(ctx, samples + 1, sizeof *o->index);
    vkd_result r = o->pool && o->index ? VKD_OK : VKD_E_MEMORY;
    for (uint32_t i = desc->first; !r && i < desc->end; i++)
        if (takes_part(desc, desc->labels[i])) o->pool[o->count++] = i;
    o->steps = o->count / o->batch;
    if (!r && o->per_class) {
        o->steps = 0;
        r = sort_by_class(ctx, o, desc->labels);
        if (!r) count_batches(o);
    }
    if (r) vkd__order_term(ctx, o);
    return r;
}

void vkd__order_term(vkd_ctx *ctx, vkd__order *o) {
    uint32_t *const arrays[] = {o->pool, o->index, o->start, o->left, o->next, o->here, o->deck};
    for (size_t i = 0; i < VKD_COUNT(arrays); i++)
        vkd__free(ctx, arrays[i]);
    *o = (vkd__order){0};
}

/* ---- An epoch ---- */

/* Shuffles each class, and drops groups by lot until there are as many as the batches have. */
static void deal(vkd__order *o, draws *d) {
    uint64_t groups = 0;
    memcpy(o->deck, o->pool, o->count * sizeof *o->deck);
    for (uint32_t c = 0; c < o->classes; c++) {
        shuffle(d, o->deck + o->start[c], o->start[c + 1] - o->start[c]);
        o->left[c] = (uint32_t)usable(o, c, o->steps);
        o->next[c] = o->start[c];
        o->here[c] = 0;
        groups += o->left[c];
    }
    for (; groups > (uint64_t)o->steps * (o->batch / o->per_class); groups--)
        o->left[draw_class(d, o, 1)]--;
}

static uint32_t *give_group(vkd__order *o, uint32_t c, uint32_t *to) {
    memcpy(to, o->deck + o->next[c], o->per_class * sizeof *to);
    o->next[c] += o->per_class;
    o->left[c]--;
    o->here[c]++;
    return to + o->per_class;
}

static void make_batches(vkd__order *o, draws *d) {
    uint32_t *to = o->index;
    for (uint32_t after = o->steps; after-- > 0;) {
        const uint32_t *end = to + o->batch;
        memset(o->here, 0, o->classes * sizeof *o->here);
        for (uint32_t c = 0; c < o->classes; c++)
            while (o->left[c] > (uint64_t)o->most * after)
                to = give_group(o, c, to);
        while (to < end)
            to = give_group(o, draw_class(d, o, o->most), to);
    }
}

const uint32_t *vkd__order_epoch(vkd__order *o, uint64_t epoch) {
    if (epoch == o->epoch) return o->index;
    draws d = {.seed = o->seed, .stream = o->stream, .epoch = (uint32_t)epoch};
    if (o->per_class) {
        deal(o, &d);
        make_batches(o, &d);
    } else {
        memcpy(o->index, o->pool, o->count * sizeof *o->index);
        shuffle(&d, o->index, o->count);
    }
    o->epoch = epoch;
    return o->index;
}
