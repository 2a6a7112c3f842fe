// SPDX-License-Identifier: Apache-2.0
/* vkdistill loss: one loss and its gradient on tensors from a file, so that anyone can hold our
 * numbers against their framework's. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/loss_step.h"
#include "data/safetensors.h"

typedef struct loss_options {
    cli_words sets;
    const char *in, *gradient, *device;
    bool composed, json;
} loss_options;

static const cli_option options[] = {
    {"--in", CLI_TEXT, offsetof(loss_options, in), "FILE",
     "safetensors with student, teacher, labels as the loss needs"},
    {"--set", CLI_MORE, offsetof(loss_options, sets), "A=V",
     "an option of the loss, tau=4; may be given again"},
    {"--grad", CLI_TEXT, offsetof(loss_options, gradient), "FILE",
     "write the gradient by the student, tensor 'student' (N, V)"},
    {"--composed", CLI_FLAG, offsetof(loss_options, composed), NULL,
     "out of plain ops instead of the loss's own kernel"},
    {"--device", CLI_TEXT, offsetof(loss_options, device), "D", "which device"},
    {"--json", CLI_FLAG, offsetof(loss_options, json), NULL, "as JSON"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

/* ---- Tensors ---- */

/* An aligned copy; the file's own bytes lie anywhere. */
static vkd_result copy(vkd_ctx *ctx, const vkd__st_tensor *t, void **out) {
    *out = vkd__alloc(ctx, t->bytes, 1);
    if (!*out) return VKD_E_MEMORY;
    memcpy(*out, t->data, t->bytes);
    return VKD_OK;
}

static vkd_result find(vkd_ctx *ctx, const vkd__st_file *file, const char *path, const char *loss,
                       const char *name, vkd_dtype dtype, uint32_t axes,
                       const vkd__st_tensor **out) {
    static const char *const dtypes[] = {"F32", "I32", "U8"};
    static const char *const shapes[] = {"()", "(N)", "(N, V)"};
    const vkd__st_tensor *t = vkd__st_find(file, name);
    if (!t)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' has no tensor '%s', %s %s, which the loss %s needs",
                         path, name, dtypes[dtype], shapes[axes], loss);
    if (t->dtype != dtype)
        return vkd__fail(ctx, VKD_E_DATA, "'%s': '%s' is %s, the loss %s needs %s", path, name,
                         dtypes[t->dtype], loss, dtypes[dtype]);
    if (t->shape.axes != axes || !t->bytes)
        return vkd__fail(ctx, VKD_E_SHAPE,
                         "'%s': '%s' has %u axes and %llu values, the loss %s needs %s", path, name,
                         (unsigned)t->shape.axes, (unsigned long long)vkd_shape_count(t->shape),
                         loss, shapes[axes]);
    *out = t;
    return VKD_OK;
}

typedef struct tensors {
    void *student, *teacher, *labels;
} tensors;

static void tensors_term(vkd_ctx *ctx, tensors *t) {
    vkd__free(ctx, t->student);
    vkd__free(ctx, t->teacher);
    vkd__free(ctx, t->labels);
}

static vkd_result read_teacher(vkd_ctx *ctx, const vkd__st_file *file, const char *path,
                               cli_loss_problem *p, tensors *out) {
    const vkd__st_tensor *t = NULL;
    vkd_result r = find(ctx, file, path, p->def->name, "teacher", VKD_F32, 2, &t);
    if (r) return r;
    if (t->shape.dim[0] != p->N || t->shape.dim[1] != p->V)
        return vkd__fail(ctx, VKD_E_SHAPE, "'%s': student is (%u, %u), teacher (%u, %u)", path,
                         (unsigned)p->N, (unsigned)p->V, (unsigned)t->shape.dim[0],
                         (unsigned)t->shape.dim[1]);
    r = copy(ctx, t, &out->teacher);
    p->teacher = out->teacher;
    return r;
}

static vkd_result read_labels(vkd_ctx *ctx, const vkd__st_file *file, const char *path,
                              cli_loss_problem *p, tensors *out) {
    const vkd__st_tensor *t = NULL;
    vkd_result r = find(ctx, file, path, p->def->name, "labels", VKD_I32, 1, &t);
    if (r) return r;
    if (t->shape.dim[0] != p->N)
        return vkd__fail(ctx, VKD_E_SHAPE, "'%s': student has %u rows, labels %u", path,
                         (unsigned)p->N, (unsigned)t->shape.dim[0]);
    r = copy(ctx, t, &out->labels);
    p->labels = out->labels;
    return r;
}

static vkd_result read_tensors(vkd_ctx *ctx, const char *path, cli_loss_problem *p, tensors *out) {
    vkd__st_file *file = NULL;
    const vkd__st_tensor *student = NULL;
    vkd_result r = vkd__st_open(ctx, path, &file);
    if (!r) r = find(ctx, file, path, p->def->name, "student", VKD_F32, 2, &student);
    if (!r) {
        p->N = student->shape.dim[0];
        p->V = student->shape.dim[1];
        r = copy(ctx, student, &out->student);
        p->student = out->student;
    }
    if (!r && (p->def->needs & VKD__LOSS_TEACHER)) r = read_teacher(ctx, file, path, p, out);
    if (!r && (p->def->needs & VKD__LOSS_LABELS)) r = read_labels(ctx, file, path, p, out);
    vkd__st_close(file);
    return r;
}

/* ---- Options of the loss ---- */

static vkd_result find_loss(vkd_ctx *ctx, const char *name, const vkd__loss_def **out) {
    const char *names[64];
    *out = vkd__loss_find(name);
    if (*out) return VKD_OK;
    size_t count = 0;
    for (; count < vkd__loss_count && count < VKD_COUNT(names); count++)
        names[count] = vkd__losses[count]->name;
    const char *near = vkd__nearest(name, names, count);
    return vkd__fail(ctx, VKD_E_ARGUMENT,
                     "there is no loss '%s'%s%s%s; `vkdistill list losses` shows them", name,
                     near ? ", did you mean '" : "", near ? near : "", near ? "'" : "");
}

static vkd_result configure(vkd_ctx *ctx, const vkd__loss_def *def, const cli_words *sets,
                            void *config) {
    vkd__fields_init(def->fields, def->field_count, config);
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < sets->count && !r; i++) {
        char key[64], where[96];
        const char *equals = strchr(sets->v[i], '=');
        const size_t length = equals ? (size_t)(equals - sets->v[i]) : sizeof key;
        if (length >= sizeof key)
            return vkd__fail(ctx, VKD_E_ARGUMENT, "--set is '%s', must be like tau=4", sets->v[i]);
        snprintf(key, sizeof key, "%.*s", (int)length, sets->v[i]);
        snprintf(where, sizeof where, "--set: loss %s", def->name);
        r = vkd__fields_set(ctx, def->fields, def->field_count, config, where, key, equals + 1);
    }
    return r;
}

/* ---- The command ---- */

typedef struct answer {
    float loss, *gradient;
    double norm; /* of the gradient */
} answer;

/* JSON has no word for a NaN or infinity; null stands for both. */
static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static void print_json(vkd_ctx *ctx, const cli_loss_problem *p, const char *device,
                       const answer *a) {
    json_t *config = json_object();
    for (size_t i = 0; i < p->def->field_count; i++) {
        vkd__text text = {.ctx = ctx};
        vkd__fields_get(&p->def->fields[i], p->config, &text);
        json_object_set_new(config, p->def->fields[i].name, json_string(text.text));
        vkd__text_term(&text);
    }
    json_t *all = json_pack("{s:s, s:o, s:o, s:i, s:i, s:s, s:s, s:o}", "loss", p->def->name,
                            "value", number((double)a->loss), "gradient_norm", number(a->norm),
                            "rows", (int)p->N, "classes", (int)p->V, "formula", p->def->formula,
                            "device", device, "settings", config);
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(all);
}

static vkd_result write_gradient(vkd_ctx *ctx, const char *path, const cli_loss_problem *p,
                                 const float *gradient) {
    const vkd__st_tensor out = {"student", VKD_F32, VKD_SHAPE(p->N, p->V), gradient,
                                (size_t)p->N * p->V * sizeof *gradient};
    const vkd__st_pair about = {"loss", p->def->name};
    return vkd__st_write(ctx, path, &out, 1, &about, 1);
}

static vkd_result compute(vkd_ctx *ctx, const cli_loss_problem *p, const loss_options *o) {
    const size_t count = (size_t)p->N * p->V;
    answer a = {.gradient = vkd__alloc(ctx, count, sizeof *a.gradient)};
    vkd_device *device = NULL;
    vkd_result r = a.gradient ? cli_open_device(ctx, o->device, &device) : VKD_E_MEMORY;
    if (!r)
        r = cli_loss_step(ctx, device, vkd_device_profile(device), p, o->composed, &a.loss,
                          a.gradient);
    for (size_t i = 0; !r && i < count; i++)
        a.norm += (double)a.gradient[i] * (double)a.gradient[i];
    a.norm = sqrt(a.norm);
    if (!r && o->gradient) r = write_gradient(ctx, o->gradient, p, a.gradient);
    if (!r && o->json)
        print_json(ctx, p, vkd_device_name(device), &a);
    else if (!r)
        printf("%s  %.9g\ngradient norm  %.9g\n%s\n", p->def->name, (double)a.loss, a.norm,
               p->def->formula);
    vkd_device_close(device);
    vkd__free(ctx, a.gradient);
    return r;
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    loss_options o = {0};
    cli_words rest = {0};
    cli_loss_problem p = {0};
    tensors t = {0};
    void *config = NULL;
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && rest.count != 1)
        r = vkd__fail(ctx, VKD_E_ARGUMENT,
                      "loss wants one name: vkdistill loss NAME --in T.safetensors");
    if (!r) r = find_loss(ctx, rest.v[0], &p.def);
    if (!r && !o.in)
        r = vkd__fail(ctx, VKD_E_ARGUMENT,
                      "loss %s needs --in FILE; `vkdistill loss %s --help` "
                      "says what is in it",
                      p.def->name, p.def->name);
    if (!r) {
        config = vkd__alloc(ctx, 1, p.def->config_size + 1);
        p.config = config;
        r = config ? configure(ctx, p.def, &o.sets, config) : VKD_E_MEMORY;
    }
    if (!r) r = read_tensors(ctx, o.in, &p, &t);
    if (!r) r = compute(ctx, &p, &o);
    tensors_term(ctx, &t);
    vkd__free(ctx, config);
    return r;
}

/* What one loss needs, behind the general help. */
static void more(int count, char **words) {
    for (int i = 0; i < count; i++) {
        const vkd__loss_def *d = vkd__loss_find(words[i]);
        if (!d) continue;
        printf("\n%s: %s\n  %s\n  %s\n\ntensors of --in:\n  student  F32 (N, V) logits\n", d->name,
               d->summary, d->formula, d->paper);
        if (d->needs & VKD__LOSS_TEACHER) printf("  teacher  F32 (N, V) logits\n");
        if (d->needs & VKD__LOSS_LABELS)
            printf("  labels   I32 (N); a row with a label outside 0..V-1 counts as 0\n");
        if (d->field_count) printf("\noptions for --set:\n");
        for (size_t k = 0; k < d->field_count; k++) {
            char allowed[128], left[64];
            const vkd__field *f = &d->fields[k];
            vkd__field_allowed(f, allowed, sizeof allowed);
            snprintf(left, sizeof left, "%s=%s", f->name, f->preset ? f->preset : "");
            printf("  %-22s %s (%s)\n", left, f->help, allowed);
        }
        return;
    }
    printf("\nlosses:\n");
    for (size_t i = 0; i < vkd__loss_count; i++)
        printf("  %-15s %s\n", vkd__losses[i]->name, vkd__losses[i]->summary);
}

const cli_command cli_loss = {
    .name = "loss",
    .arguments = "NAME --in FILE [OPTIONS]",
    .summary = "one loss and its gradient on tensors from a file",
    .help =
        "Computes one loss on the device from a safetensors file and prints it; --grad writes\n"
        "its gradient by the student. `vkdistill loss NAME --help` says which tensors the file\n"
        "must hold and which options the loss has.",
    .run = run,
    .options = get_options,
    .more = more,
    .quiet = true,
};
