// SPDX-License-Identifier: Apache-2.0
#ifndef VKD_CLI_LIST_H
#define VKD_CLI_LIST_H

#include "cli/cli.h"

/* `list recipes`, which is about files and not about a register. Errors: VKD_E_FILE. */
vkd_result cli_list_recipes(vkd_ctx *ctx, bool json);

#endif
