/*
 * commandline: getopt for what is ours, a list of words for what is ztunnel's.
 */
#include "commandline.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include <hbone/base.h>

#include "config/settings.h"

static const char usage[] =
    "usage: culvertd [--config FILE] [--check] [proxy | version | help]\n"
    "  --config FILE         settings (YAML); ztunnel's environment variables win over it.\n"
    "                        Without: those alone, as ztunnel starts, for pods of istio-cni\n"
    "  --check               read settings and mesh, say what is wrong, start nothing\n"
    "  --settings-reference  print every setting, in Markdown\n"
    "  --version, --help\n";

/* ztunnel's words: proxy, which is the default, version, help; what follows is only reported. The
 * first letter, or 0: none of them. */
static int word_of(int argc, char **argv)
{
	static const char *const words[] = { "proxy", "version", "help" };

	if (optind == argc)
		return 'p';
	for (int i = optind + 1; i < argc; i++)
		if (strcmp(argv[i], "ztunnel") != 0) /* what Istio's chart says */
			fprintf(stderr, "culvertd: %s on the command line is ignored\n", argv[i]);
	for (size_t i = 0; i < HB_ARRAY_LEN(words); i++)
		if (strcmp(argv[optind], words[i]) == 0)
			return words[i][0];
	return 0;
}

bool commandline_read(int argc, char **argv, struct commandline *ret_line)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check", no_argument, NULL, 'k' },
		{ "settings-reference", no_argument, NULL, 'r' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	*ret_line = (struct commandline){ .status = 0 };
	opterr = 0; /* one sentence of ours instead */
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			ret_line->config = optarg;
			break;
		case 'k':
			ret_line->only_check = true;
			break;
		case 'r':
			settings_write_reference(stdout);
			return false;
		case 'v':
			printf("culvertd %s\n", CULVERT_VERSION);
			return false;
		case 'h':
			fputs(usage, stdout);
			return false;
		default:
			fprintf(stderr, "culvertd: %s is unknown or lacks its value, see --help\n",
			        argv[optind - 1]);
			ret_line->status = EXIT_CONFIGURATION;
			return false;
		}
	}
	switch (word_of(argc, argv)) {
	case 'p':
		return true;
	case 'v':
		printf("culvertd %s\n", CULVERT_VERSION);
		return false;
	case 'h':
		fputs(usage, stdout);
		return false;
	default:
		fprintf(stderr, "culvertd: %s is not understood, see --help\n", argv[optind]);
		ret_line->status = EXIT_CONFIGURATION;
		return false;
	}
}
