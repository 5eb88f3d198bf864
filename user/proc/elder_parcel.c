/* SPDX-License-Identifier: MIT */
/* Receiving what is passed on, and reading its text; see elder_parcel.h. */
#include "proc/elder_parcel.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "net/fd_pass.h"
#include "upgrade_proto.h"

#define TEXT_MAX (16u << 20)
#define FILES_MAX 65536u

/* Receiving --------------------------------------------------------------------------------------------------- */

static int append(struct elder_parcel *p, const int *fds, unsigned count)
{
	int *grown = realloc(p->fds, (p->count + count + 1) * sizeof(*grown));

	if (!grown || p->count + count > FILES_MAX) {
		for (unsigned i = 0; i < count; i++)
			close(fds[i]);
		p->fds = grown ? grown : p->fds;
		return -ENOMEM;
	}
	memcpy(grown + p->count, fds, count * sizeof(*fds));
	p->fds = grown;
	p->count += count;
	return 0;
}

/* Descriptors received, 0 at the end of the list, or -errno.  Nothing is served yet, so waiting is no harm. */
static int receive_part(int fd, uint64_t limit_ms, struct elder_parcel *p)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char next = UPGRADE_NEXT, type;
	int fds[FD_PASS_MAX], err;
	unsigned count = 0;
	ssize_t n;

	n = fd_pass_send(fd, &next, 1, -1);
	if (n < 0)
		return (int)n;
	err = poll(&poll_fd, 1, (int)limit_ms);
	if (err <= 0)
		return err < 0 ? -errno : -ETIMEDOUT;
	n = fd_pass_receive_all(fd, &type, 1, fds, &count);
	if (n <= 0)
		return n < 0 ? (int)n : -ECONNRESET;
	err = append(p, fds, count);
	return err ? err : (int)count;
}

static int read_text(struct elder_parcel *p)
{
	struct stat st;
	char *text;
	ssize_t n;

	if (p->count == 0 || fstat(p->fds[0], &st) < 0 || st.st_size <= 0 || st.st_size > TEXT_MAX)
		return -EBADMSG;
	text = malloc((size_t)st.st_size);
	if (!text)
		return -ENOMEM;
	n = pread(p->fds[0], text, (size_t)st.st_size, 0);
	if (n == st.st_size)
		p->text = json_loadb(text, (size_t)n, 0, NULL);
	free(text);
	return json_is_object(p->text) ? 0 : -EBADMSG;
}

int elder_receive(int fd, uint64_t limit_ms, struct elder_parcel *p)
{
	int n;

	do {
		n = receive_part(fd, limit_ms, p);
	} while (n > 0);
	if (n == 0)
		n = read_text(p);
	if (n < 0)
		log_error("cannot take over from the running server: %s", strerror(-n));
	return n;
}

void elder_parcel_free(struct elder_parcel *p)
{
	for (unsigned i = 0; i < p->count; i++)
		sock_close(p->fds[i]);
	free(p->fds);
	json_decref(p->text);
	*p = (struct elder_parcel){ 0 };
}

/* Reading ----------------------------------------------------------------------------------------------------- */

int parcel_take(struct elder_parcel *p, const json_t *place)
{
	json_int_t at = json_is_integer(place) ? json_integer_value(place) : -1;
	int fd;

	if (at < 0 || at >= (json_int_t)p->count)
		return -1;
	fd = p->fds[at];
	p->fds[at] = -1;
	return fd;
}

json_int_t text_number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

unsigned text_count(const json_t *o, const char *key, unsigned max)
{
	json_int_t n = text_number(o, key);

	return n < 0 ? 0 : n > (json_int_t)max ? max : (unsigned)n;
}

bool text_flag(const json_t *o, const char *key)
{
	return json_is_true(json_object_get(o, key));
}

const char *text_string(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

int text_copy(const json_t *o, const char *key, char **ret)
{
	const char *from = text_string(o, key);

	free(*ret);
	*ret = from ? strdup(from) : NULL;
	return from && !*ret ? -ENOMEM : 0;
}

bool parcel_has_layout(const json_t *all, enum upgrade_layout l)
{
	const char *theirs = text_string(json_object_get(all, "layouts"), upgrade_layout_key(l));
	char ours[UPGRADE_LAYOUT_SIZE];

	return theirs && strcmp(theirs, upgrade_layout(l, ours)) == 0;
}
