// SPDX-License-Identifier: Apache-2.0
/* vkdistill eval: the figures of a saved model on a test split. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "train/figures.h"
#include "train/predict.h"
#include "train/recipe.h"

typedef struct eval_options {
    cli_words sets;
    const char *teacher, *recipe, *data, *device, *tune;
    uint32_t batch;
    bool json;
} eval_options;

static const cli_option options[] = {
    {"--teacher", CLI_TEXT, offsetof(eval_options, teacher), "MODEL",
     "compare with this saved model too"},
    {"--data", CLI_TEXT, offsetof(eval_options, data), "DIR", "folder of the data set"},
    {"--recipe", CLI_TEXT, offsetof(eval_options, recipe), "FILE", "take a recipe's data set"},
    {"--set", CLI_MORE, offsetof(eval_options, sets), "A.B=V",
     "data.tests=1000, or any value of the recipe"},
    {"--batch", CLI_U32, offsetof(eval_options, batch), "N", "samples of a step (500)"},
    {"--device", CLI_TEXT, offsetof(eval_options, device), "D", "which device"},
    CLI_TUNE(eval_options),
    {"--json", CLI_FLAG, offsetof(eval_options, json), NULL, "as JSON"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

/* ---- The data set ---- */

static const vkd__dataset_def *find_format(vkd_ctx *ctx, const cli_words *sets) {
    const char *name = vkd__datasets[0]->name;
    for (size_t i = 0; i < sets->count; i++)
        if (!strncmp(sets->v[i], "data.format=", 12)) name = sets->v[i] + 12;
    const vkd__dataset_def *def = vkd__dataset_find(name);
    if (!def)
        vkd__fail(ctx, VKD_E_ARGUMENT, "there is no data format '%s'; `vkdistill list datasets`",
                  name);
    return def;
}

static bool is_data_key(const char *key) {
    for (size_t i = 0; i < vkd__data_field_count; i++)
        if (!strcmp(vkd__data_fields[i].name, key)) return true;
    return false;
}

static vkd_result set_fields(vkd_ctx *ctx, const vkd__dataset_def *def, const eval_options *o,
                             void *config, vkd__data_options *wanted) {
    vkd_result r = VKD_OK;
    if (o->data)
        r = vkd__fields_set(ctx, def->fields, def->field_count, config, "--data", "dir", o->data);
    for (size_t i = 0; i < o->sets.count && !r; i++) {
        char key[64];
        const char *word = o->sets.v[i], *equals = strchr(word, '=');
        const size_t length = equals ? (size_t)(equals - word) : 0;
        if (length < 6 || length - 5 >= sizeof key || strncmp(word, "data.", 5) != 0)
            return vkd__fail(ctx, VKD_E_ARGUMENT,
                             "--set is '%s', without --recipe it must be like data.tests=1000",
                             word);
        snprintf(key, sizeof key, "%.*s", (int)(length - 5), word + 5);
        if (!strcmp(key, "format")) continue;
        const bool of_all = is_data_key(key);
        r = vkd__fields_set(ctx, of_all ? vkd__data_fields : def->fields,
                            of_all ? vkd__data_field_count : def->field_count,
                            of_all ? (void *)wanted : config, "--set: data", key, equals + 1);
    }
    return r;
}

static vkd_result load_plain(vkd_ctx *ctx, const eval_options *o, vkd__dataset *out) {
    const vkd__dataset_def *def = find_format(ctx, &o->sets);
    if (!def) return VKD_E_ARGUMENT;
    void *config = vkd__alloc(ctx, 1, def->config_size + 1);
    if (!config) return VKD_E_MEMORY;
    vkd__data_options wanted = {0};
    vkd__fields_init(def->fields, def->field_count, config);
    vkd__fields_init(vkd__data_fields, vkd__data_field_count, &wanted);
    vkd_result r = set_fields(ctx, def, o, config, &wanted);
    if (!r) r = vkd__dataset_load(ctx, def, config, &wanted, out);
    vkd__free(ctx, config);
    return r;
}

static vkd_result load_of_recipe(vkd_ctx *ctx, const eval_options *o, vkd__dataset *out) {
    vkd_recipe *recipe = NULL;
    vkd_result r = vkd_recipe_load(ctx, o->recipe, o->sets.v, o->sets.count, &recipe);
    if (!r) r = vkd__recipe_load_data(ctx, recipe, out);
    vkd_recipe_destroy(recipe);
    return r;
}

/* ---- Logits ---- */

typedef struct answers {
    const char *path;
    float *logits; /* (tests, classes) */
    uint64_t parameters;
} answers;

static vkd_result fits(vkd_ctx *ctx, const char *path, const vkd__predictor *p,
                       const vkd__dataset *data) {
    if (p->saved.classes != data->classes)
        return vkd__fail(ctx, VKD_E_SHAPE, "'%s' tells %u classes apart, the data set has %u", path,
                         (unsigned)p->saved.classes, (unsigned)data->classes);
    const vkd_shape want = p->saved.sample, have = data->sample;
    if (want.axes == have.axes && !memcmp(want.dim, have.dim, want.axes * sizeof want.dim[0]))
        return vkd__class_names_agree(ctx, path, p->saved.class_names, data->class_names,
                                      data->classes);
    char a[80], b[80];
    return vkd__fail(ctx, VKD_E_SHAPE,
                     "'%s' takes samples of %s, the data's are %s; the key size of a recipe's data "
                     "resizes images",
                     path, vkd__sample_text(want, a, sizeof a),
                     vkd__sample_text(have, b, sizeof b));
}

static vkd_result ask(vkd_ctx *ctx, vkd_device *device, const eval_options *o,
                      const vkd__dataset *data, answers *a) {
    const uint32_t count = data->test.count;
    vkd__predictor p = {0};
    vkd_result r = vkd__predictor_create(
        ctx, device,
        &(vkd__predictor_desc){
            .path = a->path, .input = VKD_U8, .batch = o->batch < count ? o->batch : count},
        &p);
    if (!r) r = fits(ctx, a->path, &p, data);
    if (!r) {
        a->parameters = p.parameters;
        a->logits = vkd__alloc(ctx, (size_t)count * data->classes, sizeof *a->logits);
        r = a->logits ? vkd__predictor_run(&p, data->test.bytes, count, &a->logits) : VKD_E_MEMORY;
    }
    vkd__predictor_destroy(&p);
    return r;
}

/* ---- Figures ---- */

static vkd__figures figures_of(const answers *a, const answers *teacher, const vkd__dataset *data) {
    return vkd__figures_of(a->logits, teacher ? teacher->logits : NULL, data->test.labels,
                           data->test.count, data->classes);
}

static void print_table(vkd_ctx *ctx, const answers *all, const vkd__figures *f, uint32_t count) {
    cli_table t = {.ctx = ctx, .columns = count > 1 ? 7 : 5};
    cli_table_row(&t, (const char *const[]){"model", "test accuracy", "test errors", "parameters",
                                            "calibration error", "KL to teacher", "agreement"});
    for (uint32_t i = 0; i < count; i++) {
        char accuracy[32], errors[32], parameters[32], calibration[32], kl[32], agreement[32];
        snprintf(accuracy, sizeof accuracy, "%.2f%%", 100 * f[i].accuracy);
        snprintf(errors, sizeof errors, "%u", (unsigned)f[i].errors);
        snprintf(parameters, sizeof parameters, "%llu", (unsigned long long)all[i].parameters);
        snprintf(calibration, sizeof calibration, "%.2f%%", 100 * f[i].calibration);
        snprintf(kl, sizeof kl, isnan(f[i].kl) ? "-" : "%.4f", f[i].kl);
        snprintf(agreement, sizeof agreement, isnan(f[i].agreement) ? "-" : "%.2f%%",
                 100 * f[i].agreement);
        cli_table_row(&t, (const char *const[]){all[i].path, accuracy, errors, parameters,
                                                calibration, kl, agreement});
    }
    cli_table_print(&t, stdout);
    cli_table_term(&t);
}

static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static void print_json(const answers *all, const vkd__figures *f, uint32_t count, uint32_t tests,
                       const char *device) {
    json_t *rows = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(
            rows, json_pack("{s:s, s:I, s:f, s:i, s:f, s:o, s:o}", "model", all[i].path,
                            "parameters", (json_int_t)all[i].parameters, "accuracy", f[i].accuracy,
                            "errors", (int)f[i].errors, "calibration_error", f[i].calibration, "kl",
                            number(f[i].kl), "agreement", number(f[i].agreement)));
    json_t *out = json_pack("{s:s, s:i, s:o}", "device", device, "tests", (int)tests, "rows", rows);
    json_dumpf(out, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(out);
}

static vkd_result evaluate(vkd_ctx *ctx, const char *model, const eval_options *o,
                           const vkd__dataset *data) {
    answers all[2] = {{.path = model}, {.path = o->teacher}};
    const uint32_t count = o->teacher ? 2 : 1;
    vkd_device *device = NULL;
    vkd_result r = cli_open_tuned(ctx, o->device, o->tune, &device);
    for (uint32_t i = 0; i < count && !r; i++)
        r = ask(ctx, device, o, data, &all[i]);
    if (!r) {
        vkd__figures f[2] = {figures_of(&all[0], o->teacher ? &all[1] : NULL, data)};
        if (o->teacher) f[1] = figures_of(&all[1], NULL, data);
        if (o->json)
            print_json(all, f, count, data->test.count, vkd_device_name(device));
        else
            print_table(ctx, all, f, count);
    }
    for (uint32_t i = 0; i < count; i++)
        vkd__free(ctx, all[i].logits);
    vkd_device_close(device);
    return r;
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    eval_options o = {.batch = 500};
    cli_words rest = {0};
    vkd__dataset data = {0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && rest.count != 1)
        r = vkd__fail(ctx, VKD_E_ARGUMENT,
                      "eval wants one model: vkdistill eval MODEL.safetensors [OPTIONS]");
    if (!r && o.recipe && o.data)
        r = vkd__fail(ctx, VKD_E_ARGUMENT,
                      "eval takes --recipe or --data; with a recipe use --set data.dir=%s", o.data);
    if (!r && !o.batch) r = vkd__fail(ctx, VKD_E_ARGUMENT, "--batch must be at least 1");
    if (!r) r = o.recipe ? load_of_recipe(ctx, &o, &data) : load_plain(ctx, &o, &data);
    if (r) return r;
    r = data.test.count ? evaluate(ctx, rest.v[0], &o, &data)
                        : vkd__fail(ctx, VKD_E_DATA, "the data set has no test samples");
    vkd__dataset_term(ctx, &data);
    return r;
}

const cli_command cli_eval = {
    .name = "eval",
    .arguments = "MODEL [OPTIONS]",
    .summary = "a saved model's accuracy, and how near it is to its teacher",
    .help =
        "Runs a model that a run saved over the test split of a data set: accuracy, errors, and\n"
        "with --teacher the mean KL from the teacher's distribution and how often both say the\n"
        "same. The data set is a recipe's, or IDX files in a folder; without either, where\n"
        "Debian's package dataset-fashion-mnist puts them. Bytes are normalised as each model's\n"
        "file says.",
    .run = run,
    .options = get_options,
    .quiet = true,
};
