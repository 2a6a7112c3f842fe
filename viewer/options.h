// SPDX-License-Identifier: Apache-2.0
#ifndef VKD_VIEWER_OPTIONS_H
#define VKD_VIEWER_OPTIONS_H

#include "cli/cli.h"

typedef struct view_options {
    const char *folder;
    const char *screenshot; /* NULL: a window */
    const char *panel;      /* its name, or NULL */
    const char *device, *font, *size_text, *scale_text, *tau_text, *sample_text;
    uint32_t width, height; /* 0: not given */
    float scale;            /* 0: the screen's */
    float tau;              /* 0: the recipe's */
    uint32_t sample;
    bool validate, help, version;
} view_options;

/* Errors: VKD_E_ARGUMENT. */
vkd_result view_options_read(vkd_ctx *ctx, int count, char **words, view_options *out);
void view_options_help(FILE *out);

#endif
