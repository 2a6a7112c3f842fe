// SPDX-License-Identifier: Apache-2.0
/* The steps of a phase. A few are submitted ahead, so that the device never waits for the host;
 * their results are read when they are that many steps old. Checkpoints and evaluations first read
 * all that is under way ("drain"), so that what is saved is the state after a whole number of
 * steps. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "train/session.h"

enum { IN_FLIGHT = 3, SKIPS_BEFORE_STOP = 10 };
_Static_assert(IN_FLIGHT < VKD_PROGRAM_RING,
               "a step's outputs must still be there when it is read");

typedef struct loop {
    vkd__session *s;
    vkd__phase *p;
    vkd_program *program;
    vkd__show *show;          /* or NULL */
    vkd__order order, pseudo; /* of labelled samples, and of those that a stage labelled */
    uint32_t first_row;       /* the sample that the first row of targets is of */
    vkd__infer test;          /* program NULL: no evaluation between epochs */
    float *test_logits, *teacher_logits; /* of the test split; NULL without a teacher */
    uint64_t submitted;                  /* steps of this phase, those of earlier runs included */
    uint64_t tickets[IN_FLIGHT];
    uint32_t skipped_in_a_row;
    uint64_t first_skipped;
    double started, row_started;
    double seconds_before; /* of the phase, in earlier runs */
    double gradient_norm;
} loop;

static double learning_rate(const loop *l, uint64_t step) {
    const vkd__recipe_stage *stage = l->p->stage;
    const vkd__optimiser_base *base = stage->optimiser_part.config;
    const vkd__schedule_at at = {step, l->p->steps, l->p->epoch_steps};
    return (double)base->lr *
           vkd__schedule_factor(stage->schedule, stage->schedule_part.config, stage->warmup, &at);
}

/* The samples of a step. */
static void choose(vkd__order *o, uint64_t step, int32_t *out) {
    const uint32_t *order = vkd__order_epoch(o, step / o->steps);
    const uint64_t first = (step % o->steps) * o->batch;
    for (uint32_t i = 0; i < o->batch; i++)
        out[i] = (int32_t)order[first + i];
}

static void write_batch(loop *l, int32_t *indices, int32_t *labels, int32_t *rows) {
    const uint32_t labelled = vkd__phase_labelled(l->p), pseudo = vkd__phase_pseudo(l->p);
    if (labelled) choose(&l->order, l->submitted, indices);
    for (uint32_t i = 0; i < labelled && labels; i++)
        labels[i] = l->s->data->train.labels[indices[i]];
    if (pseudo) choose(&l->pseudo, l->submitted, indices + labelled);
    for (uint32_t i = 0; i < pseudo && rows; i++)
        rows[i] = indices[labelled + i] - (int32_t)l->first_row;
}

static vkd_result write_inputs(void *user, vkd_program *program) {
    loop *l = user;
    int32_t *indices = vkd_program_input(program, "indices");
    int32_t *labels = vkd_program_input(program, "labels"); /* NULL where no loss wants them */
    if (!indices) return vkd__fail(l->s->ctx, VKD_E_DEVICE, "no room for the inputs of a step");
    write_batch(l, indices, labels, vkd_program_input(program, "rows"));
    return VKD_OK;
}

/* Those that change from step to step; the others stay as the program has them. */
static void write_weights(const loop *l) {
    for (uint32_t i = 0; i < l->p->term_count; i++) {
        const vkd__term *t = &l->p->terms[i];
        char name[128];
        snprintf(name, sizeof name, "weight.%s", t->name);
        float *input = t->weight != t->final_weight ? vkd_program_input(l->program, name) : NULL;
        if (input) *input = vkd__term_weight(l->p, i, l->submitted);
    }
}

static vkd_result submit(loop *l) {
    float *lr = vkd_program_input(l->program, "lr"), *ema = vkd_program_input(l->program, "ema");
    if (!lr || write_inputs(l, l->program))
        return vkd__fail(l->s->ctx, VKD_E_DEVICE, "no room for the inputs of a step");
    *lr = (float)learning_rate(l, l->submitted);
    if (ema) *ema = (float)vkd__average_decay(l->p, l->submitted);
    write_weights(l);
    const vkd_result r = vkd_program_submit(l->program, &l->tickets[l->submitted % IN_FLIGHT]);
    if (!r) l->submitted++;
    return r;
}

/* ---- What a step said ---- */

static vkd_result diverged(loop *l) {
    const char *tensor = "";
    const vkd_result r = vkd_program_find_nonfinite(l->program, &tensor);
    if (r) return r;
    const vkd__optimiser_base *base = l->p->stage->optimiser_part.config;
    return vkd__fail(l->s->ctx, VKD_E_NONFINITE,
                     "%s: loss or gradient was not finite in %d steps in a row, from step %llu on; "
                     "the first tensor that is not finite is '%s'; try a smaller optimiser.lr "
                     "(now %g) or set optimiser.clip%s",
                     l->p->group, SKIPS_BEFORE_STOP, (unsigned long long)l->first_skipped,
                     *tensor ? tensor : "none any more", (double)base->lr,
                     l->p->loss_scale > 0 ? "; f16 ends at 65504: precision mixed_bf16 does not"
                                          : "");
}

static void report(loop *l, vkd_progress *out, const char **names, double *values) {
    const vkd__session *s = l->s;
    const double now = vkd__seconds(), steps = (double)s->sums.steps;
    const double rate = steps / fmax(now - l->row_started, 1e-9);
    *out = (vkd_progress){.phase = l->p->group,
                          .stage = l->p->stage->name,
                          .phase_index = s->phase,
                          .phase_count = s->phase_count,
                          .seed_index = s->seed_index,
                          .seed_count = s->desc->seeds ? s->desc->seeds : 1,
                          .step = s->step,
                          .steps = l->p->steps,
                          .term_count = l->p->term_count,
                          .terms = names,
                          .values = values,
                          .loss = s->sums.loss / steps,
                          .gradient_norm = l->gradient_norm,
                          .learning_rate = learning_rate(l, s->step - 1),
                          .samples_per_second =
                              rate * (vkd__phase_labelled(l->p) + vkd__phase_pseudo(l->p)),
                          .seconds_left = (double)(l->p->steps - s->step) / fmax(rate, 1e-9),
                          .test_accuracy = s->test_accuracy};
    for (uint32_t i = 0; i < l->p->term_count; i++) {
        names[i] = l->p->terms[i].name;
        values[i] = s->sums.terms[i] / steps;
    }
}

static vkd_result log_row(loop *l) {
    const char *names[VKD__MAX_TERMS];
    double values[VKD__MAX_TERMS];
    vkd_progress progress;
    report(l, &progress, names, values);
    const vkd_result r = vkd__metrics_step(l->s, &progress);
    vkd__show_report(l->show, &progress);
    if (l->s->desc->progress) l->s->desc->progress(l->s->desc->user, &progress);
    l->s->sums = (vkd__sums){0};
    l->row_started = vkd__seconds();
    return r;
}

/* While a loss scale can still come down, that a step overflowed says nothing of the run. */
static void count_skip(loop *l, bool skipped) {
    const bool hopeless = skipped && l->p->loss_scale <= 1;
    l->p->skipped += skipped;
    if (!l->skipped_in_a_row) l->first_skipped = l->s->step;
    l->skipped_in_a_row = hopeless ? l->skipped_in_a_row + 1 : 0;
}

/* Reads the oldest step under way. */
static vkd_result collect(loop *l) {
    vkd__session *s = l->s;
    const uint64_t ticket = l->tickets[s->step % IN_FLIGHT];
    vkd_result r = vkd_program_wait(l->program, ticket);
    if (r) return r;
    const float *guard = vkd_program_output(l->program, ticket, "guard", NULL);
    const float *loss = vkd_program_output(l->program, ticket, "loss", NULL);
    if (!guard || !loss) return vkd__fail(s->ctx, VKD_E_DEVICE, "the results of a step are gone");
    const float *scale = vkd_program_output(l->program, ticket, "loss_scale", NULL);
    l->p->loss_scale = scale ? (double)*scale : 0;
    count_skip(l, guard[1] == 0);
    if (guard[1] == 0) r = vkd__metrics_skipped(s, l->p, s->step + 1);
    if (r) return r;
    l->gradient_norm = (double)guard[0];
    s->sums.steps++;
    s->sums.loss += (double)*loss;
    for (uint32_t i = 0; i < l->p->term_count; i++) {
        char name[128];
        snprintf(name, sizeof name, "loss.%s", l->p->terms[i].name);
        const float *term = vkd_program_output(l->program, ticket, name, NULL);
        if (!term) continue;
        s->sums.terms[i] += (double)*term;
        vkd__diagnose_step(l->p, i, s->step, (double)*term);
    }
    s->step++;
    if (l->skipped_in_a_row == SKIPS_BEFORE_STOP) return diverged(l);
    if (s->step % s->recipe->options.log_every == 0 || s->step == l->p->steps) r = log_row(l);
    return r;
}

static vkd_result drain(loop *l) {
    vkd_result r = VKD_OK;
    while (!r && l->s->step < l->submitted)
        r = collect(l);
    return r;
}

/* ---- Between steps ---- */

static vkd_result save(loop *l) {
    vkd_result r = drain(l);
    l->p->seconds = l->seconds_before + vkd__seconds() - l->started;
    if (!r) r = vkd__checkpoint_write(l->s);
    return r;
}

static vkd_result evaluate_epoch(loop *l) {
    vkd_result r = drain(l);
    if (!r && l->p->average)
        r = vkd__average_copy(l->s, l->p->group, l->p->average, VKD__COPY_REST);
    if (!r) r = vkd__infer_run(&l->test, l->test_logits);
    if (r) return r;
    const vkd__split *test = &l->s->data->test;
    const vkd__figures f = vkd__figures_of(l->test_logits, l->teacher_logits, test->labels,
                                           test->count, l->s->data->classes);
    l->s->test_accuracy = f.accuracy;
    r = vkd__metrics_epoch(l->s, l->p, l->s->step / l->p->epoch_steps, &f);
    l->row_started = vkd__seconds();
    return r;
}

static bool is_due(uint64_t step, uint64_t every) {
    return every && step % every == 0;
}

static vkd_result run_steps(loop *l) {
    const vkd__session *s = l->s;
    const uint64_t epochs = (uint64_t)s->recipe->evaluation.every_epochs * l->p->epoch_steps;
    vkd_result r = VKD_OK;
    while (!r && l->submitted < l->p->steps) {
        if (l->submitted - s->step == IN_FLIGHT) r = collect(l);
        if (!r) r = vkd__show_step(l->show, l->p, l->program);
        if (!r) r = submit(l);
        if (!r && is_due(l->submitted, epochs)) r = evaluate_epoch(l);
        if (!r && is_due(l->submitted, s->recipe->options.checkpoint_every) &&
            l->submitted < l->p->steps)
            r = save(l);
        if (!r && s->desc->stop && s->desc->stop(s->desc->user)) {
            r = save(l);
            if (!r)
                r = vkd__fail(s->ctx, VKD_E_INTERRUPTED,
                              "stopped after step %llu of '%s' (stage '%s'); go on with --resume",
                              (unsigned long long)s->step, l->p->group, l->p->stage->name);
        }
    }
    if (!r) r = drain(l);
    return r;
}

/* Loss terms with their reductions and the factor they really have, once per phase. */
static void announce(const loop *l) {
    for (uint32_t i = 0; i < l->p->term_count; i++) {
        const vkd__term *t = &l->p->terms[i];
        char tau[96] = "";
        if (t->def->needs & VKD__LOSS_TAU)
            snprintf(tau, sizeof tau, ", tau %g, effective scale %g", (double)t->tau,
                     (double)t->weight * (t->t_squared ? (double)t->tau * (double)t->tau : 1));
        vkd__log(l->s->ctx, VKD_LOG_INFO, "%s: %s, weight %g%s: %s", l->p->group, t->name,
                 (double)t->weight, tau, t->def->formula);
    }
}

static vkd_result make_program(loop *l, bool fresh) {
    vkd_graph *graph = NULL;
    vkd_plan *plan = NULL;
    vkd_result r = vkd__graph_train(l->s, l->p, &graph);
    if (!r) r = vkd__states_begin(l->s, l->p, graph, fresh);
    if (!r) r = vkd_plan_create(graph, vkd_device_profile(l->s->device), &plan);
    if (!r) r = vkd_program_create(l->s->device, plan, &l->program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(graph);
    return r;
}

static vkd_result open_orders(loop *l) {
    vkd__session *s = l->s;
    const vkd__recipe_stage *stage = l->p->stage;
    const vkd__order_desc order = vkd__stage_order(s, stage);
    vkd_result r = vkd__order_init(s->ctx, &l->order, &order);
    const vkd__pseudo *labels = NULL;
    if (!r && l->p->labels) r = vkd__label_get(s, stage->data.pseudo, &labels);
    if (r || !labels) return r;
    const uint32_t batch = vkd__phase_pseudo(l->p);
    if (labels->count < batch)
        return vkd__fail(s->ctx, VKD_E_RECIPE,
                         "stage '%s' wants %u samples of '%s' in each step, which kept %u",
                         stage->name, (unsigned)batch, l->p->labels->name, (unsigned)labels->count);
    l->first_row = labels->first;
    return vkd__order_from(s->ctx, &l->pseudo, s->seed, "order.labels", labels->entries,
                           labels->count, batch);
}

static vkd_result open_evaluation(loop *l) {
    vkd__session *s = l->s;
    const char *group = l->p->average ? l->p->average : l->p->group;
    if (!s->recipe->evaluation.every_epochs || !s->data->test.count) return VKD_OK;
    l->test_logits =
        vkd__alloc(s->ctx, (size_t)s->data->test.count * s->data->classes, sizeof *l->test_logits);
    vkd_result r =
        l->test_logits ? vkd__infer_create(s, l->p->model, group, false, &l->test) : VKD_E_MEMORY;
    if (!r && l->p->teacher_count) r = vkd__teachers_test(s, l->p->stage, &l->teacher_logits);
    return r;
}

static vkd_result open_loop(loop *l, bool restore) {
    vkd__session *s = l->s;
    vkd_result r = open_orders(l);
    /* The programs that gauge the terms are gone before the step's is made: their memory does not
     * add up. */
    if (!r && !restore) r = vkd__tables_fill(s, l->p);
    if (!r && !restore) r = vkd__diagnose_start(s, l->p, write_inputs, l);
    if (!r) r = make_program(l, !restore);
    if (!r && restore) r = vkd__checkpoint_restore(s);
    if (!r && restore) r = vkd__tables_fill(s, l->p);
    for (uint32_t i = 0; i < l->p->term_count && !r && !restore; i++)
        r = vkd__term_prepare(s, l->p, i);
    if (!r && l->p->average && !restore)
        r = vkd__average_copy(s, l->p->group, l->p->average, VKD__COPY_PARAMETERS | VKD__COPY_REST);
    if (!r) r = open_evaluation(l);
    if (!r) vkd_program_set_step(l->program, (int32_t)s->step);
    if (!r) r = vkd__show_create(s, l->p, &l->show);
    return r;
}

static vkd_result tell_profile(loop *l) {
    vkd__session *s = l->s;
    if (!s->desc->profile) return VKD_OK;
    const uint32_t count = vkd_program_profile_rows(l->program, NULL, 0);
    vkd_profile_row *rows = vkd__alloc(s->ctx, count, sizeof *rows);
    if (!rows) return VKD_E_MEMORY;
    vkd_program_profile_rows(l->program, rows, count);
    s->desc->profile(s->desc->user, l->p->group, rows, count);
    vkd__free(s->ctx, rows);
    return VKD_OK;
}

vkd_result vkd__loop(vkd__session *s, vkd__phase *p, bool restore) {
    loop l = {.s = s, .p = p, .submitted = s->step, .seconds_before = p->seconds};
    l.started = vkd__seconds();
    vkd_result r = open_loop(&l, restore);
    l.row_started = vkd__seconds();
    if (!r) announce(&l);
    if (!r && s->desc->profile) r = vkd_program_profile(l.program, true);
    if (!r) r = run_steps(&l);
    if (!r) r = tell_profile(&l);
    if (!r && p->average) r = vkd__average_copy(s, p->average, p->group, VKD__COPY_PARAMETERS);
    p->seconds = l.seconds_before + vkd__seconds() - l.started;
    vkd__show_destroy(l.show);
    vkd_program_destroy(l.program);
    vkd__infer_destroy(&l.test);
    vkd__order_term(s->ctx, &l.order);
    vkd__order_term(s->ctx, &l.pseudo);
    vkd__free(s->ctx, l.test_logits);
    vkd__free(s->ctx, l.teacher_logits);
    return r;
}
