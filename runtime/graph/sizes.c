// SPDX-License-Identifier: Apache-2.0
/* A profile's sizes as text, and back: what a run's folder records. The text may come from a file,
 * so only what the table or a knob's candidates hold is ever taken from it. */
#include <string.h>

#include "graph/plan.h"

bool vkd__knob_applies(const vkd__knob *k, const vkd_profile *p) {
    vkd_profile copy = *p;
    for (uint32_t i = 0; i < k->count; i++)
        if (k->set(&copy, i)) return true;
    return false;
}

void vkd__sizes_text(const vkd_profile *p, vkd__text *out) {
    bool first = true;
    for (size_t i = 0; i < vkd__knob_count; i++) {
        char value[VKD__SIZE_TEXT];
        if (!vkd__knob_applies(&vkd__knobs[i], p)) continue;
        vkd__knobs[i].text(p, value);
        vkd__text_add(out, "%s%s=%s", first ? "" : "; ", vkd__knobs[i].name, value);
        first = false;
    }
}

static bool is(const char *text, const char *word, size_t length) {
    return strlen(text) == length && !memcmp(text, word, length);
}

static const vkd__knob *find(const char *name, size_t length) {
    for (size_t i = 0; i < vkd__knob_count; i++)
        if (is(vkd__knobs[i].name, name, length)) return &vkd__knobs[i];
    return NULL;
}

/* p holds the table's sizes of this knob. */
static bool set(const vkd__knob *k, const char *value, size_t length, vkd_profile *p) {
    char text[VKD__SIZE_TEXT];
    if (!vkd__knob_applies(k, p)) return false;
    k->text(p, text);
    if (is(text, value, length)) return true;
    for (uint32_t i = 0; i < k->count; i++) {
        vkd_profile other = *p;
        if (!k->set(&other, i)) continue;
        k->text(&other, text);
        if (!is(text, value, length)) continue;
        *p = other;
        return true;
    }
    return false;
}

vkd_result vkd__sizes_apply(vkd_ctx *ctx, const vkd_profile *table, const char *text,
                            vkd_profile *p) {
    vkd_profile made = *table;
    for (const char *at = text; *at;) {
        const size_t length = strcspn(at, ";");
        const char *equals = memchr(at, '=', length);
        const size_t name = equals ? (size_t)(equals - at) : length;
        const vkd__knob *k = find(at, name);
        if (!k || !equals || !set(k, equals + 1, length - name - 1, &made))
            return vkd__fail(ctx, VKD_E_ARGUMENT, "'%s' has no sizes '%.*s'", table->name,
                             length < 100 ? (int)length : 100, at);
        at += length;
        if (*at) at++;
        while (*at == ' ')
            at++;
    }
    *p = made;
    return VKD_OK;
}
