// SPDX-License-Identifier: Apache-2.0
/* Variational information: the teacher's features are likely under a normal distribution whose mean
 * the student's give, and whose variance is learnt.
 *
 *   mu = W3 relu(W2 relu(W1 s)) at each place of a map, v_c = log(1 + exp(a_c)) + 1e-5
 *   loss = mean over all elements of ((t - mu)^2 / v_c + log v_c) / 2, summed over the pairs
 *   dmu = (mu - t) / (v E),  da_c = sum (1/v - (t - mu)^2/v^2) / (2 E) * sigmoid(a_c)
 *
 * with E elements of t. Ahn et al., arXiv:1904.05835, eq. 5 and 6, as Tian et al.
 * (arXiv:1910.10699) state it: three 1x1 convolutions without biases, as many channels in between
 * as the teacher has, and v = 5 at the start. A map of another size is brought to the smaller of
 * the two sizes by adaptive average pooling. Decay leaves a alone. It is no divergence: with
 * features that are easy to say it falls below 0. */
#include <math.h>
#include <stdio.h>

#include "losses/loss.h"

static const float least = 1e-5f; /* variance */

typedef struct config {
    float variance;
} config;

static const vkd__field fields[] = {
    {.name = "variance",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, variance),
     .low = 0.001,
     .high = 1000,
     .preset = "5",
     .help = "of the teacher's features around their prediction, at the start"},
};

static vkd_tensor layer(vkd_graph *g, const vkd__loss_io *io, uint32_t pair, uint32_t index,
                        vkd_tensor x, uint32_t out) {
    char name[256];
    const bool last = index == 2;
    const vkd_init init = {.kind = VKD_INIT_KAIMING_UNIFORM, .gain = last ? 1 : 1.41421356f};
    snprintf(name, sizeof name, "%s.%u.regressor.%u.weight", io->adapters, (unsigned)pair,
             (unsigned)index);
    const vkd_tensor w = vkd_param(g, name, VKD_SHAPE(out, vkd_tensor_shape(g, x).dim[1]), &init);
    return vkd_matmul(g, x, w,
                      &(vkd_matmul_desc){.transpose_b = true,
                                         .activation = last ? VKD_ACT_NONE : VKD_ACT_RELU,
                                         .f32_result = last});
}

/* (places, C) of a map, or the rows themselves. */
static vkd_tensor places(vkd_graph *g, vkd_tensor x) {
    const vkd_shape s = vkd_tensor_shape(g, x);
    if (s.axes != 4) return x;
    return vkd_reshape(g, x, VKD_SHAPE(s.dim[0] * s.dim[1] * s.dim[2], s.dim[3]));
}

/* log(1 + exp(a)) as max(a, 0) + log(1 + exp(-|a|)), which does not overflow. */
static vkd_tensor softplus(vkd_graph *g, vkd_tensor a) {
    const vkd_tensor positive = vkd_relu(g, a);
    const vkd_tensor below = vkd_exp(g, vkd_sub(g, a, vkd_scale(g, positive, 2)));
    return vkd_add(g, positive, vkd_log(g, vkd_add(g, below, vkd_constant(g, 1))));
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    const double start_v = (double)c->variance - (double)least;
    const vkd_init start = {.kind = VKD_INIT_CONSTANT,
                            .value = (float)(start_v + log1p(-exp(-start_v))),
                            .no_decay = true};
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        vkd_tensor s = io->pairs[i].student, t = io->pairs[i].teacher;
        vkd__loss_same_size(g, &s, &t);
        s = places(g, s);
        t = places(g, t);
        const uint32_t channels = vkd_tensor_shape(g, t).dim[1];
        char name[256];
        snprintf(name, sizeof name, "%s.%u.log_scale", io->adapters, (unsigned)i);
        const vkd_tensor scale = vkd_param(g, name, VKD_SHAPE(channels), &start);
        vkd_tensor mu = s;
        for (uint32_t k = 0; k < 3; k++)
            mu = layer(g, io, i, k, mu, channels);
        const vkd_tensor v = vkd_add(g, softplus(g, scale), vkd_constant(g, least));
        const vkd_tensor square = vkd_mean(g, vkd_square(g, vkd_sub(g, mu, t)), 1u << 0, false);
        const vkd_tensor terms = vkd_add(g, vkd_div(g, square, v), vkd_log(g, v));
        const vkd_tensor one = vkd_scale(g, vkd_mean(g, terms, VKD_ALL_AXES, false), 0.5f);
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

/* ---- Reference: one place at a time ---- */

enum { MOST = 64 }; /* channels of a reference's teacher */

typedef struct network {
    uint32_t in, C; /* channels of the student's and of the teacher's map */
    const vkd__loss_ref_adapter *w[3], *scale;
} network;

static network network_of(const vkd__loss_ref *r, uint32_t pair) {
    char name[48];
    const vkd_shape s = r->pairs[pair].student_shape, t = r->pairs[pair].teacher_shape;
    network n = {.in = s.dim[s.axes - 1], .C = t.dim[t.axes - 1]};
    for (unsigned k = 0; k < 3; k++) {
        snprintf(name, sizeof name, "%u.regressor.%u.weight", (unsigned)pair, k);
        n.w[k] = vkd__loss_ref_find(r, name);
    }
    snprintf(name, sizeof name, "%u.log_scale", (unsigned)pair);
    n.scale = vkd__loss_ref_find(r, name);
    VKD_ASSERT(n.C <= MOST && n.in <= MOST);
    return n;
}

/* h[0] is the student's place, h[3] the prediction. */
static void predict(const network *n, double h[4][MOST]) {
    for (int k = 0; k < 3; k++) {
        const uint32_t in = k ? n->C : n->in;
        for (uint32_t o = 0; o < n->C; o++) {
            h[k + 1][o] = 0;
            for (uint32_t c = 0; c < in; c++)
                h[k + 1][o] += n->w[k]->value[o * in + c] * h[k][c];
            if (k < 2) h[k + 1][o] = fmax(h[k + 1][o], 0);
        }
    }
}

/* d is the gradient by the prediction at first, and by the student's place at the end. */
static void send_back(const network *n, double h[4][MOST], double d[MOST]) {
    for (int k = 2; k >= 0; k--) {
        const uint32_t in = k ? n->C : n->in;
        double below[MOST] = {0};
        for (uint32_t o = 0; o < n->C; o++) {
            const double back = k < 2 && h[k + 1][o] <= 0 ? 0 : d[o];
            for (uint32_t c = 0; c < in; c++) {
                below[c] += back * n->w[k]->value[o * in + c];
                n->w[k]->gradient[o * in + c] += back * h[k][c];
            }
        }
        for (uint32_t c = 0; c < in; c++)
            d[c] = below[c];
    }
}

static double reference_place(const network *n, const double *student, vkd_shape ss,
                              const double *teacher, vkd_shape ts, vkd__loss_size size, uint32_t p,
                              double *dstudent) {
    const double share = 0.5 / ((double)ss.dim[0] * size.H * size.W * n->C);
    double h[4][MOST], d[MOST], loss = 0;
    for (uint32_t c = 0; c < n->in; c++)
        h[0][c] = vkd__loss_pooled(student, ss, size, p, c);
    predict(n, h);
    for (uint32_t c = 0; c < n->C; c++) {
        const double a = n->scale->value[c], v = fmax(a, 0) + log1p(exp(-fabs(a))) + (double)least;
        const double gap = h[3][c] - vkd__loss_pooled(teacher, ts, size, p, c);
        loss += share * (gap * gap / v + log(v));
        d[c] = share * 2 * gap / v;
        n->scale->gradient[c] += share * (1 / v - gap * gap / (v * v)) / (1 + exp(-a));
    }
    send_back(n, h, d);
    for (uint32_t c = 0; c < n->in; c++)
        vkd__loss_pooled_back(d[c], ss, size, p, c, dstudent);
    return loss;
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    (void)cfg;
    for (uint32_t i = 0; i < r->pair_count; i++) {
        const vkd__loss_ref_pair *p = &r->pairs[i];
        const network net = network_of(r, i);
        const vkd__loss_size size = vkd__loss_smaller(p->student_shape, p->teacher_shape);
        const size_t S = (size_t)vkd_shape_count(p->student_shape) / r->N;
        const size_t T = (size_t)vkd_shape_count(p->teacher_shape) / r->N;
        for (size_t n = 0; n < r->N; n++)
            for (uint32_t k = 0; k < size.H * size.W; k++)
                r->loss +=
                    reference_place(&net, p->student + n * S, p->student_shape, p->teacher + n * T,
                                    p->teacher_shape, size, k, p->dstudent + n * S);
    }
}

static const char *misfit(vkd_shape s, vkd_shape t, const void *cfg) {
    (void)cfg;
    return s.axes == t.axes && (s.axes == 2 || s.axes == 4)
               ? NULL
               : "both have to be maps (N, H, W, C), or both rows (N, D)";
}

static const vkd__loss_case cases[] = {
    {.pair_count = 1, .student = {VKD__MAPS(2, 3, 4, 5)}, .teacher = {VKD__MAPS(2, 3, 4, 8)}},
    {.set = {{"variance", "0.5"}},
     .pair_count = 2,
     .student = {VKD__MAPS(3, 5, 4, 3), VKD__ROWS(3, 7)},
     .teacher = {VKD__MAPS(3, 2, 4, 4), VKD__ROWS(3, 33)}},
    {.pair_count = 1, .student = {VKD__MAPS(2, 2, 2, 3)}, .teacher = {VKD__MAPS(2, 5, 3, 6)}},
    {.set = {{"variance", "1000"}},
     .pair_count = 1,
     .student = {VKD__MAPS(2, 2, 2, 3)},
     .teacher = {VKD__MAPS(2, 2, 2, 6)}},
};

const vkd__loss_def vkd_loss_vid = {
    .name = "vid",
    .summary = "variational information: the teacher's features likely, given the student's",
    .paper = "Ahn et al., arXiv:1904.05835",
    .formula =
        "mean over elements of ((t - mu(s))^2/v + log v)/2, mu and v per channel learnt; sum "
        "over taps",
    .needs = VKD__LOSS_TAPS,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .reference = reference,
    .misfit = misfit,
    .cases = cases,
    .case_count = VKD_COUNT(cases),
};
