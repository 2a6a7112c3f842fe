// SPDX-License-Identifier: Apache-2.0
/* vkdistill sweep: one recipe at every point of a grid of settings.
 *
 * Each point is a run in a folder of its own. All points have one pool of trained models, so that a
 * teacher, or a control, that does not depend on the grid is trained once. A point whose summary is
 * there is read, one that was begun goes on. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "cli/cli.h"
#include "cli/figure.h"
#include "cli/progress.h"
#include "cli/sweep_grid.h"
#include "train/summary.h"

typedef struct sweep_options {
    cli_words sets, grid;
    const char *device, *out, *tune;
    uint32_t seeds;
    bool json, markdown;
} sweep_options;

static const cli_option options[] = {
    {"--grid", CLI_MORE, offsetof(sweep_options, grid), "A.B=V,V", "values of one setting"},
    {"--set", CLI_MORE, offsetof(sweep_options, sets), "A.B=V",
     "replace a value of the recipe at every point"},
    {"--seeds", CLI_U32, offsetof(sweep_options, seeds), "N",
     "repeat each point with N seeds, report mean and standard deviation"},
    {"--out", CLI_TEXT, offsetof(sweep_options, out), "DIR",
     "the sweep's folder; default sweeps/<name of the recipe>"},
    {"--device", CLI_TEXT, offsetof(sweep_options, device), "D",
     "index, part of the name, or amd, intel, nvidia, gpu, cpu"},
    CLI_TUNE(sweep_options),
    {"--json", CLI_FLAG, offsetof(sweep_options, json), NULL, "print the points as JSON"},
    {"--markdown", CLI_FLAG, offsetof(sweep_options, markdown), NULL,
     "print the table as Markdown"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

typedef struct sweep_point {
    vkd_recipe *recipe;
    const char *folder;
    vkd_row *rows; /* once it is done */
    uint32_t row_count;
} sweep_point;

typedef struct sweep {
    vkd_ctx *ctx;
    vkd__arena arena;
    const sweep_options *o;
    sweep_grid grid;
    sweep_point *points;
    const char *folder, *pool;
    cli_progress progress;
} sweep;

/* ---- Points ---- */

static vkd_result read_point(sweep *s, const char *path, uint32_t index) {
    const char *sets[2 * CLI_MANY];
    size_t count = 0;
    for (; count < s->o->sets.count; count++)
        sets[count] = s->o->sets.v[count];
    for (uint32_t i = 0; i < s->grid.axis_count; i++) {
        sets[count] = sweep_grid_set(&s->grid, index, i);
        if (!sets[count++]) return VKD_E_MEMORY;
    }
    return vkd_recipe_load(s->ctx, path, sets, count, &s->points[index].recipe);
}

/* All of them before anything runs: the last one's mistake should not come to light tomorrow. */
static vkd_result read_points(sweep *s, const char *path) {
    vkd_result r = VKD_OK;
    s->points = VKD_NEW(&s->arena, sweep_point, s->grid.point_count);
    if (!s->points) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < s->grid.point_count && !r; i++)
        r = read_point(s, path, i);
    if (r) return r;
    s->folder =
        s->o->out ? s->o->out
                  : vkd__arena_format(&s->arena, "sweeps/%s", vkd_recipe_name(s->points[0].recipe));
    s->pool = s->folder ? vkd__arena_format(&s->arena, "%s/models", s->folder) : NULL;
    for (uint32_t i = 0; i < s->grid.point_count && s->pool; i++) {
        const char *name = sweep_grid_folder(&s->grid, i);
        s->points[i].folder = name ? vkd__arena_format(&s->arena, "%s/%s", s->folder, name) : NULL;
        if (!s->points[i].folder) return VKD_E_MEMORY;
    }
    return s->pool ? VKD_OK : VKD_E_MEMORY;
}

/* Whether a folder's recipe.yaml is this recipe with this seed. */
static bool holds(sweep *s, const char *folder, const vkd_recipe *recipe, uint32_t seed) {
    vkd_recipe own = *recipe;
    own.options.seed = seed;
    char *text = vkd_recipe_print(&own);
    const char *path = vkd__arena_format(&s->arena, "%s/recipe.yaml", folder);
    vkd__mapping file = {0};
    bool same = false;
    if (text && path && vkd__file_exists(path) && !vkd__map_file(s->ctx, path, &file)) {
        same = file.size == strlen(text) && !memcmp(file.bytes, text, file.size);
        vkd__unmap_file(&file);
    }
    vkd_free_text(s->ctx, text);
    return same;
}

/* Reads a point that is done, with these settings and as many seeds; else it has no rows. */
static vkd_result read_done(sweep *s, sweep_point *p) {
    const char *summary = vkd__arena_format(&s->arena, "%s/summary.json", p->folder);
    if (!summary) return VKD_E_MEMORY;
    if (!vkd__file_exists(summary)) return VKD_OK;
    const uint32_t first = p->recipe->options.seed, seeds = s->o->seeds;
    for (uint32_t i = 0; i < seeds; i++) {
        const char *folder = seeds == 1 ? p->folder
                                        : vkd__arena_format(&s->arena, "%s/seed-%u", p->folder,
                                                            (unsigned)(first + i));
        if (!folder) return VKD_E_MEMORY;
        if (!holds(s, folder, p->recipe, first + i)) return VKD_OK;
    }
    uint32_t there = 0;
    const vkd_result r = vkd__summary_read(&s->arena, p->folder, &p->rows, &p->row_count, &there);
    if (!r && there != seeds) p->rows = NULL;
    return r;
}

static void on_progress(void *user, const vkd_progress *progress) {
    cli_progress_show(&((sweep *)user)->progress, progress);
}

static bool on_stop(void *user) {
    (void)user;
    return vkd__stop_asked();
}

static void tell(sweep *s, uint32_t index, const char *what) {
    vkd__text t = {.ctx = s->ctx};
    for (uint32_t i = 0; i < s->grid.axis_count; i++)
        vkd__text_add(&t, "%s%s=%s", i ? ", " : "", sweep_grid_heading(&s->grid, i),
                      s->grid.axes[i].values[sweep_grid_value(&s->grid, index, i)]);
    if (!t.failed)
        vkd__log(s->ctx, VKD_LOG_INFO, "point %u of %u, %s: %s", (unsigned)index + 1,
                 (unsigned)s->grid.point_count, t.text, what);
    vkd__text_term(&t);
}

/* The table is read back from what the run wrote, so that it is the same the next time. */
static vkd_result run_point(sweep *s, vkd_device *device, uint32_t index) {
    sweep_point *p = &s->points[index];
    vkd_result r = read_done(s, p);
    if (r || p->rows) {
        if (!r) tell(s, index, "done before");
        return r;
    }
    const vkd_run_desc desc = {.folder = p->folder,
                               .resume = true,
                               .seeds = s->o->seeds,
                               .pool = s->pool,
                               .progress = on_progress,
                               .stop = on_stop,
                               .user = s};
    vkd_run *run = NULL;
    uint32_t seeds = 0;
    tell(s, index, p->folder);
    r = vkd_run_create(s->ctx, device, p->recipe, &desc, &run);
    if (!r) r = vkd_run_execute(run);
    cli_progress_clear(&s->progress);
    vkd_run_destroy(run);
    if (!r) r = vkd__summary_read(&s->arena, p->folder, &p->rows, &p->row_count, &seeds);
    return r;
}

/* ---- The table ---- */

enum { FIGURES = 9, CELL = 64 };
static const char *const heads[FIGURES] = {"",          "test accuracy",     "control",
                                           "gain",      "test errors",       "KL to teacher",
                                           "agreement", "calibration error", "seconds"};

static const vkd_row *find_row(const sweep_point *p, const char *key, bool by_model) {
    for (uint32_t i = 0; i < p->row_count; i++)
        if (!strcmp(by_model ? p->rows[i].model : p->rows[i].label, key)) return &p->rows[i];
    return NULL;
}

/* A row that every point has alike does not depend on the grid. Training is deterministic, so its
 * figures are equal to the last bit; seconds are nobody's property. */
static bool is_common(const sweep *s, const vkd_row *row) {
    for (uint32_t i = 0; i < s->grid.point_count; i++) {
        const vkd_row *other = find_row(&s->points[i], row->label, false);
        if (!other || other->parameters != row->parameters ||
            other->accuracy.mean != row->accuracy.mean ||
            other->calibration.mean != row->calibration.mean)
            return false;
    }
    return s->grid.point_count > 1;
}

static const vkd_row *control_of(const sweep_point *p, const vkd_row *row) {
    char model[128];
    snprintf(model, sizeof model, "%s_control", row->model);
    return find_row(p, model, true);
}

static bool is_control(const sweep_point *p, const vkd_row *row) {
    const size_t length = strlen(row->model), end = sizeof "_control" - 1;
    char model[128];
    if (length <= end || strcmp(row->model + length - end, "_control") != 0) return false;
    snprintf(model, sizeof model, "%.*s", (int)(length - end), row->model);
    return find_row(p, model, true) != NULL;
}

static void add_row(cli_table *t, const sweep *s, const sweep_point *p, const vkd_row *row) {
    char cells[FIGURES][CELL];
    const char *texts[SWEEP_KEYS + FIGURES];
    const vkd_row *control = control_of(p, row);
    const vkd_figure none = {NAN, 0};
    const uint32_t n = row->seeds;
    const bool common = is_common(s, row);
    const uint32_t point = (uint32_t)(p - s->points);
    size_t at = 0;
    for (uint32_t i = 0; i < s->grid.axis_count; i++)
        texts[at++] = common ? "-" : s->grid.axes[i].values[sweep_grid_value(&s->grid, point, i)];
    snprintf(cells[0], CELL, "%s", row->label);
    cli_figure(cells[1], CELL, n, row->accuracy, 100, 2, "%");
    cli_figure(cells[2], CELL, control ? control->seeds : 1, control ? control->accuracy : none,
               100, 2, "%");
    snprintf(cells[3], CELL, "-");
    if (control)
        snprintf(cells[3], CELL, "%+.2f", 100 * (row->accuracy.mean - control->accuracy.mean));
    cli_figure(cells[4], CELL, n, row->errors, 1, n > 1, "");
    cli_figure(cells[5], CELL, n, row->kl, 1, 4, "");
    cli_figure(cells[6], CELL, n, row->agreement, 100, 2, "%");
    cli_figure(cells[7], CELL, n, row->calibration, 100, 2, "%");
    cli_figure(cells[8], CELL, n, row->seconds, 1, 1, "");
    for (int i = 0; i < FIGURES; i++)
        texts[at++] = cells[i];
    cli_table_row(t, texts);
}

static void print_table(sweep *s) {
    const char *texts[SWEEP_KEYS + FIGURES];
    size_t columns = 0;
    for (uint32_t i = 0; i < s->grid.axis_count; i++)
        texts[columns++] = sweep_grid_heading(&s->grid, i);
    for (int i = 0; i < FIGURES; i++)
        texts[columns++] = heads[i];
    cli_table t = {.ctx = s->ctx, .columns = columns};
    cli_table_row(&t, texts);
    for (uint32_t i = 0; i < s->points[0].row_count; i++)
        if (is_common(s, &s->points[0].rows[i]))
            add_row(&t, s, &s->points[0], &s->points[0].rows[i]);
    for (uint32_t k = 0; k < s->grid.point_count; k++)
        for (uint32_t i = 0; i < s->points[k].row_count; i++) {
            const vkd_row *row = &s->points[k].rows[i];
            if (!is_common(s, row) && !is_control(&s->points[k], row))
                add_row(&t, s, &s->points[k], row);
        }
    (s->o->markdown ? cli_table_markdown : cli_table_print)(&t, stdout);
    cli_table_term(&t);
}

/* ---- JSON ---- */

static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *row_json(const vkd_row *row) {
    json_t *out = json_pack("{s:s, s:s, s:i, s:i, s:I}", "label", row->label, "model", row->model,
                            "seeds", (int)row->seeds, "tests", (int)row->tests, "parameters",
                            (json_int_t)row->parameters);
    for (size_t f = 0; f < vkd__figure_count; f++) {
        vkd_figure figure;
        char key[64];
        memcpy(&figure, (const char *)row + vkd__figure_places[f].to, sizeof figure);
        json_object_set_new(out, vkd__figure_places[f].name, number(figure.mean));
        if (row->seeds < 2) continue;
        snprintf(key, sizeof key, "%s_deviation", vkd__figure_places[f].name);
        json_object_set_new(out, key, number(isfinite(figure.mean) ? figure.deviation : NAN));
    }
    return out;
}

static json_t *all_json(const sweep *s) {
    json_t *points = json_array();
    for (uint32_t k = 0; k < s->grid.point_count; k++) {
        json_t *set = json_object(), *rows = json_array();
        for (uint32_t i = 0; i < s->grid.axis_count; i++)
            json_object_set_new(
                set, s->grid.axes[i].key,
                json_string(s->grid.axes[i].values[sweep_grid_value(&s->grid, k, i)]));
        for (uint32_t i = 0; i < s->points[k].row_count; i++)
            json_array_append_new(rows, row_json(&s->points[k].rows[i]));
        json_array_append_new(points, json_pack("{s:o, s:s, s:o}", "set", set, "folder",
                                                s->points[k].folder, "rows", rows));
    }
    return json_pack("{s:s, s:i, s:o}", "recipe", vkd_recipe_name(s->points[0].recipe), "seeds",
                     (int)s->o->seeds, "points", points);
}

static vkd_result write_json(sweep *s) {
    json_t *all = all_json(s);
    char *text = all ? json_dumps(all, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    const char *path = vkd__arena_format(&s->arena, "%s/sweep.json", s->folder);
    vkd_result r = text && path ? VKD_OK : VKD_E_MEMORY;
    if (!r) {
        const vkd__bytes parts[] = {{text, strlen(text)}, {"\n", 1}};
        r = vkd__write_file(s->ctx, path, parts, 2);
    }
    if (!r && s->o->json) printf("%s\n", text);
    free(text);
    json_decref(all);
    return r;
}

/* ---- The command ---- */

static vkd_result execute(sweep *s, const char *path) {
    vkd_device *device = NULL;
    vkd_result r = sweep_grid_read(&s->arena, &s->o->grid, &s->grid);
    if (!r) r = read_points(s, path);
    if (!r) r = cli_open_tuned(s->ctx, s->o->device, s->o->tune, &device);
    for (uint32_t i = 0; i < s->grid.point_count && !r; i++)
        r = run_point(s, device, i);
    vkd_device_close(device);
    if (!r) r = write_json(s);
    if (!r && !s->o->json) print_table(s);
    for (uint32_t i = 0; i < s->grid.point_count && s->points; i++)
        vkd_recipe_destroy(s->points[i].recipe);
    return r;
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    sweep_options o = {.seeds = 1};
    cli_words rest = {0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && rest.count != 1)
        r = vkd__fail(ctx, VKD_E_ARGUMENT,
                      "sweep wants one recipe: vkdistill sweep RECIPE --grid A.B=V,V [OPTIONS]");
    if (!r && !o.seeds) r = vkd__fail(ctx, VKD_E_ARGUMENT, "--seeds must be at least 1");
    if (r) return r;
    sweep s = {.ctx = ctx, .arena = {.ctx = ctx}, .o = &o};
    cli_progress_init(&s.progress);
    vkd__catch_signals();
    r = execute(&s, rest.v[0]);
    vkd__arena_term(&s.arena);
    return r;
}

const cli_command cli_sweep = {
    .name = "sweep",
    .arguments = "RECIPE --grid A.B=V,V [OPTIONS]",
    .summary = "run a recipe at every point of a grid of settings",
    .help =
        "Runs the recipe with each combination of the values that the --grid give, each in a\n"
        "folder of its own, and prints one table over all, with the control beside each model.\n"
        "A model that depends on nothing in the grid, such as the teacher or the control of a\n"
        "sweep of temperatures, is trained once. The same command again reads the points that\n"
        "are done and goes on where it was stopped; more values may be given then.\n"
        "\n"
        "  vkdistill sweep recipes/hinton.yaml --grid stages.distil.losses.kd_kl.tau=1,2,4,8",
    .run = run,
    .options = get_options,
};
