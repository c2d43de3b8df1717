/*
 * outbound_failover: one table of ends.
 */
#include "proxy/outbound_failover.h"

#include <errno.h>

static bool is_our_own(int code)
{
	switch (code) {
	case -ENOMEM:
	case -ENOBUFS:
	case -EMFILE:
	case -ENFILE:
	case -EADDRNOTAVAIL:
	case -ECANCELED:
	case HB_E_DRAIN:
	case HB_E_LIMIT:
	case HB_E_POLICY:
	case HB_E_CANCELLED:
	case HB_E_NO_CREDENTIAL:
	case HB_E_POOL_CONNECTIONS:
	case HB_E_KEY_CONNECTIONS:
	case HB_E_POOL_WAITERS:
	case HB_E_KEY_WAITERS:
		return true;
	default:
		return false;
	}
}

bool outbound_may_try_elsewhere(struct hb_end why)
{
	int status = hb_error_number(why.code, HB_E_STATUS(0));

	if (why.layer < HB_LAYER_TCP || why.layer > HB_LAYER_TUNNEL || why.code == 0)
		return false;
	if (status >= 0) /* bad gateway, unavailable (nothing listens there), gateway timeout */
		return status >= 502 && status <= 504;
	return !is_our_own(why.code);
}
