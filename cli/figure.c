// SPDX-License-Identifier: Apache-2.0
#include "cli/figure.h"

#include <math.h>
#include <stdio.h>

void cli_figure(char *out, size_t size, uint32_t seeds, vkd_figure f, double scale, int digits,
                const char *unit) {
    if (!isfinite(f.mean))
        snprintf(out, size, "-");
    else if (seeds > 1)
        snprintf(out, size, "%.*f%s +- %.*f", digits, f.mean * scale, unit, digits,
                 f.deviation * scale);
    else
        snprintf(out, size, "%.*f%s", digits, f.mean * scale, unit);
}
