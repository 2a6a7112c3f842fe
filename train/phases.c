// SPDX-License-Identifier: Apache-2.0
/* Stages into phases. A control has the stage's losses that need no teacher; their weights are
 * scaled so that the sum of all weights stays what it is in the stage, because a control that
 * learned with a tenth of the step would lose for that reason alone. Losses on features do not
 * count there: their weights say what units their features have. */
#include <math.h>
#include <string.h>

#include "train/session.h"

/* The value of one of a loss's own options; false when it has none of that name. */
static const vkd__field *option(const vkd__part *part, const char *name, vkd__field_type type) {
    for (size_t i = 0; i < part->field_count; i++)
        if (!strcmp(part->fields[i].name, name) && part->fields[i].type == type)
            return &part->fields[i];
    return NULL;
}

static vkd__term term_of(const vkd__recipe_loss *l) {
    vkd__term t = {.name = l->name,
                   .def = l->def,
                   .config = l->part.config,
                   .weight = l->weight,
                   .final_weight = l->final_weight,
                   .tau = 1,
                   .t_squared = l->def->needs & VKD__LOSS_TAU_SQUARED};
    t.taps = l->taps;
    t.tap_count = l->tap_count;
    const vkd__field *tau = option(&l->part, "tau", VKD__FIELD_F32);
    if (tau) memcpy(&t.tau, (const char *)l->part.config + tau->offset, sizeof t.tau);
    const vkd__field *k = option(&l->part, "k", VKD__FIELD_U32);
    if (k && (l->def->needs & VKD__LOSS_TEACHER))
        memcpy(&t.k, (const char *)l->part.config + k->offset, sizeof t.k);
    const vkd__field *squared = option(&l->part, "t_squared", VKD__FIELD_BOOL);
    if (squared)
        memcpy(&t.t_squared, (const char *)l->part.config + squared->offset, sizeof t.t_squared);
    return t;
}

/* Cross-entropy as it comes, for the control of a stage that has only losses with a teacher. */
static vkd_result plain_ce(vkd__session *s, vkd__term *out) {
    const vkd__loss_def *ce = vkd__loss_find("ce");
    void *config = ce ? vkd__arena_alloc(&s->arena, 1, ce->config_size + 1) : NULL;
    if (!config) return vkd__fail(s->ctx, VKD_E_MEMORY, "no memory for the control's loss");
    vkd__fields_init(ce->fields, ce->field_count, config);
    *out = (vkd__term){
        .name = ce->name, .def = ce, .config = config, .weight = 1, .final_weight = 1, .tau = 1};
    return VKD_OK;
}

uint32_t vkd__phase_labelled(const vkd__phase *p) {
    return p->labels && !p->stage->data.labelled ? 0 : p->stage->options.batch;
}

uint32_t vkd__phase_pseudo(const vkd__phase *p) {
    return p->labels ? p->stage->options.batch * p->stage->data.ratio : 0;
}

/* The part of a batch that a teacher labelled: its loss is the divergence from those labels, which
 * is cross-entropy with them up to their entropy, times ratio (arXiv:1911.04252, whose code weighs
 * a batch by ratio where it has ratio times as many of these samples). */
static vkd_result add_pseudo_term(vkd__session *s, vkd__phase *p) {
    const vkd__loss_def *kl = vkd__loss_find("kd_kl");
    void *config = kl ? vkd__arena_alloc(&s->arena, 1, kl->config_size + 1) : NULL;
    if (!config) return vkd__fail(s->ctx, VKD_E_MEMORY, "no memory for the labels' loss");
    vkd__fields_init(kl->fields, kl->field_count, config);
    for (uint32_t i = 0; i < p->term_count; i++)
        if (!strcmp(p->terms[i].name, "pseudo"))
            return vkd__fail(s->ctx, VKD_E_RECIPE,
                             "stage '%s': the name 'pseudo' is that of the labels' loss",
                             p->stage->name);
    if (p->term_count == VKD__MAX_TERMS)
        return vkd__fail(s->ctx, VKD_E_RECIPE, "stage '%s' has more than %d losses", p->stage->name,
                         VKD__MAX_TERMS);
    p->terms[p->term_count++] = (vkd__term){.name = "pseudo",
                                            .pseudo = true,
                                            .def = kl,
                                            .config = config,
                                            .weight = (float)p->stage->data.ratio,
                                            .final_weight = (float)p->stage->data.ratio,
                                            .tau = 1};
    return VKD_OK;
}

float vkd__term_weight(const vkd__phase *p, uint32_t term, uint64_t step) {
    const vkd__term *t = &p->terms[term];
    const double last = p->steps > 1 ? (double)(p->steps - 1) : 1;
    const double past = fmin((double)step / last, 1);
    if (t->final_weight == t->weight) return t->weight; /* to the bit */
    return (float)((double)t->weight + ((double)t->final_weight - (double)t->weight) * past);
}

static bool counts(const vkd__loss_def *def) {
    return !(def->needs & VKD__LOSS_TAPS);
}

/* Weights as they are at the stage's beginning and at its end. */
typedef struct weights {
    float first, last;
} weights;

static void scale_control(vkd__phase *p, weights all, weights kept) {
    for (uint32_t i = 0; i < p->term_count; i++) {
        vkd__term *t = &p->terms[i];
        if (!counts(t->def)) continue;
        t->weight *= all.first / kept.first;
        t->final_weight = kept.last > 0 ? t->final_weight * (all.last / kept.last) : t->weight;
    }
}

static vkd_result collect_terms(vkd__session *s, vkd__phase *p) {
    const vkd__recipe_stage *stage = p->stage;
    weights all = {0}, kept = {0};
    bool features = false;
    for (uint32_t i = 0; i < stage->loss_count; i++) {
        const vkd__recipe_loss *l = &stage->losses[i];
        const weights w = {counts(l->def) ? l->weight : 0, counts(l->def) ? l->final_weight : 0};
        all = (weights){all.first + w.first, all.last + w.last};
        if (p->control && vkd__loss_needs_teacher(l->def)) continue;
        if (p->term_count == VKD__MAX_TERMS)
            return vkd__fail(s->ctx, VKD_E_RECIPE, "stage '%s' has more than %d losses",
                             stage->name, VKD__MAX_TERMS);
        p->terms[p->term_count++] = term_of(l);
        kept = (weights){kept.first + w.first, kept.last + w.last};
        features = features || (!counts(l->def) && l->weight > 0);
    }
    if (p->labels) return add_pseudo_term(s, p);
    if (!p->control) return VKD_OK;
    if (kept.first > 0) {
        scale_control(p, all, kept);
        return VKD_OK;
    }
    if (features) return VKD_OK; /* it learns from what it compares, at the stage's weights */
    p->term_count = 1;
    return plain_ce(s, &p->terms[0]);
}

vkd__order_desc vkd__stage_order(const vkd__session *s, const vkd__recipe_stage *stage) {
    const vkd__stage_options *o = &stage->options;
    const uint32_t all = s->data->train.count, left = o->first < all ? all - o->first : 0;
    const uint32_t samples = o->samples && o->samples < left ? o->samples : left;
    /* One stream for the whole run: a control sees what its student sees, and stages that differ in
     * one setting differ in nothing else. */
    return (vkd__order_desc){.seed = s->seed,
                             .name = "order",
                             .labels = s->data->train.labels,
                             .first = o->first,
                             .end = o->first + samples,
                             .classes = &o->classes,
                             .omit = &o->omit_classes,
                             .batch = o->batch,
                             .per_class = o->sampler == VKD__SAMPLER_CLASSES ? o->per_class : 0};
}

static vkd_result check_classes(vkd__session *s, const char *stage, const char *verb,
                                const vkd__u32s *list) {
    for (uint32_t i = 0; i < list->count; i++)
        if (list->v[i] >= s->data->classes)
            return vkd__fail(s->ctx, VKD_E_RECIPE, "stage '%s' %s class %u, the data has %u", stage,
                             verb, (unsigned)list->v[i], (unsigned)s->data->classes);
    return VKD_OK;
}

static vkd_result no_batch(vkd__session *s, const vkd__phase *p, uint32_t samples) {
    const vkd__recipe_stage *stage = p->stage;
    const vkd__stage_options *o = &stage->options;
    if (vkd__phase_labelled(p) && o->first >= s->data->train.count)
        return vkd__fail(s->ctx, VKD_E_RECIPE,
                         "stage '%s': first is %u, the training split has %u samples", stage->name,
                         (unsigned)o->first, (unsigned)s->data->train.count);
    if (samples < o->batch)
        return vkd__fail(s->ctx, VKD_E_RECIPE,
                         "stage '%s': a batch of %u is more than the %u training samples",
                         stage->name, (unsigned)o->batch, (unsigned)samples);
    return vkd__fail(s->ctx, VKD_E_RECIPE,
                     "stage '%s': the classes of its %u training samples make no batch of %u with "
                     "%u of a class",
                     stage->name, (unsigned)samples, (unsigned)o->batch, (unsigned)o->per_class);
}

static vkd_result set_length(vkd__session *s, vkd__phase *p) {
    const vkd__stage_options *o = &p->stage->options;
    vkd__order order = {.count = p->labels ? vkd__label_samples(s, p->labels) : 0};
    order.steps = order.count / o->batch;
    vkd_result r = check_classes(s, p->stage->name, "omits", &o->omit_classes);
    if (!r) r = check_classes(s, p->stage->name, "names", &o->classes);
    if (!r && vkd__phase_labelled(p)) {
        const vkd__order_desc desc = vkd__stage_order(s, p->stage);
        r = vkd__order_init(s->ctx, &order, &desc);
    }
    if (r) return r;
    const uint32_t samples = p->samples = order.count;
    p->epoch_steps = order.steps;
    vkd__order_term(s->ctx, &order);
    if (!p->epoch_steps) return no_batch(s, p, samples);
    p->steps = o->epochs ? o->epochs * p->epoch_steps : o->steps;
    if (p->steps > INT32_MAX)
        return vkd__fail(s->ctx, VKD_E_RECIPE, "stage '%s': %llu steps are too many",
                         p->stage->name, (unsigned long long)p->steps);
    return VKD_OK;
}

static vkd_result check_augment(vkd__session *s, const vkd__recipe_stage *stage) {
    char sample[64];
    if (!stage->augmented || s->data->sample.axes == 3) return VKD_OK;
    return vkd__fail(s->ctx, VKD_E_RECIPE,
                     "stage '%s' augments images (H, W, C), and samples of the data are %s",
                     stage->name, vkd__sample_text(s->data->sample, sample, sizeof sample));
}

/* Whether the seeds may share a model: it teaches, and what it teaches with is its final state. */
static bool shareable(const vkd_recipe *r, uint32_t model) {
    bool teaches = false;
    for (uint32_t i = 0; i < r->stage_count; i++) {
        if (r->stages[i].model == model && teaches) return false;
        teaches = teaches || vkd__stage_taught_by(&r->stages[i], model);
    }
    return teaches;
}

/* The stage that has the teachers: itself, or the one whose labels it learns from. */
static const vkd__recipe_stage *taught_by(const vkd_recipe *r, const vkd__recipe_stage *stage) {
    if (stage->teacher_count) return stage;
    if (stage->data.pseudo == VKD__NONE) return NULL;
    const vkd__recipe_stage *labels = &r->stages[stage->data.pseudo];
    return labels->teacher == stage->model ? NULL : labels;
}

const vkd__recipe_stage *vkd__phase_taught(const vkd__session *s, const vkd__phase *p) {
    const vkd_recipe *r = s->recipe;
    const vkd__recipe_stage *by = NULL;
    for (const vkd__recipe_stage *stage = r->stages; stage <= p->stage; stage++)
        if (stage->model == p->stage->model && taught_by(r, stage)) by = taught_by(r, stage);
    return by;
}

static bool is_last(const vkd_recipe *r, const vkd__recipe_stage *stage) {
    for (const vkd__recipe_stage *later = stage + 1; later < r->stages + r->stage_count; later++)
        if (later->model == stage->model) return false;
    return true;
}

static vkd_result add_phase(vkd__session *s, const vkd__recipe_stage *stage, bool control) {
    vkd__phase *p = &s->phases[s->phase_count++];
    p->stage = stage;
    p->model = &s->recipe->models[stage->model];
    p->control = control;
    p->last = control || is_last(s->recipe, stage);
    p->teacher = control ? VKD__NONE : stage->teacher;
    p->teacher_count = control ? 0 : stage->teacher_count;
    p->shared = s->shared_folder && shareable(s->recipe, stage->model);
    p->group =
        control ? vkd__arena_format(&s->arena, "%s_control", p->model->name) : p->model->name;
    if (!p->group) return VKD_E_MEMORY;
    if (!control && stage->data.pseudo != VKD__NONE)
        p->labels = &s->recipe->stages[stage->data.pseudo];
    if (stage->options.ema > 0) {
        p->average = vkd__arena_format(&s->arena, "%s_ema", p->group);
        if (!p->average) return VKD_E_MEMORY;
    }
    const vkd_result r = collect_terms(s, p);
    vkd__diagnose_init(p);
    return r;
}

vkd_result vkd__phases_outline(vkd__session *s) {
    const vkd_recipe *recipe = s->recipe;
    if (recipe->stage_count > VKD__MAX_PHASES / 2)
        return vkd__fail(s->ctx, VKD_E_RECIPE, "a recipe has at most %d stages",
                         VKD__MAX_PHASES / 2);
    s->phases = VKD_NEW(&s->arena, vkd__phase, 2 * (size_t)recipe->stage_count);
    if (!s->phases) return VKD_E_MEMORY;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < recipe->stage_count && !r; i++) {
        const vkd__recipe_stage *stage = &recipe->stages[i];
        if (stage->label) {
            s->phases[s->phase_count++] =
                (vkd__phase){.stage = stage, .group = stage->name, .teacher = stage->teacher};
            continue;
        }
        const bool shared = s->shared_folder && shareable(recipe, stage->model);
        /* The control first, so that the long wait ends with the row that everyone waits for. */
        if (stage->options.control && !shared) r = add_phase(s, stage, true);
        if (!r) r = add_phase(s, stage, false);
    }
    return r;
}

static vkd_result check_labels(vkd__session *s, const vkd__recipe_stage *stage) {
    const uint64_t end = (uint64_t)stage->label->first + vkd__label_samples(s, stage);
    if (stage->label->first < s->data->train.count && end <= s->data->train.count) return VKD_OK;
    return vkd__fail(s->ctx, VKD_E_RECIPE,
                     "stage '%s' labels samples up to %llu, the training split has %u", stage->name,
                     (unsigned long long)end, (unsigned)s->data->train.count);
}

vkd_result vkd__phases_create(vkd__session *s) {
    vkd_result r = vkd__phases_outline(s);
    for (uint32_t i = 0; i < s->phase_count && !r; i++) {
        vkd__phase *p = &s->phases[i];
        if (p->stage->label) {
            r = check_labels(s, p->stage);
            continue;
        }
        r = check_augment(s, p->stage);
        if (!r) r = set_length(s, p);
        if (!r) r = vkd__cached_teacher_open(s, p);
    }
    return r;
}
