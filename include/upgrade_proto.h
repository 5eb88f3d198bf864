/* SPDX-License-Identifier: MIT */
/*
 * A running master and the one that is to follow it, perhaps of another version, over a Unix socket (seqpacket).  The new
 * one finds the number of its end in the environment, UPGRADE_VARIABLE; one that knows nothing of it starts as ever and
 * fails at the control socket, which is taken.
 *
 *   new -> old   'N'                  the next part, please
 *   old -> new   'P' + descriptors    up to FD_PASS_MAX of them, in the order of the text; none: that was all.  The first of
 *                                     all is the text: JSON in a memfd, see proc/upgrade_text.h
 *   new -> old   'R'                  ready: every worker stands by, nothing is missing but the word
 *   new -> old   'F' + text           it cannot; the reason as it is to be shown
 *   old -> new   'G'                  go
 *   new -> old   'H' struct upgrade_leave     slots, programs and pins are the new one's: the old one lets go of everything
 *   old -> new   'S' struct upgrade_word      an old worker accepts no more, or is gone
 *   old -> new   'M' struct upgrade_word      an old worker has given away all that can move
 *   old -> new   'C' + text + descriptor      a client of the control socket, and what it has asked so far
 *   new -> old   'D' + JSON           it serves; what changed, for whoever asked
 *   new -> old   'T' | 'Q'            what is left is to drain (end) at once: the server stops
 *   new -> old   'L'                  logs are to be opened anew
 *
 * Until 'H' the old master can go on as if nothing had been.  The end of the connection is the end of the other process.
 * What both sides map has a layout of its own version each; where these differ it is not passed on (upgrade_text.h).
 */
#ifndef SLUICE_UPGRADE_PROTO_H
#define SLUICE_UPGRADE_PROTO_H

#include <stdbool.h>
#include <stdint.h>

#define UPGRADE_VARIABLE "SLUICE_UPGRADE_FD"
#define UPGRADE_PROTOCOL 1		/* of messages and text; another one is refused */
#define UPGRADE_MESSAGE_MAX (128 * 1024)	/* bytes; the longest question of a client fits */
#define UPGRADE_LISTENERS_MAX 256

#define UPGRADE_NEXT	'N'
#define UPGRADE_PART	'P'
#define UPGRADE_READY	'R'
#define UPGRADE_FAILED	'F'
#define UPGRADE_GO	'G'
#define UPGRADE_LEAVE	'H'
#define UPGRADE_STOPPED 'S'
#define UPGRADE_MOVED	'M'
#define UPGRADE_CLIENT	'C'
#define UPGRADE_DONE	'D'
#define UPGRADE_DRAIN	'T'
#define UPGRADE_QUIT	'Q'
#define UPGRADE_REOPEN	'L'

struct upgrade_word {
	char type;
	uint8_t spare;
	uint16_t slot;
};

struct upgrade_leave {
	char type;
	bool can_move;			/* connections can go to the new workers' inboxes */
	uint16_t heir_count;		/* new workers */
	uint16_t listener_count;	/* of is_kept */
	bool is_kept[UPGRADE_LISTENERS_MAX];	/* in the order of the text */
	bool is_udp_gone[UPGRADE_LISTENERS_MAX];	/* in the order of the UDP listeners, which are not in it: none is */
};

#endif
