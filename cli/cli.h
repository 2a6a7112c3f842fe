// SPDX-License-Identifier: Apache-2.0
/* What the commands share. Each command is one file, cli/<name>.c, and one line of
 * commands.def.
 */
#ifndef VKD_CLI_H
#define VKD_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "base/base.h"

typedef struct cli_command {
    const char *name;
    const char *arguments; /* "RECIPE [OPTIONS]" */
    const char *summary;   /* one line for the list of commands */
    const char *help;      /* what it does, in a paragraph or two; options are appended */
    vkd_result (*run)(vkd_ctx *ctx, int count, char **words);
    const struct cli_option *(*options)(size_t *count); /* for the help text */
    bool quiet; /* only warnings and errors on standard error: its output is for programs to read */
    void (*more)(int count, char **words); /* or NULL: prints what depends on the arguments */
} cli_command;

#define CLI_COMMAND(name) extern const cli_command cli_##name;
#include "cli/commands.def"
#undef CLI_COMMAND

/* ---- Options ---- */

#define CLI_MANY 64

typedef struct cli_words {
    const char *v[CLI_MANY];
    size_t count;
} cli_words;

typedef enum cli_kind {
    CLI_FLAG, /* bool */
    CLI_TEXT, /* const char * */
    CLI_U32,  /* uint32_t */
    CLI_MORE  /* cli_words: may be given again and again */
} cli_kind;

typedef struct cli_option {
    const char *name; /* "--device" */
    cli_kind kind;
    size_t offset;         /* into the command's struct of options */
    const char *parameter; /* "D", for the help text; NULL for a flag */
    const char *help;
} cli_option;

/* Reads words into the struct `into`; what is no option goes to `rest`. "--name value" and
 * "--name=value" both work; "--" ends the options. Errors: VKD_E_ARGUMENT, with the nearest option.
 */
vkd_result cli_parse(vkd_ctx *ctx, const cli_option *options, size_t count, void *into,
                     cli_words *rest, int word_count, char **words);

/* ---- Output ---- */

/* Columns that fit their contents; numbers to the right. The first row is the heading. */
typedef struct cli_table {
    vkd_ctx *ctx;
    char ***rows;
    size_t row_count, row_capacity;
    size_t columns;
} cli_table;

/* One row: `columns` texts, copied. */
void cli_table_row(cli_table *t, const char *const *cells);
void cli_table_print(const cli_table *t, FILE *out);
void cli_table_markdown(const cli_table *t, FILE *out);
void cli_table_term(cli_table *t);

/* The row of a command that opens a device for work; `struct_` has a `const char *tune`. */
#define CLI_TUNE(struct_)                                                                          \
    {                                                                                              \
        "--tune", CLI_TEXT, offsetof(struct_, tune), "MODE",                                       \
            "off, quick or full: time workgroups and tiles at first use (quick)"                   \
    }
/* The mode that --tune gives, else VKD_TUNE, else quick. Errors: VKD_E_ARGUMENT. */
vkd_result cli_tune_mode(vkd_ctx *ctx, const char *tune, vkd_tune *out);

/* Opens the device that --device or VKD_DEVICE names, with the table's sizes. */
vkd_result cli_open_device(vkd_ctx *ctx, const char *choice, vkd_device **out);
/* The same for work: with the sizes that `tune`, as --tune gives it or NULL, asks for. */
vkd_result cli_open_tuned(vkd_ctx *ctx, const char *choice, const char *tune, vkd_device **out);

#endif
