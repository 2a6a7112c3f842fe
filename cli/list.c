// SPDX-License-Identifier: Apache-2.0
/* vkdistill list: the registers, as a person reads them. */
#include <jansson.h>
#include <string.h>

#include "cli/list.h"
#include "data/dataset.h"
#include "losses/loss.h"
#include "models/model.h"
#include "ops/op.h"
#include "train/optimiser.h"
#include "train/recipe.h"
#include "train/schedule.h"

typedef struct list_options {
    bool json, taps;
    cli_taps of;
} list_options;

static const cli_option options[] = {
    {"--json", CLI_FLAG, offsetof(list_options, json), NULL, "as JSON"},
    {"--taps", CLI_FLAG, offsetof(list_options, taps), NULL,
     "list models: the tensors that losses and infer may name, with their shapes"},
    {"--set", CLI_MORE, offsetof(list_options, of.sets), "A.B=V",
     "with --taps RECIPE: replace a value of the recipe"},
    {"--input", CLI_TEXT, offsetof(list_options, of.input), "H,W,C",
     "with --taps: every architecture, for samples of this shape"},
    {"--classes", CLI_U32, offsetof(list_options, of.classes), "N", "with --input (10)"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

/* One registered thing: the parts that any of them may have. */
typedef struct item {
    const char *name, *summary, *paper, *formula;
    const vkd__field *fields;
    size_t field_count;
    const char *compares; /* of a loss: "logits", "features" or "labels" */
} item;

static item loss_at(size_t i) {
    const vkd__loss_def *d = vkd__losses[i];
    const char *compares = d->needs & VKD__LOSS_OWN_TAPS  ? "labels"
                           : d->needs & VKD__LOSS_TAPS    ? "features"
                           : d->needs & VKD__LOSS_TEACHER ? "logits"
                                                          : "labels";
    return (item){d->name, d->summary, d->paper, d->formula, d->fields, d->field_count, compares};
}
static item op_at(size_t i) {
    return (item){.name = vkd__ops[i]->name, .summary = vkd__ops[i]->summary};
}
static item model_at(size_t i) {
    const vkd__model_def *d = vkd__models[i];
    return (item){d->name, d->summary, d->paper, NULL, d->fields, d->field_count, NULL};
}
/* Behind the formats, what all of them have. */
static item dataset_at(size_t i) {
    if (i == vkd__dataset_count)
        return (item){.name = "every format",
                      .summary = "what a recipe's data may say whatever its format",
                      .fields = vkd__data_fields,
                      .field_count = vkd__data_field_count};
    const vkd__dataset_def *d = vkd__datasets[i];
    return (item){d->name, d->summary, NULL, NULL, d->fields, d->field_count, NULL};
}

static item optimiser_at(size_t i) {
    const vkd__optimiser_def *d = vkd__optimisers[i];
    return (item){d->name, d->summary, d->paper, NULL, d->fields, d->field_count, NULL};
}
static item schedule_at(size_t i) {
    const vkd__schedule_def *d = vkd__schedules[i];
    return (item){d->name, d->summary, NULL, d->formula, d->fields, d->field_count, NULL};
}

/* The keys of a recipe's own maps. */
static const struct {
    const char *name, *summary;
    vkd__table (*table)(void);
} maps[] = {
    {"recipe", "a recipe itself", vkd__recipe_fields},
    {"models.NAME", "a model, besides its architecture's", vkd__model_fields},
    {"stages.NAME", "a stage", vkd__stage_fields},
    {"stages.NAME.data", "what a stage trains on", vkd__stage_data_fields},
    {"stages.NAME.label", "a stage that labels samples and trains nothing", vkd__label_fields},
    {"stages.NAME.augment", "what is done to each image of a stage, drawn anew in every step",
     vkd__augment_fields},
    {"evaluation", "how models are evaluated", vkd__evaluation_fields},
    {"evaluation.retrieval", "whether a test sample's nearest neighbour is of its class",
     vkd__retrieval_fields},
};

static item map_at(size_t i) {
    const vkd__table table = maps[i].table();
    return (item){.name = maps[i].name,
                  .summary = maps[i].summary,
                  .fields = table.fields,
                  .field_count = table.count};
}

static const char *range_text(const vkd__field *f, char *text, size_t size) {
    if (f->type == VKD__FIELD_ENUM) return f->words;
    if (f->type == VKD__FIELD_BOOL) return "true|false";
    if (f->type == VKD__FIELD_TEXT) return "text";
    snprintf(text, size, "%s%g to %g", f->type == VKD__FIELD_U32S ? "list, each " : "", f->low,
             f->high);
    return text;
}

static void print_item(const item *it) {
    printf("%s\n    %s\n", it->name, it->summary ? it->summary : "");
    if (it->formula) printf("    %s\n", it->formula);
    if (it->paper) printf("    %s\n", it->paper);
    if (it->compares && !strcmp(it->compares, "features"))
        printf("    compares features: a recipe says which, taps: [NAME] or taps: [{student: NAME, "
               "teacher: NAME}]\n");
    for (size_t i = 0; i < it->field_count; i++) {
        char range[64];
        const vkd__field *f = &it->fields[i];
        printf("      %-21s %-12s %s (%s)\n", f->name, f->preset && *f->preset ? f->preset : "-",
               f->help, range_text(f, range, sizeof range));
    }
}

static json_t *item_json(const item *it) {
    json_t *fields = json_array();
    for (size_t i = 0; i < it->field_count; i++) {
        char range[64];
        const vkd__field *f = &it->fields[i];
        json_array_append_new(
            fields, json_pack("{s:s, s:s*, s:s, s:s}", "name", f->name, "default", f->preset,
                              "range", range_text(f, range, sizeof range), "help", f->help));
    }
    return json_pack("{s:s, s:s*, s:s*, s:s*, s:s*, s:o}", "name", it->name, "summary", it->summary,
                     "paper", it->paper, "formula", it->formula, "compares", it->compares, "fields",
                     fields);
}

static vkd_result list_taps(vkd_ctx *ctx, list_options *o, const cli_words *rest) {
    if (!rest->count || rest->count > 2 || strcmp(rest->v[0], "models") != 0)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "--taps is for models: list models --taps RECIPE");
    if (rest->count == 2) o->of.recipe = rest->v[1];
    return cli_list_taps(ctx, &o->of, o->json);
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    const struct {
        const char *name;
        size_t count;
        item (*at)(size_t i);
    } registers[] = {
        {"losses", vkd__loss_count, loss_at},
        {"ops", vkd__op_count, op_at},
        {"models", vkd__model_count, model_at},
        {"datasets", vkd__dataset_count + 1, dataset_at},
        {"optimisers", vkd__optimiser_count, optimiser_at},
        {"schedules", vkd__schedule_count, schedule_at},
        {"keys", VKD_COUNT(maps), map_at},
        {"recipes", 0, NULL}, /* files */
    };
    list_options o = {.of.classes = 10};
    cli_words rest = {0};
    const vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (r) return r;
    if (o.taps) return list_taps(ctx, &o, &rest);
    if (o.of.input || o.of.sets.count)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "--input and --set go with --taps");
    const char *names[VKD_COUNT(registers)];
    for (size_t i = 0; i < VKD_COUNT(registers); i++) {
        names[i] = registers[i].name;
        if (rest.count != 1 || strcmp(rest.v[0], names[i]) != 0) continue;
        if (!registers[i].at) return cli_list_recipes(ctx, o.json);
        json_t *all = o.json ? json_array() : NULL;
        for (size_t k = 0; k < registers[i].count; k++) {
            const item it = registers[i].at(k);
            if (o.json)
                json_array_append_new(all, item_json(&it));
            else
                print_item(&it);
        }
        if (o.json) {
            json_dumpf(all, stdout, JSON_INDENT(2));
            putchar('\n');
        }
        json_decref(all);
        return VKD_OK;
    }
    const char *near = rest.count ? vkd__nearest(rest.v[0], names, VKD_COUNT(names)) : NULL;
    return vkd__fail(
        ctx, VKD_E_ARGUMENT,
        "list what? losses, ops, models, datasets, optimisers, schedules, keys or recipes%s%s%s",
        near ? "; did you mean '" : "", near ? near : "", near ? "'" : "");
}

const cli_command cli_list = {
    .name = "list",
    .arguments = "losses|ops|models|datasets|optimisers|schedules|keys|recipes [OPTIONS]",
    .summary = "what recipes may name, with formulas, sources and defaults",
    .help =
        "Lists what there is. For each: what it is, its formula and source, and its settings with\n"
        "default, meaning and range. Keys are those of a recipe's own maps. Recipes are the files\n"
        "of ./recipes, or else of the folder that was installed.\n"
        "\n"
        "list models --taps RECIPE builds the recipe's models and prints, for each, the tensors "
        "that\n"
        "losses and infer may name, with their shapes; --taps --input 28,28,1 does so for every\n"
        "architecture with its defaults.",
    .run = run,
    .options = get_options,
    .quiet = true,
};
