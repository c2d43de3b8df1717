/*
 * flowdump: one flow, two shapes of JSON.
 */
#include "proxy/flowdump.h"

#include <inttypes.h>

void flowdump_text(FILE *out, const char *text)
{
	fputc('"', out);
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(out, "\\%c", *p);
		else if (*p < 0x20 || *p >= 0x7f)
			fprintf(out, "\\u%04x", *p);
		else
			fputc(*p, out);
	}
	fputc('"', out);
}

static void member(FILE *out, const char *key, const char *text)
{
	fprintf(out, ",\"%s\":", key);
	flowdump_text(out, text);
}

static void member_addr(FILE *out, const char *key, const struct hb_addr *addr)
{
	char text[HB_ADDR_STRLEN];

	member(out, key, hb_addr_format(addr, text, sizeof(text)));
}

static const char *protocol(const struct flow *flow)
{
	return *flow_text(flow, FLOW_AUTHORITY) ? "HBONE" : "TCP";
}

void flowdump_connection(FILE *out, const struct flow *flow, uint64_t now_ms)
{
	static const char *const directions[] = { "outbound", "inbound", "passthrough" };
	static const char *const states[] = { "opening", "open", "closed" };
	const struct flow_outcome *outcome = flow->state == FLOW_CLOSED ? flow->outcome : NULL;
	struct hb_addr src = flow_src(flow);

	fprintf(out, "{\"id\":%" PRIu64, (uint64_t)flow->id);
	member(out, "pod", flow_text(flow, FLOW_POD));
	member(out, "direction", directions[flow->direction]);
	member_addr(out, "src", &src);
	member_addr(out, "dst", flow_dst(flow));
	member_addr(out, "originalDst", flow_orig_dst(flow));
	member(out, "hboneAddr", flow_text(flow, FLOW_AUTHORITY));
	member(out, "srcWorkload", flow_text(flow, FLOW_SRC_WORKLOAD));
	member(out, "dstWorkload", flow_text(flow, FLOW_DST_WORKLOAD));
	member(out, "srcIdentity", flow_text(flow, FLOW_SRC_IDENTITY));
	member(out, "dstIdentity", flow_text(flow, FLOW_DST_IDENTITY));
	member(out, "service", flow_text(flow, FLOW_DST_SERVICE));
	member(out, "protocol", protocol(flow));
	member(out, "state", states[flow->state]);
	fprintf(out, ",\"bytesSent\":%" PRIu64 ",\"bytesRecv\":%" PRIu64 ",\"durationMs\":%" PRIu64,
	        flow_bytes_sent(flow), flow_bytes_recv(flow), flow_duration_ms(flow, now_ms));
	member(out, "end", outcome ? hb_strerror(outcome->why.code) : "");
	member(out, "layer", outcome ? hb_layer_name(outcome->why.layer) : "");
	member(out, "side", outcome ? hb_side_name(outcome->why.side) : "");
	member(out, "policy", flow_text(flow, FLOW_POLICY));
	member(out, "error", outcome ? outcome->error : "");
	fputc('}', out);
}

void flowdump_state(FILE *out, const struct flow *flow)
{
	struct hb_addr src = flow_src(flow);
	char text[HB_ADDR_STRLEN];

	fputs("{\"src\":", out);
	flowdump_text(out, hb_addr_format(&src, text, sizeof(text)));
	if (flow->direction == FLOW_OUTBOUND)
		member_addr(out, "originalDst", flow_orig_dst(flow));
	else
		fputs(",\"originalDst\":null", out); /* no client names its service yet */
	if (flow->direction == FLOW_OUTBOUND)
		member_addr(out, "actualDst", flow_dst(flow));
	else
		member_addr(out, "actualDst", flow_orig_dst(flow));
	member(out, "protocol", protocol(flow));
	fputc('}', out);
}
