/* SPDX-License-Identifier: MIT */
/* Routes with `websocket`, and `channel`: defaults, every key, the round trip, and what faulty ones are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "config_cases.h"

#define ROUTE(keys) "site a { route / { websocket = 'channel:c' " keys " } }"

static struct config *parse(const char *text)
{
	static struct config_errors errors;
	struct config *c = NULL;

	if (config_parse("test.conf", text, &c, &errors) != 0) {
		config_errors_print(&errors, stderr);
		fail_msg("refused:\n%s", text);
	}
	config_errors_free(&errors);
	return c;
}

static void config_websocket__has_defaults(void **state)
{
	struct config *c = parse("listen :0 {} site '*' { route / { websocket = echo } }");
	const struct config_route *r = &c->sites[0].routes[0];
	const struct config_websocket *ws = &r->websocket;

	assert_int_equal(r->kind, ROUTE_WEBSOCKET);
	assert_string_equal(r->value, "echo");
	assert_int_equal(ws->message, 65536);
	assert_int_equal(ws->frame, 65536);
	assert_int_equal(ws->queue, 256 * 1024);
	assert_int_equal(ws->ping, 30000);
	assert_int_equal(ws->pong, 10000);
	assert_int_equal(ws->close, 5000);
	assert_int_equal(ws->publish, WEBSOCKET_PUBLISH_LOCAL);
	assert_false(ws->has_deflate);
	assert_int_equal(ws->origins_count, 0);
	config_free(c);
}

static void check_all(const struct config *c)
{
	const struct config_websocket *ws = &c->sites[0].routes[0].websocket;

	assert_string_equal(c->sites[0].routes[0].value, "channel:a.b-c_1");
	assert_int_equal(ws->message, 512 * 1024);
	assert_int_equal(ws->frame, 125);
	assert_int_equal(ws->queue, 1 << 20);
	assert_int_equal(ws->ping, 0);
	assert_int_equal(ws->pong, 50);
	assert_int_equal(ws->close, 60000);
	assert_int_equal(ws->publish, WEBSOCKET_PUBLISH_ANY);
	assert_true(ws->has_deflate);
	assert_int_equal(ws->origins_count, 3);
	assert_string_equal(ws->origins[0], "https://a.example:8443");
	assert_string_equal(ws->origins[2], "*");
}

static void config_websocket__takes_every_key_and_dumps_it(void **state)
{
	struct config *c = parse("listen :0 {}\nsite '*' { route / { websocket = 'channel:a.b-c_1' message = 512k\n"
				 "frame = 125 queue = 1m ping = off pong_timeout = 50ms close_timeout = 1m\n"
				 "publish = any deflate = true origins = { 'https://a.example:8443', 'null', '*' } } }");
	struct config *again;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	check_all(c);
	config_dump(c, out);
	fclose(out);
	again = parse(text);
	check_all(again);
	config_free(again);
	config_free(c);
	free(text);
}

static void config_websocket__tells_what_is_wrong(void **state)
{
	static const struct error_case cases[] = {
		{"site a { route / { websocket = ecko } }", .want = {"1: websocket: 'ecko' is unknown; known: echo"}},
		{"site a { route / { websocket = 'channel:' } }",
		 .want = {"1: 'channel:' is no channel: expected 1 to 64"}},
		{"site a { route / { websocket = 'channel:a b' } }", .want = {"1: is no channel"}},
		{"site a { route / { websocket = echo respond = x } }", .want = {"1: has two handlers"}},
		{"site a { route / { websocket = echo tries = 2 } }",
		 .want = {"1: 'tries' has no effect on a route with 'websocket'"}},
		{"site a { route / { respond = x publish = off } }",
		 .want = {"1: 'publish' has no effect on a route with 'respond'"}},
		{"websocket = echo", .want = {"1: unknown key 'websocket' at top level; it belongs in route"}},
		{ROUTE("message = 124"), .want = {"1: message: '124' is out of range"}},
		{ROUTE("message = 1m"),
		 .want = {"1: message: a channel takes messages of at most 524288 bytes, not 1048576"}},
		{ROUTE("frame = 17m"), .want = {"1: frame: '17m' is out of range"}},
		{ROUTE("publish = anybody"), .want = {"1: publish: 'anybody' is unknown"}},
		{ROUTE("origins = { 'a.example' }"), .want = {"1: origins: 'a.example' is no origin"}},
		{ROUTE("origins = { 'https://a.example/' }"), .want = {"1: is no origin"}},
		{ROUTE("origins = { '://a' }"), .want = {"1: is no origin"}},
		{ROUTE("origin = { '*' }"), .want = {"1: unknown key 'origin' in route; did you mean 'origins'?"}},
	};

	CHECK(cases);
}

#define CHANNELS "redis r {}\nredis s { reply = 64k }\nsite a { route / { websocket = 'channel:news' } }\n"

static void check_channels(const struct config *c)
{
	assert_int_equal(c->channel_count, 2);
	assert_string_equal(c->channels[0].name, "news");
	assert_string_equal(c->channels[0].redis, "r");
	assert_string_equal(c->channels[0].topic, "sluice:news");
	assert_int_equal(c->channels[0].gap, CHANNEL_GAP_KEEP);
	assert_string_equal(c->channels[1].topic, "app");
	assert_int_equal(c->channels[1].gap, CHANNEL_GAP_CLOSE);
}

static void config_channel__is_parsed_and_dumped(void **state)
{
	struct config *c = parse("listen :0 {}\n" CHANNELS "channel news { redis = r }\n"
				 "channel sport { redis = r topic = app on_gap = close }\n"
				 "site b { route / { websocket = 'channel:sport' } }");
	struct config *again;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	check_channels(c);
	config_dump(c, out);
	fclose(out);
	again = parse(text);
	check_channels(again);
	config_free(again);
	config_free(c);
	free(text);
}

static void config_channel__tells_what_is_wrong(void **state)
{
	static const struct error_case cases[] = {
		{CHANNELS "channel news { }", .want = {"4: channel 'news' has no redis"}},
		{CHANNELS "channel 'a b' { redis = r }",
		 .want = {"4: channel: 'a b' is no name", "4: no route leads to 'a b': expected one such as websocket"}},
		{CHANNELS "channel news { redis = t }", .want = {"4: redis: there is no redis 't'"}},
		{CHANNELS "channel news { redis = s }", .want = {"4: does not fit the `reply` of 's' (65536 bytes)"}},
		{CHANNELS "channel new { redis = r }", .want = {"4: no route leads to 'new'; did you mean 'news'?"}},
		{CHANNELS "channel news { redis = r }\nchannel news { redis = r }",
		 .want = {"5: the name 'news' is taken by the channel on line 4"}},
		{CHANNELS "site b { route / { websocket = 'channel:a' } }\nchannel news { redis = r }\n"
		 "channel a { redis = r topic = 'sluice:news' }",
		 .want = {"6: channel 'a' has the topic of 'news' on line 5"}},
		{CHANNELS "channel news { redis = r topic = '' }", .want = {"4: topic: '' has to be 1 to 255 bytes"}},
		{CHANNELS "channel news { redis = r on_gap = tell }", .want = {"4: on_gap: 'tell' is unknown"}},
	};

	CHECK(cases);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_websocket__has_defaults),
		cmocka_unit_test(config_websocket__takes_every_key_and_dumps_it),
		cmocka_unit_test(config_websocket__tells_what_is_wrong),
		cmocka_unit_test(config_channel__is_parsed_and_dumped),
		cmocka_unit_test(config_channel__tells_what_is_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
