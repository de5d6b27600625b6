# weights.sh - weights go to the real KerasHub and transformers and come back: weights.py.
# usage: weights.sh VENV, in a folder of its own, with the program in $GALLEY
set -u
. "$GALLEY_SOURCE/tests/interop/environment.sh" "$1"
rm -rf work && mkdir work && exec "$python" "$GALLEY_SOURCE/tests/interop/weights.py" "$GALLEY" work
