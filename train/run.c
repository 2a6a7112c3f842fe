// SPDX-License-Identifier: Apache-2.0
/* The public run: a session for each seed, one after the other, and one table over all of them. */
#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "train/session.h"
#include "train/summary.h"

struct vkd_run {
    vkd_ctx *ctx;
    vkd_device *device;
    const vkd_recipe *recipe;
    vkd_run_desc desc;
    vkd__arena arena;
    vkd__dataset data;
    uint32_t seeds;
    vkd__result **results; /* (seeds) tables */
    uint32_t *result_counts;
    vkd_row *rows;
    uint32_t row_count;
    vkd__notes notes;
};

static const char *folder_of(vkd_run *run, uint32_t seed_index) {
    if (run->seeds == 1) return run->desc.folder;
    return vkd__arena_format(&run->arena, "%s/seed-%u", run->desc.folder,
                             (unsigned)(run->recipe->options.seed + seed_index));
}

static vkd_result holds(vkd_run *run, const char *name, bool *out) {
    const char *path = vkd__arena_format(&run->arena, "%s/%s", run->desc.folder, name);
    *out = path && vkd__file_exists(path);
    return path ? VKD_OK : VKD_E_MEMORY;
}

/* Runs of one seed and of several lay their files out in other ways; the summary of one is not
 * written over by the other. What stands in a seed's own folder the session looks at. */
static vkd_result check_folder(vkd_run *run) {
    bool recipe = false, summary = false;
    if (run->desc.force) return VKD_OK;
    vkd_result r = holds(run, "recipe.yaml", &recipe);
    if (!r) r = holds(run, "summary.json", &summary);
    if (r) return r;
    if (run->seeds > 1 && recipe)
        return vkd__fail(run->ctx, VKD_E_FILE,
                         "'%s' holds a run of one seed already, not of %u; give another --out, or "
                         "start over with --force",
                         run->desc.folder, (unsigned)run->seeds);
    if (run->seeds == 1 && summary && !recipe)
        return vkd__fail(run->ctx, VKD_E_FILE,
                         "'%s' holds a run of several seeds already; give --seeds as before, "
                         "another --out, or start over with --force",
                         run->desc.folder);
    if (summary && !run->desc.resume)
        return vkd__fail(run->ctx, VKD_E_FILE,
                         "'%s' holds a run already; go on with --resume, start over with --force, "
                         "or give another --out",
                         run->desc.folder);
    return VKD_OK;
}

vkd_result vkd_run_create(vkd_ctx *ctx, vkd_device *device, const vkd_recipe *recipe,
                          const vkd_run_desc *desc, vkd_run **out) {
    *out = NULL;
    if (!desc || !desc->folder)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "a run needs a folder to write to");
    if (desc->resume && desc->force)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "a run cannot both resume and start over");
    vkd_run *run = vkd__alloc(ctx, 1, sizeof *run);
    if (!run) return VKD_E_MEMORY;
    *run = (vkd_run){.ctx = ctx,
                     .device = device,
                     .recipe = recipe,
                     .desc = *desc,
                     .arena = {.ctx = ctx},
                     .seeds = desc->seeds ? desc->seeds : 1};
    run->desc.folder = vkd__arena_format(&run->arena, "%s", desc->folder);
    if (desc->pool) run->desc.pool = vkd__arena_format(&run->arena, "%s", desc->pool);
    run->results = VKD_NEW(&run->arena, vkd__result *, run->seeds);
    run->result_counts = VKD_NEW(&run->arena, uint32_t, run->seeds);
    vkd_result r =
        run->desc.folder && (!desc->pool || run->desc.pool) && run->results && run->result_counts
            ? VKD_OK
            : VKD_E_MEMORY;
    if (!r) r = check_folder(run);
    if (!r) r = vkd__recipe_load_data(ctx, recipe, &run->data);
    if (!r && (!run->data.train.count || !run->data.test.count))
        r = vkd__fail(ctx, VKD_E_DATA, "the data set has no training or no test samples");
    if (r) {
        vkd_run_destroy(run);
        return r;
    }
    *out = run;
    return VKD_OK;
}

void vkd_run_destroy(vkd_run *run) {
    if (!run) return;
    vkd__dataset_term(run->ctx, &run->data);
    vkd__arena_term(&run->arena);
    vkd__free(run->ctx, run);
}

/* A session's labels outlive it. */
static vkd_result keep_results(vkd_run *run, uint32_t index, vkd__session *s) {
    const size_t most = (size_t)s->phase_count * VKD__ROWS_A_PHASE + run->recipe->model_count +
                        run->recipe->evaluation.ensemble_count;
    vkd__result *rows = VKD_NEW(&run->arena, vkd__result, most);
    if (!rows) return VKD_E_MEMORY;
    vkd_result r = vkd__evaluate(s, rows, &run->result_counts[index]);
    for (uint32_t i = 0; i < run->result_counts[index] && !r; i++) {
        rows[i].label = vkd__arena_format(&run->arena, "%s", rows[i].label);
        rows[i].model = vkd__arena_format(&run->arena, "%s", rows[i].model);
        if (!rows[i].label || !rows[i].model) r = VKD_E_MEMORY;
    }
    run->results[index] = rows;
    if (!r) r = vkd__notes_add(&run->notes, &run->arena, s);
    return r;
}

static vkd_result run_seed(vkd_run *run, uint32_t index) {
    const char *folder = folder_of(run, index);
    const char *first = index && run->recipe->options.share_teacher ? folder_of(run, 0) : NULL;
    if (!folder || (index && run->recipe->options.share_teacher && !first)) return VKD_E_MEMORY;
    vkd__session *s = NULL;
    vkd_result r = vkd__session_create(run->ctx, run->device, run->recipe, &run->desc, &run->data,
                                       index, folder, first, &s);
    if (r) return r;
    r = vkd__session_train(s);
    if (!r) r = keep_results(run, index, s);
    vkd__session_destroy(s);
    return r;
}

static vkd__summary summary_of(const vkd_run *run) {
    return (vkd__summary){.recipe = run->recipe,
                          .seeds = run->seeds,
                          .device = vkd_device_name(run->device),
                          .rows = run->rows,
                          .row_count = run->row_count,
                          .notes = run->notes};
}

vkd_result vkd_run_execute(vkd_run *run) {
    vkd_result r = VKD_OK;
    run->row_count = 0;
    run->notes = (vkd__notes){0};
    for (uint32_t i = 0; i < run->seeds && !r; i++)
        r = run_seed(run, i);
    if (!r) {
        run->rows = VKD_NEW(&run->arena, vkd_row, run->result_counts[0]);
        r = run->rows ? VKD_OK : VKD_E_MEMORY;
    }
    if (r) return r;
    run->row_count = vkd__summary_rows(run->results, run->result_counts, run->seeds, run->rows);
    const vkd__summary summary = summary_of(run);
    return vkd__summary_write(run->ctx, run->desc.folder, &summary);
}

char *vkd_run_summary(const vkd_run *run) {
    const vkd__summary summary = summary_of(run);
    vkd__text t = {.ctx = run->ctx};
    vkd__summary_json(&t, &summary);
    if (!t.failed) return t.text;
    vkd__text_term(&t);
    return NULL;
}

uint32_t vkd_run_warning_count(const vkd_run *run) {
    uint32_t count = 0;
    for (const vkd__warning *w = run->notes.warnings; w; w = w->next)
        count++;
    return count;
}

const char *vkd_run_warning(const vkd_run *run, uint32_t index) {
    const vkd__warning *w = run->notes.warnings;
    while (index--)
        w = w->next;
    return w->text;
}

uint32_t vkd_run_row_count(const vkd_run *run) {
    return run->row_count;
}

const vkd_row *vkd_run_row(const vkd_run *run, uint32_t index) {
    return &run->rows[index];
}
