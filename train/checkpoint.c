// SPDX-License-Identifier: Apache-2.0
/* checkpoint.safetensors: every store tensor that a later step needs, and as metadata where the run
 * stands. Random numbers and the order of samples are functions of seed, epoch and step, so that
 * nothing of them needs saving. Numbers are hexadecimal bit patterns: exact, in every locale. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "data/safetensors.h"
#include "train/session.h"

#define FORMAT "vkdistill checkpoint 1"

static const char *checkpoint_path(vkd__session *s) {
    return vkd__session_path(s, "checkpoint", ".safetensors");
}

/* ---- Writing ---- */

static bool ends_with(const char *text, const char *end) {
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* Parameters and buffers of every model; the states of a phase under way. Data and cached logits
 * are read or computed again, gradients are made anew by each step. */
static bool is_kept(const vkd__session *s, const vkd_store_info *info) {
    if (info->parameter || info->buffer) return true;
    return s->step && vkd__states_has(s, info->name) && !ends_with(info->name, ".gradient");
}

static vkd_result collect(const vkd__session *s, vkd__arena *arena, vkd__st_tensor *tensors,
                          size_t *count) {
    for (uint32_t i = 0; i < vkd_store_count(s->store); i++) {
        const vkd_store_info info = vkd_store_at(s->store, i);
        if (!is_kept(s, &info)) continue;
        const size_t bytes = (size_t)vkd_shape_count(info.shape) * vkd_dtype_size(info.dtype);
        void *data = vkd__arena_alloc(arena, bytes, 1);
        if (!data) return VKD_E_MEMORY;
        const vkd_result r = vkd_store_read(s->store, info.name, data, bytes);
        if (r) return r;
        tensors[(*count)++] = (vkd__st_tensor){info.name, info.dtype, info.shape, data, bytes};
    }
    return VKD_OK;
}

static uint64_t bits_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

enum { MOST_NUMBERS = 7 + 4 * VKD__MAX_TERMS + (3 + 4 * VKD__MAX_TERMS) * VKD__MAX_PHASES };

/* Where the run stands as a list of numbers; the two functions below must agree on it. */
static size_t to_numbers(const vkd__session *s, uint64_t *v) {
    size_t n = 0;
    v[n++] = s->hash;
    v[n++] = s->phase;
    v[n++] = s->step;
    v[n++] = s->metrics_bytes;
    v[n++] = bits_of(s->test_accuracy);
    v[n++] = s->sums.steps;
    v[n++] = bits_of(s->sums.loss);
    for (int i = 0; i < VKD__MAX_TERMS; i++)
        v[n++] = bits_of(s->sums.terms[i]);
    for (uint32_t i = 0; i < s->phase_count; i++) {
        v[n++] = bits_of(s->phases[i].seconds);
        v[n++] = s->phases[i].skipped;
        v[n++] = s->phases[i].turned;
        for (uint32_t k = 0; k < s->phases[i].term_count; k++) {
            const vkd__watch *w = &s->phases[i].watches[k];
            v[n++] = bits_of(w->value);
            v[n++] = bits_of(w->norm);
            v[n++] = bits_of(w->low);
            v[n++] = bits_of(w->high);
        }
    }
    /* Settings that a viewer may have turned. */
    const vkd__phase *now = s->phase < s->phase_count ? &s->phases[s->phase] : NULL;
    for (uint32_t i = 0; i < VKD__MAX_TERMS; i++) {
        v[n++] = bits_of(now ? (double)now->terms[i].weight : 0);
        v[n++] = bits_of(now ? (double)now->terms[i].final_weight : 0);
        v[n++] = bits_of(now ? (double)now->terms[i].tau : 0);
    }
    return n;
}

static void from_numbers(vkd__session *s, const uint64_t *v) {
    size_t n = 1; /* the hash was compared */
    s->phase = (uint32_t)v[n++];
    s->step = v[n++];
    s->metrics_bytes = v[n++];
    s->test_accuracy = double_of(v[n++]);
    s->sums.steps = v[n++];
    s->sums.loss = double_of(v[n++]);
    for (int i = 0; i < VKD__MAX_TERMS; i++)
        s->sums.terms[i] = double_of(v[n++]);
    for (uint32_t i = 0; i < s->phase_count; i++) {
        s->phases[i].seconds = double_of(v[n++]);
        s->phases[i].skipped = v[n++];
        s->phases[i].turned = v[n++] != 0;
        for (uint32_t k = 0; k < s->phases[i].term_count; k++) {
            vkd__watch *w = &s->phases[i].watches[k];
            w->value = double_of(v[n++]);
            w->norm = double_of(v[n++]);
            w->low = double_of(v[n++]);
            w->high = double_of(v[n++]);
        }
    }
    if (s->phase >= s->phase_count) return;
    for (uint32_t i = 0; i < VKD__MAX_TERMS; i++) {
        s->phases[s->phase].terms[i].weight = (float)double_of(v[n++]);
        s->phases[s->phase].terms[i].final_weight = (float)double_of(v[n++]);
        s->phases[s->phase].terms[i].tau = (float)double_of(v[n++]);
    }
}

vkd_result vkd__checkpoint_write(vkd__session *s) {
    uint64_t numbers[MOST_NUMBERS];
    const size_t number_count = to_numbers(s, numbers);
    vkd__text state = {.ctx = s->ctx};
    for (size_t i = 0; i < number_count; i++)
        vkd__text_add(&state, "%s%llx", i ? " " : "", (unsigned long long)numbers[i]);

    vkd__arena arena = {.ctx = s->ctx};
    vkd__st_tensor *tensors = VKD_NEW(&arena, vkd__st_tensor, vkd_store_count(s->store));
    const char *path = checkpoint_path(s);
    size_t count = 0;
    char *sizes = vkd_device_sizes(s->device);
    vkd_result r = tensors && path && sizes && !state.failed ? VKD_OK : VKD_E_MEMORY;
    if (!r) r = collect(s, &arena, tensors, &count);
    if (!r) {
        const vkd__st_pair pairs[] = {{"format", FORMAT}, {"state", state.text}, {"sizes", sizes}};
        r = vkd__st_write(s->ctx, path, tensors, count, pairs, VKD_COUNT(pairs));
    }
    vkd__arena_term(&arena);
    vkd__text_term(&state);
    vkd_free_text(s->ctx, sizes);
    return r;
}

/* ---- Reading ---- */

/* How many hexadecimal numbers the text holds; 0 when it holds anything else. */
static size_t parse_numbers(const char *text, uint64_t *v, size_t capacity) {
    size_t count = 0;
    while (*text && count < capacity) {
        char *end = NULL;
        errno = 0;
        v[count++] = strtoull(text, &end, 16);
        if (end == text || errno || (*end && *end != ' ')) return 0;
        text = *end ? end + 1 : end;
    }
    return *text ? 0 : count;
}

/* How many numbers of its state a checkpoint has. */
static vkd_result read_numbers(vkd_ctx *ctx, const vkd__st_file *file, const char *path,
                               uint64_t v[MOST_NUMBERS], size_t *count) {
    const char *format = vkd__st_metadata(file, "format");
    const char *state = vkd__st_metadata(file, "state");
    if (!format || strcmp(format, FORMAT) != 0 || !state)
        return vkd__fail(ctx, VKD_E_FORMAT, "'%s' is not a checkpoint of this program", path);
    *count = parse_numbers(state, v, MOST_NUMBERS);
    return VKD_OK;
}

vkd_result vkd__checkpoint_standing(vkd_ctx *ctx, const char *path, vkd__standing *out) {
    uint64_t v[MOST_NUMBERS];
    size_t count = 0;
    vkd__st_file *file = NULL;
    vkd_result r = vkd__st_open(ctx, path, &file);
    if (!r) r = read_numbers(ctx, file, path, v, &count);
    if (!r && (count < 3 || v[1] > VKD__MAX_PHASES))
        r = vkd__fail(ctx, VKD_E_FORMAT, "'%s' says nothing sensible about where it stands", path);
    if (!r) *out = (vkd__standing){.hash = v[0], .phase = (uint32_t)v[1], .step = v[2]};
    vkd__st_close(file);
    return r;
}

static vkd_result read_state(vkd__session *s, const vkd__st_file *file, const char *path) {
    uint64_t v[MOST_NUMBERS], expected[MOST_NUMBERS];
    size_t count = 0;
    const vkd_result r = read_numbers(s->ctx, file, path, v, &count);
    if (r) return r;
    if (count && v[0] != s->hash)
        return vkd__fail(s->ctx, VKD_E_RECIPE,
                         "'%s' belongs to another recipe, or to this one with other settings; give "
                         "another --out, or start over with --force",
                         path);
    if (count != to_numbers(s, expected) || v[1] > s->phase_count ||
        (v[1] < s->phase_count && v[2] > s->phases[v[1]].steps))
        return vkd__fail(s->ctx, VKD_E_FORMAT, "'%s' says nothing sensible about where it stands",
                         path);
    from_numbers(s, v);
    return VKD_OK;
}

/* The run goes on with the sizes that it began with, whatever the tuner says by now. */
static void restore_sizes(vkd__session *s, const vkd__st_file *file, const char *path) {
    const char *sizes = vkd__st_metadata(file, "sizes");
    if (!sizes || !vkd_device_set_sizes(s->device, sizes)) return;
    s->other_sizes = true;
    vkd__log(s->ctx, VKD_LOG_WARNING,
             "'%s' was made with sizes that cannot be had here (%s); the run goes on, but not to "
             "the bits of one that was never stopped",
             path, s->ctx->error);
}

vkd_result vkd__checkpoint_read(vkd__session *s, bool *found) {
    const char *path = checkpoint_path(s);
    if (!path) return VKD_E_MEMORY;
    *found = vkd__file_exists(path);
    if (!*found) return VKD_OK;
    vkd__st_file *file = NULL;
    vkd_result r = vkd__st_open(s->ctx, path, &file);
    if (!r) r = read_state(s, file, path);
    if (!r) restore_sizes(s, file, path);
    vkd__st_close(file);
    return r;
}

vkd_result vkd__checkpoint_restore(vkd__session *s) {
    const char *path = checkpoint_path(s);
    if (!path) return VKD_E_MEMORY;
    vkd__st_file *file = NULL;
    vkd_result r = vkd__st_open(s->ctx, path, &file);
    size_t wanted = 0;
    for (uint32_t i = 0; i < vkd_store_count(s->store) && !r; i++) {
        const vkd_store_info info = vkd_store_at(s->store, i);
        if (!is_kept(s, &info)) continue;
        const vkd__st_tensor *t = vkd__st_find(file, info.name);
        const size_t bytes = (size_t)vkd_shape_count(info.shape) * vkd_dtype_size(info.dtype);
        if (!t || t->dtype != info.dtype || t->bytes != bytes)
            r = vkd__fail(s->ctx, VKD_E_SHAPE,
                          "'%s' is a checkpoint of another architecture: '%s' is %s", path,
                          info.name, t ? "of another size" : "missing");
        else
            r = vkd_store_write(s->store, info.name, t->data, bytes);
        wanted++;
    }
    if (!r && wanted != vkd__st_count(file))
        r = vkd__fail(s->ctx, VKD_E_SHAPE,
                      "'%s' is a checkpoint of another architecture: it has %zu tensors, not %zu",
                      path, vkd__st_count(file), wanted);
    vkd__st_close(file);
    return r;
}
