// SPDX-License-Identifier: Apache-2.0
/* vkdistill bench: what each kernel, and whole training steps, reach on this device, beside what
 * the device gives at best.
 */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "check/ceiling.h"
#include "cli/cli.h"
#include "cli/overhead.h"
#include "gpu/report.h"

typedef struct bench_options {
    const char *device, *only, *tune, *out;
    uint32_t runs;
    bool json, serve;
} bench_options;

static const cli_option options[] = {
    {"--device", CLI_TEXT, offsetof(bench_options, device), "D", "which device"},
    CLI_TUNE(bench_options),
    {"--only", CLI_TEXT, offsetof(bench_options, only), "WORD", "rows whose name holds this"},
    {"--runs", CLI_U32, offsetof(bench_options, runs), "N", "steps a row, the median counts (11)"},
    {"--json", CLI_FLAG, offsetof(bench_options, json), NULL, "as JSON"},
    {"--out", CLI_TEXT, offsetof(bench_options, out), "FILE", "the JSON into a file, too"},
    {"--serve", CLI_FLAG, offsetof(bench_options, serve), NULL,
     "time rows as standard input asks, in turn with another program"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

/* The driver in its own words, as `vkdistill doctor` has it. */
static void find_driver(vkd_ctx *ctx, vkd_device *device, json_t *all) {
    vkd__device_report *reports = NULL;
    uint32_t count = 0;
    if (vkd__device_reports(ctx, &reports, &count)) return;
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(reports[i].name, vkd_device_name(device)))
            json_object_set_new(all, "driver", json_string(reports[i].driver));
    vkd__free(ctx, reports);
}

json_t *bench_describe(vkd_ctx *ctx, vkd_device *device) {
    static const char *const variables[] = {"LP_NUM_THREADS", "VKD_KERNELS", "VKD_DISABLE"};
    char *sizes = vkd_device_sizes(device);
    json_t *set = json_object();
    for (size_t i = 0; i < VKD_COUNT(variables); i++)
        if (getenv(variables[i]))
            json_object_set_new(set, variables[i], json_string(getenv(variables[i])));
    json_t *all = json_pack("{s:s, s:s, s:s, s:s, s:o}", "program", "vkdistill " VKD_VERSION,
                            "device", vkd_device_name(device), "driver", "", "sizes",
                            sizes ? sizes : "", "variables", set);
    find_driver(ctx, device, all);
    vkd_free_text(ctx, sizes);
    return all;
}

/* ---- Measuring ---- */

enum { PROBES = 5 };

typedef struct report {
    cli_table table;
    json_t *rows;
    double gflops, gbytes; /* the device's ceiling; the copy of 64 MiB */
    cli_overhead overhead;
} report;

/* copy is what a copy of as many bytes reaches; unused where multiply-adds count. */
static void add_row(report *out, const bench_row *r, double seconds, double copy) {
    const double gflops = r->flops / seconds / 1e9, gbytes = r->bytes / seconds / 1e9;
    const double share = bench_multiplies(r) ? gflops / out->gflops : gbytes / copy;
    json_array_append_new(out->rows,
                          json_pack("{s:s, s:f, s:f, s:f, s:f}", "name", r->name, "seconds",
                                    seconds, "gflops", gflops, "gbytes", gbytes, "share", share));
    char ms[32], flops[32], bytes[32], percent[32];
    snprintf(ms, sizeof ms, "%.3f", seconds * 1e3);
    snprintf(flops, sizeof flops, r->flops > 0 ? "%.1f" : "-", gflops);
    snprintf(bytes, sizeof bytes, "%.2f", gbytes);
    snprintf(percent, sizeof percent, "%.0f %%", 100 * share);
    cli_table_row(&out->table, (const char *const[]){r->name, ms, flops, bytes, percent});
}

static vkd_result measure_row(vkd_ctx *ctx, vkd_device *device, const bench_row *row, uint32_t runs,
                              report *out) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    double seconds = 0, copy = 0;
    vkd_result r = bench_graph(ctx, row, &store, &g);
    if (!r) r = vkd__measure(ctx, device, g, NULL, runs, &seconds);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    if (!r && !bench_multiplies(row))
        r = vkd__ceiling_copy(ctx, device, (uint64_t)row->bytes, &copy);
    if (!r) add_row(out, row, seconds, copy);
    return r;
}

/* The highest of a few probes: whatever disturbs one makes it too low. */
static vkd_result measure_ceiling(vkd_ctx *ctx, vkd_device *device, report *out) {
    vkd_result r = VKD_OK;
    for (int i = 0; i < PROBES && !r; i++) {
        double gflops = 0, gbytes = 0;
        r = vkd__ceiling_flops(ctx, device, &gflops);
        if (!r) r = vkd__ceiling_copy(ctx, device, 128u << 20, &gbytes);
        if (gflops > out->gflops) out->gflops = gflops;
        if (gbytes > out->gbytes) out->gbytes = gbytes;
    }
    return r;
}

static vkd_result measure_all(vkd_ctx *ctx, vkd_device *device, const bench_options *o,
                              report *out) {
    vkd_result r = measure_ceiling(ctx, device, out);
    if (!r) r = cli_overhead_measure(ctx, device, &out->overhead);
    for (size_t i = 0; !r && i < bench_row_count; i++)
        if (bench_wants(&bench_rows[i], o->only))
            r = measure_row(ctx, device, &bench_rows[i], o->runs, out);
    return r;
}

/* ---- Showing ---- */

static json_t *host_json(const cli_overhead *o) {
    json_t *launches = json_array();
    for (int i = 0; i < CLI_OVERHEAD_STEPS; i++)
        json_array_append_new(launches,
                              json_pack("{s:i, s:f}", "launches", (int)o->step_launches[i], "us",
                                        1e6 * o->step_launch[i]));
    return json_pack("{s:i, s:f, s:f, s:o}", "launches", (int)o->launches, "submit_us",
                     1e6 * o->submit, "empty_us", 1e6 * o->empty, "launch_us", launches);
}

/* The whole result as text; NULL: no memory. The caller frees it with free. */
static char *as_json(vkd_ctx *ctx, const report *out, vkd_device *device) {
    json_t *all = bench_describe(ctx, device);
    json_object_set_new(all, "ceiling_gflops", json_real(out->gflops));
    json_object_set_new(all, "ceiling_gbytes", json_real(out->gbytes));
    json_object_set_new(all, "host", host_json(&out->overhead));
    json_object_set(all, "rows", out->rows);
    char *text = json_dumps(all, JSON_INDENT(2));
    json_decref(all);
    return text;
}

static void print_table(const report *out, vkd_device *device) {
    printf("%s\nceiling: %.1f GFLOP/s multiply-add, %.1f GB/s copy of 64 MiB (read + written)\n",
           vkd_device_name(device), out->gflops, out->gbytes);
    printf("host: %.1f us to submit a step of %u launches, %.1f us for an empty submit\n",
           1e6 * out->overhead.submit, (unsigned)out->overhead.launches, 1e6 * out->overhead.empty);
    cli_overhead_print(&out->overhead, stdout);
    putchar('\n');
    cli_table_print(&out->table, stdout);
}

static vkd_result show(vkd_ctx *ctx, vkd_device *device, const bench_options *o,
                       const report *out) {
    char *text = as_json(ctx, out, device);
    if (!text) return vkd__fail(ctx, VKD_E_MEMORY, "out of memory");
    const vkd__bytes parts[] = {{text, strlen(text)}, {"\n", 1}};
    vkd_result r = VKD_OK;
    if (o->out) r = vkd__write_file(ctx, o->out, parts, VKD_COUNT(parts));
    if (o->json)
        puts(text);
    else
        print_table(out, device);
    if (!r && o->out && !o->json) printf("\nas JSON: %s\n", o->out);
    free(text);
    return r;
}

static vkd_result measure_and_show(vkd_ctx *ctx, vkd_device *device, const bench_options *o) {
    report out = {.table = {.ctx = ctx, .columns = 5}, .rows = json_array()};
    cli_table_row(&out.table,
                  (const char *const[]){"kernel and shape", "ms", "GFLOP/s", "GB/s", "of ceiling"});
    vkd_result r = measure_all(ctx, device, o, &out);
    if (!r) r = show(ctx, device, o, &out);
    cli_table_term(&out.table);
    json_decref(out.rows);
    return r;
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    bench_options o = {.runs = 11};
    cli_words rest = {0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && rest.count) r = vkd__fail(ctx, VKD_E_ARGUMENT, "bench takes no '%s'", rest.v[0]);
    if (!r && !o.runs) r = vkd__fail(ctx, VKD_E_ARGUMENT, "--runs must be at least 1");
    if (!r && o.serve && (o.json || o.out))
        r = vkd__fail(ctx, VKD_E_ARGUMENT, "--serve answers line by line: no --json, no --out");
    vkd_device *device = NULL;
    if (!r) r = cli_open_tuned(ctx, o.device, o.tune, &device);
    if (r) return r;
    r = o.serve ? bench_serve(ctx, device, o.only) : measure_and_show(ctx, device, &o);
    vkd_device_close(device);
    return r;
}

const cli_command cli_bench = {
    .name = "bench",
    .arguments = "[OPTIONS]",
    .summary = "GFLOP/s and GB/s of each kernel, as a share of the device's ceiling",
    .help =
        "Measures the device's ceiling (multiply-adds, and a 64 MiB copy), then each kernel, and\n"
        "whole training steps, at shapes that training uses: the median over several steps by\n"
        "the device's own clock. A row whose\n"
        "arithmetic counts is compared with the multiply-add ceiling, the others with a copy of "
        "as\n"
        "many bytes: what fits into a cache is copied faster than what does not. And the\n"
        "host's time to submit a recorded step, beside that of an empty submit (medians of 201).\n"
        "\n"
        "--serve is for programs that time rows in turn with something else. The first line out\n"
        "describes device and rows; then each line in, ROW STEPS, runs so many steps of a row and\n"
        "answers the seconds of one by the host's clock; ROW 0 makes a row ready and answers the\n"
        "ceilings as they are now.",
    .run = run,
    .options = get_options,
    .quiet = true,
};
