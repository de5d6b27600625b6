/* test_stories.c - stories are the same everywhere, have one derivation each, and read well. */
#include "testing.h"

#include "data/stories.h"

#include <xxhash.h>

/* A change of the grammar changes this number, and everybody's quickstart with it. */
static void test_stories_of_a_seed_never_change(void **state)
{
    (void)state;
    XXH64_hash_t hash = 0;
    for (uint64_t i = 0; i < 100; i++) {
        struct story story;
        story_write(&story, 1, i);
        hash = XXH3_64bits_withSeed(story.text, story.bytes, hash);
    }
    print_message("hash %016llx\n", (unsigned long long)hash);
    assert_true(hash == 0x437b4e4623b623d3u);
}

static void test_replaying_the_choices_gives_the_story(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 500; i++) {
        struct story story, again;
        story_write(&story, 7, i);
        story_replay(&again, story.choices, story.choice_count);
        assert_true(again.complete);
        assert_string_equal(again.text, story.text);
        assert_memory_equal(&again.nats, &story.nats, sizeof story.nats);
    }
}

/* Ways to derive `text` that begin with these choices: whoever's text so far is not its beginning
 * is none. */
static int derivations(const struct story *target, int *choices, int count)
{
    struct story partial;
    story_replay(&partial, choices, count);
    if (partial.bytes > target->bytes || memcmp(partial.text, target->text, partial.bytes))
        return 0;
    if (partial.complete)
        return partial.bytes == target->bytes;
    const int options = partial.options;
    int found = 0;
    for (int i = 0; i < options; i++) {
        choices[count] = i;
        found += derivations(target, choices, count + 1);
    }
    return found;
}

/* The entropy is exact only if a text can have been told in one way. */
static void test_every_story_has_exactly_one_derivation(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 200; i++) {
        struct story story;
        int choices[STORY_CHOICES];
        story_write(&story, 11, i);
        assert_int_equal(derivations(&story, choices, 0), 1);
    }
}

static void test_stories_are_well_formed(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 2000; i++) {
        struct story s;
        story_write(&s, 5, i);
        assert_int_equal(s.bytes, strlen(s.text));
        assert_null(strstr(s.text, "  "));
        assert_null(strchr(s.text, '\n'));
        assert_null(strstr(s.text, " a honest"));
        for (const char *a = s.text; (a = strstr(a, " a ")); a += 2)
            assert_null(strchr("aeiou", a[3]));
        assert_true(s.text[0] >= 'A' && s.text[0] <= 'Z');
        assert_true(s.text[s.bytes - 1] == '.');
        assert_int_equal(s.sentences, 12);
        assert_true(s.nats > 10 && s.nats < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stories_of_a_seed_never_change),
        cmocka_unit_test(test_replaying_the_choices_gives_the_story),
        cmocka_unit_test(test_every_story_has_exactly_one_derivation),
        cmocka_unit_test(test_stories_are_well_formed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
