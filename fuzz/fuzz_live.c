// SPDX-License-Identifier: Apache-2.0
/* Any bytes are a live file or are refused, and whatever a frame points to can be read. One whose
 * sequence is odd is waited for, which the tests look at: here it is made even. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/live.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static char folder[256];

static void make_folder(void) {
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/vkdistill-fuzz-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) abort();
}

static void spill(const uint8_t *bytes, size_t size) {
    const size_t at = offsetof(vkd__live_header, sequence);
    char path[300];
    snprintf(path, sizeof path, "%s/live", folder);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, size, f) != size) abort();
    if (size > at && (fseek(f, (long)at, SEEK_SET) || fputc(bytes[at] & 0xfe, f) == EOF)) abort();
    fclose(f);
}

static double sum(const float *values, size_t count) {
    double total = 0;
    for (size_t i = 0; i < count && values; i++)
        total += (double)values[i];
    return total;
}

static void use(const vkd_live_frame *f) {
    volatile double all = sum(f->student_logits, (size_t)f->samples * f->classes) +
                          sum(f->teacher_logits, (size_t)f->samples * f->classes);
    for (uint32_t i = 0; i < f->samples; i++)
        all = all + f->indices[i] + f->labels[i];
    for (uint32_t i = 0; i < f->map_count; i++) {
        const vkd_live_map *m = &f->maps[i];
        all = all + (double)strlen(m->tap) +
              sum(m->values, (size_t)f->samples * m->height * m->width);
    }
    for (uint32_t i = 0; i < f->setting_count; i++)
        all = all + (double)strlen(f->settings[i].name);
    all = all + (double)(strlen(f->phase) + strlen(f->stage) + strlen(f->teacher));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vkd_ctx *ctx;
    vkd_live *l = NULL;
    const vkd_live_frame *f = NULL;
    if (!*folder) make_folder();
    spill(bytes, size);
    if (vkd_ctx_create(NULL, &ctx)) return 0;
    if (vkd_live_open(ctx, folder, &l)) {
        if (l || !*vkd_ctx_error(ctx)) abort();
    } else if (!vkd_live_read(l, &f)) {
        use(f);
    }
    vkd_live_close(l);
    vkd_ctx_destroy(ctx);
    return 0;
}
