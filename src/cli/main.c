/* main.c - finds the verb, runs it, prints its error once, and ends all ranks together. */
#include "base/distance.h"
#include "base/log.h"
#include "base/memory.h"
#include "cli/help.h"
#include "cli/verbs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct verb *const verbs[] = {
    &verb_train, &verb_vocab, &verb_tokenize, &verb_generate, &verb_evaluate,
    &verb_score, &verb_convert, &verb_inspect, &verb_corpus, &verb_doctor,
};
enum { VERBS = sizeof verbs / sizeof verbs[0] };

static void print_usage(FILE *out)
{
    fputs("Galley: a distributed data-parallel GPT trainer.\n\n"
          "usage: galley VERB [ARGUMENT...]\n"
          "       mpirun -n RANKS galley train CONFIG [--section.key=value...]\n\n",
          out);
    for (int i = 0; i < VERBS; i++)
        fprintf(out, "  %-10s %s\n", verbs[i]->name, verbs[i]->summary);
    fputs("\ngalley VERB --help tells more; so does galley help PAGE:\n\n", out);
    for (int i = 0; i < help_page_count; i++)
        fprintf(out, "  %-10s %s\n", help_pages[i].name, help_pages[i].summary);
}

static const struct verb *find_verb(const char *name)
{
    for (int i = 0; i < VERBS; i++)
        if (!strcmp(verbs[i]->name, name))
            return verbs[i];
    return NULL;
}

static const struct help_page *find_page(const char *name)
{
    for (int i = 0; i < help_page_count; i++)
        if (!strcmp(help_pages[i].name, name))
            return &help_pages[i];
    return NULL;
}

/* `name`, of a verb or a page, may be NULL: then all are listed. Of several ranks one prints. */
static struct error *print_help(const char *name)
{
    const struct verb *verb = name ? find_verb(name) : NULL;
    const struct help_page *page = name && !verb ? find_page(name) : NULL;
    if (name && !verb && !page)
        return error_new(ERROR_USAGE, "no help on \"%s\"; galley help lists the pages", name);
    if (!comm_speaks())
        return NULL;
    if (verb) {
        fputs(verb->help, stdout);
        if (verb->more_help)
            verb->more_help(stdout);
    } else if (page) {
        fputs(page->text, stdout);
    } else {
        print_usage(stdout);
    }
    return NULL;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

static struct error *unknown_verb(const char *name)
{
    const struct verb *nearest = verbs[0];
    for (int i = 1; i < VERBS; i++)
        if (name_distance(name, verbs[i]->name) < name_distance(name, nearest->name))
            nearest = verbs[i];
    const bool near = 2 * name_distance(name, nearest->name) <= (int)strlen(name);
    return error_new(ERROR_USAGE, "no verb \"%s\"%s%s; galley --help lists them", name,
                     near ? "; the nearest is " : "", near ? nearest->name : "");
}

static struct error *run(struct cli *cli, int argc, char **argv)
{
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return print_help(argc > 2 ? argv[2] : NULL);
    const struct verb *verb = find_verb(argv[1]);
    if (!verb)
        return unknown_verb(argv[1]);
    if (wants_help(argc - 1, argv + 1))
        return print_help(verb->name);
    return verb->run(cli, argc - 1, argv + 1);
}

/* Output that never reached its file (a full disk) must not look like success. */
static struct error *flush_results(void)
{
    if (fflush(stdout) || ferror(stdout))
        return error_errno(ERROR_IO, "cannot write to standard output");
    return NULL;
}

int main(int argc, char **argv)
{
    memory_give_back_large_blocks();
    if (argc < 2) {
        if (comm_speaks())
            print_usage(stderr);
        return 2;
    }
    if (!strcmp(argv[1], "--version")) {
        if (comm_speaks())
            puts("galley " GALLEY_VERSION);
        return 0;
    }

    const char *temporary = getenv("TMPDIR");
    struct cli cli = {.temporary_folder = temporary && *temporary ? temporary : "/tmp"};
    struct error *e = run(&cli, argc, argv);
    if (!e)
        e = flush_results();
    const int code = e ? comm_end(cli.comm, e) : 0;
    comm_close(cli.comm);
    return code;
}
