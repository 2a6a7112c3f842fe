// SPDX-License-Identifier: Apache-2.0
/* vkd__tree_parse: a tree from the events of libyaml. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "train/tree.h"

/* A map or list whose end has not come yet. */
typedef struct open_node {
    vkd__tree *node;
    vkd__tree **tail; /* where the next child is hung up */
    const char *key;  /* MAP: read, and waiting for its value */
    const char *key_where;
} open_node;

typedef struct builder {
    vkd__arena *arena;
    const char *name;
    bool one_line;     /* then the name says enough, which suits "--set a.b=4" */
    size_t line;       /* that `where` is about, from 1; 0 at first */
    const char *where; /* of the event at hand */
    uint32_t depth, nodes;
    open_node open[VKD__TREE_DEPTH];
    vkd__tree *root;
} builder;

static VKD__PRINTF(2, 3) vkd_result refuse(const builder *b, const char *format, ...) {
    char what[700];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return vkd__fail(b->arena->ctx, VKD_E_RECIPE, "%.300s: %s", b->where, what);
}

/* Nodes of one line share one text. */
static vkd_result go_to(builder *b, const yaml_mark_t *mark) {
    const size_t line = mark->line + 1;
    if (b->one_line || b->line == line) return VKD_OK;
    const char *where = vkd__arena_format(b->arena, "%s:%zu", b->name, line);
    if (!where) return VKD_E_MEMORY;
    b->where = where;
    b->line = line;
    return VKD_OK;
}

/* Hangs a new node up where the open one expects it. */
static vkd_result add(builder *b, vkd__tree_kind kind, vkd__tree **out) {
    if (++b->nodes > VKD__TREE_NODES) return refuse(b, "more than %d values", VKD__TREE_NODES);
    vkd__tree *node = VKD_NEW(b->arena, vkd__tree, 1);
    if (!node) return VKD_E_MEMORY;
    *node = (vkd__tree){.kind = kind, .where = b->where};
    *out = node;
    if (!b->depth) {
        b->root = node;
        return VKD_OK;
    }
    open_node *in = &b->open[b->depth - 1];
    if (in->key) {
        node->key = in->key;
        node->where = in->key_where; /* the value may stand in a later line */
        in->key = NULL;
    }
    *in->tail = node;
    in->tail = &node->next;
    return VKD_OK;
}

static bool wants_key(const builder *b) {
    if (!b->depth) return false;
    const open_node *in = &b->open[b->depth - 1];
    return in->node->kind == VKD__TREE_MAP && !in->key;
}

static vkd_result take_key(builder *b, const char *text) {
    open_node *in = &b->open[b->depth - 1];
    const vkd__tree *same = in->node->first;
    while (same && strcmp(same->key, text))
        same = same->next;
    if (same)
        return refuse(b, "key '%.60s' is here a second time, the first is at %.300s", text,
                      same->where);
    in->key = text;
    in->key_where = b->where;
    return VKD_OK;
}

static vkd_result no_anchor_or_tag(const builder *b, const yaml_char_t *anchor,
                                   const yaml_char_t *tag) {
    if (anchor) return refuse(b, "anchor '&%.60s' is not supported, repeat the value", anchor);
    if (tag) return refuse(b, "tag '%.60s' is not supported, leave it out", tag);
    return VKD_OK;
}

static vkd_result on_scalar(builder *b, const yaml_event_t *event) {
    const char *value = (const char *)event->data.scalar.value;
    const size_t length = event->data.scalar.length;
    vkd_result r = no_anchor_or_tag(b, event->data.scalar.anchor, event->data.scalar.tag);
    if (r) return r;
    if (memchr(value, 0, length)) return refuse(b, "a text holds a zero byte");
    char *text = VKD_NEW(b->arena, char, length + 1);
    if (!text) return VKD_E_MEMORY;
    memcpy(text, value, length);
    if (wants_key(b)) return take_key(b, text);
    vkd__tree *node = NULL;
    r = add(b, VKD__TREE_TEXT, &node);
    if (!r) node->text = text;
    return r;
}

static vkd_result on_start(builder *b, vkd__tree_kind kind, const yaml_char_t *anchor,
                           const yaml_char_t *tag) {
    vkd_result r = no_anchor_or_tag(b, anchor, tag);
    if (r) return r;
    if (wants_key(b)) return refuse(b, "a key must be plain text");
    if (b->depth == VKD__TREE_DEPTH) return refuse(b, "nested more than %d deep", VKD__TREE_DEPTH);
    vkd__tree *node = NULL;
    r = add(b, kind, &node);
    if (!r) b->open[b->depth++] = (open_node){.node = node, .tail = &node->first};
    return r;
}

static vkd_result on_event(builder *b, const yaml_event_t *event) {
    vkd_result r = go_to(b, &event->start_mark);
    if (r) return r;
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return b->root ? refuse(b, "a second document starts here, one is allowed") : VKD_OK;
    case YAML_ALIAS_EVENT:
        return refuse(b, "alias '*%.60s' is not supported, repeat the value",
                      event->data.alias.anchor);
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, VKD__TREE_LIST, event->data.sequence_start.anchor,
                        event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return on_start(b, VKD__TREE_MAP, event->data.mapping_start.anchor,
                        event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        b->depth--;
        return VKD_OK;
    case YAML_STREAM_END_EVENT:
        return b->root ? VKD_OK : refuse(b, "there is nothing in it");
    default:
        return VKD_OK;
    }
}

/* What libyaml says of a text that it cannot read. */
static vkd_result parser_failed(builder *b, const yaml_parser_t *parser) {
    if (parser->error == YAML_MEMORY_ERROR)
        return vkd__fail(b->arena->ctx, VKD_E_MEMORY, "no memory to read '%s'", b->name);
    const char *problem = parser->problem ? parser->problem : "this is not YAML";
    if (parser->error == YAML_READER_ERROR) {
        b->where = b->name;
        return refuse(b, "%s at byte %zu", problem, parser->problem_offset);
    }
    const vkd_result r = go_to(b, &parser->problem_mark);
    if (r) return r;
    return refuse(b, "%s%s%s", problem, parser->context ? " " : "",
                  parser->context ? parser->context : "");
}

static vkd_result build(builder *b, const char *text, size_t size) {
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return vkd__fail(b->arena->ctx, VKD_E_MEMORY, "no memory to read '%s'", b->name);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)(size ? text : ""), size);
    vkd_result r = VKD_OK;
    for (bool end = false; !r && !end;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            r = parser_failed(b, &parser);
            break;
        }
        r = on_event(b, &event);
        end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return r;
}

vkd_result vkd__tree_parse(vkd__arena *arena, const char *name, const char *text, size_t size,
                           vkd__tree **out) {
    *out = NULL;
    builder b = {.arena = arena, .name = vkd__arena_format(arena, "%s", name)};
    if (!b.name) return VKD_E_MEMORY;
    b.where = b.name;
    if (size > VKD__TREE_BYTES)
        return refuse(&b, "%zu bytes, at most %u are read", size, VKD__TREE_BYTES);
    b.one_line = !size || !memchr(text, '\n', size);
    const vkd_result r = build(&b, text, size);
    if (!r) *out = b.root;
    return r;
}
