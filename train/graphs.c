// SPDX-License-Identifier: Apache-2.0
/* A training step as one graph:
 *
 *   x = augment(normalise(data.train[indices])), the same for student and teacher
 *   student = model(x), teacher = frozen model(x) or cached logits[indices], or several combined
 *   loss = sum_i weight_i * loss_i(student, teacher, labels[indices]), logits or taps of both
 *   gradient of the student's group, guard, optimiser, moving average
 *
 * Where a stage also learns from samples that another stage labelled, they are the second part of
 * the batch: the student sees all at once, the stage's losses the first part, and the loss of the
 * labels the second.
 *
 * With mixed precision the training graph computes in 16 bits, teacher and student alike;
 * evaluation and cached logits use the f32 parameters that the user takes away, in f32.
 *
 * The data set's tensors and cached logits are called "data.…", which no model may be. */
#include <stdio.h>
#include <string.h>

#include "train/model_order.h"
#include "train/session.h"

void vkd__cache_name(const vkd__recipe_model *teacher, char *out, size_t size) {
    snprintf(out, size, "data.logits.%s", teacher->name);
}

void vkd__adapters_name(const vkd__phase *p, const vkd__term *t, char out[VKD__ADAPTERS_NAME]) {
    snprintf(out, VKD__ADAPTERS_NAME, "%s.adapter.%s", p->group, t->name);
}

static vkd_tensor images(vkd_graph *g, const vkd__session *s, const char *split, uint32_t count,
                         vkd_tensor indices) {
    const vkd_shape sample = s->data->sample;
    vkd_shape shape = {.axes = sample.axes + 1, .dim = {count}};
    for (uint32_t i = 0; i < sample.axes && i + 1 < VKD_MAX_AXES; i++)
        shape.dim[i + 1] = sample.dim[i];
    return vkd_batch(g, vkd_state(g, split, VKD_U8, shape), indices, &s->batch);
}

/* By the stage's name, so that a control sees the images that its twin sees. */
static vkd_tensor augmented(vkd_graph *g, const vkd__recipe_stage *stage, vkd_tensor x) {
    char name[128];
    snprintf(name, sizeof name, "augment.%s", stage->name);
    return stage->augmented ? vkd_augment(g, x, &stage->augment, name) : x;
}

/* Returns the logits; the other taps are in io. */
static vkd_tensor forward(vkd_graph *g, const vkd__session *s, const vkd__recipe_model *m,
                          const char *group, vkd_tensor x, bool training, vkd__model_io *io) {
    *io = (vkd__model_io){
        .group = group, .input = x, .classes = s->data->classes, .training = training};
    vkd__model_build(g, m->def, io, m->part.config, &m->embedding);
    return vkd__tap_find(io, "logits");
}

static vkd_tensor teacher_logits(vkd_graph *g, const vkd__session *s, const vkd__phase *p,
                                 uint32_t k, vkd_tensor indices, vkd_tensor x, vkd__model_io *io) {
    const vkd__recipe_model *m = &s->recipe->models[p->stage->teachers[k].model];
    if (p->stage->teachers[k].cache) return vkd__cached_teacher(g, s, p, k, indices, io);
    if (p->stage->options.teacher_logits == VKD__LOGITS_LIVE)
        return forward(g, s, m, m->name, x, false, io);
    char name[128];
    vkd__cache_name(m, name, sizeof name);
    const vkd_tensor table =
        vkd_state(g, name, VKD_F32, VKD_SHAPE(s->data->train.count, s->data->classes));
    const vkd_tensor logits = vkd_gather(g, table, indices);
    /* Only shapes are taken of this pass: nothing that the step computes depends on it. */
    if (vkd__kept_taps_any(s, p, k)) {
        forward(g, s, m, m->name, x, false, io);
        vkd__kept_taps(g, s, p, k, indices, logits, io);
    }
    return logits;
}

static vkd_tensor plus(vkd_graph *g, vkd_tensor sum, vkd_tensor part) {
    return sum.id ? vkd_add(g, sum, part) : part;
}

/* What losses are computed from. */
typedef struct sides {
    vkd__model_io student;
    vkd__model_io teachers[VKD__MAX_TEACHERS]; /* without taps where logits are cached */
    vkd_tensor logits[VKD__MAX_TEACHERS];
    vkd__loss_io io;
    vkd_tensor pseudo, targets; /* of the part that a stage labelled: (N, V) */
} sides;

static bool wants_labels(const vkd__phase *p) {
    for (uint32_t i = 0; i < p->term_count; i++)
        if (p->terms[i].def->needs & VKD__LOSS_LABELS) return true;
    return false;
}

/* Rows of a batch, which may be all of them. */
static vkd_tensor part(vkd_graph *g, vkd_tensor t, uint32_t start, uint32_t count) {
    return vkd_tensor_shape(g, t).dim[0] == count ? t : vkd_slice(g, t, 0, start, count);
}

static vkd_tensor targets_of(vkd_graph *g, const vkd__session *s, const vkd__phase *p) {
    char name[128];
    vkd__label_name(p->labels, name, sizeof name);
    const vkd_shape shape = VKD_SHAPE(vkd__label_samples(s, p->labels), s->data->classes);
    const vkd_tensor rows = vkd_input(g, "rows", VKD_I32, VKD_SHAPE(vkd__phase_pseudo(p)));
    return vkd_gather(g, vkd_state(g, name, VKD_F32, shape), rows);
}

static void build_sides(vkd_graph *g, const vkd__session *s, const vkd__phase *p, sides *out) {
    const uint32_t labelled = vkd__phase_labelled(p), pseudo = vkd__phase_pseudo(p);
    const vkd_tensor all = vkd_input(g, "indices", VKD_I32, VKD_SHAPE(labelled + pseudo));
    const vkd_tensor x =
        augmented(g, p->stage, images(g, s, "data.train", s->data->train.count, all));
    *out = (sides){0};
    const vkd_tensor student = forward(g, s, p->model, p->group, x, true, &out->student);
    out->io = (vkd__loss_io){
        .samples = s->data->train.count, .used = p->samples, .classes = s->data->classes};
    if (pseudo) {
        out->pseudo = part(g, student, labelled, pseudo);
        out->targets = targets_of(g, s, p);
    }
    if (!labelled) return;
    out->io.student = part(g, student, 0, labelled);
    out->io.indices = part(g, all, 0, labelled);
    for (uint32_t k = 0; k < p->teacher_count; k++)
        out->logits[k] =
            teacher_logits(g, s, p, k, out->io.indices, part(g, x, 0, labelled), &out->teachers[k]);
    if (wants_labels(p)) out->io.labels = vkd_input(g, "labels", VKD_I32, VKD_SHAPE(labelled));
}

static vkd_result build_term(vkd_graph *g, const vkd__session *s, const vkd__phase *p,
                             const vkd__term *t, const sides *in, vkd_tensor *out) {
    char adapters[VKD__ADAPTERS_NAME], name[128];
    vkd__tap_pair pairs[VKD__MAX_PAIRS];
    vkd__loss_io io = in->io;
    vkd__adapters_name(p, t, adapters);
    io.adapters = adapters;
    io.pairs = pairs;
    io.pair_count = t->tap_count;
    if (t->def->needs & VKD__LOSS_TAU) {
        snprintf(name, sizeof name, "tau.%s", t->name);
        io.tau = vkd_setting(g, name, t->tau);
    }
    if (t->pseudo) {
        io.student = in->pseudo;
        io.teacher = in->targets;
    } else if (t->def->needs & VKD__LOSS_TEACHER)
        io.teacher = vkd__teachers_combine(g, p->stage, in->logits, io.tau);
    const vkd_result r =
        vkd__taps_find(s, p, t, g, &in->student, in->teachers, vkd__phase_labelled(p), pairs);
    if (!r)
        *out = t->def->fused ? t->def->fused(g, &io, t->config) : t->def->build(g, &io, t->config);
    return r;
}

/* *scaled is what gradients are taken of: scale times the loss, with the scale in the weights,
 * which are there before the losses are: so that these give their gradients in the pass that gives
 * their values. Without a scale it is the loss. */
static vkd_result weighted_sum(vkd_graph *g, const vkd__session *s, const vkd__phase *p,
                               const sides *in, vkd_tensor scale, vkd_tensor *loss,
                               vkd_tensor *scaled) {
    vkd_tensor total = {0};
    char name[128];
    for (uint32_t i = 0; i < p->term_count; i++) {
        const vkd__term *t = &p->terms[i];
        snprintf(name, sizeof name, "weight.%s", t->name);
        const vkd_tensor weight = vkd_setting(g, name, t->weight);
        const vkd_tensor factor = scale.id ? vkd_mul(g, weight, scale) : weight;
        vkd_tensor value = {0};
        const vkd_result r = build_term(g, s, p, t, in, &value);
        if (r) return r;
        snprintf(name, sizeof name, "loss.%s", t->name);
        vkd_output(g, name, value);
        total = plus(g, total, vkd_mul(g, value, weight));
        if (scale.id) *scaled = plus(g, *scaled, vkd_mul(g, value, factor));
    }
    if (!scale.id) *scaled = total;
    *loss = vkd_name(g, total, "loss");
    return VKD_OK;
}

/* The graph, or the reason why not: r, or the graph's first mistake. */
static vkd_result finish(vkd_graph *g, vkd_result r, vkd_graph **out) {
    if (!r) r = vkd_graph_status(g);
    if (r)
        vkd_graph_destroy(g);
    else
        *out = g;
    return r;
}

static vkd_graph_desc training_desc(const vkd__session *s, const vkd__phase *p) {
    static const vkd_dtype types[] = {[VKD__PRECISION_F32] = VKD_F32,
                                      [VKD__PRECISION_MIXED] = VKD_F16,
                                      [VKD__PRECISION_MIXED_BF16] = VKD_BF16};
    return (vkd_graph_desc){
        .name = p->group, .seed = s->seed, .compute = types[s->recipe->options.precision]};
}

vkd_result vkd__graph_declare(const vkd__session *s, const vkd__phase *p) {
    vkd_graph *g = NULL;
    const vkd_graph_desc desc = training_desc(s, p);
    vkd_result r = vkd_graph_create(s->ctx, s->store, &desc, &g);
    if (r) return r;
    vkd_tensor loss = {0}, scaled = {0};
    sides in;
    build_sides(g, s, p, &in);
    r = weighted_sum(g, s, p, &in, (vkd_tensor){0}, &loss, &scaled);
    if (!r) r = vkd_graph_status(g);
    vkd_graph_destroy(g);
    return r;
}

/* sqrt(sum |dloss/dw|^2) over the model's parameters; adapters are none. */
static vkd_tensor gradient_norm(vkd_graph *g, const vkd__session *s, const char *group,
                                vkd_tensor loss) {
    const uint32_t all = vkd_store_count(s->store);
    const size_t length = strlen(group);
    vkd_tensor *of = vkd__alloc(s->ctx, 2 * (size_t)all, sizeof *of), sum = {0};
    if (!of) return sum;
    vkd_tensor *gradients = of + all;
    uint32_t count = 0;
    for (uint32_t i = 0; i < all; i++) {
        const vkd_store_info info = vkd_store_at(s->store, i);
        if (info.parameter && !strncmp(info.name, group, length) && info.name[length] == '.' &&
            !vkd__is_adapter(info.name + length + 1))
            of[count++] = vkd_param(g, info.name, info.shape, NULL);
    }
    vkd_backward(g, loss, of, count, gradients);
    for (uint32_t i = 0; i < count; i++)
        sum = plus(g, sum, vkd_sum(g, vkd_square(g, gradients[i]), VKD_ALL_AXES, false));
    vkd__free(s->ctx, of);
    return vkd_sqrt(g, sum);
}

vkd_result vkd__graph_gauge(const vkd__session *s, const vkd__phase *p, uint32_t term,
                            vkd_graph **out) {
    *out = NULL;
    vkd_graph *g = NULL;
    vkd_graph_desc desc = training_desc(s, p);
    desc.compute = VKD_F32; /* small gradients must not vanish for want of a loss scale */
    vkd_result r = vkd_graph_create(s->ctx, s->store, &desc, &g);
    if (r) return r;
    sides in;
    vkd_tensor value = {0};
    build_sides(g, s, p, &in);
    r = build_term(g, s, p, &p->terms[term], &in, &value);
    if (r) return finish(g, r, out);
    const vkd_tensor norm = gradient_norm(g, s, p->group, value);
    if (!norm.id && !vkd_graph_status(g)) return finish(g, VKD_E_MEMORY, out);
    vkd_output(g, "value", value);
    vkd_output(g, "norm", norm);
    return finish(g, VKD_OK, out);
}

vkd_result vkd__graph_train(const vkd__session *s, const vkd__phase *p, vkd_graph **out) {
    *out = NULL;
    const vkd__recipe_options *options = &s->recipe->options;
    vkd_graph *g = NULL;
    const vkd_graph_desc desc = training_desc(s, p);
    vkd_result r = vkd_graph_create(s->ctx, s->store, &desc, &g);
    if (r) return r;
    sides in;
    build_sides(g, s, p, &in);

    /* bf16 has the range of f32 and needs no loss scale. */
    vkd_tensor scale = {0}, scaled = {0}, loss = {0};
    if (desc.compute == VKD_F16) scale = vkd_loss_scale(g, p->group, options->loss_scale);
    r = weighted_sum(g, s, p, &in, scale, &loss, &scaled);
    if (r) return finish(g, r, out);
    const vkd_tensor gradient = vkd_gradient(g, scaled, p->group);
    const vkd__optimiser_base *base = p->stage->optimiser_part.config;
    const vkd_tensor guard = scale.id ? vkd_guard_scaled(g, p->group, gradient, loss, base->clip,
                                                         scale, options->loss_scale_growth)
                                      : vkd_guard(g, p->group, gradient, loss, base->clip);
    p->stage->optimiser->build(g, p->group, gradient, guard, vkd_setting(g, "lr", base->lr),
                               p->stage->optimiser_part.config);
    if (p->average) vkd_ema(g, p->average, p->group, vkd_setting(g, "ema", 0));
    vkd_output(g, "loss", loss);
    vkd_output(g, "guard", guard);
    if (scale.id) vkd_output(g, "loss_scale", scale);
    return finish(g, VKD_OK, out);
}

/* Far from the seeds that --seeds counts through, so that no model of one repetition starts as one
 * of the next. */
static uint32_t start_seed(const vkd__session *s, const vkd__recipe_model *m) {
    return s->seed + m->init_seed * 0x9e3779b9u;
}

vkd_result vkd__graph_infer(const vkd__session *s, const vkd__recipe_model *m, const char *group,
                            const char *split, uint32_t count, uint32_t batch, vkd_graph **out) {
    *out = NULL;
    vkd_graph *g = NULL;
    char name[128];
    snprintf(name, sizeof name, "%s.logits", group);
    const vkd_result r = vkd_graph_create(
        s->ctx, s->store, &(vkd_graph_desc){.name = name, .seed = start_seed(s, m)}, &g);
    if (r) return r;
    const vkd_tensor indices = vkd_input(g, "indices", VKD_I32, VKD_SHAPE(batch));
    const vkd_tensor x = images(g, s, split, count, indices);
    vkd__model_io io;
    vkd_output(g, "logits", forward(g, s, m, group, x, false, &io));
    return finish(g, VKD_OK, out);
}

vkd_result vkd__graph_tap(const vkd__session *s, const vkd__recipe_model *m, const char *group,
                          const char *tap, const char *split, uint32_t count, uint32_t batch,
                          uint32_t *width, vkd_graph **out) {
    *out = NULL;
    vkd_graph *g = NULL;
    char name[128];
    snprintf(name, sizeof name, "%s.features", group);
    vkd_result r =
        vkd_graph_create(s->ctx, s->store, &(vkd_graph_desc){.name = name, .seed = s->seed}, &g);
    if (r) return r;
    const vkd_tensor indices = vkd_input(g, "indices", VKD_I32, VKD_SHAPE(batch));
    const vkd_tensor x = images(g, s, split, count, indices);
    vkd__model_io io;
    vkd_tensor features = {0};
    forward(g, s, m, group, x, false, &io);
    r = vkd_graph_status(g);
    if (!r) r = vkd__tap_of(s->ctx, g, "evaluation.retrieval", m->name, &io, tap, &features);
    if (r) return finish(g, r, out);
    *width = (uint32_t)(vkd_shape_count(vkd_tensor_shape(g, features)) / batch);
    vkd_output(g, "features", vkd_reshape(g, features, VKD_SHAPE(batch, *width)));
    return finish(g, VKD_OK, out);
}

vkd_result vkd__graph_show(const vkd__session *s, const vkd__recipe_model *m, const char *group,
                           uint32_t batch, const char *const *taps, uint32_t tap_count,
                           vkd_shape *shapes, vkd_graph **out) {
    *out = NULL;
    vkd_graph *g = NULL;
    char name[128];
    snprintf(name, sizeof name, "%s.show", group);
    const vkd_result r =
        vkd_graph_create(s->ctx, s->store, &(vkd_graph_desc){.name = name, .seed = s->seed}, &g);
    if (r) return r;
    const vkd_tensor indices = vkd_input(g, "indices", VKD_I32, VKD_SHAPE(batch));
    const vkd_tensor x = images(g, s, "data.test", s->data->test.count, indices);
    vkd__model_io io;
    vkd_output(g, "logits", forward(g, s, m, group, x, false, &io));
    for (uint32_t i = 0; i < tap_count; i++) {
        const vkd_tensor tap = vkd__tap_find(&io, taps[i]);
        shapes[i] = VKD_SCALAR;
        if (!tap.id || vkd_tensor_shape(g, tap).axes != 4) continue;
        const vkd_tensor map = vkd_mean(g, vkd_square(g, tap), 1u << 3, false);
        shapes[i] = vkd_tensor_shape(g, map);
        snprintf(name, sizeof name, "map.%s", taps[i]);
        vkd_output(g, name, map);
    }
    return finish(g, VKD_OK, out);
}
