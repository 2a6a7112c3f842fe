// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <string.h>

#include "cli/cli.h"

void cli_table_row(cli_table *t, const char *const *cells) {
    if (!VKD__RESERVE(t->ctx, t->rows, t->row_count, t->row_capacity)) return;
    char **row = vkd__alloc(t->ctx, t->columns, sizeof *row);
    if (!row) return;
    for (size_t i = 0; i < t->columns; i++)
        row[i] = vkd__strdup(t->ctx, cells[i] ? cells[i] : "");
    t->rows[t->row_count++] = row;
}

/* Columns of a UTF-8 text, good enough for what we print: bytes that start a character. */
static size_t width_of(const char *text) {
    size_t width = 0;
    for (; text && *text; text++)
        width += ((unsigned char)*text & 0xc0u) != 0x80u;
    return width;
}

/* A column is numeric when its first cell below the heading begins like a number. */
static bool is_numeric(const cli_table *t, size_t column) {
    for (size_t i = 1; i < t->row_count; i++) {
        const char *cell = t->rows[i][column];
        if (!cell || !*cell || !strcmp(cell, "-")) continue;
        return isdigit((unsigned char)cell[0]) ||
               (cell[0] == '-' && isdigit((unsigned char)cell[1]));
    }
    return false;
}

static void print_padding(FILE *out, size_t count) {
    while (count--)
        fputc(' ', out);
}

void cli_table_print(const cli_table *t, FILE *out) {
    for (size_t row = 0; row < t->row_count; row++) {
        for (size_t column = 0; column < t->columns; column++) {
            size_t widest = 0;
            for (size_t i = 0; i < t->row_count; i++) {
                const size_t width = width_of(t->rows[i][column]);
                if (width > widest) widest = width;
            }
            const char *cell = t->rows[row][column] ? t->rows[row][column] : "";
            const size_t padding = widest - width_of(cell);
            const bool right = is_numeric(t, column), last = column + 1 == t->columns;
            if (right) print_padding(out, padding);
            fputs(cell, out);
            if (!right && !last) print_padding(out, padding);
            if (!last) fputs("  ", out);
        }
        fputc('\n', out);
    }
}

void cli_table_markdown(const cli_table *t, FILE *out) {
    for (size_t row = 0; row < t->row_count; row++) {
        for (size_t column = 0; column < t->columns; column++)
            fprintf(out, "| %s ", t->rows[row][column] ? t->rows[row][column] : "");
        fputs("|\n", out);
        for (size_t column = 0; row == 0 && column < t->columns; column++)
            fputs(is_numeric(t, column) ? "|--:" : "|---", out);
        if (row == 0) fputs("|\n", out);
    }
}

void cli_table_term(cli_table *t) {
    for (size_t i = 0; i < t->row_count; i++) {
        for (size_t k = 0; k < t->columns; k++)
            vkd__free(t->ctx, t->rows[i][k]);
        vkd__free(t->ctx, t->rows[i]);
    }
    vkd__free(t->ctx, t->rows);
    *t = (cli_table){.ctx = t->ctx, .columns = t->columns};
}
