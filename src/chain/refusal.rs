//! A node's words for why it refuses, made fit for one line: its virtual machine answers with a backtrace of calls,
//! of which the innermost says what was wrong.

use std::borrow::Cow;

/// The text on one line. Of a backtrace, the exit code and the innermost call with its causes; all of any other text.
pub(super) fn brief(text: &str) -> Cow<'_, str> {
    if !text.contains('\n') {
        return Cow::Borrowed(text);
    }
    let lines = || text.lines().map(str::trim);
    let Some(innermost) = lines().filter_map(call).next_back() else {
        return Cow::Owned(lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; "));
    };
    let causes = lines().filter_map(|line| line.strip_prefix("--> caused by: "));
    let exit = text.split_once("exit=[").and_then(|(_, rest)| rest.split_once(']')).map(|(exit, _)| exit);
    let parts: Vec<&str> = exit.into_iter().chain([innermost]).chain(causes).collect();
    Cow::Owned(parts.join(": "))
}

/// What is after the number of a call: `02: f01002 (method 1) -- …`.
fn call(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once(": ")?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_becomes_its_innermost_call() {
        let text = "message execution failed (exit=[ErrIllegalArgument(16)], vm error=[message failed with backtrace:\n\
                    00: f04 (method 2) -- send aborted with code 16 (16)\n\
                    01: f01 (method 2) -- constructor failed: send aborted with code 16 (16)\n\
                    02: f01002 (method 1) -- unable to resolve address: f3abc (16)\n\
                    --> caused by: actor::resolve_address -- actor not found (6: resource not found)\n (RetCode=16)])";
        assert_eq!(
            brief(text),
            "ErrIllegalArgument(16): f01002 (method 1) -- unable to resolve address: f3abc (16): \
             actor::resolve_address -- actor not found (6: resource not found)"
        );
    }

    #[test]
    fn other_text_is_kept_whole() {
        assert_eq!(brief("actor not found"), "actor not found");
        assert_eq!(brief("first\n\n  second: word\n"), "first; second: word");
    }
}
