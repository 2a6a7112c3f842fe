// SPDX-License-Identifier: Apache-2.0
/* Numbers are written with a point whatever the program's locale is: strtod and printf follow the
 * locale, so their decimal point is exchanged on the way in and on the way out. */
#include "base/field.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Numbers --------------------------------------------------------------------------------- */

static const char *skip_digits(const char *c) {
    while (*c >= '0' && *c <= '9')
        c++;
    return c;
}

/* Whether the whole text is a decimal number; strtod would also take "0x1p3", "inf" and "nan". */
static bool is_number(const char *c) {
    if (*c == '-' || *c == '+') c++;
    const char *whole = c;
    c = skip_digits(c);
    size_t digits = (size_t)(c - whole);
    if (*c == '.') {
        const char *part = ++c;
        c = skip_digits(c);
        digits += (size_t)(c - part);
    }
    if (!digits) return false;
    if (*c == 'e' || *c == 'E') {
        c++;
        if (*c == '-' || *c == '+') c++;
        const char *power = c;
        c = skip_digits(c);
        if (c == power) return false;
    }
    return !*c;
}

static bool read_number(const char *text, double *out) {
    enum { LONGEST = 64 };
    if (strlen(text) >= LONGEST || !is_number(text)) return false;
    char local[LONGEST + 16];
    const char *point = strchr(text, '.');
    if (point)
        snprintf(local, sizeof local, "%.*s%.8s%s", (int)(point - text), text,
                 localeconv()->decimal_point, point + 1);
    else
        snprintf(local, sizeof local, "%s", text);
    *out = strtod(local, NULL);
    return true;
}

/* A number with as many digits as asked for, with a point. */
static void write_number(double value, int digits, char *out, size_t size) {
    char local[32];
    snprintf(local, sizeof local, "%.*g", digits, value);
    const char *mark = localeconv()->decimal_point, *at = strstr(local, mark);
    if (at)
        snprintf(out, size, "%.*s.%s", (int)(at - local), local, at + strlen(mark));
    else
        snprintf(out, size, "%s", local);
}

/* ---- What a field allows --------------------------------------------------------------------- */

/* The index-th of "a|b|c" and its length; NULL after the last. */
static const char *word_at(const char *words, size_t index, size_t *length) {
    for (; words; index--) {
        const char *end = strchr(words, '|');
        *length = end ? (size_t)(end - words) : strlen(words);
        if (!index) return words;
        words = end ? end + 1 : NULL;
    }
    return NULL;
}

/* A range of one value would leave nothing to configure, so it stands for "any". */
static bool bounded(const vkd__field *f) {
    return f->low < f->high;
}

static void range(const vkd__field *f, const char *what, char *out, size_t size) {
    char low[40], high[40];
    if (!bounded(f)) {
        snprintf(out, size, "%s", what);
        return;
    }
    write_number(f->low, 10, low, sizeof low);
    write_number(f->high, 10, high, sizeof high);
    snprintf(out, size, "%s%sfrom %s to %s", what, *what ? " " : "", low, high);
}

static void append(char *out, size_t size, const char *text, size_t length) {
    const size_t used = strlen(out);
    snprintf(out + used, size - used, "%.*s", (int)length, text);
}

static void allowed_words(const char *words, char *out, size_t size) {
    size_t length, after;
    const char *word;
    *out = 0;
    for (size_t i = 0; (word = word_at(words, i, &length)); i++) {
        const char *joint = word_at(words, i + 1, &after) ? ", " : " or ";
        if (i) append(out, size, joint, strlen(joint));
        append(out, size, word, length);
    }
}

void vkd__field_allowed(const vkd__field *f, char *out, size_t size) {
    switch (f->type) {
    case VKD__FIELD_F32:
        range(f, "a number", out, size);
        break;
    case VKD__FIELD_U32:
        range(f, "a whole number", out, size);
        break;
    case VKD__FIELD_BOOL:
        snprintf(out, size, "true or false");
        break;
    case VKD__FIELD_ENUM:
        allowed_words(f->words, out, size);
        break;
    case VKD__FIELD_TEXT:
        snprintf(out, size, "at most %d bytes of text", VKD__FIELD_TEXT_SIZE - 1);
        break;
    case VKD__FIELD_U32S:
        range(f, "a list of whole numbers", out, size);
        break;
    }
}

/* ---- Setting --------------------------------------------------------------------------------- */

/* One number of a field. On failure `why` is the part of the sentence after the key. */
static bool parse_number(const vkd__field *f, const char *text, double *value, char *why,
                         size_t size) {
    const bool is_float = f->type == VKD__FIELD_F32;
    char allowed[128];
    if (!read_number(text, value) || (!is_float && floor(*value) != *value)) {
        range(f, is_float ? "a number" : "a whole number", allowed, sizeof allowed);
        snprintf(why, size, "is '%.100s', must be %s", text, allowed);
        return false;
    }
    const double low = bounded(f) ? f->low : is_float ? -FLT_MAX : 0;
    const double high = bounded(f) ? f->high : is_float ? FLT_MAX : (double)UINT32_MAX;
    /* The largest float, written with nine digits, is a little above itself. */
    const double slack = is_float && !bounded(f) ? 0x1p102 : 0;
    if (*value >= low - slack && *value <= high + slack &&
        fabs(*value) <= (is_float ? FLT_MAX + 0x1p102 : (double)UINT32_MAX))
        return true;
    const vkd__field limits = {.low = low, .high = high};
    range(&limits, "", allowed, sizeof allowed);
    snprintf(why, size, "is %.100s, must be %s", text, allowed);
    return false;
}

static bool parse_bool(const char *text, bool *out, char *why, size_t size) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < VKD_COUNT(words); i++) {
        if (strcmp(text, words[i])) continue;
        *out = i & 1;
        return true;
    }
    snprintf(why, size, "is '%.100s', must be true or false", text);
    return false;
}

static bool parse_word(const vkd__field *f, const char *text, uint32_t *out, char *why,
                       size_t size) {
    enum { MOST = 32, LONGEST = 64 };
    char names[MOST][LONGEST];
    const char *pointers[MOST], *word;
    size_t count = 0, length;
    for (; (word = word_at(f->words, count, &length)); count++) {
        VKD_ASSERT(count < MOST && length < LONGEST);
        memcpy(names[count], word, length);
        names[count][length] = 0;
        pointers[count] = names[count];
        if (strcmp(text, names[count])) continue;
        *out = (uint32_t)count;
        return true;
    }
    char allowed[512];
    allowed_words(f->words, allowed, sizeof allowed);
    const char *near = vkd__nearest(text, pointers, count);
    snprintf(why, size, "is '%.100s', must be %s%s%s%s", text, allowed,
             near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
    return false;
}

/* "[1, 2]", and "1, 2" for the command line. */
static bool parse_list(const vkd__field *f, const char *text, vkd__u32s *out, char *why,
                       size_t size) {
    const char *end = text + strlen(text);
    const bool open = *text == '[', shut = end > text && end[-1] == ']';
    if (open != shut) {
        snprintf(why, size, "is '%.100s', must be a list such as [2, 3]", text);
        return false;
    }
    const char *c = text + open;
    end -= shut;
    *out = (vkd__u32s){0};
    if (c + strspn(c, " ") >= end) return true;
    for (;; c++) {
        c += strspn(c, " ");
        size_t length = strcspn(c, ",");
        if (c + length > end) length = (size_t)(end - c);
        const char *next = c + length;
        while (length && c[length - 1] == ' ')
            length--;
        char item[64];
        double value;
        snprintf(item, sizeof item, "%.*s", (int)(length < 63 ? length : 63), c);
        if (!parse_number(f, item, &value, why, size)) return false;
        if (out->count == VKD__FIELD_LIST) {
            snprintf(why, size, "has more than %d elements", VKD__FIELD_LIST);
            return false;
        }
        out->v[out->count++] = (uint32_t)value;
        c = next;
        if (c >= end) return true;
    }
}

static bool parse_text(const char *text, char *out, char *why, size_t size) {
    const size_t length = strlen(text);
    if (length < VKD__FIELD_TEXT_SIZE) {
        memset(out, 0, VKD__FIELD_TEXT_SIZE); /* equal settings are equal bytes */
        memcpy(out, text, length);
        return true;
    }
    snprintf(why, size, "has %zu bytes, must have at most %d", length, VKD__FIELD_TEXT_SIZE - 1);
    return false;
}

/* Writes the field only if the text is allowed. */
static bool parse(const vkd__field *f, void *config, const char *text, char *why, size_t size) {
    uint8_t *at = (uint8_t *)config + f->offset;
    double number;
    vkd__u32s list;
    switch (f->type) {
    case VKD__FIELD_F32:
        if (!parse_number(f, text, &number, why, size)) return false;
        memcpy(at, &(float){(float)number}, sizeof(float));
        return true;
    case VKD__FIELD_U32:
        if (!parse_number(f, text, &number, why, size)) return false;
        memcpy(at, &(uint32_t){(uint32_t)number}, sizeof(uint32_t));
        return true;
    case VKD__FIELD_BOOL:
        return parse_bool(text, (bool *)at, why, size);
    case VKD__FIELD_ENUM:
        return parse_word(f, text, (uint32_t *)(void *)at, why, size);
    case VKD__FIELD_TEXT:
        return parse_text(text, (char *)at, why, size);
    case VKD__FIELD_U32S:
        if (!parse_list(f, text, &list, why, size)) return false;
        memcpy(at, &list, sizeof list);
        return true;
    }
    return false;
}

void vkd__fields_init(const vkd__field *fields, size_t count, void *config) {
    for (size_t i = 0; i < count; i++) {
        const vkd__field *f = &fields[i];
        char why[1024];
        const bool lists = f->type == VKD__FIELD_U32S, texts = f->type == VKD__FIELD_TEXT;
        const char *preset = f->preset ? f->preset : lists ? "[]" : texts ? "" : NULL;
        const bool preset_is_allowed = preset && parse(f, config, preset, why, sizeof why);
        VKD_ASSERT(preset_is_allowed);
    }
}

static vkd_result unknown_key(vkd_ctx *ctx, const vkd__field *fields, size_t count,
                              const char *where, const char *colon, const char *key) {
    const char **names = vkd__alloc(ctx, count, sizeof *names);
    if (!names) return VKD_E_MEMORY;
    vkd__text all = {.ctx = ctx};
    for (size_t i = 0; i < count; i++) {
        names[i] = fields[i].name;
        vkd__text_add(&all, i ? ", %s" : "%s", fields[i].name);
    }
    const char *near = vkd__nearest(key, names, count);
    vkd_result r = VKD_E_MEMORY;
    if (all.failed)
        (void)r; /* vkd__alloc has reported it */
    else if (near)
        r = vkd__fail(ctx, VKD_E_RECIPE, "%s%sunknown key '%s', did you mean '%s'?", where, colon,
                      key, near);
    else if (!count)
        r = vkd__fail(ctx, VKD_E_RECIPE, "%s%sunknown key '%s', no key is known here", where, colon,
                      key);
    else
        r = vkd__fail(ctx, VKD_E_RECIPE, "%s%sunknown key '%s', the keys are %s", where, colon, key,
                      all.text);
    vkd__text_term(&all);
    vkd__free(ctx, names);
    return r;
}

vkd_result vkd__fields_set(vkd_ctx *ctx, const vkd__field *fields, size_t count, void *config,
                           const char *where, const char *key, const char *text) {
    if (!where) where = "";
    const char *colon = *where ? ": " : "";
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, key)) continue;
        char why[1024];
        if (parse(&fields[i], config, text, why, sizeof why)) return VKD_OK;
        return vkd__fail(ctx, VKD_E_RECIPE, "%s%s%s %s", where, colon, key, why);
    }
    return unknown_key(ctx, fields, count, where, colon, key);
}

/* ---- Getting --------------------------------------------------------------------------------- */

/* The fewest digits that read back as the same float; nine always do. */
static void write_float(float value, char *out, size_t size) {
    double back;
    for (int digits = 6; digits <= 9; digits++) {
        write_number((double)value, digits, out, size);
        if (read_number(out, &back) && (float)back == value) return;
    }
}

void vkd__fields_get(const vkd__field *field, const void *config, vkd__text *out) {
    const uint8_t *at = (const uint8_t *)config + field->offset;
    float number;
    uint32_t whole;
    vkd__u32s list;
    char text[64];
    size_t length = 0;
    const char *word;
    switch (field->type) {
    case VKD__FIELD_F32:
        memcpy(&number, at, sizeof number);
        write_float(number, text, sizeof text);
        vkd__text_add(out, "%s", text);
        break;
    case VKD__FIELD_U32:
        memcpy(&whole, at, sizeof whole);
        vkd__text_add(out, "%u", whole);
        break;
    case VKD__FIELD_BOOL:
        vkd__text_add(out, "%s", *(const bool *)at ? "true" : "false");
        break;
    case VKD__FIELD_ENUM:
        memcpy(&whole, at, sizeof whole);
        word = word_at(field->words, whole, &length);
        VKD_ASSERT(word);
        vkd__text_add(out, "%.*s", (int)length, word);
        break;
    case VKD__FIELD_TEXT:
        vkd__text_add(out, "%s", (const char *)at);
        break;
    case VKD__FIELD_U32S:
        memcpy(&list, at, sizeof list);
        vkd__text_add(out, "[");
        for (uint32_t i = 0; i < list.count; i++)
            vkd__text_add(out, i ? ", %u" : "%u", list.v[i]);
        vkd__text_add(out, "]");
        break;
    }
}
