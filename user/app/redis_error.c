/* SPDX-License-Identifier: MIT */
/* The words; see redis_error.h. */
#include "app/redis_error.h"

#include "base/err.h"

enum redis_error redis_error_of(struct span text)
{
	static const struct {
		struct span word;
		enum redis_error error;
	} known[] = {
		{ SPAN("NOPERM "), REDIS_ERROR_DENIED },    { SPAN("NOAUTH "), REDIS_ERROR_SETUP },
		{ SPAN("MOVED "), REDIS_ERROR_SETUP },	    { SPAN("ASK "), REDIS_ERROR_SETUP },
		{ SPAN("OOM "), REDIS_ERROR_FULL },	    { SPAN("LOADING "), REDIS_ERROR_LATER },
		{ SPAN("BUSY "), REDIS_ERROR_LATER },	    { SPAN("READONLY "), REDIS_ERROR_LATER },
		{ SPAN("MISCONF "), REDIS_ERROR_LATER },    { SPAN("MASTERDOWN "), REDIS_ERROR_LATER },
		{ SPAN("CLUSTERDOWN "), REDIS_ERROR_LATER },{ SPAN("TRYAGAIN "), REDIS_ERROR_LATER },
		{ SPAN("NOREPLICAS "), REDIS_ERROR_LATER },
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (span_starts_with(text, known[i].word))
			return known[i].error;
	return REDIS_ERROR_REFUSED;
}
