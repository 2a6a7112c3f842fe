// SPDX-License-Identifier: Apache-2.0
/* metrics.jsonl: one JSON object a line. Rows of steps have "phase" (the model's name, or its
 * control's), "stage", "step", the loss and each of its terms (means since the last row, before
 * their weights), "gradient_norm", "learning_rate", "samples_per_second"; rows of epochs have
 * "phase", "stage", "epoch", "step", "test_accuracy", "calibration_error", and with a teacher "kl",
 * "agreement" and "teacher_entropy". A phase begins with "event": "stage" and the row of step 0:
 * "scale.<term>", weight times value, and "gradient_norm.<term>". Rows with "warning" say what
 * looks wrong; other rows with "event" and "step" are what happened: "setting", which a viewer
 * turned, "skipped", "resumed". The first row has "device" and "sizes", what kernels are launched
 * with: they decide the order of sums. docs/formats.md has them all; metrics_rows.c reads them. */
#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "train/session.h"
#include "train/summary.h"

static void member(vkd__text *t, const char *key, double value) {
    vkd__text_add(t, ", \"%s\": ", key);
    vkd__json_number(t, value);
}

/* A resumed run goes on behind the checkpoint's last row: what a killed run wrote after it comes
 * again. */
static vkd_result cut(vkd__session *s, const char *path) {
    vkd__mapping file = {0};
    if (!s->metrics_bytes || !vkd__file_exists(path)) return vkd__write_file(s->ctx, path, NULL, 0);
    vkd_result r = vkd__map_file(s->ctx, path, &file);
    if (r) return r;
    if (file.size < s->metrics_bytes) s->metrics_bytes = file.size;
    const vkd__bytes kept = {file.bytes, (size_t)s->metrics_bytes};
    r = vkd__write_file(s->ctx, path, &kept, 1);
    vkd__unmap_file(&file);
    return r;
}

void vkd__metrics_close(vkd__session *s) {
    if (s->metrics) fclose(s->metrics);
    s->metrics = NULL;
}

static vkd_result write_line(vkd__session *s, vkd__text *t) {
    vkd__text_add(t, "}\n");
    vkd_result r = VKD_OK;
    if (t->failed)
        r = VKD_E_MEMORY;
    else if (fwrite(t->text, 1, t->length, s->metrics) != t->length || fflush(s->metrics))
        r = vkd__fail(s->ctx, VKD_E_FILE, "cannot write to '%s/metrics.jsonl'; is the disk full?",
                      s->folder);
    else
        s->metrics_bytes += t->length;
    vkd__text_term(t);
    return r;
}

static vkd_result write_sizes(vkd__session *s) {
    char *sizes = vkd_device_sizes(s->device);
    if (!sizes) return VKD_E_MEMORY;
    vkd__text t = {.ctx = s->ctx};
    vkd__text_add(&t, "{\"device\": ");
    vkd__json_text(&t, vkd_device_name(s->device));
    vkd__text_add(&t, ", \"sizes\": ");
    vkd__json_text(&t, sizes);
    vkd_free_text(s->ctx, sizes);
    return write_line(s, &t);
}

vkd_result vkd__metrics_open(vkd__session *s) {
    const char *path = vkd__session_path(s, "metrics", ".jsonl");
    if (!path) return VKD_E_MEMORY;
    const vkd_result r = cut(s, path);
    if (r) return r;
    s->metrics = fopen(path, "ab");
    if (!s->metrics) return vkd__fail(s->ctx, VKD_E_FILE, "cannot write '%s'", path);
    return s->metrics_bytes && !s->other_sizes ? VKD_OK : write_sizes(s);
}

vkd_result vkd__metrics_step(vkd__session *s, const vkd_progress *p) {
    const vkd__phase *phase = &s->phases[s->phase];
    vkd__text t = {.ctx = s->ctx};
    vkd__text_add(&t, "{\"phase\": \"%s\", \"stage\": \"%s\", \"step\": %llu", p->phase, p->stage,
                  (unsigned long long)p->step);
    member(&t, "loss", p->loss);
    for (uint32_t i = 0; i < p->term_count; i++)
        member(&t, p->terms[i], p->values[i]);
    for (uint32_t i = 0; i < phase->term_count; i++) {
        if (!(phase->terms[i].def->needs & VKD__LOSS_TAU)) continue;
        vkd__text_add(&t, ", \"tau.%s\": ", phase->terms[i].name);
        vkd__json_number(&t, (double)phase->terms[i].tau);
    }
    member(&t, "gradient_norm", p->gradient_norm);
    member(&t, "learning_rate", p->learning_rate);
    member(&t, "samples_per_second", p->samples_per_second);
    if (phase->loss_scale > 0) member(&t, "loss_scale", phase->loss_scale);
    vkd__text_add(&t, ", \"skipped\": %llu", (unsigned long long)phase->skipped);
    return write_line(s, &t);
}

static vkd__text event(const vkd__session *s, const vkd__phase *p, uint64_t step,
                       const char *name) {
    vkd__text t = {.ctx = s->ctx};
    vkd__text_add(&t, "{\"phase\": \"%s\", \"stage\": \"%s\", \"step\": %llu, \"event\": \"%s\"",
                  p->group, p->stage->name, (unsigned long long)step, name);
    return t;
}

vkd_result vkd__metrics_stage(vkd__session *s, const vkd__phase *p) {
    vkd__text t = event(s, p, 0, "stage");
    vkd__text_add(&t, ", \"steps\": %llu", (unsigned long long)p->steps);
    if (p->teacher_count)
        vkd__text_add(&t, ", \"teacher\": \"%s\"", s->recipe->models[p->teacher].name);
    return write_line(s, &t);
}

vkd_result vkd__metrics_resumed(vkd__session *s, const vkd__phase *p) {
    vkd__text t = event(s, p, s->step, "resumed");
    return write_line(s, &t);
}

vkd_result vkd__metrics_skipped(vkd__session *s, const vkd__phase *p, uint64_t step) {
    vkd__text t = event(s, p, step, "skipped");
    return write_line(s, &t);
}

vkd_result vkd__metrics_setting(vkd__session *s, const vkd__phase *p, const char *name, double from,
                                double to) {
    vkd__text t = event(s, p, s->step, "setting");
    vkd__text_add(&t, ", \"name\": \"%s\"", name);
    member(&t, "from", from);
    member(&t, "to", to);
    return write_line(s, &t);
}

vkd_result vkd__metrics_epoch(vkd__session *s, const vkd__phase *p, uint64_t epoch,
                              const vkd__figures *f) {
    vkd__text t = {.ctx = s->ctx};
    vkd__text_add(&t, "{\"phase\": \"%s\", \"stage\": \"%s\", \"epoch\": %llu, \"step\": %llu",
                  p->group, p->stage->name, (unsigned long long)epoch, (unsigned long long)s->step);
    member(&t, "test_accuracy", f->accuracy);
    member(&t, "calibration_error", f->calibration);
    if (isfinite(f->agreement)) {
        member(&t, "kl", f->kl);
        member(&t, "agreement", f->agreement);
        member(&t, "teacher_entropy", f->teacher_entropy);
    }
    return write_line(s, &t);
}

vkd_result vkd__metrics_label(vkd__session *s, const vkd__phase *p, const vkd__label_row *row) {
    vkd__text t = {.ctx = s->ctx};
    vkd__text_add(&t,
                  "{\"phase\": \"%s\", \"stage\": \"%s\", \"samples\": %u, \"kept\": %u, "
                  "\"entries\": %u",
                  p->group, p->stage->name, (unsigned)row->samples, (unsigned)row->kept,
                  (unsigned)row->entries);
    member(&t, "labels_right", row->right);
    return write_line(s, &t);
}

vkd_result vkd__metrics_start(vkd__session *s, const vkd__phase *p) {
    vkd__text t = {.ctx = s->ctx};
    vkd__text_add(&t, "{\"phase\": \"%s\", \"stage\": \"%s\", \"step\": 0", p->group,
                  p->stage->name);
    for (uint32_t i = 0; i < p->term_count; i++) {
        vkd__text_add(&t, ", \"scale.%s\": ", p->terms[i].name);
        vkd__json_number(&t, (double)p->terms[i].weight * p->watches[i].value);
        vkd__text_add(&t, ", \"gradient_norm.%s\": ", p->terms[i].name);
        vkd__json_number(&t, (double)p->terms[i].weight * p->watches[i].norm);
    }
    return write_line(s, &t);
}

vkd_result vkd__metrics_warning(vkd__session *s, const vkd__phase *p, const char *text) {
    vkd__text t = {.ctx = s->ctx};
    vkd__text_add(&t, "{\"phase\": \"%s\", \"stage\": \"%s\", \"warning\": ", p->group,
                  p->stage->name);
    vkd__json_text(&t, text);
    return write_line(s, &t);
}
