/*
 * xds_codec: workloads, services and policies by rows: what they become, or the sentence that
 * refuses them; the byte vectors of reference/controlplane 3.9.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/xds_codec.h"
#include "mesh/dump.h"
#include "support/pbtext.h"

enum kind { ADDRESS, POLICY, ADDRESS_HEX, POLICY_HEX };

/* clang-format off */
static const struct row {
	const char *name;
	enum kind kind;
	const char *value;
	const char *why;    /* NULL: it is taken */
	const char *want[6]; /* parts of the dump; "!" before: not in it */
} rows[] = {
	/* 3.9 */
	{ "vector: workload with uid u", ADDRESS_HEX, "0a04a2010175", NULL,
	  { "\"uid\": \"u\"", "\"capacity\": 1", "\"trustDomain\": \"cluster.local\"", "\"serviceAccount\": \"default\"",
	    "\"clusterId\": \"Kubernetes\"", "\"protocol\": \"TCP\"" } },
	{ "vector: services n/h 80:8080", ADDRESS_HEX, "0a15a2010175b2010e0a036e2f6812070a05085010903f", NULL,
	  { "\"n/h\"", "\"80\": 8080" } },
	{ "vector: capacity present and zero", ADDRESS_HEX, "0a07a2010175da0100", NULL, { "\"capacity\": 0" } },
	{ "vector: waypoint by hostname", ADDRESS_HEX, "0a11a2010175420b0a060a016e12016818a075", NULL,
	  { "\"destination\": \"n/h\"", "\"hboneMtlsPort\": 15008" } },
	{ "vector: VIP 10.0.0.1", ADDRESS_HEX, "120e12016e1a016822" "06" "12040a000001", NULL, { "\"/10.0.0.1\"", "!cidrVips" } },
	{ "vector: CIDR VIP of everything", ADDRESS_HEX, "121012016e1a01682208" "12040a0000001800", NULL,
	  { "\"cidr\": \"10.0.0.0/0\"" } },
	{ "vector: policy", POLICY_HEX, "0a017012016e180120012a080a06120422022200", NULL,
	  { "\"name\": \"p\"", "\"namespace\": \"n\"", "\"scope\": \"Namespace\"", "\"action\": \"Deny\"", "notPrincipals", "Presence" } },

	/* What istiod says of another network: its gateway, and all that lies behind it as one workload. They are
	 * called by their uids. */
	{ "istiod: a gateway to another network", ADDRESS_HEX,
	  "0a690a234e6574776f726b476174657761792f6e6574322f31302e332e302e31312f3135303038120c697374696f2d73797374656d1a040a03000b22046e65743"
	  "23a026577a201234e6574776f726b476174657761792f6e6574322f31302e332e302e31312f3135303038", NULL,
	  { "\"name\": \"NetworkGateway/net2/10.3.0.11/15008\"", "\"uid\": \"NetworkGateway/net2/10.3.0.11/15008\"", "\"network\": \"net2\"",
	    "\"10.3.0.11\"", "\"serviceAccount\": \"ew\"", "\"protocol\": \"TCP\"" } },
	{ "istiod: a service's part in another network", ADDRESS_HEX,
	  "0aa4020a5d6e6574322f53706c6974486f72697a6f6e576f726b6c6f61642f697374696f2d73797374656d2f65617374776573742f31302e332e302e31312f646"
	  "56d6f2f6661726f6e6c792e64656d6f2e7376632e636c75737465722e6c6f63616c120464656d6f22046e6574322801600292010672656d6f74659a0111120c0a"
	  "046e65743212040a03000b18a075a2015d6e6574322f53706c6974486f72697a6f6e576f726b6c6f61642f697374696f2d73797374656d2f65617374776573742"
	  "f31302e332e302e31312f64656d6f2f6661726f6e6c792e64656d6f2e7376632e636c75737465722e6c6f63616cb201300a2364656d6f2f6661726f6e6c792e64"
	  "656d6f2e7376632e636c75737465722e6c6f63616c12090a07085010903f1801da01020802", NULL,
	  { "\"workloadIps\": []", "\"destination\": \"net2/10.3.0.11\"", "\"network\": \"net2\"", "\"protocol\": \"HBONE\"", "\"capacity\": 2",
	    "\"demo/faronly.demo.svc.cluster.local\"" } },

	/* Address */
	{ "neither workload nor service", ADDRESS, "", "the value is neither a workload nor a service", { NULL } },
	{ "another kind from the future", ADDRESS, "3:{1:'x'}", "the value is neither a workload nor a service", { NULL } },
	{ "not protobuf", ADDRESS_HEX, "ffffffff", "the value is no Address", { NULL } },
	{ "cut short", ADDRESS_HEX, "0a04a20101", "the value is no Address", { NULL } },
	{ "the last of two counts", ADDRESS, "2:{2:'n' 3:'h'} 1:{20:'u'}", NULL, { "\"uid\": \"u\"", "!\"hostname\": \"h\"" } },

	/* Workload */
	{ "all texts", ADDRESS, "1:{1:'pod' 2:'ns' 4:'net' 6:'td' 7:'sa' 9:'node' 10:'cn' 11:'cr' 13:'dep' 18:'cl' 20:'u' 21:'host'}", NULL,
	  { "\"trustDomain\": \"td\"", "\"canonicalRevision\": \"cr\"", "\"workloadName\": \"dep\"", "\"clusterId\": \"cl\"",
	    "\"hostname\": \"host\"", "\"network\": \"net\"" } },
	{ "no uid", ADDRESS, "1:{1:'a'}", "a workload has no uid, expected one", { NULL } },
	{ "HBONE", ADDRESS, "1:{20:'u' 5:1}", NULL, { "\"protocol\": \"HBONE\"" } },
	{ "LEGACY_ISTIO_MTLS", ADDRESS, "1:{20:'u' 5:2}", "tunnel_protocol is 2, expected 0 to 1", { NULL } },
	{ "tunnel protocol of the future", ADDRESS, "1:{20:'u' 5:9}", "tunnel_protocol is 9, expected 0 to 1", { NULL } },
	{ "tunnel protocol below 0", ADDRESS, "1:{20:'u' 5:18446744073709551615}", "tunnel_protocol is -1, expected 0 to 1", { NULL } },
	{ "unhealthy", ADDRESS, "1:{20:'u' 17:1}", NULL, { "\"status\": \"Unhealthy\"" } },
	{ "unknown status", ADDRESS, "1:{20:'u' 17:2}", "status is 2, expected 0 to 1", { NULL } },
	{ "host network", ADDRESS, "1:{20:'u' 25:1}", NULL, { "\"networkMode\": \"HostNetwork\"" } },
	{ "unknown network mode", ADDRESS, "1:{20:'u' 25:2}", "network_mode is 2, expected 0 to 1", { NULL } },
	{ "type pod", ADDRESS, "1:{20:'u' 12:2}", NULL, { "\"workloadType\": \"pod\"" } },
	{ "type cronjob", ADDRESS, "1:{20:'u' 12:1}", NULL, { "\"workloadType\": \"cronjob\"" } },
	{ "type of the future is the default", ADDRESS, "1:{20:'u' 12:77}", NULL, { "\"workloadType\": \"deployment\"" } },
	{ "addresses of both families", ADDRESS, "1:{20:'u' 3:x'0a000001' 3:x'fd000000000000000000000000000001'}", NULL,
	  { "\"10.0.0.1\"", "\"fd00::1\"" } },
	{ "an address of 5 bytes", ADDRESS, "1:{20:'u' 3:x'0a00000102'}", "addresses has an address of 5 bytes, expected 4 or 16", { NULL } },
	{ "an address of no bytes", ADDRESS, "1:{20:'u' 3:''}", "addresses has an address of 0 bytes, expected 4 or 16", { NULL } },
	{ "a name without addresses", ADDRESS, "1:{20:'u' 2:'n' 21:'db.example.org'}", NULL, { "\"hostname\": \"db.example.org\"" } },
	{ "a key of services without a slash", ADDRESS, "1:{20:'u' 22:{1:'h' 2:{}}}",
	  "services has the key \"h\", expected \"namespace/hostname\"", { NULL } },
	{ "a service without ports", ADDRESS, "1:{20:'u' 22:{1:'n/h'}}", NULL, { "\"n/h\"" } },
	{ "of two ports of one number the last", ADDRESS, "1:{20:'u' 22:{1:'n/h' 2:{1:{1:80 2:1} 1:{1:81 2:3} 1:{1:80 2:2}}}}", NULL,
	  { "\"80\": 2", "\"81\": 3", "!\"80\": 1" } },
	{ "of two services of one key the last", ADDRESS, "1:{20:'u' 22:{1:'n/h' 2:{1:{1:80 2:1}}} 22:{1:'a/a'} 22:{1:'n/h' 2:{1:{1:80 2:2}}}}", NULL,
	  { "\"80\": 2", "!\"80\": 1" } },
	{ "a port above 65535", ADDRESS, "1:{20:'u' 22:{1:'n/h' 2:{1:{1:80 2:65616}}}}", "target_port is 65616, expected 0 to 65535", { NULL } },
	{ "policies", ADDRESS, "1:{20:'u' 16:'istio-system/istio_converted_static_strict' 16:'a/b'}", NULL,
	  { "istio-system/istio_converted_static_strict", "\"a/b\"" } },
	{ "waypoint by address", ADDRESS, "1:{20:'u' 8:{2:{1:'net' 2:x'0a000009'} 3:15008}}", NULL, { "\"net/10.0.0.9\"" } },
	{ "waypoint without destination", ADDRESS, "1:{20:'u' 8:{3:15008}}",
	  "waypoint has no destination, expected a hostname or an address", { NULL } },
	{ "gateway without destination", ADDRESS, "1:{20:'u' 19:{3:15008}}",
	  "network_gateway has no destination, expected a hostname or an address", { NULL } },
	{ "gateway with a bad address", ADDRESS, "1:{20:'u' 19:{2:{2:x'0a'} 3:15008}}",
	  "network_gateway has an address of 1 bytes, expected 4 or 16", { NULL } },
	{ "application tunnel", ADDRESS, "1:{20:'u' 23:{1:1 2:15088}}", NULL, { "\"PROXY\"", "15088" } },
	{ "application tunnel without a port", ADDRESS, "1:{20:'u' 23:{1:1}}", NULL, { "\"PROXY\"", "\"port\": null" } },
	{ "application tunnel of the future", ADDRESS, "1:{20:'u' 23:{1:2}}", "application_tunnel.protocol is 2, expected 0 to 1", { NULL } },
	{ "locality", ADDRESS, "1:{20:'u' 24:{1:'r' 2:'z' 3:'s'}}", NULL, { "\"region\": \"r\"", "\"subzone\": \"s\"" } },
	{ "capacity 5", ADDRESS, "1:{20:'u' 27:{1:5}}", NULL, { "\"capacity\": 5" } },
	{ "native tunnel", ADDRESS, "1:{20:'u' 14:1}", NULL, { "\"nativeTunnel\": true" } },
	{ "extensions and the future", ADDRESS, "1:{20:'u' 26:{1:'x' 2:{1:'t'}} 99:'z'}", NULL, { "\"uid\": \"u\"" } },
	{ "a slash in the namespace", ADDRESS, "1:{20:'u' 2:'a/b'}", "the namespace \"a/b\" has a '/', expected none", { NULL } },
	{ "a NUL in the uid", ADDRESS, "1:{20:x'7500'}", "uid has bytes that are no text, expected UTF-8 without controls", { NULL } },
	{ "a line end in a name", ADDRESS, "1:{20:'u' 1:x'610a'}", "name has bytes that are no text", { NULL } },
	{ "not UTF-8", ADDRESS, "1:{20:'u' 9:x'c328'}", "node has bytes that are no text", { NULL } },
	{ "an overlong character", ADDRESS, "1:{20:'u' 9:x'e08080'}", "node has bytes that are no text", { NULL } },
	{ "a surrogate", ADDRESS, "1:{20:'u' 9:x'eda080'}", "node has bytes that are no text", { NULL } },
	{ "beyond Unicode", ADDRESS, "1:{20:'u' 9:x'f4908080'}", "node has bytes that are no text", { NULL } },
	{ "a character cut off", ADDRESS, "1:{20:'u' 9:x'e282'}", "node has bytes that are no text", { NULL } },
	{ "a letter that is not ASCII", ADDRESS, "1:{20:'u' 9:x'c3bc'}", NULL, { "\"node\": \"\xc3\xbc\"" } },

	/* Service */
	{ "service", ADDRESS, "2:{1:'app' 2:'n' 3:'app.n.svc' 4:{1:'net' 2:x'0a600007'} 5:{1:80 2:8080 3:1} 11:1}", NULL,
	  { "\"net/10.96.0.7\"", "\"80\": 8080", "\"canonical\": true", "\"visibility\": \"Public\"", "!loadBalancer" } },
	{ "a named target port", ADDRESS, "2:{2:'n' 3:'h' 5:{1:80}}", NULL, { "\"80\": 0" } },
	{ "length 32 is a host", ADDRESS, "2:{2:'n' 3:'h' 4:{2:x'0a600007' 3:32}}", NULL, { "\"/10.96.0.7\"", "!cidrVips" } },
	{ "length 128 is a host", ADDRESS, "2:{2:'n' 3:'h' 4:{2:x'fd000000000000000000000000000001' 3:128}}", NULL, { "\"/fd00::1\"", "!cidrVips" } },
	{ "length 24", ADDRESS, "2:{2:'n' 3:'h' 4:{2:x'0a600000' 3:24}}", NULL, { "\"10.96.0.0/24\"" } },
	{ "length 33 of IPv4", ADDRESS, "2:{2:'n' 3:'h' 4:{2:x'0a600000' 3:33}}", "addresses has a length of 33 bits, expected at most 32", { NULL } },
	{ "length 129", ADDRESS, "2:{2:'n' 3:'h' 4:{2:x'fd000000000000000000000000000001' 3:129}}",
	  "addresses has a length of 129 bits, expected at most 128", { NULL } },
	{ "an address of 3 bytes", ADDRESS, "2:{2:'n' 3:'h' 4:{2:x'0a6000'}}", "addresses has an address of 3 bytes, expected 4 or 16", { NULL } },
	{ "SANs, of which one is none", ADDRESS, "2:{2:'n' 3:'h' 6:'spiffe://td/ns/a/sa/b' 6:'b.example.org'}", NULL,
	  { "spiffe://td/ns/a/sa/b", "!b.example.org" } },
	{ "SANs in any order, and twice", ADDRESS, "2:{2:'n' 3:'h' 6:'spiffe://td/ns/a/sa/c' 6:'spiffe://td/ns/a/sa/b' 6:'spiffe://td/ns/a/sa/c'}", NULL,
	  { "[\n        \"spiffe://td/ns/a/sa/b\",\n        \"spiffe://td/ns/a/sa/c\"\n      ]" } },
	{ "balancer", ADDRESS, "2:{2:'n' 3:'h' 8:{1:6 1:1 1:2 2:2 3:1}}", NULL,
	  { "\"Network\"", "\"Region\"", "\"Failover\"", "\"AllowAll\"" } },
	{ "balancer, packed", ADDRESS, "2:{2:'n' 3:'h' 8:{1:x'0601' 2:1}}", NULL, { "\"Network\"", "\"Strict\"" } },
	{ "balancer without a mode", ADDRESS, "2:{2:'n' 3:'h' 8:{3:1}}", NULL, { "\"Standard\"", "\"AllowAll\"" } },
	{ "UNSPECIFIED_SCOPE", ADDRESS, "2:{2:'n' 3:'h' 8:{1:x'00' 2:1}}", "load_balancing.routing_preference has 0, expected 1 to 6", { NULL } },
	{ "unknown scope", ADDRESS, "2:{2:'n' 3:'h' 8:{1:7 2:1}}", "load_balancing.routing_preference has 7, expected 1 to 6", { NULL } },
	{ "7 scopes", ADDRESS, "2:{2:'n' 3:'h' 8:{1:x'01020304050601'}}", "load_balancing.routing_preference has 7 scopes, expected at most 6", { NULL } },
	{ "unknown mode", ADDRESS, "2:{2:'n' 3:'h' 8:{2:4}}", "load_balancing.mode is 4, expected 0 to 3", { NULL } },
	{ "unknown health policy", ADDRESS, "2:{2:'n' 3:'h' 8:{3:2}}", "load_balancing.health_policy is 2, expected 0 to 1", { NULL } },
	{ "passthrough", ADDRESS, "2:{2:'n' 3:'h' 8:{2:3}}", NULL, { "\"Passthrough\"" } },
	{ "families", ADDRESS, "2:{2:'n' 3:'h' 9:2}", NULL, { "\"ipFamilies\": \"IPv6\"" } },
	{ "unknown families", ADDRESS, "2:{2:'n' 3:'h' 9:4}", "ip_families is 4, expected 0 to 3", { NULL } },
	{ "of its namespace alone", ADDRESS, "2:{2:'n' 3:'h' 14:1}", NULL, { "\"visibility\": \"Namespace\"" } },
	{ "unknown visibility is public", ADDRESS, "2:{2:'n' 3:'h' 14:2}", NULL, { "\"visibility\": \"Public\"" } },
	{ "waypoint", ADDRESS, "2:{2:'n' 3:'h' 7:{1:{1:'n' 2:'wp'} 3:15008}}", NULL, { "\"n/wp\"" } },
	{ "waypoint without destination", ADDRESS, "2:{2:'n' 3:'h' 7:{}}", "waypoint has no destination, expected a hostname or an address", { NULL } },
	{ "weighted waypoints", ADDRESS, "2:{2:'n' 3:'h' 13:{1:{1:{1:'n' 2:'wp1'} 3:15008} 2:90} 13:{1:{1:{1:'n' 2:'wp2'} 3:15008}}}", NULL,
	  { "\"n/wp1\"", "\"weight\": 90", "\"n/wp2\"", "\"weight\": 0" } },
	{ "weighted waypoint without destination", ADDRESS, "2:{2:'n' 3:'h' 13:{2:90}}",
	  "weighted_waypoints has one without a destination, expected one each", { NULL } },
	{ "a wildcard host", ADDRESS, "2:{2:'n' 3:'*.example.org'}", NULL, { "*.example.org" } },

	/* Authorization: its key is the resource's name. */
	{ "allow, global, dry run", POLICY, "1:'p' 2:'n' 6:1", NULL, { "\"scope\": \"Global\"", "\"action\": \"Allow\"", "\"dryRun\": true" } },
	{ "selector", POLICY, "1:'p' 2:'n' 3:2", NULL, { "\"scope\": \"WorkloadSelector\"" } },
	{ "unknown scope", POLICY, "1:'p' 2:'n' 3:3", "scope is 3, expected 0 to 2", { NULL } },
	{ "unknown action", POLICY, "1:'p' 2:'n' 4:2", "action is 2, expected 0 to 1", { NULL } },
	{ "matches are field 2 of a clause", POLICY, "1:'p' 2:'n' 5:{1:{1:{9:80} 2:{9:81}}}", NULL, { "81", "!80" } },
	{ "all lists", POLICY,
	  "1:'p' 2:'n' 5:{1:{2:{1:{1:'ns1'} 2:{2:'ns2'} 3:{3:'/sa/x'} 4:{4:{}} 5:{1:x'0a000000' 2:8} 6:{1:x'0b000000' 2:16}"
	  " 7:{1:x'0c000000' 2:24} 8:{1:x'0d000001' 2:32} 9:80 10:x'5051' 11:{1:'a' 2:'b'} 12:{1:'c' 2:'d'}}}}", NULL,
	  { "\"10.0.0.0/8\"", "\"11.0.0.0/16\"", "\"12.0.0.0/24\"", "\"13.0.0.1/32\"", "notServiceAccounts", "notNamespaces" } },
	{ "an address that is none is left out", POLICY, "1:'p' 2:'n' 5:{1:{2:{5:{1:x'0a00' 2:8} 5:{1:x'0a000000' 2:33} 5:{1:x'0e000000' 2:8}}}}", NULL,
	  { "\"14.0.0.0/8\"", "!10.0" } },
	{ "a text without a kind is left out", POLICY, "1:'p' 2:'n' 5:{1:{2:{1:{} 1:{1:'kept'}}}}", NULL, { "kept" } },
	{ "a mapped prefix is of IPv6", POLICY, "1:'p' 2:'n' 5:{1:{2:{5:{1:x'00000000000000000000ffff0a000000' 2:8}}}}", NULL, { "!10.0.0.0" } },
	{ "a port above 65535", POLICY, "1:'p' 2:'n' 5:{1:{2:{9:65616}}}", "destination_ports is 65616, expected 0 to 65535", { NULL } },
	{ "extensions", POLICY, "1:'p' 2:'n' 7:{1:'x'} 5:{1:{2:{13:{1:'x'}}}}", NULL, { "\"name\": \"p\"" } },
	{ "not protobuf", POLICY_HEX, "ffff", "the value is no Authorization", { NULL } },
	{ "a NUL in a match", POLICY, "1:'p' 2:'n' 5:{1:{2:{1:{1:x'6100'}}}}", "namespaces has bytes that are no text", { NULL } },
	{ "a slash in its name", POLICY, "1:'p/q' 2:'n'", "the name \"p/q\" has a '/', expected none", { NULL } },
};
/* clang-format on */

static char *dump_of(struct store *store)
{
	struct snapshot *s;
	char *all = NULL;
	size_t size;
	FILE *out = open_memstream(&all, &size);

	ck_assert_int_eq(store_publish(store, &s, NULL), 0);
	for (int section = DUMP_WORKLOADS; section <= DUMP_STAGED; section++) {
		char *text = mesh_dump(s, (enum dump_section)section);

		fprintf(out, "%s\n", text);
		free(text);
	}
	fclose(out);
	snapshot_unref(s);
	return all;
}

/* The dump's blanks are not what is tested. */
static void check_dump(const struct row *row, const char *dump)
{
	for (size_t i = 0; i < HB_ARRAY_LEN(row->want) && row->want[i]; i++) {
		const char *want = row->want[i];
		bool absent = *want == '!';

		ck_assert_msg(!strstr(dump, want + absent) == absent, "%s: %s in %s", row->name,
		              want, dump);
	}
}

START_TEST(values)
{
	const struct row *row = &rows[_i];
	bool is_hex = row->kind == ADDRESS_HEX || row->kind == POLICY_HEX;
	bool is_policy = row->kind == POLICY || row->kind == POLICY_HEX;
	struct pb pb = is_hex ? pb_hex(row->value) : pb_of(row->value);
	struct store *store = store_new(NULL);
	struct hb_arena arena = { 0 };
	char why[256] = "";
	struct xds_reader r = { store, &arena, "n/p", why, sizeof(why), 0, false };
	int err = is_policy ? xds_put_authorization(&r, pb.bytes, pb.size)
	                    : xds_put_address(&r, pb.bytes, pb.size);
	char *dump = dump_of(store);

	ck_assert_msg(err == (row->why ? -EINVAL : 0), "%s: %d %s", row->name, err, why);
	if (row->why)
		ck_assert_msg(strstr(why, row->why), "%s: %s", row->name, why);
	else
		check_dump(row, dump);
	free(dump);
	free(pb.bytes);
	hb_arena_done(&arena);
	store_free(store);
}
END_TEST

START_TEST(resources)
{
	struct hb_arena arena = { 0 };
	char why[256] = "";
	struct xds_reader r = { NULL, &arena, "", why, sizeof(why), 0, false };
	struct xds_resource resource;
	struct pb pb = pb_of("1:'v' 2:{1:'t' 2:'xyz'} 3:'n' 4:'/10.0.0.1' 4:'a' 6:{1:3} 7:{}");

	ck_assert_int_eq(xds_decode_resource(&r, pb.bytes, pb.size, &resource), 0);
	ck_assert_str_eq(resource.name, "n");
	ck_assert_str_eq(resource.version, "v");
	ck_assert_uint_eq(resource.aliases_count, 2);
	ck_assert_str_eq(resource.aliases[0], "/10.0.0.1");
	ck_assert_uint_eq(resource.value_size, 3);
	ck_assert_int_eq(xds_decode_resource(&r, pb.bytes, pb.size - 1, &resource), -EINVAL);
	ck_assert_str_eq(resource.name, "");
	free(pb.bytes);

	pb = pb_of("3:'n'");
	ck_assert_int_eq(xds_decode_resource(&r, pb.bytes, pb.size, &resource), 0);
	ck_assert_ptr_null(resource.value);
	ck_assert_int_eq(xds_decode_resource(&r, pb.bytes, XDS_RESOURCE_MAX + 1, &resource),
	                 -EINVAL);
	ck_assert_str_eq(why, "the resource has 2097153 bytes, expected at most 2097152");
	free(pb.bytes);
	hb_arena_done(&arena);
}
END_TEST

/* Metadata {K: "v"}, id i. */
static const uint8_t node[] = { 0x0a, 1,   'i',  0x1a, 0x0a, 0x0a, 8,  0x0a,
	                        1,    'K', 0x12, 3,    0x1a, 1,    'v' };

/* clang-format off */
static const struct {
	const char *name;
	struct xds_request request;
	const char *hex;
} requests[] = {
	{ "first", { .node = node, .node_size = sizeof(node), .type_url = "t" },
	  "0a0f0a01691a0a0a080a014b12031a0176120174" },
	{ "ACK", { .type_url = "t", .nonce = "7" }, "120174320137" },
	{ "NACK", { .type_url = "t", .nonce = "7", .error = "m" }, "1201743201373a05080312016d" },
	{ "on-demand initial", { .type_url = "t", .subscribe = "*", .unsubscribe = "*" }, "1201741a012a22012a" },
};
/* clang-format on */

START_TEST(request_bytes)
{
	struct pb want = pb_hex(requests[_i].hex);
	size_t size;
	uint8_t *bytes = xds_encode_request(&requests[_i].request, 0, &size);

	ck_assert_msg(size == want.size && memcmp(bytes, want.bytes, size) == 0, "%s",
	              requests[_i].name);
	free(bytes);
	free(want.bytes);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("xds_codec");
	TCase *tcase = tcase_create("all");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tcase, values, 0, HB_ARRAY_LEN(rows));
	tcase_add_test(tcase, resources);
	tcase_add_loop_test(tcase, request_bytes, 0, HB_ARRAY_LEN(requests));
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed > 0;
}
