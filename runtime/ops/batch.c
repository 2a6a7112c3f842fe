// SPDX-License-Identifier: Apache-2.0
/* batch: samples of a data set that lies on the device as bytes, as normalised floats:
 *
 *   y[b,e] = (data[indices[b],e] * scale - mean[c]) / std[c],  c = e mod channels
 *
 * zeros for an index outside the data set. A data set beyond the device's largest binding is read
 * in windows of samples: one launch each, which writes the samples of its window. */
#include "ops/row.h"

vkd_tensor vkd_batch(vkd_graph *g, vkd_tensor data, vkd_tensor indices,
                     const vkd_batch_desc *desc) {
    vkd_batch_desc d = desc ? *desc : (vkd_batch_desc){0};
    if (d.scale == 0.0f) d.scale = 1.0f / 255.0f;
    if (!d.channels) d.channels = 1;
    for (uint32_t c = 0; c < 4; c++)
        if (d.std[c] == 0.0f) d.std[c] = 1.0f;
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_batch,
                                          .in_count = 2,
                                          .in = {data, indices},
                                          .params = &d,
                                          .params_size = sizeof d});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_batch_desc *p = n->params;
    vkd_shape shape = vkd_tensor_shape(g, n->in[0]);
    const vkd_shape indices = vkd_tensor_shape(g, n->in[1]);
    if (vkd_tensor_dtype(g, n->in[0]) != VKD_U8 || vkd_tensor_dtype(g, n->in[1]) != VKD_I32)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "the data must be u8 and the indices i32");
    if (!shape.axes || indices.axes != 1)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "data (N, ...) and indices (B) are wanted, not %s and %s",
                               vkd__shape_text(g, shape), vkd__shape_text(g, indices));
    const uint64_t sample = vkd_shape_count(shape) / shape.dim[0];
    if (p->channels > 4 || sample % p->channels)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT,
                               "samples of %llu bytes are not pixels of %u channels (at most 4)",
                               (unsigned long long)sample, p->channels);
    shape.dim[0] = indices.dim[0];
    vkd__node_out(g, n, 0, VKD_F32, shape);
    return true;
}

static uint64_t sample_size(const vkd_graph *g, const vkd__node *n) {
    const vkd_shape data = vkd_tensor_shape(g, n->in[0]);
    return vkd_shape_count(data) / data.dim[0];
}

static bool lower_window(vkd__lower *l, const vkd__node *n, uint64_t first, uint64_t rows) {
    const vkd_batch_desc *d = n->params;
    const uint64_t sample = sample_size(l->g, n);
    const uint64_t count = vkd_shape_count(vkd_tensor_shape(l->g, n->out[0]));
    vkd__launch *launch = vkd__item_launch(l, "batch", vkd__div_up(count, 4));
    if (!launch) return false;
    vkd__bind_window(launch, n->in[0], VKD__READ, first * sample, rows * sample);
    vkd__bind(launch, n->in[1], VKD__READ);
    vkd__bind(launch, n->out[0], VKD__WRITE);
    vkd__spec(launch, 10, sample % 4 == 0);
    vkd__spec(launch, 11, d->channels);
    if (sample % 4 == 0) vkd__grid(l, launch, count / sample);
    const struct vkd_batch_params p = {
        .count = (uint32_t)count,
        .sample_size = (uint32_t)sample,
        .V = vkd_tensor_shape(l->g, n->in[0]).dim[0],
        .first = (uint32_t)first,
        .rows = (uint32_t)rows,
        .scale = d->scale,
        .mean0 = d->mean[0],
        .mean1 = d->mean[1],
        .mean2 = d->mean[2],
        .mean3 = d->mean[3],
        .std0 = d->std[0],
        .std1 = d->std[1],
        .std2 = d->std[2],
        .std3 = d->std[3],
    };
    vkd__push(launch, &p, sizeof p);
    vkd__cost(launch, 3.0 * (double)count, 5.0 * (double)count);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const uint64_t samples = vkd_tensor_shape(l->g, n->in[0]).dim[0];
    const uint64_t window = vkd__window_rows(l->profile, sample_size(l->g, n), samples);
    const uint64_t bytes = 4 * vkd_shape_count(vkd_tensor_shape(l->g, n->out[0]));
    if (!window || bytes > l->profile->max_binding)
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "samples of %llu bytes in a batch of %llu bytes exceed a binding of "
                               "%llu bytes on this device; use smaller batches",
                               (unsigned long long)sample_size(l->g, n), (unsigned long long)bytes,
                               (unsigned long long)l->profile->max_binding);
    for (uint64_t first = 0; first < samples; first += window) {
        const uint64_t rows = samples - first < window ? samples - first : window;
        if (!lower_window(l, n, first, rows)) return false;
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const vkd_batch_desc *p = r->node->params;
    const uint64_t sample = vkd_shape_count(r->in[0].tensor->shape) / r->in[0].tensor->shape.dim[0];
    for (uint32_t b = 0; b < r->in[1].tensor->shape.dim[0]; b++) {
        const double index = r->in[1].v[b];
        const bool inside = index >= 0 && index < r->in[0].tensor->shape.dim[0];
        for (uint64_t e = 0; e < sample; e++) {
            const uint64_t c = e % p->channels;
            double v = 0;
            if (inside)
                v = (r->in[0].v[(uint64_t)index * sample + e] * (double)p->scale -
                     (double)p->mean[c]) /
                    (double)p->std[c];
            r->out[0].v[b * sample + e] = v;
        }
    }
}

static void build_case(vkd__case *c) {
    const vkd_batch_desc two = {.channels = 2, .mean = {0.4f, 0.5f}, .std = {0.2f, 0.3f}};
    const vkd_batch_desc three = {
        .channels = 3, .mean = {0.4f, 0.5f, 0.6f}, .std = {0.2f, 0.3f, 0.25f}};
    const vkd_batch_desc four = {
        .scale = 1, .channels = 4, .mean = {1, 2, 3, 4}, .std = {5, 6, 7, 8}};
    const struct {
        vkd_shape data;
        const vkd_batch_desc *desc;
        const char *what;
    } cases[] = {
        {VKD_SHAPE(5, 1), NULL, "one byte"},
        {VKD_SHAPE(9, 28, 28, 1), NULL, "grey"},
        {VKD_SHAPE(6, 5, 5, 3), &three, "three channels, ragged"},
        {VKD_SHAPE(7, 4, 6, 3), &three, "indices outside the data"},
        {VKD_SHAPE(4, 3, 3, 4), &four, "four channels"},
        {VKD_SHAPE(4, 2, 6, 2), &two, "two channels"},
        {VKD_SHAPE(4, 3, 3, 2), &two, "two channels, ragged"},
    };
    c->what = cases[c->index].what;
    const vkd_tensor data = vkd__case_u8(c, cases[c->index].data);
    const int32_t past = c->index == 3 ? 3 : 0;
    const int32_t samples = (int32_t)cases[c->index].data.dim[0];
    const vkd_tensor indices = vkd__case_i32(c, VKD_SHAPE(13), -past, samples + past);
    vkd__case_output(c, vkd_batch(c->g, data, indices, cases[c->index].desc));
}

const vkd_op_def vkd_op_batch = {
    .name = "batch",
    .summary = "normalised samples out of a data set of bytes",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 7,
    .build_case = build_case,
    .no_difference_test = "bytes and integers have no gradient",
};
