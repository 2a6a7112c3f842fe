// SPDX-License-Identifier: Apache-2.0
#include "check/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "graph/plan.h"

static const double quick_seconds = 2, full_seconds = 60;

/* ---- The cache ---- */

bool vkd__tuning_path(const vkd_device *device, char *out, size_t size) {
    const char *cache = vkd__device_cache_path(device);
    const char *slash = cache ? strrchr(cache, '/') : NULL;
    if (!slash) return false;
    char uuid[33];
    const vkd__identity id = vkd__device_identity(device);
    for (size_t i = 0; i < sizeof id.uuid; i++)
        snprintf(uuid + 2 * i, 3, "%02x", (unsigned)id.uuid[i]);
    const int length = snprintf(out, size, "%.*s/sizes-%s-%s.txt", (int)(slash - cache), cache,
                                uuid, vkd__device_table(device)->direct ? "direct" : "tile");
    return length > 0 && (size_t)length < size;
}

bool vkd__tuning_load(const vkd_device *device, vkd__tuning *out, const char **why) {
    char path[1200];
    vkd__mapping file = {0};
    *why = "";
    if (!vkd__tuning_path(device, path, sizeof path) || !vkd__file_exists(path)) return false;
    *why = "it cannot be read";
    if (vkd__map_file(vkd__device_ctx(device), path, &file)) return false;
    const vkd__tuning key = vkd__tuning_key(device);
    const char *fault = vkd__tuning_parse(file.bytes, file.size, out);
    if (!fault) fault = vkd__tuning_foreign(out, &key);
    vkd__unmap_file(&file);
    *why = fault ? fault : "";
    return !fault;
}

static vkd_result save(vkd_ctx *ctx, const char *path, const vkd__tuning *t) {
    vkd__text text = {.ctx = ctx};
    vkd__tuning_print(t, &text);
    const vkd__bytes whole = {text.text, text.length};
    const vkd_result r = text.failed ? VKD_E_MEMORY : vkd__write_file(ctx, path, &whole, 1);
    vkd__text_term(&text);
    return r;
}

/* ---- Choosing ---- */

/* false: it names what this build or device does not have; nothing is changed. */
static bool apply(vkd_device *device, const vkd__tuning *t) {
    vkd_ctx *ctx = vkd__device_ctx(device);
    vkd__text sizes = {.ctx = ctx};
    for (uint32_t i = 0; i < t->count; i++)
        vkd__text_add(&sizes, "%s=%s;", t->knob[i].name, t->knob[i].chosen);
    const bool ok = !sizes.failed && !vkd_device_set_sizes(device, sizes.text);
    vkd__text_term(&sizes);
    return ok;
}

/* Each knob starts from what the ones before it chose, and leaves to the ones behind it what it
 * did not use of its share. */
static vkd_result measure(vkd_device *device, bool full, vkd__tuning *t) {
    vkd_profile p = *vkd__device_table(device);
    size_t left = 0;
    for (size_t i = 0; i < vkd__knob_count; i++)
        left += vkd__knob_applies(&vkd__knobs[i], &p);
    VKD_ASSERT(left <= VKD__TUNE_MOST);
    const double end = vkd__seconds() + (full ? full_seconds : quick_seconds);
    vkd_result r = VKD_OK;
    *t = vkd__tuning_key(device);
    t->full = full;
    for (size_t i = 0; i < vkd__knob_count && !r; i++) {
        if (!vkd__knob_applies(&vkd__knobs[i], &p)) continue;
        const double share = (end - vkd__seconds()) / (double)left--;
        r = vkd__tune_knob(device, &vkd__knobs[i], full, share, &p, &t->knob[t->count++]);
    }
    if (!r) vkd__device_set_profile(device, &p);
    return r;
}

static vkd_result keep_table(vkd_device *device, vkd_result r, const char *why) {
    if (r == VKD_E_DEVICE_LOST || r == VKD_E_MEMORY) return r;
    vkd__log(vkd__device_ctx(device), VKD_LOG_WARNING, "sizes stay the table's: %s", why);
    return vkd_device_set_sizes(device, NULL);
}

/* path: NULL where nothing can be kept. */
static vkd_result measure_and_save(vkd_device *device, bool full, const char *path,
                                   vkd__tuning *t) {
    vkd_ctx *ctx = vkd__device_ctx(device);
    const double start = vkd__seconds();
    vkd_result r = measure(device, full, t);
    if (r) return keep_table(device, r, ctx->error);
    vkd__log(ctx, VKD_LOG_INFO, "sizes were tuned for '%s' in %.1f s", vkd_device_name(device),
             vkd__seconds() - start);
    if (path) r = save(ctx, path, t);
    if (r && !full) return keep_table(device, r, ctx->error);
    if (r) vkd__log(ctx, VKD_LOG_WARNING, "the sizes were not kept: %s", ctx->error);
    return r == VKD_E_MEMORY ? r : VKD_OK;
}

/* Under the lock: another process that begins now waits, and reads what this one found. */
static vkd_result tune_locked(vkd_device *device, bool full, const char *path, vkd__tuning *t) {
    vkd_ctx *ctx = vkd__device_ctx(device);
    const char *why = "";
    if (path && vkd__tuning_load(device, t, &why) && (t->full || !full)) {
        if (apply(device, t)) return VKD_OK;
        why = "it names sizes that this device does not have";
    }
    if (*why) vkd__log(ctx, VKD_LOG_INFO, "'%s' is ignored: %s", path, why);
    if (!vkd__device_features(device)[VKD__FEATURE_TIMESTAMPS].used)
        return keep_table(device, VKD_OK, "the device gives no timestamps");
    /* Every op would run beside its reference. */
    const char *check = getenv("VKD_CHECK");
    if (check && !strcmp(check, "1")) return keep_table(device, VKD_OK, "VKD_CHECK is set");
    return measure_and_save(device, full, path, t);
}

vkd_result vkd_device_tune(vkd_device *device, vkd_tune mode) {
    if (mode == VKD_TUNE_OFF) return vkd_device_set_sizes(device, NULL);
    vkd_ctx *ctx = vkd__device_ctx(device);
    const bool full = mode == VKD_TUNE_FULL;
    char path[1200];
    const bool kept = vkd__tuning_path(device, path, sizeof path);
    const int lock = kept ? vkd__lock_file(ctx, path, 2 * full_seconds) : -1;
    if (lock < 0 && !full) return keep_table(device, VKD_OK, "there is no place to keep others in");
    vkd__tuning *t = vkd__alloc(ctx, 1, sizeof *t);
    const vkd_result r = t ? tune_locked(device, full, lock >= 0 ? path : NULL, t) : VKD_E_MEMORY;
    vkd__free(ctx, t);
    vkd__unlock_file(lock);
    return r;
}
