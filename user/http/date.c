/* SPDX-License-Identifier: MIT */
/*
 * HTTP dates (RFC 9110 5.6.7): written in the one form, read in all three.  By hand, since strftime
 * and strptime follow the locale and timegm the time zone files.  Days are counted in the proleptic
 * Gregorian calendar.
 */
#include "http/reply.h"

#include "base/err.h"

#define DAY_S 86400

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char *const long_days[] = {
	"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
};

struct civil {
	int64_t year;
	unsigned month, day; /* from 1 */
	unsigned hour, minute, second;
};

/*
 * Eras of 400 years of 146097 days, with years that begin in March so that the leap day is the last
 * one.
 */
static int64_t days_of(int64_t year, unsigned month, unsigned day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400;
	int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void civil_of(int64_t days, struct civil *c)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t of_era = z - era * 146097;
	int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
	int64_t march_month = (5 * of_year + 2) / 153;

	c->day = (unsigned)(of_year - (153 * march_month + 2) / 5 + 1);
	c->month = (unsigned)(march_month < 10 ? march_month + 3 : march_month - 9);
	c->year = year + era * 400 + (c->month <= 2);
}

static void print_digits(char *to, unsigned value, unsigned count)
{
	while (count-- > 0) {
		to[count] = (char)('0' + value % 10);
		value /= 10;
	}
}

void http_date_print(int64_t unix_s, char out[HTTP_DATE_LEN])
{
	static const int64_t first = -62167219200, last = 253402300799; /* years 0000 to 9999 */
	int64_t s = MIN(MAX(unix_s, first), last);
	int64_t days = s / DAY_S - (s % DAY_S < 0);
	unsigned second = (unsigned)(s - days * DAY_S);
	struct civil c;

	civil_of(days, &c);
	memcpy(out, "Sun, 00 Jan 0000 00:00:00 GMT", HTTP_DATE_LEN);
	memcpy(out, day_names + 3 * (((days + 4) % 7 + 7) % 7), 3);
	memcpy(out + 8, month_names + 3 * (c.month - 1), 3);
	print_digits(out + 5, c.day, 2);
	print_digits(out + 12, (unsigned)c.year, 4);
	print_digits(out + 17, second / 3600, 2);
	print_digits(out + 20, second / 60 % 60, 2);
	print_digits(out + 23, second % 60, 2);
}

/* Takes the literal off the front. */
static bool take_text(struct span *s, const char *text)
{
	size_t len = strlen(text);

	if (s->len < len || memcmp(s->ptr, text, len) != 0)
		return false;
	*s = span_of(s->ptr + len, s->len - len);
	return true;
}

/* Exactly `count` digits. */
static bool take_digits(struct span *s, unsigned count, unsigned *ret_value)
{
	unsigned value = 0;

	if (s->len < count)
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (s->ptr[i] < '0' || s->ptr[i] > '9')
			return false;
		value = value * 10 + (unsigned)(s->ptr[i] - '0');
	}
	*s = span_of(s->ptr + count, s->len - count);
	*ret_value = value;
	return true;
}

/* One of the names of three letters, its number from 0. */
static bool take_name(struct span *s, const char *names, unsigned *ret_index)
{
	for (unsigned i = 0; s->len >= 3 && names[i * 3]; i++) {
		if (memcmp(s->ptr, names + i * 3, 3) != 0)
			continue;
		*s = span_of(s->ptr + 3, s->len - 3);
		*ret_index = i;
		return true;
	}
	return false;
}

static bool take_month(struct span *s, struct civil *c)
{
	unsigned index;

	if (!take_name(s, month_names, &index))
		return false;
	c->month = index + 1;
	return true;
}

static bool take_time(struct span *s, struct civil *c)
{
	return take_digits(s, 2, &c->hour) && take_text(s, ":") && take_digits(s, 2, &c->minute) &&
	       take_text(s, ":") && take_digits(s, 2, &c->second);
}

static bool take_year(struct span *s, struct civil *c)
{
	unsigned year;

	if (!take_digits(s, 4, &year))
		return false;
	c->year = year;
	return true;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool take_fixdate(struct span s, struct civil *c)
{
	unsigned day_name;

	return take_name(&s, day_names, &day_name) && take_text(&s, ", ") &&
	       take_digits(&s, 2, &c->day) && take_text(&s, " ") && take_month(&s, c) &&
	       take_text(&s, " ") && take_year(&s, c) && take_text(&s, " ") && take_time(&s, c) &&
	       take_text(&s, " GMT") && s.len == 0;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool take_asctime(struct span s, struct civil *c)
{
	unsigned day_name;

	if (!take_name(&s, day_names, &day_name) || !take_text(&s, " ") || !take_month(&s, c) ||
	    !take_text(&s, " "))
		return false;
	if (take_text(&s, " ") ? !take_digits(&s, 1, &c->day) : !take_digits(&s, 2, &c->day))
		return false;
	return take_text(&s, " ") && take_time(&s, c) && take_text(&s, " ") && take_year(&s, c) &&
	       s.len == 0;
}

/*
 * "Sunday, 06-Nov-94 08:49:37 GMT".  A year more than 50 years ahead is of the century before;
 * measured against 2020 instead of today, so that the same text always means the same: these
 * clients are gone.
 */
static bool take_rfc850(struct span s, struct civil *c)
{
	unsigned year;

	for (unsigned i = 0; i < ARRAY_LEN(long_days); i++)
		if (take_text(&s, long_days[i]))
			break;
	if (!take_text(&s, ", ") || !take_digits(&s, 2, &c->day) || !take_text(&s, "-") ||
	    !take_month(&s, c) || !take_text(&s, "-") || !take_digits(&s, 2, &year))
		return false;
	c->year = year < 70 ? 2000 + year : 1900 + year;
	return take_text(&s, " ") && take_time(&s, c) && take_text(&s, " GMT") && s.len == 0;
}

static bool is_real(const struct civil *c)
{
	static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool is_leap = c->year % 4 == 0 && (c->year % 100 != 0 || c->year % 400 == 0);
	unsigned length = lengths[c->month - 1] + (c->month == 2 && is_leap);

	/* 60: a leap second, which is the first second of the next minute to us. */
	return c->day >= 1 && c->day <= length && c->hour < 24 && c->minute < 60 && c->second <= 60;
}

int http_date_parse(struct span text, int64_t *ret_unix_s)
{
	struct civil c;

	if (!take_fixdate(text, &c) && !take_rfc850(text, &c) && !take_asctime(text, &c))
		return -EINVAL;
	if (!is_real(&c))
		return -EINVAL;
	*ret_unix_s =
		days_of(c.year, c.month, c.day) * DAY_S + c.hour * 3600 + c.minute * 60 + c.second;
	return 0;
}
