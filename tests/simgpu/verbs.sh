# verbs.sh PROGRAM - what reads a finished run computes on the simulated GPU what it computes on the CPU: score
# of all kinds, evaluate and generate, in both precisions; score on two GPUs the same bytes as on one.
set -eu
. "$(dirname "$0")/common.sh"
rm -rf run ./*.log ./*.out
make_run
train 1 run --train.steps=4 --device.kind=cpu

# near A B BOUND: two texts with the same words, and numbers that differ by the bound at most, relative to 1 + |number|
near() {
    tr -cs '[:alnum:].+-' '\n' <"$1" >first.words
    tr -cs '[:alnum:].+-' '\n' <"$2" >second.words
    [ "$(wc -l <first.words)" = "$(wc -l <second.words)" ] && [ "$(wc -l <first.words)" -gt 10 ] || {
        echo "$1 and $2 have different words"; head -n 2 "$1" "$2"; exit 1; }
    paste -d ' ' first.words second.words | awk -v bound="$3" '$1 != $2 {
        d = $1 - $2; if (d < 0) d = -d
        m = $1 < 0 ? -$1 : $1
        if ($1 !~ /[0-9]/ || $2 !~ /[0-9]/ || d > bound * (1 + m)) { print "differs:", $0; bad = 1 }
    } END { exit bad }' || { echo "$1 and $2 differ by more than $3"; exit 1; }
}

head -n 40 train.txt | cut -d " " -f 1-14 | awk "NF > 9" | head -n 6 >texts.txt
awk 'NF { gsub(/["\\]/, ""); printf "{\"text\": \"%s\"}\n", $0 }' texts.txt >words.jsonl
awk 'NF > 9 { gsub(/["\\]/, ""); n = 0; e = ""
    for (i = NF - 3; i <= NF; i++) e = e (e ? ", " : "") "\"" $i "\""
    printf "{\"ctx\": \"%s %s %s\", \"endings\": [%s], \"label\": %d}\n", $1, $2, $3, e, NR % 4 }' texts.txt >endings.jsonl
[ "$(wc -l <endings.jsonl)" -ge 3 ] || { echo "too few examples"; exit 1; }

for precision in fp32:1e-5 bf16:0.03; do
    options=(--threads 1 --precision "${precision%:*}")
    bound=${precision#*:}
    for kind in texts.txt:text words.jsonl:lambada endings.jsonl:hellaswag; do
        file=${kind%:*}
        for device in cpu cuda; do
            "$GALLEY" score run "$file" --kind "${kind#*:}" --batch 2 --device $device "${options[@]}" \
                >"$device.out" 2>errors.log || { cat errors.log; exit 1; }
        done
        # Of near ones a choice or a greedy token may be another in bf16.
        [ "$bound" = 1e-5 ] || sed -i -E 's/"(choice[a-z_]*|greedy|accuracy[a-z_]*)": [a-z0-9.]+//g' cpu.out cuda.out
        near cpu.out cuda.out "$bound"
        mpirun --oversubscribe --bind-to none --timeout 60 -n 2 "$GALLEY" score run "$file" --kind "${kind#*:}" \
            --batch 2 --device cuda "${options[@]}" >two.out 2>errors.log || { cat errors.log; exit 1; }
        [ "$bound" = 1e-5 ] || sed -i -E 's/"(choice[a-z_]*|greedy|accuracy[a-z_]*)": [a-z0-9.]+//g' two.out
        cmp two.out cuda.out || { echo "two GPUs score $file otherwise than one"; exit 1; }
    done
    for device in cpu cuda; do
        "$GALLEY" evaluate run valid.txt --json --device $device "${options[@]}" 2>errors.log |
            sed -E 's/"(seconds|accuracy)": [^,}]*//g' >"$device.out"
    done
    near cpu.out cuda.out "$bound"
done

# Greedy and beam decide alike; a seed draws the same text.
for sampler in greedy beam top_p; do
    for device in cpu cuda; do
        "$GALLEY" generate run --prompt "" --prompt "the" --sampler $sampler --threads 1 --device $device \
            >"$device.out" 2>errors.log || { cat errors.log; exit 1; }
    done
    [ -s cpu.out ] && cmp cpu.out cuda.out || { echo "$sampler writes other texts on a GPU"; exit 1; }
done
