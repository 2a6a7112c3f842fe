// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/app.h"
#include "viewer/options.h"

static const cli_option options[] = {
    {"--screenshot", CLI_TEXT, offsetof(view_options, screenshot), "FILE",
     "draw one frame into a PNG, without a window, and end"},
    {"--panel", CLI_TEXT, offsetof(view_options, panel), "NAME", "one panel alone"},
    {"--size", CLI_TEXT, offsetof(view_options, size_text), "WxH",
     "pixels of the window or picture (1600x1000)"},
    {"--scale", CLI_TEXT, offsetof(view_options, scale_text), "S",
     "size of text and lines, 0.5 to 4 (the screen's)"},
    {"--sample", CLI_TEXT, offsetof(view_options, sample_text), "N",
     "the sample of the test split to begin with (0)"},
    {"--tau", CLI_TEXT, offsetof(view_options, tau_text), "T",
     "the temperature to begin with, 0.5 to 50 (the recipe's)"},
    {"--device", CLI_TEXT, offsetof(view_options, device), "D",
     "to draw and compute on: index, part of the name, or amd, intel, nvidia, gpu, cpu"},
    {"--font", CLI_TEXT, offsetof(view_options, font), "FILE", "a TrueType font for the text"},
    {"--validate", CLI_FLAG, offsetof(view_options, validate), NULL,
     "with the Vulkan validation layers"},
    {"--help", CLI_FLAG, offsetof(view_options, help), NULL, "this text"},
    {"--version", CLI_FLAG, offsetof(view_options, version), NULL, "the version"},
};

static vkd_result number(vkd_ctx *ctx, const char *option, const char *text, double low,
                         double high, bool whole, double *out) {
    char *end = NULL;
    errno = 0;
    *out = strtod(text, &end);
    if (!*text || *end || errno || !(*out >= low && *out <= high) ||
        (whole && *out != (double)(uint64_t)*out))
        return vkd__fail(ctx, VKD_E_ARGUMENT, "%s is '%s', must be a%s number from %g to %g",
                         option, text, whole ? " whole" : "", low, high);
    return VKD_OK;
}

static vkd_result read_numbers(vkd_ctx *ctx, view_options *o) {
    double value = 0;
    vkd_result r = VKD_OK;
    if (o->scale_text) {
        r = number(ctx, "--scale", o->scale_text, 0.5, 4, false, &value);
        if (!r) o->scale = (float)value;
    }
    if (!r && o->tau_text) {
        r = number(ctx, "--tau", o->tau_text, 0.5, 50, false, &value);
        if (!r) o->tau = (float)value;
    }
    if (!r && o->sample_text) {
        r = number(ctx, "--sample", o->sample_text, 0, 4294967294.0, true, &value);
        if (!r) o->sample = (uint32_t)value;
    }
    if (!r && o->size_text) {
        unsigned width = 0, height = 0;
        char rest = 0;
        if (sscanf(o->size_text, "%5ux%5u%c", &width, &height, &rest) != 2 || width < 200 ||
            height < 150 || width > 16384 || height > 16384)
            return vkd__fail(ctx, VKD_E_ARGUMENT,
                             "--size is '%s', must be WIDTHxHEIGHT, from 200x150 to 16384x16384",
                             o->size_text);
        o->width = width;
        o->height = height;
    }
    return r;
}

static vkd_result check_panel(vkd_ctx *ctx, const char *name) {
    const char *names[PANEL_COUNT];
    if (!name || app_find_panel(name) < PANEL_COUNT) return VKD_OK;
    for (uint32_t i = 0; i < PANEL_COUNT; i++)
        names[i] = panels[i]->name;
    const char *near = vkd__nearest(name, names, PANEL_COUNT);
    return vkd__fail(ctx, VKD_E_ARGUMENT,
                     "unknown panel '%s'%s%s%s; `vkdistill-view --help` "
                     "lists them",
                     name, near ? ", did you mean '" : "", near ? near : "", near ? "'" : "");
}

vkd_result view_options_read(vkd_ctx *ctx, int count, char **words, view_options *out) {
    cli_words rest = {0};
    *out = (view_options){0};
    vkd_result r = cli_parse(ctx, options, VKD_COUNT(options), out, &rest, count, words);
    if (r || out->help || out->version) return r;
    if (rest.count != 1)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "one run's folder is wanted: vkdistill-view RUN");
    out->folder = rest.v[0];
    r = check_panel(ctx, out->panel);
    if (!r) r = read_numbers(ctx, out);
    if (!r && out->font) {
        FILE *f = fopen(out->font, "rb");
        if (!f)
            return vkd__fail(ctx, VKD_E_FILE, "cannot open '%s': %s", out->font, strerror(errno));
        fclose(f);
    }
    return r;
}

void view_options_help(FILE *out) {
    fprintf(out,
            "usage: vkdistill-view RUN [OPTIONS]\n\n"
            "Shows a training run, under way or finished, from its folder: soft labels, attention\n"
            "maps, curves, relations, classes and samples. A running trainer takes another\n"
            "temperature and other loss weights from here; it never waits for the viewer, and\n"
            "either may end at any time.\n\n");
    for (size_t i = 0; i < VKD_COUNT(options); i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", options[i].name,
                 options[i].parameter ? options[i].parameter : "");
        fprintf(out, "  %-22s %s\n", left, options[i].help);
    }
    fprintf(out, "\npanels:");
    for (uint32_t i = 0; i < PANEL_COUNT; i++)
        fprintf(out, " %s", panels[i]->name);
    fprintf(out, "\n");
}
