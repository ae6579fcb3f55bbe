//! Tickets and deadlines: what is sent when, and what is given up.
