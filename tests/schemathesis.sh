#!/usr/bin/env bash
# Holds a running service with keys against its own OpenAPI document: tests/schemathesis.sh [EXAMPLES [OPTION...]]
#
# EXAMPLES are drawn of each operation beside those that cover its parameters, on one thread and without a limit of time, so that
# the same seed asks the same on any machine; 4 take 40 seconds on two cores.
#
# Of the environment: KINDLING is the binary (target/release/kindling), SCHEMATHESIS the command (`pip install schemathesis`),
# SEED what is drawn. It fails on any answer of the 500s, on one that the document does not have, on a request that is taken
# although the document forbids it or the key is missing, and on one that is refused although the document allows it, but for
# what schemathesis.py lists.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

examples=${1:-4}
kindling=${KINDLING:-$here/../target/release/kindling}
schemathesis=${SCHEMATHESIS:-schemathesis}
scratch=$(mktemp -d)
trap 'exec {SERVICE[1]}>&- || true; wait "${SERVICE_PID:-}" 2>/dev/null || true; rm -rf "$scratch"' EXIT

"$kindling" sample fire-smoke "$scratch/pictures" >/dev/null 2>&1
key=$("$kindling" keys create --name schemathesis --scope admin --json --data-dir "$scratch/data" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])')
coproc SERVICE {
    "$kindling" serve --json --stop-with-input --listen 127.0.0.1:0 --data-dir "$scratch/data" --workers 0 2>"$scratch/log"
}
read -r told <&"${SERVICE[0]}"
url=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["address"])' "$told")

# Without anything there, every address answers 404 and no more of it is seen.
KINDLING_KNOWN=$(python3 - "$url" "$key" "$scratch" <<'PYTHON'
import io
import json
import pathlib
import sys
import urllib.request
import zipfile

url, key, scratch = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])


def send(method: str, path: str, body: bytes, kind: str = "application/json") -> dict:
    headers = {"content-type": kind, "authorization": f"Bearer {key}"}
    request = urllib.request.Request(url + path, body, headers, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)


def post(path: str, value: dict) -> str:
    return send("POST", path, json.dumps(value).encode())["id"]


pictures = io.BytesIO()
with zipfile.ZipFile(pictures, "w") as archive:
    for path in sorted((scratch / "pictures").glob("*/*.png"))[:600]:
        archive.write(path, path.relative_to(scratch / "pictures"))
octets = "application/octet-stream"
kind = "image-classification"
known = {"dataset": post("/v1/datasets", {"name": "sealed", "kind": kind})}
known["waiting"] = post("/v1/datasets", {"name": "waiting", "kind": kind})
send("PUT", f"/v1/datasets/{known['dataset']}/content", pictures.getvalue(), octets)
known["upload"] = post("/v1/uploads", {"dataset": known["waiting"], "bytes": 100_000, "part_bytes": 65_536})
known["webhook"] = post("/v1/webhooks", {"url": "https://kindling.invalid/"})
known["draft"] = post("/v1/drafts", {"name": "draft", "classes": ["fire", "smoke"]})
send("POST", f"/v1/drafts/{known['draft']}/pictures", pictures.getvalue(), octets)
base = {"version": 1, "name": "x", "kind": kind, "dataset": known["dataset"], "budget": {"seconds": 60}}
known["task"] = post("/v1/tasks", base)
known["fleet"] = post("/v1/fleets", base | {"background": ["neither"]})
print(json.dumps(known))
PYTHON
)
export KINDLING_KNOWN

python3 - "$here" <<'PYTHON' >"$scratch/schemathesis.toml"
import json
import os
import sys

known = json.loads(os.environ["KINDLING_KNOWN"])
print(f'hooks = "{sys.argv[1]}/schemathesis.py"\n')
for name in ("dataset", "draft", "task", "fleet", "upload", "webhook"):
    print("[[operations]]")
    print(f'include-path-regex = "^(/v1)?/{name}s/"')
    print(f'parameters = {{ "path.id" = "{known[name]}" }}\n')
PYTHON

cd "$scratch"
set +e
# Events of a task that is not over do not end; what deletes, drops or joins a thing leaves nothing to ask of it.
PYTHONDONTWRITEBYTECODE=1 "$schemathesis" run "$url/openapi.json" --checks all --mode all --max-examples "$examples" \
    --seed "${SEED:-1}" --generation-database none --workers 1 --header "Authorization: Bearer $key" \
    --exclude-path-regex '/events$' --exclude-method DELETE --continue-on-failure --no-color "${@:2}"
status=$?
set -e
if grep -E 'panicked|internal error' "$scratch/log"; then
    echo "the service's log tells of an error of its own" >&2
    exit 1
fi
exit "$status"
