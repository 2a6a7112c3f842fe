// SPDX-License-Identifier: Apache-2.0
/* vkdistill loss: one loss and its gradient on tensors from a file, so that anyone can hold our
 * numbers against their framework's. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "data/safetensors.h"
#include "losses/loss.h"

typedef struct loss_options {
    const char *in, *grad, *device;
    cli_words sets;
    bool composed, json;
} loss_options;

static const cli_option options[] = {
    {"--in", CLI_TEXT, offsetof(loss_options, in), "FILE",
     "safetensors with `student`, and `teacher`, `labels` as the loss needs"},
    {"--set", CLI_MORE, offsetof(loss_options, sets), "KEY=V",
     "a setting of the loss; may be given again"},
    {"--grad", CLI_TEXT, offsetof(loss_options, grad), "FILE",
     "write the gradient by the student's logits, as `student`"},
    {"--device", CLI_TEXT, offsetof(loss_options, device), "D", "which device"},
    {"--composed", CLI_FLAG, offsetof(loss_options, composed), NULL,
     "by plain ops, where the loss has a fused kernel too"},
    {"--json", CLI_FLAG, offsetof(loss_options, json), NULL, "as JSON"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

typedef struct problem {
    vkd_ctx *ctx;
    const loss_options *o;
    const vkd__loss_def *def;
    void *config;
    float tau;
    vkd__st_file *file;
    const vkd__st_tensor *student, *teacher, *labels;
    double loss, norm;
} problem;

static const vkd__loss_def *find_loss(vkd_ctx *ctx, const char *name) {
    const vkd__loss_def *def = vkd__loss_find(name);
    const char *names[64];
    VKD_ASSERT(vkd__loss_count <= VKD_COUNT(names));
    for (size_t i = 0; i < vkd__loss_count; i++)
        names[i] = vkd__losses[i]->name;
    const char *near = def ? NULL : vkd__nearest(name, names, vkd__loss_count);
    if (!def)
        vkd__fail(ctx, VKD_E_ARGUMENT, "unknown loss '%s'%s%s%s; `vkdistill list losses` has all",
                  name, near ? ", did you mean '" : "", near ? near : "", near ? "'" : "");
    return def;
}

static vkd_result read_settings(problem *p) {
    const vkd__loss_def *d = p->def;
    p->config = vkd__alloc(p->ctx, 1, d->config_size + 1);
    if (!p->config) return VKD_E_MEMORY;
    vkd__fields_init(d->fields, d->field_count, p->config);
    vkd_result r = VKD_OK;
    for (size_t i = 0; !r && i < p->o->sets.count; i++) {
        char key[64];
        const char *word = p->o->sets.v[i], *equals = strchr(word, '=');
        if (!equals || (size_t)(equals - word) >= sizeof key)
            return vkd__fail(p->ctx, VKD_E_ARGUMENT, "--set %s: should be KEY=VALUE", word);
        snprintf(key, sizeof key, "%.*s", (int)(equals - word), word);
        r = vkd__fields_set(p->ctx, d->fields, d->field_count, p->config, d->name, key, equals + 1);
    }
    for (size_t i = 0; i < d->field_count; i++)
        if (!strcmp(d->fields[i].name, "tau"))
            p->tau = *(const float *)((const char *)p->config + d->fields[i].offset);
    return r;
}

static vkd_result take(problem *p, const char *name, vkd_dtype dtype, uint32_t axes,
                       const vkd__st_tensor **out) {
    const vkd__st_tensor *t = vkd__st_find(p->file, name);
    if (!t)
        return vkd__fail(p->ctx, VKD_E_ARGUMENT, "'%s' has no tensor '%s', which %s needs",
                         p->o->in, name, p->def->name);
    if (t->dtype != dtype || t->shape.axes != axes || !vkd_shape_count(t->shape))
        return vkd__fail(p->ctx, VKD_E_SHAPE, "'%s': '%s' must be %s of shape %s", p->o->in, name,
                         dtype == VKD_F32 ? "F32" : "I32", axes == 2 ? "(N, V)" : "(N)");
    *out = t;
    return VKD_OK;
}

static vkd_result read_tensors(problem *p) {
    vkd_result r = vkd__st_open(p->ctx, p->o->in, &p->file);
    if (!r) r = take(p, "student", VKD_F32, 2, &p->student);
    if (!r && p->def->needs & VKD__LOSS_TEACHER) r = take(p, "teacher", VKD_F32, 2, &p->teacher);
    if (!r && p->def->needs & VKD__LOSS_LABELS) r = take(p, "labels", VKD_I32, 1, &p->labels);
    if (r) return r;
    const uint32_t *s = p->student->shape.dim;
    if (p->teacher && (p->teacher->shape.dim[0] != s[0] || p->teacher->shape.dim[1] != s[1]))
        return vkd__fail(p->ctx, VKD_E_SHAPE, "'%s': teacher is (%u, %u), student (%u, %u)",
                         p->o->in, p->teacher->shape.dim[0], p->teacher->shape.dim[1], s[0], s[1]);
    if (p->labels && p->labels->shape.dim[0] != s[0])
        return vkd__fail(p->ctx, VKD_E_SHAPE, "'%s': %u labels for %u rows of logits", p->o->in,
                         p->labels->shape.dim[0], s[0]);
    return VKD_OK;
}

/* The tensors are store tensors, so that neither size nor binding limits need a thought here. */
static void build(const problem *p, vkd_graph *g) {
    const vkd_tensor student = vkd_param(g, "in.student", p->student->shape, NULL);
    vkd__loss_io io = {.student = student};
    if (p->teacher) io.teacher = vkd_state(g, "teacher", VKD_F32, p->teacher->shape);
    if (p->labels) io.labels = vkd_state(g, "labels", VKD_I32, p->labels->shape);
    if (p->def->needs & VKD__LOSS_TAU) io.tau = vkd_setting(g, "tau", p->tau);
    const bool fused = p->def->fused && !p->o->composed;
    const vkd_tensor loss = (fused ? p->def->fused : p->def->build)(g, &io, p->config);
    vkd_tensor gradient;
    vkd_backward(g, loss, &student, 1, &gradient);
    vkd_output(g, "loss", loss);
    vkd_output(g, "gradient", gradient);
}

static vkd_result write_inputs(const problem *p, vkd_store *store) {
    const vkd__st_tensor *s = p->student, *t = p->teacher, *l = p->labels;
    vkd_result r = vkd_store_write(store, "in.student", s->data, s->bytes);
    if (!r && t) r = vkd_store_write(store, "teacher", t->data, t->bytes);
    if (!r && l) r = vkd_store_write(store, "labels", l->data, l->bytes);
    return r;
}

static vkd_result take_results(problem *p, vkd_program *program, uint64_t ticket) {
    size_t count = 0;
    const float *loss = vkd_program_output(program, ticket, "loss", NULL);
    const float *gradient = vkd_program_output(program, ticket, "gradient", &count);
    VKD_ASSERT(loss && gradient);
    p->loss = (double)*loss;
    for (size_t i = 0; i < count; i++)
        p->norm += (double)gradient[i] * (double)gradient[i];
    p->norm = sqrt(p->norm);
    if (!p->o->grad) return VKD_OK;
    const vkd__st_tensor out = {.name = "student",
                                .dtype = VKD_F32,
                                .shape = p->student->shape,
                                .data = gradient,
                                .bytes = count * sizeof *gradient};
    const vkd__st_pair about = {"loss", p->def->name};
    return vkd__st_write(p->ctx, p->o->grad, &out, 1, &about, 1);
}

static vkd_result compute(problem *p, vkd_device *device) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    uint64_t ticket = 0;
    vkd_result r = vkd_store_create(p->ctx, &store);
    if (!r) r = vkd_graph_create(p->ctx, store, &(vkd_graph_desc){.name = p->def->name}, &g);
    if (!r) {
        build(p, g);
        r = vkd_plan_create(g, vkd_device_profile(device), &plan);
    }
    if (!r) r = write_inputs(p, store);
    if (!r) r = vkd_program_create(device, plan, &program);
    if (!r) r = vkd_program_submit(program, &ticket);
    if (!r) r = vkd_program_wait(program, ticket);
    if (!r) r = take_results(p, program, ticket);
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return r;
}

static void print_result(const problem *p) {
    const uint32_t *s = p->student->shape.dim;
    if (!p->o->json) {
        printf("%s  %.9g\ngradient norm  %.9g\n%s\n", p->def->name, p->loss, p->norm,
               p->def->formula);
        return;
    }
    json_t *all = json_pack("{s:s, s:f, s:f, s:i, s:i, s:s}", "loss", p->def->name, "value",
                            p->loss, "gradient_norm", p->norm, "rows", (int)s[0], "classes",
                            (int)s[1], "formula", p->def->formula);
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(all);
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    loss_options o = {0};
    cli_words rest = {0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && (rest.count != 1 || !o.in))
        r = vkd__fail(ctx, VKD_E_ARGUMENT,
                      "loss wants a name and a file: vkdistill loss NAME --in FILE");
    if (r) return r;
    problem p = {.ctx = ctx, .o = &o, .def = find_loss(ctx, rest.v[0])};
    vkd_device *device = NULL;
    if (!p.def) return VKD_E_ARGUMENT;
    r = read_settings(&p);
    if (!r) r = read_tensors(&p);
    if (!r) r = cli_open_device(ctx, o.device, &device);
    if (!r) r = compute(&p, device);
    if (!r) print_result(&p);
    vkd_device_close(device);
    if (p.file) vkd__st_close(p.file);
    vkd__free(ctx, p.config);
    return r;
}

const cli_command cli_loss = {
    .name = "loss",
    .arguments = "NAME --in FILE [OPTIONS]",
    .summary = "one loss and its gradient on tensors from a file",
    .help =
        "Computes a loss of `vkdistill list losses` on the device and prints it with nine digits.\n"
        "FILE is a safetensors file: `student` and `teacher` are F32 logits (N, V), `labels` are\n"
        "I32 (N). With --grad the gradient by the student's logits is written too.",
    .run = run,
    .options = get_options,
    .quiet = true,
};
