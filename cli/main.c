// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "cli/cli.h"

#define CLI_COMMAND(name) &cli_##name,
static const cli_command *const commands[] = {
#include "cli/commands.def"
};
#undef CLI_COMMAND

/* Remarks, warnings and what the validation layers say; the error that ends a command is printed
 * once, at the end. A progress bar may stand on the line, which the text then replaces. */
static void show(void *user, vkd_log_level level, const char *message) {
    const bool *quiet = user;
    if (*quiet && level == VKD_LOG_INFO) return;
    if (level == VKD_LOG_ERROR && strncmp(message, "validation:", 11) != 0) return;
    fprintf(stderr, "%s%s%s\n", vkd__is_terminal(2) ? "\r\033[K" : "",
            level == VKD_LOG_WARNING ? "vkdistill: warning: " : "", message);
}

/* Several results may share a code: they stand on one line. */
static void print_exit_codes(FILE *out) {
    static const struct {
        int code;
        const char *text;
    } results[] = {
#define X(name, value, exit_code, text) {exit_code, text},
        VKD_RESULTS(X)
#undef X
    };
    fprintf(out, "\nexit codes:\n");
    for (size_t i = 0; i < VKD_COUNT(results); i++) {
        size_t first = 0;
        while (results[first].code != results[i].code)
            first++;
        if (first < i) continue;
        fprintf(out, "  %3d  %s", results[i].code, results[i].text);
        for (size_t k = i + 1; k < VKD_COUNT(results); k++)
            if (results[k].code == results[i].code) fprintf(out, "; %s", results[k].text);
        fputc('\n', out);
    }
}

static void print_usage(FILE *out) {
    fprintf(out,
            "vkdistill %s: distil neural networks on any Vulkan GPU\n\n"
            "usage: vkdistill COMMAND [ARGUMENTS]\n\n",
            VKD_VERSION);
    for (size_t i = 0; i < VKD_COUNT(commands); i++)
        fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out,
            "\n`vkdistill COMMAND --help` says more. The device is chosen by --device or by the\n"
            "variable VKD_DEVICE: an index, part of its name, or amd, intel, nvidia, gpu, cpu.\n");
    print_exit_codes(out);
}

static void print_help(const cli_command *c, FILE *out) {
    fprintf(out, "usage: vkdistill %s %s\n\n%s\n", c->name, c->arguments, c->help);
    size_t count = 0;
    const cli_option *options = c->options(&count);
    if (count) fprintf(out, "\n");
    for (size_t i = 0; i < count; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", options[i].name,
                 options[i].parameter ? options[i].parameter : "");
        fprintf(out, "  %-22s %s\n", left, options[i].help);
    }
}

static bool asks_for_help(int count, char **words) {
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++)
        if (!strcmp(words[i], "--help") || !strcmp(words[i], "-h")) return true;
    return false;
}

static const cli_command *find(vkd_ctx *ctx, const char *name) {
    const char *names[VKD_COUNT(commands)];
    for (size_t i = 0; i < VKD_COUNT(commands); i++) {
        if (!strcmp(commands[i]->name, name)) return commands[i];
        names[i] = commands[i]->name;
    }
    const char *near = vkd__nearest(name, names, VKD_COUNT(names));
    vkd__fail(ctx, VKD_E_ARGUMENT, "unknown command '%s'%s%s%s; `vkdistill --help` lists them",
              name, near ? ", did you mean '" : "", near ? near : "", near ? "'" : "");
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
        !strcmp(argv[1], "help")) {
        print_usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? vkd_result_exit_code(VKD_E_ARGUMENT) : EXIT_SUCCESS;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("vkdistill %s\n", VKD_VERSION);
        return EXIT_SUCCESS;
    }
    vkd_ctx *ctx = NULL;
    bool quiet = false;
    if (vkd_ctx_create(&(vkd_ctx_desc){.log = show, .user = &quiet}, &ctx)) {
        fprintf(stderr, "vkdistill: error: out of memory\n");
        return vkd_result_exit_code(VKD_E_MEMORY);
    }
    const cli_command *command = find(ctx, argv[1]);
    vkd_result r = VKD_E_ARGUMENT;
    if (command && asks_for_help(argc - 2, argv + 2)) {
        print_help(command, stdout);
        if (command->more) command->more(argc - 2, argv + 2);
        r = VKD_OK;
    } else if (command) {
        quiet = command->quiet;
        r = command->run(ctx, argc - 2, argv + 2);
    }
    /* A full disk behind standard output is a failure like any other. */
    if (fflush(stdout) && !r) r = vkd__fail(ctx, VKD_E_FILE, "cannot write to standard output");
    if (r) {
        const char *text = vkd_ctx_error(ctx);
        fprintf(stderr, "vkdistill: error: %s\n", *text ? text : vkd_result_text(r));
    }
    vkd_ctx_destroy(ctx);
    return vkd_result_exit_code(r);
}
