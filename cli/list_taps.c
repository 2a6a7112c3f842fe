// SPDX-License-Identifier: Apache-2.0
/* vkdistill list models --taps: each architecture built once, for the names and shapes of what it
 * offers to losses and to infer. Needs no device. */
#include <jansson.h>
#include <string.h>

#include "cli/list.h"
#include "train/recipe.h"

/* What a model is built for. */
typedef struct problem {
    vkd_ctx *ctx;
    vkd_shape sample;
    uint32_t classes;
    json_t *all; /* NULL: as text */
} problem;

static uint64_t count_parameters(const vkd_store *store) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < vkd_store_count(store); i++) {
        const vkd_store_info info = vkd_store_at(store, i);
        if (info.parameter) sum += vkd_shape_count(info.shape);
    }
    return sum;
}

static void print_model(const char *name, const char *arch, uint64_t parameters, const vkd_graph *g,
                        const vkd__model_io *io) {
    printf("%s%s%s, %llu parameters\n", name, arch ? ": " : "", arch ? arch : "",
           (unsigned long long)parameters);
    for (uint32_t i = 0; i < io->tap_count; i++) {
        const vkd_shape s = vkd_tensor_shape(g, io->taps[i].tensor);
        printf("    %-20s (N", io->taps[i].name);
        for (uint32_t k = 1; k < s.axes; k++)
            printf(", %u", (unsigned)s.dim[k]);
        puts(")");
    }
}

static json_t *model_json(const char *name, const char *arch, uint64_t parameters,
                          const vkd_graph *g, const vkd__model_io *io) {
    json_t *taps = json_array();
    for (uint32_t i = 0; i < io->tap_count; i++) {
        const vkd_shape s = vkd_tensor_shape(g, io->taps[i].tensor);
        json_t *shape = json_array();
        for (uint32_t k = 1; k < s.axes; k++)
            json_array_append_new(shape, json_integer(s.dim[k]));
        json_array_append_new(taps,
                              json_pack("{s:s, s:o}", "name", io->taps[i].name, "shape", shape));
    }
    return json_pack("{s:s, s:s, s:I, s:o}", "name", name, "arch", arch ? arch : name, "parameters",
                     (json_int_t)parameters, "taps", taps);
}

/* `arch` is NULL where the model is called like it. */
static vkd_result show(const problem *p, const char *name, const char *arch,
                       const vkd__model_def *def, const void *config) {
    vkd_shape input = {.axes = p->sample.axes + 1, .dim = {1}};
    memcpy(&input.dim[1], p->sample.dim, p->sample.axes * sizeof input.dim[0]);
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd__model_io *io = vkd__alloc(p->ctx, 1, sizeof *io);
    vkd_result r = io ? vkd_store_create(p->ctx, &store) : VKD_E_MEMORY;
    if (!r) r = vkd_graph_create(p->ctx, store, &(vkd_graph_desc){.name = name}, &g);
    if (!r) {
        io->group = "model";
        io->input = vkd_input(g, "x", VKD_F32, input);
        io->classes = p->classes;
        def->build(g, io, config);
        r = vkd_graph_status(g);
    }
    if (!r && p->all)
        json_array_append_new(p->all, model_json(name, arch, count_parameters(store), g, io));
    else if (!r)
        print_model(name, arch, count_parameters(store), g, io);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd__free(p->ctx, io);
    return r;
}

static vkd_result show_recipe(problem *p, const vkd_recipe *recipe) {
    vkd__dataset data = {0};
    vkd_result r = vkd__recipe_load_data(p->ctx, recipe, &data);
    if (r) return r;
    p->sample = data.sample;
    p->classes = data.classes;
    for (uint32_t i = 0; i < recipe->model_count && !r; i++) {
        const vkd__recipe_model *m = &recipe->models[i];
        char what[128];
        snprintf(what, sizeof what, "model '%s'", m->name);
        r = vkd__model_check(p->ctx, m->def, what, m->part.config, &p->sample);
        if (!r) r = show(p, m->name, m->def->name, m->def, m->part.config);
    }
    vkd__dataset_term(p->ctx, &data);
    return r;
}

/* Every architecture with its defaults; those that cannot take such samples say so. */
static vkd_result show_all(const problem *p) {
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < vkd__model_count && !r; i++) {
        const vkd__model_def *d = vkd__models[i];
        void *config = vkd__alloc(p->ctx, 1, d->config_size + 1);
        if (!config) return VKD_E_MEMORY;
        vkd__fields_init(d->fields, d->field_count, config);
        r = vkd__model_check(p->ctx, d, d->name, config, &p->sample);
        if (!r)
            r = show(p, d->name, NULL, d, config);
        else if (r == VKD_E_RECIPE) {
            vkd__log(p->ctx, VKD_LOG_WARNING, "%s", vkd_ctx_error(p->ctx));
            r = VKD_OK;
        }
        vkd__free(p->ctx, config);
    }
    return r;
}

/* "28,28,1" */
static vkd_result read_input(vkd_ctx *ctx, const char *text, vkd_shape *out) {
    const vkd__field field = {.name = "--input",
                              .type = VKD__FIELD_U32S,
                              .low = 1,
                              .high = 1 << 20,
                              .preset = "[]",
                              .help = ""};
    vkd__u32s list = {0};
    char quoted[128];
    snprintf(quoted, sizeof quoted, "[%.100s]", text);
    vkd_result r = vkd__fields_set(ctx, &field, 1, &list, NULL, "--input", quoted);
    if (!r && (!list.count || list.count >= VKD_MAX_AXES))
        r = vkd__fail(ctx, VKD_E_ARGUMENT, "--input is '%s', must be 1 to %d sizes: 28,28,1", text,
                      VKD_MAX_AXES - 1);
    if (!r) *out = vkd_shape_make(list.count, list.v);
    if (!r && vkd_shape_count(*out) > UINT32_MAX)
        r = vkd__fail(ctx, VKD_E_ARGUMENT, "--input is '%s', that is too large", text);
    return r ? VKD_E_ARGUMENT : VKD_OK;
}

vkd_result cli_list_taps(vkd_ctx *ctx, const cli_taps *o, bool json) {
    problem p = {.ctx = ctx, .classes = o->classes};
    if (!o->recipe == !o->input)
        return vkd__fail(ctx, VKD_E_ARGUMENT,
                         "--taps wants a recipe, or the shape of a sample: list models --taps "
                         "RECIPE, list models --taps --input 28,28,1");
    if (o->input && o->sets.count)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "--set is for a recipe: list models --taps RECIPE");
    if (!o->classes) return vkd__fail(ctx, VKD_E_ARGUMENT, "--classes must be at least 1");
    vkd_recipe *recipe = NULL;
    vkd_result r = o->input ? read_input(ctx, o->input, &p.sample)
                            : vkd_recipe_load(ctx, o->recipe, o->sets.v, o->sets.count, &recipe);
    if (!r && json) p.all = json_array();
    if (!r) r = recipe ? show_recipe(&p, recipe) : show_all(&p);
    if (!r && json) {
        json_dumpf(p.all, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    json_decref(p.all);
    vkd_recipe_destroy(recipe);
    return r;
}
