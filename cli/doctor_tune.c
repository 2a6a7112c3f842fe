// SPDX-License-Identifier: Apache-2.0
/* The sizes that the tuner chose, for `vkdistill doctor`. */
#include "cli/doctor_tune.h"

#include <string.h>

#include "cli/cli.h"

static bool changes_bits(const char *name) {
    for (size_t i = 0; i < vkd__knob_count; i++)
        if (!strcmp(vkd__knobs[i].name, name)) return vkd__knobs[i].changes_bits;
    return true;
}

static void microseconds(char *out, size_t size, uint64_t ns) {
    if (ns)
        snprintf(out, size, "%.1f", (double)ns / 1e3);
    else
        snprintf(out, size, "-");
}

void cli_tuning_print(vkd_ctx *ctx, const vkd__tuning *t, const char *why) {
    if (!t) {
        printf("sizes: the table's, not tuned yet%s%s\n", *why ? "; the file is ignored: " : "",
               why);
        return;
    }
    printf("sizes, tuned (%s):\n", t->full ? "full" : "quick");
    cli_table table = {.ctx = ctx, .columns = 7};
    cli_table_row(&table, (const char *const[]){"", "table", "us", "chosen", "us", "tried",
                                                "may change bits"});
    for (uint32_t i = 0; i < t->count; i++) {
        const vkd__tuned *k = &t->knob[i];
        char before[32], after[32], tried[32];
        microseconds(before, sizeof before, k->table_ns);
        microseconds(after, sizeof after, k->chosen_ns);
        snprintf(tried, sizeof tried, "%u of %u", (unsigned)k->tried, (unsigned)k->candidates);
        cli_table_row(&table, (const char *const[]){k->name, k->table, before, k->chosen, after,
                                                    tried, changes_bits(k->name) ? "yes" : "no"});
    }
    cli_table_print(&table, stdout);
    cli_table_term(&table);
}

json_t *cli_tuning_json(const vkd__tuning *t) {
    if (!t) return json_null();
    json_t *knobs = json_array();
    for (uint32_t i = 0; i < t->count; i++) {
        const vkd__tuned *k = &t->knob[i];
        json_array_append_new(knobs, json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:b}", "name",
                                               k->name, "table", k->table, "chosen", k->chosen,
                                               "table_us", (double)k->table_ns / 1e3, "chosen_us",
                                               (double)k->chosen_ns / 1e3, "tried", (int)k->tried,
                                               "candidates", (int)k->candidates, "changes_bits",
                                               changes_bits(k->name)));
    }
    return json_pack("{s:s, s:o}", "mode", t->full ? "full" : "quick", "knobs", knobs);
}
