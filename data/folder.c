// SPDX-License-Identifier: Apache-2.0
/* A folder of images: dir/train/<class>/<image> and dir/test/<class>/<image>, PNG or JPEG. Classes
 * are numbered in the byte order of their folders' names. Samples are numbered round robin: the
 * first image of each class, the second of each, ..., so that the first few of a split hold all
 * classes. Nothing is looked at further down, so no link can lead round in a circle. */
#include <string.h>

#include "base/platform.h"
#include "data/dataset.h"
#include "data/image.h"

enum { GREY, COLOUR };
enum { BROKEN_ERROR, BROKEN_SKIP };

typedef struct config {
    char dir[VKD__FIELD_TEXT_SIZE];
    uint32_t channels, broken;
} config;

static const vkd__field fields[] = {
    {.name = "dir",
     .type = VKD__FIELD_TEXT,
     .offset = offsetof(config, dir),
     .help = "folder of train/<class>/*.png, *.jpg or *.jpeg and the same in test"},
    {.name = "channels",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, channels),
     .preset = "3",
     .words = "1|3",
     .help = "what images become: grey or colour"},
    {.name = "broken",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, broken),
     .preset = "error",
     .words = "error|skip",
     .help = "what an image is that cannot be decoded; skip: left out, and counted in a warning"},
};

/* ---- What there is --------------------------------------------------------------------------- */

typedef struct class_folder {
    const char *path;
    const char **files; /* paths */
    size_t count;
} class_folder;

typedef struct listing {
    const char *path;      /* "dir/train" */
    char **names;          /* (count) of its classes, each freed with vkd__free */
    class_folder *folders; /* (count), of the arena, as all other text is */
    size_t count;          /* classes */
    size_t total, most;    /* images of all classes, and of the largest */
} listing;

static const char *path_of(vkd__arena *arena, const char *folder, const char *name) {
    const size_t length = strlen(folder);
    const char *slash = length && folder[length - 1] != '/' ? "/" : "";
    return vkd__arena_format(arena, "%s%s%s", folder, slash, name);
}

static void free_names(vkd_ctx *ctx, char **names, size_t count) {
    for (size_t i = 0; names && i < count; i++)
        vkd__free(ctx, names[i]);
    vkd__free(ctx, names);
}

static bool is_image(const char *name) {
    static const char *const ends[] = {".png", ".jpg", ".jpeg"};
    const size_t length = strlen(name);
    for (size_t i = 0; i < VKD_COUNT(ends); i++) {
        const size_t tail = strlen(ends[i]);
        bool same = length >= tail;
        for (size_t k = 0; same && k < tail; k++) {
            const char c = name[length - tail + k];
            same = (c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c) == ends[i][k];
        }
        if (same) return true;
    }
    return false;
}

/* Hidden files are none of ours: archives of some systems leave one beside each image. */
static vkd_result list_images(vkd__arena *arena, class_folder *out) {
    vkd_ctx *ctx = arena->ctx;
    char **names;
    size_t count;
    vkd_result r = vkd__list_folder(ctx, out->path, "", &names, &count);
    if (r) return r;
    out->files = VKD_NEW(arena, const char *, count);
    if (!out->files) r = VKD_E_MEMORY;
    for (size_t i = 0; i < count && !r; i++) {
        if (names[i][0] == '.' || !is_image(names[i])) continue;
        out->files[out->count] = path_of(arena, out->path, names[i]);
        if (!out->files[out->count++]) r = VKD_E_MEMORY;
    }
    free_names(ctx, names, count);
    if (!r && !out->count)
        r = vkd__fail(ctx, VKD_E_DATA, "the class folder '%s' has no .png, .jpg or .jpeg files",
                      out->path);
    return r;
}

/* Leaves the names of folders in l->names, and their paths in l->folders. */
static vkd_result list_classes(vkd__arena *arena, listing *l) {
    size_t count = 0;
    vkd_result r = vkd__list_folder(arena->ctx, l->path, "", &l->names, &count);
    l->folders = VKD_NEW(arena, class_folder, count);
    if (!r && !l->folders) r = VKD_E_MEMORY;
    for (size_t i = 0; i < count; i++) {
        char *name = l->names[i];
        bool keep = false;
        l->names[i] = NULL;
        const char *path = r || name[0] == '.' ? NULL : path_of(arena, l->path, name);
        if (!r && name[0] != '.') r = path ? vkd__is_folder(arena->ctx, path, &keep) : VKD_E_MEMORY;
        if (keep) {
            l->folders[l->count].path = path;
            l->names[l->count++] = name;
        } else {
            vkd__free(arena->ctx, name);
        }
    }
    return r;
}

static vkd_result list_split(vkd__arena *arena, const char *dir, const char *split, listing *l) {
    l->path = path_of(arena, dir, split);
    vkd_result r = l->path ? list_classes(arena, l) : VKD_E_MEMORY;
    for (size_t i = 0; i < l->count && !r; i++) {
        r = list_images(arena, &l->folders[i]);
        l->total += l->folders[i].count;
        if (l->folders[i].count > l->most) l->most = l->folders[i].count;
    }
    if (!r && !l->count)
        r = vkd__fail(arena->ctx, VKD_E_DATA, "'%s' has no class folders", l->path);
    if (!r && l->total > UINT32_MAX)
        r = vkd__fail(arena->ctx, VKD_E_DATA, "'%s' has more than 2^32 images", l->path);
    return r;
}

/* Adds the classes of one split that the other does not have. */
static void add_missing(vkd__text *t, const listing *of, const listing *other) {
    enum { MOST = 8 };
    size_t count = 0, k = 0;
    for (size_t i = 0; i < of->count; i++) {
        int order = -1;
        while (k < other->count && (order = strcmp(other->names[k], of->names[i])) < 0)
            k++;
        if (k < other->count && !order) continue;
        if (!count) vkd__text_add(t, "%s'%s' lacks", t->length ? "; " : "", other->path);
        if (count++ < MOST) vkd__text_add(t, "%s '%s'", count > 1 ? "," : "", of->names[i]);
    }
    if (count > MOST) vkd__text_add(t, " and %zu more", count - MOST);
}

static vkd_result compare(vkd_ctx *ctx, const listing *train, const listing *test) {
    vkd__text t = {.ctx = ctx};
    add_missing(&t, train, test);
    add_missing(&t, test, train);
    vkd_result r = t.failed ? VKD_E_MEMORY : VKD_OK;
    if (!r && t.length)
        r = vkd__fail(ctx, VKD_E_DATA, "training and test classes differ: %s", t.text);
    vkd__text_term(&t);
    return r;
}

/* ---- Images ---------------------------------------------------------------------------------- */

typedef struct reader {
    vkd_ctx *ctx;
    const config *config;
    const vkd__u32s *size; /* empty: that of the first image */
    vkd__dataset *out;
    size_t capacity, skipped;
    const char *first_skipped, *why;
} reader;

static vkd_result decode(const reader *r, const char *file, vkd__image *out, const char **why) {
    vkd__mapping bytes;
    const uint32_t channels = r->config->channels == GREY ? 1 : 3;
    vkd_result result = vkd__map_file(r->ctx, file, &bytes);
    if (result) return result;
    *why = vkd__image_fault(bytes.bytes, bytes.size);
    result = *why ? VKD_E_DATA
                  : vkd__image_decode(r->ctx, bytes.bytes, bytes.size, channels, VKD__IMAGE_PIXELS,
                                      out, why);
    vkd__unmap_file(&bytes);
    return result;
}

static vkd_result make_room(reader *r, const vkd__image *first, vkd__split *split) {
    vkd__dataset *d = r->out;
    if (!d->sample.axes) {
        const bool given = r->size->count == 2;
        d->channels = first->channels;
        d->sample = VKD_SHAPE(given ? r->size->v[0] : first->height,
                              given ? r->size->v[1] : first->width, first->channels);
    }
    split->bytes = vkd__alloc(r->ctx, r->capacity, (size_t)vkd_shape_count(d->sample));
    split->labels = vkd__alloc(r->ctx, r->capacity, sizeof *split->labels);
    return split->bytes && split->labels ? VKD_OK : VKD_E_MEMORY;
}

static vkd_result add_image(reader *r, const char *file, const vkd__image *image, uint32_t label,
                            vkd__split *split) {
    const vkd__dataset *d = r->out;
    vkd_result result = split->bytes ? VKD_OK : make_room(r, image, split);
    if (result) return result;
    const uint32_t height = d->sample.dim[0], width = d->sample.dim[1];
    if (!r->size->count && (image->height != height || image->width != width))
        return vkd__fail(r->ctx, VKD_E_DATA,
                         "'%s' is %u x %u pixels, the images before it %u x %u; say to what they "
                         "are to be resized, such as data.size=[%u, %u]",
                         file, (unsigned)image->height, (unsigned)image->width, (unsigned)height,
                         (unsigned)width, (unsigned)height, (unsigned)width);
    const size_t sample = (size_t)vkd_shape_count(d->sample);
    uint8_t *to = split->bytes + split->count * sample;
    if (image->height == height && image->width == width)
        memcpy(to, image->pixels, sample);
    else
        result = vkd__image_resize(r->ctx, image, height, width, to);
    split->labels[split->count++] = (int32_t)label;
    return result;
}

/* One file; *added says whether it became a sample. */
static vkd_result read_image(reader *r, const char *file, uint32_t label, vkd__split *split,
                             bool *added) {
    vkd__image image = {0};
    const char *why = NULL;
    vkd_result result = decode(r, file, &image, &why);
    *added = !result;
    if (result == VKD_E_DATA && r->config->broken == BROKEN_SKIP) {
        if (!r->skipped++) {
            r->first_skipped = file;
            r->why = why;
        }
        return VKD_OK;
    }
    if (result == VKD_E_DATA)
        return vkd__fail(r->ctx, VKD_E_DATA,
                         "cannot decode '%s': %s; data.broken=skip leaves such images out", file,
                         why);
    if (!result) result = add_image(r, file, &image, label, split);
    vkd__free(r->ctx, image.pixels);
    return result;
}

static vkd_result read_round_robin(reader *r, const listing *l, bool *found, vkd__split *split) {
    vkd_result result = VKD_OK;
    for (size_t i = 0; i < l->most; i++)
        for (size_t k = 0; k < l->count && !result; k++) {
            const class_folder *folder = &l->folders[k];
            if (split->count == r->capacity || i >= folder->count) continue;
            bool added;
            result = read_image(r, folder->files[i], (uint32_t)k, split, &added);
            found[k] = found[k] || added;
            if (!result && !found[k] && i + 1 == folder->count)
                result =
                    vkd__fail(r->ctx, VKD_E_DATA, "no image in '%s' can be decoded", folder->path);
        }
    return result;
}

static vkd_result read_split(reader *r, const listing *l, uint32_t most, vkd__split *split) {
    r->capacity = most && most < l->total ? most : l->total;
    r->skipped = 0;
    bool *found = vkd__alloc(r->ctx, l->count, sizeof *found);
    if (!found) return VKD_E_MEMORY;
    const vkd_result result = read_round_robin(r, l, found, split);
    vkd__free(r->ctx, found);
    if (!result && r->skipped)
        vkd__log(r->ctx, VKD_LOG_WARNING,
                 "%zu images of '%s' cannot be decoded and were left out, the first is '%s': %s",
                 r->skipped, l->path, r->first_skipped, r->why);
    return result;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static vkd_result load(vkd_ctx *ctx, const void *settings, const vkd__data_options *options,
                       vkd__dataset *out) {
    reader r = {.ctx = ctx, .config = settings, .size = &options->size, .out = out};
    vkd__arena arena = {.ctx = ctx};
    listing train = {.path = NULL}, test = {.path = NULL};
    const char *dir = r.config->dir;
    vkd_result result = VKD_OK;
    if (!*dir)
        result = vkd__fail(ctx, VKD_E_RECIPE,
                           "data: format folder needs 'dir', the folder of train and test");
    if (!result) result = list_split(&arena, dir, "train", &train);
    if (!result) result = list_split(&arena, dir, "test", &test);
    if (!result) result = compare(ctx, &train, &test);
    if (!result) result = read_split(&r, &train, options->samples, &out->train);
    if (!result) result = read_split(&r, &test, options->tests, &out->test);
    if (!result) { /* the names change hands */
        out->classes = (uint32_t)train.count;
        out->class_names = train.names;
        train.names = NULL;
    }
    free_names(ctx, train.names, train.count);
    free_names(ctx, test.names, test.count);
    vkd__arena_term(&arena);
    if (result) vkd__dataset_term(ctx, out);
    return result;
}

const vkd__dataset_def vkd_dataset_folder = {
    .name = "folder",
    .summary = "folders of PNG and JPEG images, one for each class",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .load = load,
};
