// SPDX-License-Identifier: Apache-2.0
/* Any bytes are rows or noise, line by line, however they are cut into pieces; series and events
 * can be used. */
#include <stdlib.h>
#include <string.h>

#include "train/metrics_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(const vkd_metrics_view *v) {
    for (uint32_t i = 0; i < v->phase_count; i++) {
        const vkd_metrics_phase *p = &v->phases[i];
        if (!*p->phase || !*p->stage) abort();
        for (uint32_t k = 0; k < p->series_count; k++)
            for (uint32_t n = 1; n < p->series[k].count; n++)
                if (!(p->series[k].steps[n] >= p->series[k].steps[n - 1])) abort();
    }
    for (uint32_t i = 0; i < v->event_count; i++)
        if (v->events[i].phase >= v->phase_count || strlen(v->events[i].text) > 2000) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vkd_ctx *ctx;
    if (vkd_ctx_create(NULL, &ctx)) return 0;
    const size_t cut = size ? bytes[0] * size / 256 : 0;
    vkd__metrics_rows *m[2] = {vkd__metrics_rows_create(ctx), vkd__metrics_rows_create(ctx)};
    vkd_metrics_view v[2] = {0};
    uint64_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += bytes[i] == '\n';
    if (!m[0] || !m[1] || vkd__metrics_rows_feed(m[0], bytes, size) ||
        vkd__metrics_rows_feed(m[1], bytes, cut) ||
        vkd__metrics_rows_feed(m[1], bytes + cut, size - cut))
        abort();
    for (int i = 0; i < 2; i++) {
        vkd__metrics_rows_view(m[i], &v[i]);
        check(&v[i]);
        if (v[i].rows + v[i].noise != lines) abort();
    }
    if (v[0].rows != v[1].rows || v[0].phase_count != v[1].phase_count ||
        v[0].event_count != v[1].event_count || strcmp(v[0].device, v[1].device) != 0)
        abort();
    vkd__metrics_rows_destroy(m[0]);
    vkd__metrics_rows_destroy(m[1]);
    vkd_ctx_destroy(ctx);
    return 0;
}
