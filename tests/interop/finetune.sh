# finetune.sh - fine-tuning on poems goes as in the real KerasHub: finetune.py.
# usage: finetune.sh VENV, in a folder of its own, with the program in $GALLEY
set -u
poems=$(cd "$GALLEY_SOURCE/../shared/data/poems" 2>/dev/null && pwd) || { echo "skipped: no poems"; exit 77; }
. "$GALLEY_SOURCE/tests/interop/environment.sh" "$1"
rm -rf work && mkdir work && exec "$python" "$GALLEY_SOURCE/tests/interop/finetune.py" "$GALLEY" \
    "$GALLEY_SOURCE/configs/finetune-poems.yaml" work "$poems"/poet.tang.0.json "$poems"/poet.tang.1000.json
