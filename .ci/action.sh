#!/usr/bin/env bash
# One run of the GitHub action: COMMAND, FILES and ARGUMENTS come from its inputs (never from
# the text of a pull request). Works the same anywhere: GITHUB_* variables may be absent.
set -uo pipefail

ftspec="${FTSPEC:-${RUNNER_TEMP:-/tmp}/ftspec/bin/ftspec}"
summary="${GITHUB_STEP_SUMMARY:-/dev/stdout}"
output="${GITHUB_OUTPUT:-/dev/null}"
plan="${RUNNER_TEMP:-/tmp}/ftspec-plan.md"

files=()
for file in ${FILES:-}; do files+=(-f "$file"); done
read -r -a arguments <<< "${ARGUMENTS:-}"

finish() { echo "exit-code=$1" >> "$output"; exit "$2"; }

case "${COMMAND:-plan}" in
  plan)
    # What an earlier step left behind must not be taken for this plan.
    printf '## No plan\n\nThe specs are not valid, or cannot be planned: the log of this run says why.\n' > "$plan"
    "$ftspec" validate ${files[@]+"${files[@]}"} --format github || { cat "$plan" >> "$summary"; finish 1 1; }
    "$ftspec" plan ${files[@]+"${files[@]}"} ${arguments[@]+"${arguments[@]}"} --format markdown --detailed-exitcode > "$plan.new"
    code=$?
    [ -s "$plan.new" ] && mv "$plan.new" "$plan"
    cat "$plan" >> "$summary"
    case $code in 0 | 2) finish "$code" 0 ;; *) finish "$code" "$code" ;; esac
    ;;
  apply)
    case "${GITHUB_EVENT_NAME:-}" in
      pull_request*)
        echo "ftspec apply spends money: it does not run for pull requests" >&2
        finish 64 64
        ;;
    esac
    # Long fences: no output of ours can end them.
    printf '``````text\n' >> "$summary"
    "$ftspec" apply ${files[@]+"${files[@]}"} ${arguments[@]+"${arguments[@]}"} --auto-approve | tee -a "$summary"
    code=${PIPESTATUS[0]}
    printf '``````\n' >> "$summary"
    finish "$code" "$code"
    ;;
  *)
    echo "command: plan or apply, not \`$COMMAND\`" >&2
    finish 64 64
    ;;
esac
