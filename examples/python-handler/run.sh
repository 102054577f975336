#!/usr/bin/env bash
# A controller and a node on this computer, a session whose `skin` handler is no code of ours, and the Python program that
# joins it while it runs. Ends by itself when every picture is through.
#   examples/python-handler/run.sh [PICTURES]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
pictures=$(cd "${1:-$root/node_modules/@vladmandic/face-api/demo}" && pwd)
command -v python3 >/dev/null || { echo "this example needs python3 (3.8 or newer)" >&2; exit 1; }
orchestrator() { node "$root/dist/cli/orchestrator.js" "$@"; }

mkdir -p "$root/var/python-handler" && cd "$root/var/python-handler"
node "$root/dist/cli/orchestrator.js" up --nodes 1 --port 0 --services "$here/services" --allow "$pictures" >up.log 2>&1 &
up=$!
trap 'kill $up 2>/dev/null; wait $up 2>/dev/null || true' EXIT
for _ in $(seq 150); do
  kill -0 $up 2>/dev/null || { cat up.log >&2; exit 1; }
  grep -q 'Ctrl-C ends it' up.log && break
  sleep 0.2
done

echo "== a session that waits for a program"
orchestrator session start skin_boxes --source "$pictures/*.jpg" --delivery all | tee session.txt
orchestrator session show 1 | grep waiting || true

echo "== the program joins"
node_url=$(sed -n 's#^join skin at *\(http://[^/]*\)/.*#\1#p' session.txt)
python3 "$here/skin_boxes.py" "$node_url" 1 2

echo "== what came out"
cat var/up/client/outputs/1/boxes.jsonl
echo "annotated pictures: $PWD/var/up/client/outputs/1"
