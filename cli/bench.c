// SPDX-License-Identifier: Apache-2.0
/* vkdistill bench: what each kernel reaches on this device, beside what the device gives at best.
 */
#include <jansson.h>
#include <string.h>

#include "check/ceiling.h"
#include "cli/cli.h"
#include "cli/overhead.h"

typedef struct bench_options {
    const char *device, *only;
    uint32_t runs;
    bool json;
} bench_options;

static const cli_option options[] = {
    {"--device", CLI_TEXT, offsetof(bench_options, device), "D", "which device"},
    {"--only", CLI_TEXT, offsetof(bench_options, only), "WORD", "rows whose name holds this"},
    {"--runs", CLI_U32, offsetof(bench_options, runs), "N", "steps a row, the median counts (11)"},
    {"--json", CLI_FLAG, offsetof(bench_options, json), NULL, "as JSON"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

/* A row: a graph of one interesting node, and what that node must at least do. Traffic counts each
 * tensor once: what a perfect cache would leave. */
typedef struct row {
    const char *name;
    void (*build)(vkd_graph *g, const struct row *r);
    uint32_t m, n, k;
    double flops, bytes;
} row;

/* Inputs are store tensors: a host-written input would be copied in each step. */
static vkd_tensor data(vkd_graph *g, const char *name, uint32_t rows, uint32_t columns) {
    return vkd_param(g, name, VKD_SHAPE(rows, columns),
                     &(vkd_init){.kind = VKD_INIT_NORMAL, .value = 1});
}

static void keep(vkd_graph *g, vkd_tensor t) {
    vkd_output(
        g, "y",
        vkd_slice(g,
                  vkd_reshape(g, t, VKD_SHAPE((uint32_t)vkd_shape_count(vkd_tensor_shape(g, t)))),
                  0, 0, 1));
}

static void build_nn(vkd_graph *g, const row *r) {
    keep(g, vkd_matmul(g, data(g, "b.a", r->m, r->k), data(g, "b.b", r->k, r->n), NULL));
}
static void build_nt(vkd_graph *g, const row *r) {
    keep(g, vkd_matmul(g, data(g, "b.a", r->m, r->k), data(g, "b.b", r->n, r->k),
                       &(vkd_matmul_desc){.transpose_b = true}));
}
static void build_tn(vkd_graph *g, const row *r) {
    keep(g, vkd_matmul(g, data(g, "b.a", r->k, r->m), data(g, "b.b", r->k, r->n),
                       &(vkd_matmul_desc){.transpose_a = true}));
}
static void build_add(vkd_graph *g, const row *r) {
    keep(g, vkd_add(g, data(g, "b.a", r->m, r->n), data(g, "b.b", r->m, r->n)));
}
static void build_gelu(vkd_graph *g, const row *r) {
    keep(g, vkd_gelu(g, data(g, "b.a", r->m, r->n)));
}
static void build_columns(vkd_graph *g, const row *r) {
    keep(g, vkd_sum(g, data(g, "b.a", r->m, r->n), 1u, false));
}
static void build_softmax(vkd_graph *g, const row *r) {
    keep(g, vkd_softmax(g, data(g, "b.a", r->m, r->n)));
}
static void build_layernorm(vkd_graph *g, const row *r) {
    const vkd_shape d = VKD_SHAPE(r->n);
    keep(g, vkd_layernorm(g, data(g, "b.a", r->m, r->n), vkd_param(g, "b.gamma", d, NULL),
                          vkd_param(g, "b.beta", d, NULL), 1e-5f));
}
static void build_kd(vkd_graph *g, const row *r) {
    const vkd_tensor student = data(g, "b.student", r->m, r->n);
    const vkd_tensor teacher = vkd_stop_gradient(g, data(g, "t.teacher", r->m, r->n));
    const vkd_tensor loss = vkd_kd_kl(g, student, teacher, vkd_constant(g, 4.0f), true);
    vkd_tensor gradient;
    vkd_backward(g, loss, &student, 1, &gradient);
    vkd_output(g, "loss", loss);
    keep(g, gradient);
}
static void build_adamw(vkd_graph *g, const row *r) {
    const vkd_tensor w = data(g, "b.w", r->m, r->n);
    const vkd_tensor gradient = vkd_state(g, "gradient", VKD_F32, VKD_SHAPE(r->m * r->n));
    (void)w;
    vkd_adamw(g, "b", gradient, vkd_guard(g, "b", gradient, vkd_constant(g, 0.0f), 0.0f),
              vkd_constant(g, 1e-3f), NULL);
}

#define MATMUL(build, text, m, n, k)                                                               \
    {                                                                                              \
        text, build, m, n, k, 2.0 * (m) * (n) * (k),                                               \
            4.0 * ((m) * (double)(n) + (m) * (double)(k) + (k) * (double)(n))                      \
    }
#define ROWS(build, text, m, n, tensors)                                                           \
    { text, build, m, n, 0, 0, 4.0 * (tensors) * (m) * (n) }

static const row rows[] = {
    MATMUL(build_nn, "matmul NN 512x512x512", 512, 512, 512),
    MATMUL(build_nt, "matmul NT 512x512x512", 512, 512, 512),
    MATMUL(build_tn, "matmul TN 512x512x512", 512, 512, 512),
    MATMUL(build_nt, "matmul NT 128x1200x784", 128, 1200, 784),
    MATMUL(build_nn, "matmul NN 128x1200x1200", 128, 1200, 1200),
    MATMUL(build_tn, "matmul TN 1200x784x128", 1200, 784, 128),
    MATMUL(build_nt, "matmul NT 128x10x1200", 128, 10, 1200),
    MATMUL(build_nt, "matmul NT 128x30x784", 128, 30, 784),
    MATMUL(build_tn, "matmul TN 30x784x128", 30, 784, 128),
    MATMUL(build_nn, "matmul NN 4096x64x576", 4096, 64, 576),
    MATMUL(build_nn, "matmul NN 500x501x503", 500, 501, 503),
    ROWS(build_add, "add 1024x1024", 1024, 1024, 3),
    ROWS(build_gelu, "gelu 1024x1024", 1024, 1024, 2),
    ROWS(build_columns, "column sum 4096x512", 4096, 512, 1),
    ROWS(build_softmax, "softmax 4096x10", 4096, 10, 2),
    ROWS(build_softmax, "softmax 512x4096", 512, 4096, 2),
    ROWS(build_layernorm, "layernorm 2048x128", 2048, 128, 2),
    ROWS(build_kd, "kd_kl forward+backward 128x10", 128, 10, 3),
    ROWS(build_kd, "kd_kl forward+backward 2048x4096", 2048, 4096, 3),
    ROWS(build_kd, "kd_kl forward+backward 512x50257", 512, 50257, 3),
    ROWS(build_adamw, "adamw 1024x1024, with norm", 1024, 1024, 8),
};

/* ---- Running and printing ---- */

typedef struct report {
    cli_table table;
    json_t *json;          /* NULL: a table */
    double gflops, gbytes; /* the device's ceiling; the copy of 64 MiB */
    cli_overhead overhead;
} report;

/* copy is what a copy of as many bytes reaches; unused in a row with arithmetic. */
static void add_row(report *out, const row *r, double seconds, double copy) {
    const double gflops = r->flops / seconds / 1e9, gbytes = r->bytes / seconds / 1e9;
    const double share = r->flops > 0 ? gflops / out->gflops : gbytes / copy;
    if (out->json) {
        json_array_append_new(out->json, json_pack("{s:s, s:f, s:f, s:f, s:f}", "name", r->name,
                                                   "seconds", seconds, "gflops", gflops, "gbytes",
                                                   gbytes, "share", share));
        return;
    }
    char ms[32], flops[32], bytes[32], percent[32];
    snprintf(ms, sizeof ms, "%.3f", seconds * 1e3);
    snprintf(flops, sizeof flops, r->flops > 0 ? "%.1f" : "-", gflops);
    snprintf(bytes, sizeof bytes, "%.2f", gbytes);
    snprintf(percent, sizeof percent, "%.0f %%", 100 * share);
    cli_table_row(&out->table, (const char *const[]){r->name, ms, flops, bytes, percent});
}

static vkd_result measure_row(vkd_ctx *ctx, vkd_device *device, const row *r, uint32_t runs,
                              double *seconds) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_result result = vkd_store_create(ctx, &store);
    if (!result) result = vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = r->name}, &g);
    if (!result) {
        r->build(g, r);
        result = vkd__measure(ctx, device, g, NULL, runs, seconds);
    }
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return result;
}

static vkd_result measure_all(vkd_ctx *ctx, vkd_device *device, const bench_options *o,
                              report *out) {
    vkd_result r = VKD_OK;
    for (size_t i = 0; !r && i < VKD_COUNT(rows); i++) {
        double seconds = 0, copy = 0;
        if (o->only && !strstr(rows[i].name, o->only)) continue;
        r = measure_row(ctx, device, &rows[i], o->runs, &seconds);
        if (!r && rows[i].flops == 0)
            r = vkd__ceiling_copy(ctx, device, (uint64_t)rows[i].bytes, &copy);
        if (!r) add_row(out, &rows[i], seconds, copy);
    }
    return r;
}

static void print_report(const report *out, vkd_device *device) {
    if (out->json) {
        json_t *all = json_pack(
            "{s:s, s:f, s:f, s:{s:i, s:f, s:f}, s:O}", "device", vkd_device_name(device),
            "ceiling_gflops", out->gflops, "ceiling_gbytes", out->gbytes, "host", "launches",
            (int)out->overhead.launches, "submit_us", 1e6 * out->overhead.submit, "empty_us",
            1e6 * out->overhead.empty, "rows", out->json);
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(all);
        return;
    }
    printf("%s\nceiling: %.1f GFLOP/s multiply-add, %.1f GB/s copy of 64 MiB (read + written)\n",
           vkd_device_name(device), out->gflops, out->gbytes);
    printf("host: %.1f us to submit a step of %u launches, %.1f us for an empty submit\n\n",
           1e6 * out->overhead.submit, (unsigned)out->overhead.launches, 1e6 * out->overhead.empty);
    cli_table_print(&out->table, stdout);
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    bench_options o = {.runs = 11};
    cli_words rest = {0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && rest.count) r = vkd__fail(ctx, VKD_E_ARGUMENT, "bench takes no '%s'", rest.v[0]);
    if (!r && !o.runs) r = vkd__fail(ctx, VKD_E_ARGUMENT, "--runs must be at least 1");
    vkd_device *device = NULL;
    if (!r) r = cli_open_device(ctx, o.device, &device);
    if (r) return r;
    report out = {.table = {.ctx = ctx, .columns = 5}, .json = o.json ? json_array() : NULL};
    cli_table_row(&out.table,
                  (const char *const[]){"kernel and shape", "ms", "GFLOP/s", "GB/s", "of ceiling"});
    r = vkd__ceiling_flops(ctx, device, &out.gflops);
    if (!r) r = vkd__ceiling_copy(ctx, device, 128u << 20, &out.gbytes);
    if (!r) r = cli_overhead_measure(ctx, device, &out.overhead);
    if (!r) r = measure_all(ctx, device, &o, &out);
    if (!r) print_report(&out, device);
    cli_table_term(&out.table);
    json_decref(out.json);
    vkd_device_close(device);
    return r;
}

const cli_command cli_bench = {
    .name = "bench",
    .arguments = "[OPTIONS]",
    .summary = "GFLOP/s and GB/s of each kernel, as a share of the device's ceiling",
    .help =
        "Measures the device's ceiling (multiply-adds, and a 64 MiB copy), then each kernel at "
        "shapes\n"
        "that training uses: the median over several steps by the device's own clock. A row with\n"
        "arithmetic is compared with the multiply-add ceiling, the others with a copy of as many\n"
        "bytes: what fits into a cache is copied faster than what does not. And the\n"
        "host's time to submit a recorded step, beside that of an empty submit (medians of 201).",
    .run = run,
    .options = get_options,
    .quiet = true,
};
