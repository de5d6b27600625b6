# help.sh - every verb and page has its help, pages name keys, pages and verbs that there are, and exit code
# 75 is told where people look.
set -eu
fail() { echo "$1"; exit 1; }

"$GALLEY" help >all.txt
"$GALLEY" --help | diff - all.txt
"$GALLEY" train --help >keys.txt
grep -q '75 asked to stop' keys.txt || fail "train --help does not tell of exit code 75"
pages=$(sed -n '/galley help PAGE/,$s/^  \([a-z]*\) .*/\1/p' all.txt)
verbs=$(sed -n '/^usage/,/galley help PAGE/s/^  \([a-z]*\) .*/\1/p' all.txt)
[ "$(echo "$pages" | wc -w)" -ge 6 ] || fail "pages: $pages"

for page in $pages; do
    "$GALLEY" help "$page" >page.txt
    [ "$(wc -l <page.txt)" -ge 10 ] || fail "galley help $page is short"
    awk 'length > 110 { exit 1 }' page.txt || fail "galley help $page has lines that are too long"
    sections='run|data|train|optimizer|schedule|checkpoint|deadline|comm|device'
    for key in $(grep -oE "\b($sections)\.[a-z_]+\b" page.txt | grep -v '\.\(sbatch\|yaml\)$' | sort -u); do
        grep -qE "(^|[^a-z.])$key([^a-z_]|$)" keys.txt || fail "galley help $page names $key, which is no key"
    done
    for name in $(grep -oE 'galley [a-z]+' page.txt | cut -d' ' -f2 | sort -u); do
        case " help $verbs " in
        *[[:space:]]"$name"[[:space:]]*) ;;
        *) fail "galley help $page names galley $name, which is no verb" ;;
        esac
    done
done
"$GALLEY" help died | grep -q '    75  it was asked to stop' || fail "galley help died has no exit code 75"
for verb in $verbs; do
    "$GALLEY" help "$verb" | diff - <("$GALLEY" "$verb" --help)
done

code=0
"$GALLEY" help nonsense 2>message.txt || code=$?
[ $code = 2 ] && grep -q '^galley: no help on "nonsense"' message.txt || fail "galley help nonsense ends with $code"

# Of several ranks one speaks.
once() {
    local expected=$1 code=0
    shift
    mpirun --oversubscribe --bind-to none -n 3 "$GALLEY" "$@" >told.txt 2>&1 || code=$?
    [ $code = "$expected" ] || fail "galley $* on 3 ranks ends with $code"
    [ "$(grep -c "^$told" told.txt)" = 1 ] || fail "galley $* on 3 ranks: $(cat told.txt)"
}
told='  doctor ' once 0 --help
told='  doctor ' once 2
told='galley ' once 0 --version
told='    75 ' once 0 help died
told='galley: no help' once 2 help nonsense
