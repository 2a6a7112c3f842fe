// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "viewer/layout.h"

void layout_init(layout *l, uint32_t panels) {
    *l = (layout){.panels = panels, .alone = LAYOUT_NONE, .width = 1600, .height = 1000};
    VKD_ASSERT(panels <= LAYOUT_PANELS);
    for (uint32_t i = 0; i < panels; i++)
        l->shown[i] = true;
    for (uint32_t row = 0; row < LAYOUT_ROWS; row++) {
        l->heights[row] = 1;
        for (uint32_t i = 0; i < LAYOUT_PANELS; i++)
            l->widths[row][i] = 1;
    }
}

/* ---- Tiles ---- */

/* As near to three tiles by two as the window's shape allows. */
static uint32_t count_rows(uint32_t tiles, gui_rect area) {
    uint32_t best = 1;
    double best_gap = INFINITY;
    for (uint32_t rows = 1; rows <= LAYOUT_ROWS && rows <= tiles; rows++) {
        const double width = (double)area.w / ceil((double)tiles / rows);
        const double gap = fabs(log(width / ((double)area.h / rows) / 1.1));
        if (gap < best_gap) {
            best = rows;
            best_gap = gap;
        }
    }
    return best;
}

static void place_row(const layout *l, const uint32_t *tiles, uint32_t count, uint32_t row,
                      gui_rect area, float gap, layout_tiles *out) {
    float sum = 0, x = area.x;
    for (uint32_t i = 0; i < count; i++)
        sum += l->widths[row][i];
    const float room = area.w - gap * (float)(count - 1);
    for (uint32_t i = 0; i < count; i++) {
        const float right =
            i + 1 == count ? area.x + area.w : floorf(x + room * l->widths[row][i] / sum);
        out->r[tiles[i]] = (gui_rect){x, area.y, right - x, area.h};
        if (i + 1 < count)
            out->borders[out->border_count++] =
                (layout_border){{right, area.y, gap, area.h},
                                false,
                                row,
                                i,
                                room * (l->widths[row][i] + l->widths[row][i + 1]) / sum};
        x = right + gap;
    }
}

void layout_place(const layout *l, gui_rect area, float gap, layout_tiles *out) {
    uint32_t tiles[LAYOUT_PANELS], count = 0, done = 0;
    *out = (layout_tiles){0};
    for (uint32_t i = 0; i < l->panels; i++)
        if (l->alone == LAYOUT_NONE ? l->shown[i] : l->alone == i) tiles[count++] = i;
    if (!count || area.w <= 0 || area.h <= 0) return;
    const uint32_t rows = count_rows(count, area);
    float sum = 0, y = area.y;
    for (uint32_t row = 0; row < rows; row++)
        sum += l->heights[row];
    const float room = area.h - gap * (float)(rows - 1);
    for (uint32_t row = 0; row < rows; row++) {
        const uint32_t here = (count - done + rows - row - 1) / (rows - row);
        const float end =
            row + 1 == rows ? area.y + area.h : floorf(y + room * l->heights[row] / sum);
        place_row(l, tiles + done, here, row, (gui_rect){area.x, y, area.w, end - y}, gap, out);
        if (row + 1 < rows)
            out->borders[out->border_count++] =
                (layout_border){{area.x, end, area.w, gap},
                                true,
                                row,
                                0,
                                room * (l->heights[row] + l->heights[row + 1]) / sum};
        done += here;
        y = end + gap;
    }
}

void layout_move(layout *l, const layout_border *b, float pixels) {
    float *first = b->between_rows ? &l->heights[b->row] : &l->widths[b->row][b->column];
    const float both = first[0] + first[1];
    const float wanted = first[0] + both * pixels / fmaxf(1, b->length);
    first[0] = fminf(fmaxf(wanted, both * 0.1f), both * 0.9f);
    first[1] = both - first[0];
}

void layout_toggle(layout *l, uint32_t panel) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < l->panels; i++)
        count += l->shown[i];
    if (l->shown[panel] && count == 1) return;
    l->shown[panel] = !l->shown[panel];
    l->alone = LAYOUT_NONE;
}

/* ---- Text ---- */

void layout_write(const layout *l, char *out, size_t size) {
    uint32_t bits = 0;
    for (uint32_t i = 0; i < l->panels; i++)
        bits |= (uint32_t)l->shown[i] << i;
    int at = snprintf(out, size, "vkdistill view 1\nsize %u %u\nshown %u\nalone %u\nheights",
                      (unsigned)l->width, (unsigned)l->height, (unsigned)bits, (unsigned)l->alone);
    for (uint32_t row = 0; row < LAYOUT_ROWS && at < (int)size; row++)
        at += snprintf(out + at, size - (size_t)at, " %g", (double)l->heights[row]);
    for (uint32_t row = 0; row < LAYOUT_ROWS && at < (int)size; row++) {
        at += snprintf(out + at, size - (size_t)at, "\nwidths");
        for (uint32_t i = 0; i < LAYOUT_PANELS && at < (int)size; i++)
            at += snprintf(out + at, size - (size_t)at, " %g", (double)l->widths[row][i]);
    }
    if (at < (int)size) snprintf(out + at, size - (size_t)at, "\n");
}

static bool take(const char **at, const char *word) {
    const size_t length = strlen(word);
    while (**at == ' ' || **at == '\n')
        ++*at;
    if (strncmp(*at, word, length) != 0) return false;
    *at += length;
    return true;
}

static bool take_number(const char **at, double low, double high, double *out) {
    char *end = NULL;
    *out = strtod(*at, &end);
    if (end == *at || !(*out >= low && *out <= high)) return false;
    *at = end;
    return true;
}

static bool take_weights(const char **at, const char *word, float *out, uint32_t count) {
    double value;
    if (!take(at, word)) return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!take_number(at, 0.01, 100, &value)) return false;
        out[i] = (float)value;
    }
    return true;
}

bool layout_read(layout *l, const char *text) {
    layout n = *l;
    double width, height, bits, alone;
    if (!take(&text, "vkdistill view 1") || !take(&text, "size") ||
        !take_number(&text, 200, 16384, &width) || !take_number(&text, 150, 16384, &height) ||
        !take(&text, "shown") || !take_number(&text, 1, (1u << l->panels) - 1, &bits) ||
        !take(&text, "alone") || !take_number(&text, 0, LAYOUT_NONE, &alone) ||
        !take_weights(&text, "heights", n.heights, LAYOUT_ROWS))
        return false;
    for (uint32_t row = 0; row < LAYOUT_ROWS; row++)
        if (!take_weights(&text, "widths", n.widths[row], LAYOUT_PANELS)) return false;
    n.width = (uint32_t)width;
    n.height = (uint32_t)height;
    n.alone = alone < l->panels ? (uint32_t)alone : LAYOUT_NONE;
    for (uint32_t i = 0; i < l->panels; i++)
        n.shown[i] = (uint32_t)bits >> i & 1;
    *l = n;
    return true;
}

/* ---- The file ---- */

static bool find_folder(char *out, size_t size) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int length = 0;
    if (state && state[0] == '/')
        length = snprintf(out, size, "%s/vkdistill", state);
    else if (home && home[0] == '/')
        length = snprintf(out, size, "%s/.local/state/vkdistill", home);
    return length > 0 && length < (int)size - 8;
}

void layout_load(vkd_ctx *ctx, layout *l) {
    char path[1024], text[4096];
    vkd__mapping file = {0};
    if (!find_folder(path, sizeof path)) return;
    strcat(path, "/view");
    if (!vkd__file_exists(path) || vkd__map_file(ctx, path, &file)) return;
    const size_t size = file.size < sizeof text - 1 ? file.size : sizeof text - 1;
    if (size) memcpy(text, file.bytes, size);
    text[size] = 0;
    vkd__unmap_file(&file);
    layout_read(l, text);
}

void layout_save(vkd_ctx *ctx, const layout *l) {
    char path[1024], text[4096];
    if (!find_folder(path, sizeof path) || vkd__make_folder(ctx, path)) return;
    strcat(path, "/view");
    layout_write(l, text, sizeof text);
    const vkd__bytes part = {text, strlen(text)};
    (void)!vkd__write_file(ctx, path, &part, 1);
}
