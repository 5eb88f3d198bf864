/* SPDX-License-Identifier: MIT */
/* Publishers of other hosts; see channel_peers.h. */
#include "app/channel_peers.h"

#include <stdlib.h>

#include "base/err.h"

int channel_peers_init(struct channel_peers *p)
{
	*p = (struct channel_peers){ .places = calloc(CHANNEL_PEER_SETS * CHANNEL_PEER_WAYS, sizeof(*p->places)) };
	return p->places ? 0 : -ENOMEM;
}

void channel_peers_fini(struct channel_peers *p)
{
	free(p->places);
	p->places = NULL;
}

/* Its place, or the one that it gets.  Ids are random numbers, so that their last bits choose a set. */
static struct channel_peer *find(struct channel_peers *p, uint64_t id)
{
	struct channel_peer *set = &p->places[id % CHANNEL_PEER_SETS * CHANNEL_PEER_WAYS], *oldest = set;

	for (unsigned i = 0; i < CHANNEL_PEER_WAYS; i++) {
		if (set[i].heard && set[i].id == id)
			return &set[i];
		if (set[i].heard < oldest->heard)
			oldest = &set[i];
	}
	oldest->heard = 0;
	return oldest;
}

bool channel_peers_note(struct channel_peers *p, uint64_t publisher, uint64_t serial, uint64_t *ret_lost)
{
	struct channel_peer *peer = find(p, publisher);
	bool is_known = peer->heard > 0;

	*ret_lost = 0;
	peer->id = publisher;
	peer->heard = ++p->count;
	if (is_known && serial <= peer->serial)
		return false;
	if (is_known)
		*ret_lost = serial - peer->serial - 1;
	peer->serial = serial;
	return true;
}
