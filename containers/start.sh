#!/bin/sh
# What the container does. Without words, or with options of `meisho serve`: index the photos at /photos, then serve them.
# With words: that command of meisho, or a shell or Python.
set -eu

photos=${MEISHO_PHOTOS:-/photos}
collection=${MEISHO_COLLECTION:-/data/photos.meisho}
tokens=${MEISHO_TOKENS:-/data/tokens}

case ${1-} in
  '' | -*) ;;
  sh | bash | python | python3 | pip | meisho) exec "$@" ;;
  *) exec meisho "$@" ;;
esac

# A folder that is empty is one that was not mounted: a collection of it would lose its photos.
if [ -n "$(ls -A "$photos" 2>/dev/null)" ]; then
  code=0
  meisho index "$photos" --to "$collection" ${MEISHO_ENGINE:+--engine "$MEISHO_ENGINE"} || code=$?
  # 7: more than half of the photos are gone, and were kept; what is there still answers
  [ "$code" -eq 0 ] || [ "$code" -eq 7 ] || exit "$code"
elif ! meisho info "$collection" >/dev/null 2>&1; then
  echo "error: no photos at $photos, and no collection at $collection; mount a folder of photos:" >&2
  echo "  docker run -p 127.0.0.1:8765:8765 -v ~/Pictures:/photos:ro -v meisho:/data meisho" >&2
  exit 2
fi

# Other machines may reach a container, so that it answers nobody without a token; one is made at the first start.
if [ ! -e "$tokens" ]; then
  token=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  (umask 077 && echo "admin $token made-by-the-container" > "$tokens")
fi
token=$(sed -n 's/^admin \([0-9a-f]*\) made-by-the-container$/\1/p' "$tokens")
[ -z "$token" ] || echo "Open http://127.0.0.1:8765/#token=$token (or the port that you published)"

exec meisho serve "$collection" --host 0.0.0.0 --port 8765 --token-file "$tokens" "$@"
