/* SPDX-License-Identifier: MIT */
/*
 * Who publishes to a channel from other hosts, and up to which serial number each has been heard: a message is passed on
 * once, and never behind one that was published after it.  Pure, apart from its memory, which does not grow: of more
 * publishers than it holds the one that was silent for longest is forgotten, and begins anew when it is heard again.
 */
#ifndef SLUICE_APP_CHANNEL_PEERS_H
#define SLUICE_APP_CHANNEL_PEERS_H

#include <stdbool.h>
#include <stdint.h>

/* Publishers are workers; only those in use take memory. */
#define CHANNEL_PEER_SETS 512u
#define CHANNEL_PEER_WAYS 8u

struct channel_peer {
	uint64_t id;
	uint64_t serial;	/* of its last message */
	uint64_t heard;		/* when, by the count of all messages; 0: the place is free */
};

struct channel_peers {
	uint64_t count;		/* of messages */
	struct channel_peer *places;	/* CHANNEL_PEER_WAYS for each set */
};

/* 0 or -ENOMEM. */
int channel_peers_init(struct channel_peers *p);
/* Harmless when it was not made. */
void channel_peers_fini(struct channel_peers *p);
/*
 * A message has come.  False: it comes twice, or one that follows it came before.  *ret_lost: messages of this publisher
 * that are missing in front of it; of a publisher that was not known none can be told.
 */
bool channel_peers_note(struct channel_peers *p, uint64_t publisher, uint64_t serial, uint64_t *ret_lost);

#endif
