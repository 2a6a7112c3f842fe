// SPDX-License-Identifier: Apache-2.0
/* vkdistill doctor: what is on this machine, what is used of it, and why not the rest. */
#include <jansson.h>
#include <stdlib.h>

#include "base/platform.h"
#include "check/tune.h"
#include "cli/cli.h"
#include "cli/doctor_tune.h"
#include "gpu/report.h"

typedef struct doctor_options {
    const char *tune;
    bool json;
} doctor_options;

static const cli_option options[] = {
    {"--tune", CLI_TEXT, offsetof(doctor_options, tune), "MODE",
     "quick or full: time workgroups and tiles now, unless that was done"},
    {"--json", CLI_FLAG, offsetof(doctor_options, json), NULL, "as JSON"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

static const struct {
    const char *name, *what;
} variables[] = {
    {"VKD_DEVICE", "the device: index, part of its name, or amd, intel, nvidia, gpu, cpu"},
    {"VKD_DISABLE", "features to leave unused, with commas between: subgroup,cache"},
    {"VKD_KERNELS", "tile or direct, against the device's own choice"},
    {"VKD_CHECK", "1: every op beside its reference, stops at the first difference"},
    {"VKD_TUNE", "off, quick or full, where --tune is not given"},
    {"LP_NUM_THREADS", "threads of the CPU driver lavapipe"},
    {"VK_DRIVER_FILES", "the drivers that the Vulkan loader looks at"},
    {"VK_ICD_FILENAMES", "the same for older loaders"},
    {"XDG_CACHE_HOME", "where the folder of the pipeline cache is made"},
};

/* All that is found, so that text and JSON show the same. */
typedef struct findings {
    vkd__device_report *devices;
    uint32_t count;
    const vkd__device_report *chosen; /* NULL: none */
    vkd_result result;                /* of looking, and of opening the chosen one */
    char problem[1024];               /* its words */
    char cache[1024];                 /* "" when the device keeps none */
    bool validation;
    vkd__tuning tuning; /* of the chosen one, as the cache has it */
    bool tuned;
    char why[64]; /* the cache is not believed; "" also when there is none */
} findings;

static void look_at_sizes(vkd_device *device, findings *f) {
    const char *why = "";
    f->tuned = vkd__tuning_load(device, &f->tuning, &why);
    snprintf(f->why, sizeof f->why, "%s", f->tuned ? "" : why);
}

static void examine(vkd_ctx *ctx, const char *tune, findings *f) {
    vkd_device *device = NULL;
    f->result = vkd__device_reports(ctx, &f->devices, &f->count);
    for (uint32_t i = 0; i < f->count; i++)
        if (f->devices[i].chosen) f->chosen = &f->devices[i];
    f->validation = vkd__validation_available();
    if (!f->result) f->result = cli_open_tuned(ctx, NULL, tune ? tune : "off", &device);
    if (f->result) {
        snprintf(f->problem, sizeof f->problem, "%s", vkd_ctx_error(ctx));
        return;
    }
    const char *path = vkd__device_cache_path(device);
    snprintf(f->cache, sizeof f->cache, "%s", path ? path : "");
    look_at_sizes(device, f);
    vkd_device_close(device);
}

static const char *why_chosen(const findings *f) {
    const char *asked = getenv("VKD_DEVICE");
    if (asked && *asked) return "VKD_DEVICE asks for it";
    if (f->count == 1) return "the only one";
    return "discrete before integrated before CPU, of those that have what is needed";
}

/* ---- As text ---- */

static void print_devices(vkd_ctx *ctx, const findings *f) {
    cli_table t = {.ctx = ctx, .columns = 7};
    cli_table_row(&t, (const char *const[]){"", "device", "type", "driver", "Vulkan", "GiB", ""});
    for (uint32_t i = 0; i < f->count; i++) {
        const vkd__device_report *d = &f->devices[i];
        char index[16], api[48], memory[32], state[128];
        snprintf(index, sizeof index, "%u", (unsigned)i);
        snprintf(api, sizeof api, "%u.%u.%u", (unsigned)d->api[0], (unsigned)d->api[1],
                 (unsigned)d->api[2]);
        snprintf(memory, sizeof memory, "%.1f", (double)d->memory / (1024.0 * 1024 * 1024));
        snprintf(state, sizeof state, "%s%s%s", d->missing ? "lacks " : "",
                 d->missing ? d->missing : "ready", d->chosen ? ", chosen" : "");
        cli_table_row(
            &t, (const char *const[]){index, d->name, d->type, d->driver, api, memory, state});
    }
    cli_table_print(&t, stdout);
    cli_table_term(&t);
}

static void print_chosen(vkd_ctx *ctx, const findings *f) {
    const vkd__device_report *d = f->chosen;
    const vkd_profile *p = &d->profile;
    const vkd__tile *large = &p->tile[VKD__MATMUL_LARGE];
    printf("\nchosen: %s (%s)\n", d->name, why_chosen(f));
    if (d->missing) return;
    printf("kernels: %s, subgroups of %u, workgroups of %u (rows) and %u (elements), matmul tiles "
           "%u x %u x %u\n",
           p->direct ? "direct" : "tile", (unsigned)p->subgroup, (unsigned)p->row_workgroup,
           (unsigned)p->flat_workgroup, (unsigned)large->m, (unsigned)large->n, (unsigned)large->k);
    printf("limits: %u invocations, %u KiB shared, bindings of %llu MiB, allocations of %llu MiB\n",
           (unsigned)p->max_invocations, (unsigned)p->max_shared / 1024,
           (unsigned long long)(p->max_binding >> 20),
           (unsigned long long)(p->max_allocation >> 20));
    printf(
        "16-bit tensors (precision: mixed or mixed_bf16): f16 and bf16 as pairs in 32-bit words, "
        "which every device has; arithmetic and sums in f32\n");
    printf("planned with: %.0f GFLOP/s, %.0f GB/s, %.0f microseconds a launch\n\n", p->gflops,
           p->gbytes, p->launch_seconds * 1e6);
    cli_table t = {.ctx = ctx, .columns = 3};
    cli_table_row(&t, (const char *const[]){"feature", "for", "used"});
    for (size_t i = 0; i < VKD__FEATURE_COUNT; i++) {
        const vkd__feature *feature = &d->features[i];
        char used[160];
        snprintf(used, sizeof used, "%s%s", feature->used ? "yes" : "no: ", feature->why_not);
        cli_table_row(&t, (const char *const[]){feature->name, feature->what, used});
    }
    cli_table_print(&t, stdout);
    cli_table_term(&t);
}

static void print_text(vkd_ctx *ctx, const findings *f) {
    if (f->count) print_devices(ctx, f);
    if (f->chosen) print_chosen(ctx, f);
    if (f->count) putchar('\n');
    if (!f->result) printf("the device opens\n");
    if (!f->result) printf("pipeline cache: %s\n", f->cache[0] ? f->cache : "none");
    if (!f->result) cli_tuning_print(ctx, f->tuned ? &f->tuning : NULL, f->why);
    printf("validation layers: %s\n",
           f->validation ? "installed"
                         : "not installed (Debian and Ubuntu: vulkan-validationlayers); only "
                           "developers need them");
    printf("\n");
    cli_table t = {.ctx = ctx, .columns = 3};
    cli_table_row(&t, (const char *const[]){"variable", "value", "for"});
    for (size_t i = 0; i < VKD_COUNT(variables); i++) {
        const char *value = getenv(variables[i].name);
        cli_table_row(
            &t, (const char *const[]){variables[i].name, value ? value : "-", variables[i].what});
    }
    cli_table_print(&t, stdout);
    cli_table_term(&t);
}

/* ---- As JSON ---- */

static json_t *features_json(const vkd__device_report *d) {
    json_t *all = json_array();
    for (size_t i = 0; i < VKD__FEATURE_COUNT; i++) {
        const vkd__feature *f = &d->features[i];
        json_array_append_new(all, json_pack("{s:s, s:s, s:b, s:b, s:s}", "name", f->name, "what",
                                             f->what, "supported", f->supported, "used", f->used,
                                             "why_not", f->why_not));
    }
    return all;
}

static json_t *device_json(uint32_t index, const vkd__device_report *d) {
    char api[48];
    snprintf(api, sizeof api, "%u.%u.%u", (unsigned)d->api[0], (unsigned)d->api[1],
             (unsigned)d->api[2]);
    json_t *out = json_pack("{s:i, s:s, s:s, s:s, s:s, s:I, s:b}", "index", (int)index, "name",
                            d->name, "type", d->type, "driver", d->driver, "vulkan", api, "memory",
                            (json_int_t)d->memory, "chosen", d->chosen);
    if (d->missing) {
        json_object_set_new(out, "missing", json_string(d->missing));
        return out;
    }
    const vkd_profile *p = &d->profile;
    const vkd__tile *large = &p->tile[VKD__MATMUL_LARGE];
    json_object_set_new(out, "features", features_json(d));
    json_object_set_new(
        out, "half",
        json_pack("{s:s, s:s}", "storage", "pairs in 32-bit words", "arithmetic", "f32"));
    json_object_set_new(
        out, "profile",
        json_pack("{s:s, s:i, s:i, s:i, s:[i, i, i], s:i, s:i, s:I, s:I, s:f, s:f, s:f}", "kernels",
                  p->direct ? "direct" : "tile", "subgroup", (int)p->subgroup, "row_workgroup",
                  (int)p->row_workgroup, "flat_workgroup", (int)p->flat_workgroup, "tile",
                  (int)large->m, (int)large->n, (int)large->k, "max_invocations",
                  (int)p->max_invocations, "max_shared", (int)p->max_shared, "max_binding",
                  (json_int_t)p->max_binding, "max_allocation", (json_int_t)p->max_allocation,
                  "gflops", p->gflops, "gbytes", p->gbytes, "launch_seconds", p->launch_seconds));
    return out;
}

static void print_json(const findings *f) {
    json_t *devices = json_array(), *environment = json_object();
    for (uint32_t i = 0; i < f->count; i++)
        json_array_append_new(devices, device_json(i, &f->devices[i]));
    for (size_t i = 0; i < VKD_COUNT(variables); i++) {
        const char *value = getenv(variables[i].name);
        json_object_set_new(environment, variables[i].name,
                            value ? json_string(value) : json_null());
    }
    json_t *all = json_pack("{s:o, s:s?, s:s?, s:s?, s:o, s:b, s:o}", "devices", devices, "chosen",
                            f->chosen ? f->chosen->name : NULL, "problem",
                            f->result ? f->problem : NULL, "cache", f->cache[0] ? f->cache : NULL,
                            "sizes", cli_tuning_json(f->tuned ? &f->tuning : NULL),
                            "validation_layers", f->validation, "environment", environment);
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    doctor_options o = {0};
    cli_words rest = {0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && rest.count) r = vkd__fail(ctx, VKD_E_ARGUMENT, "doctor takes no '%s'", rest.v[0]);
    if (r) return r;
    findings *f = vkd__alloc(ctx, 1, sizeof *f);
    if (!f) return VKD_E_MEMORY;
    examine(ctx, o.tune, f);
    if (o.json)
        print_json(f);
    else
        print_text(ctx, f);
    vkd__free(ctx, f->devices);
    r = f->result ? vkd__fail(ctx, f->result, "%s", f->problem) : VKD_OK;
    vkd__free(ctx, f);
    return r;
}

const cli_command cli_doctor = {
    .name = "doctor",
    .arguments = "[OPTIONS]",
    .summary = "devices, what is used of them and why not the rest",
    .help =
        "Lists the Vulkan devices of this machine, says which one is chosen and why, what is used\n"
        "of it and why not the rest, where the pipeline cache lies, and the environment variables\n"
        "that matter. Exit code 0 when the chosen device opens, 6 when there is none that can be\n"
        "used; then the last line says what to install.",
    .run = run,
    .options = get_options,
    .quiet = true,
};
