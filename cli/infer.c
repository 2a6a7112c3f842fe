// SPDX-License-Identifier: Apache-2.0
/* vkdistill infer: a saved model's answers to samples from a file. */
#include <string.h>

#include "cli/cli.h"
#include "data/safetensors.h"
#include "train/predict.h"

typedef struct infer_options {
    const char *in, *out, *taps, *device, *tune;
    uint32_t batch;
} infer_options;

static const cli_option options[] = {
    {"--in", CLI_TEXT, offsetof(infer_options, in), "FILE", "safetensors with the samples"},
    {"--out", CLI_TEXT, offsetof(infer_options, out), "FILE", "safetensors to write"},
    {"--taps", CLI_TEXT, offsetof(infer_options, taps), "A,B",
     "write these of the model's inner tensors too"},
    {"--batch", CLI_U32, offsetof(infer_options, batch), "N", "samples of a step (256)"},
    {"--device", CLI_TEXT, offsetof(infer_options, device), "D", "which device"},
    CLI_TUNE(infer_options),
};

static const cli_option *get_options(size_t *count) {
    *count = VKD_COUNT(options);
    return options;
}

enum { MOST_TAPS = 32 };

/* The words of "a,b". */
typedef struct tap_list {
    char text[1024];
    const char *names[MOST_TAPS];
    uint32_t count;
} tap_list;

static vkd_result split_taps(vkd_ctx *ctx, const char *text, tap_list *out) {
    if (!text) return VKD_OK;
    if (strlen(text) >= sizeof out->text)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "--taps is too long");
    snprintf(out->text, sizeof out->text, "%s", text);
    for (char *at = out->text; *at;) {
        const size_t length = strcspn(at, ",");
        if (out->count == MOST_TAPS)
            return vkd__fail(ctx, VKD_E_ARGUMENT, "--taps has more than %d names", MOST_TAPS);
        const bool more = at[length] == ',';
        at[length] = 0;
        if (length) out->names[out->count++] = at;
        at += length + more;
    }
    return VKD_OK;
}

/* The samples are the tensor "input" or "images", or the only one of the file. */
static vkd_result find_samples(vkd_ctx *ctx, const vkd__st_file *file, const char *path,
                               const vkd__st_tensor **out) {
    *out = vkd__st_find(file, "input");
    if (!*out) *out = vkd__st_find(file, "images");
    if (!*out && vkd__st_count(file) == 1) *out = vkd__st_at(file, 0);
    if (!*out)
        return vkd__fail(ctx, VKD_E_DATA,
                         "'%s' has %zu tensors and none is called 'input' or 'images'", path,
                         vkd__st_count(file));
    if ((*out)->dtype != VKD_F32 && (*out)->dtype != VKD_U8)
        return vkd__fail(ctx, VKD_E_DATA, "'%s': '%s' is %s, samples are F32 or U8", path,
                         (*out)->name, vkd__st_dtype_name(file, *out));
    if ((*out)->shape.axes < 1 || !(*out)->bytes)
        return vkd__fail(ctx, VKD_E_SHAPE, "'%s': '%s' has no samples, should be (N, ...)", path,
                         (*out)->name);
    return VKD_OK;
}

static vkd_result check_samples(vkd_ctx *ctx, const vkd__st_tensor *samples, const char *path,
                                const vkd__predictor *p) {
    const uint64_t size = vkd_shape_count(samples->shape) / samples->shape.dim[0];
    if (size == p->sample) return VKD_OK;
    return vkd__fail(ctx, VKD_E_SHAPE,
                     "'%s': a sample of '%s' has %llu values, the model takes %zu", path,
                     samples->name, (unsigned long long)size, p->sample);
}

static vkd_result answer(vkd_ctx *ctx, vkd__predictor *p, const vkd__st_tensor *samples,
                         const char *path) {
    const uint32_t count = samples->shape.dim[0];
    vkd__arena arena = {.ctx = ctx};
    float **outs = VKD_NEW(&arena, float *, p->out_count);
    vkd__st_tensor *tensors = VKD_NEW(&arena, vkd__st_tensor, p->out_count);
    vkd_result r = outs && tensors ? VKD_OK : VKD_E_MEMORY;
    for (uint32_t i = 0; i < p->out_count && !r; i++) {
        const vkd__predictor_out *out = &p->outs[i];
        outs[i] = vkd__arena_alloc(&arena, (size_t)count * out->count, sizeof **outs);
        if (!outs[i]) r = VKD_E_MEMORY;
        tensors[i] = (vkd__st_tensor){out->name, VKD_F32, out->shape, outs[i],
                                      (size_t)count * out->count * sizeof **outs};
        tensors[i].shape.dim[0] = count;
    }
    if (!r) r = vkd__predictor_run(p, samples->data, count, outs);
    if (!r) r = vkd__st_write(ctx, path, tensors, p->out_count, NULL, 0);
    vkd__arena_term(&arena);
    return r;
}

static vkd_result infer(vkd_ctx *ctx, const char *model, const infer_options *o,
                        const tap_list *taps, const vkd__st_tensor *samples) {
    const uint32_t count = samples->shape.dim[0];
    vkd_device *device = NULL;
    vkd__predictor p = {0};
    vkd_result r = cli_open_tuned(ctx, o->device, o->tune, &device);
    if (!r)
        r = vkd__predictor_create(
            ctx, device,
            &(vkd__predictor_desc){.path = model,
                                   .input = samples->dtype,
                                   .batch = o->batch < count ? o->batch : count,
                                   .taps = taps->names,
                                   .tap_count = taps->count},
            &p);
    if (!r) r = check_samples(ctx, samples, o->in, &p);
    if (!r) r = answer(ctx, &p, samples, o->out);
    for (uint32_t i = 0; i < p.out_count && !r; i++)
        printf("%s: %u x %zu\n", p.outs[i].name, (unsigned)count, p.outs[i].count);
    vkd__predictor_destroy(&p);
    vkd_device_close(device);
    return r;
}

static vkd_result run(vkd_ctx *ctx, int count, char **words) {
    infer_options o = {.batch = 256};
    cli_words rest = {0};
    tap_list taps = {0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), &o, &rest, count, words);
    if (!r && (rest.count != 1 || !o.in || !o.out))
        r = vkd__fail(ctx, VKD_E_ARGUMENT,
                      "infer wants a model, samples and a place for the answers: vkdistill infer "
                      "MODEL --in FILE --out FILE");
    if (!r && !o.batch) r = vkd__fail(ctx, VKD_E_ARGUMENT, "--batch must be at least 1");
    if (!r) r = split_taps(ctx, o.taps, &taps);
    vkd__st_file *file = NULL;
    const vkd__st_tensor *samples = NULL;
    if (!r) r = vkd__st_open(ctx, o.in, &file);
    if (!r) r = find_samples(ctx, file, o.in, &samples);
    if (!r) r = infer(ctx, rest.v[0], &o, &taps, samples);
    if (file) vkd__st_close(file);
    return r;
}

const cli_command cli_infer = {
    .name = "infer",
    .arguments = "MODEL --in FILE --out FILE [OPTIONS]",
    .summary = "logits and inner tensors of a saved model",
    .help =
        "Builds the model that a run saved and writes its logits for every sample, with --taps\n"
        "inner tensors too. The samples are the tensor 'input' or 'images' of FILE, or its only\n"
        "one: (N, ...) U8 bytes as in the data set, normalised as the model's file says, or F32\n"
        "values as the model itself takes them. An unknown tap is answered with those there are.",
    .run = run,
    .options = get_options,
    .quiet = true,
};
