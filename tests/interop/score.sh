# score.sh - galley score against the real transformers: score.py.
# usage: score.sh VENV, in a folder of its own, with the program in $GALLEY
set -u
. "$GALLEY_SOURCE/tests/interop/environment.sh" "$1"
rm -rf work && mkdir work && exec "$python" "$GALLEY_SOURCE/tests/interop/score.py" "$GALLEY" work \
    "$GALLEY_SOURCE/../shared/data"
