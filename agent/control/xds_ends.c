/*
 * xds_ends: by the status's kind, and where that is the server's, by its code and words.
 */
#include "control/xds_ends.h"

#include <string.h>

#include "control/grpc.h"

/* Stream ends that are everyday: the server restarts, or lets old connections go. */
static bool is_everyday(const struct grpc_status *status)
{
	switch (status->kind) {
	case GRPC_END_LOST:
	case GRPC_END_GOAWAY:
	case GRPC_END_DEADLINE:
		return true;
	case GRPC_END_SERVER:
		return status->code == GRPC_UNKNOWN || status->code == GRPC_CANCELLED ||
		       status->code == GRPC_DEADLINE_EXCEEDED ||
		       (status->code == GRPC_UNAVAILABLE &&
		        (strstr(status->message, "transport is closing") ||
		         strstr(status->message, "received prior goaway")));
	default:
		return false;
	}
}

const char *xds_end_reason(const struct grpc_status *status, bool came)
{
	if (status->kind == GRPC_END_SERVER && status->code == GRPC_OK)
		return "Complete";
	if (status->kind == GRPC_END_CONNECT || status->kind == GRPC_END_TOKEN)
		return "ConnectionError";
	if (is_everyday(status))
		return "Reconnect";
	return came || status->kind != GRPC_END_SERVER ? "Error" : "ConnectionError";
}

const char *xds_end_hint(const struct grpc_status *status)
{
	if (status->kind == GRPC_END_SERVER && strstr(status->message, "authentication failure"))
		return "; istiod's log says why it does not know us";
	if (status->kind == GRPC_END_CONNECT && strstr(status->message, "resolve"))
		return "; is DNS reachable from here?";
	return "";
}
