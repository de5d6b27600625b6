/*
 * stories.c - the grammar. A plot is a function: choices become fields of a `plot`, and sentences
 * are told from it. The words stand in tables; weights are small integers.
 */
#include "data/stories.h"

#include "base/error.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct teller {
    struct story *story;
    uint64_t state;          /* of the random numbers */
    const int *given;        /* replay: choices to make instead */
    int given_count;
    bool stopped;
};

/* ---- words ---- */

struct person {
    const char *name;
    bool girl;
};
static const struct person heroes[] = {
    {"Anna", true}, {"Ben", false},  {"Clara", true}, {"David", false},
    {"Ella", true}, {"Felix", false}, {"Grace", true}, {"Henry", false},
    {"Ida", true},  {"Jack", false}, {"Lucy", true},  {"Martin", false},
    {"Nora", true}, {"Oscar", false}, {"Paula", true}, {"Robert", false},
    {"Sarah", true}, {"Thomas", false}, {"Vera", true}, {"William", false},
    {"Emma", true}, {"Peter", false}, {"Mary", true}, {"Simon", false},
};

static const char *const traits[] = {
    "a shy", "a brave", "a curious", "a lonely", "a stubborn", "a cheerful", "a patient",
    "a clumsy", "an honest", "a dreamy", "a careful", "a restless",
};
static const char *const homes[] = {
    "in a small house by the sea", "at the edge of a dark forest", "on a farm behind the hills",
    "above the bakery in the old town", "in a lighthouse on a rock", "beside a slow green river",
    "in the last cottage of the valley", "next to the railway station",
    "on an island with nine trees", "behind the old mill", "over the shop of the clockmaker",
    "where the road ends",
};
static const char *const seasons[] = {"summer", "winter", "spring", "autumn"};
static const char *const times[] = {"morning", "evening", "afternoon", "night"};

/* What the hero is after: how it is wished for, and how it is reached. */
static const struct wish {
    const char *wanted, *reached;
} wishes[] = {
    {"to find the silver bell that had once hung in the tower", "the silver bell lay in the grass"},
    {"to see where the wild geese go", "the wild geese were resting on a hidden lake"},
    {"to bring home the lost sheep of the village", "the lost sheep were eating clover"},
    {"to learn who lived in the empty castle", "an old woman sat in the castle and smiled"},
    {"to taste the golden apples", "the golden apples hung low on their tree"},
    {"to hear the singing stones", "the singing stones hummed a quiet song"},
    {"to give grandmother the blue flower she had spoken of", "the blue flower stood in the sun"},
    {"to find a letter that the wind had carried away", "the letter was caught in a thorn bush"},
    {"to count the islands in the great lake", "all seven islands lay before them in the mist"},
    {"to meet the man who paints the clouds", "the man with the brush waved from his ladder"},
    {"to win back the ring of the miller", "the ring of the miller shone between the roots"},
    {"to stand where the rainbow begins", "the rainbow rose out of a small round pond"},
};

/* A thing, where it lies, what it is good for: the number is that of the obstacle it overcomes. */
static const struct thing {
    const char *name, *article;
} things[] = {
    {"lantern", "a"}, {"rope", "a"}, {"key", "an old"}, {"whistle", "a tin"}, {"blanket", "a warm"},
    {"map", "a torn"},
};
static const char *const spots[] = {
    "under the stairs", "behind the barn", "in a hollow tree", "on the bottom of a basket",
    "between two stones", "at the side of the road", "in the snow of the garden",
    "at the foot of a wall", "beneath a loose board", "among the apples",
};

/* What stands in the way; `used` tells how thing number i overcomes obstacle number i. */
static const struct obstacle {
    const char *met, *used;
} obstacles[] = {
    {"a cave as black as ink", "lit it and saw the way through"},
    {"a deep gorge without a bridge", "tied it to a root and climbed across"},
    {"a heavy door that would not open", "turned it in the lock until the door swung back"},
    {"a great dog that barked and barked", "blew it so softly that the dog lay down"},
    {"a mountain pass full of snow", "wrapped it round both of them and walked on"},
    {"a wood where all the paths looked the same", "followed its lines from tree to tree"},
};

static const struct animal {
    const char *name, *article, *help;
} animals[] = {
    {"fox", "a", "knew a secret way under the ground"},
    {"owl", "an", "could see far in the dark and led the way"},
    {"goat", "a", "jumped ahead and showed where to step"},
    {"crow", "a", "called all the other birds to help"},
    {"mole", "a", "dug until there was a way through"},
    {"horse", "a", "was strong enough for both of them"},
    {"cat", "a", "found a gap that nobody had seen"},
    {"hare", "a", "ran in circles until the way was free"},
};
static const char *const friend_traits[] = {"thin", "friendly", "sleepy", "proud", "limping",
                                            "talkative", "hungry", "polite", "young", "grey",
                                            "muddy", "merry"};
static const char *const friend_names[] = {"Rusty", "Moss", "Pepper", "Button", "Thistle",
                                           "Barley", "Ash", "Clover", "Bramble", "Hazel",
                                           "Copper", "Willow", "Pebble", "Smoke", "Fern",
                                           "Juniper"};
static const char *const greetings[] = {
    "Where are you going in such a hurry", "You look as if you had lost something",
    "I have not seen anybody here for weeks", "Do you have something to eat",
    "Nobody should walk alone in this weather", "Is it true what they say about you",
    "Good day to you and to your shoes", "Please do not step on my tail",
    "I was just thinking of company", "The wind told me that you would come",
};
static const char *const agreements[] = {
    "shared the last piece of bread", "told the whole story from the beginning",
    "laughed for the first time that day", "asked whether they should go together",
    "offered half of the cheese", "made a deep bow", "told a riddle about the moon",
    "promised to tell nobody",
};
static const char *const feelings[] = {"was afraid", "wanted to turn back", "sat down and thought",
                                       "did not know what to do", "counted slowly to ten",
                                       "hummed a tune to stay calm", "thought of home",
                                       "tried to look taller"};
static const char *const endings[] = {
    "walked home under the stars", "danced until they were tired", "sat there for a long time",
    "carried the good news to everybody", "wrote down every word of it",
    "slept until noon", "ate all that was left", "told it to anyone who would listen",
};

/* What each trait learns: number i belongs to trait i. */
static const char *const lessons[] = {
    "found it easy to speak to strangers", "knew that courage can be quiet",
    "asked even more questions than before", "was never lonely again",
    "listened to what others had to say", "had a reason to sing every day",
    "was sure that waiting is worth it", "did not mind falling over now and then",
    "was trusted by young and old", "dreamed with open eyes",
    "dared a little more each day", "could sit still when it mattered",
};

#define COUNT(table) ((int)(sizeof(table) / sizeof(table)[0]))

/* ---- choosing and telling ---- */

static uint64_t next_random(struct teller *t)
{
    /* SplitMix64: Steele, Lea & Flood 2014. */
    uint64_t z = t->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* One of n, with these weights; NULL: all alike. */
static int choose(struct teller *t, int n, const int *weights)
{
    struct story *s = t->story;
    if (t->stopped)
        return 0;
    if (s->choice_count == STORY_CHOICES)
        BUG("a story of more than %d choices", STORY_CHOICES);

    int total = 0, pick = 0;
    for (int i = 0; i < n; i++)
        total += weights ? weights[i] : 1;
    if (!t->given) {
        /* The high bits times the total: no remainder, and the bias is below 2^-32 * total. */
        int left = (int)(((next_random(t) >> 32) * (uint64_t)total) >> 32);
        while (left >= (weights ? weights[pick] : 1))
            left -= weights ? weights[pick++] : (pick++, 1);
    } else if (s->choice_count < t->given_count) {
        pick = t->given[s->choice_count];
        if (pick < 0 || pick >= n)
            BUG("choice %d of %d options", pick, n);
    } else {
        t->stopped = true;
        s->options = n;
        return 0;
    }
    s->choices[s->choice_count++] = pick;
    s->nats += log((double)total) - log((double)(weights ? weights[pick] : 1));
    return pick;
}

static void tell(struct teller *t, const char *format, ...) PRINTF_LIKE(2, 3);

static void tell(struct teller *t, const char *format, ...)
{
    struct story *s = t->story;
    if (t->stopped)
        return;
    va_list arguments;
    va_start(arguments, format);
    const int n = vsnprintf(s->text + s->bytes, STORY_BYTES - s->bytes, format, arguments);
    va_end(arguments);
    if (n < 0 || (size_t)n >= STORY_BYTES - s->bytes)
        BUG("a story of more than %d bytes", STORY_BYTES);
    s->bytes += (size_t)n;
}

static void end_sentence(struct teller *t, const char *mark)
{
    tell(t, "%s ", mark);
    t->story->sentences += !t->stopped;
}

/* ---- the plot ---- */

struct plot {
    const struct person *hero;
    int trait, wish, thing, obstacle, animal, companion;
};

static const char *he(const struct plot *p)
{
    return p->hero->girl ? "she" : "he";
}

static const char *He(const struct plot *p)
{
    return p->hero->girl ? "She" : "He";
}

static const char *his(const struct plot *p)
{
    return p->hero->girl ? "her" : "his";
}

static void tell_beginning(struct teller *t, struct plot *p)
{
    p->hero = &heroes[choose(t, COUNT(heroes), NULL)];
    tell(t, "%s was ", p->hero->name);
    p->trait = choose(t, COUNT(traits), NULL);
    tell(t, "%s %s who lived ", traits[p->trait], p->hero->girl ? "girl" : "boy");
    tell(t, "%s", homes[choose(t, COUNT(homes), NULL)]);
    end_sentence(t, ".");

    static const int usual[] = {3, 1};
    tell(t, "%s", choose(t, 2, usual) ? "More than anything " : "For a long time ");
    tell(t, "%s had wanted ", he(p));
    p->wish = choose(t, COUNT(wishes), NULL);
    tell(t, "%s", wishes[p->wish].wanted);
    end_sentence(t, ".");
}

static void tell_finding(struct teller *t, struct plot *p)
{
    tell(t, "One ");
    tell(t, "%s ", seasons[choose(t, COUNT(seasons), NULL)]);
    tell(t, "%s %s found ", times[choose(t, COUNT(times), NULL)], he(p));
    p->thing = choose(t, COUNT(things), NULL);
    tell(t, "%s %s ", things[p->thing].article, things[p->thing].name);
    tell(t, "%s", spots[choose(t, COUNT(spots), NULL)]);
    static const int usual[] = {2, 1, 1};
    switch (choose(t, 3, usual)) {
    case 0:
        tell(t, ", put it in %s bag and set out", his(p));
        break;
    case 1:
        tell(t, " and took it along");
        break;
    default:
        tell(t, ", and that was how the journey began");
        break;
    }
    end_sentence(t, ".");
}

static void tell_meeting(struct teller *t, struct plot *p)
{
    static const char *const openings[] = {"On the way", "Not far from there", "After an hour"};
    tell(t, "%s %s met ", openings[choose(t, COUNT(openings), NULL)], he(p));
    tell(t, "a ");
    const int trait = choose(t, COUNT(friend_traits), NULL);
    tell(t, "%s ", friend_traits[trait]);
    p->animal = choose(t, COUNT(animals), NULL);
    tell(t, "%s called ", animals[p->animal].name);
    p->companion = choose(t, COUNT(friend_names), NULL);
    tell(t, "%s", friend_names[p->companion]);
    end_sentence(t, ".");

    tell(t, "\"");
    tell(t, "%s%s\" said %s", greetings[choose(t, COUNT(greetings), NULL)], ",",
         friend_names[p->companion]);
    end_sentence(t, ".");
    tell(t, "%s ", p->hero->name);
    tell(t, "%s, and so they went on side by side",
         agreements[choose(t, COUNT(agreements), NULL)]);
    end_sentence(t, ".");
}

static void tell_trouble(struct teller *t, struct plot *p)
{
    static const char *const openings[] = {"But soon", "Then suddenly", "Before long"};
    tell(t, "%s they came to ", openings[choose(t, COUNT(openings), NULL)]);
    /* The thing is mostly good for what comes: who reads about a rope may expect a gorge. */
    int weights[COUNT(obstacles)];
    for (int i = 0; i < COUNT(obstacles); i++)
        weights[i] = i == p->thing ? 10 : 1;
    p->obstacle = choose(t, COUNT(obstacles), weights);
    tell(t, "%s", obstacles[p->obstacle].met);
    end_sentence(t, ".");

    tell(t, "%s ", p->hero->name);
    tell(t, "%s", feelings[choose(t, COUNT(feelings), NULL)]);
    end_sentence(t, ".");
    if (p->obstacle == p->thing) {
        tell(t, "Then %s remembered the %s, took it out and %s", he(p), things[p->thing].name,
             obstacles[p->obstacle].used);
    } else {
        tell(t, "The %s was of no use here, but %s the %s %s", things[p->thing].name,
             friend_names[p->companion], animals[p->animal].name, animals[p->animal].help);
    }
    end_sentence(t, ".");
}

static void tell_end(struct teller *t, const struct plot *p)
{
    static const char *const openings[] = {"On the other side", "And there at last"};
    tell(t, "%s ", openings[choose(t, COUNT(openings), NULL)]);
    tell(t, "%s", wishes[p->wish].reached);
    end_sentence(t, ".");
    tell(t, "%s and %s ", p->hero->name, friend_names[p->companion]);
    tell(t, "%s", endings[choose(t, COUNT(endings), NULL)]);
    end_sentence(t, ".");
    /* The trait of the first sentence decides the last one. */
    tell(t, "%s kept the %s, and from that day on %s %s", He(p), things[p->thing].name, he(p),
         lessons[p->trait]);
    end_sentence(t, ".");
}

static void tell_story(struct teller *t)
{
    struct plot plot = {0};
    tell_beginning(t, &plot);
    tell_finding(t, &plot);
    tell_meeting(t, &plot);
    tell_trouble(t, &plot);
    tell_end(t, &plot);
    struct story *s = t->story;
    s->complete = !t->stopped;
    if (s->complete)
        s->text[--s->bytes] = '\0';    /* the space after the last sentence */
}

void story_write(struct story *story, uint64_t seed, uint64_t index)
{
    *story = (struct story){0};
    struct teller t = {.story = story, .state = seed * 0xD1342543DE82EF95u + index};
    t.state = next_random(&t);    /* neighbouring indices must not give neighbouring states */
    tell_story(&t);
}

void story_replay(struct story *story, const int *choices, int count)
{
    static const int none = 0;
    *story = (struct story){0};
    struct teller t = {
        .story = story, .given = choices ? choices : &none, .given_count = count,
    };
    tell_story(&t);
}
