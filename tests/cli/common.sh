# common.sh - what went wrong, told and remembered; sourced by scripts that test one verb, $verb, in a folder
# of their own, which end with: [ ! -e failures ]

fail() {
    echo "FAILED: $*" | tee -a failures >&2
}

# refuse CODE PART ARGUMENT...: the verb ends with that code and one line that contains PART, and leaves no
# output, which is called "refused".
refuse() {
    local code=$1 part=$2 got
    shift 2
    timeout 60 "$GALLEY" "$verb" "$@" >out 2>errors
    got=$?
    [ $got -eq "$code" ] || fail "$verb $*: exit code $got, expected $code"
    [ "$(wc -l <errors)" -eq 1 ] || fail "$verb $*: not one line: $(cat errors)"
    grep -qF -- "$part" errors || fail "$verb $*: \"$part\" is not in: $(cat errors)"
    [ ! -e refused ] && [ ! -e .refused.partial ] || fail "$verb $*: something was left behind"
    rm -rf refused .refused.partial
}
