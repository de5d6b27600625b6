# common.sh - a small run on a GPU; sourced by the scripts here. The program is their first argument, so that
# they also run where there is only a bundle: galley/run bash tests/gpu/train.sh galley
GALLEY=$1
shift
. "$(dirname "$0")/../ranks/common.sh"

make_text
rm -rf probe
train 1 probe --train.steps=1 --device.kind=cuda || {
    reason=$(grep -oE 'no NVIDIA driver is loaded|no GPU is visible|there is no device "cuda" in this build' probe.log) || {
        cat probe.log
        exit 1
    }
    echo "skipped: $reason"
    exit 77
}
