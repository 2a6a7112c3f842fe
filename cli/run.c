// SPDX-License-Identifier: Apache-2.0
/* vkdistill run: from a recipe to a table. */
#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "cli/cli.h"
#include "cli/figure.h"
#include "cli/progress.h"
#include "cli/view.h"
#include "vkdistill/train.h"

typedef struct run_options {
    cli_words sets;
    const char *device, *out, *pool, *tune;
    uint32_t seeds;
    bool resume, force, json, markdown, print, profile, view;
} run_options;

static const cli_option options[] = {
    {"--set", CLI_MORE, offsetof(run_options, sets), "A.B=V",
     "replace a value of the recipe; may be given again"},
    {"--device", CLI_TEXT, offsetof(run_options, device), "D",
     "index, part of the name, or amd, intel, nvidia, gpu, cpu"},
    CLI_TUNE(run_options),
    {"--out", CLI_TEXT, offsetof(run_options, out), "DIR",
     "the run's folder; default runs/<name of the recipe>"},
    {"--seeds", CLI_U32, offsetof(run_options, seeds), "N",
     "repeat with N seeds, report mean and standard deviation"},
    {"--pool", CLI_TEXT, offsetof(run_options, pool), "DIR",
     "a folder for trained models that several runs have in common"},
    {"--resume", CLI_FLAG, offsetof(run_options, resume), NULL,
     "go on from the folder's checkpoint"},
    {"--force", CLI_FLAG, offsetof(run_options, force), NULL,
     "start over in a folder that holds a run"},
    {"--json", CLI_FLAG, offsetof(run_options, json), NULL, "print the table as JSON"},
    {"--profile", CLI_FLAG, offsetof(run_options, profile), NULL,
     "time every kernel of the training steps; a table after each stage"},
    {"--markdown", CLI_FLAG, offsetof(run_options, markdown), NULL, "print the table as Markdown"},
    {"--print", CLI_FLAG, offsetof(run_options, print), NULL,
     "print the recipe with every default written out, and stop"},
    {"--view", CLI_FLAG, offsetof(run_options, view), NULL,
     "open the viewer on this run, where there is a display"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

/* ---- The table ---- */

enum { COLUMNS = 11, ALWAYS = 8, CELL = 64 };

/* The columns that some row has something for; the first ones are always there. */
static uint32_t find_columns(const vkd_run *run) {
    uint32_t shown = (1u << ALWAYS) - 1;
    for (uint32_t i = 0; i < vkd_run_row_count(run); i++) {
        const vkd_row *row = vkd_run_row(run, i);
        if (isfinite(row->omitted_recall.mean)) shown |= 3u << ALWAYS; /* and the shift */
        if (isfinite(row->recall_at_1.mean)) shown |= 1u << (ALWAYS + 2);
    }
    return shown;
}

static void add_row(cli_table *t, uint32_t shown, const char *const *cells) {
    const char *texts[COLUMNS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < COLUMNS; i++)
        if (shown >> i & 1) texts[count++] = cells[i];
    t->columns = count;
    cli_table_row(t, texts);
}

static void add_figures(cli_table *t, uint32_t shown, const vkd_row *row) {
    char cells[COLUMNS][CELL];
    const char *texts[COLUMNS];
    snprintf(cells[0], CELL, "%s", row->label);
    cli_figure(cells[1], CELL, row->seeds, row->accuracy, 100, 2, "%");
    cli_figure(cells[2], CELL, row->seeds, row->errors, 1, row->seeds > 1 ? 1 : 0, "");
    snprintf(cells[3], CELL, "%llu", (unsigned long long)row->parameters);
    cli_figure(cells[4], CELL, row->seeds, row->kl, 1, 4, "");
    cli_figure(cells[5], CELL, row->seeds, row->agreement, 100, 2, "%");
    cli_figure(cells[6], CELL, row->seeds, row->calibration, 100, 2, "%");
    cli_figure(cells[7], CELL, row->seeds, row->seconds, 1, 1, "");
    cli_figure(cells[8], CELL, row->seeds, row->omitted_recall, 100, 2, "%");
    cli_figure(cells[9], CELL, row->seeds, row->shift, 1, 2, "");
    cli_figure(cells[10], CELL, row->seeds, row->recall_at_1, 100, 2, "%");
    for (int i = 0; i < COLUMNS; i++)
        texts[i] = cells[i];
    add_row(t, shown, texts);
}

static void print_table(vkd_ctx *ctx, const vkd_run *run, bool markdown) {
    static const char *const heads[COLUMNS] = {
        "",          "test accuracy",     "test errors", "parameters",        "KL to teacher",
        "agreement", "calibration error", "seconds",     "recall of omitted", "shift",
        "recall@1"};
    const uint32_t shown = find_columns(run);
    cli_table t = {.ctx = ctx};
    add_row(&t, shown, heads);
    for (uint32_t i = 0; i < vkd_run_row_count(run); i++)
        add_figures(&t, shown, vkd_run_row(run, i));
    (markdown ? cli_table_markdown : cli_table_print)(&t, stdout);
    cli_table_term(&t);
}

static void print_json(vkd_ctx *ctx, const vkd_run *run) {
    char *text = vkd_run_summary(run);
    if (text) fputs(text, stdout);
    vkd_free_text(ctx, text);
}

/* ---- The profile ---- */

/* What the callbacks of one run share. */
typedef struct watcher {
    vkd_ctx *ctx;
    cli_progress progress;
    const char *view; /* folder that a viewer is still to be opened on, or NULL */
} watcher;

/* Adds the launches of one kernel up, in the row of the first; the others lose their calls. */
static void merge(vkd_profile_row *rows, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = 0;
        while (strcmp(rows[first].kernel, rows[i].kernel) != 0)
            first++;
        if (first == i) continue;
        rows[first].calls += rows[i].calls;
        rows[first].seconds += rows[i].seconds;
        rows[first].flops += rows[i].flops;
        rows[first].bytes += rows[i].bytes;
        rows[i].calls = 0;
    }
}

static void profile_row(cli_table *t, const vkd_profile_row *row, double all) {
    char cells[6][CELL];
    const char *texts[6];
    const double seconds = row->seconds > 0 ? row->seconds : NAN;
    snprintf(cells[0], CELL, "%s", row->kernel);
    snprintf(cells[1], CELL, "%llu", (unsigned long long)row->calls);
    snprintf(cells[2], CELL, "%.2f", row->seconds * 1e3);
    snprintf(cells[3], CELL, "%.1f%%", 100 * row->seconds / all);
    snprintf(cells[4], CELL, "%.2f", row->flops / seconds * 1e-9);
    snprintf(cells[5], CELL, "%.2f", row->bytes / seconds * 1e-9);
    for (int i = 0; i < 6; i++)
        texts[i] = cells[i];
    cli_table_row(t, texts);
}

static void on_profile(void *user, const char *phase, const vkd_profile_row *rows, uint32_t count) {
    static const char *const heads[] = {"kernel", "calls", "ms", "share", "GFLOP/s", "GB/s"};
    watcher *w = user;
    vkd_profile_row *sums = vkd__alloc(w->ctx, count, sizeof *sums);
    if (!sums) return;
    memcpy(sums, rows, count * sizeof *sums);
    merge(sums, count);
    double all = 1e-12;
    for (uint32_t i = 0; i < count; i++)
        all += rows[i].seconds;
    cli_table t = {.ctx = w->ctx, .columns = VKD_COUNT(heads)};
    cli_table_row(&t, heads);
    for (uint32_t i = 0; i < count; i++)
        if (sums[i].calls) profile_row(&t, &sums[i], all);
    cli_progress_clear(&w->progress);
    fprintf(stderr, "%s:\n", phase);
    cli_table_print(&t, stderr);
    cli_table_term(&t);
    vkd__free(w->ctx, sums);
}

/* ---- The command ---- */

static void on_progress(void *user, const vkd_progress *progress) {
    cli_progress_show(&((watcher *)user)->progress, progress);
}

/* Once there is something to see. */
static void open_viewer(watcher *w) {
    if (!w->view) return;
    cli_progress_clear(&w->progress);
    cli_view_open(w->ctx, w->view);
    w->view = NULL;
}

/* After the first step all that a viewer looks for is in the folder. */
static bool on_stop(void *user) {
    open_viewer(user);
    return vkd__stop_asked();
}

static vkd_result execute(vkd_ctx *ctx, const vkd_recipe *recipe, const run_options *o) {
    char folder[1024];
    if (o->out)
        snprintf(folder, sizeof folder, "%s", o->out);
    else
        snprintf(folder, sizeof folder, "runs/%s", vkd_recipe_name(recipe));
    watcher w = {.ctx = ctx, .view = o->view ? folder : NULL};
    cli_progress_init(&w.progress);
    const vkd_run_desc desc = {.folder = folder,
                               .resume = o->resume,
                               .force = o->force,
                               .seeds = o->seeds,
                               .pool = o->pool,
                               .progress = on_progress,
                               .stop = on_stop,
                               .profile = o->profile ? on_profile : NULL,
                               .user = &w};
    vkd_device *device = NULL;
    vkd_run *run = NULL;
    vkd_result r = cli_open_tuned(ctx, o->device, o->tune, &device);
    if (!r)
        vkd__log(ctx, VKD_LOG_INFO, "%s on %s, into %s", vkd_recipe_name(recipe),
                 vkd_device_name(device), folder);
    if (!r) r = vkd_run_create(ctx, device, recipe, &desc, &run);
    if (!r) r = vkd_run_execute(run);
    if (!r) open_viewer(&w); /* on one that had been finished before */
    cli_progress_clear(&w.progress);
    if (!r && o->json) print_json(ctx, run);
    if (!r && !o->json) print_table(ctx, run, o->markdown);
    vkd_run_destroy(run);
    vkd_device_close(device);
    return r;
}

static vkd_result print_recipe(vkd_ctx *ctx, const vkd_recipe *recipe) {
    char *text = vkd_recipe_print(recipe);
    if (!text) return VKD_E_MEMORY;
    fputs(text, stdout);
    vkd_free_text(ctx, text);
    return VKD_OK;
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    run_options o = {.seeds = 1};
    cli_words rest = {0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && rest.count != 1)
        r = vkd__fail(ctx, VKD_E_ARGUMENT, "run wants one recipe: vkdistill run RECIPE [OPTIONS]");
    if (!r && !o.seeds) r = vkd__fail(ctx, VKD_E_ARGUMENT, "--seeds must be at least 1");
    vkd_recipe *recipe = NULL;
    if (!r) r = vkd_recipe_load(ctx, rest.v[0], o.sets.v, o.sets.count, &recipe);
    if (!r && o.print) {
        r = print_recipe(ctx, recipe);
    } else if (!r) {
        vkd__catch_signals();
        r = execute(ctx, recipe, &o);
    }
    vkd_recipe_destroy(recipe);
    return r;
}

const cli_command cli_run = {
    .name = "run",
    .arguments = "RECIPE [OPTIONS]",
    .summary = "train what a recipe says, evaluate, print the table",
    .help = "Trains each stage of the recipe and its control, evaluates on the test split, prints\n"
            "the table. The folder gets recipe.yaml (as resolved), metrics.jsonl,\n"
            "checkpoint.safetensors, one safetensors file for each trained model, and\n"
            "summary.json. Ctrl-C writes a checkpoint; --resume goes on from the last one and\n"
            "ends with the same bits as a run that was never stopped.\n"
            "\n"
            "With --pool a model that another run there has trained from the same recipe, seed,\n"
            "data and device is taken over: recipes that differ in a student have their teacher\n"
            "trained once.\n"
            "\n"
            "Values are set by path, an item of a list by its name or index:\n"
            "  vkdistill run recipes/hinton.yaml --set stages.distil.losses.kd_kl.tau=8\n"
            "`vkdistill list keys` says what a recipe and its stages know, the other lists what "
            "they name.",
    .run = run,
    .options = get_options,
};
