// SPDX-License-Identifier: Apache-2.0
/* Contrastive representation distillation: of a sample and many of other classes the student's
 * features pick the sample's own features of the teacher, and the other way round.
 *
 *   v = unit vector of W f + b: one trained embedding for the student's and one for the teacher's
 *       features, f all of a sample in one row
 *   B, B' banks: for each sample of the split the last v of student and teacher
 *   P(v, b) = exp(v . b / T) / Z,  c = k / n + 1e-7, n the samples that the stage trains on
 *   one side = 1/N sum_n [ log((P(v_n, b_n) + c) / P(v_n, b_n))
 *                        + sum over k negatives j of log((P(v_n, b_j) + c) / (k/n)) ]
 *   loss = that of the student's v against B' and of the teacher's v against B; summed over pairs
 *   after scoring, for each sample n of the batch: b_n = unit vector of m b_n + (1 - m) v_n
 *   ds = 1/(N T) of -c / (P + c) for the positive and P / (P + c) for the negatives, by v . b; from
 *        there by the chain rule. Banks and Z are constants to the gradient.
 *
 * Summed over the negatives. Z is n times the mean of exp(v . b / T), a state for each side: `once`
 * sets it in the first step for good, as the authors' code does; `ema` then lets it follow with
 * 0.99. Negatives are of other classes (runtime/ops/negatives.c): distinct, where k are there, else
 * each comes once before any comes again; k stays k in c. A sample that comes twice in a batch
 * leaves its last v in the bank. Banks begin as the authors' do, uniform within +-sqrt(3 / dim), of
 * about unit length. Banks, Z and the table of samples are states of the phase; draws follow from
 * seed and step: a resumed run goes on to the same bits.
 *
 * Tian, Krishnan, Isola, arXiv:1910.10699. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/shuffle.h"
#include "losses/loss.h"

enum { Z_ONCE, Z_EMA };
#define Z_DECAY 0.99f
#define STREAM "crd.negatives"
#define LITTLE 1e-7

typedef struct config {
    uint32_t k, dim, z;
    float temperature, momentum;
} config;

static const vkd__field fields[] = {
    {.name = "k",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, k),
     .low = 1,
     .high = 1e6,
     .preset = "1024",
     .help = "negatives of each sample; the paper has 16384"},
    {.name = "dim",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, dim),
     .low = 4,
     .high = 512,
     .preset = "128",
     .help = "width of the embeddings, a multiple of 4"},
    {.name = "temperature",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, temperature),
     .low = 0.02, /* exp(1 / T) fits into f32 */
     .high = 100,
     .preset = "0.07",
     .help = "of the scores"},
    {.name = "momentum",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, momentum),
     .low = 0,
     .high = 0.999,
     .preset = "0.5",
     .help = "how much of a bank's row stays when its sample is seen again"},
    {.name = "z",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, z),
     .preset = "once",
     .words = "once|ema",
     .help = "the constant that scores are divided by: set by the first step, or following with "
             "0.99"},
};

static const char *misfit(vkd_shape s, vkd_shape t, const void *cfg) {
    (void)s;
    (void)t;
    return ((const config *)cfg)->dim % 4 ? "dim must be a multiple of 4" : NULL;
}

/* ---- The graph ---- */

static const char *name_of(const vkd__loss_io *io, uint32_t pair, const char *what, char *out,
                           size_t size) {
    snprintf(out, size, "%s.%u.%s", io->adapters, (unsigned)pair, what);
    return out;
}

/* One side of a pair. */
typedef struct side {
    vkd_tensor v, bank, constant;
} side;

static side embed(vkd_graph *g, const vkd__loss_io *io, const config *c, uint32_t pair,
                  const char *whose, vkd_tensor features) {
    char name[256], what[32];
    const vkd_tensor rows = vkd__loss_rows(g, features);
    const uint32_t in = vkd_tensor_shape(g, rows).dim[1];
    const vkd_init weight = {.kind = VKD_INIT_FAN_IN_UNIFORM};
    const vkd_init bias = {.kind = VKD_INIT_FAN_IN_UNIFORM, .fan_in = in, .no_decay = true};
    snprintf(what, sizeof what, "%s.weight", whose);
    const vkd_tensor W =
        vkd_param(g, name_of(io, pair, what, name, sizeof name), VKD_SHAPE(c->dim, in), &weight);
    snprintf(what, sizeof what, "%s.bias", whose);
    const vkd_tensor b =
        vkd_param(g, name_of(io, pair, what, name, sizeof name), VKD_SHAPE(c->dim), &bias);
    const vkd_matmul_desc linear = {.transpose_b = true, .bias = b, .f32_result = true};
    side s = {.v = vkd_l2_normalize(g, vkd_matmul(g, rows, W, &linear), 1e-12f)};
    snprintf(what, sizeof what, "%s.bank", whose);
    s.bank = vkd_state(g, name_of(io, pair, what, name, sizeof name), VKD_F32,
                       VKD_SHAPE(io->samples, c->dim));
    snprintf(what, sizeof what, "%s.constant", whose);
    s.constant = vkd_state(g, name_of(io, pair, what, name, sizeof name), VKD_F32, VKD_SHAPE(1));
    return s;
}

static vkd_tensor contrast(vkd_graph *g, const vkd__loss_io *io, const config *c, const side *own,
                           const side *other, vkd_tensor choices) {
    const vkd_bank_nce_desc desc = {
        .temperature = c->temperature, .samples = io->used, .decay = c->z == Z_EMA ? Z_DECAY : 0};
    return vkd_bank_nce(g, own->v, other->bank, choices, own->constant, &desc);
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    char name[256];
    snprintf(name, sizeof name, "%s.samples", io->adapters);
    const vkd_tensor table = vkd_state(g, name, VKD_I32, VKD_SHAPE(io->used));
    snprintf(name, sizeof name, "%s.starts", io->adapters);
    const vkd_tensor starts = vkd_state(g, name, VKD_I32, VKD_SHAPE(io->classes + 1));
    const vkd_tensor choices =
        vkd_negatives(g, table, starts, io->indices, io->labels, c->k, STREAM);
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        const side s = embed(g, io, c, i, "student", io->pairs[i].student);
        const side t = embed(g, io, c, i, "teacher", io->pairs[i].teacher);
        const vkd_tensor one =
            vkd_add(g, contrast(g, io, c, &s, &t, choices), contrast(g, io, c, &t, &s, choices));
        loss = i ? vkd_add(g, loss, one) : one;
        vkd_bank_update(g, s.bank, vkd_stop_gradient(g, s.v), io->indices, c->momentum);
        vkd_bank_update(g, t.bank, vkd_stop_gradient(g, t.v), io->indices, c->momentum);
    }
    return loss;
}

/* ---- States before the first step ---- */

/* The samples in use, sorted by class, and where each class begins among them. */
static vkd_result write_table(vkd_ctx *ctx, vkd_store *store, const vkd__loss_split *split,
                              vkd__arena *arena) {
    const uint32_t classes = split->classes;
    int32_t *table = VKD_NEW(arena, int32_t, split->used_count);
    int32_t *starts = VKD_NEW(arena, int32_t, (size_t)classes + 1);
    const char *names[] = {vkd__arena_format(arena, "%s.samples", split->adapters),
                           vkd__arena_format(arena, "%s.starts", split->adapters)};
    if (!table || !starts || !names[0] || !names[1]) return VKD_E_MEMORY;
    uint32_t count = 0, filled = 0;
    for (uint32_t c = 0; c < classes; c++) {
        starts[c] = (int32_t)count;
        for (uint32_t i = 0; i < split->used_count; i++)
            if (split->labels[split->used[i]] == (int32_t)c)
                table[count++] = (int32_t)split->used[i];
        filled += count > (uint32_t)starts[c];
    }
    starts[classes] = (int32_t)count;
    if (filled < 2)
        return vkd__fail(ctx, VKD_E_DATA,
                         "the loss crd contrasts samples of different classes, and those that it "
                         "gets are of %u",
                         (unsigned)filled);
    vkd_result r = vkd_store_write(store, names[0], table, split->used_count * sizeof *table);
    if (!r) r = vkd_store_write(store, names[1], starts, ((size_t)classes + 1) * sizeof *starts);
    return r;
}

/* The same numbers for a student and its control, on every device. */
static vkd_result write_bank(vkd_ctx *ctx, vkd_store *store, const char *name, const char *stream,
                             uint32_t seed) {
    vkd_store_info info;
    if (!vkd_store_find(store, name, &info))
        return vkd__fail(ctx, VKD_E_ARGUMENT, "there is no '%s'", name);
    const uint64_t count = vkd_shape_count(info.shape);
    const float size = sqrtf(3.0f / (float)info.shape.dim[1]);
    float *bank = vkd__alloc(ctx, count, sizeof *bank);
    if (!bank) return VKD_E_MEMORY;
    const uint32_t key = vkd__philox_stream(stream);
    vkd__philox bits = {{0}};
    for (uint64_t i = 0; i < count; i++) {
        if (i % 4 == 0) bits = vkd__philox_at(seed, key, 0, (uint32_t)(i / 4));
        bank[i] = size * (2 * vkd__philox_uniform(bits.v[i % 4]) - 1);
    }
    const vkd_result r = vkd_store_write(store, name, bank, count * sizeof *bank);
    vkd__free(ctx, bank);
    return r;
}

static vkd_result prepare(vkd_ctx *ctx, vkd_store *store, const vkd__loss_split *split,
                          const void *cfg) {
    static const char *const whose[] = {"student", "teacher"};
    (void)cfg;
    vkd__arena arena = {.ctx = ctx};
    vkd_result r = write_table(ctx, store, split, &arena);
    for (uint32_t i = 0; i < 2 * VKD__MAX_PAIRS && !r; i++) {
        char stream[32];
        snprintf(stream, sizeof stream, "%u.%s.bank", (unsigned)(i / 2), whose[i % 2]);
        const char *name = vkd__arena_format(&arena, "%s.%s", split->adapters, stream);
        if (!name) r = VKD_E_MEMORY;
        if (!r && !vkd_store_find(store, name, NULL)) break;
        if (!r) r = write_bank(ctx, store, name, stream, split->seed);
    }
    vkd__arena_term(&arena);
    return r;
}

/* ---- Reference ---- */

typedef struct ref_side {
    const double *features; /* (N, in) */
    uint32_t in, dim;
    const vkd__loss_ref_adapter *weight, *bias, *bank, *constant;
    double *dfeatures; /* NULL: no gradient flows */
} ref_side;

static const vkd__loss_ref_adapter *part_of(const vkd__loss_ref *r, uint32_t pair,
                                            const char *whose, const char *what) {
    char name[64];
    snprintf(name, sizeof name, "%u.%s.%s", (unsigned)pair, whose, what);
    return vkd__loss_ref_find(r, name);
}

static ref_side side_of(const vkd__loss_ref *r, uint32_t pair, const char *whose) {
    return (ref_side){.weight = part_of(r, pair, whose, "weight"),
                      .bias = part_of(r, pair, whose, "bias"),
                      .bank = part_of(r, pair, whose, "bank"),
                      .constant = part_of(r, pair, whose, "constant")};
}

/* Element d of the embedding of row n, before it gets unit length. */
static double embedded(const ref_side *s, uint32_t n, uint32_t d) {
    double sum = s->bias->value[d];
    for (uint32_t i = 0; i < s->in; i++)
        sum += s->weight->value[(size_t)d * s->in + i] * s->features[(size_t)n * s->in + i];
    return sum;
}

static double length(const ref_side *s, uint32_t n) {
    double sum = 0;
    for (uint32_t d = 0; d < s->dim; d++)
        sum += pow(embedded(s, n, d), 2);
    return fmax(sqrt(sum), 1e-12);
}

/* Choice j of row n: itself, then its negatives, as the sampler draws them. */
static uint32_t choice(const vkd__loss_ref *r, uint32_t n, uint32_t j) {
    const double *table = vkd__loss_ref_find(r, "samples")->value;
    const double *starts = vkd__loss_ref_find(r, "starts")->value;
    if (j == 0) return (uint32_t)r->indices[n];
    const bool known = r->labels[n] >= 0 && (uint32_t)r->labels[n] < r->V;
    const uint32_t begin = known ? (uint32_t)starts[r->labels[n]] : 0;
    const uint32_t own = known ? (uint32_t)starts[r->labels[n] + 1] - begin : 0;
    const uint32_t others = (uint32_t)starts[r->V] - own;
    vkd__philox key = vkd__philox_at(r->seed, vkd__philox_stream(STREAM), (uint32_t)r->step, n);
    for (int i = 0; i < 4; i++)
        key.v[i] += (j - 1) / others;
    const uint32_t at = vkd__shuffle(key, others, (j - 1) % others);
    return (uint32_t)table[at < begin ? at : at + own];
}

static double score(const vkd__loss_ref *r, const ref_side *own, const ref_side *other, uint32_t n,
                    uint32_t j) {
    const double *row = other->bank->value + (size_t)choice(r, n, j) * own->dim,
                 size = length(own, n);
    double sum = 0;
    for (uint32_t d = 0; d < own->dim; d++)
        sum += embedded(own, n, d) / size * row[d];
    return sum;
}

/* A derivative by the score of choice j goes to the embedding and to the features. */
static void send_back(const vkd__loss_ref *r, const ref_side *own, const ref_side *other,
                      uint32_t n, uint32_t j, double ds) {
    const double *row = other->bank->value + (size_t)choice(r, n, j) * own->dim,
                 size = length(own, n);
    const double along = score(r, own, other, n, j);
    for (uint32_t d = 0; d < own->dim; d++) {
        const double dy = ds * (row[d] - along * embedded(own, n, d) / size) / size;
        own->bias->gradient[d] += dy;
        for (uint32_t i = 0; i < own->in; i++) {
            own->weight->gradient[(size_t)d * own->in + i] +=
                dy * own->features[(size_t)n * own->in + i];
            if (own->dfeatures)
                own->dfeatures[(size_t)n * own->in + i] +=
                    dy * own->weight->value[(size_t)d * own->in + i];
        }
    }
}

static double constant_of(const vkd__loss_ref *r, const config *c, const ref_side *own,
                          const ref_side *other) {
    if (own->constant->value[0] != 0) return own->constant->value[0];
    double sum = 0;
    for (uint32_t n = 0; n < r->N; n++)
        for (uint32_t j = 0; j <= c->k; j++)
            sum += exp(score(r, own, other, n, j) / (double)c->temperature);
    return sum / (r->N * (c->k + 1.0)) * r->samples;
}

static void one_side(vkd__loss_ref *r, const config *c, const ref_side *own,
                     const ref_side *other) {
    const double Z = constant_of(r, c, own, other), T = (double)c->temperature;
    const double noise = (double)c->k / r->samples, floor = noise + LITTLE;
    for (uint32_t n = 0; n < r->N; n++)
        for (uint32_t j = 0; j <= c->k; j++) {
            const double P = exp(score(r, own, other, n, j) / T) / Z;
            r->loss += log((P + floor) / (j ? noise : P)) / r->N;
            send_back(r, own, other, n, j, (j ? P : -floor) / (P + floor) / T / r->N);
        }
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const config *c = cfg;
    for (uint32_t i = 0; i < r->pair_count; i++) {
        const vkd__loss_ref_pair *p = &r->pairs[i];
        ref_side s = side_of(r, i, "student"), t = side_of(r, i, "teacher");
        s.features = p->student;
        s.in = (uint32_t)(vkd_shape_count(p->student_shape) / r->N);
        s.dfeatures = p->dstudent;
        t.features = p->teacher;
        t.in = (uint32_t)(vkd_shape_count(p->teacher_shape) / r->N);
        s.dim = t.dim = c->dim;
        one_side(r, c, &s, &t);
        one_side(r, c, &t, &s);
    }
}

/* Temperatures at which no exponential outgrows what f32 can say of a difference. */
static const vkd__loss_case cases[] = {
    {.set = {{"k", "6"}, {"dim", "4"}, {"temperature", "0.5"}},
     .pair_count = 1,
     .student = {VKD__ROWS(3, 5)},
     .teacher = {VKD__ROWS(3, 7)}},
    {.set = {{"k", "30"}, {"dim", "8"}, {"temperature", "0.3"}, {"z", "ema"}},
     .pair_count = 2,
     .student = {VKD__MAPS(5, 2, 2, 3), VKD__ROWS(5, 6)},
     .teacher = {VKD__MAPS(5, 1, 2, 4), VKD__ROWS(5, 3)}},
};

const vkd__loss_def vkd_loss_crd = {
    .name = "crd",
    .summary = "contrast with a memory bank: a sample's features among those of other classes",
    .paper = "Tian, Krishnan, Isola, arXiv:1910.10699",
    .formula = "mean over rows of the noise-contrastive loss of v against the other side's bank, "
               "summed over k negatives, both ways",
    .needs = VKD__LOSS_TAPS | VKD__LOSS_LABELS | VKD__LOSS_INDICES,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .reference = reference,
    .misfit = misfit,
    .prepare = prepare,
    .cases = cases,
    .case_count = VKD_COUNT(cases),
};
