#!/usr/bin/env bash
# One run of the GitHub action: COMMAND, FILES and ARGUMENTS come from its inputs (never from
# the text of a pull request). Works the same anywhere: GITHUB_* variables may be absent.
set -uo pipefail

ftspec="${FTSPEC:-${RUNNER_TEMP:-/tmp}/ftspec/bin/ftspec}"
summary="${GITHUB_STEP_SUMMARY:-/dev/stdout}"
output="${GITHUB_OUTPUT:-/dev/null}"
plan="${RUNNER_TEMP:-/tmp}/ftspec-plan.md"

files=()
for file in $FILES; do files+=(-f "$file"); done
read -r -a arguments <<< "$ARGUMENTS"

finish() { echo "exit-code=$1" >> "$output"; exit "$2"; }

case "$COMMAND" in
  plan)
    "$ftspec" validate ${files[@]+"${files[@]}"} --format github || finish 1 1
    "$ftspec" plan ${files[@]+"${files[@]}"} ${arguments[@]+"${arguments[@]}"} --format markdown --detailed-exitcode > "$plan"
    code=$?
    cat "$plan" >> "$summary"
    case $code in 0 | 2) finish "$code" 0 ;; *) finish "$code" "$code" ;; esac
    ;;
  apply)
    if [ "${GITHUB_EVENT_NAME:-}" = pull_request ] || [ "${GITHUB_EVENT_NAME:-}" = pull_request_target ]; then
      echo "ftspec apply spends money: it does not run for pull requests" >&2
      finish 64 64
    fi
    "$ftspec" apply ${files[@]+"${files[@]}"} ${arguments[@]+"${arguments[@]}"} --auto-approve | tee -a "$summary"
    code=${PIPESTATUS[0]}
    finish "$code" "$code"
    ;;
  *)
    echo "command: plan or apply, not \`$COMMAND\`" >&2
    finish 64 64
    ;;
esac
