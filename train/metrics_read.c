// SPDX-License-Identifier: Apache-2.0
/* Follows metrics.jsonl. It is appended to; but a run that is resumed puts a shorter one in its
 * place and goes on with that, and one that is started over an empty one. Then it is another file,
 * or smaller than what was read, or its last bytes are no longer those that were read: it is read
 * from its beginning. */
#include <string.h>

#include "base/platform.h"
#include "train/metrics_rows.h"

enum { TAIL = 64, CHUNK = 1 << 16, MOST = 4 << 20 };

struct vkd_metrics {
    vkd_ctx *ctx;
    char *path;
    int file;        /* -1: there was none yet */
    uint64_t at;     /* bytes read */
    char tail[TAIL]; /* the last of them */
    size_t tail_size;
    char *chunk; /* (CHUNK) */
    vkd__metrics_rows *rows;
    vkd_metrics_view view;
};

vkd_result vkd_metrics_open(vkd_ctx *ctx, const char *folder, vkd_metrics **out) {
    bool is_folder = false;
    *out = NULL;
    const vkd_result there = vkd__is_folder(ctx, folder, &is_folder);
    if (there) return there;
    if (!is_folder)
        return vkd__fail(ctx, VKD_E_FILE, "'%s' is a file; give the folder of a run", folder);
    vkd_metrics *m = vkd__alloc(ctx, 1, sizeof *m);
    if (!m) return VKD_E_MEMORY;
    vkd__text path = {.ctx = ctx};
    vkd__text_add(&path, "%s/metrics.jsonl", folder);
    *m = (vkd_metrics){.ctx = ctx, .path = path.text, .file = -1};
    m->chunk = vkd__alloc(ctx, CHUNK, 1);
    m->rows = vkd__metrics_rows_create(ctx);
    if (path.failed || !m->chunk || !m->rows) {
        vkd_metrics_close(m);
        return VKD_E_MEMORY;
    }
    vkd__metrics_rows_view(m->rows, &m->view);
    *out = m;
    return VKD_OK;
}

void vkd_metrics_close(vkd_metrics *m) {
    if (!m) return;
    vkd__shared_close(m->file);
    vkd__metrics_rows_destroy(m->rows);
    vkd__free(m->ctx, m->chunk);
    vkd__free(m->ctx, m->path);
    vkd__free(m->ctx, m);
}

static void start_over(vkd_metrics *m) {
    if (m->at) {
        m->view.restarts++;
        m->view.sequence++;
    }
    vkd__metrics_rows_reset(m->rows);
    m->at = 0;
    m->tail_size = 0;
}

/* What is gone stays as it was seen last. */
static void follow(vkd_metrics *m) {
    char now[TAIL];
    if (m->file < 0 || !vkd__shared_is(m->file, m->path)) {
        const int other = vkd__shared_open_to_read(m->path);
        if (other < 0) return;
        vkd__shared_close(m->file);
        m->file = other;
        start_over(m);
    } else if (m->at &&
               (vkd__shared_read(m->file, m->at - m->tail_size, now, m->tail_size) < m->tail_size ||
                memcmp(now, m->tail, m->tail_size) != 0)) {
        start_over(m);
    }
}

static void keep_tail(vkd_metrics *m, const char *bytes, size_t size) {
    const size_t new = size < TAIL ? size : TAIL;
    const size_t old = m->tail_size < TAIL - new ? m->tail_size : TAIL - new;
    memmove(m->tail, m->tail + m->tail_size - old, old);
    memcpy(m->tail + old, bytes + size - new, new);
    m->tail_size = old + new;
}

vkd_result vkd_metrics_read(vkd_metrics *m, const vkd_metrics_view **out) {
    const uint64_t rows = m->view.rows, noise = m->view.noise;
    vkd_result r = VKD_OK;
    size_t size = CHUNK;
    *out = &m->view;
    follow(m);
    for (size_t all = 0; m->file >= 0 && all < MOST && size == CHUNK && !r; all += size) {
        size = vkd__shared_read(m->file, m->at, m->chunk, CHUNK);
        if (!size) break;
        r = vkd__metrics_rows_feed(m->rows, m->chunk, size);
        keep_tail(m, m->chunk, size);
        m->at += size;
    }
    vkd__metrics_rows_view(m->rows, &m->view);
    m->view.more = m->file >= 0 && vkd__shared_size(m->file) > m->at;
    if (m->view.rows != rows || m->view.noise != noise) m->view.sequence++;
    return r;
}
