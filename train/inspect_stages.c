// SPDX-License-Identifier: Apache-2.0
/* What trains a run's models, out of the phases of the trainer. */
#include <math.h>
#include <string.h>

#include "train/inspect.h"

static vkd_result add_pairs(vkd_inspect *i, const vkd__phase *p, const vkd__term *t,
                            vkd_inspect_term *out) {
    vkd_inspect_pair *pairs = VKD_NEW(&i->arena, vkd_inspect_pair, t->tap_count + 1u);
    if (!pairs) return VKD_E_MEMORY;
    for (uint32_t k = 0; k < t->tap_count; k++) {
        const char *name = t->taps[k].teacher, *colon = strchr(name, ':');
        pairs[k] = (vkd_inspect_pair){.student = t->taps[k].student, .teacher = ""};
        if (!p->teacher_count || (t->def->needs & VKD__LOSS_OWN_TAPS)) continue;
        pairs[k].teacher = colon ? colon + 1 : name;
        pairs[k].teacher_model = vkd__inspect_index(i, i->recipe->models[p->teacher].name);
        for (uint32_t m = 0; m < i->info.model_count && colon; m++) {
            const char *model = i->info.models[m].name;
            const size_t length = (size_t)(colon - name);
            if (!strncmp(model, name, length) && !model[length]) pairs[k].teacher_model = m;
        }
    }
    out->pairs = pairs;
    out->pair_count = t->tap_count;
    return VKD_OK;
}

static vkd_result add_term(vkd_inspect *i, const vkd__phase *p, const vkd__term *t,
                           vkd_inspect_term *out) {
    *out = (vkd_inspect_term){.name = t->name,
                              .loss = t->def->name,
                              .weight = t->weight,
                              .tau = NAN,
                              .tau_low = NAN,
                              .tau_high = NAN};
    for (size_t f = 0; (t->def->needs & VKD__LOSS_TAU) && f < t->def->field_count; f++) {
        if (strcmp(t->def->fields[f].name, "tau") != 0) continue;
        out->tau = t->tau;
        out->tau_low = (float)t->def->fields[f].low;
        out->tau_high = (float)t->def->fields[f].high;
    }
    return add_pairs(i, p, t, out);
}

static vkd_result add_stage(vkd_inspect *i, const vkd__phase *p, vkd_inspect_stage *out) {
    vkd_inspect_teacher *teachers = VKD_NEW(&i->arena, vkd_inspect_teacher, p->teacher_count + 1u);
    vkd_inspect_term *terms = VKD_NEW(&i->arena, vkd_inspect_term, p->term_count + 1u);
    if (!teachers || !terms) return VKD_E_MEMORY;
    *out = (vkd_inspect_stage){.name = p->stage->name,
                               .model = vkd__inspect_index(i, p->group),
                               .teacher_count = p->teacher_count,
                               .teachers = teachers,
                               .combine_logits = p->stage->options.combine == VKD__COMBINE_LOGITS,
                               .term_count = p->term_count,
                               .terms = terms};
    for (uint32_t k = 0; k < p->teacher_count; k++) {
        const vkd__recipe_model *m = &i->recipe->models[p->stage->teachers[k].model];
        teachers[k] =
            (vkd_inspect_teacher){vkd__inspect_index(i, m->name), vkd__teacher_share(p->stage, k)};
    }
    vkd_result r = VKD_OK;
    for (uint32_t k = 0; k < p->term_count && !r; k++)
        r = add_term(i, p, &p->terms[k], &terms[k]);
    return r;
}

vkd_result vkd__inspect_stages(vkd_inspect *i) {
    vkd_inspect_stage *stages = VKD_NEW(&i->arena, vkd_inspect_stage, i->outline.phase_count + 1u);
    vkd_result r = stages ? VKD_OK : VKD_E_MEMORY;
    for (uint32_t k = 0; k < i->outline.phase_count && !r; k++) {
        const vkd__phase *p = &i->outline.phases[k];
        if (p->model) r = add_stage(i, p, &stages[i->info.stage_count++]); /* else it labels */
    }
    i->info.stages = stages;
    return r;
}
