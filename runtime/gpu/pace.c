// SPDX-License-Identifier: Apache-2.0
/* Slices by measured time. The plan cuts a step by what the profile's rates predict; the second
 * step (the first one warms the driver up) is measured slice by slice, by timestamps or, where the
 * device has none, by the host's waits. When a slice ran far over its target, or there are many
 * more slices than the time calls for, the step is cut and recorded again, between steps. Order and
 * barriers stay, and so does every bit. The device's rates follow, for the plans to come. */
#include "base/platform.h"
#include "gpu/gpu.h"

#define MOST_MEASUREMENTS 3u
#define TOLERATED 2.0       /* times over the target, or times as many slices as needed */
#define LEAST_SECONDS 0.01  /* of a step that says something about rates */
#define MOST_CORRECTION 8.0 /* of a rate, by one step */

struct vkd__pace {
    VkQueryPool queries; /* two for each slice */
    VkCommandBuffer *slices;
};

void vkd__pace_destroy(vkd_program *p) {
    vkd__pace *m = p->pace;
    if (!m) return;
    vkd_device *d = p->device;
    if (m->slices && m->slices[0])
        d->vk.vkFreeCommandBuffers(d->device, p->pool, p->slice_count, m->slices);
    d->vk.vkDestroyQueryPool(d->device, m->queries, NULL);
    vkd__free(p->ctx, m->slices);
    vkd__free(p->ctx, m);
    p->pace = NULL;
}

static vkd_result create(vkd_program *p, uint64_t ticket) {
    vkd_device *d = p->device;
    vkd__pace *m = p->pace = vkd__alloc(p->ctx, 1, sizeof *m);
    if (!m) return VKD_E_MEMORY;
    p->pace_ticket = ticket;
    m->slices = vkd__alloc(p->ctx, p->slice_count, sizeof *m->slices);
    if (!m->slices) return VKD_E_MEMORY;
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = p->slice_count * 2};
    vkd_result r = VKD__VK(d, vkCreateQueryPool(d->device, &info, NULL, &m->queries));
    if (!r) r = vkd__record_allocate(p, m->slices, p->slice_count);
    for (uint32_t i = 0; !r && i < p->slice_count; i++)
        r = vkd__record_slice(p, m->slices[i], i, m->queries);
    return r;
}

/* ---- What a measurement leads to ---- */

static double sum(const double *v, uint32_t count) {
    double s = 0;
    for (uint32_t i = 0; i < count; i++)
        s += v[i];
    return s;
}

static void correct_rates(vkd_program *p, double measured) {
    vkd_profile *profile = &p->device->profile;
    double work = 0;
    for (size_t i = 0; i < p->launch_count; i++)
        work += vkd__plan_seconds(profile, &p->launches[i]) - profile->launch_seconds;
    const double rest = measured - (double)p->launch_count * profile->launch_seconds;
    if (measured < LEAST_SECONDS || rest < measured / 2 || work <= 0) return;
    double factor = work / rest;
    if (factor < TOLERATED && factor > 1 / TOLERATED) return;
    if (factor > MOST_CORRECTION) factor = MOST_CORRECTION;
    if (factor < 1 / MOST_CORRECTION) factor = 1 / MOST_CORRECTION;
    profile->gflops *= factor;
    profile->gbytes *= factor;
    vkd__log(p->ctx, VKD_LOG_INFO,
             "'%s' took %.3g ms, not %.3g: '%s' is now planned with %.3g GFLOP/s and %.3g GB/s",
             p->name, 1e3 * measured, 1e3 * (work + measured - rest), p->device->probe.name,
             profile->gflops, profile->gbytes);
}

/* Scales each launch's prediction by its slice; true when the cut is worth another. */
static bool compare(vkd_program *p, const double *measured) {
    bool cut = false;
    for (uint32_t s = 0; s < p->slice_count; s++) {
        double predicted = 0;
        size_t first = p->launch_count, count = 0;
        for (size_t i = 0; i < p->launch_count; i++) {
            if (p->launches[i].slice != s) continue;
            if (!count++) first = i;
            predicted += p->launches[i].seconds;
        }
        const bool slow = measured[s] > TOLERATED * VKD__SLICE_SECONDS;
        cut |= slow && count > 1;
        if (count == 1 && measured[s] > VKD__SPLIT_SECONDS)
            vkd__log(p->ctx, VKD_LOG_WARNING,
                     "kernel '%s' for '%s' took %.3g s in one launch; programs made from now on "
                     "cut it, if its grid has the groups",
                     p->launches[first].kernel, p->launches[first].label, measured[s]);
        for (size_t i = first; i < p->launch_count && predicted > 0; i++)
            if (p->launches[i].slice == s) p->launches[i].seconds *= measured[s] / predicted;
    }
    const double needed = sum(measured, p->slice_count) / VKD__SLICE_SECONDS + 1;
    return cut || p->slice_count > TOLERATED * needed;
}

vkd_result vkd__pace_apply(vkd_program *p, const double *measured) {
    if (p->measurements++ == 0) correct_rates(p, sum(measured, p->slice_count));
    if (!compare(p, measured)) {
        p->measurements = MOST_MEASUREMENTS;
        return VKD_OK;
    }
    const vkd_result r = vkd_program_wait(p, p->submitted);
    if (r) return r;
    const uint32_t before = p->slice_count;
    p->value_base = vkd__program_value(p, p->submitted);
    p->ticket_base = p->submitted;
    vkd__pace_destroy(p);
    p->device->vk.vkFreeCommandBuffers(p->device->device, p->pool, before, p->slices);
    p->slice_count = vkd__plan_slices(p->launches, p->launch_count);
    vkd__log(p->ctx, VKD_LOG_INFO, "'%s' is cut into %u slices, not %u, by their measured time",
             p->name, (unsigned)p->slice_count, (unsigned)before);
    const vkd_result recut = vkd__program_recut(p);
    if (recut) p->slice_count = 0; /* nothing is left to submit; the next attempt says so */
    return recut;
}

/* ---- Measuring ---- */

static vkd_result collect(vkd_program *p) {
    vkd_device *d = p->device;
    const uint32_t count = p->slice_count;
    uint64_t *stamps = vkd__alloc(p->ctx, 2 * (size_t)count, sizeof *stamps);
    double *seconds = vkd__alloc(p->ctx, count, sizeof *seconds);
    vkd_result r = stamps && seconds ? VKD_OK : VKD_E_MEMORY;
    if (!r)
        r = VKD__VK(d, vkGetQueryPoolResults(d->device, p->pace->queries, 0, 2 * count,
                                             2 * (size_t)count * sizeof *stamps, stamps,
                                             sizeof *stamps,
                                             VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
    const uint32_t bits = d->probe.timestamp_bits;
    const uint64_t mask = bits < 64 ? (1ull << bits) - 1 : UINT64_MAX;
    for (uint32_t i = 0; !r && i < count; i++)
        seconds[i] = (double)((stamps[2 * i + 1] - stamps[2 * i]) & mask) *
                     (double)d->probe.limits.timestampPeriod * 1e-9;
    if (!r) r = vkd__pace_apply(p, seconds);
    vkd__pace_destroy(p);
    vkd__free(p->ctx, stamps);
    vkd__free(p->ctx, seconds);
    return r;
}

vkd_result vkd__pace_before(vkd_program *p, uint64_t ticket, const VkCommandBuffer **slices) {
    vkd_result r = VKD_OK;
    if (p->pace && p->pace_ticket <= p->done) r = collect(p);
    *slices = p->slices;
    if (r || p->pace || ticket < 2 || p->measurements >= MOST_MEASUREMENTS) return r;
    if (!p->launch_count || !p->device->features[VKD__FEATURE_TIMESTAMPS].used) return r;
    r = create(p, ticket);
    if (r)
        vkd__pace_destroy(p);
    else
        *slices = p->pace->slices;
    return r;
}

vkd_result vkd__pace_after(vkd_program *p) {
    if (p->device->features[VKD__FEATURE_TIMESTAMPS].used || p->submitted < 2 ||
        p->measurements >= MOST_MEASUREMENTS || !p->launch_count)
        return VKD_OK;
    double *seconds = vkd__alloc(p->ctx, p->slice_count, sizeof *seconds);
    vkd_result r = seconds ? VKD_OK : VKD_E_MEMORY;
    double last = vkd__seconds();
    const uint64_t first = vkd__program_value(p, p->submitted - 1);
    for (uint32_t i = 0; !r && i < p->slice_count; i++) {
        r = vkd__program_wait_value(p, first + i + 1);
        const double now = vkd__seconds();
        if (!r) seconds[i] = now - last;
        last = now;
    }
    if (!r) r = vkd__pace_apply(p, seconds);
    vkd__free(p->ctx, seconds);
    return r;
}
