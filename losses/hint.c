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
 * weight of about 100 (Tian et al., arXiv:1910.10699). So is `strided`, for maps of which one is
 * twice as high and wide as the other: a 3 x 3 convolution with stride 2, or the transpose of a
 * 4 x 4 one, and between maps of other sizes conv; then batch normalisation, and the ReLU. */
#include <math.h>
#include <stdio.h>

#include "losses/loss.h"

enum { REGRESSOR_AUTO, REGRESSOR_CONV, REGRESSOR_LINEAR, REGRESSOR_NONE, REGRESSOR_STRIDED };
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
     .words = "auto|conv|linear|none|strided",
     .help =
         "from the student's features to the teacher's: auto is conv for maps and linear for "
         "rows, none compares as they are, strided is RepDistiller's, with batch normalisation"},
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

static bool is_conv(uint32_t regressor) {
    return regressor == REGRESSOR_CONV || regressor == REGRESSOR_STRIDED;
}

static const char *misfit(vkd_shape s, vkd_shape t, const void *cfg) {
    const uint32_t regressor = choice(cfg, s);
    if (is_conv(regressor)) {
        if (s.axes != 4 || t.axes != 4)
            return "a convolution goes from maps (N, H, W, C) to maps; for rows (N, D) there is "
                   "regressor: linear";
        if ((s.dim[1] < t.dim[1] && s.dim[2] > t.dim[2]) ||
            (s.dim[1] > t.dim[1] && s.dim[2] < t.dim[2]))
            return "one map is higher and the other wider, and no convolution does both";
        return NULL;
    }
    if (regressor == REGRESSOR_LINEAR)
        return s.axes == 2 && t.axes == 2 ? NULL : "a linear regressor goes from rows to rows";
    bool same = s.axes == t.axes;
    for (uint32_t i = 0; same && i < s.axes; i++)
        same = s.dim[i] == t.dim[i];
    return same ? NULL : "without a regressor shapes must be equal";
}

/* ---- Regressors ---- */

/* The convolution, or its transpose, that makes a map of one size from one of another. */
typedef struct window {
    bool transposed;
    uint32_t R, S, stride, padding;
} window;

static window window_of(uint32_t regressor, vkd_shape s, vkd_shape t) {
    const bool strided = regressor == REGRESSOR_STRIDED;
    if (strided && s.dim[1] == 2 * t.dim[1] && s.dim[2] == 2 * t.dim[2])
        return (window){false, 3, 3, 2, 1};
    if (strided && 2 * s.dim[1] == t.dim[1] && 2 * s.dim[2] == t.dim[2])
        return (window){true, 4, 4, 2, 1};
    const bool transposed = s.dim[1] < t.dim[1] || s.dim[2] < t.dim[2];
    return (window){transposed, (transposed ? t.dim[1] - s.dim[1] : s.dim[1] - t.dim[1]) + 1,
                    (transposed ? t.dim[2] - s.dim[2] : s.dim[2] - t.dim[2]) + 1, 1, 0};
}

static const vkd_init zeros = {.kind = VKD_INIT_ZEROS, .no_decay = true};
static const vkd_init ones = {.kind = VKD_INIT_ONES, .no_decay = true};

/* What all parts of a regressor are made with. */
typedef struct maker {
    vkd_graph *g;
    const char *adapters;
    uint32_t pair;
    const config *c;
} maker;

static vkd_tensor part(const maker *m, const char *what, vkd_shape shape, const vkd_init *init) {
    char name[256];
    snprintf(name, sizeof name, "%s.%u.%s", m->adapters, (unsigned)m->pair, what);
    return init ? vkd_param(m->g, name, shape, init) : vkd_state(m->g, name, VKD_F32, shape);
}

static vkd_init weight_init(const config *c, uint32_t fan_in) {
    return (vkd_init){
        .kind = VKD_INIT_KAIMING_UNIFORM, .gain = c->relu ? 1.41421356f : 1, .fan_in = fan_in};
}

static vkd_activation activation(const config *c) {
    return c->relu ? VKD_ACT_RELU : VKD_ACT_NONE;
}

static vkd_tensor normalise(const maker *m, vkd_tensor x, uint32_t channels) {
    const vkd_shape shape = VKD_SHAPE(channels);
    const vkd_batchnorm_desc desc = {.gamma = part(m, "bn.weight", shape, &ones),
                                     .beta = part(m, "bn.bias", shape, &zeros),
                                     .running_mean = part(m, "bn.running_mean", shape, NULL),
                                     .running_var = part(m, "bn.running_var", shape, NULL),
                                     .training = true,
                                     .activation = activation(m->c)};
    return vkd_batchnorm(m->g, x, &desc);
}

static vkd_tensor convolve(const maker *m, vkd_tensor x, uint32_t regressor, vkd_shape t) {
    const vkd_shape s = vkd_tensor_shape(m->g, x);
    const window w = window_of(regressor, s, t);
    const bool norm = regressor == REGRESSOR_STRIDED;
    const vkd_init init = weight_init(m->c, w.R * w.S * s.dim[3]);
    vkd_conv2d_desc desc = {.stride = {w.stride, w.stride}, .padding = {w.padding, w.padding}};
    if (!norm) {
        desc.bias = part(m, "bias", VKD_SHAPE(t.dim[3]), &zeros);
        desc.activation = activation(m->c);
    }
    const vkd_shape shape = w.transposed ? VKD_SHAPE(s.dim[3], w.R, w.S, t.dim[3])
                                         : VKD_SHAPE(t.dim[3], w.R, w.S, s.dim[3]);
    const vkd_tensor weight = part(m, "weight", shape, &init);
    const vkd_tensor y = w.transposed ? vkd_conv2d_transpose(m->g, x, weight, &desc, NULL)
                                      : vkd_conv2d(m->g, x, weight, &desc);
    return norm ? normalise(m, y, t.dim[3]) : y;
}

static vkd_tensor project(const maker *m, vkd_tensor x, vkd_shape t) {
    const uint32_t in = vkd_tensor_shape(m->g, x).dim[1];
    const vkd_init init = weight_init(m->c, 0);
    const vkd_tensor bias = part(m, "bias", VKD_SHAPE(t.dim[1]), &zeros);
    return vkd_matmul(
        m->g, x, part(m, "weight", VKD_SHAPE(t.dim[1], in), &init),
        &(vkd_matmul_desc){
            .transpose_b = true, .bias = bias, .activation = activation(m->c), .f32_result = true});
}

static vkd_tensor regress(vkd_graph *g, const vkd__loss_io *io, const config *c, uint32_t i) {
    const vkd_tensor x = io->pairs[i].student;
    const vkd_shape t = vkd_tensor_shape(g, io->pairs[i].teacher);
    const uint32_t regressor = choice(c, vkd_tensor_shape(g, x));
    const maker m = {g, io->adapters, i, c};
    if (is_conv(regressor)) return convolve(&m, x, regressor, t);
    return regressor == REGRESSOR_LINEAR ? project(&m, x, t) : x;
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

/* The regressor as it is written: every element of the student's map meets every element of the
 * teacher's that the kernel joins it with. A dense layer is a 1 x 1 convolution. */
typedef struct regressor {
    uint32_t H, W, C, Y, X, O; /* of the student's and the teacher's map */
    window k;
    const vkd__loss_ref_adapter *weight, *bias, *gamma, *beta; /* NULL where there is none */
    bool relu;
} regressor;

static const vkd__loss_ref_adapter *find(const vkd__loss_ref *r, uint32_t pair, const char *what) {
    char name[48];
    snprintf(name, sizeof name, "%u.%s", (unsigned)pair, what);
    return vkd__loss_ref_find(r, name);
}

static regressor regressor_of(const vkd__loss_ref *r, const config *c, uint32_t i) {
    const vkd_shape s = r->pairs[i].student_shape, t = r->pairs[i].teacher_shape;
    const uint32_t which = choice(c, s);
    const bool maps = s.axes == 4;
    regressor g = {.H = maps ? s.dim[1] : 1,
                   .W = maps ? s.dim[2] : 1,
                   .C = maps ? s.dim[3] : s.dim[1],
                   .Y = maps ? t.dim[1] : 1,
                   .X = maps ? t.dim[2] : 1,
                   .O = maps ? t.dim[3] : t.dim[1],
                   .k = {false, 1, 1, 1, 0}};
    if (which == REGRESSOR_NONE) return g;
    if (maps) g.k = window_of(which, s, t);
    g.relu = c->relu;
    g.weight = find(r, i, "weight");
    if (which == REGRESSOR_STRIDED) {
        g.gamma = find(r, i, "bn.weight");
        g.beta = find(r, i, "bn.bias");
    } else {
        g.bias = find(r, i, "bias");
    }
    return g;
}

/* Where the weight between student (h, w, c) and teacher (y, x, o) is; false: they do not meet. */
static bool weight_at(const regressor *g, uint32_t h, uint32_t w, uint32_t c, uint32_t y,
                      uint32_t x, uint32_t o, size_t *at) {
    const window *k = &g->k;
    const uint32_t r =
        k->transposed ? y + k->padding - h * k->stride : h + k->padding - y * k->stride;
    const uint32_t s =
        k->transposed ? x + k->padding - w * k->stride : w + k->padding - x * k->stride;
    if (r >= k->R || s >= k->S) return false; /* what wrapped around is large */
    *at = k->transposed ? (((size_t)c * k->R + r) * k->S + s) * g->O + o
                        : (((size_t)o * k->R + r) * k->S + s) * g->C + c;
    return true;
}

/* The linear part: of one sample, at place (y, x), channel o. */
static double applied(const regressor *g, const double *s, uint32_t place, uint32_t o) {
    const uint32_t y = place / g->X, x = place % g->X;
    if (!g->weight) return s[(size_t)place * g->O + o];
    double sum = g->bias ? g->bias->value[o] : 0;
    size_t at;
    for (uint32_t h = 0; h < g->H; h++)
        for (uint32_t w = 0; w < g->W; w++)
            for (uint32_t c = 0; c < g->C; c++)
                if (weight_at(g, h, w, c, y, x, o, &at))
                    sum += g->weight->value[at] * s[((size_t)h * g->W + w) * g->C + c];
    return sum;
}

static void send_back(const regressor *g, double d, const double *s, uint32_t place, uint32_t o,
                      double *ds) {
    const uint32_t y = place / g->X, x = place % g->X;
    if (!g->weight) {
        ds[(size_t)place * g->O + o] += d;
        return;
    }
    if (g->bias) g->bias->gradient[o] += d;
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

enum { MOST = 1024 }; /* samples times places of a reference's teacher */

/* One channel behind the linear part, `count` values: z becomes what is compared, and `norm` is
 * what the normalisation divided by. */
static void finish(const regressor *g, uint32_t o, double *z, double *unit, uint32_t count,
                   double *norm) {
    double mean = 0, variance = 0;
    for (uint32_t i = 0; i < count; i++)
        mean += z[i] / count;
    for (uint32_t i = 0; i < count; i++)
        variance += (z[i] - mean) * (z[i] - mean) / count;
    *norm = sqrt(variance + 1e-5);
    for (uint32_t i = 0; i < count; i++) {
        unit[i] = (z[i] - mean) / *norm;
        if (g->gamma) z[i] = g->gamma->value[o] * unit[i] + g->beta->value[o];
        if (g->relu) z[i] = fmax(z[i], 0);
    }
}

/* d, the gradient by what is compared, becomes the one by the linear part. */
static void undo(const regressor *g, uint32_t o, const double *z, const double *unit,
                 uint32_t count, double norm, double *d) {
    double mean = 0, along = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (g->relu && z[i] <= 0) d[i] = 0;
        mean += d[i] / count;
        along += d[i] * unit[i] / count;
    }
    if (!g->gamma) return;
    g->gamma->gradient[o] += along * count;
    g->beta->gradient[o] += mean * count;
    for (uint32_t i = 0; i < count; i++)
        d[i] = g->gamma->value[o] * (d[i] - mean - unit[i] * along) / norm;
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const config *c = cfg;
    for (uint32_t i = 0; i < r->pair_count; i++) {
        const vkd__loss_ref_pair *p = &r->pairs[i];
        const regressor g = regressor_of(r, c, i);
        const size_t S = (size_t)g.H * g.W * g.C, places = (size_t)g.Y * g.X, T = places * g.O;
        const double scale = (c->reduction == HALF_SUM ? 0.5 : 1.0 / (double)T) / r->N;
        const uint32_t count = (uint32_t)(r->N * places);
        double z[MOST], unit[MOST], d[MOST], norm;
        VKD_ASSERT(count <= MOST);
        for (uint32_t o = 0; o < g.O; o++) {
            for (uint32_t k = 0; k < count; k++)
                z[k] = applied(&g, p->student + k / places * S, (uint32_t)(k % places), o);
            finish(&g, o, z, unit, count, &norm);
            for (uint32_t k = 0; k < count; k++) {
                const double gap = z[k] - p->teacher[k * (size_t)g.O + o];
                r->loss += scale * gap * gap;
                d[k] = 2 * scale * gap;
            }
            undo(&g, o, z, unit, count, norm, d);
            for (uint32_t k = 0; k < count; k++)
                send_back(&g, d[k], p->student + k / places * S, (uint32_t)(k % places), o,
                          p->dstudent + k / places * S);
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
    {.set = {{"regressor", "strided"}},
     .pair_count = 3,
     .student = {VKD__MAPS(3, 4, 6, 5), VKD__MAPS(3, 2, 3, 4), VKD__MAPS(3, 4, 3, 2)},
     .teacher = {VKD__MAPS(3, 2, 3, 4), VKD__MAPS(3, 4, 6, 3), VKD__MAPS(3, 4, 2, 5)}},
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
