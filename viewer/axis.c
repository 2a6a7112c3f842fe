// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>

#include "viewer/axis.h"

/* 1, 2 or 5 times a power of ten, not below x. */
static double round_up(double x) {
    const double power = pow(10, floor(log10(x)));
    const double part = x / power;
    return power * (part <= 1.0000001 ? 1 : part <= 2.0000001 ? 2 : part <= 5.0000001 ? 5 : 10);
}

static axis make_linear(double low, double high, bool loose, uint32_t most) {
    axis a = {.low = low, .high = high};
    a.step = round_up((high - low) / (most > 1 ? most - 1 : 1));
    if (loose) {
        a.low = floor(low / a.step + 1e-9) * a.step;
        a.high = ceil(high / a.step - 1e-9) * a.step;
    }
    a.first = ceil(a.low / a.step - 1e-9) * a.step;
    if (a.first <= a.high + 1e-9 * a.step)
        a.ticks = (uint32_t)((a.high - a.first) / a.step + 1e-6) + 1;
    return a;
}

static axis make_logarithmic(double low, double high, bool loose, uint32_t most) {
    axis a = {.low = low, .high = high, .logarithmic = true};
    const double from = floor(log10(low) + 1e-9), to = ceil(log10(high) - 1e-9);
    const double apart = fmax(1, ceil((to - from) / (most > 1 ? most - 1 : 1)));
    a.step = pow(10, apart);
    if (loose) {
        a.low = pow(10, from);
        a.high = pow(10, to > from ? to : from + 1);
    }
    a.first = pow(10, loose ? from : ceil(log10(low) - 1e-9));
    const double ticks = floor(log10(a.high / a.first) / apart + 1e-6) + 1;
    a.ticks = ticks > 0 ? (uint32_t)ticks : 0;
    return a;
}

axis axis_make(double low, double high, bool logarithmic, bool loose, uint32_t most) {
    if (!isfinite(low) || !isfinite(high)) low = 0, high = 1;
    if (logarithmic && high <= 0) logarithmic = false;
    if (logarithmic && low <= 0) low = high / 1e4;
    if (!(high > low)) {
        high = low;
        const double half = fmax(fabs(low) * 0.1, 1e-6);
        low = logarithmic ? low / 2 : low - half;
        high = logarithmic ? high * 2 : high + half;
    }
    return logarithmic ? make_logarithmic(low, high, loose, most)
                       : make_linear(low, high, loose, most);
}

double axis_tick(const axis *a, uint32_t index) {
    if (a->logarithmic) return a->first * pow(a->step, index);
    const double tick = a->first + index * a->step;
    return fabs(tick) < a->step * 1e-6 ? 0 : tick;
}

double axis_place(const axis *a, double value) {
    if (!a->logarithmic) return (value - a->low) / (a->high - a->low);
    if (value <= 0) return -1;
    return log(value / a->low) / log(a->high / a->low);
}

double axis_value(const axis *a, double place) {
    if (a->logarithmic) return a->low * pow(a->high / a->low, place);
    return a->low + place * (a->high - a->low);
}

void axis_number(double value, char *out, size_t size) {
    const double magnitude = fabs(value);
    if (!isfinite(value))
        snprintf(out, size, isnan(value) ? "-" : value > 0 ? "inf" : "-inf");
    else if (magnitude >= 1e6)
        snprintf(out, size, "%.3gM", value / 1e6);
    else if (magnitude >= 1e4)
        snprintf(out, size, "%.3gk", value / 1e3);
    else if (magnitude >= 1e-3 || magnitude == 0)
        snprintf(out, size, "%.4g", value);
    else
        snprintf(out, size, "%.2e", value);
}

void axis_text(const axis *a, double value, char *out, size_t size) {
    const double largest = fmax(fabs(a->low), fabs(a->high));
    if (a->logarithmic || largest < 1e-3) {
        const bool plain = value == 0 || (a->logarithmic && value >= 9e-4 && value < 1.1e4);
        snprintf(out, size, plain ? "%g" : "%.0e", value);
        return;
    }
    const double unit = largest >= 1e6 ? 1e6 : largest >= 1e4 ? 1e3 : 1;
    const int digits = (int)fmax(0, ceil(-log10(a->step / unit) - 1e-9));
    snprintf(out, size, "%.*f%s", digits < 6 ? digits : 6, value / unit,
             value == 0    ? ""
             : unit == 1e6 ? "M"
             : unit == 1e3 ? "k"
                           : "");
}
