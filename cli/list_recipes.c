// SPDX-License-Identifier: Apache-2.0
/* vkdistill list recipes: the files of ./recipes, or of the folder that was installed, each with
 * the comment it begins with. */
#include <jansson.h>
#include <string.h>

#include "base/platform.h"
#include "cli/list.h"

/* Without the comment signs, lines kept apart by newlines, or by spaces for JSON. */
static void read_comment(const vkd__mapping *file, char separator, vkd__text *out) {
    const char *at = (const char *)file->bytes, *end = at + file->size;
    while (at < end && *at == '#') {
        const char *line = at + 1, *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        while (line < stop && *line == ' ')
            line++;
        if (out->length) vkd__text_add(out, "%c", separator);
        vkd__text_add(out, "%.*s", (int)(stop - line), line);
        at = stop < end ? stop + 1 : end;
    }
}

static vkd_result show(vkd_ctx *ctx, const char *folder, const char *name, json_t *all) {
    vkd__text path = {.ctx = ctx}, comment = {.ctx = ctx};
    vkd__mapping file = {0};
    vkd__text_add(&path, "%s/%s", folder, name);
    vkd_result r = path.failed ? VKD_E_MEMORY : vkd__map_file(ctx, path.text, &file);
    if (!r) read_comment(&file, all ? ' ' : '\n', &comment);
    if (!r && comment.failed) r = VKD_E_MEMORY;
    const char *text = comment.text ? comment.text : "";
    if (!r && all)
        json_array_append_new(all, json_pack("{s:s, s:s}", "name", path.text, "summary", text));
    if (!r && !all) {
        puts(path.text);
        while (*text) {
            const size_t length = strcspn(text, "\n");
            printf("    %.*s\n", (int)length, text);
            text += length + (text[length] == '\n');
        }
    }
    vkd__unmap_file(&file);
    vkd__text_term(&path);
    vkd__text_term(&comment);
    return r;
}

vkd_result cli_list_recipes(vkd_ctx *ctx, bool json) {
    static const char *const folders[] = {"recipes", VKD_RECIPE_FOLDER};
    const char *folder = vkd__file_exists(folders[0]) ? folders[0] : folders[1];
    char **names = NULL;
    size_t count = 0;
    json_t *all = json ? json_array() : NULL;
    vkd_result r = vkd__list_folder(ctx, folder, ".yaml", &names, &count);
    for (size_t i = 0; i < count && !r; i++)
        r = show(ctx, folder, names[i], all);
    if (!r && json) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    for (size_t i = 0; i < count; i++)
        vkd__free(ctx, names[i]);
    vkd__free(ctx, names);
    json_decref(all);
    return r;
}
