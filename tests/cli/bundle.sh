# bundle.sh - the packed program, alone with a C library and a shell in an empty root: it runs there, on
# two ranks too, and its archive is small.
set -eu
for tool in patchelf zstd strip unshare; do
    command -v $tool >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "skipped: only root can make a root"; exit 77; }
case $(ompi_info --version) in *"v4.1."*) ;; *) echo "skipped: not Open MPI 4.1"; exit 77 ;; esac

"$GALLEY_SOURCE/launch/bundle" "$(dirname "$GALLEY")" "$PWD/galley.tar.zst"
[ "$(stat -c %s galley.tar.zst)" -lt 50000000 ]

rm -rf root
mkdir -p root/{bin,lib64,lib/x86_64-linux-gnu,tmp,dev,proc,sys}
cp -L /bin/dash root/bin/sh
cp -L /lib64/ld-linux-x86-64.so.2 root/lib64/
for library in libc.so.6 libm.so.6 libdl.so.2 libpthread.so.0 librt.so.1 libutil.so.1 libresolv.so.2; do
    cp -L /lib/x86_64-linux-gnu/$library root/lib/x86_64-linux-gnu/
done
tar -C root -xf galley.tar.zst
cat >root/try <<'END'
set -eu
cd /tmp
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
/galley/run galley corpus --sentences 3000 --seed 1 --output t.txt
/galley/run galley corpus --sentences 300 --seed 2 --output v.txt
/galley/run mpirun -n 2 --oversubscribe --bind-to none galley train /galley/configs/mini-gpt.yaml \
    --data.train=t.txt --data.validation=v.txt --run.folder=run --train.steps=2 --device.kind=cpu \
    --model.vocabulary_size=300 --model.channels=32 --model.feed_forward=32 \
    --data.sequence_length=32 --train.global_batch=8
/galley/run galley inspect run --verify
END
# A mount namespace of its own: nothing stays mounted, whatever happens.
unshare --mount sh -c '
    mount --rbind /proc root/proc && mount --rbind /sys root/sys && mount --rbind /dev root/dev &&
    exec env -i PATH=/bin "$0" root /bin/sh /try' "$(command -v chroot)" >out 2>&1 || { cat out; exit 1; }
grep -q '^step 2/2' out || { cat out; exit 1; }
grep -q '^ranks  2' out || { cat out; exit 1; }
rm -rf root galley.tar.zst
