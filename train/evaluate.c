// SPDX-License-Identifier: Apache-2.0
/* The figures of the final table, in double precision on the host, from logits of the whole split:
 *
 *   accuracy   share of samples where argmax_v z[n,v] is the label
 *   kl         1/N sum_n sum_v p[n,v] (log p[n,v] - log q[n,v]), p the teacher's softmax, tau 1
 *   agreement  share of samples where student and teacher have the same argmax
 *
 * A stage that left classes out of its training samples gets further rows, with those classes'
 * logits raised (Hinton, Vinyals, Dean, arXiv:1503.02531, section 3): by the recipe's bias_shift,
 * and by the shift that is best on the training split. The paper chose its shift on the test split.
 */
#include <math.h>
#include <string.h>

#include "train/model_file.h"
#include "train/session.h"

/* Index of the first largest. */
static uint32_t argmax(const float *z, uint32_t classes) {
    uint32_t best = 0;
    for (uint32_t v = 1; v < classes; v++)
        if (z[v] > z[best]) best = v;
    return best;
}

uint32_t vkd__correct_count(const float *logits, const int32_t *labels, uint32_t rows,
                            uint32_t classes) {
    uint32_t correct = 0;
    for (uint32_t n = 0; n < rows; n++)
        correct += argmax(logits + (size_t)n * classes, classes) == (uint32_t)labels[n];
    return correct;
}

static double log_sum_exp(const float *z, uint32_t classes) {
    const double top = (double)z[argmax(z, classes)];
    double sum = 0;
    for (uint32_t v = 0; v < classes; v++)
        sum += exp((double)z[v] - top);
    return log(sum) + top;
}

double vkd__mean_kl(const float *teacher, const float *student, uint32_t rows, uint32_t classes) {
    double total = 0;
    for (uint32_t n = 0; n < rows; n++) {
        const float *t = teacher + (size_t)n * classes, *s = student + (size_t)n * classes;
        const double lt = log_sum_exp(t, classes), ls = log_sum_exp(s, classes);
        for (uint32_t v = 0; v < classes; v++) {
            const double p = exp((double)t[v] - lt);
            if (p > 0) total += p * (((double)t[v] - lt) - ((double)s[v] - ls));
        }
    }
    return total / rows;
}

double vkd__share_agreeing(const float *a, const float *b, uint32_t rows, uint32_t classes) {
    uint32_t same = 0;
    for (uint32_t n = 0; n < rows; n++)
        same +=
            argmax(a + (size_t)n * classes, classes) == argmax(b + (size_t)n * classes, classes);
    return (double)same / rows;
}

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
        right += argmax(logits + (size_t)n * classes, classes) == (uint32_t)split->labels[n];
    }
    return all ? (double)right / all : NAN;
}

/* ---- Logits ---- */

static vkd_result logits_of(vkd__session *s, const vkd__recipe_model *m, const char *group,
                            bool train_split, float **out) {
    vkd__infer infer = {0};
    *out = NULL;
    vkd_result r = vkd__infer_create(s, m, group, train_split, &infer);
    if (!r) {
        *out = vkd__alloc(s->ctx, (size_t)infer.count * infer.classes, sizeof **out);
        r = *out ? vkd__infer_run(&infer, *out) : VKD_E_MEMORY;
    }
    vkd__infer_destroy(&infer);
    return r;
}

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
    float **teachers; /* (model_count) test logits, made when first asked for */
} table;

static vkd_result teacher_test(table *t, uint32_t model, const float **out) {
    const vkd__recipe_model *m = &t->s->recipe->models[model];
    vkd_result r = VKD_OK;
    if (!t->teachers[model]) r = logits_of(t->s, m, m->name, false, &t->teachers[model]);
    *out = t->teachers[model];
    return r;
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
    const uint32_t classes = s->data->classes;
    const uint32_t correct = vkd__correct_count(logits, test->labels, test->count, classes);
    vkd__result *row = &t->rows[(*t->count)++];
    *row = (vkd__result){
        .label = label,
        .model = group,
        .parameters = parameters_of(s->store, group),
        .tests = test->count,
        .accuracy = (double)correct / test->count,
        .errors = test->count - correct,
        .kl = teacher ? vkd__mean_kl(teacher, logits, test->count, classes) : NAN,
        .agreement = teacher ? vkd__share_agreeing(teacher, logits, test->count, classes) : NAN,
        .omitted_recall = NAN,
        .shift = NAN,
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
    if (!r && search) r = logits_of(s, p->model, p->group, true, &train);
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
        if (!strcmp(s->phases[i].group, group)) sum += s->phases[i].seconds;
    return sum;
}

/* The rows of a model, or of a control, whose last phase this is. */
static vkd_result phase_rows(table *t, const vkd__phase *p) {
    vkd__session *s = t->s;
    const vkd__recipe_stage *stage = p->stage;
    const uint32_t teacher_model = vkd__phase_teacher(s, p);
    const float *teacher = NULL;
    float *logits = NULL;
    vkd_result r = VKD_OK;
    if (teacher_model != VKD__NONE) r = teacher_test(t, teacher_model, &teacher);
    if (!r) r = logits_of(s, p->model, p->group, false, &logits);
    const char *label = teacher_model == VKD__NONE && !p->control
                            ? p->model->name
                            : vkd__arena_format(&s->arena, "%s %s", p->model->name,
                                                p->control ? "alone" : "distilled");
    if (!r && !label) r = VKD_E_MEMORY;
    if (!r) {
        vkd__result *row = add_row(t, label, p->group, logits, teacher);
        row->seconds = seconds_of(s, p->group);
        row->shared = p->shared;
        const vkd__u32s *omit = &stage->options.omit_classes;
        if (omit->count) {
            const vkd__evaluation *e = &s->recipe->evaluation;
            row->omitted_recall = recall(logits, &s->data->test, s->data->classes, omit);
            if (e->shift_count) r = shifted_row(t, p, row, logits, teacher, false);
            if (!r && e->bias_search) r = shifted_row(t, p, row, logits, teacher, true);
        }
    }
    vkd__free(s->ctx, logits);
    return r;
}

/* A model that was loaded and teaches has a row of its own too. */
static vkd_result loaded_rows(table *t) {
    const vkd_recipe *recipe = t->s->recipe;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < recipe->model_count && !r; i++) {
        bool teaches = false, trained = false;
        for (uint32_t k = 0; k < recipe->stage_count; k++) {
            teaches = teaches || recipe->stages[k].teacher == i;
            trained = trained || recipe->stages[k].model == i;
        }
        if (!teaches || trained) continue;
        const float *logits = NULL;
        r = teacher_test(t, i, &logits);
        if (r) return r;
        vkd__result *row = add_row(t, recipe->models[i].name, recipe->models[i].name, logits, NULL);
        row->seconds = NAN;
        row->shared = t->s->seed_index > 0;
    }
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
    if (!t.teachers) return VKD_E_MEMORY;
    vkd_result r = check_shifts(s);
    if (!r) r = loaded_rows(&t);
    for (uint32_t i = 0; i < s->phase_count && !r; i++)
        if (s->phases[i].last) r = phase_rows(&t, &s->phases[i]);
    for (uint32_t i = 0; i < s->recipe->model_count; i++)
        vkd__free(s->ctx, t.teachers[i]);
    vkd__free(s->ctx, t.teachers);
    return r;
}
