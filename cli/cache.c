// SPDX-License-Identifier: Apache-2.0
/* vkdistill cache: a teacher's outputs for a whole training split, made, shown and held against the
 * teacher. The file is train/teacher_cache.h's. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "cli/cli.h"
#include "train/predict.h"
#include "train/recipe.h"
#include "train/teacher_cache.h"

typedef struct cache_options {
    cli_words sets;
    const char *stage, *teacher, *out, *dtype, *taps, *tau, *device, *tune;
    uint32_t top;
    bool all, json;
} cache_options;

static const cli_option options[] = {
    {"--stage", CLI_TEXT, offsetof(cache_options, stage), "NAME",
     "the stage it is for (the first one with a teacher)"},
    {"--teacher", CLI_TEXT, offsetof(cache_options, teacher), "MODEL",
     "the saved teacher (what the recipe loads)"},
    {"--out", CLI_TEXT, offsetof(cache_options, out), "FILE", "build: where the cache goes"},
    {"--dtype", CLI_TEXT, offsetof(cache_options, dtype), "T", "build: f32 or f16 (f32)"},
    {"--top", CLI_U32, offsetof(cache_options, top), "K",
     "build: only the K most likely classes and the rest together; 0: all (0)"},
    {"--tau", CLI_TEXT, offsetof(cache_options, tau), "T",
     "build: temperature of --top (that of the stage's first loss that has one)"},
    {"--taps", CLI_TEXT, offsetof(cache_options, taps), "A,B", "build: these inner tensors too"},
    {"--all", CLI_FLAG, offsetof(cache_options, all), NULL,
     "verify: compute every sample again, not a part of them"},
    {"--set", CLI_MORE, offsetof(cache_options, sets), "A.B=V", "any value of the recipe"},
    {"--device", CLI_TEXT, offsetof(cache_options, device), "D", "which device"},
    CLI_TUNE(cache_options),
    {"--json", CLI_FLAG, offsetof(cache_options, json), NULL, "as JSON"},
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

/* ---- What a cache is made of ---- */

/* A stage's teacher on its training split. */
typedef struct source {
    vkd_recipe *recipe;
    vkd__dataset data;
    const vkd__recipe_stage *stage;
    const vkd__recipe_model *teacher;
    vkd_device *device;
    vkd__predictor predictor;
    uint64_t teacher_hash, data_hash;
} source;

static vkd_result find_stage(vkd_ctx *ctx, const cache_options *o, source *s) {
    for (uint32_t i = 0; i < s->recipe->stage_count && !s->stage; i++) {
        const vkd__recipe_stage *stage = &s->recipe->stages[i];
        if (o->stage ? !strcmp(stage->name, o->stage) : stage->teacher != VKD__NONE)
            s->stage = stage;
    }
    if (!s->stage && o->stage)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "the recipe '%s' has no stage '%s'", s->recipe->name,
                         o->stage);
    if (!s->stage || s->stage->teacher == VKD__NONE)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "no teacher: %s of the recipe '%s' has none",
                         o->stage ? o->stage : "every stage", s->recipe->name);
    s->teacher = &s->recipe->models[s->stage->teacher];
    return VKD_OK;
}

static vkd_result find_teacher(vkd_ctx *ctx, const cache_options *o, const source *s,
                               const char **path) {
    *path = o->teacher ? o->teacher : s->teacher->load;
    if (*path) return VKD_OK;
    return vkd__fail(ctx, VKD_E_ARGUMENT,
                     "the recipe trains its teacher '%s' itself; give the trained one: --teacher "
                     "runs/%s/%s.safetensors",
                     s->teacher->name, s->recipe->name, s->teacher->name);
}

/* Splits "a,b" in place of the copy. */
static vkd_result split_taps(vkd_ctx *ctx, char *text, const char **taps, uint32_t *count) {
    for (char *word = text; word && *word;) {
        if (*count == VKD__MAX_TAPS)
            return vkd__fail(ctx, VKD_E_ARGUMENT, "--taps: at most %d", VKD__MAX_TAPS);
        char *comma = strchr(word, ',');
        if (comma) *comma = '\0';
        taps[(*count)++] = word;
        word = comma ? comma + 1 : NULL;
    }
    return VKD_OK;
}

static vkd_result check_fit(vkd_ctx *ctx, const source *s, const char *path) {
    const vkd__predictor *p = &s->predictor;
    if (p->saved.classes != s->data.classes)
        return vkd__fail(ctx, VKD_E_SHAPE, "'%s' tells %u classes apart, the data set has %u", path,
                         (unsigned)p->saved.classes, (unsigned)s->data.classes);
    if (p->sample != vkd_shape_count(s->data.sample))
        return vkd__fail(ctx, VKD_E_SHAPE, "'%s' takes samples of %zu values, the data's have %llu",
                         path, p->sample, (unsigned long long)vkd_shape_count(s->data.sample));
    return VKD_OK;
}

/* The taps are those that the predictor gives besides the logits. */
static vkd_result open_source(vkd_ctx *ctx, const char *recipe, const cache_options *o,
                              const char *const *taps, uint32_t tap_count, source *s) {
    const char *path = NULL;
    vkd_result r = vkd_recipe_load(ctx, recipe, o->sets.v, o->sets.count, &s->recipe);
    if (!r) r = find_stage(ctx, o, s);
    if (!r) r = find_teacher(ctx, o, s, &path);
    if (!r) r = vkd__recipe_load_data(ctx, s->recipe, &s->data);
    if (!r) r = cli_open_tuned(ctx, o->device, o->tune, &s->device);
    if (!r)
        r = vkd__predictor_create(ctx, s->device,
                                  &(vkd__predictor_desc){.path = path,
                                                         .input = VKD_U8,
                                                         .batch = s->stage->options.batch,
                                                         .taps = taps,
                                                         .tap_count = tap_count},
                                  &s->predictor);
    if (!r) r = check_fit(ctx, s, path);
    if (!r) r = vkd__teacher_hash(ctx, s->predictor.store, s->predictor.group, &s->teacher_hash);
    if (!r) s->data_hash = vkd__data_hash(&s->data, &s->predictor.saved.batch);
    return r;
}

static void close_source(vkd_ctx *ctx, source *s) {
    vkd__predictor_destroy(&s->predictor);
    vkd_device_close(s->device);
    vkd__dataset_term(ctx, &s->data);
    vkd_recipe_destroy(s->recipe);
}

/* ---- build ---- */

static vkd_result read_dtype(vkd_ctx *ctx, const cache_options *o, vkd_dtype *out) {
    *out = o->dtype && !strcmp(o->dtype, "f16") ? VKD_F16 : VKD_F32;
    if (!o->dtype || *out == VKD_F16 || !strcmp(o->dtype, "f32")) return VKD_OK;
    return vkd__fail(ctx, VKD_E_ARGUMENT, "--dtype is '%s', must be f32 or f16", o->dtype);
}

/* --tau, or the first temperature among the stage's losses. */
static vkd_result find_temperature(vkd_ctx *ctx, const cache_options *o, const source *s,
                                   float *out) {
    static const vkd__field field = {
        .name = "tau", .type = VKD__FIELD_F32, .low = 0.05, .high = 1000, .preset = "1"};
    *out = 1;
    if (!o->top) return VKD_OK;
    if (o->tau && vkd__fields_set(ctx, &field, 1, out, "--tau", "tau", o->tau))
        return vkd__fail(ctx, VKD_E_ARGUMENT, "--tau is '%s', must be from 0.05 to 1000", o->tau);
    if (o->tau) return VKD_OK;
    for (uint32_t i = 0; i < s->stage->loss_count; i++) {
        const vkd__recipe_loss *loss = &s->stage->losses[i];
        if (!(loss->def->needs & VKD__LOSS_TAU)) continue;
        for (size_t f = 0; f < loss->part.field_count; f++)
            if (!strcmp(loss->part.fields[f].name, "tau")) {
                memcpy(out, (const char *)loss->part.config + loss->part.fields[f].offset,
                       sizeof *out);
                return VKD_OK;
            }
    }
    return VKD_OK;
}

static vkd_result check_outputs(vkd_ctx *ctx, const source *s, float *const *outs) {
    for (uint32_t i = 0; i < s->predictor.out_count; i++) {
        const vkd__predictor_out *out = &s->predictor.outs[i];
        for (size_t v = 0; v < (size_t)s->data.train.count * out->count; v++)
            if (isnan(outs[i][v]))
                return vkd__fail(ctx, VKD_E_DATA,
                                 "the teacher's '%s' holds NaN for training sample %zu", out->name,
                                 v / out->count);
    }
    return VKD_OK;
}

static vkd_result compute(vkd_ctx *ctx, source *s, const cache_options *o, vkd_dtype dtype,
                          float temperature, float **outs) {
    const uint32_t samples = s->data.train.count;
    vkd__teacher_cache_tensor tensors[VKD__MAX_TAPS + 1];
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < s->predictor.out_count && !r; i++) {
        const vkd__predictor_out *out = &s->predictor.outs[i];
        outs[i] = vkd__alloc(ctx, samples * out->count, sizeof **outs);
        if (!outs[i]) r = VKD_E_MEMORY;
        tensors[i] = (vkd__teacher_cache_tensor){out->name, out->shape, outs[i]};
        tensors[i].shape.dim[0] = samples;
    }
    if (!r) r = vkd__predictor_run(&s->predictor, s->data.train.bytes, samples, outs);
    if (!r) r = check_outputs(ctx, s, outs);
    if (r) return r;
    const vkd__teacher_cache_info info = {.teacher = s->teacher->name,
                                          .teacher_hash = s->teacher_hash,
                                          .data_hash = s->data_hash,
                                          .augment = VKD__TEACHER_CACHE_PLAIN,
                                          .samples = samples,
                                          .classes = s->data.classes,
                                          .k = o->top,
                                          .temperature = temperature,
                                          .batch = s->predictor.batch,
                                          .device = vkd_device_name(s->device)};
    return vkd__teacher_cache_write(ctx, o->out, &info, tensors, s->predictor.out_count, dtype);
}

static vkd_result build(vkd_ctx *ctx, const cli_words *rest, const cache_options *o) {
    const char *taps[VKD__MAX_TAPS];
    float *outs[VKD__MAX_TAPS + 1] = {0};
    uint32_t tap_count = 0;
    vkd_dtype dtype;
    float temperature = 1;
    source s = {0};
    if (rest->count != 2 || !o->out)
        return vkd__fail(ctx, VKD_E_ARGUMENT,
                         "cache build wants a recipe and --out: vkdistill cache build RECIPE --out "
                         "FILE [OPTIONS]");
    char *text = o->taps ? vkd__strdup(ctx, o->taps) : NULL;
    vkd_result r = o->taps && !text ? VKD_E_MEMORY : read_dtype(ctx, o, &dtype);
    if (!r) r = split_taps(ctx, text, taps, &tap_count);
    if (!r) r = open_source(ctx, rest->v[1], o, taps, tap_count, &s);
    if (!r && (o->top > VKD__TEACHER_CACHE_MOST_K || o->top > s.data.classes))
        r = vkd__fail(ctx, VKD_E_ARGUMENT, "--top is %u, must be at most %u", (unsigned)o->top,
                      s.data.classes < VKD__TEACHER_CACHE_MOST_K ? (unsigned)s.data.classes
                                                                 : VKD__TEACHER_CACHE_MOST_K);
    if (!r) r = find_temperature(ctx, o, &s, &temperature);
    if (!r) r = compute(ctx, &s, o, dtype, temperature, outs);
    if (!r)
        fprintf(stderr, "'%s': %u samples of the teacher '%s'\n", o->out,
                (unsigned)s.data.train.count, s.teacher->name);
    for (uint32_t i = 0; i <= VKD__MAX_TAPS; i++)
        vkd__free(ctx, outs[i]);
    close_source(ctx, &s);
    vkd__free(ctx, text);
    return r;
}

/* ---- info ---- */

static json_t *shape_of(const vkd__st_tensor *t) {
    json_t *shape = json_array();
    for (uint32_t i = 0; i < t->shape.axes; i++)
        json_array_append_new(shape, json_integer(t->shape.dim[i]));
    return shape;
}

static void print_json(const vkd__teacher_cache *c) {
    const vkd__teacher_cache_info *i = &c->info;
    char teacher[20], data[20];
    snprintf(teacher, sizeof teacher, "%016llx", (unsigned long long)i->teacher_hash);
    snprintf(data, sizeof data, "%016llx", (unsigned long long)i->data_hash);
    json_t *tensors = json_array();
    for (size_t n = 0; n < vkd__st_count(c->file); n++) {
        const vkd__st_tensor *t = vkd__st_at(c->file, n);
        json_array_append_new(tensors, json_pack("{s:s, s:s, s:o, s:I}", "name", t->name, "dtype",
                                                 vkd__st_dtype_name(c->file, t), "shape",
                                                 shape_of(t), "bytes", (json_int_t)t->bytes));
    }
    json_t *out =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:I, s:s, s:o}", "teacher", i->teacher,
                  "teacher_hash", teacher, "data_hash", data, "augment", i->augment, "samples",
                  (json_int_t)i->samples, "classes", (json_int_t)i->classes, "k", (json_int_t)i->k,
                  "temperature", (double)i->temperature, "batch", (json_int_t)i->batch, "device",
                  i->device, "tensors", tensors);
    json_dumpf(out, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(out);
}

static void print_text(const vkd__teacher_cache *c) {
    const vkd__teacher_cache_info *i = &c->info;
    printf("teacher      %s, hash %016llx\n", i->teacher, (unsigned long long)i->teacher_hash);
    printf("data         %u samples, %u classes, hash %016llx\n", (unsigned)i->samples,
           (unsigned)i->classes, (unsigned long long)i->data_hash);
    printf("augmentation %s\n", i->augment);
    if (i->k)
        printf("classes kept %u of each sample and the rest, at temperature %g\n", (unsigned)i->k,
               (double)i->temperature);
    printf("made on      %s, %u samples a step\n", i->device, (unsigned)i->batch);
    for (size_t n = 0; n < vkd__st_count(c->file); n++) {
        const vkd__st_tensor *t = vkd__st_at(c->file, n);
        printf("tensor       %s %s (", t->name, vkd__st_dtype_name(c->file, t));
        for (uint32_t a = 0; a < t->shape.axes; a++)
            printf(a ? ", %u" : "%u", (unsigned)t->shape.dim[a]);
        printf("), %.1f MiB\n", (double)t->bytes / (1 << 20));
    }
}

static vkd_result info(vkd_ctx *ctx, const cli_words *rest, const cache_options *o) {
    vkd__teacher_cache c;
    if (rest->count != 2)
        return vkd__fail(ctx, VKD_E_ARGUMENT,
                         "cache info wants one file: vkdistill cache info "
                         "FILE [--json]");
    const vkd_result r = vkd__teacher_cache_open(ctx, rest->v[1], &c);
    if (r) return r;
    if (o->json)
        print_json(&c);
    else
        print_text(&c);
    vkd__teacher_cache_close(&c);
    return VKD_OK;
}

/* ---- verify ---- */

enum { BLOCKS = 8 }; /* computed again without --all */

typedef struct verdict {
    size_t values, other_bits;
    double worst; /* |got - want| / (1e-4 + 1e-4 |want|): above 1 is wrong */
    char tensor[56];
    uint32_t sample;
} verdict;

/* Values of one block, the file's against those computed now. */
static void compare(verdict *v, const char *name, const float *kept, const float *now,
                    size_t values, size_t width, uint32_t first, vkd_dtype dtype) {
    const double precision = dtype == VKD_F16 ? 1e-3 : 1e-4;
    for (size_t i = 0; i < values; i++) {
        const float want = dtype == VKD_F16 ? vkd__f16_to(vkd__f16_from(now[i])) : now[i];
        v->values++;
        if (!memcmp(&kept[i], &want, sizeof want)) continue;
        v->other_bits++;
        const double gap = fabs((double)kept[i] - (double)want);
        const double share = gap / (precision * (1 + fabs((double)want)));
        if (share <= v->worst) continue;
        v->worst = isnan(share) ? INFINITY : share;
        v->sample = first + (uint32_t)(i / width);
        snprintf(v->tensor, sizeof v->tensor, "%s", name);
    }
}

static vkd_result check_block(vkd_ctx *ctx, source *s, const vkd__teacher_cache *c, uint32_t first,
                              uint32_t count, float **outs, float *kept, verdict *v) {
    const uint32_t classes = c->info.classes, k = c->info.k;
    const vkd_result r = vkd__predictor_run(
        &s->predictor, s->data.train.bytes + (size_t)first * s->predictor.sample, count, outs);
    if (r) return r;
    for (uint32_t i = 0; i < s->predictor.out_count; i++) {
        const vkd__st_tensor *t =
            i ? vkd__teacher_cache_tap(c, s->predictor.outs[i].name) : vkd__teacher_cache_logits(c);
        const size_t width = (size_t)vkd_shape_count(t->shape) / t->shape.dim[0];
        const float *now = outs[i];
        float *packed = NULL;
        if (!i && k) {
            packed = vkd__alloc(ctx, count * width, sizeof *packed);
            if (!packed) return VKD_E_MEMORY;
            for (size_t n = 0; n < count; n++)
                vkd__teacher_cache_pack(outs[0] + n * classes, classes, k, c->info.temperature,
                                        packed + n * width);
            now = packed;
        }
        vkd__teacher_cache_read(t, first * width, count * width, kept);
        compare(v, t->name, kept, now, count * width, width, first, t->dtype);
        vkd__free(ctx, packed);
    }
    return VKD_OK;
}

/* Whole steps of the batch that made it: only so are bits the same. */
static vkd_result check_blocks(vkd_ctx *ctx, source *s, const vkd__teacher_cache *c,
                               const cache_options *o, verdict *v) {
    const uint32_t samples = c->info.samples, batch = s->predictor.batch;
    const uint32_t blocks = (uint32_t)vkd__div_up(samples, batch);
    const uint32_t wanted = o->all || blocks < BLOCKS ? blocks : BLOCKS;
    float *outs[VKD__MAX_TAPS + 1] = {0};
    size_t widest = 2 * (size_t)VKD__TEACHER_CACHE_MOST_K + 1;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < s->predictor.out_count && !r; i++) {
        const size_t width = s->predictor.outs[i].count;
        widest = width > widest ? width : widest;
        outs[i] = vkd__alloc(ctx, batch * width, sizeof **outs);
        if (!outs[i]) r = VKD_E_MEMORY;
    }
    float *kept = r ? NULL : vkd__alloc(ctx, batch * widest, sizeof *kept);
    if (!kept) r = VKD_E_MEMORY;
    for (uint32_t i = 0; i < wanted && !r; i++) {
        const uint32_t block =
            wanted == 1 ? 0 : (uint32_t)((uint64_t)i * (blocks - 1) / (wanted - 1));
        const uint32_t first = block * batch, left = samples - first;
        r = check_block(ctx, s, c, first, left < batch ? left : batch, outs, kept, v);
    }
    for (uint32_t i = 0; i <= VKD__MAX_TAPS; i++)
        vkd__free(ctx, outs[i]);
    vkd__free(ctx, kept);
    return r;
}

static vkd_result judge(vkd_ctx *ctx, const vkd__teacher_cache *c, const verdict *v, bool json) {
    if (json)
        printf("{\"values\": %zu, \"other_bits\": %zu, \"worst\": %.6g}\n", v->values,
               v->other_bits, isfinite(v->worst) ? v->worst : 1e30);
    if (v->worst > 1)
        return vkd__fail(ctx, VKD_E_MISMATCH,
                         "'%s': '%s' of sample %u is not what the teacher says now; the largest "
                         "difference is %.3g times what is allowed",
                         c->path, v->tensor, (unsigned)v->sample, v->worst);
    if (json) return VKD_OK;
    if (v->other_bits)
        printf("%zu values computed again: %zu differ in bits, by at most %.2g of what is "
               "allowed\n",
               v->values, v->other_bits, v->worst);
    else
        printf("%zu values computed again: the same bits\n", v->values);
    return VKD_OK;
}

static vkd_result verify(vkd_ctx *ctx, const cli_words *rest, const cache_options *o) {
    vkd__teacher_cache c;
    source s = {0};
    verdict v = {0};
    const char *taps[VKD__MAX_TAPS];
    uint32_t tap_count = 0;
    if (rest->count != 3)
        return vkd__fail(ctx, VKD_E_ARGUMENT,
                         "cache verify wants a file and a recipe: vkdistill cache verify FILE "
                         "RECIPE [OPTIONS]");
    vkd_result r = vkd__teacher_cache_open(ctx, rest->v[1], &c);
    if (r) return r;
    for (size_t n = 0; n < vkd__st_count(c.file) && tap_count < VKD__MAX_TAPS; n++)
        if (!strncmp(vkd__st_at(c.file, n)->name, "tap.", 4))
            taps[tap_count++] = vkd__st_at(c.file, n)->name + 4;
    r = open_source(ctx, rest->v[2], o, taps, tap_count, &s);
    const vkd__teacher_cache_info need = {.teacher_hash = s.teacher_hash,
                                          .data_hash = s.data_hash,
                                          .augment = VKD__TEACHER_CACHE_PLAIN,
                                          .samples = s.data.train.count,
                                          .classes = s.data.classes,
                                          .k = c.info.k};
    if (!r) r = vkd__teacher_cache_expect(ctx, &c, &need);
    if (!r) r = check_blocks(ctx, &s, &c, o, &v);
    if (!r) r = judge(ctx, &c, &v, o->json);
    close_source(ctx, &s);
    vkd__teacher_cache_close(&c);
    return r;
}

/* ---- The command ---- */

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    static const struct {
        const char *name;
        vkd_result (*run)(vkd_ctx *ctx, const cli_words *rest, const cache_options *o);
    } verbs[] = {{"build", build}, {"info", info}, {"verify", verify}};
    cache_options o = {0};
    cli_words rest = {0};
    const vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (r) return r;
    for (size_t i = 0; i < VKD_COUNT(verbs); i++)
        if (rest.count && !strcmp(rest.v[0], verbs[i].name)) return verbs[i].run(ctx, &rest, &o);
    return vkd__fail(ctx, VKD_E_ARGUMENT, "cache wants build, info or verify%s%s%s",
                     rest.count ? ", not '" : "", rest.count ? rest.v[0] : "",
                     rest.count ? "'" : "");
}

const cli_command cli_cache = {
    .name = "cache",
    .arguments = "build RECIPE --out FILE | info FILE | verify FILE RECIPE [OPTIONS]",
    .summary = "a teacher's outputs for the training split, kept in a file",
    .help =
        "build runs the teacher of a recipe's stage once over the training split and keeps what "
        "it\n"
        "says: logits, or with --top the most likely classes and the rest together, and inner\n"
        "tensors. A stage with `teacher_cache: FILE` then needs no forward pass of the teacher. "
        "info\n"
        "shows what a cache was made for; verify holds it against teacher and data and computes a\n"
        "part of it again. A dense cache in f32 gives the bits of the live teacher.",
    .run = run,
    .options = get_options,
    .quiet = true,
};
