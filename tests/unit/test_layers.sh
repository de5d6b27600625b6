# test_layers.sh - the tree passes check_layers.sh, and a copy with a wrong include does not.
set -eu
here=$(dirname "$0")
bash "$here/check_layers.sh" "$GALLEY_SOURCE"

rm -rf copy
mkdir -p copy
cp -r "$GALLEY_SOURCE/src" "$GALLEY_SOURCE/kernels" copy/
echo '#include "train/job.h"' >>copy/src/base/log.c
if bash "$here/check_layers.sh" copy >found; then
    echo "an include upwards was not found"
    exit 1
fi
grep -q 'src/base/log.c includes train/job.h' found
