// SPDX-License-Identifier: Apache-2.0
/* vkdistill selftest: every op and every loss on this device against its reference. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/philox.h"
#include "base/platform.h"
#include "check/check.h"
#include "cli/cli.h"
#include "cli/loss_step.h"
#include "ops/op.h"

typedef struct selftest_options {
    const char *device, *only, *tune;
    bool validate, json;
} selftest_options;

static const cli_option options[] = {
    {"--device", CLI_TEXT, offsetof(selftest_options, device), "D", "which device"},
    CLI_TUNE(selftest_options),
    {"--only", CLI_TEXT, offsetof(selftest_options, only), "WORD",
     "ops and losses whose name holds this"},
    {"--validate", CLI_FLAG, offsetof(selftest_options, validate), NULL,
     "under the validation layers; any message is a failure"},
    {"--json", CLI_FLAG, offsetof(selftest_options, json), NULL, "as JSON"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

typedef struct selftest {
    vkd_ctx *ctx;
    vkd_device *device;
    const char *only;
    vkd_profile variants[2]; /* the device's own, and the other kernels where it can run them */
    uint32_t variant_count;
    cli_table table;
    json_t *rows; /* NULL: a table */
    uint32_t cases, failures;
    char first[1024]; /* the first failure's words */
} selftest;

/* What one op or loss came to, in one kernel variant. */
typedef struct outcome {
    const char *kind, *name, *kernels;
    uint32_t cases;
    double worst; /* largest error as a share of what is allowed */
    bool failed;
    char message[1024];
} outcome;

static void record(selftest *t, const outcome *o) {
    t->cases += o->cases;
    t->failures += o->failed;
    if (o->failed && !t->first[0]) snprintf(t->first, sizeof t->first, "%s", o->message);
    if (o->failed && !t->rows) fprintf(stderr, "%s\n", o->message);
    if (t->rows) {
        json_array_append_new(
            t->rows, json_pack("{s:s, s:s, s:s, s:i, s:o, s:b, s:s}", "kind", o->kind, "name",
                               o->name, "kernels", o->kernels, "cases", (int)o->cases, "worst",
                               isfinite(o->worst) ? json_real(o->worst) : json_null(), "ok",
                               !o->failed, "message", o->message));
        return;
    }
    char cases[32], worst[32];
    snprintf(cases, sizeof cases, "%u", (unsigned)o->cases);
    snprintf(worst, sizeof worst, "%.3f", o->worst);
    cli_table_row(&t->table, (const char *const[]){o->kind, o->name, o->kernels, cases, worst,
                                                   o->failed ? "DIFFERS" : "ok"});
}

static bool wanted(const selftest *t, const char *name) {
    return !t->only || strstr(name, t->only);
}

/* A message of the validation layers counts against the one under test. */
static void look_at_messages(selftest *t, uint32_t before, outcome *o) {
    const uint32_t now = vkd_device_validation_messages(t->device);
    if (now == before || o->failed) return;
    o->failed = true;
    snprintf(o->message, sizeof o->message, "%s, %s kernels: %u messages of the validation layers",
             o->name, o->kernels, (unsigned)(now - before));
}

/* A difference is the answer and the test goes on; every other failure ends it. */
static vkd_result take(selftest *t, vkd_result r, outcome *o) {
    if (r != VKD_E_MISMATCH) return r;
    if (!o->failed) snprintf(o->message, sizeof o->message, "%s", vkd_ctx_error(t->ctx));
    o->failed = true;
    return VKD_OK;
}

/* ---- Ops ---- */

static vkd_result check_op(selftest *t, const vkd_op_def *op, const vkd_profile *profile) {
    outcome o = {.kind = "op", .name = op->name, .kernels = profile->direct ? "direct" : "tile"};
    const uint32_t messages = vkd_device_validation_messages(t->device);
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < op->case_count && !r && !vkd__stop_asked(); i++) {
        vkd__check_report report;
        r = take(t, vkd__check_case(t->ctx, t->device, profile, op, i, &report), &o);
        o.cases++;
        if (!(report.worst <= o.worst)) o.worst = report.worst;
    }
    look_at_messages(t, messages, &o);
    if (!r) record(t, &o);
    return r;
}

/* ---- Losses ---- */

/* Rows by classes: below and above one subgroup and one workgroup, and a real vocabulary. */
static const uint32_t sizes[][2] = {{1, 2}, {5, 3}, {130, 10}, {3, 33}, {2, 129}, {3, 1001}};
static const uint32_t fused_sizes[][2] = {{2, 50257}};

/* Single precision, with sums over the classes, as the test suite allows. */
static const double allowed = 5e-6;

typedef struct loss_data {
    cli_loss_problem problem;
    float *student, *teacher, *gradient;
    int32_t *labels;
    double *reference, *wide; /* (N, V), and room for both logits in double */
} loss_data;

static void loss_data_term(vkd_ctx *ctx, loss_data *d) {
    vkd__free(ctx, d->student);
    vkd__free(ctx, d->teacher);
    vkd__free(ctx, d->gradient);
    vkd__free(ctx, d->labels);
    vkd__free(ctx, d->reference);
    vkd__free(ctx, d->wide);
}

static vkd_result loss_data_init(vkd_ctx *ctx, const uint32_t size[2], loss_data *d) {
    const size_t count = (size_t)size[0] * size[1];
    d->problem.N = size[0];
    d->problem.V = size[1];
    d->student = vkd__alloc(ctx, count, sizeof *d->student);
    d->teacher = vkd__alloc(ctx, count, sizeof *d->teacher);
    d->gradient = vkd__alloc(ctx, count, sizeof *d->gradient);
    d->labels = vkd__alloc(ctx, size[0], sizeof *d->labels);
    d->reference = vkd__alloc(ctx, count, sizeof *d->reference);
    d->wide = vkd__alloc(ctx, 2 * count, sizeof *d->wide);
    if (!d->student || !d->teacher || !d->gradient || !d->labels || !d->reference || !d->wide)
        return VKD_E_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const vkd__philox r = vkd__philox_at(17, 1, 0, (uint32_t)i);
        d->student[i] = 10 * vkd__philox_uniform(r.v[0]) - 5;
        d->teacher[i] = 10 * vkd__philox_uniform(r.v[1]) - 5;
        d->wide[i] = (double)d->student[i];
        d->wide[count + i] = (double)d->teacher[i];
    }
    /* One row without a label, where there are rows to spare. */
    for (uint32_t n = 0; n < size[0]; n++)
        d->labels[n] =
            n == 1 && size[0] > 2 ? -1 : (int32_t)(vkd__philox_at(17, 2, 0, n).v[0] % size[1]);
    d->problem.student = d->student;
    d->problem.teacher = d->teacher;
    d->problem.labels = d->labels;
    return VKD_OK;
}

/* |got - want| as a share of what is allowed beside the largest |want|: gradients of rare classes
 * are tiny, and what is lost on them is lost against the others. */
static double share(double got, double want, double largest) {
    if (got == want) return 0;
    const double off = fabs(got - want) / (allowed * (fabs(want) + largest));
    return isnan(off) ? INFINITY : off;
}

static vkd_result compare(selftest *t, const loss_data *d, float loss, double want, outcome *o) {
    const size_t count = (size_t)d->problem.N * d->problem.V;
    double largest = 0, most = share((double)loss, want, fabs(want));
    size_t worst = SIZE_MAX;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(d->reference[i]));
    for (size_t i = 0; i < count; i++) {
        const double off = share((double)d->gradient[i], d->reference[i], largest);
        if (off > most) {
            most = off;
            worst = i;
        }
    }
    if (most > o->worst) o->worst = most;
    if (most <= 1) return VKD_OK;
    if (worst == SIZE_MAX)
        return vkd__fail(t->ctx, VKD_E_MISMATCH,
                         "loss %s (%u, %u), %s kernels: value is %.9g, should be %.9g", o->name,
                         (unsigned)d->problem.N, (unsigned)d->problem.V, o->kernels, (double)loss,
                         want);
    return vkd__fail(t->ctx, VKD_E_MISMATCH,
                     "loss %s (%u, %u), %s kernels: gradient at %zu is %.9g, should be %.9g",
                     o->name, (unsigned)d->problem.N, (unsigned)d->problem.V, o->kernels, worst,
                     (double)d->gradient[worst], d->reference[worst]);
}

static vkd_result check_loss_size(selftest *t, const vkd__loss_def *def, const void *config,
                                  const vkd_profile *profile, const uint32_t size[2], bool composed,
                                  outcome *o) {
    loss_data d = {.problem = {.def = def, .config = config}};
    float loss = 0;
    vkd_result r = loss_data_init(t->ctx, size, &d);
    if (!r) {
        vkd__loss_ref ref = {.N = size[0],
                             .V = size[1],
                             .student = d.wide,
                             .teacher = d.wide + (size_t)size[0] * size[1],
                             .labels = d.labels,
                             .tau = (double)cli_loss_tau(&d.problem),
                             .dstudent = d.reference};
        def->reference(&ref, config);
        r = cli_loss_step(t->ctx, t->device, profile, &d.problem, composed, &loss, d.gradient);
        if (!r) r = compare(t, &d, loss, ref.loss, o);
        o->cases++;
    }
    loss_data_term(t->ctx, &d);
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
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < VKD_COUNT(sizes) && !r && !vkd__stop_asked(); i++)
        r = take(t, check_loss_size(t, def, config, profile, sizes[i], composed, &o), &o);
    for (size_t i = 0; i < VKD_COUNT(fused_sizes) && !composed && !r && !vkd__stop_asked(); i++)
        r = take(t, check_loss_size(t, def, config, profile, fused_sizes[i], false, &o), &o);
    vkd__free(t->ctx, config);
    look_at_messages(t, messages, &o);
    if (!r) record(t, &o);
    return r;
}

/* ---- The command ---- */

static vkd_result check_all(selftest *t) {
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < vkd__op_count && !r; i++) {
        if (!wanted(t, vkd__ops[i]->name)) continue;
        if (vkd__is_terminal(2))
            fprintf(stderr, "\r\033[K%zu/%zu %s", i + 1, vkd__op_count, vkd__ops[i]->name);
        for (uint32_t v = 0; v < t->variant_count && !r; v++)
            r = check_op(t, vkd__ops[i], &t->variants[v]);
    }
    for (size_t i = 0; i < vkd__loss_count && !r; i++) {
        if (!wanted(t, vkd__losses[i]->name)) continue;
        if (vkd__is_terminal(2))
            fprintf(stderr, "\r\033[Kloss %zu/%zu %s", i + 1, vkd__loss_count,
                    vkd__losses[i]->name);
        for (uint32_t v = 0; v < 2 * t->variant_count && !r; v++) {
            const bool composed = v >= t->variant_count;
            if (composed || vkd__losses[i]->fused)
                r = check_loss(t, vkd__losses[i], &t->variants[v % t->variant_count], composed);
        }
    }
    if (vkd__is_terminal(2)) fprintf(stderr, "\r\033[K");
    if (!r && vkd__stop_asked()) r = vkd__fail(t->ctx, VKD_E_INTERRUPTED, "interrupted");
    return r;
}

static void print_report(const selftest *t, double seconds) {
    if (t->rows) {
        json_t *all = json_pack("{s:s, s:i, s:i, s:f, s:O}", "device", vkd_device_name(t->device),
                                "cases", (int)t->cases, "failures", (int)t->failures, "seconds",
                                seconds, "rows", t->rows);
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
        return;
    }
    cli_table_print(&t->table, stdout);
    printf("\n%s: %u cases in %.1f s, %u of %zu rows differ\n", vkd_device_name(t->device),
           (unsigned)t->cases, seconds, (unsigned)t->failures, t->table.row_count - 1);
    if (!t->variants[0].direct)
        printf("direct kernels were not tested: this device runs the others (VKD_KERNELS=direct "
               "asks for them)\n");
}

static vkd_result test_device(selftest *t, const selftest_options *o) {
    t->variants[0] = *vkd_device_profile(t->device);
    t->variant_count = 1;
    if (t->variants[0].direct) {
        t->variants[1] = t->variants[0];
        t->variants[1].direct = false;
        t->variant_count = 2;
    }
    if (o->json) t->rows = json_array();
    cli_table_row(&t->table, (const char *const[]){"", "name", "kernels", "cases",
                                                   "worst error / allowed", "result"});
    const double start = vkd__seconds();
    vkd_result r = check_all(t);
    if (!r && !t->cases)
        r = vkd__fail(t->ctx, VKD_E_ARGUMENT, "no op or loss has a name with '%s'", o->only);
    if (!r) print_report(t, vkd__seconds() - start);
    if (!r && t->failures)
        r = vkd__fail(t->ctx, VKD_E_MISMATCH, "%u of the rows above differ, the first: %.800s",
                      (unsigned)t->failures, t->first);
    json_decref(t->rows);
    cli_table_term(&t->table);
    return r;
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    selftest_options o = {0};
    cli_words rest = {0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && rest.count) r = vkd__fail(ctx, VKD_E_ARGUMENT, "selftest takes no '%s'", rest.v[0]);
    selftest *t = r ? NULL : vkd__alloc(ctx, 1, sizeof *t);
    if (!r && !t) r = VKD_E_MEMORY;
    if (r) return r;
    *t = (selftest){.ctx = ctx, .only = o.only, .table = {.ctx = ctx, .columns = 6}};
    vkd__catch_signals();
    vkd_tune mode = VKD_TUNE_OFF;
    r = cli_tune_mode(ctx, o.tune, &mode);
    if (!r)
        r = vkd_device_open(ctx, &(vkd_device_desc){.choice = o.device, .validate = o.validate},
                            &t->device);
    if (!r) r = vkd_device_tune(t->device, mode);
    if (!r) r = test_device(t, &o);
    vkd_device_close(t->device);
    vkd__free(ctx, t);
    return r;
}

const cli_command cli_selftest = {
    .name = "selftest",
    .arguments = "[OPTIONS]",
    .summary = "every op and loss against its reference, on this device",
    .help = "Runs every case of every op, forward and backward, and every loss, fused and out of\n"
            "plain ops, and compares with double-precision references; in both kernel variants\n"
            "where the device runs both. Worst errors are shares of what is allowed: above 1\n"
            "differs. Exit code 11 when anything differs.",
    .run = run,
    .options = get_options,
    .quiet = true,
};
