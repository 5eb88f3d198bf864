/* SPDX-License-Identifier: MIT */
/* Between parse.c and body.c only; the interface of both is parse.h. */
#ifndef SLUICE_HTTP_BODY_H
#define SLUICE_HTTP_BODY_H

#include "http/parse.h"

/* The head is accepted: p->req says how its content is framed. */
void parser_begin_body(struct parser *p);

#endif
