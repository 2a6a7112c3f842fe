// SPDX-License-Identifier: Apache-2.0
/* The rows of the final table: one for each model after its last stage and for each control, one
 * for a loaded model that teaches, one for each ensemble (the mean of its models' probabilities).
 * The figures are those of figures.c and retrieval.c, on the test split.
 *
 * A stage that left classes out of its training samples gets further rows, with those classes'
 * logits raised (Hinton, Vinyals, Dean, arXiv:1503.02531, section 3): by the recipe's bias_shift,
 * and by the shift that is best on the training split. The paper chose its shift on the test split.
 */
#include <math.h>
#include <string.h>

#include "train/model_file.h"
#include "train/model_order.h"
#include "train/retrieval.h"

static bool contains(const vkd__u32s *list, uint32_t value) {
    for (uint32_t i = 0; i < list->count; i++)
        if (list->v[i] == value) return true;
    return false;
}

/* Share right among samples of the given classes; NaN where there are none. */
static double recall(const float *logits, const vkd__split *split, uint32_t classes,
                     const vkd__u32s *of) {
    uint32_t right = 0, all = 0;
    for (uint32_t n = 0; n < split->count; n++) {
        if (!contains(of, (uint32_t)split->labels[n])) continue;
        all++;
        right += vkd__argmax(logits + (size_t)n * classes, classes) == (uint32_t)split->labels[n];
    }
    return all ? (double)right / all : NAN;
}

/* ---- Logits ---- */

static void shift(float *logits, uint32_t rows, uint32_t classes, uint32_t class_index,
                  float value) {
    for (uint32_t n = 0; n < rows; n++)
        logits[(size_t)n * classes + class_index] += value;
}

/* The smallest of 0, 0.1, ..., 20 that makes most of the samples right. */
static float best_shift(const float *logits, const int32_t *labels, uint32_t rows, uint32_t classes,
                        uint32_t class_index) {
    enum { TRIES = 201 };
    uint32_t most = 0;
    float best = 0;
    for (int i = 0; i < TRIES; i++) {
        const float value = (float)i * 0.1f;
        uint32_t right = 0;
        for (uint32_t n = 0; n < rows; n++) {
            const float *z = logits + (size_t)n * classes;
            uint32_t top = class_index ? 0 : 1;
            for (uint32_t v = top + 1; v < classes; v++)
                if (v != class_index && z[v] > z[top]) top = v;
            const float raised = z[class_index] + value;
            const bool wins = raised > z[top] || (raised == z[top] && class_index < top);
            right += (wins ? class_index : top) == (uint32_t)labels[n];
        }
        if (right > most) {
            most = right;
            best = value;
        }
    }
    return best;
}

/* ---- Rows ---- */

typedef struct table {
    vkd__session *s;
    vkd__result *rows;
    uint32_t *count;
    float **logits; /* (model_count) of the test split, made when first asked for */
} table;

static vkd_result model_test(table *t, uint32_t model, const float **out) {
    const vkd__recipe_model *m = &t->s->recipe->models[model];
    vkd_result r = VKD_OK;
    if (!t->logits[model]) r = vkd__infer_logits(t->s, m, m->name, false, &t->logits[model]);
    *out = t->logits[model];
    return r;
}

/* What a stage's teachers say together; *mixed is the caller's to free. */
static vkd_result teachers_test(table *t, const vkd__recipe_stage *stage, const float **out,
                                float **mixed) {
    const uint32_t tests = t->s->data->test.count, classes = t->s->data->classes;
    const float *parts[VKD__MAX_TEACHERS];
    vkd_result r = VKD_OK;
    for (uint32_t k = 0; k < stage->teacher_count && !r; k++)
        r = model_test(t, stage->teachers[k].model, &parts[k]);
    if (r) return r;
    *out = parts[0];
    if (stage->teacher_count == 1) return VKD_OK;
    *mixed = vkd__alloc(t->s->ctx, (size_t)tests * classes, sizeof **mixed);
    if (!*mixed) return VKD_E_MEMORY;
    vkd__teachers_mix(stage, parts, tests, classes, *mixed);
    *out = *mixed;
    return VKD_OK;
}

static uint64_t parameters_of(const vkd_store *store, const char *group) {
    const size_t length = strlen(group);
    uint64_t count = 0;
    for (uint32_t i = 0; i < vkd_store_count(store); i++) {
        const vkd_store_info info = vkd_store_at(store, i);
        if (info.parameter && !strncmp(info.name, group, length) && info.name[length] == '.' &&
            !vkd__is_adapter(info.name + length + 1))
            count += vkd_shape_count(info.shape);
    }
    return count;
}

static vkd__result *add_row(table *t, const char *label, const char *group, const float *logits,
                            const float *teacher) {
    const vkd__session *s = t->s;
    const vkd__split *test = &s->data->test;
    const vkd__figures f =
        vkd__figures_of(logits, teacher, test->labels, test->count, s->data->classes);
    vkd__result *row = &t->rows[(*t->count)++];
    *row = (vkd__result){
        .label = label,
        .model = group,
        .parameters = parameters_of(s->store, group),
        .tests = test->count,
        .accuracy = f.accuracy,
        .errors = f.errors,
        .kl = f.kl,
        .agreement = f.agreement,
        .teacher_entropy = f.teacher_entropy,
        .calibration = f.calibration,
        .omitted_recall = NAN,
        .shift = NAN,
        .recall_at_1 = NAN,
    };
    return row;
}

/* The row again with the left-out classes raised; `given` is NULL for the searched shift. */
static vkd_result shifted_row(table *t, const vkd__phase *p, const vkd__result *plain,
                              const float *logits, const float *teacher, bool search) {
    vkd__session *s = t->s;
    const uint32_t classes = s->data->classes, tests = s->data->test.count;
    const vkd__u32s *omit = &p->stage->options.omit_classes;
    const size_t count = (size_t)tests * classes;
    float *raised = vkd__alloc(s->ctx, count, sizeof *raised), *train = NULL;
    const char *label =
        vkd__arena_format(&s->arena, "%s, shift %s", plain->label, search ? "searched" : "given");
    vkd_result r = raised && label ? VKD_OK : VKD_E_MEMORY;
    if (!r && search) r = vkd__infer_logits(s, p->model, p->group, true, &train);
    if (!r) {
        double sum = 0;
        memcpy(raised, logits, count * sizeof *raised);
        for (uint32_t i = 0; search && i < omit->count; i++) {
            const float by =
                best_shift(train, s->data->train.labels, s->data->train.count, classes, omit->v[i]);
            shift(train, s->data->train.count, classes, omit->v[i], by);
            shift(raised, tests, classes, omit->v[i], by);
            sum += (double)by;
        }
        const vkd__evaluation *e = &s->recipe->evaluation;
        for (uint32_t i = 0; !search && i < e->shift_count; i++) {
            shift(raised, tests, classes, e->shifts[i].class_index, e->shifts[i].value);
            sum += (double)e->shifts[i].value;
        }
        vkd__result *row = add_row(t, label, p->group, raised, teacher);
        row->seconds = plain->seconds;
        row->shared = plain->shared;
        row->omitted_recall = recall(raised, &s->data->test, classes, omit);
        row->shift = sum / (search ? omit->count : e->shift_count);
    }
    vkd__free(s->ctx, raised);
    vkd__free(s->ctx, train);
    return r;
}

/* Of all stages that trained the group. */
static double seconds_of(const vkd__session *s, const char *group) {
    double sum = 0;
    for (uint32_t i = 0; i < s->phase_count; i++)
        if (s->phases[i].model && !strcmp(s->phases[i].group, group)) sum += s->phases[i].seconds;
    return sum;
}

static vkd_result compare(vkd__session *s, const vkd__phase *p, double student,
                          const float *teacher) {
    const vkd__split *test = &s->data->test;
    const uint32_t right = vkd__correct_count(teacher, test->labels, test->count, s->data->classes);
    return vkd__diagnose_rows(s, p, student, (double)right / test->count);
}

/* The rows of a model, or of a control, whose last phase this is. */
static vkd_result phase_rows(table *t, const vkd__phase *p) {
    vkd__session *s = t->s;
    const vkd__recipe_stage *stage = p->stage;
    const vkd__recipe_stage *taught = vkd__phase_taught(s, p);
    const float *teacher = NULL, *logits = NULL;
    float *own = NULL; /* a control's, which nobody else asks for */
    float *mixed = NULL;
    vkd_result r = taught ? teachers_test(t, taught, &teacher, &mixed) : VKD_OK;
    if (!r && p->control) r = vkd__infer_logits(s, p->model, p->group, false, &own);
    if (!r && !p->control) r = model_test(t, stage->model, &logits);
    if (p->control) logits = own;
    const char *label = !taught && !p->control
                            ? p->model->name
                            : vkd__arena_format(&s->arena, "%s %s", p->model->name,
                                                p->control ? "alone" : "distilled");
    if (!r && !label) r = VKD_E_MEMORY;
    if (!r) {
        vkd__result *row = add_row(t, label, p->group, logits, teacher);
        row->seconds = seconds_of(s, p->group);
        row->shared = p->shared;
        r = vkd__retrieve(s, p->model, p->group, &row->recall_at_1);
        /* To be better than what labelled its samples is what self-training is for. */
        if (!r && teacher && !taught->label && !p->control && !p->shared)
            r = compare(s, p, row->accuracy, teacher);
        const vkd__u32s *omit = &stage->options.omit_classes;
        if (omit->count) {
            const vkd__evaluation *e = &s->recipe->evaluation;
            row->omitted_recall = recall(logits, &s->data->test, s->data->classes, omit);
            if (!r && e->shift_count) r = shifted_row(t, p, row, logits, teacher, false);
            if (!r && e->bias_search) r = shifted_row(t, p, row, logits, teacher, true);
        }
    }
    vkd__free(s->ctx, own);
    vkd__free(s->ctx, mixed);
    return r;
}

/* A model that was loaded and teaches has a row of its own too. */
static vkd_result loaded_rows(table *t) {
    const vkd_recipe *recipe = t->s->recipe;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < recipe->model_count && !r; i++) {
        bool teaches = false, trained = false;
        for (uint32_t k = 0; k < recipe->stage_count; k++) {
            teaches = teaches || vkd__stage_taught_by(&recipe->stages[k], i);
            trained = trained || recipe->stages[k].model == i;
        }
        if (!teaches || trained) continue;
        const float *logits = NULL;
        r = model_test(t, i, &logits);
        if (r) return r;
        vkd__result *row = add_row(t, recipe->models[i].name, recipe->models[i].name, logits, NULL);
        row->seconds = NAN;
        row->shared = t->s->seed_index > 0;
        r = vkd__retrieve(t->s, &recipe->models[i], row->model, &row->recall_at_1);
    }
    return r;
}

/* Whether a repetition took the model over from the first one. */
static bool is_shared(const vkd__session *s, uint32_t model) {
    for (uint32_t i = 0; i < s->phase_count; i++)
        if (s->phases[i].stage->model == model && !s->phases[i].control && !s->phases[i].shared)
            return false;
    return s->seed_index > 0;
}

/* No model of its own: it has no file and no seconds, and as many parameters as its models. */
static vkd_result ensemble_row(table *t, const vkd__ensemble *e) {
    vkd__session *s = t->s;
    const uint32_t tests = s->data->test.count, classes = s->data->classes;
    const float **parts = VKD_NEW(&s->arena, const float *, e->count);
    float *weights = VKD_NEW(&s->arena, float, e->count);
    float *mean = vkd__alloc(s->ctx, (size_t)tests * classes, sizeof *mean);
    uint64_t parameters = 0;
    vkd_result r = parts && weights && mean ? VKD_OK : VKD_E_MEMORY;
    for (uint32_t i = 0; i < e->count && !r; i++) {
        weights[i] = 1.0f / (float)e->count;
        parameters += parameters_of(s->store, s->recipe->models[e->models[i]].name);
        r = model_test(t, e->models[i], &parts[i]);
    }
    if (!r) {
        vkd__mix_probabilities(parts, weights, e->count, tests, classes, mean);
        vkd__result *row = add_row(t, e->name, e->name, mean, NULL);
        row->parameters = parameters;
        row->seconds = NAN;
        row->shared = true;
        for (uint32_t i = 0; i < e->count; i++)
            row->shared = row->shared && is_shared(s, e->models[i]);
    }
    vkd__free(s->ctx, mean);
    return r;
}

static vkd_result check_shifts(const vkd__session *s) {
    const vkd__evaluation *e = &s->recipe->evaluation;
    for (uint32_t i = 0; i < e->shift_count; i++)
        if (e->shifts[i].class_index >= s->data->classes)
            return vkd__fail(s->ctx, VKD_E_RECIPE, "evaluation.bias_shift: there is no class %u",
                             (unsigned)e->shifts[i].class_index);
    return VKD_OK;
}

vkd_result vkd__evaluate(vkd__session *s, vkd__result *rows, uint32_t *count) {
    *count = 0;
    table t = {s, rows, count, vkd__alloc(s->ctx, s->recipe->model_count, sizeof(float *))};
    if (!t.logits) return VKD_E_MEMORY;
    vkd_result r = check_shifts(s);
    if (!r) r = vkd__retrieval_check(s);
    if (!r) r = vkd__diagnose_summary(s);
    if (!r) r = loaded_rows(&t);
    for (uint32_t i = 0; i < s->phase_count && !r; i++)
        if (s->phases[i].last) r = phase_rows(&t, &s->phases[i]);
    for (uint32_t i = 0; i < s->recipe->evaluation.ensemble_count && !r; i++)
        r = ensemble_row(&t, &s->recipe->evaluation.ensembles[i]);
    for (uint32_t i = 0; i < s->recipe->model_count; i++)
        vkd__free(s->ctx, t.logits[i]);
    vkd__free(s->ctx, t.logits);
    return r;
}
