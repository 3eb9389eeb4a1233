#!/usr/bin/env bash
# Keep one comment with the plan on a pull request: found again by its first line, updated in place.
set -euo pipefail

plan="${RUNNER_TEMP:-/tmp}/ftspec-plan.md"
marker="<!-- ftspec plan: ${FTSPEC_COMMENT:-default} -->"
[ -s "$plan" ] || exit 0

body=$(mktemp)
{ echo "$marker"; cat "$plan"; } > "$body"
found=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$NUMBER/comments" \
  --jq "map(select(.body | startswith(\"$marker\")))[0].id // empty" | head -n 1)
if [ -n "$found" ]; then
  gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$found" -F body=@"$body" > /dev/null
else
  gh api --method POST "repos/$GITHUB_REPOSITORY/issues/$NUMBER/comments" -F body=@"$body" > /dev/null
fi
