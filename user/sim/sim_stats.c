/* SPDX-License-Identifier: MIT */
/* Mean and confidence interval. */
#include "sim/sim_stats.h"

#include <math.h>

#include "base/err.h"

double sim_student_t(unsigned degrees)
{
	static const double table[] = {
		12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
		2.201,	2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
		2.080,	2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
	};

	if (degrees >= 1 && degrees <= ARRAY_LEN(table))
		return table[degrees - 1];
	/* The first term of the expansion about the normal quantile: right to 0.1 % from 30 on. */
	return 1.95996 + 2.3723 / degrees + 2.8225 / degrees / degrees;
}

struct sim_estimate sim_estimate(const double *values, unsigned count)
{
	struct sim_estimate e = {.mean = NAN, .half_width = NAN};
	double sum = 0, squares = 0;

	for (unsigned i = 0; i < count; i++) {
		if (isnan(values[i]))
			continue;
		sum += values[i];
		e.count++;
	}
	if (!e.count)
		return e;
	e.mean = sum / e.count;
	for (unsigned i = 0; i < count; i++) {
		if (!isnan(values[i]))
			squares += (values[i] - e.mean) * (values[i] - e.mean);
	}
	if (e.count > 1)
		e.half_width = sim_student_t(e.count - 1) * sqrt(squares / (e.count - 1) / e.count);
	return e;
}
