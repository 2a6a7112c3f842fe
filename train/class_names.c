// SPDX-License-Identifier: Apache-2.0
/* The names of a model's classes in its file's metadata, one a line. Classes are numbers to a
 * model, so that a data set with the same names in another order makes nonsense of it without a
 * word. */
#include <string.h>

#include "train/model_file.h"

void vkd__class_names_free(vkd_ctx *ctx, char **names, uint32_t classes) {
    for (uint32_t i = 0; names && i < classes; i++)
        vkd__free(ctx, names[i]);
    vkd__free(ctx, names);
}

vkd_result vkd__class_names_read(vkd_ctx *ctx, const vkd__st_file *file, const char *path,
                                 uint32_t classes, char ***out) {
    const char *text = vkd__st_metadata(file, "class_names");
    *out = NULL;
    if (!text) return VKD_OK;
    char **names = vkd__alloc(ctx, classes, sizeof *names);
    vkd_result r = names ? VKD_OK : VKD_E_MEMORY;
    uint32_t count = 0;
    for (const char *at = text; !r && *at; count++) {
        const size_t length = strcspn(at, "\n");
        if (count < classes) {
            names[count] = vkd__alloc(ctx, length + 1, 1);
            if (names[count])
                memcpy(names[count], at, length);
            else
                r = VKD_E_MEMORY;
        }
        at += length + (at[length] == '\n');
    }
    if (!r && count != classes)
        r = vkd__fail(ctx, VKD_E_FORMAT, "'%s' names %u classes and has %u", path, (unsigned)count,
                      (unsigned)classes);
    if (r)
        vkd__class_names_free(ctx, names, classes);
    else
        *out = names;
    return r;
}

vkd_result vkd__class_names_agree(vkd_ctx *ctx, const char *path, char *const *file,
                                  char *const *data, uint32_t classes) {
    uint32_t first = classes;
    for (uint32_t i = 0; file && data && i < classes; i++) {
        if (!strcmp(file[i], data[i])) continue;
        if (first == classes) first = i;
        for (uint32_t k = 0; k < classes; k++)
            if (!strcmp(file[i], data[k]))
                return vkd__fail(ctx, VKD_E_SHAPE,
                                 "'%s' has '%.100s' as class %u, the data as class %u: their "
                                 "classes are in another order",
                                 path, file[i], (unsigned)i, (unsigned)k);
    }
    if (first < classes)
        vkd__log(ctx, VKD_LOG_WARNING, "class %u is '%.100s' in '%s' and '%.100s' in the data",
                 (unsigned)first, file[first], path, data[first]);
    return VKD_OK;
}
