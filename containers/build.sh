#!/bin/sh
# Build an image, tell its size, and try it: `meisho demo` and a served search inside (containers/check.py).
# Variables: ENGINE (docker, podman or buildah: the first that is there), ENGINE_FLAGS (such as "--storage-driver vfs"),
#   BUILD_FLAGS (such as "--network host"), BASE (another base image), FILE (Dockerfile), TAG (meisho), MOST_MB (1100).
set -eu
cd "$(dirname "$0")/.."
ENGINE=${ENGINE:-$(for each in docker podman buildah; do command -v "$each" && break; done)}
FILE=${FILE:-Dockerfile} TAG=${TAG:-meisho} MOST_MB=${MOST_MB:-1100}
[ -n "$ENGINE" ] || { echo "error: no docker, podman or buildah here; install one" >&2; exit 2; }

# The flags are several words each, and are meant to be split.
# shellcheck disable=SC2086
engine() { verb=$1; shift; "$ENGINE" ${ENGINE_FLAGS-} "$verb" "$@"; }

set -- --file "$FILE" --tag "$TAG"
[ -z "${BASE-}" ] || set -- "$@" --build-arg "BASE=$BASE"
began=$(date +%s)
case $ENGINE in
  # chroot needs no rights that a container lacks; of the two formats only docker's keeps the health check
  # shellcheck disable=SC2086
  *buildah) engine bud --isolation chroot --format docker ${BUILD_FLAGS-} "$@" . ;;
  *podman) engine build --format docker ${BUILD_FLAGS-} "$@" . ;;
  *) engine build ${BUILD_FLAGS-} "$@" . ;;
esac
echo "built in $(($(date +%s) - began)) s"

case $ENGINE in
  *buildah)
    container=$(engine from --pull-never "$TAG")
    trap 'engine rm "$container" >/dev/null' EXIT
    root=$(engine mount "$container")
    bytes=$(du -sb --one-file-system "$root" | cut -f1)
    engine umount "$container" >/dev/null
    engine inspect --type image --format '{{range .Docker.History}}{{.CreatedBy}}{{"\n"}}{{end}}' "$TAG" | cut -c1-100
    ;;
  *)
    "$ENGINE" history "$TAG"
    bytes=$("$ENGINE" image inspect --format '{{.Size}}' "$TAG")
    ;;
esac
echo "$TAG: $((bytes / 1000000)) MB"
[ "$((bytes / 1000000))" -le "$MOST_MB" ] || { echo "error: more than $MOST_MB MB" >&2; exit 1; }

case $ENGINE in
  *buildah)
    engine copy "$container" containers/check.py /tmp/check.py
    engine run --isolation chroot "$container" -- python3 /tmp/check.py /tmp/tried
    ;;
  *) "$ENGINE" run --rm --volume "$PWD/containers/check.py:/tmp/check.py:ro" "$TAG" python3 /tmp/check.py /tmp/tried ;;
esac
