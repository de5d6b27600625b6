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

# An exit code 0 of a run that is not done, as Open MPI 5 has it when it loses a node: started again.
. "$GALLEY_SOURCE/tests/ranks/common.sh"
rm -rf run starts
make_text
cat >loses <<'EOF'
#!/bin/bash
# loses COMMAND...: ends with 0 in any case; the first time what it starts is killed once it has saved, and
# only then the run is given an end
echo start >>starts
"$@" &
if [ "$(wc -l <starts)" = 1 ]; then
    until ls run/checkpoints/step-*.h5 >/dev/null 2>&1; do sleep 0.05; done
    kill -KILL $!
    saved=$(ls run/checkpoints | sed -n 's/^step-0*\([0-9]*\)\.h5$/\1/p' | sort -n | tail -n 1)
    sed -i "s/^    steps: .*/    steps: $((saved + 30))/" tiny.yaml
fi
wait
exit 0
EOF
chmod +x loses
rc=0
sed -i 's/^train:/&\n    steps: 1000000000/' tiny.yaml
timeout 100 "$loop" ./loses "$GALLEY" train tiny.yaml --run.folder=run \
    --checkpoint.every_steps=10 --validation.every_epochs=0 --sampling.every_epochs=0 >log 2>&1 || rc=$?
[ "$rc $(wc -l <starts)" = "0 2" ] || fail "a lost node: code $rc after $(wc -l <starts) starts, expected 0 after 2"
grep -q 'the run is not done: running step [1-9]' log || fail "a lost node: nobody was told"
[[ $("$GALLEY" train tiny.yaml --run.folder=run --state) == done\ * ]] || fail "it is not done"

# What is done stays so when it is started again with what cannot be; what is not has failed then.
train() { "$GALLEY" train tiny.yaml --run.folder=run "$@" >log 2>&1; }
rc=0
train --model.layers=3 || rc=$?
[ $rc != 0 ] && [[ $("$GALLEY" train tiny.yaml --run.folder=run --state) == done\ * ]] ||
    fail "a done run, started as another model (code $rc), is not done any more"
echo stopped >run/state
rc=0
train --model.layers=3 || rc=$?
[ $rc != 0 ] && [[ $("$GALLEY" train tiny.yaml --run.folder=run --state) == failed\ * ]] ||
    fail "a stopped run that cannot go on (code $rc) has not failed"
