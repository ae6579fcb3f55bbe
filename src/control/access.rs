//! Who may ask what: the credentials that the kernel gives of whoever is at the other end, against the rules. The
//! decision is pure; only [`Peer::look_up`] and [`Rules::look_up`] read the user database.

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};
use std::{collections::BTreeSet, ffi::CString};

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at everything.
    Reader,
    /// Also tell the daemon what to do.
    Operator,
}

/// Whoever is at the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// Every group of that user.
    pub groups: BTreeSet<u32>,
}

/// Whom the daemon listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The daemon's own user.
    pub own: u32,
    /// Members of this group may look: the daemon's own, unless that is root's.
    pub readers: Option<u32>,
    /// Members of this group may do everything.
    pub operators: Option<u32>,
}

/// What this peer may do; `None`: nothing.
pub fn role(peer: Option<&Peer>, rules: &Rules) -> Option<Role> {
    let Peer { uid, groups } = peer?;
    let is_in = |group: Option<u32>| group.is_some_and(|group| groups.contains(&group));
    if *uid == 0 || *uid == rules.own || is_in(rules.operators) {
        Some(Role::Operator)
    } else if is_in(rules.readers) {
        Some(Role::Reader)
    } else {
        None
    }
}

impl Peer {
    /// The user of this id with all groups that the user database gives it. May ask a name service: not for the loop.
    pub fn look_up(uid: u32, gid: u32) -> Self {
        let mut groups = BTreeSet::from([gid]);
        if let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) {
            groups.insert(user.gid.as_raw());
            let name = CString::new(user.name).ok();
            let more = name.and_then(|name| getgrouplist(&name, user.gid).ok());
            groups.extend(more.into_iter().flatten().map(Gid::as_raw));
        }
        Self { uid, groups }
    }
}

/// Whether this user is an operator whatever the user database says.
pub fn is_known(uid: u32) -> bool {
    role(Some(&Peer { uid, groups: BTreeSet::new() }), &Rules::of_process()) == Some(Role::Operator)
}

impl Rules {
    /// This process's rules, without a group of operators.
    pub fn of_process() -> Self {
        let own_group = getegid().as_raw();
        Self { own: geteuid().as_raw(), readers: (own_group != 0).then_some(own_group), operators: None }
    }

    /// This process's rules. May ask a name service: not for the loop.
    pub fn look_up(operators: Option<&str>) -> Self {
        let named = |name: &str| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
        Self { operators: operators.and_then(named), ..Self::of_process() }
    }

    /// Why somebody with this role was refused what needs `needed`, and how to be let in.
    pub fn refusal(&self, has: Option<Role>, needed: Role, operators: Option<&str>) -> (String, String) {
        let own = user_name(self.own);
        let operators_are = match operators {
            Some(group) => format!("root, {own} and members of group {group} may do this"),
            None => format!("only root and {own} may do this"),
        };
        match (has, needed, self.readers.map(group_name), operators) {
            (None, Role::Reader, Some(readers), _) => {
                let error = format!("only root, {own} and members of group {readers} may ask seald");
                (error, format!("have root run `adduser YOU {readers}`, then log in again"))
            }
            (None | Some(_), _, _, Some(group)) if self.operators.is_none() => {
                let help =
                    format!("this host has no group {group}: `addgroup {group}`, or change control.operator_group");
                (operators_are, help)
            }
            (None | Some(_), _, _, Some(group)) => {
                (operators_are, format!("have root run `adduser YOU {group}`, then log in again"))
            }
            (None | Some(_), _, _, None) => {
                let help = "run it as root, or name a group of operators: [control] operator_group in the manifest";
                (operators_are, help.to_owned())
            }
        }
    }
}

fn user_name(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("user {uid}"), |user| format!("user {}", user.name))
}

fn group_name(gid: u32) -> String {
    let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
    group.map_or_else(|| gid.to_string(), |group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALD: u32 = 990;
    const OPERATORS: u32 = 70;

    fn peer(uid: u32, groups: &[u32]) -> Peer {
        Peer { uid, groups: groups.iter().copied().collect() }
    }

    #[test]
    fn who_may_do_what() {
        let rules = |readers, operators| Rules { own: SEALD, readers, operators };
        let both = rules(Some(SEALD), Some(OPERATORS));
        let (reader, operator) = (Some(Role::Reader), Some(Role::Operator));
        for (peer, rules, expected) in [
            (peer(0, &[0]), both, operator),
            (peer(SEALD, &[SEALD]), both, operator),
            (peer(1000, &[1000]), both, None),
            (peer(1000, &[1000, SEALD]), both, reader),
            (peer(1000, &[1000, OPERATORS]), both, operator),
            (peer(1000, &[OPERATORS, SEALD]), both, operator),
            (peer(1000, &[1000, SEALD, OPERATORS]), rules(Some(SEALD), None), reader),
            (peer(1000, &[1000, SEALD]), rules(None, None), None),
            // of root's groups nobody gets anything when root runs the daemon
            (peer(1000, &[0]), Rules { own: 0, readers: None, operators: None }, None),
            (peer(OPERATORS, &[OPERATORS + 1]), both, None),
        ] {
            assert_eq!(role(Some(&peer), &rules), expected, "{peer:?} {rules:?}");
        }
        assert_eq!(role(None, &both), None, "the kernel did not say who it is");
        assert!(Role::Operator > Role::Reader);
    }

    #[test]
    fn a_refusal_says_who_may_and_how_to_become_one() {
        let rules = Rules { own: 0, readers: Some(0), operators: Some(OPERATORS) };
        let (error, help) = rules.refusal(None, Role::Reader, None);
        assert_eq!(error, "only root, user root and members of group root may ask seald");
        assert_eq!(help, "have root run `adduser YOU root`, then log in again");
        let (error, help) = rules.refusal(Some(Role::Reader), Role::Operator, Some("ops"));
        assert_eq!(error, "root, user root and members of group ops may do this");
        assert!(help.contains("`adduser YOU ops`"), "{help}");
        let missing = Rules { operators: None, ..rules };
        assert!(missing.refusal(None, Role::Operator, Some("ops")).1.contains("`addgroup ops`"));
        assert!(missing.refusal(Some(Role::Reader), Role::Operator, None).1.contains("[control] operator_group"));
    }

    #[test]
    fn this_process_is_an_operator_of_its_own_daemon() {
        let me = Peer::look_up(geteuid().as_raw(), getegid().as_raw());
        assert_eq!(role(Some(&me), &Rules::look_up(Some("no-such-group"))), Some(Role::Operator));
        assert!(is_known(me.uid) && is_known(0) && !is_known(u32::MAX));
    }
}
