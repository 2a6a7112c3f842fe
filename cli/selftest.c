// SPDX-License-Identifier: Apache-2.0
/* vkdistill selftest: every op and every loss on this device against its reference. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "check/check.h"
#include "cli/selftest.h"
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

void selftest_record(selftest *t, const outcome *o) {
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

bool selftest_wanted(const selftest *t, const char *name) {
    return !t->only || strstr(name, t->only);
}

void selftest_look_at_messages(selftest *t, uint32_t before, outcome *o) {
    const uint32_t now = vkd_device_validation_messages(t->device);
    if (now == before || o->failed) return;
    o->failed = true;
    snprintf(o->message, sizeof o->message, "%s, %s kernels: %u messages of the validation layers",
             o->name, o->kernels, (unsigned)(now - before));
}

vkd_result selftest_take(selftest *t, vkd_result r, outcome *o) {
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
        r = selftest_take(t, vkd__check_case(t->ctx, t->device, profile, op, i, &report), &o);
        o.cases++;
        if (!(report.worst <= o.worst)) o.worst = report.worst;
    }
    selftest_look_at_messages(t, messages, &o);
    if (!r) selftest_record(t, &o);
    return r;
}

/* ---- The command ---- */

static vkd_result check_all(selftest *t) {
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < vkd__op_count && !r; i++) {
        if (!selftest_wanted(t, vkd__ops[i]->name)) continue;
        if (vkd__is_terminal(2))
            fprintf(stderr, "\r\033[K%zu/%zu %s", i + 1, vkd__op_count, vkd__ops[i]->name);
        for (uint32_t v = 0; v < t->variant_count && !r; v++)
            r = check_op(t, vkd__ops[i], &t->variants[v]);
    }
    if (!r) r = selftest_losses(t);
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
