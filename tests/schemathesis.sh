#!/usr/bin/env bash
# Holds a running service against its own OpenAPI document: tests/schemathesis.sh [SECONDS]
#
# Of the environment: KINDLING is the binary (target/release/kindling), SCHEMATHESIS the command (`pip install schemathesis`),
# SEED what is drawn. It fails on any answer of the 500s, on one that the document does not have, and on a request that is
# taken although the document forbids it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

seconds=${1:-40}
kindling=${KINDLING:-$here/../target/release/kindling}
schemathesis=${SCHEMATHESIS:-schemathesis}
scratch=$(mktemp -d)
trap 'exec {SERVICE[1]}>&- || true; wait "${SERVICE_PID:-}" 2>/dev/null || true; rm -rf "$scratch"' EXIT

"$kindling" sample fire-smoke "$scratch/pictures" >/dev/null 2>&1
coproc SERVICE {
    "$kindling" serve --json --stop-with-input --listen 127.0.0.1:0 --data-dir "$scratch/data" --workers 0 2>"$scratch/log"
}
read -r told <&"${SERVICE[0]}"
url=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["address"])' "$told")

# Without anything there, every address answers 404 and no more of it is seen.
python3 - "$url" "$scratch" <<'PYTHON' >"$scratch/schemathesis.toml"
import io
import json
import pathlib
import sys
import urllib.request
import zipfile

url, scratch = sys.argv[1], pathlib.Path(sys.argv[2])


def send(method: str, path: str, body: bytes, kind: str = "application/json") -> dict:
    request = urllib.request.Request(url + path, body, {"content-type": kind}, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)


def post(path: str, value: dict) -> dict:
    return send("POST", path, json.dumps(value).encode())


pictures = io.BytesIO()
with zipfile.ZipFile(pictures, "w") as archive:
    for path in sorted((scratch / "pictures").glob("*/*.png"))[:600]:
        archive.write(path, path.relative_to(scratch / "pictures"))
octets = "application/octet-stream"
dataset = post("/v1/datasets", {"name": "sealed", "kind": "image-classification"})["id"]
send("PUT", f"/v1/datasets/{dataset}/content", pictures.getvalue(), octets)
draft = post("/v1/drafts", {"name": "draft", "labels": "classes", "classes": ["fire", "smoke"]})["id"]
send("POST", f"/v1/drafts/{draft}/pictures", pictures.getvalue(), octets)
base = {"version": 1, "name": "x", "kind": "image-classification", "dataset": dataset}
task = post("/v1/tasks", base | {"budget": {"seconds": 60}})["id"]
fleet = post("/v1/fleets", base | {"background": ["neither"], "budget": {"seconds": 60}})["id"]
# What a schema cannot say is refused too, with words: an archive without pictures, a draft without labels, a class that the
# data set lacks, a query value that needs another one.
print("[checks.positive_data_acceptance]")
print('expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 413, 415, 422, 429]\n')
for kind, known in [("datasets", dataset), ("drafts", draft), ("tasks", task), ("fleets", fleet)]:
    print("[[operations]]")
    print(f'include-path-regex = "^(/v1)?/{kind}/"')
    print(f'parameters = {{ "path.id" = "{known}" }}\n')
PYTHON

cd "$scratch"
set +e
# Events of a task that is not over do not end, and a service that is asked to delete everything has nothing left to ask.
"$schemathesis" run "$url/openapi.json" --checks all --mode all --max-time "$seconds" --seed "${SEED:-1}" --workers 2 \
    --exclude-path-regex '/events$' --exclude-method DELETE --continue-on-failure --no-color "${@:2}"
status=$?
set -e
if grep -E 'panicked|internal error' "$scratch/log"; then
    echo "the service's log tells of an error of its own" >&2
    exit 1
fi
exit "$status"
