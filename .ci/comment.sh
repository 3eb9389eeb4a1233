#!/usr/bin/env bash
# Keep one comment with the plan on a pull request: found again by its first line and its author,
# updated in place. FTSPEC_COMMENT tells the comments of several projects in one repository apart.
set -euo pipefail

plan="${RUNNER_TEMP:-/tmp}/ftspec-plan.md"
export MARKER="<!-- ftspec plan: ${FTSPEC_COMMENT:-.} -->" AUTHOR="${FTSPEC_COMMENT_AUTHOR:-github-actions[bot]}"
[ -s "$plan" ] || exit 0

body=$(mktemp)
trap 'rm -f "$body"' EXIT
{ echo "$MARKER"; cat "$plan"; } > "$body"
found=$(gh api --paginate "repos/$GITHUB_REPOSITORY/issues/$NUMBER/comments" \
  --jq '.[] | select((.body | startswith(env.MARKER)) and .user.login == env.AUTHOR) | .id' | head -n 1)
if [ -n "$found" ]; then
  gh api --method PATCH "repos/$GITHUB_REPOSITORY/issues/comments/$found" -F body=@"$body" > /dev/null
else
  gh api --method POST "repos/$GITHUB_REPOSITORY/issues/$NUMBER/comments" -F body=@"$body" > /dev/null
fi
