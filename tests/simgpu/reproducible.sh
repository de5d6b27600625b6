# reproducible.sh PROGRAM - with --reproducible 1 and 2 simulated GPUs log the same to the last bit; without it
# they do not.
set -eu
. "$(dirname "$0")/common.sh"
rm -rf r1 r2 plain1 plain2 ./*.log
make_run
options=(--train.micro_batch=1 --train.steps=9 --validation.every_epochs=0)
for n in 1 2; do
    train $n r$n "${options[@]}" --reproducible
    train $n plain$n "${options[@]}"
done
same r1 r2 0
losses plain1 >first.losses
losses plain2 >second.losses
if cmp -s first.losses second.losses; then echo "they agree without --reproducible"; exit 1; fi
same plain1 r1 1e-3
