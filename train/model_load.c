// SPDX-License-Identifier: Apache-2.0
/* A model's tensors out of a file: one that this program wrote, or any other with the names and
 * shapes of the architecture, as PyTorch's state_dict has them. Everything is held against the
 * model before anything is written. */
#include <stdio.h>
#include <string.h>

#include "data/safetensors.h"
#include "train/model_file.h"
#include "train/model_order.h"

enum { MOST_NAMES = 4 }; /* of each list in a message */

/* A list of names for a message. */
typedef struct names {
    vkd__text text;
    size_t count;
} names;

static void add_name(names *n, const char *name) {
    if (n->count++ < MOST_NAMES)
        vkd__text_add(&n->text, "%s%.120s", n->count > 1 ? ", " : "", name);
}

/* "a, b, c, d and 12 more" */
static const char *list(names *n) {
    if (n->count > MOST_NAMES) vkd__text_add(&n->text, " and %zu more", n->count - MOST_NAMES);
    return n->text.failed ? "no memory to list them" : n->text.text ? n->text.text : "";
}

typedef struct loading {
    vkd_ctx *ctx;
    vkd_store *store;
    const char *group, *path;
    const vkd__st_file *file;
    size_t wanted;
    names missing;   /* in the file */
    names spare;     /* in the file, and nothing to the model */
    size_t counters; /* num_batches_tracked: what PyTorch writes beside each batchnorm */
} loading;

static void add_shape(vkd__text *t, vkd_shape s) {
    vkd__text_add(t, "(");
    for (uint32_t i = 0; i < s.axes; i++)
        vkd__text_add(t, "%s%u", i ? ", " : "", (unsigned)s.dim[i]);
    vkd__text_add(t, ")");
}

static bool same_shape(vkd_shape a, vkd_shape b) {
    return a.axes == b.axes && memcmp(a.dim, b.dim, a.axes * sizeof a.dim[0]) == 0;
}

static vkd_result wrong_shape(const loading *l, const char *name, vkd_shape there,
                              vkd_shape wanted) {
    vkd__text t = {.ctx = l->ctx};
    add_shape(&t, there);
    vkd__text_add(&t, " in the file and ");
    add_shape(&t, wanted);
    const vkd_result r = vkd__fail(
        l->ctx, VKD_E_SHAPE,
        "'%s': '%s' is %s in the model; give the model the options that the file was trained with",
        l->path, name, t.failed ? "of another shape" : t.text);
    vkd__text_term(&t);
    return r;
}

static vkd_result check_one(loading *l, const vkd_store_info *info, const char *rest) {
    const vkd__st_tensor *t = vkd__st_find(l->file, rest);
    l->wanted++;
    if (!t) {
        add_name(&l->missing, rest);
        return VKD_OK;
    }
    if (t->dtype != VKD_F32)
        return vkd__fail(l->ctx, VKD_E_DATA,
                         "'%s': '%s' is %s, a model's tensors are F32: convert it", l->path, rest,
                         vkd__st_dtype_name(l->file, t));
    const vkd_shape wanted = vkd__model_file_shape(info->shape);
    return same_shape(t->shape, wanted) ? VKD_OK : wrong_shape(l, rest, t->shape, wanted);
}

static bool is_counter(const char *name) {
    static const char end[] = "num_batches_tracked";
    const size_t length = strlen(name);
    return length >= sizeof end - 1 && !strcmp(name + length - (sizeof end - 1), end);
}

static vkd_result find_spare(loading *l) {
    for (size_t i = 0; i < vkd__st_count(l->file); i++) {
        const char *name = vkd__st_at(l->file, i)->name, *rest = NULL;
        vkd__text full = {.ctx = l->ctx};
        vkd_store_info info;
        vkd__text_add(&full, "%s.%s", l->group, name);
        if (full.failed) {
            vkd__text_term(&full);
            return VKD_E_MEMORY;
        }
        const bool known =
            vkd_store_find(l->store, full.text, &info) && vkd__model_holds(&info, l->group, &rest);
        vkd__text_term(&full);
        if (known) continue;
        if (is_counter(name))
            l->counters++;
        else
            add_name(&l->spare, name);
    }
    return VKD_OK;
}

/* A file of this program has nothing that its model has not; others may. */
static vkd_result judge(loading *l) {
    const bool ours = vkd__st_metadata(l->file, "arch") != NULL;
    if (l->missing.count)
        return vkd__fail(l->ctx, VKD_E_SHAPE,
                         "'%s' lacks %zu of the %zu tensors of the model '%s' (%s)%s%s%s: it is "
                         "another architecture, or names them otherwise",
                         l->path, l->missing.count, l->wanted, l->group, list(&l->missing),
                         l->spare.count ? ", and has others (" : "", list(&l->spare),
                         l->spare.count ? ")" : "");
    if (l->spare.count && ours)
        return vkd__fail(l->ctx, VKD_E_SHAPE,
                         "'%s' has %zu tensors that the model '%s' has not: %s; give the model the "
                         "options that the file was trained with",
                         l->path, l->spare.count, l->group, list(&l->spare));
    if (l->spare.count)
        vkd__log(l->ctx, VKD_LOG_WARNING,
                 "'%s': %zu tensors are left out, the model '%s' has none of their names: %s",
                 l->path, l->spare.count, l->group, list(&l->spare));
    if (l->counters)
        vkd__log(l->ctx, VKD_LOG_INFO, "'%s': %zu times num_batches_tracked is left out", l->path,
                 l->counters);
    return VKD_OK;
}

static vkd_result write_one(const loading *l, const vkd_store_info *info, const char *rest) {
    const vkd__st_tensor *t = vkd__st_find(l->file, rest);
    float *values = vkd__alloc(l->ctx, 1, t->bytes);
    if (!values) return VKD_E_MEMORY;
    vkd__model_from_file(info->shape, t->data, values);
    const vkd_result r = vkd_store_write(l->store, info->name, values, t->bytes);
    vkd__free(l->ctx, values);
    return r;
}

/* Each tensor of the model: `checked` says whether all have been held against the file. */
static vkd_result each(loading *l, bool checked) {
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < vkd_store_count(l->store) && !r; i++) {
        const vkd_store_info info = vkd_store_at(l->store, i);
        const char *rest = NULL;
        if (!vkd__model_holds(&info, l->group, &rest)) continue;
        r = checked ? write_one(l, &info, rest) : check_one(l, &info, rest);
    }
    return r;
}

static vkd_result check_classes(const loading *l, uint32_t classes, char *const *class_names) {
    char wanted[16], **own = NULL;
    snprintf(wanted, sizeof wanted, "%u", (unsigned)classes);
    const char *there = vkd__st_metadata(l->file, "classes");
    if (there && strcmp(there, wanted) != 0)
        return vkd__fail(l->ctx, VKD_E_SHAPE, "'%s' tells %.16s classes apart, the data has %s",
                         l->path, there, wanted);
    vkd_result r = vkd__class_names_read(l->ctx, l->file, l->path, classes, &own);
    if (!r) r = vkd__class_names_agree(l->ctx, l->path, own, class_names, classes);
    vkd__class_names_free(l->ctx, own, classes);
    return r;
}

vkd_result vkd__model_load(vkd_ctx *ctx, vkd_store *store, const char *group, const char *path,
                           uint32_t classes, char *const *class_names) {
    vkd__st_file *file = NULL;
    vkd_result r = vkd__st_open(ctx, path, &file);
    if (r) return r;
    loading l = {.ctx = ctx,
                 .store = store,
                 .group = group,
                 .path = path,
                 .file = file,
                 .missing.text.ctx = ctx,
                 .spare.text.ctx = ctx};
    r = vkd__model_check_layout(ctx, path, file);
    if (!r) r = check_classes(&l, classes, class_names);
    if (!r) r = each(&l, false);
    if (!r) r = find_spare(&l);
    if (!r) r = judge(&l);
    if (!r) r = each(&l, true);
    vkd__text_term(&l.missing.text);
    vkd__text_term(&l.spare.text);
    vkd__st_close(file);
    return r;
}
