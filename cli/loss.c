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
     "write the gradients by the student's tensors, and by adapters, under their names"},
    {"--composed", CLI_FLAG, offsetof(loss_options, composed), NULL,
     "out of plain ops instead of the loss's own kernel"},
    {"--device", CLI_TEXT, offsetof(loss_options, device), "D", "which device"},
    {"--json", CLI_FLAG, offsetof(loss_options, json), NULL, "as JSON"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
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
    float loss;
    cli_loss_tensors tensors; /* with gradients */
    double norm;              /* of the gradient by the student */
} answer;

static bool of_student(const cli_loss_tensor *t) {
    return t->gradient && strncmp(t->name, "adapter.", sizeof "adapter." - 1) != 0;
}

static double norm_of(const cli_loss_tensors *tensors) {
    double sum = 0;
    for (uint32_t i = 0; i < tensors->count; i++) {
        const cli_loss_tensor *t = &tensors->v[i];
        for (uint64_t k = 0; of_student(t) && k < vkd_shape_count(t->shape); k++)
            sum += (double)t->gradient[k] * (double)t->gradient[k];
    }
    return sqrt(sum);
}

/* JSON has no word for a NaN or infinity; null stands for both. */
static json_t *number(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *adapters_json(const cli_loss_tensors *tensors, const cli_loss_tensors *given) {
    json_t *all = json_object();
    for (uint32_t i = 0; i < tensors->count; i++) {
        const cli_loss_tensor *t = &tensors->v[i];
        if (of_student(t)) continue;
        json_t *shape = json_array();
        for (uint32_t k = 0; k < t->shape.axes; k++)
            json_array_append_new(shape, json_integer(t->shape.dim[k]));
        json_object_set_new(all, t->name,
                            json_pack("{s:o, s:b}", "shape", shape, "given",
                                      cli_loss_find(given, t->name) != NULL));
    }
    return all;
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
    json_t *all = json_pack("{s:s, s:o, s:o, s:i, s:s, s:s, s:o}", "loss", p->def->name, "value",
                            number((double)a->loss), "gradient_norm", number(a->norm), "rows",
                            (int)p->shapes.N, "formula", p->def->formula, "device", device,
                            "settings", config);
    if (p->def->needs & VKD__LOSS_TAPS)
        json_object_set_new(all, "adapters", adapters_json(&a->tensors, p->given));
    else
        json_object_set_new(all, "classes", json_integer(p->shapes.V));
    json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(all);
}

static void print_text(const cli_loss_problem *p, const answer *a) {
    printf("%s  %.9g\ngradient norm  %.9g\n%s\n", p->def->name, (double)a->loss, a->norm,
           p->def->formula);
    for (uint32_t i = 0; i < a->tensors.count; i++) {
        const cli_loss_tensor *t = &a->tensors.v[i];
        if (of_student(t)) continue;
        printf("%s (", t->name);
        for (uint32_t k = 0; k < t->shape.axes; k++)
            printf("%s%u", k ? ", " : "", (unsigned)t->shape.dim[k]);
        printf(") %s\n", cli_loss_find(p->given, t->name) ? "as given" : "at its start value");
    }
}

static vkd_result write_gradients(vkd_ctx *ctx, const char *path, const cli_loss_problem *p,
                                  const cli_loss_tensors *tensors) {
    vkd__st_tensor out[CLI_LOSS_TENSORS];
    size_t count = 0;
    for (uint32_t i = 0; i < tensors->count; i++) {
        const cli_loss_tensor *t = &tensors->v[i];
        if (!t->gradient) continue;
        out[count++] = (vkd__st_tensor){t->name, VKD_F32, t->shape, t->gradient,
                                        (size_t)vkd_shape_count(t->shape) * sizeof *t->gradient};
    }
    const vkd__st_pair about = {"loss", p->def->name};
    return vkd__st_write(ctx, path, out, count, &about, 1);
}

static vkd_result compute(vkd_ctx *ctx, const cli_loss_problem *p, const loss_options *o) {
    answer a = {.loss = 0};
    vkd_device *device = NULL;
    vkd_result r = cli_open_device(ctx, o->device, &device);
    if (!r)
        r = cli_loss_step(ctx, device, vkd_device_profile(device), p, o->composed, &a.loss,
                          &a.tensors);
    if (!r) a.norm = norm_of(&a.tensors);
    if (!r && o->gradient) r = write_gradients(ctx, o->gradient, p, &a.tensors);
    if (!r && o->json)
        print_json(ctx, p, vkd_device_name(device), &a);
    else if (!r)
        print_text(p, &a);
    vkd_device_close(device);
    cli_loss_tensors_term(ctx, &a.tensors);
    return r;
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    loss_options o = {0};
    cli_words rest = {0};
    cli_loss_tensors given = {0};
    cli_loss_problem p = {.given = &given};
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
    if (!r) r = cli_loss_read(ctx, o.in, p.def, config, &p.shapes, &given);
    if (!r) r = compute(ctx, &p, &o);
    cli_loss_tensors_term(ctx, &given);
    vkd__free(ctx, config);
    return r;
}

static void print_tensors(const vkd__loss_def *d) {
    if (d->needs & VKD__LOSS_TAPS)
        printf(
            "  student  F32 features, (N, D) or (N, H, W, C); of several pairs student.0, ...\n");
    if ((d->needs & VKD__LOSS_TAPS) && !(d->needs & VKD__LOSS_OWN_TAPS))
        printf("  teacher  F32 features; of several pairs teacher.0, ...\n");
    if (d->needs & VKD__LOSS_TAPS)
        printf("  adapter.<name>  what the loss trains beside the student or keeps, if it does; "
               "left out, it is at its start value\n");
    else
        printf("  student  F32 (N, V) logits\n");
    if (d->needs & VKD__LOSS_TEACHER) printf("  teacher  F32 (N, V) logits\n");
    if (d->needs & VKD__LOSS_LABELS)
        printf("  labels   I32 (N); a row with a label outside 0..V-1 counts as 0\n");
    if (d->needs & VKD__LOSS_INDICES)
        printf("  indices  I32 (N), numbers of the samples, less than 4 N\n");
}

/* What one loss needs, behind the general help. */
static void more(int count, char **words) {
    for (int i = 0; i < count; i++) {
        const vkd__loss_def *d = vkd__loss_find(words[i]);
        if (!d) continue;
        printf("\n%s: %s\n  %s\n  %s\n\ntensors of --in:\n", d->name, d->summary, d->formula,
               d->paper);
        print_tensors(d);
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
    .help = "Computes one loss on the device from a safetensors file and prints it; --grad writes\n"
            "its gradients. `vkdistill loss NAME --help` says which tensors the file\n"
            "must hold and which options the loss has.",
    .run = run,
    .options = get_options,
    .more = more,
    .quiet = true,
};
