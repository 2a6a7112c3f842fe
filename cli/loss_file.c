// SPDX-License-Identifier: Apache-2.0
/* The tensors of a loss out of a safetensors file. */
#include <stdio.h>
#include <string.h>

#include "cli/loss_step.h"
#include "data/safetensors.h"

typedef struct source {
    vkd_ctx *ctx;
    const vkd__st_file *file;
    const char *path;
    const vkd__loss_def *def;
    cli_loss_tensors *out;
} source;

/* An aligned copy; the file's own bytes lie anywhere. */
static vkd_result keep(const source *s, const vkd__st_tensor *t) {
    if (s->out->count == CLI_LOSS_TENSORS || strlen(t->name) >= sizeof s->out->v[0].name)
        return vkd__fail(s->ctx, VKD_E_DATA, "'%s' has too many tensors, or too long a name",
                         s->path);
    cli_loss_tensor *to = &s->out->v[s->out->count++];
    *to = (cli_loss_tensor){.dtype = t->dtype, .shape = t->shape};
    snprintf(to->name, sizeof to->name, "%s", t->name);
    to->data = vkd__alloc(s->ctx, t->bytes ? t->bytes : 1, 1);
    if (!to->data) return VKD_E_MEMORY;
    memcpy(to->data, t->data, t->bytes);
    return VKD_OK;
}

static const char *const dtypes[] = {"F32", "I32", "U8"};

/* axes 0: features, of 2 or more. */
static vkd_result take(const source *s, const char *name, vkd_dtype dtype, uint32_t axes,
                       vkd_shape *shape) {
    static const char *const shapes[] = {"(N, D) or (N, H, W, C)", "(N)", "(N, V)"};
    const vkd__st_tensor *t = vkd__st_find(s->file, name);
    if (!t)
        return vkd__fail(s->ctx, VKD_E_DATA,
                         "'%s' has no tensor '%s', %s %s, which the loss %s needs", s->path, name,
                         dtypes[dtype], shapes[axes], s->def->name);
    if (t->dtype != dtype)
        return vkd__fail(s->ctx, VKD_E_DATA, "'%s': '%s' is %s, the loss %s needs %s", s->path,
                         name, vkd__st_dtype_name(s->file, t), s->def->name, dtypes[dtype]);
    if (!t->bytes || (axes ? t->shape.axes != axes : t->shape.axes < 2))
        return vkd__fail(s->ctx, VKD_E_SHAPE,
                         "'%s': '%s' has %u axes and %llu values, the loss %s needs %s", s->path,
                         name, (unsigned)t->shape.axes,
                         (unsigned long long)vkd_shape_count(t->shape), s->def->name, shapes[axes]);
    *shape = t->shape;
    return keep(s, t);
}

static vkd_result take_rows(const source *s, const char *name, uint32_t N) {
    vkd_shape shape = {0};
    const vkd_result r = take(s, name, VKD_I32, 1, &shape);
    if (r || shape.dim[0] == N) return r;
    return vkd__fail(s->ctx, VKD_E_SHAPE, "'%s': student has %u rows, %s %u", s->path, (unsigned)N,
                     name, (unsigned)shape.dim[0]);
}

static vkd_result take_logits(const source *s, vkd__loss_shapes *shapes) {
    vkd_shape student = {0}, teacher = {0};
    vkd_result r = take(s, "student", VKD_F32, 2, &student);
    if (r) return r;
    shapes->N = student.dim[0];
    shapes->V = student.dim[1];
    if (!(s->def->needs & VKD__LOSS_TEACHER)) return VKD_OK;
    r = take(s, "teacher", VKD_F32, 2, &teacher);
    if (r || (teacher.dim[0] == shapes->N && teacher.dim[1] == shapes->V)) return r;
    return vkd__fail(s->ctx, VKD_E_SHAPE, "'%s': student is (%u, %u), teacher (%u, %u)", s->path,
                     (unsigned)shapes->N, (unsigned)shapes->V, (unsigned)teacher.dim[0],
                     (unsigned)teacher.dim[1]);
}

static vkd_result take_pair(const source *s, const void *config, const char *number,
                            vkd__loss_shapes *shapes) {
    char names[2][32];
    snprintf(names[0], sizeof names[0], "student%s", number);
    snprintf(names[1], sizeof names[1], "teacher%s", number);
    vkd_shape *student = &shapes->student[shapes->pair_count];
    vkd_shape *teacher = &shapes->teacher[shapes->pair_count];
    vkd_result r = take(s, names[0], VKD_F32, 0, student);
    const bool own = s->def->needs & VKD__LOSS_OWN_TAPS;
    if (!r && !own) r = take(s, names[1], VKD_F32, 0, teacher);
    if (!r && !own)
        r = vkd__loss_check_pair(s->ctx, s->def, config, s->path, names[0], *student, names[1],
                                 *teacher);
    if (!r && shapes->pair_count && student->dim[0] != shapes->N)
        r = vkd__fail(s->ctx, VKD_E_SHAPE, "'%s': '%s' has %u samples, the pair before it %u",
                      s->path, names[0], (unsigned)student->dim[0], (unsigned)shapes->N);
    shapes->N = student->dim[0];
    shapes->pair_count++;
    return r;
}

static vkd_result take_features(const source *s, const void *config, vkd__loss_shapes *shapes) {
    vkd_result r = VKD_OK;
    if (vkd__st_find(s->file, "student") || !vkd__st_find(s->file, "student.0"))
        r = take_pair(s, config, "", shapes);
    else
        for (uint32_t i = 0; i < VKD__MAX_PAIRS && !r; i++) {
            char number[16], name[32];
            snprintf(number, sizeof number, ".%u", (unsigned)i);
            snprintf(name, sizeof name, "student%s", number);
            if (!vkd__st_find(s->file, name)) break;
            r = take_pair(s, config, number, shapes);
        }
    for (size_t i = 0; i < vkd__st_count(s->file) && !r; i++)
        if (!strncmp(vkd__st_at(s->file, i)->name, "adapter.", sizeof "adapter." - 1))
            r = keep(s, vkd__st_at(s->file, i));
    return r;
}

/* Losses on features that want labels count classes up to the largest. */
static void count_classes(const cli_loss_tensors *t, vkd__loss_shapes *shapes) {
    const cli_loss_tensor *labels = cli_loss_find(t, "labels");
    const int32_t *v = labels ? labels->data : NULL;
    if (!shapes->V) shapes->V = 2;
    for (uint32_t i = 0; v && i < shapes->N; i++)
        if (v[i] >= 0 && (uint32_t)v[i] >= shapes->V) shapes->V = (uint32_t)v[i] + 1;
}

vkd_result cli_loss_read(vkd_ctx *ctx, const char *path, const vkd__loss_def *def,
                         const void *config, vkd__loss_shapes *shapes, cli_loss_tensors *out) {
    vkd__st_file *file = NULL;
    *shapes = (vkd__loss_shapes){0};
    out->count = 0;
    vkd_result r = vkd__st_open(ctx, path, &file);
    const source s = {ctx, file, path, def, out};
    const bool on_features = def->needs & VKD__LOSS_TAPS;
    if (!r) r = on_features ? take_features(&s, config, shapes) : take_logits(&s, shapes);
    if (!r && (def->needs & VKD__LOSS_LABELS)) r = take_rows(&s, "labels", shapes->N);
    if (!r && (def->needs & VKD__LOSS_INDICES)) r = take_rows(&s, "indices", shapes->N);
    if (!r && on_features) count_classes(out, shapes);
    vkd__st_close(file);
    return r;
}
