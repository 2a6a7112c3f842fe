// SPDX-License-Identifier: Apache-2.0
/* A recipe as text, every default written out. Reading it back gives the same recipe. */
#include "train/recipe_print.h"

/* Single quotes take everything as it is but themselves, which are doubled. */
static void print_quoted(vkd__text *t, const char *text) {
    vkd__text_add(t, "'");
    for (const char *c = text; *c; c++)
        vkd__text_add(t, "%s%c", *c == '\'' ? "'" : "", *c);
    vkd__text_add(t, "'");
}

static void print_fields(vkd__text *t, const char *indent, const vkd__field *fields, size_t count,
                         const void *config) {
    for (size_t i = 0; i < count; i++) {
        vkd__text_add(t, "%s%s: ", indent, fields[i].name);
        const bool quoted = fields[i].type == VKD__FIELD_TEXT;
        if (quoted)
            print_quoted(t, (const char *)config + fields[i].offset);
        else
            vkd__fields_get(&fields[i], config, t);
        vkd__text_add(t, "\n");
    }
}

static void print_part(vkd__text *t, const char *indent, const vkd__part *p) {
    print_fields(t, indent, p->fields, p->field_count, p->config);
}

static void print_channels(vkd__text *t, const char *key, const float *v, uint32_t count) {
    vkd__text_add(t, "  %s: [", key);
    const vkd__field field = {.name = key, .type = VKD__FIELD_F32};
    for (uint32_t i = 0; i < count; i++) {
        vkd__text_add(t, "%s", i ? ", " : "");
        vkd__fields_get(&field, &v[i], t);
    }
    vkd__text_add(t, "]\n");
}

void vkd__print_data(vkd__text *t, const vkd_recipe *r) {
    const vkd__recipe_data *d = &r->data;
    const vkd__data_options *o = &d->options;
    vkd__text_add(t, "data:\n  format: %s\n", d->part.name);
    print_part(t, "  ", &d->part);
    /* The field `classes` is the last. */
    print_fields(t, "  ", vkd__data_fields, vkd__data_field_count - (o->class_names != NULL), o);
    for (uint32_t i = 0; o->class_names && i < o->classes; i++) {
        vkd__text_add(t, i ? ", " : "  classes: [");
        print_quoted(t, o->class_names[i]);
    }
    if (o->class_names) vkd__text_add(t, "]\n");
    print_channels(t, "mean", d->mean, d->channels);
    print_channels(t, "std", d->std, d->channels);
}

static void print_f32(vkd__text *t, const char *indent, const char *key, float value) {
    const vkd__field field = {.name = key, .type = VKD__FIELD_F32};
    print_fields(t, indent, &field, 1, &value);
}

static void print_label(vkd__text *t, const vkd_recipe *r, const vkd__recipe_stage *s) {
    const vkd__table fields = vkd__label_fields();
    vkd__text_add(t, "  - name: %s\n    label:\n      teacher: %s\n", s->name,
                  r->models[s->teacher].name);
    print_fields(t, "      ", fields.fields, fields.count, s->label);
}

static void print_stage_data(vkd__text *t, const vkd_recipe *r, const vkd__stage_data *d) {
    const vkd__table fields = vkd__stage_data_fields();
    if (d->pseudo == VKD__NONE) return;
    vkd__text_add(t, "    data:\n      pseudo: %s\n", r->stages[d->pseudo].name);
    print_fields(t, "      ", fields.fields, fields.count, d);
}

void vkd__print_stage(vkd__text *t, const vkd_recipe *r, const vkd__recipe_stage *s) {
    if (s->label) {
        print_label(t, r, s);
        return;
    }
    vkd__text_add(t, "  - name: %s\n    train: %s\n", s->name, r->models[s->model].name);
    if (s->teacher_count == 1) vkd__text_add(t, "    teacher: %s\n", r->models[s->teacher].name);
    if (s->teacher_count == 1 && s->teachers[0].cache) {
        vkd__text_add(t, "    teacher_cache: ");
        print_quoted(t, s->teachers[0].cache);
        vkd__text_add(t, "\n");
    }
    if (s->teacher_count > 1) vkd__text_add(t, "    teachers:\n");
    for (uint32_t i = 0; i < s->teacher_count && s->teacher_count > 1; i++) {
        vkd__text_add(t, "      - model: %s\n", r->models[s->teachers[i].model].name);
        print_f32(t, "        ", "weight", s->teachers[i].weight);
        if (!s->teachers[i].cache) continue;
        vkd__text_add(t, "        cache: ");
        print_quoted(t, s->teachers[i].cache);
        vkd__text_add(t, "\n");
    }
    const vkd__table fields = vkd__stage_fields();
    print_fields(t, "    ", fields.fields, fields.count, &s->options);
    print_stage_data(t, r, &s->data);
    const vkd__table augment = vkd__augment_fields();
    if (s->augmented) {
        vkd__text_add(t, "    augment:\n");
        print_fields(t, "      ", augment.fields, augment.count, &s->augment);
    }
    if (s->loss_count) vkd__text_add(t, "    losses:\n");
    for (uint32_t i = 0; i < s->loss_count; i++) {
        const vkd__recipe_loss *l = &s->losses[i];
        vkd__text_add(t, "      - loss: %s\n        name: %s\n", l->part.name, l->name);
        print_f32(t, "        ", "weight", l->weight);
        print_f32(t, "        ", "final_weight", l->final_weight);
        print_part(t, "        ", &l->part);
        if (l->tap_count) vkd__text_add(t, "        taps:\n");
        for (uint32_t k = 0; k < l->tap_count; k++) {
            const bool own = l->def->needs & VKD__LOSS_OWN_TAPS;
            vkd__text_add(t, own ? "          - " : "          - student: ");
            print_quoted(t, l->taps[k].student);
            vkd__text_add(t, "\n");
            if (own) continue;
            vkd__text_add(t, "            teacher: ");
            print_quoted(t, l->taps[k].teacher);
            vkd__text_add(t, "\n");
        }
    }
    vkd__text_add(t, "    optimiser:\n      name: %s\n", s->optimiser_part.name);
    print_part(t, "      ", &s->optimiser_part);
    vkd__text_add(t, "    schedule:\n      name: %s\n      warmup: %u\n", s->schedule_part.name,
                  (unsigned)s->warmup);
    print_part(t, "      ", &s->schedule_part);
}

static void print_evaluation(vkd__text *t, const vkd_recipe *r) {
    const vkd__evaluation *e = &r->evaluation;
    const vkd__table fields = vkd__evaluation_fields();
    vkd__text_add(t, "evaluation:\n");
    print_fields(t, "  ", fields.fields, fields.count, e);
    if (e->shift_count) vkd__text_add(t, "  bias_shift:\n");
    for (uint32_t i = 0; i < e->shift_count; i++) {
        const vkd__field field = {.type = VKD__FIELD_F32};
        vkd__text_add(t, "    %u: ", (unsigned)e->shifts[i].class_index);
        vkd__fields_get(&field, &e->shifts[i].value, t);
        vkd__text_add(t, "\n");
    }
    if (e->retrieval.tap) {
        const vkd__table retrieval = vkd__retrieval_fields();
        vkd__text_add(t, "  retrieval:\n    tap: ");
        print_quoted(t, e->retrieval.tap);
        vkd__text_add(t, "\n");
        print_fields(t, "    ", retrieval.fields, retrieval.count, &e->retrieval);
    }
    if (e->ensemble_count) vkd__text_add(t, "  ensembles:\n");
    for (uint32_t i = 0; i < e->ensemble_count; i++) {
        vkd__text_add(t, "    - name: %s\n      models: [", e->ensembles[i].name);
        for (uint32_t k = 0; k < e->ensembles[i].count; k++)
            vkd__text_add(t, "%s%s", k ? ", " : "", r->models[e->ensembles[i].models[k]].name);
        vkd__text_add(t, "]\n");
    }
}

void vkd__print_options(vkd__text *t, const vkd_recipe *r) {
    const vkd__table fields = vkd__recipe_fields();
    print_fields(t, "", fields.fields, fields.count, &r->options);
}

void vkd__print_model(vkd__text *t, const vkd__recipe_model *m) {
    const vkd__table fields = vkd__model_fields();
    vkd__text_add(t, "  %s:\n    arch: %s\n", m->name, m->part.name);
    if (m->load) {
        const vkd__field field = {.name = "load", .type = VKD__FIELD_TEXT};
        print_fields(t, "    ", &field, 1, m->load);
    }
    print_fields(t, "    ", fields.fields, fields.count, m);
    print_part(t, "    ", &m->part);
}

char *vkd_recipe_print(const vkd_recipe *r) {
    vkd__text t = {.ctx = r->ctx};
    vkd__text_add(&t, "name: %s\n", r->name);
    vkd__print_options(&t, r);
    vkd__print_data(&t, r);
    vkd__text_add(&t, "models:\n");
    for (uint32_t i = 0; i < r->model_count; i++)
        vkd__print_model(&t, &r->models[i]);
    vkd__text_add(&t, "stages:\n");
    for (uint32_t i = 0; i < r->stage_count; i++)
        vkd__print_stage(&t, r, &r->stages[i]);
    print_evaluation(&t, r);
    if (!t.failed) return t.text;
    vkd__text_term(&t);
    return NULL;
}
