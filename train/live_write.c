// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/platform.h"
#include "train/live.h"

struct vkd__live_writer {
    vkd_ctx *ctx;
    int file;
    vkd__live_header now;
    uint64_t size; /* of the file */
    bool failed;   /* nothing is written any more */
};

static void put(vkd__live_writer *w, uint64_t at, const void *from, size_t size) {
    if (w->failed || vkd__shared_write(w->file, at, from, size)) return;
    w->failed = true;
    vkd__log(w->ctx, VKD_LOG_WARNING,
             "cannot write the file that a viewer reads; the run goes on without it");
}

static void put_sequence(vkd__live_writer *w, uint64_t sequence) {
    w->now.sequence = sequence;
    put(w, offsetof(vkd__live_header, sequence), &sequence, sizeof sequence);
}

vkd_result vkd__live_writer_create(vkd_ctx *ctx, const char *path, vkd__live_writer **out) {
    vkd__live_writer *w = vkd__alloc(ctx, 1, sizeof *w);
    *out = NULL;
    if (!w) return VKD_E_MEMORY;
    *w = (vkd__live_writer){.ctx = ctx, .file = vkd__shared_open(path, true)};
    w->now = (vkd__live_header){.magic = VKD__LIVE_MAGIC,
                                .version = VKD__LIVE_VERSION,
                                .header_bytes = VKD__LIVE_HEADER,
                                .process = vkd__process_id(),
                                .test_accuracy = -1};
    /* A viewer may still look at what an earlier run left: the numbers go on from there. */
    uint64_t before = 0;
    const bool there = vkd__shared_read(w->file, offsetof(vkd__live_header, sequence), &before,
                                        sizeof before) == sizeof before;
    w->now.sequence = there ? (before | 1) + 1 : 0;
    if (w->file < 0 || !vkd__shared_resize(w->file, VKD__LIVE_HEADER)) {
        vkd__log(ctx, VKD_LOG_WARNING, "cannot make '%s': this run cannot be watched", path);
        vkd__live_writer_destroy(w);
        return VKD_OK;
    }
    w->size = VKD__LIVE_HEADER;
    const vkd__live_request none = {0};
    put(w, VKD__LIVE_REQUEST, &none, sizeof none);
    vkd__live_publish(w, NULL);
    *out = w;
    return VKD_OK;
}

void vkd__live_writer_destroy(vkd__live_writer *w) {
    if (!w) return;
    vkd__shared_close(w->file);
    vkd__free(w->ctx, w);
}

vkd__live_header *vkd__live_now(vkd__live_writer *w) {
    return &w->now;
}

/* The place of a table of that size, which is added to the file's. */
static uint64_t place(uint64_t *end, size_t bytes) {
    const uint64_t at = *end;
    *end = vkd__align_up(at + bytes, 64);
    return at;
}

static uint64_t put_table(vkd__live_writer *w, uint64_t *end, const void *values, size_t bytes) {
    if (!values) return 0;
    const uint64_t at = place(end, bytes);
    put(w, at, values, bytes);
    return at;
}

static void put_tables(vkd__live_writer *w, const vkd__live_tables *t, uint64_t *end) {
    vkd__live_header *h = &w->now;
    const size_t row = (size_t)h->samples * sizeof(float), rows = row * h->classes;
    h->indices = put_table(w, end, t->indices, row);
    h->labels = put_table(w, end, t->labels, row);
    h->student_logits = put_table(w, end, t->student_logits, rows);
    h->teacher_logits = put_table(w, end, t->teacher_logits, rows);
    for (uint32_t i = 0; i < h->map_count; i++)
        h->maps[i].offset =
            put_table(w, end, t->maps[i], row * h->maps[i].height * h->maps[i].width);
}

void vkd__live_publish(vkd__live_writer *w, const vkd__live_tables *tables) {
    static const vkd__live_tables none;
    vkd__live_header *h = &w->now;
    uint64_t end = VKD__LIVE_HEADER;
    if (!tables) {
        h->samples = h->map_count = 0;
        tables = &none;
    }
    put_sequence(w, h->sequence + 1);
    put_tables(w, tables, &end);
    /* A table's padding is part of the file: it may be read whole. */
    if (end != w->size && !w->failed && vkd__shared_resize(w->file, end)) w->size = end;
    h->file_bytes = end;
    h->updated = vkd__clock();
    put(w, 0, h, sizeof *h);
    put_sequence(w, h->sequence + 1);
}

bool vkd__live_watched(vkd__live_writer *w) {
    uint64_t beat = 0;
    const uint64_t at = VKD__LIVE_REQUEST + offsetof(vkd__live_request, viewer_beat);
    if (vkd__shared_read(w->file, at, &beat, sizeof beat) != sizeof beat) return false;
    const uint64_t now = vkd__clock();
    return beat <= now && now - beat < 2000000000u;
}

bool vkd__live_take(vkd__live_writer *w, vkd__live_request *out) {
    uint64_t again = 0;
    if (vkd__shared_read(w->file, VKD__LIVE_REQUEST, &again, sizeof again) != sizeof again ||
        again == w->now.request_taken || again % 2)
        return false;
    if (vkd__shared_read(w->file, VKD__LIVE_REQUEST, out, sizeof *out) != sizeof *out ||
        vkd__shared_read(w->file, VKD__LIVE_REQUEST, &again, sizeof again) != sizeof again ||
        again != out->sequence || again % 2)
        return false;
    w->now.request_taken = out->sequence;
    if (out->count > VKD__LIVE_SETTINGS) return false; /* not written by a viewer of ours */
    for (uint32_t i = 0; i < out->count; i++)
        out->settings[i].name[sizeof out->settings[i].name - 1] = '\0';
    return true;
}
