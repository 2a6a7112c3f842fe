// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <stdio.h>
#include <string.h>

#include "base/platform.h"

enum { LINE = 512, BAR = 24 };

void cli_progress_init(cli_progress *p) {
    *p = (cli_progress){.terminal = vkd__is_terminal(2), .last = -1e9};
}

void cli_progress_clear(cli_progress *p) {
    if (p->drawn) fprintf(stderr, "\n");
    p->drawn = false;
}

static void time_text(double seconds, char *out, size_t size) {
    const unsigned long all = seconds < 1e8 ? (unsigned long)(seconds + 0.5) : 99999999ul;
    if (all < 60)
        snprintf(out, size, "%lus", all);
    else if (all < 3600)
        snprintf(out, size, "%lum%02lus", all / 60, all % 60);
    else
        snprintf(out, size, "%luh%02lum", all / 3600, all / 60 % 60);
}

/* Appends while there is room; what does not fit is left out. */
static void append(char *line, size_t size, const char *text) {
    const size_t used = strlen(line);
    snprintf(line + used, size - used, "%s", text);
}

static void head(const vkd_progress *now, char *out, size_t size) {
    if (now->seed_count > 1)
        snprintf(out, size, "seed %u/%u %u/%u %s", (unsigned)now->seed_index + 1,
                 (unsigned)now->seed_count, (unsigned)now->phase_index + 1,
                 (unsigned)now->phase_count, now->phase);
    else
        snprintf(out, size, "%u/%u %s", (unsigned)now->phase_index + 1, (unsigned)now->phase_count,
                 now->phase);
}

static void figures(const vkd_progress *now, char *out, size_t size) {
    char part[128], left[32];
    snprintf(out, size, " loss %.4f", now->loss);
    for (uint32_t i = 0; i < now->term_count && now->term_count > 1; i++) {
        snprintf(part, sizeof part, " %s %.4f", now->terms[i], now->values[i]);
        append(out, size, part);
    }
    if (now->test_accuracy >= 0) {
        snprintf(part, sizeof part, " test %.2f%%", 100 * now->test_accuracy);
        append(out, size, part);
    }
    time_text(now->seconds_left, left, sizeof left);
    snprintf(part, sizeof part, " %.0f samples/s, %s left", now->samples_per_second, left);
    append(out, size, part);
}

static void draw_bar(cli_progress *p, const vkd_progress *now) {
    char line[LINE] = "", text[LINE];
    const uint32_t full = (uint32_t)(now->steps ? BAR * now->step / now->steps : BAR);
    head(now, text, sizeof text);
    append(line, sizeof line, text);
    append(line, sizeof line, " [");
    for (uint32_t i = 0; i < BAR; i++)
        append(line, sizeof line, i < full ? "#" : ".");
    snprintf(text, sizeof text, "] %llu/%llu", (unsigned long long)now->step,
             (unsigned long long)now->steps);
    append(line, sizeof line, text);
    figures(now, text, sizeof text);
    append(line, sizeof line, text);
    const uint32_t width = vkd__terminal_width();
    if (width > 1 && width - 1 < LINE) line[width - 1] = 0;
    fprintf(stderr, "\r\033[K%s", line);
    fflush(stderr);
    p->drawn = true;
}

static void print_line(const vkd_progress *now) {
    char where[LINE], text[LINE];
    head(now, where, sizeof where);
    figures(now, text, sizeof text);
    fprintf(stderr, "%s step %llu/%llu%s\n", where, (unsigned long long)now->step,
            (unsigned long long)now->steps, text);
}

void cli_progress_show(cli_progress *p, const vkd_progress *now) {
    const bool last = now->step == now->steps;
    if (p->terminal) {
        draw_bar(p, now);
        if (last) cli_progress_clear(p);
        return;
    }
    /* A log file wants a line now and then, not one for every row of the metrics. */
    const double seconds = vkd__seconds();
    if (!last && seconds - p->last < 5 && !strcmp(p->phase, now->phase)) return;
    snprintf(p->phase, sizeof p->phase, "%s", now->phase);
    p->last = seconds;
    print_line(now);
}
