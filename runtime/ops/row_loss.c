// SPDX-License-Identifier: Apache-2.0
#include "ops/row_loss.h"

#include <math.h>

#define LARGEST_V 200000u
#define GRADIENT 11u /* spec constant: the kernel writes the gradient too */

static bool check_input(vkd_graph *g, vkd__node *n, uint32_t i, vkd__row_role role) {
    const vkd__tensor *student = vkd__tensor_get(g, n->in[0]);
    const vkd__tensor *t = vkd__tensor_get(g, n->in[i]);
    const vkd_dtype dtype = role == VKD__ROW_LABELS ? VKD_I32 : VKD_F32;
    const vkd_shape want = role == VKD__ROW_LOGITS   ? student->shape
                           : role == VKD__ROW_LABELS ? VKD_SHAPE(student->shape.dim[0])
                                                     : VKD_SCALAR;
    if (t->dtype != dtype)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "'%s' must be %s", t->name,
                               dtype == VKD_I32 ? "i32" : "f32");
    if (!vkd__shape_equal(t->shape, want))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "'%s' is %s where logits %s need %s", t->name,
                               vkd__shape_text(g, t->shape), vkd__shape_text(g, student->shape),
                               vkd__shape_text(g, want));
    return true;
}

bool vkd__row_loss_infer(vkd_graph *g, vkd__node *n, const vkd__row_loss *what) {
    const vkd__tensor *student = vkd__tensor_get(g, n->in[0]);
    const vkd_shape shape = student->shape;
    if (student->dtype != VKD_F32 || shape.axes != 2)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "logits must be (N, V) f32, '%s' is %s",
                               student->name, vkd__shape_text(g, shape));
    if (shape.dim[1] < 2 || shape.dim[1] > LARGEST_V)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "%u classes, but 2 to %u are supported",
                               shape.dim[1], LARGEST_V);
    for (uint32_t i = 1; i < what->inputs; i++)
        if (!check_input(g, n, i, what->role[i])) return false;
    vkd__node_out(g, n, 0, VKD_F32, VKD_SCALAR);
    if (n->in_count <= what->inputs || !n->in[what->inputs].id) return true;
    if (!check_input(g, n, what->inputs, VKD__ROW_SCALAR)) return false;
    vkd__node_out(g, n, 1, VKD_F32, shape);
    return true;
}

vkd_tensor vkd__row_loss_gradient(vkd_graph *g, const vkd__node *n, const vkd__row_loss *what,
                                  size_t params_size, vkd_tensor dout) {
    return vkd__loss_gradient(g, n, what->inputs, params_size, dout);
}

/* The rows' losses, row by row in scratch, to their sum: one row of the sum's kernel. */
static bool lower_sum(vkd__lower *l, const vkd__node *n, uint32_t scratch, uint32_t N) {
    vkd__launch *sum = vkd__row_launch(l, "loss_sum", 1, N);
    if (!sum) return false;
    vkd__bind_scratch(sum, scratch, VKD__READ);
    vkd__bind(sum, n->out[0], VKD__WRITE);
    const struct vkd_row_params push = {.N = 1, .V = N};
    vkd__push(sum, &push, sizeof push);
    vkd__cost(sum, N, 4.0 * N);
    return true;
}

/* One launch over `params.N` rows from `params.first` on. */
static bool lower_window(vkd__lower *l, const vkd__node *n, const vkd__row_loss *what,
                         const struct vkd_loss_params *params, uint32_t scratch) {
    const bool gradient = n->in_count > what->inputs && n->in[what->inputs].id;
    vkd__launch *launch = vkd__row_launch(l, what->kernel, params->N, params->V);
    if (!launch) return false;
    for (uint32_t i = 0; i < what->inputs; i++) {
        if (what->role[i] == VKD__ROW_LOGITS)
            vkd__row_bind(launch, n->in[i], VKD__READ, params->first, params->N, params->V);
        else
            vkd__bind(launch, n->in[i], VKD__READ);
    }
    vkd__bind(launch, gradient ? n->in[what->inputs] : (vkd_tensor){0}, VKD__READ);
    vkd__bind_scratch(launch, scratch, VKD__WRITE);
    if (gradient)
        vkd__row_bind(launch, n->out[1], VKD__WRITE, params->first, params->N, params->V);
    else
        vkd__bind_scratch(launch, scratch, VKD__WRITE); /* declared, not touched */
    vkd__spec(launch, GRADIENT, gradient);
    vkd__push(launch, params, sizeof *params);
    const double elements = (double)params->N * params->V;
    vkd__cost(launch, 40 * elements, (gradient ? 12 : 8) * elements);
    return true;
}

bool vkd__row_loss_lower(vkd__lower *l, const vkd__node *n, const vkd__row_loss *what,
                         struct vkd_loss_params params) {
    vkd__rows rows;
    if (!vkd__rows_of(l, n->in[0], &rows)) return false;
    const uint32_t N = (uint32_t)rows.rows;
    const uint32_t scratch = vkd__scratch_add(l, 4ull * N);
    params.V = rows.length;
    params.share = 1.0f / (float)N;
    for (uint64_t first = 0; first < N; first += rows.rows_at_once) {
        params.first = (uint32_t)first;
        params.N = (uint32_t)vkd__rows_count(&rows, first);
        if (!lower_window(l, n, what, &params, scratch)) return false;
    }
    return lower_sum(l, n, scratch, N);
}

vkd_tensor vkd__row_case(vkd__case *c, vkd_tensor *student, vkd_tensor *teacher) {
    static const struct {
        uint32_t N, V;
        float tau;
        uint32_t mask_student, mask_teacher; /* every so many elements; 0: none */
        const char *what;
    } cases[VKD__ROW_CASES] = {
        {1, 2, 1.0f, 0, 0, "one row of two classes"},
        {3, 3, 4.0f, 0, 0, "short rows, none aligned"},
        {130, 10, 2.0f, 0, 0, "a batch of ten classes"},
        {7, 31, 0.5f, 0, 5, "short rows, teacher masked"},
        {5, 33, 20.0f, 7, 5, "both masked"},
        {3, 64, 1.5f, 0, 0, "the shortest long row"},
        {2, 127, 1.0f, 3, 0, "student masked"},
        {9, 129, 4.0f, 0, 0, "ragged long rows"},
        {4, 2, 1.0f, 4, 1, "every teacher class masked"},
        {2, 1001, 3.0f, 0, 11, "many classes, teacher masked"},
    };
    c->what = cases[c->index].what;
    const vkd_shape shape = VKD_SHAPE(cases[c->index].N, cases[c->index].V);
    *student = vkd__case_f32(c, shape, -4, 4);
    if (cases[c->index].mask_student) vkd__case_special(c, -INFINITY, cases[c->index].mask_student);
    if (teacher) *teacher = vkd__case_fixed(c, shape, -4, 4);
    if (teacher && cases[c->index].mask_teacher)
        vkd__case_special(c, -INFINITY, cases[c->index].mask_teacher);
    return vkd_setting(c->g, "tau", cases[c->index].tau);
}

double vkd__row_lse(const double *x, const double *also, uint32_t V, uint32_t skip, double tau) {
    double most = -INFINITY, sum = 0;
    for (uint32_t v = 0; v < V; v++)
        if (v != skip && !vkd__masked(x[v]) && !(also && vkd__masked(also[v])) && x[v] > most)
            most = x[v];
    if (most == -INFINITY) return -INFINITY;
    for (uint32_t v = 0; v < V; v++)
        if (v != skip && !vkd__masked(x[v]) && !(also && vkd__masked(also[v])))
            sum += exp((x[v] - most) / tau);
    return most / tau + log(sum);
}

double vkd__row_p(double x, double tau, double lse) {
    return vkd__masked(x) ? 0 : exp(x / tau - lse);
}

bool vkd__row_label(double value, uint32_t V, uint32_t *label) {
    if (!(value >= 0 && value < V)) return false;
    *label = (uint32_t)value;
    return true;
}
