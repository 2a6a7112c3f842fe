// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const cli_option *find(vkd_ctx *ctx, const cli_option *options, size_t count,
                              const char *word, size_t length) {
    const char *names[CLI_MANY];
    VKD_ASSERT(count <= CLI_MANY);
    for (size_t i = 0; i < count; i++) {
        if (strlen(options[i].name) == length && !memcmp(options[i].name, word, length))
            return &options[i];
        names[i] = options[i].name;
    }
    const char *near = vkd__nearest(word, names, count);
    vkd__fail(ctx, VKD_E_ARGUMENT, "unknown option '%s'%s%s%s", word,
              near ? ", did you mean '" : "", near ? near : "", near ? "'" : "");
    return NULL;
}

static vkd_result add_word(vkd_ctx *ctx, cli_words *words, const char *word) {
    if (words->count == CLI_MANY)
        return vkd__fail(ctx, VKD_E_ARGUMENT, "more than %d arguments, from '%s' on", CLI_MANY,
                         word);
    words->v[words->count++] = word;
    return VKD_OK;
}

static vkd_result set(vkd_ctx *ctx, const cli_option *o, void *into, const char *value) {
    void *field = (char *)into + o->offset;
    if (o->kind == CLI_TEXT) *(const char **)field = value;
    if (o->kind == CLI_MORE) return add_word(ctx, field, value);
    if (o->kind == CLI_U32) {
        char *end = NULL;
        errno = 0;
        const unsigned long number = strtoul(value, &end, 10);
        if (!*value || *value == '-' || *end || errno || number > UINT32_MAX)
            return vkd__fail(ctx, VKD_E_ARGUMENT, "%s is '%s', must be a whole number", o->name,
                             value);
        *(uint32_t *)field = (uint32_t)number;
    }
    return VKD_OK;
}

vkd_result cli_parse(vkd_ctx *ctx, const cli_option *options, size_t count, void *into,
                     cli_words *rest, int word_count, char **words) {
    bool only_words = false;
    vkd_result r = VKD_OK;
    for (int i = 0; !r && i < word_count; i++) {
        const char *word = words[i];
        if (only_words || word[0] != '-' || !word[1]) {
            r = add_word(ctx, rest, word);
            continue;
        }
        if (!strcmp(word, "--")) {
            only_words = true;
            continue;
        }
        const char *equals = strchr(word, '=');
        const cli_option *o =
            find(ctx, options, count, word, equals ? (size_t)(equals - word) : strlen(word));
        if (!o) return VKD_E_ARGUMENT;
        if (o->kind == CLI_FLAG) {
            if (equals) return vkd__fail(ctx, VKD_E_ARGUMENT, "%s takes no value", o->name);
            *(bool *)((char *)into + o->offset) = true;
            continue;
        }
        if (!equals && ++i == word_count)
            return vkd__fail(ctx, VKD_E_ARGUMENT, "%s needs a value: %s %s", o->name, o->name,
                             o->parameter);
        r = set(ctx, o, into, equals ? equals + 1 : words[i]);
    }
    return r;
}

vkd_result cli_open_device(vkd_ctx *ctx, const char *choice, vkd_device **out) {
    return vkd_device_open(ctx, &(vkd_device_desc){.choice = choice}, out);
}

vkd_result cli_tune_mode(vkd_ctx *ctx, const char *tune, vkd_tune *out) {
    static const char *const words[] = {"off", "quick", "full"};
    static const vkd_tune modes[] = {VKD_TUNE_OFF, VKD_TUNE_QUICK, VKD_TUNE_FULL};
    const char *what = "--tune";
    if (!tune) {
        tune = getenv(what = "VKD_TUNE");
        if (!tune || !*tune) tune = "quick";
    }
    for (size_t i = 0; i < VKD_COUNT(words); i++) {
        if (strcmp(tune, words[i]) != 0) continue;
        *out = modes[i];
        return VKD_OK;
    }
    return vkd__fail(ctx, VKD_E_ARGUMENT, "%s is '%s', must be off, quick or full", what, tune);
}

vkd_result cli_open_tuned(vkd_ctx *ctx, const char *choice, const char *tune, vkd_device **out) {
    vkd_tune mode = VKD_TUNE_OFF;
    *out = NULL;
    vkd_result r = cli_tune_mode(ctx, tune, &mode);
    if (!r) r = cli_open_device(ctx, choice, out);
    if (!r && mode) r = vkd_device_tune(*out, mode);
    if (r) {
        vkd_device_close(*out);
        *out = NULL;
    }
    return r;
}
