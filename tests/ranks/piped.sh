# piped.sh - a tiny run that trains on what another program writes; sourced by the scripts here.
. "$(dirname "$0")/common.sh"

# piped WRITER RANKS FOLDER [OPTIONS...]: trains on what the command WRITER writes, through a fifo: mpirun
# does not hand standard input on unharmed. `ending` of the name tells what it is, if it is set.
ending=
piped() {
    local writer=$1 status=0
    shift
    local fifo=input.fifo$ending
    rm -f "$fifo"
    mkfifo "$fifo"
    (eval "$writer" >"$fifo" 2>/dev/null) &
    writer=$!
    train "$@" "--data.train=$fifo" || status=$?
    kill "$writer" 2>/dev/null || true    # it waits where nobody opened the other end
    wait "$writer" || true
    return "$status"
}
