/* SPDX-License-Identifier: MIT */
/* Mean and 95 % confidence interval of a figure over the seeds (Student's t: the seeds are few). */
#ifndef SLUICE_PROC_SIM_STATS_H
#define SLUICE_PROC_SIM_STATS_H

struct sim_estimate {
	double mean;	   /* NAN: no value has a meaning */
	double half_width; /* of the interval; NAN with fewer than two values */
	unsigned count;
};

/* NAN among the values are left out. */
struct sim_estimate sim_estimate(const double *values, unsigned count);
/* Two-sided 95 % quantile of Student's t; at least 1 degree of freedom. */
double sim_student_t(unsigned degrees);

#endif
