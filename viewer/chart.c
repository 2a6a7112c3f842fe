// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/axis.h"
#include "viewer/chart.h"

enum { POINTS = 8192 };

/* ---- Zoom ---- */

static void zoom(const chart *c, const gui_canvas *canvas, gui_rect plot, chart_view *v) {
    double low = v->low, high = v->high;
    if (!(high > low)) low = c->least, high = c->most;
    const double under = low + (high - low) * (double)((canvas->x - plot.x) / plot.w);
    if (canvas->wheel != 0) {
        const double factor = pow(0.8, (double)canvas->wheel);
        const double least = fmax(2, (c->most - c->least) * 1e-5);
        if ((high - low) * factor < least) return;
        low = under - (under - low) * factor;
        high = under + (high - under) * factor;
    }
    if (canvas->held && canvas->drag_x != 0 && v->high > v->low) {
        const double moved = -(double)(canvas->drag_x / plot.w) * (high - low);
        low += moved;
        high += moved;
    }
    const double width = fmin(high - low, c->most - c->least);
    low = fmin(fmax(low, c->least), c->most - width);
    v->low = low;
    v->high = low + width;
    if (canvas->double_clicked || width >= c->most - c->least) v->low = v->high = 0;
}

/* ---- Parts ---- */

static axis value_axis(const chart *c, double low, double high, float room) {
    double least = INFINITY, most = -INFINITY;
    for (uint32_t i = 0; i < c->curve_count; i++) {
        const chart_curve *u = &c->curves[i];
        uint32_t first = chart_find(u->x, u->count, low), end = chart_find(u->x, u->count, high);
        if (first) first--;
        if (end < u->count) end++;
        for (uint32_t k = first; k < end; k++) {
            if (!isfinite(u->y[k]) || (c->logarithmic && u->y[k] <= 0)) continue;
            least = fmin(least, u->y[k]);
            most = fmax(most, u->y[k]);
        }
    }
    if (c->from_zero) least = fmin(least, 0);
    const uint32_t ticks = (uint32_t)fmaxf(2, fminf(7, room));
    return axis_make(least, most, c->logarithmic, true, ticks);
}

static void tick_text(const chart *c, const axis *a, double tick, char *out, size_t size) {
    if (!c->percent) {
        axis_text(a, tick, out, size);
        return;
    }
    const axis hundred = {.low = 100 * a->low, .high = 100 * a->high, .step = 100 * a->step};
    axis_text(&hundred, 100 * tick, out, size);
    const size_t length = strlen(out);
    snprintf(out + length, size - length, "%%");
}

static void draw_grid(panel_io *io, const chart *c, gui_rect r, const axis *x, const axis *y) {
    char text[32];
    for (uint32_t i = 0; i < y->ticks; i++) {
        const double tick = axis_tick(y, i);
        const float at = floorf(r.y + r.h - r.h * (float)axis_place(y, tick));
        gui_line(io->g, r.x, at, r.x + r.w, at, COLOUR_GRID, 1);
        tick_text(c, y, tick, text, sizeof text);
        gui_label(io->g, r.x - 0.4f * io->em, at, 1, COLOUR_MUTED, text);
    }
    for (uint32_t i = 0; i < x->ticks; i++) {
        const double tick = axis_tick(x, i);
        const float at = floorf(r.x + r.w * (float)axis_place(x, tick));
        gui_line(io->g, at, r.y, at, r.y + r.h, COLOUR_GRID, 1);
        axis_text(x, tick, text, sizeof text);
        gui_label(io->g, at, r.y + r.h + 0.65f * io->em, 0.5f, COLOUR_MUTED, text);
    }
    gui_outline(io->g, r, COLOUR_LINE, 1);
}

static void draw_curve(panel_io *io, const chart_plot *p, const chart_curve *c, float *points) {
    uint32_t at = chart_find(c->x, c->count, p->low);
    uint32_t end = chart_find(c->x, c->count, p->high);
    if (at) at--; /* lines come in from outside */
    if (end < c->count) end++;
    while (at < end) {
        const uint32_t count = chart_points(p, c, at, end, points, POINTS, &at);
        if (count > 1) gui_curve(io->g, points, count, c->colour, fmaxf(1, 0.1f * io->em));
        for (uint32_t i = 0; (c->dots || count == 1) && i < count; i++)
            gui_dot(io->g, points[2 * i], points[2 * i + 1], 0.2f * io->em, c->colour);
    }
}

static void draw_marks(panel_io *io, const chart *c, const chart_plot *p, const gui_canvas *mouse) {
    const chart_mark *near = NULL;
    for (uint32_t i = 0; i < c->mark_count; i++) {
        const chart_mark *m = &c->marks[i];
        if (m->x < p->low || m->x > p->high) continue;
        const float x = floorf(p->r.x + p->r.w * (float)((m->x - p->low) / (p->high - p->low)));
        gui_line(io->g, x, p->r.y, x, p->r.y + p->r.h, (m->colour & ~255u) | 0x90, 1);
        gui_dot(io->g, x, p->r.y, 0.25f * io->em, m->colour);
        gui_mark(io->g, (gui_rect){x, p->r.y, 1, p->r.h}, "%s.mark.%u", c->name, (unsigned)i);
        if (mouse->hovered && fabsf(mouse->x - x) < 0.5f * io->em &&
            mouse->y < p->r.y + 1.2f * io->em)
            near = m;
    }
    if (near) gui_tooltip(io->g, "step %.0f: %s", near->x, near->text);
}

/* Names stand beside the title where there is room, else in a line below it. */
static bool fits_beside(panel_io *io, const chart *c, float room) {
    float width = gui_label_width(io->g, c->title);
    for (uint32_t i = 0; i < c->curve_count; i++)
        width += gui_label_width(io->g, c->curves[i].name) + io->em;
    return c->curve_count < 2 || width <= room;
}

static void draw_legend(panel_io *io, const chart *c, gui_rect plot, float y) {
    float x = plot.x + plot.w;
    for (uint32_t i = c->curve_count; i-- > 0 && c->curve_count > 1;) {
        gui_label(io->g, x, y, 1, c->curves[i].colour, c->curves[i].name);
        x -= gui_label_width(io->g, c->curves[i].name) + 0.8f * io->em;
        if (x < plot.x) return;
    }
}

/* ---- Hover ---- */

/* The value of the point that is nearest to the step. */
static bool near_value(const chart_curve *c, double step, double *x, double *y) {
    if (!c->count) return false;
    uint32_t i = chart_find(c->x, c->count, step);
    if (i == c->count || (i && step - c->x[i - 1] < c->x[i] - step)) i--;
    *x = c->x[i];
    *y = c->y[i];
    return true;
}

static void draw_hover(panel_io *io, const chart *c, const chart_plot *p, double step, bool here) {
    const float at = floorf(p->r.x + p->r.w * (float)((step - p->low) / (p->high - p->low)));
    char text[512], number[32];
    int length = snprintf(text, sizeof text, "step %.0f", step);
    if (step < p->low || step > p->high) return;
    gui_line(io->g, at, p->r.y, at, p->r.y + p->r.h, 0xffffff50, 1);
    for (uint32_t i = 0; i < c->curve_count; i++) {
        double x, y;
        if (!near_value(&c->curves[i], step, &x, &y)) continue;
        axis_number(c->percent ? 100 * y : y, number, sizeof number);
        if (length < (int)sizeof text)
            length += snprintf(text + length, sizeof text - (size_t)length, "\n%s %s%s",
                               c->curves[i].name, number, c->percent ? "%" : "");
        const double height = p->logarithmic ? log10(y) : y;
        if (!isfinite(height) || x < p->low || x > p->high) continue;
        gui_dot(io->g, p->r.x + p->r.w * (float)((x - p->low) / (p->high - p->low)),
                p->r.y + p->r.h * (float)((p->top - height) / (p->top - p->bottom)), 0.22f * io->em,
                c->curves[i].colour);
    }
    if (here) gui_tooltip(io->g, "%s", text);
}

void chart_draw(panel_io *io, const chart *c, float width, float height, chart_view *view,
                double *next_hover) {
    const gui_canvas canvas = gui_canvas_add(io->g, c->name, width, height);
    const float left = 3.6f * io->em, room = floorf(width - left - 0.8f * io->em);
    const bool beside = fits_beside(io, c, room);
    const float top = (beside ? 1.4f : 2.5f) * io->em, bottom = 1.5f * io->em;
    const gui_rect r = {floorf(canvas.r.x + left), floorf(canvas.r.y + top), room,
                        floorf(height - top - bottom)};
    gui_label(io->g, r.x, canvas.r.y + 0.6f * io->em, 0, COLOUR_TEXT, c->title);
    if (r.w < 2 * io->em || r.h < io->em || !c->curve_count || !(c->most > c->least)) return;
    zoom(c, &canvas, r, view);
    const bool all = !(view->high > view->low);
    const axis x = axis_make(all ? c->least : view->low, all ? c->most : view->high, false, false,
                             (uint32_t)fmaxf(3, r.w / (4.5f * io->em)));
    const axis y = value_axis(c, x.low, x.high, r.h / (2 * io->em));
    const chart_plot p = {.r = r,
                          .low = x.low,
                          .high = x.high,
                          .bottom = y.logarithmic ? log10(y.low) : y.low,
                          .top = y.logarithmic ? log10(y.high) : y.high,
                          .logarithmic = y.logarithmic};
    float *points = malloc(POINTS * sizeof *points);
    if (!points) return;
    draw_grid(io, c, r, &x, &y);
    gui_clip(io->g, (gui_rect){r.x, r.y - 4, r.w, r.h + 8});
    for (uint32_t i = 0; i < c->curve_count; i++)
        draw_curve(io, &p, &c->curves[i], points);
    draw_marks(io, c, &p, &canvas);
    gui_unclip(io->g);
    draw_legend(io, c, r, r.y - 0.8f * io->em);
    gui_mark(io->g, r, "%s.plot", c->name);
    free(points);
    const bool inside = canvas.hovered && canvas.x >= r.x && canvas.x <= r.x + r.w;
    const double step = x.low + (x.high - x.low) * (double)((canvas.x - r.x) / r.w);
    if (inside) *next_hover = step;
    if (inside || view->hover >= 0)
        draw_hover(io, c, &p, inside ? step : view->hover,
                   inside && canvas.y > r.y + 1.2f * io->em);
}
