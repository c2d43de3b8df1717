/*
 * culvertctl: what it asks, what it shows, and how it ends, against a server that the test plays.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 6

#define STATUS                                                                                     \
	"{\"status\":\"ok\",\"version\":\"0.1.0\",\"backend\":\"io_uring\",\"workers\":2,"         \
	"\"pods\":[{\"pod\":\"default/client\",\"state\":\"up\",\"reason\":\"\"}],"                \
	"\"ca\":\"built-in, not for production\"}"

#define WAITING                                                                                    \
	"{\"status\":\"waiting\",\"version\":\"0.1.0\",\"backend\":\"io_uring\",\"workers\":2,"    \
	"\"pods\":[{\"pod\":\"a/b\",\"state\":\"up\",\"reason\":\"\"},{\"pod\":\"c/longer\","      \
	"\"state\":\"waiting\",\"reason\":\"port 15008 is held by nginx (pid 12)\"}]}"

#define OUTBOUND                                                                                   \
	"{\"id\":12,\"pod\":\"default/client\",\"direction\":\"outbound\",\"src\":\"10.0.0.1:4\"," \
	"\"dst\":\"10.0.1.2:15008\",\"hboneAddr\":\"10.0.1.2:80\","                                \
	"\"srcIdentity\":\"spiffe://cluster.local/ns/default/sa/client\","                         \
	"\"dstIdentity\":\"spiffe://cluster.local/ns/default/sa/server\","                         \
	"\"service\":\"web.default.svc.cluster.local\",\"protocol\":\"HBONE\",\"state\":\"open\"," \
	"\"bytesSent\":512,\"bytesRecv\":268435456,\"durationMs\":61500,"                          \
	"\"end\":\"\",\"layer\":\"\",\"side\":\"\",\"policy\":\"\",\"error\":\"\"}"

#define DENIED                                                                                     \
	"{\"id\":7,\"pod\":\"default/server\",\"direction\":\"inbound\",\"src\":\"10.0.0.1:5\","   \
	"\"dst\":\"10.0.1.2:80\",\"hboneAddr\":\"\",\"srcIdentity\":\"\",\"dstIdentity\":\"\","    \
	"\"service\":\"\",\"protocol\":\"TCP\",\"state\":\"closed\",\"bytesSent\":0,"              \
	"\"bytesRecv\":1536,\"durationMs\":3,\"end\":\"denied by policy\",\"layer\":\"agent\","    \
	"\"side\":\"us\",\"policy\":\"default/deny-all\",\"error\":\"explicitly "                  \
	"\\u001b[31mdenied\"}"

#define CONFIG                                                                                     \
	"{\"workloads\":[{\"namespace\":\"default\",\"name\":\"client\",\"workloadIps\":["         \
	"\"10.0.0.1\",\"fd00::1\"],\"node\":\"n1\",\"protocol\":\"HBONE\",\"status\":\"Healthy\"}" \
	"],"                                                                                       \
	"\"services\":{\"x\":{\"namespace\":\"default\",\"hostname\":\"web\",\"vips\":["           \
	"\"/10.96.0.7\"],\"endpoints\":{\"a\":{},\"b\":{}}}},\"policies\":[],"                     \
	"\"certificates\":[{\"identity\":\"spiffe://td/ns/a/sa/b\",\"state\":\"Available\","       \
	"\"certChain\":[{\"expirationTime\":\"2030-01-01T00:00:00Z\"}]}]}"

#define CERTIFICATES                                                                               \
	"{\"certificates\":[{\"identity\":\"spiffe://td/ns/a/sa/b\",\"state\":\"Available\","      \
	"\"certChain\":[{\"serialNumber\":\"77\",\"validFrom\":\"2029-01-01T00:00:00Z\","          \
	"\"expirationTime\":\"2030-01-01T00:00:00Z\"},{\"serialNumber\":\"6\"}],\"rootCerts\":["   \
	"{\"serialNumber\":\"5\"}]},{\"identity\":\"spiffe://td/ns/a/sa/c\","                      \
	"\"state\":\"Unavailable: no\",\"certChain\":[],\"rootCerts\":[]}]}"

/* clang-format off */
static const struct {
	const char *name;
	const char *arguments[ARGUMENTS_MAX];
	const char *request; /* the line it must ask with; NULL: it asks nothing */
	int status;          /* 0: the server ends the connection; -1: body is the whole answer */
	const char *body;
	int code;
	const char *out, *err; /* NULL is not looked at */
} rows[] = {
	{ "status", { "status" }, "GET /healthz HTTP/1.1", 200, STATUS, 0,
	  "status:   ok\nversion:  0.1.0\nbackend:  io_uring\nworkers:  2\nCA:       built-in, not for production\n\n"
	  "POD             STATE  REASON\n"
	  "default/client  up     -\n", "" },
	{ "status of an agent that waits", { "status" }, "GET /healthz HTTP/1.1", 200, WAITING, 1,
	  "status:   waiting\nversion:  0.1.0\nbackend:  io_uring\nworkers:  2\n\n"
	  "POD       STATE    REASON\n"
	  "a/b       up       -\n"
	  "c/longer  waiting  port 15008 is held by nginx (pid 12)\n", "" },
	{ "status, io_uring refused", { "status" }, "GET /healthz HTTP/1.1", 200,
	  "{\"status\":\"ok\",\"backend\":\"epoll\",\"workers\":2,\"noIoUring\":\"not permitted\",\"pods\":[]}", 0,
	  "status:   ok\nversion:  \nbackend:  epoll (io_uring: not permitted)\nworkers:  2\nno pods\n", "" },
	{ "status, no pods", { "status" }, "GET /healthz HTTP/1.1", 200, "{\"status\":\"ok\",\"pods\":[]}", 0,
	  "status:   ok\nversion:  \nbackend:  \nworkers:  0\nno pods\n", "" },
	{ "status as JSON", { "-o", "json", "status" }, "GET /healthz HTTP/1.1", 200, STATUS, 0, STATUS "\n", "" },
	{ "status as JSON, not well", { "status", "--output=json" }, "GET /healthz HTTP/1.1", 503, WAITING, 1, WAITING "\n", "" },
	{ "connections", { "connections" }, "GET /connections HTTP/1.1", 200, "{\"connections\":[" OUTBOUND "," DENIED "],\"notShown\":3}", 0,
	  "ID  POD             DIRECTION  SRC         DST          VIA             PROTOCOL  PEER                                 SENT       RECV   AGE  STATE   SERVICE\n"
	  "12  default/client  outbound   10.0.0.1:4  10.0.1.2:80  10.0.1.2:15008  HBONE     cluster.local/ns/default/sa/server  512 B  256.0 MiB  1m1s  open    web.default.svc.cluster.local\n"
	  " 7  default/server  inbound    10.0.0.1:5  10.0.1.2:80  -               TCP       -                                     0 B    1.5 KiB   3ms  closed  -\n"
	  "and 3 more that are not shown\n", "" },
	{ "no connections", { "connections" }, "GET /connections HTTP/1.1", 200, "{\"connections\":[]}", 0, "no connections\n", "" },
	{ "recent, with the deciding policy", { "connections", "--recent" }, "GET /connections?recent=1 HTTP/1.1", 200, "{\"connections\":[" DENIED "]}", 0,
	  ">", "" },
	{ "nothing recent", { "-r", "connections" }, "GET /connections?recent=1 HTTP/1.1", 200, "{\"connections\":[]}", 0, "no connection has ended yet\n", "" },
	{ "connections as JSON", { "connections", "-o", "json" }, "GET /connections HTTP/1.1", 200, "{\"connections\": [ ]}\n", 0, "{\"connections\": [ ]}\n", "" },
	{ "another kind of answer", { "connections" }, "GET /connections HTTP/1.1", 200, "{}", 1, "",
	  "culvertctl: /connections answered 200, and without \"connections\"\n" },
	{ "not JSON", { "connections" }, "GET /connections HTTP/1.1", 200, "hello", 1, "", NULL },
	{ "a list", { "connections" }, "GET /connections HTTP/1.1", 200, "[]", 1, "",
	  "culvertctl: /connections answered no JSON object: it is something else\n" },
	{ "a failure", { "config-dump" }, "GET /config_dump HTTP/1.1", 500, "no memory\n", 1, "",
	  "culvertctl: /config_dump answered 500: no memory\n" },
	{ "config-dump", { "config-dump" }, "GET /config_dump HTTP/1.1", 200, CONFIG, 0,
	  "WORKLOADS (1)\n"
	  "NAMESPACE  NAME    IPS               NODE  WAYPOINT  PROTOCOL  STATUS\n"
	  "default    client  10.0.0.1,fd00::1  n1    -         HBONE     Healthy\n"
	  "\nSERVICES (1)\n"
	  "NAMESPACE  HOSTNAME  VIPS        WAYPOINT  ENDPOINTS\n"
	  "default    web       /10.96.0.7  -                 2\n"
	  "\nPOLICIES (0)\n"
	  "\nCERTIFICATES (1)\n"
	  "IDENTITY               STATE      EXPIRES\n"
	  "spiffe://td/ns/a/sa/b  Available  2030-01-01T00:00:00Z\n"
	  "\n-o json shows everything, settings included\n", "" },
	{ "certificates", { "certificates" }, "GET /config_dump HTTP/1.1", 200, CERTIFICATES, 0,
	  "IDENTITY               TYPE          STATE            SERIAL  FROM                  UNTIL\n"
	  "spiffe://td/ns/a/sa/b  Leaf          Available        77      2029-01-01T00:00:00Z  2030-01-01T00:00:00Z\n"
	  "spiffe://td/ns/a/sa/b  Intermediate  Available        6       -                     -\n"
	  "spiffe://td/ns/a/sa/b  Root          Available        5       -                     -\n"
	  "spiffe://td/ns/a/sa/c  -             Unavailable: no  -       -                     -\n", "" },
	{ "no certificates", { "certificates" }, "GET /config_dump HTTP/1.1", 200, "{\"certificates\":[]}", 0, "no certificates\n", "" },
	{ "raw", { "raw", "/healthz/ready" }, "GET /healthz/ready HTTP/1.1", 200, "ready\n", 0, "ready\n", "" },
	{ "raw failure", { "raw", "/healthz/ready" }, "GET /healthz/ready HTTP/1.1", 500, "not ready\n", 1, "not ready\n",
	  "culvertctl: /healthz/ready answered 500\n" },
	{ "raw with a method", { "raw", "-X", "POST", "/logging?level=debug" }, "POST /logging?level=debug HTTP/1.1", 200, "", 0, "", "" },
	{ "no answer", { "status" }, "GET /healthz HTTP/1.1", 0, "", 1, "", "culvertctl: SOCKET: culvertd ended the connection without an answer\n" },
	{ "cut off", { "status" }, "GET /healthz HTTP/1.1", -1, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", 1, "",
	  "culvertctl: SOCKET: the answer is cut off or not HTTP\n" },
	{ "not HTTP", { "status" }, "GET /healthz HTTP/1.1", -1, "SSH-2.0-x\r\n\r\n", 1, "",
	  "culvertctl: SOCKET: the answer is cut off or not HTTP\n" },

	{ "nothing said", { 0 }, NULL, 0, NULL, 2, "", NULL },
	{ "unknown command", { "statsu" }, NULL, 0, NULL, 2, "", "culvertctl: no such command: statsu; culvertctl help lists what there is\n" },
	{ "too many arguments", { "status", "now" }, NULL, 0, NULL, 2, "", "culvertctl: wrong number of arguments for status; culvertctl help lists what there is\n" },
	{ "raw without a path", { "raw" }, NULL, 0, NULL, 2, "", "culvertctl: wrong number of arguments for raw; culvertctl help lists what there is\n" },
	{ "raw with a bad path", { "raw", "healthz" }, NULL, 0, NULL, 1, "", "culvertctl: \"healthz\" is not a path, expected one that begins with / and has no blanks\n" },
	{ "raw that smuggles", { "raw", "/ HTTP/1.1\r\n" }, NULL, 0, NULL, 1, "", NULL },
	{ "raw with a bad method", { "raw", "/", "-X", "GET /" }, NULL, 0, NULL, 2, "", "culvertctl: not a method: GET /; culvertctl help lists what there is\n" },
	{ "option of another command", { "status", "--recent" }, NULL, 0, NULL, 2, "", "culvertctl: --recent does not go with status; culvertctl help lists what there is\n" },
	{ "method for another command", { "status", "-X", "POST" }, NULL, 0, NULL, 2, "", "culvertctl: --method does not go with status; culvertctl help lists what there is\n" },
	{ "unknown output", { "-o", "xml", "status" }, NULL, 0, NULL, 2, "", "culvertctl: -o takes json or table, not xml; culvertctl help lists what there is\n" },
	{ "unknown option", { "--nope", "status" }, NULL, 0, NULL, 2, "", NULL },
	{ "version", { "version" }, NULL, 0, NULL, 0, "culvertctl " CULVERT_VERSION "\n", "" },
	{ "--version", { "--version" }, NULL, 0, NULL, 0, "culvertctl " CULVERT_VERSION "\n", "" },
	{ "help", { "help" }, NULL, 0, NULL, 0, NULL, "" },
	{ "help for one", { "help", "raw" }, NULL, 0, NULL, 0,
	  "usage: culvertctl [OPTION]... raw PATH\n\n  raw PATH                 any path of the admin socket, as it answers; -X sets the method\n", "" },
	{ "help for none", { "help", "me" }, NULL, 0, NULL, 2, "", "culvertctl: no such command: me; culvertctl help lists what there is\n" },
};
/* clang-format on */

static char dir[] = "/tmp/culvert-ctl-XXXXXX", path[128];
static int listen_fd = -1;

static void set_up(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/admin.sock", dir);
	memcpy(sun.sun_path, path, strlen(path) + 1);
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(listen_fd, 1), 0);
}

static void tear_down(void)
{
	close(listen_fd);
	unlink(path);
	rmdir(dir);
}

static pid_t start(const char *const *arguments, const char *socket_path, int *ret_out,
                   int *ret_err)
{
	char *argv[ARGUMENTS_MAX + 2] = { strdup(CULVERTCTL) };
	int out[2], err[2];
	pid_t pid;

	for (int i = 0; i < ARGUMENTS_MAX && arguments[i]; i++)
		argv[i + 1] = strdup(arguments[i]);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(err, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		dup2(err[1], STDERR_FILENO);
		setenv("CULVERT_ADMIN_SOCKET", socket_path, 1);
		execv(CULVERTCTL, argv);
		_exit(127);
	}
	for (int i = 0; argv[i]; i++)
		free(argv[i]);
	close(out[1]);
	close(err[1]);
	*ret_out = out[0];
	*ret_err = err[0];
	return pid;
}

static void read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, size - len - 1)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fd);
}

static int end_of(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Takes one connection: what it asks must be @line; answers as the row says. */
static void serve(const char *name, const char *line, int status, const char *body)
{
	int fd = accept(listen_fd, NULL, NULL);
	char request[4096];
	size_t len = 0;
	ssize_t n;

	ck_assert_int_ge(fd, 0);
	while ((n = read(fd, request + len, sizeof(request) - len - 1)) > 0) {
		len += (size_t)n;
		request[len] = '\0';
		if (strstr(request, "\r\n\r\n"))
			break;
	}
	ck_assert_msg(strncmp(request, line, strlen(line)) == 0 && request[strlen(line)] == '\r',
	              "%s: asked %s", name, request);
	if (status > 0)
		dprintf(fd, "HTTP/1.1 %d Words\r\nContent-Length: %zu\r\n\r\n%s", status,
		        strlen(body), body);
	else
		dprintf(fd, "%s", body);
	close(fd);
}

/* The socket's path differs from run to run: SOCKET stands for it. */
static void compare(const char *name, const char *what, const char *got, const char *want)
{
	char expected[8192] = "", *mark;

	if (!want)
		return;
	snprintf(expected, sizeof(expected), "%s", want);
	mark = strstr(expected, "SOCKET");
	if (mark)
		snprintf(mark, sizeof(expected) - (size_t)(mark - expected), "%s%s", path,
		         strstr(want, "SOCKET") + strlen("SOCKET"));
	ck_assert_msg(strcmp(got, expected) == 0, "%s: %s:\n%s\nwant:\n%s", name, what, got,
	              expected);
}

START_TEST(runs)
{
	char out[8192], err[8192];
	int out_fd, err_fd, code;
	pid_t pid = start(rows[_i].arguments, path, &out_fd, &err_fd);

	if (rows[_i].request)
		serve(rows[_i].name, rows[_i].request, rows[_i].status, rows[_i].body);
	read_all(out_fd, out, sizeof(out));
	read_all(err_fd, err, sizeof(err));
	code = end_of(pid);
	ck_assert_msg(code == rows[_i].code, "%s: ended with %d: %s", rows[_i].name, code, err);
	if (rows[_i].out && rows[_i].out[0] == '>') {
		/* Peers' words stay, their escapes do not. */
		ck_assert_ptr_nonnull(strstr(out, "denied by policy (agent, us)  default/deny-all  "
		                                  "explicitly ?[31mdenied\n"));
		return;
	}
	compare(rows[_i].name, "out", out, rows[_i].out);
	compare(rows[_i].name, "err", err, rows[_i].err);
}
END_TEST

static void run_without_server(const char *socket_path, const char *want)
{
	char out[256], err[1024], expected[1024];
	int out_fd, err_fd;
	pid_t pid = start((const char *[ARGUMENTS_MAX]){ "status" }, socket_path, &out_fd, &err_fd);

	read_all(out_fd, out, sizeof(out));
	read_all(err_fd, err, sizeof(err));
	ck_assert_int_eq(end_of(pid), 1);
	snprintf(expected, sizeof(expected), "culvertctl: %s\n", want);
	ck_assert_str_eq(err, expected);
	ck_assert_str_eq(out, "");
}

START_TEST(no_socket)
{
	char other[160], want[512], name[200];

	snprintf(other, sizeof(other), "%s/other.sock", dir);
	snprintf(want, sizeof(want),
	         "no socket at %s: is culvertd running? (--socket or CULVERT_ADMIN_SOCKET names "
	         "another)",
	         other);
	run_without_server(other, want);

	close(listen_fd);
	snprintf(want, sizeof(want), "nobody listens on %s: culvertd ended without removing it",
	         path);
	run_without_server(path, want);

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(want, sizeof(want), "%s: too long for a socket, expected at most 107 bytes", name);
	run_without_server(name, want);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("culvertctl");
	TCase *tc = tcase_create("runs");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, runs, 0, sizeof(rows) / sizeof(rows[0]));
	tcase_add_test(tc, no_socket);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
