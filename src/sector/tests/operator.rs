//! Orders of an operator, and what is late or out of turn.
