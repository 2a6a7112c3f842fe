// SPDX-License-Identifier: Apache-2.0
/* Every loss on the device against its reference: on logits of several sizes, on features in the
 * cases that stand beside the loss. */
#include <math.h>
#include <string.h>

#include "base/philox.h"
#include "base/platform.h"
#include "cli/loss_step.h"
#include "cli/selftest.h"

/* Rows by classes: below and above one subgroup and one workgroup, and a real vocabulary. */
static const uint32_t sizes[][2] = {{1, 2}, {5, 3}, {130, 10}, {3, 33}, {2, 129}, {3, 1001}};
static const uint32_t fused_sizes[][2] = {{2, 50257}};

/* Single precision, with sums over classes or features, as the test suite allows. */
static const double allowed = 5e-6;

/* One problem. All memory but the step's answer is the arena's. */
typedef struct loss_data {
    vkd__arena arena;
    cli_loss_problem problem;
    cli_loss_tensors given, answer;
    double *gradient[CLI_LOSS_TENSORS]; /* of the reference, for each of the answer */
    float loss;
} loss_data;

/* ---- Numbers ---- */

static float *add_floats(loss_data *d, const char *name, vkd_shape shape, float size) {
    const size_t count = (size_t)vkd_shape_count(shape);
    float *v = VKD_NEW(&d->arena, float, count);
    if (!v) return NULL;
    const uint32_t number = d->given.count;
    for (size_t i = 0; i < count; i++) {
        const vkd__philox r = vkd__philox_at(17, 1, number / 2, (uint32_t)i);
        v[i] = size * (2 * vkd__philox_uniform(r.v[number % 2]) - 1);
    }
    cli_loss_tensor *t = &d->given.v[d->given.count++];
    *t = (cli_loss_tensor){.dtype = VKD_F32, .shape = shape, .data = v};
    snprintf(t->name, sizeof t->name, "%s", name);
    return v;
}

/* labels: one row without, where there are rows to spare. Else numbers of samples. */
static bool add_whole(loss_data *d, const char *name, bool labels) {
    const uint32_t N = d->problem.shapes.N, V = d->problem.shapes.V;
    int32_t *v = VKD_NEW(&d->arena, int32_t, N);
    for (uint32_t n = 0; v && n < N; n++) {
        v[n] = labels ? (int32_t)(vkd__philox_at(17, 2, 0, n).v[0] % V) : (int32_t)(4 * n + 1);
        if (labels && n == 1 && N > 2) v[n] = -1;
    }
    cli_loss_tensor *t = &d->given.v[d->given.count++];
    *t = (cli_loss_tensor){.dtype = VKD_I32, .shape = VKD_SHAPE(N), .data = v};
    snprintf(t->name, sizeof t->name, "%s", name);
    return v != NULL;
}

static bool add_features(loss_data *d) {
    const vkd__loss_shapes *s = &d->problem.shapes;
    bool ok = true;
    for (uint32_t i = 0; i < s->pair_count; i++) {
        char number[16] = "", name[32];
        if (s->pair_count > 1) snprintf(number, sizeof number, ".%u", (unsigned)i);
        snprintf(name, sizeof name, "student%s", number);
        ok = ok && add_floats(d, name, s->student[i], 2);
        if (d->problem.def->needs & VKD__LOSS_OWN_TAPS) continue;
        snprintf(name, sizeof name, "teacher%s", number);
        ok = ok && add_floats(d, name, s->teacher[i], 2);
    }
    return ok;
}

static vkd_result make(loss_data *d) {
    const uint32_t needs = d->problem.def->needs;
    const vkd_shape logits = VKD_SHAPE(d->problem.shapes.N, d->problem.shapes.V);
    bool ok = true;
    if (needs & VKD__LOSS_TAPS)
        ok = add_features(d);
    else
        ok = add_floats(d, "student", logits, 5) != NULL;
    if (ok && (needs & VKD__LOSS_TEACHER)) ok = add_floats(d, "teacher", logits, 5) != NULL;
    if (ok && (needs & VKD__LOSS_LABELS)) ok = add_whole(d, "labels", true);
    if (ok && (needs & VKD__LOSS_INDICES)) ok = add_whole(d, "indices", false);
    return ok ? VKD_OK : VKD_E_MEMORY;
}

/* ---- The reference, of the numbers that the step was given ---- */

static const double *wide(loss_data *d, const cli_loss_tensor *t) {
    const size_t count = t ? (size_t)vkd_shape_count(t->shape) : 0;
    double *v = VKD_NEW(&d->arena, double, count ? count : 1);
    for (size_t i = 0; v && i < count; i++)
        v[i] = t->dtype == VKD_F32 ? (double)((const float *)t->data)[i]
                                   : (double)((const int32_t *)t->data)[i];
    return v;
}

static const void *whole(const loss_data *d, const char *name) {
    const cli_loss_tensor *t = cli_loss_find(&d->given, name);
    return t ? t->data : NULL;
}

static vkd_result reference(loss_data *d, double *loss) {
    const vkd__loss_shapes *s = &d->problem.shapes;
    vkd__loss_ref_pair pairs[VKD__MAX_PAIRS];
    vkd__loss_ref_adapter *adapters = VKD_NEW(&d->arena, vkd__loss_ref_adapter, CLI_LOSS_TENSORS);
    if (!adapters) return VKD_E_MEMORY;
    vkd__loss_ref r = {.N = s->N,
                       .V = s->V,
                       .student = wide(d, cli_loss_find(&d->given, "student")),
                       .teacher = wide(d, cli_loss_find(&d->given, "teacher")),
                       .labels = whole(d, "labels"),
                       .tau = (double)cli_loss_tau(&d->problem),
                       .pairs = pairs,
                       .pair_count = s->pair_count,
                       .adapters = adapters,
                       .indices = whole(d, "indices"),
                       .samples = 4 * s->N};
    bool ok = r.student && r.teacher;
    uint32_t pair = 0;
    for (uint32_t i = 0; ok && i < d->answer.count; i++) {
        const cli_loss_tensor *t = &d->answer.v[i];
        const double *value = wide(d, t);
        if (t->gradient)
            d->gradient[i] = VKD_NEW(&d->arena, double, (size_t)vkd_shape_count(t->shape));
        ok = value && (!t->gradient || d->gradient[i]);
        if (!strncmp(t->name, "adapter.", sizeof "adapter." - 1)) {
            adapters[r.adapter_count++] = (vkd__loss_ref_adapter){t->name + sizeof "adapter." - 1,
                                                                  t->shape, value, d->gradient[i]};
        } else if (s->pair_count) {
            char name[32] = "teacher";
            if (s->pair_count > 1) snprintf(name, sizeof name, "teacher.%u", (unsigned)pair);
            const double *teacher = wide(d, cli_loss_find(&d->given, name));
            pairs[pair] = (vkd__loss_ref_pair){s->student[pair], s->teacher[pair], value, teacher,
                                               d->gradient[i]};
            ok = ok && teacher;
            pair++;
        } else {
            r.dstudent = d->gradient[i];
        }
    }
    if (!ok) return VKD_E_MEMORY;
    d->problem.def->reference(&r, d->problem.config);
    *loss = r.loss;
    return VKD_OK;
}

/* ---- Comparison ---- */

/* |got - want| as a share of what is allowed beside the largest |want|: gradients of rare classes
 * are tiny, and what is lost on them is lost against the others. */
static double share(double got, double want, double largest) {
    if (got == want) return 0;
    const double off = fabs(got - want) / (allowed * (fabs(want) + largest));
    return isnan(off) ? (double)INFINITY : off;
}

/* One gradient; *worst is its worst element, and returned is how far that is off. */
static double off_by(const cli_loss_tensor *t, const double *want, size_t *worst) {
    const size_t count = (size_t)vkd_shape_count(t->shape);
    double largest = 0, most = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(want[i]));
    for (size_t i = 0; i < count; i++) {
        const double off = share((double)t->gradient[i], want[i], largest);
        if (off <= most) continue;
        most = off;
        *worst = i;
    }
    return most;
}

static vkd_result compare(selftest *t, const loss_data *d, const char *what, double want,
                          outcome *o) {
    vkd_result r = VKD_OK;
    const double off = share((double)d->loss, want, fabs(want));
    o->worst = fmax(o->worst, off);
    if (off > 1)
        r = vkd__fail(t->ctx, VKD_E_MISMATCH,
                      "loss %s %s, %s kernels: value is %.9g, should be %.9g", o->name, what,
                      o->kernels, (double)d->loss, want);
    for (uint32_t i = 0; i < d->answer.count; i++) {
        const cli_loss_tensor *v = &d->answer.v[i];
        size_t worst = 0;
        const double most = v->gradient ? off_by(v, d->gradient[i], &worst) : 0;
        o->worst = fmax(o->worst, most);
        if (most > 1 && !r)
            r = vkd__fail(t->ctx, VKD_E_MISMATCH,
                          "loss %s %s, %s kernels: gradient by %s at %zu is %.9g, should be %.9g",
                          o->name, what, o->kernels, v->name, worst, (double)v->gradient[worst],
                          d->gradient[i][worst]);
    }
    return r;
}

/* `what` says which problem it is, for a message. */
static vkd_result check_problem(selftest *t, const vkd_profile *profile, loss_data *d,
                                const char *what, bool composed, outcome *o) {
    double want = 0;
    d->arena.ctx = t->ctx;
    d->problem.given = &d->given;
    vkd_result r = make(d);
    if (!r)
        r = cli_loss_step(t->ctx, t->device, profile, &d->problem, composed, &d->loss, &d->answer);
    if (!r) r = reference(d, &want);
    if (!r) r = compare(t, d, what, want, o);
    o->cases++;
    cli_loss_tensors_term(t->ctx, &d->answer);
    vkd__arena_term(&d->arena);
    return selftest_take(t, r, o);
}

static vkd_result check_size(selftest *t, const vkd__loss_def *def, const void *config,
                             const vkd_profile *profile, const uint32_t size[2], bool composed,
                             outcome *o) {
    loss_data *d = vkd__alloc(t->ctx, 1, sizeof *d);
    if (!d) return VKD_E_MEMORY;
    char what[48];
    snprintf(what, sizeof what, "(%u, %u)", (unsigned)size[0], (unsigned)size[1]);
    d->problem =
        (cli_loss_problem){.def = def, .config = config, .shapes = {.N = size[0], .V = size[1]}};
    const vkd_result r = check_problem(t, profile, d, what, composed, o);
    vkd__free(t->ctx, d);
    return r;
}

static vkd_result check_case(selftest *t, const vkd__loss_def *def, void *config,
                             const vkd_profile *profile, size_t index, bool composed, outcome *o) {
    const vkd__loss_case *c = &def->cases[index];
    vkd__fields_init(def->fields, def->field_count, config);
    for (size_t i = 0; i < VKD_COUNT(c->set) && c->set[i][0]; i++) {
        const vkd_result r = vkd__fields_set(t->ctx, def->fields, def->field_count, config,
                                             def->name, c->set[i][0], c->set[i][1]);
        if (r) return r;
    }
    loss_data *d = vkd__alloc(t->ctx, 1, sizeof *d);
    if (!d) return VKD_E_MEMORY;
    char what[48];
    snprintf(what, sizeof what, "case %zu", index);
    d->problem = (cli_loss_problem){.def = def, .config = config};
    d->problem.shapes = (vkd__loss_shapes){.N = c->student[0].dim[0],
                                           .V = c->pair_count ? 10 : c->student[0].dim[1],
                                           .pair_count = c->pair_count};
    memcpy(d->problem.shapes.student, c->student, sizeof c->student);
    memcpy(d->problem.shapes.teacher, c->teacher, sizeof c->teacher);
    const vkd_result r = check_problem(t, profile, d, what, composed, o);
    vkd__free(t->ctx, d);
    return r;
}

static vkd_result check_loss(selftest *t, const vkd__loss_def *def, const vkd_profile *profile,
                             bool composed) {
    outcome o = {.kind = composed ? "loss, of ops" : "loss",
                 .name = def->name,
                 .kernels = profile->direct ? "direct" : "tile"};
    const uint32_t messages = vkd_device_validation_messages(t->device);
    void *config = vkd__alloc(t->ctx, 1, def->config_size + 1);
    if (!config) return VKD_E_MEMORY;
    vkd__fields_init(def->fields, def->field_count, config);
    const bool usual = !def->case_count;
    vkd_result r = VKD_OK;
    for (size_t i = 0; usual && i < VKD_COUNT(sizes) && !r && !vkd__stop_asked(); i++)
        r = check_size(t, def, config, profile, sizes[i], composed, &o);
    for (size_t i = 0; usual && i < VKD_COUNT(fused_sizes) && !composed && !r; i++)
        if (!vkd__stop_asked()) r = check_size(t, def, config, profile, fused_sizes[i], false, &o);
    for (size_t i = 0; i < def->case_count && !r && !vkd__stop_asked(); i++)
        r = check_case(t, def, config, profile, i, composed, &o);
    vkd__free(t->ctx, config);
    selftest_look_at_messages(t, messages, &o);
    if (!r) selftest_record(t, &o);
    return r;
}

vkd_result selftest_losses(selftest *t) {
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < vkd__loss_count && !r; i++) {
        if (!selftest_wanted(t, vkd__losses[i]->name)) continue;
        if (vkd__is_terminal(2))
            fprintf(stderr, "\r\033[Kloss %zu/%zu %s", i + 1, vkd__loss_count,
                    vkd__losses[i]->name);
        for (uint32_t v = 0; v < 2 * t->variant_count && !r; v++) {
            const bool composed = v >= t->variant_count;
            if (composed || vkd__losses[i]->fused)
                r = check_loss(t, vkd__losses[i], &t->variants[v % t->variant_count], composed);
        }
    }
    return r;
}
