# check_layers.sh - includes point downwards only; the environment, exits and prints stay where they belong.
# usage: check_layers.sh [FOLDER]      FOLDER: the source tree, default $GALLEY_SOURCE
set -u
cd "${1:-$GALLEY_SOURCE}" || exit 1
failed=0
complain() { echo "$1"; failed=1; }

# layer: the layers it may include besides itself
allowed() {
    case $1 in
    base) echo "" ;;
    device) echo "base" ;;
    kernels) echo "base device" ;;
    comm) echo "base device" ;;
    text | formats) echo "base" ;;
    data) echo "base text formats" ;;
    model) echo "base device kernels formats data/batch.h" ;;
    presets) echo "base text formats model" ;;
    generate) echo "base device kernels text model" ;;
    train) echo "base device kernels comm text formats data model presets generate" ;;
    cli) echo "base device kernels comm text formats data model presets generate train" ;;
    esac
}

for file in $(find src kernels -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh'); do
    layer=$(echo "$file" | sed -E 's#^src/([^/]+)/.*#\1#; s#^kernels/.*#kernels#')
    may=" $layer $(allowed "$layer") "
    for include in $(sed -nE 's/^#include "([^"]+)".*/\1/p' "$file"); do
        case $may in
        *" ${include%%/*} "* | *" $include "*) ;;
        *) complain "$file includes $include, which $layer may not" ;;
        esac
    done
    head -n 1 "$file" | grep -q '^/\*' || complain "$file does not begin with its purpose"
done
grep -rnE '\b(getenv|secure_getenv|setenv)\(' src kernels | grep -vE '^src/(cli|comm)/' && complain "the environment is read in src/cli and src/comm only"
grep -rnE '\b(exit|_exit|abort)\(' src kernels | grep -vE '^src/(cli/main|comm/comm|comm/agree|comm/hang|base/error|formats/h5_catalog)\.c:|: \* ' && complain "only main, comm_end, a hang and BUG end the process (and a child that reads HDF5 itself)"
grep -rnE '#if 0|TODO|FIXME' src kernels && complain "unfinished places"
exit $failed
