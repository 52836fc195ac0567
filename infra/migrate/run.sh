#!/usr/bin/env bash
# Builds the migration image of a commit in the environment's registry and runs it as the job inside the network.
# Needs AZURE_RESOURCE_GROUP, MIGRATION_REGISTRY and MIGRATION_JOB, outputs of main.bicep; ends with the job's verdict.
set -euo pipefail
export AZURE_EXTENSION_USE_DYNAMIC_INSTALL=yes_without_prompt
cd "$(dirname "$0")/../.."
commit="${1:-$(git rev-parse HEAD)}"
image="migrate:${commit:0:12}"

context="$(mktemp -d)"
trap 'rm -rf "$context"' EXIT
git archive "$commit" requirements-dev.txt shared sql infra/migrate | tar -x -C "$context"
az acr build --registry "$MIGRATION_REGISTRY" --image "$image" --file infra/migrate/Dockerfile "$context" --output none

job=(--resource-group "$AZURE_RESOURCE_GROUP" --name "$MIGRATION_JOB")
az containerapp job update "${job[@]}" --image "$MIGRATION_REGISTRY.azurecr.io/$image" --output none
execution="$(az containerapp job start "${job[@]}" --query name --output tsv)"
echo "migrating with $image as $execution"
for _ in $(seq 180); do
  status="$(az containerapp job execution show "${job[@]}" --job-execution-name "$execution" --query properties.status --output tsv)"
  case "$status" in
    Succeeded) echo "migrated"; exit 0 ;;
    Failed | Degraded | Stopped) break ;;
  esac
  sleep 10
done
echo "the migration ended as ${status:-unknown}; its output is in ContainerAppConsoleLogs of the workspace" >&2
exit 1
