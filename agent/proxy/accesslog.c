/*
 * accesslog: from a flow to the fields of its line.
 */
#include "proxy/accesslog.h"

#include <stdio.h>
#include <string.h>

#define SCOPE "access"

static void add(struct accesslog_line *line, const char *key, enum log_field_kind kind,
                const char *text)
{
	line->fields[line->count++] = (struct log_field){ .key = key, .kind = kind, .text = text };
}

static void add_number(struct accesslog_line *line, const char *key, uint64_t number)
{
	line->fields[line->count++] =
	    (struct log_field){ .key = key, .kind = LOG_NUMBER, .number = number };
}

/* ztunnel leaves all but the bare ends out of a line for a flow that failed before it was known. */
static void add_ends(struct accesslog_line *line, const struct flow *flow)
{
	/* clang-format off */
	static const struct {
		const char *key;
		enum log_field_kind kind;
		enum flow_text which;
	} src[] = {
		{ "src.workload", LOG_TEXT, FLOW_SRC_WORKLOAD },
		{ "src.namespace", LOG_TEXT, FLOW_SRC_NS },
		{ "src.identity", LOG_TEXT, FLOW_SRC_IDENTITY },
		{ "src.cluster", LOG_TEXT, FLOW_SRC_CLUSTER },
	}, dst[] = {
		{ "dst.hbone_addr", LOG_BARE, FLOW_AUTHORITY },
		{ "dst.service", LOG_TEXT, FLOW_DST_SERVICE },
		{ "dst.workload", LOG_TEXT, FLOW_DST_WORKLOAD },
		{ "dst.namespace", LOG_TEXT, FLOW_DST_NS },
		{ "dst.identity", LOG_TEXT, FLOW_DST_IDENTITY },
		{ "dst.cluster", LOG_TEXT, FLOW_DST_CLUSTER },
	};
	/* clang-format on */

	add(line, "src.addr", LOG_BARE, line->src);
	for (size_t i = 0; !flow->early && i < HB_ARRAY_LEN(src); i++)
		add(line, src[i].key, src[i].kind, flow_text(flow, src[i].which));
	add(line, "dst.addr", LOG_BARE, line->dst);
	for (size_t i = 0; !flow->early && i < HB_ARRAY_LEN(dst); i++)
		add(line, dst[i].key, dst[i].kind, flow_text(flow, dst[i].which));
	add(line, "direction", LOG_TEXT, flow->direction == FLOW_OUTBOUND ? "outbound" : "inbound");
}

static void add_end(struct accesslog_line *line, const struct flow *flow, const char *flags)
{
	struct hb_end why = flow->outcome->why;

	if (!flow->early) {
		snprintf(line->duration, sizeof(line->duration), "%llums",
		         (unsigned long long)flow_duration_ms(flow, 0));
		add_number(line, "bytes_sent", flow_bytes_sent(flow));
		add_number(line, "bytes_recv", flow_bytes_recv(flow));
		add(line, "duration", LOG_TEXT, line->duration);
	}
	add(line, "error", LOG_TEXT, flow->outcome->error);
	if (why.code == 0)
		return;
	snprintf(line->end, sizeof(line->end), "%s %s %s", hb_layer_name(why.layer),
	         hb_side_name(why.side), hb_strerror(why.code));
	if (strcmp(flags, "-") != 0)
		add(line, "response_flags", LOG_TEXT, flags);
	add(line, "policy", LOG_TEXT, flow_text(flow, FLOW_POLICY));
	add(line, "end", LOG_TEXT, line->end);
}

static enum log_level level_of(const struct flow *flow)
{
	if (flow->early)
		return LOG_WARN;
	return *flow->outcome->error ? LOG_ERROR : LOG_INFO;
}

void accesslog_build(const struct flow *flow, const char *flags, struct accesslog_line *ret_line)
{
	struct hb_addr src = flow_src(flow);

	memset(ret_line, 0, sizeof(*ret_line));
	hb_addr_format(&src, ret_line->src, sizeof(ret_line->src));
	hb_addr_format(flow_dst(flow), ret_line->dst, sizeof(ret_line->dst));
	add_ends(ret_line, flow);
	if (flow->state != FLOW_CLOSED) {
		ret_line->level = LOG_DEBUG;
		ret_line->message = "connection opened";
		return;
	}
	ret_line->level = level_of(flow);
	ret_line->message = flow->early ? "connection failed" : "connection complete";
	add_end(ret_line, flow, flags);
}

void accesslog_opened(const struct flow *flow)
{
	struct accesslog_line line;

	if (!log_enabled(SCOPE, LOG_DEBUG))
		return;
	accesslog_build(flow, "-", &line);
	log_fields(line.level, SCOPE, line.message, line.fields, line.count);
}

void accesslog_ended(const struct flow *flow, const char *flags)
{
	struct accesslog_line line;

	if (!log_enabled(SCOPE, level_of(flow)))
		return;
	accesslog_build(flow, flags, &line);
	log_fields(line.level, SCOPE, line.message, line.fields, line.count);
}
