// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "viewer/panel.h"

gui_rect part_sample(panel_io *io, const char *name, gui_rect r, uint32_t sample) {
    const vkd_inspect_info *info = io->s->info;
    if (!info || !info->pixels || sample >= info->tests || r.w < 1 || r.h < 1) {
        gui_fill(io->g, r, COLOUR_FIELD);
        return r;
    }
    const size_t count = (size_t)info->height * info->width;
    const float w = (float)info->width, h = (float)info->height;
    const float zoom = fminf(r.w / w, r.h / h);
    const gui_rect at = {floorf(r.x + (r.w - zoom * w) / 2), floorf(r.y + (r.h - zoom * h) / 2),
                         floorf(zoom * w), floorf(zoom * h)};
    uint8_t *rgba = malloc(count * 4);
    if (!rgba) return at;
    colourmap_pixels(info->pixels + sample * count * info->channels, count, info->channels, rgba);
    gui_image(io->g, name, at, info->width, info->height, rgba, false, 1);
    gui_mark(io->g, at, "%s", name);
    free(rgba);
    return at;
}

void part_chooser(panel_io *io) {
    const uint32_t count = scene_sample_count(io->s);
    uint32_t sample = io->s->sample;
    if (!count) return;
    if (gui_button(io->g, "<", sample > 0)) sample--;
    gui_hint(io->g, "the sample before (Page Up)");
    gui_beside(io->g, 0.3f * io->em);
    if (gui_button(io->g, ">", sample + 1 < count)) sample++;
    gui_hint(io->g, "the next sample (Page Down)");
    gui_beside(io->g, -1);
    gui_width(io->g, 9 * io->em);
    gui_slider_u32(io->g, "sample", &sample, 0, count - 1);
    const char *label = scene_class_name(io->s, scene_label(io->s, io->s->sample));
    gui_beside_if(io->g, 0.8f * io->em, gui_label_width(io->g, label) + 3 * io->em);
    gui_text(io->g, COLOUR_MUTED, "label");
    gui_beside(io->g, 0.4f * io->em);
    gui_text(io->g, COLOUR_TEXT, "%s", label);
    if (sample != io->s->sample) scene_choose(io->s, sample);
}

void part_beside_text(panel_io *io, const char *text, bool check) {
    gui_beside_if(io->g, 0.8f * io->em, gui_label_width(io->g, text) + (check ? 2.1f : 0) * io->em);
}

void part_message(panel_io *io, const char *text) {
    gui_space(io->g, fmaxf(0, gui_room_y(io->g) * 0.4f - io->em));
    gui_wrapped(io->g, COLOUR_MUTED, text);
}

void part_no_answers(panel_io *io) {
    const scene *s = io->s;
    if (s->problem[0])
        part_message(io, s->problem);
    else if (s->training)
        part_message(io, "Waiting for answers of teacher and student: half a second into a phase "
                         "the trainer begins to show what its models say.");
    else
        part_message(io, "No model of this run has answered yet.");
}

void part_scale(panel_io *io, const char *name, gui_rect r, colourmap map, double low,
                double high) {
    enum { STEPS = 64 };
    uint8_t rgba[STEPS * 4];
    float values[STEPS];
    char text[32];
    for (int i = 0; i < STEPS; i++) /* from above: high first */
        values[i] = (float)(high + (low - high) * (i + 0.5) / (double)STEPS);
    colourmap_fill(map, values, STEPS, low, high, rgba);
    const gui_rect bar = {r.x, r.y, 0.7f * io->em, r.h};
    gui_image(io->g, name, bar, 1, STEPS, rgba, false, 1);
    const double ends[] = {high, (low + high) / 2, low};
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "%.3g", ends[i]);
        gui_label(io->g, bar.x + bar.w + 0.35f * io->em,
                  r.y + 0.5f * io->em + (r.h - io->em) * (float)i / 2, 0, COLOUR_MUTED, text);
    }
}

void part_matrix(panel_io *io, const char *name, gui_rect r, const float *values, uint32_t rows,
                 uint32_t columns, colourmap map, double low, double high) {
    uint8_t *rgba = malloc((size_t)rows * columns * 4);
    if (!rgba) return;
    colourmap_fill(map, values, (uint64_t)rows * columns, low, high, rgba);
    gui_image(io->g, name, r, columns, rows, rgba, false, 1);
    gui_mark(io->g, r, "%s", name);
    free(rgba);
}
