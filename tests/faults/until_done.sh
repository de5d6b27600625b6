# until_done.sh - launch/until-done starts a command again for as long as that makes sense.
set -eu
loop=$GALLEY_SOURCE/launch/until-done
export PAUSE=0
fail() { echo "$1"; cat log; exit 1; }

# ./ends CODE...: ends with these codes, one a start; the last for all that follow
cat >ends <<'EOF'
#!/bin/sh
count=$(cat count)
echo $((count + 1)) >count
while [ "$count" -gt 0 ] && [ $# -gt 1 ]; do shift; count=$((count - 1)); done
exit "$1"
EOF
chmod +x ends

# expect CODE STARTS CODES...
expect() {
    local code=$1 starts=$2 rc=0
    shift 2
    echo 0 >count
    timeout 20 "$loop" ./ends "$@" >log 2>&1 || rc=$?
    [ "$rc $(cat count)" = "$code $starts" ] ||
        fail "ends with $*: code $rc after $(cat count) starts, expected $code after $starts"
}
expect 0 1 0
expect 0 4 75 75 75 0
expect 2 2 75 2
expect 0 4 1 137 75 0
expect 1 3 1 1 1
expect 1 5 1 75 1 1 1
expect 0 3 1 1 0

# Asked to stop itself, it hands that on, and does not start again.
cat >saves <<'EOF'
#!/bin/bash
trap 'echo saved >>done; exit 75' USR1
echo started >>done
for i in $(seq 100); do sleep 0.1; done
EOF
chmod +x saves
rm -f done
"$loop" ./saves >log 2>&1 &
sleep 0.5
kill -TERM $!
rc=0
wait $! || rc=$?
[ $rc = 75 ] || fail "asked to stop: code $rc, expected 75"
[ "$(tr '\n' ' ' <done)" = "started saved " ] || fail "asked to stop: $(cat done)"
