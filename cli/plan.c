// SPDX-License-Identifier: Apache-2.0
/* vkdistill plan: what a recipe would cost, without running it. */
#include <jansson.h>
#include <string.h>

#include "cli/cli.h"
#include "gpu/report.h"
#include "graph/plan.h"
#include "train/model_file.h"
#include "train/session.h"

typedef struct plan_options {
    cli_words sets;
    const char *device, *profile;
    bool text, json;
} plan_options;

static const cli_option options[] = {
    {"--set", CLI_MORE, offsetof(plan_options, sets), "A.B=V", "replace a value of the recipe"},
    {"--device", CLI_TEXT, offsetof(plan_options, device), "D", "plan for this device"},
    {"--profile", CLI_TEXT, offsetof(plan_options, profile), "NAME",
     "plan for no device in particular: cpu or gpu"},
    {"--text", CLI_FLAG, offsetof(plan_options, text), NULL, "print every launch of every plan"},
    {"--json", CLI_FLAG, offsetof(plan_options, json), NULL, "as JSON"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

/* One program of the run, and how often it is replayed. */
typedef struct row {
    char name[128];
    bool training;
    uint64_t steps;
    vkd_plan_info info;
} row;

typedef struct planning {
    vkd_ctx *ctx;
    vkd__session *s;
    vkd_profile profile;
    uint64_t device_memory; /* bytes; 0 when there is no device */
    const plan_options *o;
    row *rows;
    size_t count, capacity;
} planning;

/* Takes the graph over. */
static vkd_result add(planning *p, vkd_graph *g, const char *name, bool training, uint64_t steps) {
    vkd_plan *plan = NULL;
    vkd_result r = vkd_plan_create(g, &p->profile, &plan);
    if (!r && !VKD__RESERVE(p->ctx, p->rows, p->count, p->capacity)) r = VKD_E_MEMORY;
    if (!r) {
        row *to = &p->rows[p->count++];
        *to = (row){.training = training, .steps = steps, .info = vkd_plan_get_info(plan)};
        snprintf(to->name, sizeof to->name, "%s", name);
    }
    char *text = !r && p->o->text ? vkd_plan_print(plan) : NULL;
    if (!r && p->o->text && !text) r = VKD_E_MEMORY;
    if (text) printf("%s\n", text);
    vkd_free_text(p->ctx, text);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    return r;
}

/* A model's logits for a whole split. */
static vkd_result add_logits(planning *p, const vkd__recipe_model *m, const char *group,
                             bool train_split, uint64_t times) {
    const vkd__split *split = train_split ? &p->s->data->train : &p->s->data->test;
    const uint32_t most = p->s->recipe->evaluation.batch;
    const uint32_t batch = most < split->count ? most : split->count;
    char name[128];
    snprintf(name, sizeof name, "logits of %s, %s split", group, train_split ? "train" : "test");
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(p->rows[i].name, name)) return VKD_OK;
    vkd_graph *g = NULL;
    const vkd_result r = vkd__graph_infer(p->s, m, group, train_split ? "data.train" : "data.test",
                                          split->count, batch, &g);
    return r ? r : add(p, g, name, false, times * vkd__div_up(split->count, batch));
}

static vkd_result add_phase(planning *p, const vkd__phase *phase) {
    const vkd_recipe *recipe = p->s->recipe;
    const uint32_t every = recipe->evaluation.every_epochs;
    vkd_result r = VKD_OK;
    if (phase->stage->label) {
        const vkd__recipe_model *teacher = &recipe->models[phase->stage->teacher];
        return add_logits(p, teacher, teacher->name, true, 1);
    }
    if (phase->stage->options.teacher_logits == VKD__LOGITS_CACHED)
        for (uint32_t k = 0; k < phase->teacher_count && !r; k++) {
            const vkd__recipe_model *teacher = &recipe->models[phase->stage->teachers[k].model];
            r = add_logits(p, teacher, teacher->name, true, 1);
        }
    vkd_graph *g = NULL;
    char name[128];
    snprintf(name, sizeof name, "train %s (%s)", phase->group, phase->stage->name);
    if (!r) r = vkd__graph_train(p->s, phase, &g);
    if (!r) r = add(p, g, name, true, phase->steps);
    const uint64_t epochs = phase->steps / phase->epoch_steps;
    if (!r) r = add_logits(p, phase->model, phase->group, false, 1 + (every ? epochs / every : 0));
    return r;
}

/* Models that the recipe loads must fit what it says of them. */
static vkd_result check_loaded(planning *p) {
    const vkd_recipe *recipe = p->s->recipe;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < recipe->model_count && !r; i++) {
        const vkd__recipe_model *m = &recipe->models[i];
        if (!m->load) continue;
        r = add_logits(p, m, m->name, false, 1);
        if (!r)
            r = vkd__model_load(p->ctx, p->s->store, m->name, m->load, p->s->data->classes,
                                p->s->data->class_names);
    }
    return r;
}

/* ---- Sums ---- */

static uint64_t store_bytes(const vkd_store *store) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < vkd_store_count(store); i++) {
        const vkd_store_info info = vkd_store_at(store, i);
        sum += vkd__align_up(vkd_shape_count(info.shape) * vkd_dtype_size(info.dtype), 256);
    }
    return sum;
}

/* Arenas, the input block, and the rings that hold inputs and outputs of the steps in flight. */
static uint64_t step_bytes(const row *r) {
    return r->info.transient_bytes + (1 + VKD_PROGRAM_RING) * r->info.input_bytes +
           VKD_PROGRAM_RING * r->info.output_bytes;
}

typedef struct sums {
    uint64_t store, training, logits; /* the largest programs of their kind */
    double seconds;
} sums;

static sums add_up(const planning *p) {
    sums s = {.store = store_bytes(p->s->store)};
    for (size_t i = 0; i < p->count; i++) {
        uint64_t *most = p->rows[i].training ? &s.training : &s.logits;
        if (step_bytes(&p->rows[i]) > *most) *most = step_bytes(&p->rows[i]);
        s.seconds += (double)p->rows[i].steps * p->rows[i].info.seconds;
    }
    return s;
}

/* ---- Output ---- */

static double mib(uint64_t bytes) {
    return (double)bytes / (1 << 20);
}

/* The run itself checks what is free when it starts, and refuses; this says it beforehand. */
static void warn_of_memory(const planning *p) {
    const sums s = add_up(p);
    const uint64_t wanted = s.store + s.training + s.logits;
    if (p->device_memory && wanted > p->device_memory)
        vkd__log(p->ctx, VKD_LOG_WARNING,
                 "this run needs %.0f MiB and '%s' has %.0f MiB; make the batch or the models "
                 "smaller, or use fewer samples",
                 mib(wanted), p->profile.name, mib(p->device_memory));
}

static void print_table(const planning *p) {
    cli_table t = {.ctx = p->ctx, .columns = 8};
    cli_table_row(&t, (const char *const[]){"program", "steps", "launches", "barriers",
                                            "submissions", "MiB", "ms a step", "seconds"});
    for (size_t i = 0; i < p->count; i++) {
        const row *r = &p->rows[i];
        char steps[32], launches[32], barriers[32], slices[32], memory[32], ms[32], seconds[32];
        snprintf(steps, sizeof steps, "%llu", (unsigned long long)r->steps);
        snprintf(launches, sizeof launches, "%u", (unsigned)r->info.launches);
        snprintf(barriers, sizeof barriers, "%u", (unsigned)r->info.barriers);
        snprintf(slices, sizeof slices, "%u", (unsigned)r->info.slices);
        snprintf(memory, sizeof memory, "%.2f", mib(step_bytes(r)));
        snprintf(ms, sizeof ms, "%.3f", r->info.seconds * 1e3);
        snprintf(seconds, sizeof seconds, "%.1f", (double)r->steps * r->info.seconds);
        cli_table_row(&t, (const char *const[]){r->name, steps, launches, barriers, slices, memory,
                                                ms, seconds});
    }
    cli_table_print(&t, stdout);
    cli_table_term(&t);
    const sums s = add_up(p);
    printf("\nplanned for %s, %s kernels\n", p->profile.name,
           p->profile.direct ? "direct" : "tile");
    printf("memory: %.1f MiB = %.1f for data, parameters and optimiser states + %.1f for a "
           "training step + %.1f for an evaluation\n",
           mib(s.store + s.training + s.logits), mib(s.store), mib(s.training), mib(s.logits));
    printf("time: about %.0f s for one seed, from the device's rough speeds\n", s.seconds);
}

static void print_json(const planning *p) {
    json_t *rows = json_array();
    for (size_t i = 0; i < p->count; i++) {
        const row *r = &p->rows[i];
        json_array_append_new(
            rows,
            json_pack("{s:s, s:I, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "name",
                      r->name, "steps", (json_int_t)r->steps, "launches", (int)r->info.launches,
                      "barriers", (int)r->info.barriers, "slices", (int)r->info.slices,
                      "persistent_bytes", (json_int_t)r->info.persistent_bytes, "transient_bytes",
                      (json_int_t)r->info.transient_bytes, "input_bytes",
                      (json_int_t)r->info.input_bytes, "output_bytes",
                      (json_int_t)r->info.output_bytes, "flops", r->info.flops, "bytes",
                      r->info.bytes, "step_seconds", r->info.seconds));
    }
    const sums s = add_up(p);
    json_t *all = json_pack(
        "{s:s, s:s, s:s, s:o, s:I, s:I, s:f}", "recipe", vkd_recipe_name(p->s->recipe), "profile",
        p->profile.name, "kernels", p->profile.direct ? "direct" : "tile", "programs", rows,
        "store_bytes", (json_int_t)s.store, "memory_bytes",
        (json_int_t)s.store + (json_int_t)s.training + (json_int_t)s.logits, "seconds", s.seconds);
    json_dumpf(all, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(all);
}

/* ---- The command ---- */

/* A machine without a device can still plan, for limits that every device has. */
static vkd_result choose_profile(planning *p) {
    vkd_ctx *ctx = p->ctx;
    const plan_options *o = p->o;
    vkd_device *device = NULL;
    vkd_result r = VKD_OK;
    const char *name = o->profile;
    if (!name) r = cli_open_device(ctx, o->device, &device);
    if (r == VKD_E_NO_DEVICE && !o->device) {
        vkd__log(ctx, VKD_LOG_WARNING, "%s; planned for the profile 'gpu' instead",
                 vkd_ctx_error(ctx));
        name = "gpu";
        r = VKD_OK;
    }
    if (r) return r;
    const vkd_profile *found = name ? vkd_profile_find(name) : vkd_device_profile(device);
    if (found) p->profile = *found;
    if (device) p->device_memory = vkd__device_memory(device);
    vkd_device_close(device);
    if (found) return VKD_OK;
    return vkd__fail(ctx, VKD_E_ARGUMENT, "there is no profile '%s', only cpu and gpu", name);
}

static vkd_result plan_all(planning *p, const vkd_recipe *recipe) {
    vkd__dataset data = {0};
    vkd_result r = vkd__recipe_load_data(p->ctx, recipe, &data);
    if (!r && (!data.train.count || !data.test.count))
        r = vkd__fail(p->ctx, VKD_E_DATA, "the data set has no training or no test samples");
    if (!r) r = vkd__session_sketch(p->ctx, recipe, &data, &p->s);
    for (uint32_t i = 0; !r && i < p->s->phase_count; i++)
        r = add_phase(p, &p->s->phases[i]);
    if (!r) r = check_loaded(p);
    if (!r) warn_of_memory(p);
    if (!r && p->o->json)
        print_json(p);
    else if (!r)
        print_table(p);
    vkd__session_destroy(p->s);
    vkd__free(p->ctx, p->rows);
    vkd__dataset_term(p->ctx, &data);
    return r;
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    plan_options o = {0};
    cli_words rest = {0};
    vkd_recipe *recipe = NULL;
    planning p = {.ctx = ctx, .o = &o};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && rest.count != 1)
        r = vkd__fail(ctx, VKD_E_ARGUMENT,
                      "plan wants one recipe: vkdistill plan RECIPE [OPTIONS]");
    if (!r && o.profile && o.device)
        r = vkd__fail(ctx, VKD_E_ARGUMENT, "plan takes --device or --profile");
    if (!r && o.text && o.json) r = vkd__fail(ctx, VKD_E_ARGUMENT, "plan takes --text or --json");
    if (!r) r = vkd_recipe_load(ctx, rest.v[0], o.sets.v, o.sets.count, &recipe);
    if (!r) r = choose_profile(&p);
    if (!r) r = plan_all(&p, recipe);
    vkd_recipe_destroy(recipe);
    return r;
}

const cli_command cli_plan = {
    .name = "plan",
    .arguments = "RECIPE [OPTIONS]",
    .summary = "check a recipe, say its memory and time, run nothing",
    .help =
        "Reads the recipe and its data set, builds and plans every program of the run, and prints\n"
        "launches, barriers, memory and the predicted time of each. Nothing is computed on the\n"
        "device; with --profile none is needed. MiB is what the program itself takes; what it\n"
        "shares with the others is summed below the table. Times come from the profile's rough\n"
        "speeds and cover the device's work, not the reading of files.",
    .run = run,
    .options = get_options,
    .quiet = true,
};
