// SPDX-License-Identifier: Apache-2.0
/* Retrieval among the test samples of some classes, which may be classes that no stage has seen:
 *
 *   recall@1 = share of them whose nearest other one is of their class
 *
 * by the Euclidean distance of a tap, all of a sample in one row, in single precision as the tap
 * itself; of several nearest ones the first counts. Song et al., arXiv:1511.06452, section 5; Park
 * et al., arXiv:1904.05068, section 4.1. */
#include <math.h>
#include <string.h>

#include "train/retrieval.h"

/* Candidates side by side, so that a compiler may compute their distances together. */
enum { LANES = 16 };

/* Rows of `width` as blocks of LANES columns: element d of row n is at (n / LANES, d, n % LANES).
 */
static float *blocked(vkd_ctx *ctx, const float *rows, uint32_t count, uint32_t width) {
    float *out = vkd__alloc(ctx, vkd__div_up(count, LANES) * LANES * (uint64_t)width, sizeof *out);
    for (size_t n = 0; out && n < count; n++)
        for (size_t d = 0; d < width; d++)
            out[(n / LANES * width + d) * LANES + n % LANES] = rows[n * width + d];
    return out;
}

static void distances(const float *query, const float *block, uint32_t width, float *out) {
    for (size_t l = 0; l < LANES; l++)
        out[l] = 0;
    for (size_t d = 0; d < width; d++)
        for (size_t l = 0; l < LANES; l++) {
            const float gap = query[d] - block[d * LANES + l];
            out[l] += gap * gap;
        }
}

static uint32_t nearest(const float *rows, const float *blocks, uint32_t count, uint32_t width,
                        uint32_t query) {
    float best = INFINITY;
    uint32_t found = query;
    for (uint32_t first = 0; first < count; first += LANES) {
        float d[LANES];
        distances(rows + (size_t)query * width, blocks + (size_t)first * width, width, d);
        for (uint32_t l = 0; l < LANES && first + l < count; l++)
            if (first + l != query && d[l] < best) {
                best = d[l];
                found = first + l;
            }
    }
    return found;
}

vkd_result vkd__recall_at_1(vkd_ctx *ctx, const float *rows, const int32_t *labels, uint32_t count,
                            uint32_t width, double *out) {
    *out = NAN;
    if (count < 2) return VKD_OK;
    float *blocks = blocked(ctx, rows, count, width);
    if (!blocks) return VKD_E_MEMORY;
    uint32_t right = 0;
    for (uint32_t n = 0; n < count; n++) {
        const uint32_t other = nearest(rows, blocks, count, width, n);
        right += other != n && labels[other] == labels[n]; /* a NaN has no neighbour */
    }
    vkd__free(ctx, blocks);
    *out = (double)right / count;
    return VKD_OK;
}

static bool wanted(const vkd__retrieval *r, int32_t label) {
    for (uint32_t i = 0; i < r->classes.count; i++)
        if (label >= 0 && (uint32_t)label == r->classes.v[i]) return true;
    return !r->classes.count;
}

/* Moves the rows of the wanted classes to the front; returns how many there are. */
static uint32_t select_rows(const vkd__retrieval *r, const int32_t *all, uint32_t tests,
                            uint32_t width, float *rows, int32_t *labels) {
    uint32_t count = 0;
    for (uint32_t n = 0; n < tests; n++) {
        if (!wanted(r, all[n])) continue;
        memmove(rows + (size_t)count * width, rows + (size_t)n * width, width * sizeof *rows);
        labels[count++] = all[n];
    }
    return count;
}

vkd_result vkd__retrieve(vkd__session *s, const vkd__recipe_model *m, const char *group,
                         double *out) {
    const vkd__retrieval *asked = &s->recipe->evaluation.retrieval;
    const vkd__split *test = &s->data->test;
    float *rows = NULL;
    uint32_t width = 0;
    *out = NAN;
    if (!asked->tap || !test->count) return VKD_OK;
    int32_t *labels = vkd__alloc(s->ctx, test->count, sizeof *labels);
    vkd_result r = labels ? vkd__infer_tap(s, m, group, asked->tap, &rows, &width) : VKD_E_MEMORY;
    if (!r) {
        const uint32_t count = select_rows(asked, test->labels, test->count, width, rows, labels);
        r = vkd__recall_at_1(s->ctx, rows, labels, count, width, out);
    }
    vkd__free(s->ctx, rows);
    vkd__free(s->ctx, labels);
    return r;
}

vkd_result vkd__retrieval_check(const vkd__session *s) {
    const vkd__retrieval *r = &s->recipe->evaluation.retrieval;
    for (uint32_t i = 0; i < r->classes.count; i++)
        if (r->classes.v[i] >= s->data->classes)
            return vkd__fail(s->ctx, VKD_E_RECIPE,
                             "evaluation.retrieval names class %u, the data has %u",
                             (unsigned)r->classes.v[i], (unsigned)s->data->classes);
    return VKD_OK;
}
