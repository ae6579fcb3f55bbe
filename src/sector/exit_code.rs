//! What the exit code of a message means, in the words of the machine and the actors that set it.
//!
//! Numbers below 16 are set by the machine that runs actors, those from 16 on by the actors: a few by all of them alike,
//! those from 1000 on by the miner actor. Source of the numbers: lotus-full-node-api 3.0.

/// The sender could not pay.
pub const SYS_INSUFFICIENT_FUNDS: i64 = 6;
/// The gas limit was too low.
pub const SYS_OUT_OF_GAS: i64 = 7;
/// What actors answer when a proof does not verify, and to other values they do not like.
pub const ILLEGAL_ARGUMENT: i64 = 16;

/// What to do after a message failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing is wrong with what it said: the same may be sent again, with fresh estimates.
    Resend,
    /// What it said does not fit what the chain has: look at that first.
    LookAgain,
}

/// The known codes: number, name, meaning.
const CODES: &[(i64, &str, &str)] = &[
    (0, "OK", "it succeeded"),
    (1, "SysErrSenderInvalid", "its sender does not exist on chain"),
    (2, "SysErrSenderStateInvalid", "its nonce is not the sender's next, or the sender cannot pay for its gas"),
    (4, "SysErrIllegalInstruction", "the actor's code did something that it must not"),
    (5, "SysErrInvalidReceiver", "its receiver does not exist and cannot be made"),
    (SYS_INSUFFICIENT_FUNDS, "SysErrInsufficientFunds", "the sender's funds did not suffice"),
    (SYS_OUT_OF_GAS, "SysErrOutOfGas", "it ran out of gas"),
    (9, "SysErrIllegalExitCode", "the actor ended with a code that it must not use"),
    (10, "SysFatal", "the machine itself failed"),
    (11, "SysErrMissingReturn", "the actor gave no answer where there must be one"),
    (ILLEGAL_ARGUMENT, "ErrIllegalArgument", "the actor does not accept a value in it"),
    (17, "ErrNotFound", "the actor does not have what it names"),
    (18, "ErrForbidden", "the actor does not take this message from this sender"),
    (19, "ErrInsufficientFunds", "the actor's own funds did not suffice for what it locks or pays"),
    (20, "ErrIllegalState", "the actor's state is not one in which this can be done"),
    (21, "ErrSerialization", "the actor cannot read its parameters, or cannot write its state"),
    (22, "ErrUnhandledMessage", "the actor has no such method"),
    (23, "ErrUnspecified", "the actor refused it without a reason of its own"),
    (24, "ErrAssertionFailed", "the actor found its own state at odds with itself"),
    (25, "ErrReadOnly", "it would change state where nothing may"),
    (26, "ErrNotPayable", "it carries funds that the actor does not take"),
    (1000, "ErrBalanceInvariantBroken", "the miner's locked funds do not add up"),
    (1001, "ErrNotificationSendFailed", "an actor that wanted to be told could not be"),
    (1002, "ErrNotificationReceiverAborted", "an actor that was told of it refused"),
    (1003, "ErrNotificationResponseInvalid", "an actor that was told of it gave an answer that cannot be read"),
    (1004, "ErrNotificationRejected", "an actor that was told of it does not agree"),
];

/// The meaning with name and number, for people.
pub fn words(code: i64) -> String {
    match CODES.iter().find(|(known, _, _)| *known == code) {
        Some((_, name, meaning)) => format!("{meaning} (exit code {code}, {name})"),
        None => format!("it failed for a reason that this version does not know (exit code {code})"),
    }
}

/// What to do after a message ended with this code.
pub const fn remedy(code: i64) -> Remedy {
    match code {
        SYS_INSUFFICIENT_FUNDS | SYS_OUT_OF_GAS => Remedy::Resend,
        _ => Remedy::LookAgain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_code_has_one_meaning_and_unknown_ones_say_their_number() {
        let numbers: BTreeSet<_> = CODES.iter().map(|(code, _, _)| *code).collect();
        assert_eq!(numbers.len(), CODES.len());
        assert_eq!(words(7), "it ran out of gas (exit code 7, SysErrOutOfGas)");
        assert_eq!(words(18), "the actor does not take this message from this sender (exit code 18, ErrForbidden)");
        assert!(words(4711).contains("exit code 4711"));
    }

    #[test]
    fn only_what_was_right_in_itself_is_sent_again_as_it_is() {
        let again: Vec<_> = (0..2_000).filter(|code| remedy(*code) == Remedy::Resend).collect();
        assert_eq!(again, [6, 7]);
    }
}
