/* SPDX-License-Identifier: MIT */
/*
 * Daemon and command line over the control socket (Unix stream, owner root, 0600; peer credentials checked):
 * one line of JSON each way, then the daemon closes.
 *
 *   -> {"command":"status"}            <- {"ok":true,"status":{...}}      the object of `status --json`
 *      with "buckets":true each worker's latency_us has "buckets" too
 *   -> {"command":"stop"}              <- {"ok":true}      sent when the last worker has left, just before the exit;
 *                                         the end of the connection then says that pins and sockets are gone too
 *   -> {"command":"reload"}            <- {"ok":true,"reload":{"generation":2,"took_ms":...,"listen":{"added":[],
 *                                         "removed":[]},"workers":{"before":2,"after":4},"moved":...,...}}
 *                                         sent when the new workers serve and connections have moved; or
 *                                         {"ok":false,"error":"2 errors in 'FILE'","details":"FILE:1: error: ...\n"}
 *   -> {"command":"upgrade"}           <- {"ok":true,"upgrade":{as of a reload, and "binary","pid","version"}}, sent by the old
 *                                         master when the new one serves; or {"ok":false,"error","details"};
 *      with "binary":PATH (absolute), "timeout_ms":N for the new program to be ready
 *   -> {"command":"steer"}             <- {"ok":true,"steer":{"policy":...,"slots":[...]}}   the object of
 *                                         `sluice steer --json`; with one of these, the state after it:
 *      "change":"policy","policy":NAME | "change":"weight","slot":N,"weight":N |
 *      "change":"drain","slot":N | "change":"undrain","slot":N
 *   -> {"command":"upstream","action":"show"}     <- {"ok":true,"upstreams":[{"name","balance","servers":[...]}]}, as in
 *                                         the status; with "action":"drain" or "undrain" and "upstream":NAME,
 *                                         "server":TEXT as configured, the state after it
 *   -> anything else                   <- {"ok":false,"error":"..."}
 *
 * The end of the client's half of the connection ends its line as a newline does.  What follows the line is ignored.
 */
#ifndef SLUICE_CTL_PROTO_H
#define SLUICE_CTL_PROTO_H

#define CTL_QUESTION_MAX (64 * 1024)	/* bytes of a line towards the daemon, its newline not counted */
#define CTL_LINE_MAX	 (4096 * 1024)	/* bytes of an answer: a status takes 1.2 kB a worker, its buckets up to 4 kB */
#define CTL_CLIENT_MAX	 32	/* clients at a time; one more is told so and closed */
#define CTL_TIMEOUT_MS	 5000	/* for a client's whole line, and again for it to take the whole answer */
#define CTL_ERROR_TEXT	 256	/* room for an error message and its NUL */

#endif
