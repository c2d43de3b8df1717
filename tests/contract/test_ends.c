/*
 * ends: what the owner of a tunnel is told, whatever happens in whatever state, in both roles. The
 * expected table is docs/internals/ends.md itself: the page cannot be wrong.
 *
 *     test_ends PAGE        compares
 *     test_ends --print     prints the tables as they are
 */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include <hbone/tunnel.h>

#include "support/any_loop.h"
#include "support/frames.h"
#include "support/held.h"
#include "support/pair.h"

#define LINGER_MS 40u /* where it is waited for */
#define LONG_MS   60000u
#define CELL      64

enum state { OPENING, OPEN, LOCAL, REMOTE, BOTH, UNREAD, FLUSHING, WAITING, STATES };

static const char *const state_names[STATES] = {
	"opening",       "open",   "we finished", "peer finished",
	"both finished", "unread", "flushing",    "waiting",
};

struct rig {
	struct hb_loop *loop;
	struct hb_h2 *h2;
	struct frames peer;
	struct probe tunnel;
	uint32_t
	    included; /* what a GOAWAY names that spares the tunnel: a client's is about pushes */
	unsigned closes;
};

static const struct hb_end policy = { HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY };
static const struct hb_end drain = { HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN };

/* ---- what can happen ---- */

static void peer_finishes(struct rig *rig)
{
	frames_say(&rig->peer, FRAME_DATA, FLAG_END_STREAM, 1, NULL, 0);
}

static void rst_no_error(struct rig *rig)
{
	frames_rst(&rig->peer, 1, 0);
}

static void rst_cancel(struct rig *rig)
{
	frames_rst(&rig->peer, 1, 8);
}

static void rst_refused(struct rig *rig)
{
	frames_rst(&rig->peer, 1, 7);
}

static void rst_stream_closed(struct rig *rig)
{
	frames_rst(&rig->peer, 1, 5);
}

static void rst_connect_error(struct rig *rig)
{
	frames_rst(&rig->peer, 1, 10);
}

static void goaway(struct rig *rig)
{
	frames_goaway(&rig->peer, rig->included, 0);
}

static void goaway_without_us(struct rig *rig)
{
	frames_goaway(&rig->peer, 0, 0);
}

static void goaway_error(struct rig *rig)
{
	frames_goaway(&rig->peer, rig->included, 11);
	probe_finish(&rig->peer.probe);
}

static void connection_ends(struct rig *rig)
{
	probe_finish(&rig->peer.probe);
}

static void connection_lost(struct rig *rig)
{
	probe_close(&rig->peer.probe, hb_end(HB_LAYER_TCP, HB_SIDE_US, -ECONNRESET));
}

static void breach(struct rig *rig)
{
	frames_say(&rig->peer, FRAME_DATA, 0, 0, "x", 1);
}

static void we_close(struct rig *rig)
{
	probe_close(&rig->tunnel, HB_END_CLEAN);
}

static void we_reset(struct rig *rig)
{
	probe_close(&rig->tunnel, hb_end(HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET));
}

static void we_abort(struct rig *rig)
{
	probe_close(&rig->tunnel, policy);
}

static void we_close_all(struct rig *rig)
{
	hb_h2_close(rig->h2, HB_END_CLEAN);
}

static void we_end_all(struct rig *rig)
{
	hb_h2_close(rig->h2, drain);
}

static void we_drain(struct rig *rig)
{
	hb_h2_drain(rig->h2);
}

static void time_passes(struct rig *rig)
{
	uint64_t until = hb_loop_now_ms(rig->loop) + 2 * LINGER_MS;

	while (hb_loop_now_ms(rig->loop) < until)
		hb_loop_turn(rig->loop, 5);
}

static const struct {
	const char *name;
	void (*happens)(struct rig *rig);
} events[] = {
	{ "its last byte", peer_finishes },
	{ "RST_STREAM NO_ERROR", rst_no_error },
	{ "RST_STREAM CANCEL", rst_cancel },
	{ "RST_STREAM REFUSED_STREAM", rst_refused },
	{ "RST_STREAM STREAM_CLOSED", rst_stream_closed },
	{ "RST_STREAM CONNECT_ERROR", rst_connect_error },
	{ "GOAWAY, this stream included", goaway },
	{ "GOAWAY, this stream excluded", goaway_without_us },
	{ "GOAWAY with an error, then its end", goaway_error },
	{ "the connection's end", connection_ends },
	{ "the connection's reset", connection_lost },
	{ "a breach of HTTP/2", breach },
	{ "*we* close cleanly", we_close },
	{ "*we* abort", we_abort },
	{ "*we* abort: an app was reset", we_reset },
	{ "*we* close the connection cleanly", we_close_all },
	{ "*we* end the connection", we_end_all },
	{ "*we* drain the connection", we_drain },
	{ "nothing, for linger_ms", time_passes },
};

/* ---- reaching a state ---- */

static void on_request(struct hb_h2 *h2, struct hb_stream *stream)
{
	struct rig *rig = hb_h2_owner(h2);

	probe_init(&rig->tunnel, stream);
}

static void on_h2_closed(struct hb_h2 *h2, struct hb_end why)
{
	struct rig *rig = hb_h2_owner(h2);

	rig->closes++;
	rig->h2 = NULL;
	hb_h2_free(h2);
}

static const struct hb_h2_events h2_events = { .on_request = on_request,
	                                       .on_closed = on_h2_closed };

static void settle(struct rig *rig)
{
	for (int i = 0; i < 6; i++) {
		turn_some(rig->loop, 3);
		frames_look(&rig->peer);
	}
}

static void open_tunnel(struct rig *rig, enum hb_h2_role role, enum state state)
{
	static const struct hb_tunnel_request request = { .authority = "10.0.0.1:80" };

	if (role == HB_H2_CLIENT)
		probe_init(&rig->tunnel, hb_tunnel_open(rig->h2, &request));
	else
		frames_request(&rig->peer, 1);
	settle(rig);
	if (state == OPENING)
		return;
	if (role == HB_H2_CLIENT)
		frames_answer(&rig->peer, 1, 200, 0);
	else
		hb_tunnel_accept(rig->tunnel.stream, "");
	if (state != UNREAD)
		probe_resume(&rig->tunnel);
	settle(rig);
}

static void reach(struct rig *rig, enum hb_h2_role role, enum state state, uint32_t linger_ms)
{
	struct hb_h2_options options = { .role = role, .linger_ms = linger_ms };
	struct hb_stream *wires[2];

	pair_new(rig->loop, wires);
	pair_linger(wires[0], LONG_MS);
	frames_init(&rig->peer, rig->loop, wires[1], role == HB_H2_SERVER,
	            state == FLUSHING ? 0 : 65535);
	rig->h2 = hb_h2_new(rig->loop, wires[0], &options, &h2_events, rig);
	ck_assert_ptr_nonnull(rig->h2);
	settle(rig);
	open_tunnel(rig, role, state);
	if (state == LOCAL || state == BOTH || state == UNREAD)
		probe_finish(&rig->tunnel);
	if (state == FLUSHING)
		probe_write(&rig->tunnel, rig->loop, "backlog", 7, 7);
	if (state == FLUSHING || state == WAITING)
		probe_close(&rig->tunnel, HB_END_CLEAN);
	settle(rig);
	if (state == UNREAD)
		frames_say(&rig->peer, FRAME_DATA, FLAG_END_STREAM, 1, "last words", 10);
	if (state == REMOTE || state == BOTH)
		peer_finishes(rig);
	settle(rig);
}

/* ---- what comes of it ---- */

/* clang-format off */
static const struct {
	const char *name;
	struct hb_end end;
} names[] = {
	{ "clean",     { HB_LAYER_NONE, HB_SIDE_NONE, 0 } },
	{ "as asked",  { HB_LAYER_AGENT, HB_SIDE_US, HB_E_POLICY } },
	{ "drain",     { HB_LAYER_AGENT, HB_SIDE_US, HB_E_DRAIN } },
	{ "cancelled", { HB_LAYER_TUNNEL, HB_SIDE_US, HB_E_CANCELLED } },
	{ "cancelled", { HB_LAYER_H2, HB_SIDE_US, HB_E_CANCELLED } },
	{ "timed out", { HB_LAYER_H2, HB_SIDE_PEER, -ETIMEDOUT } },
	{ "goaway",    { HB_LAYER_H2, HB_SIDE_PEER, HB_E_GOAWAY } },
	{ "refused",   { HB_LAYER_H2, HB_SIDE_PEER, HB_E_REFUSED } },
	{ "truncated", { HB_LAYER_H2, HB_SIDE_PEER, HB_E_TRUNCATED } },
	{ "protocol",  { HB_LAYER_H2, HB_SIDE_PEER, HB_E_H2 } },
	{ "lost",      { HB_LAYER_TCP, HB_SIDE_PEER, -ECONNRESET } },
};
/* clang-format on */

static void name_end(const struct hb_end *end, char *out, size_t size)
{
	int n = hb_error_number(end->code, HB_E_RST(0));

	for (size_t i = 0; i < HB_ARRAY_LEN(names); i++) {
		const struct hb_end *e = &names[i].end;

		if (e->layer == end->layer && e->side == end->side && e->code == end->code) {
			snprintf(out, size, "%s", names[i].name);
			return;
		}
	}
	if (n >= 0 && end->layer == HB_LAYER_H2 && end->side == HB_SIDE_PEER)
		snprintf(out, size, "reset %d", n);
	else
		snprintf(out, size, "%s %s %d", hb_layer_name(end->layer), hb_side_name(end->side),
		         end->code);
}

static void append(char *out, const char *separator, const char *text)
{
	size_t len = strlen(out);

	snprintf(out + len, CELL - len, "%s%s", len ? separator : "", text);
}

static void down(struct rig *rig, const char *where)
{
	if (rig->h2)
		hb_h2_close(rig->h2, policy);
	for (int i = 0; i < 100 && !rig->closes; i++)
		turn_some(rig->loop, 1);
	probe_close(&rig->peer.probe, policy);
	ck_assert_msg(turn_until(rig->loop, &rig->peer.probe.closes, 1, 100), "%s", where);
	ck_assert_msg(rig->closes == 1, "%s: the connection never ends", where);
	ck_assert_msg(rig->tunnel.closes == 1, "%s: the tunnel never ends", where);
	ck_assert_msg(!rig->tunnel.broken, "%s: %s", where, rig->tunnel.broken);
	ck_assert_msg(hb_buf_pool_slots_out(hb_loop_pool(rig->loop)) == 0, "%s: buffers", where);
	probe_done(&rig->tunnel);
	frames_done(&rig->peer);
}

static void try_cell(struct hb_loop *loop, enum hb_h2_role role, enum state state, size_t event,
                     char out[CELL])
{
	struct rig rig = { .loop = loop, .included = role == HB_H2_CLIENT };
	char text[CELL], where[2 * CELL];
	bool by_time = events[event].happens == time_passes;
	unsigned finishes;

	out[0] = 0;
	snprintf(where, sizeof(where), "%s, %s", state_names[state], events[event].name);
	reach(&rig, role, state, by_time ? LINGER_MS : LONG_MS);
	if (role == HB_H2_SERVER && state == WAITING) { /* it does not wait */
		snprintf(out, CELL, " ");
		down(&rig, where);
		return;
	}
	finishes = rig.tunnel.finishes;
	events[event].happens(&rig);
	settle(&rig);
	if (state == UNREAD) {
		probe_resume(&rig.tunnel);
		settle(&rig);
		ck_assert_msg(!rig.tunnel.finishes || rig.tunnel.len == 10, "%s: bytes", where);
	}
	if (rig.tunnel.finishes > finishes)
		append(out, ", ", "finish");
	if (rig.tunnel.closes) {
		name_end(&rig.tunnel.end, text, sizeof(text));
		append(out, ", ", text);
	}
	if (rig.peer.counts[FRAME_RST_STREAM] > 0) {
		snprintf(text, sizeof(text), "RST %u", rig.peer.rst_code);
		append(out, " / ", text);
	}
	if (!out[0])
		snprintf(out, CELL, "-");
	down(&rig, where);
}

/* ---- the page ---- */

static const char *role_name(enum hb_h2_role role)
{
	return role == HB_H2_CLIENT ? "client" : "server";
}

static void print_table(struct hb_loop *loop, enum hb_h2_role role)
{
	char cell[CELL];

	printf("<!-- ends: %s -->\n\n| |", role_name(role));
	for (unsigned s = 0; s < STATES; s++)
		printf(" %s |", state_names[s]);
	printf("\n|---|");
	for (unsigned s = 0; s < STATES; s++)
		printf("---|");
	printf("\n");
	for (size_t e = 0; e < HB_ARRAY_LEN(events); e++) {
		printf("| %s |", events[e].name);
		for (unsigned s = 0; s < STATES; s++) {
			try_cell(loop, role, s, e, cell);
			printf(" %s |", cell);
		}
		printf("\n");
	}
	printf("\n");
}

/* The next cell of a line of the table, without its blanks; NULL: there is none. */
static char *next_cell(char **line)
{
	char *cell = *line, *end = cell ? strchr(cell, '|') : NULL;

	if (!end)
		return NULL;
	*line = end + 1;
	*end = 0;
	cell += strspn(cell, " ");
	for (end = cell + strlen(cell); end > cell && end[-1] == ' ';)
		*--end = 0;
	return cell;
}

static unsigned check_row(struct hb_loop *loop, enum hb_h2_role role, size_t event, char *line)
{
	char *name = next_cell(&line), got[CELL];
	unsigned wrong = 0;

	ck_assert_msg(name && strcmp(name, events[event].name) == 0,
	              "%s: row %zu is \"%s\", not \"%s\"", role_name(role), event, name ? name : "",
	              events[event].name);
	for (unsigned s = 0; s < STATES; s++) {
		const char *want = next_cell(&line);

		ck_assert_msg(want != NULL, "%s: row \"%s\" is short", role_name(role), name);
		try_cell(loop, role, s, event, got);
		if (strcmp(*want ? want : " ", got) == 0)
			continue;
		printf("%s, %s, %s: the page says \"%s\", it is \"%s\"\n", role_name(role),
		       state_names[s], name, want, got);
		wrong++;
	}
	return wrong;
}

static const char *page;

static unsigned check_table(struct hb_loop *loop, enum hb_h2_role role)
{
	char line[2048], marker[64];
	bool inside = false;
	unsigned row = 0, wrong = 0;
	FILE *in = fopen(page, "r");

	ck_assert_msg(in != NULL, "cannot open %s", page);
	snprintf(marker, sizeof(marker), "<!-- ends: %s -->", role_name(role));
	while (row < 2 + HB_ARRAY_LEN(events) && fgets(line, sizeof(line), in)) {
		inside = inside || strncmp(line, marker, strlen(marker)) == 0;
		if (!inside || line[0] != '|')
			continue;
		if (row >= 2) /* the head and its rule */
			wrong += check_row(loop, role, row - 2, line + 1);
		row++;
	}
	fclose(in);
	ck_assert_msg(row == 2 + HB_ARRAY_LEN(events), "%s: the page has %u rows", role_name(role),
	              row);
	fflush(stdout);
	return wrong;
}

START_TEST(as_the_page_says)
{
	unsigned fds = held_fds(), wrong;
	struct hb_loop *loop = test_loop_new(NULL);

	ck_assert_ptr_nonnull(loop);
	wrong = check_table(loop, (enum hb_h2_role)_i);
	hb_loop_free(loop);
	ck_assert_uint_eq(held_fds(), fds);
	ck_assert_msg(wrong == 0, "%u cells of the page are not so", wrong);
}
END_TEST

START_TEST(print)
{
	struct hb_loop *loop = test_loop_new(NULL);

	print_table(loop, (enum hb_h2_role)_i);
	fflush(stdout);
	hb_loop_free(loop);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *suite = suite_create("ends");
	TCase *tc = tcase_create("both roles");
	SRunner *runner = srunner_create(suite);
	int failed;

	if (argc != 2)
		return 2;
	page = argv[1];
	tcase_set_timeout(tc, 120);
	if (strcmp(page, "--print") == 0)
		tcase_add_loop_test(tc, print, 0, 2);
	else
		tcase_add_loop_test(tc, as_the_page_says, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
