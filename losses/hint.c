// SPDX-License-Identifier: Apache-2.0
/* Hints: inside, too, the student says what its teacher says, through a regressor r of its own.
 *
 *   d_n = r(s_n) - t_n, for each pair of taps
 *   loss = 1/(2N) sum_n |d_n|^2 (half_sum), or 1/(N E) sum_n |d_n|^2 (mean), E elements of t_n;
 *          summed over the pairs
 *   dr = d/N, or 2 d/(N E); ds and the gradient of r's weights follow by the chain rule
 *
 * Romero et al., arXiv:1412.6550 (FitNets), eq. 3 and section 2.2: r is a convolution without
 * padding, whose kernel of (student's map - teacher's map + 1) makes the maps equal, with the
 * nonlinearity that the teacher's layer has. Where the student's map is the smaller one r is that
 * convolution's transpose. `mean` is how later work states the loss; E/2 times smaller, it wants a
 * weight of about 100 (Tian et al., arXiv:1910.10699). */
#include <math.h>
#include <stdio.h>

#include "losses/loss.h"

enum { REGRESSOR_AUTO, REGRESSOR_CONV, REGRESSOR_LINEAR, REGRESSOR_NONE };
enum { HALF_SUM, MEAN };

typedef struct config {
    uint32_t regressor, reduction;
    bool relu;
} config;

static const vkd__field fields[] = {
    {.name = "regressor",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, regressor),
     .preset = "auto",
     .words = "auto|conv|linear|none",
     .help = "from the student's features to the teacher's: auto is conv for maps and linear for "
             "rows, none compares as they are"},
    {.name = "relu",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(config, relu),
     .preset = "true",
     .help = "the regressor ends in a ReLU, for a tap of the teacher that is behind one"},
    {.name = "reduction",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, reduction),
     .preset = "half_sum",
     .words = "half_sum|mean",
     .help =
         "half the sum over a sample's elements, or the mean over them; both mean over samples"},
};

static uint32_t choice(const config *c, vkd_shape student) {
    if (c->regressor != REGRESSOR_AUTO) return c->regressor;
    return student.axes == 4 ? REGRESSOR_CONV : REGRESSOR_LINEAR;
}

static const char *misfit(vkd_shape s, vkd_shape t, const void *cfg) {
    switch (choice(cfg, s)) {
    case REGRESSOR_CONV:
        if (s.axes != 4 || t.axes != 4)
            return "a convolution goes from maps (N, H, W, C) to maps; for rows (N, D) there is "
                   "regressor: linear";
        if ((s.dim[1] < t.dim[1] && s.dim[2] > t.dim[2]) ||
            (s.dim[1] > t.dim[1] && s.dim[2] < t.dim[2]))
            return "one map is higher and the other wider, and no convolution does both";
        return NULL;
    case REGRESSOR_LINEAR:
        return s.axes == 2 && t.axes == 2 ? NULL : "a linear regressor goes from rows to rows";
    default:
        break;
    }
    bool same = s.axes == t.axes;
    for (uint32_t i = 0; same && i < s.axes; i++)
        same = s.dim[i] == t.dim[i];
    return same ? NULL : "without a regressor shapes must be equal";
}

/* ---- Regressors ---- */

static vkd_tensor adapter(vkd_graph *g, const vkd__loss_io *io, uint32_t pair, const char *what,
                          vkd_shape shape, const vkd_init *init) {
    char name[256];
    snprintf(name, sizeof name, "%s.%u.%s", io->adapters, (unsigned)pair, what);
    return vkd_param(g, name, shape, init);
}

static vkd_init weight_init(const config *c, uint32_t fan_in) {
    return (vkd_init){
        .kind = VKD_INIT_KAIMING_UNIFORM, .gain = c->relu ? 1.41421356f : 1, .fan_in = fan_in};
}

static vkd_tensor convolve(vkd_graph *g, const vkd__loss_io *io, const config *c, uint32_t i,
                           vkd_tensor x, vkd_shape t) {
    const vkd_shape s = vkd_tensor_shape(g, x);
    const vkd_activation act = c->relu ? VKD_ACT_RELU : VKD_ACT_NONE;
    const bool shrink = s.dim[1] >= t.dim[1] && s.dim[2] >= t.dim[2];
    const uint32_t R = (shrink ? s.dim[1] - t.dim[1] : t.dim[1] - s.dim[1]) + 1;
    const uint32_t S = (shrink ? s.dim[2] - t.dim[2] : t.dim[2] - s.dim[2]) + 1;
    const vkd_init weight = weight_init(c, R * S * s.dim[3]);
    const vkd_init zeros = {.kind = VKD_INIT_ZEROS, .no_decay = true};
    const vkd_tensor bias = adapter(g, io, i, "bias", VKD_SHAPE(t.dim[3]), &zeros);
    const vkd_shape shape =
        shrink ? VKD_SHAPE(t.dim[3], R, S, s.dim[3]) : VKD_SHAPE(s.dim[3], R, S, t.dim[3]);
    const vkd_tensor w = adapter(g, io, i, "weight", shape, &weight);
    const vkd_conv2d_desc desc = {.bias = bias, .activation = act};
    return shrink ? vkd_conv2d(g, x, w, &desc) : vkd_conv2d_transpose(g, x, w, &desc, NULL);
}

static vkd_tensor project(vkd_graph *g, const vkd__loss_io *io, const config *c, uint32_t i,
                          vkd_tensor x, vkd_shape t) {
    const uint32_t in = vkd_tensor_shape(g, x).dim[1];
    const vkd_init weight = weight_init(c, 0);
    const vkd_init zeros = {.kind = VKD_INIT_ZEROS, .no_decay = true};
    const vkd_tensor bias = adapter(g, io, i, "bias", VKD_SHAPE(t.dim[1]), &zeros);
    const vkd_tensor w = adapter(g, io, i, "weight", VKD_SHAPE(t.dim[1], in), &weight);
    return vkd_matmul(g, x, w,
                      &(vkd_matmul_desc){.transpose_b = true,
                                         .bias = bias,
                                         .activation = c->relu ? VKD_ACT_RELU : VKD_ACT_NONE,
                                         .f32_result = true});
}

static vkd_tensor regress(vkd_graph *g, const vkd__loss_io *io, const config *c, uint32_t i) {
    const vkd_tensor x = io->pairs[i].student;
    const vkd_shape t = vkd_tensor_shape(g, io->pairs[i].teacher);
    switch (choice(c, vkd_tensor_shape(g, x))) {
    case REGRESSOR_CONV:
        return convolve(g, io, c, i, x, t);
    case REGRESSOR_LINEAR:
        return project(g, io, c, i, x, t);
    default:
        return x;
    }
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        const vkd_tensor gap = vkd_sub(g, regress(g, io, c, i), io->pairs[i].teacher);
        const vkd_shape shape = vkd_tensor_shape(g, gap);
        vkd_tensor one = vkd_mean(g, vkd_square(g, gap), VKD_ALL_AXES, false);
        if (c->reduction == HALF_SUM && shape.axes)
            one = vkd_scale(g, one, 0.5f * (float)(vkd_shape_count(shape) / shape.dim[0]));
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

/* ---- Reference ---- */

/* One sample's way through the regressor as it is written: every element of the student's map
 * meets every element of the teacher's that the kernel joins it with. A dense layer is a 1 x 1
 * convolution. */
typedef struct regressor {
    uint32_t H, W, C, Y, X, O; /* of the student's and the teacher's map */
    uint32_t R, S;
    bool shrink;
    const vkd__loss_ref_adapter *weight, *bias; /* NULL: there is none, and C == O */
} regressor;

static regressor regressor_of(const vkd__loss_ref *r, const config *c, uint32_t i) {
    const vkd_shape s = r->pairs[i].student_shape, t = r->pairs[i].teacher_shape;
    const bool maps = s.axes == 4;
    regressor g = {.H = maps ? s.dim[1] : 1,
                   .W = maps ? s.dim[2] : 1,
                   .C = maps ? s.dim[3] : s.dim[1],
                   .Y = maps ? t.dim[1] : 1,
                   .X = maps ? t.dim[2] : 1,
                   .O = maps ? t.dim[3] : t.dim[1]};
    g.shrink = g.H >= g.Y && g.W >= g.X;
    g.R = (g.shrink ? g.H - g.Y : g.Y - g.H) + 1;
    g.S = (g.shrink ? g.W - g.X : g.X - g.W) + 1;
    if (choice(c, s) == REGRESSOR_NONE) return g;
    char name[32];
    snprintf(name, sizeof name, "%u.weight", (unsigned)i);
    g.weight = vkd__loss_ref_find(r, name);
    snprintf(name, sizeof name, "%u.bias", (unsigned)i);
    g.bias = vkd__loss_ref_find(r, name);
    return g;
}

/* Where the weight between student (h, w, c) and teacher (y, x, o) is; false: they do not meet. */
static bool weight_at(const regressor *g, uint32_t h, uint32_t w, uint32_t c, uint32_t y,
                      uint32_t x, uint32_t o, size_t *at) {
    const uint32_t r = g->shrink ? h - y : y - h, s = g->shrink ? w - x : x - w;
    if (r >= g->R || s >= g->S) return false; /* what wrapped around is large */
    *at = g->shrink ? (((size_t)o * g->R + r) * g->S + s) * g->C + c
                    : (((size_t)c * g->R + r) * g->S + s) * g->O + o;
    return true;
}

/* Before the ReLU. */
static double regressed(const regressor *g, const double *s, uint32_t y, uint32_t x, uint32_t o) {
    if (!g->weight) return s[((size_t)y * g->X + x) * g->O + o];
    double sum = g->bias->value[o];
    size_t at;
    for (uint32_t h = 0; h < g->H; h++)
        for (uint32_t w = 0; w < g->W; w++)
            for (uint32_t c = 0; c < g->C; c++)
                if (weight_at(g, h, w, c, y, x, o, &at))
                    sum += g->weight->value[at] * s[((size_t)h * g->W + w) * g->C + c];
    return sum;
}

static void send_back(const regressor *g, double d, const double *s, uint32_t y, uint32_t x,
                      uint32_t o, double *ds) {
    if (!g->weight) {
        ds[((size_t)y * g->X + x) * g->O + o] += d;
        return;
    }
    g->bias->gradient[o] += d;
    size_t at;
    for (uint32_t h = 0; h < g->H; h++)
        for (uint32_t w = 0; w < g->W; w++)
            for (uint32_t c = 0; c < g->C; c++)
                if (weight_at(g, h, w, c, y, x, o, &at)) {
                    const size_t k = ((size_t)h * g->W + w) * g->C + c;
                    ds[k] += d * g->weight->value[at];
                    g->weight->gradient[at] += d * s[k];
                }
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const config *c = cfg;
    for (uint32_t i = 0; i < r->pair_count; i++) {
        const vkd__loss_ref_pair *p = &r->pairs[i];
        const regressor g = regressor_of(r, c, i);
        const size_t S = (size_t)g.H * g.W * g.C, T = (size_t)g.Y * g.X * g.O;
        const double scale = (c->reduction == HALF_SUM ? 0.5 : 1.0 / (double)T) / r->N;
        for (size_t n = 0; n < r->N; n++)
            for (size_t k = 0; k < T; k++) {
                const uint32_t o = (uint32_t)(k % g.O), x = (uint32_t)(k / g.O % g.X);
                const uint32_t y = (uint32_t)(k / g.O / g.X);
                const double z = regressed(&g, p->student + n * S, y, x, o);
                const bool off = g.weight && c->relu && z <= 0;
                const double gap = (off ? 0 : z) - p->teacher[n * T + k];
                r->loss += scale * gap * gap;
                if (!off)
                    send_back(&g, 2 * scale * gap, p->student + n * S, y, x, o,
                              p->dstudent + n * S);
            }
    }
}

static const vkd__loss_case cases[] = {
    {.pair_count = 1, .student = {VKD__ROWS(3, 5)}, .teacher = {VKD__ROWS(3, 8)}},
    {.pair_count = 2,
     .student = {VKD__MAPS(2, 5, 6, 3), VKD__MAPS(2, 2, 3, 4)},
     .teacher = {VKD__MAPS(2, 3, 6, 4), VKD__MAPS(2, 4, 3, 2)}},
    {.set = {{"relu", "false"}, {"reduction", "mean"}},
     .pair_count = 2,
     .student = {VKD__MAPS(3, 4, 4, 5), VKD__ROWS(3, 33)},
     .teacher = {VKD__MAPS(3, 4, 4, 7), VKD__ROWS(3, 4)}},
    {.set = {{"regressor", "none"}},
     .pair_count = 3,
     .student = {VKD__ROWS(1, 4), VKD__MAPS(1, 3, 2, 5), VKD__ROWS(1, 129)},
     .teacher = {VKD__ROWS(1, 4), VKD__MAPS(1, 3, 2, 5), VKD__ROWS(1, 129)}},
};

const vkd__loss_def vkd_loss_hint = {
    .name = "hint",
    .summary = "hints: the student's features, through a regressor, near the teacher's",
    .paper = "Romero et al., arXiv:1412.6550",
    .formula =
        "mean over samples of half the sum (or mean) over elements of (r(s) - t)^2; sum over "
        "taps",
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
