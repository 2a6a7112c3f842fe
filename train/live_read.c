// SPDX-License-Identifier: Apache-2.0
/* The viewer's side of the file "live". It is read, never mapped, and every number in it is held
 * against the bytes that are there: it may be cut short, or noise, at any moment. */
#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "train/live.h"

/* Far above what a trainer shows, far below what would hurt. */
#define LARGEST_FILE (1u << 30)
#define LARGEST_CLASSES 200000u

struct vkd_live {
    vkd_ctx *ctx;
    char *path;
    int file;
    vkd__live_header header; /* the newest that was whole */
    uint8_t *tables;         /* the file's bytes behind the header */
    size_t table_bytes;
    vkd_live_map maps[VKD__LIVE_MAPS];
    vkd_live_setting settings[VKD__LIVE_SETTINGS];
    vkd_live_frame frame;
    uint64_t sent; /* sequence of the last request */
};

static vkd_result refuse(vkd_live *l, const char *what) {
    return vkd__fail(l->ctx, VKD_E_FORMAT, "'%s' is no live file of a run: %s", l->path, what);
}

static bool is_text(const char *text, size_t size) {
    return memchr(text, '\0', size) != NULL;
}

/* Whether a table of `count` four-byte values lies behind the header, aligned, or is not there. */
static bool lies_inside(const vkd__live_header *h, uint64_t offset, uint64_t count) {
    if (!offset) return true;
    return offset % 4 == 0 && offset >= h->header_bytes && offset <= h->file_bytes &&
           count <= (h->file_bytes - offset) / 4;
}

static vkd_result check_maps(vkd_live *l, const vkd__live_header *h) {
    for (uint32_t i = 0; i < h->map_count; i++) {
        const vkd__live_map *m = &h->maps[i];
        if (!is_text(m->name, sizeof m->name) || !m->height || !m->width || m->height > 65535 ||
            m->width > 65535 || !m->offset ||
            !lies_inside(h, m->offset, (uint64_t)h->samples * m->height * m->width))
            return refuse(l, "a map lies outside it");
    }
    return VKD_OK;
}

static vkd_result check(vkd_live *l, const vkd__live_header *h) {
    if (memcmp(h->magic, VKD__LIVE_MAGIC, sizeof h->magic) != 0)
        return refuse(l, "it does not begin with VKDLIVE");
    if (h->version != VKD__LIVE_VERSION)
        return vkd__fail(l->ctx, VKD_E_FORMAT,
                         "'%s' is of version %u, this viewer reads version %u: take trainer and "
                         "viewer from one release",
                         l->path, (unsigned)h->version, VKD__LIVE_VERSION);
    if (h->header_bytes != VKD__LIVE_HEADER || h->file_bytes < VKD__LIVE_HEADER ||
        h->file_bytes > LARGEST_FILE)
        return refuse(l, "its sizes make no sense");
    if (!is_text(h->phase, sizeof h->phase) || !is_text(h->stage, sizeof h->stage) ||
        !is_text(h->teacher, sizeof h->teacher))
        return refuse(l, "a name has no end");
    if (h->samples > VKD__LIVE_SAMPLES || h->classes > LARGEST_CLASSES ||
        h->setting_count > VKD__LIVE_SETTINGS || h->map_count > VKD__LIVE_MAPS ||
        h->state > VKD_LIVE_FAILED)
        return refuse(l, "its counts make no sense");
    const uint64_t logits = (uint64_t)h->samples * h->classes;
    if (!lies_inside(h, h->indices, h->samples) || !lies_inside(h, h->labels, h->samples) ||
        !lies_inside(h, h->student_logits, logits) || !lies_inside(h, h->teacher_logits, logits))
        return refuse(l, "a table lies outside it");
    for (uint32_t i = 0; i < h->setting_count; i++)
        if (!is_text(h->settings[i].name, sizeof h->settings[i].name))
            return refuse(l, "a name has no end");
    return check_maps(l, h);
}

/* ---- Opening ---- */

/* Of a run that may only be read there is all to see, and nothing to ask. */
static int open_file(const char *path) {
    const int file = vkd__shared_open(path, false);
    return file < 0 ? vkd__shared_open_to_read(path) : file;
}

vkd_result vkd_live_open(vkd_ctx *ctx, const char *folder, vkd_live **out) {
    *out = NULL;
    vkd_live *l = vkd__alloc(ctx, 1, sizeof *l);
    vkd__text path = {.ctx = ctx};
    vkd__text_add(&path, "%s/live", folder);
    if (!l || path.failed) {
        vkd__free(ctx, l);
        vkd__text_term(&path);
        return VKD_E_MEMORY;
    }
    *l = (vkd_live){.ctx = ctx, .path = path.text, .file = open_file(path.text)};
    vkd_result r = VKD_OK;
    if (l->file < 0)
        r = vkd__fail(ctx, VKD_E_FILE,
                      "'%s' has no file 'live': it is no run's folder, or the run has not begun",
                      folder);
    const vkd_live_frame *frame;
    if (!r) r = vkd_live_read(l, &frame);
    if (r)
        vkd_live_close(l);
    else
        *out = l;
    return r;
}

void vkd_live_close(vkd_live *l) {
    if (!l) return;
    vkd__shared_close(l->file);
    vkd__free(l->ctx, l->tables);
    vkd__free(l->ctx, l->path);
    vkd__free(l->ctx, l);
}

/* ---- Reading ---- */

static const void *table(const vkd_live *l, uint64_t offset) {
    return offset && l->header.samples ? l->tables + (offset - VKD__LIVE_HEADER) : NULL;
}

static void show(vkd_live *l) {
    const vkd__live_header *h = &l->header;
    for (uint32_t i = 0; i < h->map_count; i++)
        l->maps[i] = (vkd_live_map){.tap = h->maps[i].name,
                                    .teacher = h->maps[i].teacher != 0,
                                    .height = h->maps[i].height,
                                    .width = h->maps[i].width,
                                    .values = table(l, h->maps[i].offset)};
    for (uint32_t i = 0; i < h->setting_count; i++)
        l->settings[i] =
            (vkd_live_setting){.name = h->settings[i].name, .value = h->settings[i].value};
    l->frame = (vkd_live_frame){
        .sequence = h->sequence,
        .updated = h->updated,
        .state = (vkd_live_state)h->state,
        .phase = h->phase,
        .stage = h->stage,
        .teacher = h->teacher,
        .phase_index = h->phase_index,
        .phase_count = h->phase_count,
        .seed_index = h->seed_index,
        .seed_count = h->seed_count,
        .step = h->step,
        .steps = h->steps,
        .loss = h->loss,
        .gradient_norm = h->gradient_norm,
        .learning_rate = h->learning_rate,
        .samples_per_second = h->samples_per_second,
        .test_accuracy = h->test_accuracy,
        .samples = h->samples,
        .classes = h->classes,
        .indices = table(l, h->indices),
        .labels = table(l, h->labels),
        .student_logits = table(l, h->student_logits),
        .teacher_logits = table(l, h->teacher_logits),
        .map_count = h->samples ? h->map_count : 0,
        .maps = l->maps,
        .setting_count = h->setting_count,
        .settings = l->settings,
        .pending = l->sent && h->request_taken != l->sent,
    };
}

static bool still(const vkd_live *l, uint64_t sequence) {
    uint64_t now = 0;
    return vkd__shared_read(l->file, offsetof(vkd__live_header, sequence), &now, sizeof now) ==
               sizeof now &&
           now == sequence;
}

/* Takes the file's newest state over if it is whole; *taken says whether. A writer at work is no
 * mistake: the older state stays. */
static vkd_result take(vkd_live *l, bool *taken) {
    vkd__live_header h;
    *taken = false;
    const size_t there = vkd__shared_read(l->file, 0, &h, sizeof h);
    if (there < sizeof h) return refuse(l, "it is cut short");
    if (memcmp(h.magic, VKD__LIVE_MAGIC, sizeof h.magic) == 0 && h.sequence % 2) return VKD_OK;
    const vkd_result r = check(l, &h);
    if (r) return still(l, h.sequence) ? r : VKD_OK;
    const size_t bytes = (size_t)(h.file_bytes - VKD__LIVE_HEADER);
    uint8_t *tables = vkd__alloc(l->ctx, bytes ? bytes : 1, 1);
    if (!tables) return VKD_E_MEMORY;
    const size_t got = vkd__shared_read(l->file, VKD__LIVE_HEADER, tables, bytes);
    if (!still(l, h.sequence)) {
        vkd__free(l->ctx, tables);
        return VKD_OK;
    }
    if (got < bytes) {
        vkd__free(l->ctx, tables);
        return refuse(l, "it is cut short");
    }
    vkd__free(l->ctx, l->tables);
    l->header = h;
    l->tables = tables;
    l->table_bytes = bytes;
    *taken = true;
    return VKD_OK;
}

/* A run that was started over has another file of the same name. */
static void follow(vkd_live *l) {
    if (vkd__shared_is(l->file, l->path)) return;
    const int other = open_file(l->path);
    if (other < 0) return; /* gone: what was seen last stays */
    vkd__shared_close(l->file);
    l->file = other;
    l->header.sequence = 0;
    l->sent = 0;
}

vkd_result vkd_live_read(vkd_live *l, const vkd_live_frame **out) {
    *out = &l->frame;
    follow(l);
    vkd_result r = VKD_OK;
    if (!l->tables || !still(l, l->header.sequence)) {
        bool taken = false;
        for (int tries = 0; tries < 10 && !r && !taken; tries++)
            r = take(l, &taken);
        if (!r && !taken && !l->tables) r = refuse(l, "its writer never finished");
    }
    if (r) return r;
    show(l);
    l->frame.alive = vkd__process_lives(l->header.process);
    return VKD_OK;
}

/* ---- Asking ---- */

vkd_result vkd_live_watch(vkd_live *l) {
    const uint64_t now = vkd__clock();
    const uint64_t at = VKD__LIVE_REQUEST + offsetof(vkd__live_request, viewer_beat);
    if (vkd__shared_write(l->file, at, &now, sizeof now)) return VKD_OK;
    return vkd__fail(l->ctx, VKD_E_FILE, "cannot write to '%s'", l->path);
}

vkd_result vkd_live_ask(vkd_live *l, const vkd_live_setting *settings, uint32_t count) {
    vkd__live_request q = {.viewer_beat = vkd__clock(), .count = count};
    if (count > VKD__LIVE_SETTINGS)
        return vkd__fail(l->ctx, VKD_E_ARGUMENT, "%u settings at once, at most %u are taken",
                         (unsigned)count, VKD__LIVE_SETTINGS);
    for (uint32_t i = 0; i < count; i++) {
        if (strlen(settings[i].name) >= sizeof q.settings[i].name)
            return vkd__fail(l->ctx, VKD_E_ARGUMENT, "there is no setting '%s'", settings[i].name);
        memcpy(q.settings[i].name, settings[i].name, strlen(settings[i].name));
        q.settings[i].value = settings[i].value;
    }
    uint64_t before = 0;
    vkd__shared_read(l->file, VKD__LIVE_REQUEST, &before, sizeof before);
    q.sequence = before | 1;
    const uint64_t done = q.sequence + 1;
    if (!vkd__shared_write(l->file, VKD__LIVE_REQUEST, &q, sizeof q) ||
        !vkd__shared_write(l->file, VKD__LIVE_REQUEST, &done, sizeof done))
        return vkd__fail(l->ctx, VKD_E_FILE, "cannot write to '%s'", l->path);
    l->sent = done;
    return VKD_OK;
}
