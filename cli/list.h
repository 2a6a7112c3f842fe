// SPDX-License-Identifier: Apache-2.0
#ifndef VKD_CLI_LIST_H
#define VKD_CLI_LIST_H

#include "cli/cli.h"

/* `list recipes`, which is about files and not about a register. Errors: VKD_E_FILE. */
vkd_result cli_list_recipes(vkd_ctx *ctx, bool json);

/* `list models --taps`: one of `recipe` and `input` says what the models are built for. Errors:
 * those of recipes and data sets. */
typedef struct cli_taps {
    const char *recipe, *input;
    cli_words sets;
    uint32_t classes; /* for `input` */
} cli_taps;
vkd_result cli_list_taps(vkd_ctx *ctx, const cli_taps *o, bool json);

#endif
