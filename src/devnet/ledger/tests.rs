//! The ledger: money, nonces, refusals.

use super::*;
use crate::{
    chain::params::{
        BatchReturn, ProveCommitSectors3Params, SectorPreCommitInfo, TerminateSectorsParams, TerminationDeclaration,
    },
    devnet::{
        chain::Chain,
        fixture::{
            FIL, aggregate_params, capacity, chain, create_miner, create_params, message, mine, pre_commit,
            pre_commit_params, proof, prove, prove_all, prove_params, send,
        },
        miner::{Condition, Sector, deposit, pledge, termination_fee},
    },
    units::Hash32,
};
use fvm_ipld_bitfield::BitField;
use proptest::prelude::*;

const KIB2: SectorSize = SectorSize::KiB2;

fn world() -> (Chain, u64) {
    let mut chain = chain();
    let miner = create_miner(&mut chain);
    (chain, miner)
}

fn exit_of(chain: &mut Chain, miner: u64, change: impl FnOnce(&mut SectorPreCommitInfo)) -> u32 {
    let mut info = capacity(chain, 7);
    change(&mut info);
    let receipt = pre_commit(chain, miner, vec![info]);
    assert!(receipt.exit_code == 0 || !receipt.error.is_empty());
    receipt.exit_code
}

#[test]
fn a_sector_lives_from_pre_commit_to_power() {
    let (mut chain, miner) = world();
    let free = |chain: &Chain| {
        let tip = chain.tip();
        tip.miners[&miner].available(tip.balance(miner))
    };
    let at_first = free(&chain);
    let infos = vec![capacity(&chain, 0), capacity(&chain, 1)];
    assert_eq!(pre_commit(&mut chain, miner, infos).exit_code, 0);
    assert_eq!(free(&chain), minus(at_first, times(deposit(KIB2), 2)));
    assert_eq!(chain.tip().miners[&miner].power(), 0);

    mine(&mut chain, 10);
    let receipt = prove_all(&mut chain, miner, &[0, 1]);
    assert_eq!(receipt.exit_code, 0, "{receipt:?}");
    let outcome: BatchReturn = decode(&receipt.value).unwrap();
    assert_eq!((outcome.success_count, outcome.fail_codes.len()), (2, 0));

    let tip = chain.tip();
    let after = &tip.miners[&miner];
    assert_eq!(after.power(), 4096);
    assert!(after.pre_commits.is_empty());
    assert_eq!(free(&chain), minus(at_first, times(pledge(KIB2), 2)), "deposits are free again, pledge is locked");
    let open = after.deadline(chain.head).index;
    assert!(after.sectors.values().all(|s| s.place.deadline != open && s.condition == Condition::Active));
}

#[test]
fn pre_commit_refusals_have_the_actors_exit_codes() {
    let (mut chain, miner) = world();
    let cases: [fn(&mut SectorPreCommitInfo); 9] = [
        |info| info.seal_rand_epoch += 901,
        |info| info.seal_rand_epoch -= 2881,
        |info| info.expiration = info.seal_rand_epoch + 604_800 + 900,
        |info| info.expiration = info.seal_rand_epoch + 3_680_640 + 902,
        |info| info.seal_proof = 6,
        |info| info.seal_proof = 10,
        |info| info.sector_number = 1 << 63,
        |info| info.deal_ids = vec![1],
        |info| info.sealed_cid = crate::chain::cids::unsealed(Hash32([1; 32])),
    ];
    for (index, case) in cases.into_iter().enumerate() {
        assert_eq!(exit_of(&mut chain, miner, case), exit::ILLEGAL_ARGUMENT, "case {index}");
    }
    assert!(chain.tip().miners[&miner].allocated.is_empty(), "a refused message uses no number");
    // the last good values on either side of the bounds above
    assert_eq!(exit_of(&mut chain, miner, |info| info.seal_rand_epoch += 900), 0);
    assert_eq!(exit_of(&mut chain, miner, |_| {}), exit::ILLEGAL_ARGUMENT, "a number is used once for ever");

    let one_bad = vec![capacity(&chain, 8), capacity(&chain, 8)];
    assert_eq!(pre_commit(&mut chain, miner, one_bad).exit_code, exit::ILLEGAL_ARGUMENT);
    assert_eq!(pre_commit(&mut chain, miner, vec![]).exit_code, exit::ILLEGAL_ARGUMENT);
    assert!(!chain.tip().miners[&miner].allocated.contains(&8), "all or nothing");
}

#[test]
fn ticket_bounds_are_exact() {
    let (mut chain, miner) = world();
    mine(&mut chain, 5000);
    let next = chain.head + 1;
    let oldest = |info: &mut SectorPreCommitInfo| info.seal_rand_epoch = next - 3780;
    assert_eq!(exit_of(&mut chain, miner, oldest), 0);
    let next = chain.head + 1;
    let older = move |info: &mut SectorPreCommitInfo| {
        info.sector_number = 9;
        info.seal_rand_epoch = next - 3781;
    };
    assert_eq!(exit_of(&mut chain, miner, older), exit::ILLEGAL_ARGUMENT);
}

#[test]
fn funds_must_cover_deposit_and_pledge() {
    let mut chain = chain();
    let wallet = chain.wallets().next().unwrap();
    let params = create_params(&wallet, 10);
    let poor = minus(CREATION_DEPOSIT, AttoFil::from_atto(1));
    let refused = send(&mut chain, "t04", poor, method::CREATE_MINER, params.clone());
    assert_eq!((refused.exit_code, chain.tip().miners.len()), (exit::INSUFFICIENT_FUNDS, 0));
    let funded = plus(CREATION_DEPOSIT, deposit(KIB2));
    assert_eq!(send(&mut chain, "t04", funded, method::CREATE_MINER, params).exit_code, 0);
    let miner = *chain.tip().miners.keys().next().unwrap();

    let two = vec![capacity(&chain, 0), capacity(&chain, 1)];
    assert_eq!(pre_commit(&mut chain, miner, two).exit_code, exit::INSUFFICIENT_FUNDS);
    let one = vec![capacity(&chain, 0)];
    assert_eq!(pre_commit(&mut chain, miner, one).exit_code, 0);
    mine(&mut chain, 10);
    assert_eq!(prove_all(&mut chain, miner, &[0]).exit_code, exit::INSUFFICIENT_FUNDS);
    let lacking = minus(pledge(KIB2), deposit(KIB2));
    let proofs = vec![(0, proof(&chain, miner, 0))];
    let params = fvm_ipld_encoding::to_vec(&prove_params(&proofs, true)).unwrap();
    let to = format!("t0{miner}");
    assert_eq!(send(&mut chain, &to, lacking, method::PROVE_COMMIT_SECTORS3, params).exit_code, 0);
}

#[test]
fn prove_commit_refusals_have_the_actors_exit_codes() {
    let (mut chain, miner) = world();
    let infos = (0..3).map(|n| capacity(&chain, n)).collect();
    pre_commit(&mut chain, miner, infos);
    // pre-committed one epoch before the head, so this executes 8 epochs later: the last one that is too early
    mine(&mut chain, 8);
    assert_eq!(prove_all(&mut chain, miner, &[0]).exit_code, exit::FORBIDDEN);
    assert_eq!(prove_all(&mut chain, miner, &[9]).exit_code, exit::NOT_FOUND);
    assert_eq!(prove_all(&mut chain, miner, &[0, 0]).exit_code, exit::ILLEGAL_ARGUMENT);
    assert_eq!(prove(&mut chain, miner, &prove_params(&[], true)).exit_code, exit::ILLEGAL_ARGUMENT);
    assert_eq!(prove(&mut chain, miner, &prove_params(&[(0, vec![1; 192])], false)).exit_code, exit::ILLEGAL_ARGUMENT);
    let mixed = vec![(0, proof(&chain, miner, 0)), (1, vec![1; 192]), (2, proof(&chain, miner, 2))];
    assert_eq!(prove(&mut chain, miner, &prove_params(&mixed, true)).exit_code, exit::ILLEGAL_ARGUMENT);
    assert_eq!(chain.tip().miners[&miner].sectors.len(), 0);
    let receipt = prove(&mut chain, miner, &prove_params(&mixed, false));
    let outcome: BatchReturn = decode(&receipt.value).unwrap();
    assert_eq!((receipt.exit_code, outcome.success_count, outcome.fail_codes[0].idx), (0, 2, 1));
    assert_eq!(chain.tip().miners[&miner].sectors.keys().copied().collect::<Vec<_>>(), [0, 2]);
}

// matrix: D13
#[test]
fn an_aggregate_proves_all_its_sectors_or_none() {
    let (mut chain, miner) = world();
    let infos = (0..6).map(|n| capacity(&chain, n)).collect();
    pre_commit(&mut chain, miner, infos);
    mine(&mut chain, 10);
    let good = aggregate_params(&chain, miner, &[0, 1, 3, 4]);
    let change = |change: fn(&mut ProveCommitSectors3Params)| {
        let mut params = good.clone();
        change(&mut params);
        params
    };
    let wrong = [
        change(|params| params.aggregate_proof_type = Some(0)),
        change(|params| params.aggregate_proof_type = None),
        change(|params| params.aggregate_proof = RawBytes::new(vec![1; 192])),
        change(|params| params.sector_proofs = vec![RawBytes::new(vec![1; 192]); 4]),
        change(|params| params.aggregate_proof = RawBytes::default()),
        change(|params| params.sector_activations.swap(0, 1)),
        change(|params| params.sector_activations.truncate(3)),
        change(|params| params.sector_activations[3].sector_number = 5),
        aggregate_params(&chain, miner, &[0, 1, 2]),
    ];
    for (index, params) in wrong.into_iter().enumerate() {
        assert_eq!(prove(&mut chain, miner, &params).exit_code, exit::ILLEGAL_ARGUMENT, "case {index}");
    }
    assert!(chain.tip().miners[&miner].sectors.is_empty());
    let receipt = prove(&mut chain, miner, &good);
    let outcome: BatchReturn = decode(&receipt.value).unwrap();
    assert_eq!((receipt.exit_code, outcome.success_count, outcome.fail_codes.len()), (0, 4, 0), "{receipt:?}");
    assert_eq!(chain.tip().miners[&miner].sectors.keys().copied().collect::<Vec<_>>(), [0, 1, 3, 4]);
}

#[test]
fn a_sector_that_comes_too_late_is_part_of_the_aggregate_all_the_same() {
    let (mut chain, miner) = world();
    let infos = vec![capacity(&chain, 0)];
    pre_commit(&mut chain, miner, infos);
    mine(&mut chain, 900);
    let infos = (1..5).map(|n| capacity(&chain, n)).collect();
    pre_commit(&mut chain, miner, infos);
    let first = chain.tip().miners[&miner].pre_commits[&0].epoch;
    // past the last epoch of the first sector, before its deposit is burnt
    let jump = first + 86_400 + 10 - chain.head;
    mine(&mut chain, jump);
    let without = aggregate_params(&chain, miner, &[1, 2, 3, 4]);
    let mut listed = without.clone();
    listed.sector_activations = aggregate_params(&chain, miner, &[0, 1, 2, 3, 4]).sector_activations;
    assert_eq!(prove(&mut chain, miner, &listed).exit_code, exit::ILLEGAL_ARGUMENT, "not of all that are listed");
    let all = aggregate_params(&chain, miner, &[0, 1, 2, 3, 4]);
    let receipt = prove(&mut chain, miner, &all);
    let outcome: BatchReturn = decode(&receipt.value).unwrap();
    assert_eq!((outcome.success_count, outcome.fail_codes[0].idx), (4, 0), "{receipt:?}");
}

#[test]
fn the_first_epoch_that_is_not_too_early_is_accepted() {
    let (mut chain, miner) = world();
    let infos = vec![capacity(&chain, 0)];
    pre_commit(&mut chain, miner, infos);
    mine(&mut chain, 9);
    assert_eq!(prove_all(&mut chain, miner, &[0]).exit_code, 0);
}

#[test]
fn a_proof_for_another_seed_or_ticket_does_not_activate() {
    let (mut chain, miner) = world();
    let infos = vec![capacity(&chain, 0)];
    pre_commit(&mut chain, miner, infos);
    mine(&mut chain, 10);
    let good = proof(&chain, miner, 0);
    chain.challenge_delay = 9;
    let other_seed = proof(&chain, miner, 0);
    chain.challenge_delay = 10;
    assert_ne!(good, other_seed);
    assert_eq!(prove(&mut chain, miner, &prove_params(&[(0, other_seed)], true)).exit_code, exit::ILLEGAL_ARGUMENT);
    assert_eq!(prove(&mut chain, miner, &prove_params(&[(0, good)], true)).exit_code, 0);
}

#[test]
fn strangers_unknown_methods_and_bad_parameters_are_refused() {
    let (mut chain, miner) = world();
    let to = format!("t0{miner}");
    let mut code =
        |to: &str, method: u64, params: Vec<u8>| send(&mut chain, to, AttoFil::ZERO, method, params).exit_code;
    assert_eq!(code(&to, 6, vec![]), exit::UNHANDLED);
    assert_eq!(code(&to, 5, vec![]), exit::UNHANDLED);
    assert_eq!(code("t04", 3, vec![]), exit::UNHANDLED);
    assert_eq!(code(&to, method::PRE_COMMIT_SECTOR_BATCH2, vec![0xff]), exit::SERIALIZATION);
    assert_eq!(code("t0999999", 0, vec![]), exit::INVALID_RECEIVER);

    let stranger = chain.add_wallet();
    chain.interfere(|state| state.fund(&stranger, AttoFil::from_atto(FIL))).unwrap();
    let params = pre_commit_params(vec![capacity(&chain, 0)]);
    let from_stranger = Message {
        from: stranger,
        nonce: 0,
        ..message(&chain, &to, AttoFil::ZERO, method::PRE_COMMIT_SECTOR_BATCH2, params)
    };
    let cid = chain.accept(from_stranger, None, Some(0));
    mine(&mut chain, 2);
    assert_eq!(chain.receipt(&cid).unwrap().1.exit_code, exit::FORBIDDEN);
}

#[test]
fn gas_is_paid_burnt_and_limited() {
    let (mut chain, miner) = world();
    let wallet = chain.wallets().next().unwrap();
    let funds = |chain: &Chain| (chain.tip().balance(1000), chain.tip().balance(BURN_ACTOR));
    let (mine_before, burnt_before) = funds(&chain);
    let used = send(&mut chain, &wallet, AttoFil::ZERO, 0, vec![]).gas_used;
    let fee = times(AttoFil::from_atto(100), used);
    assert_eq!(funds(&chain), (minus(mine_before, fee), plus(burnt_before, fee)));

    let message = message(&chain, &format!("t0{miner}"), AttoFil::ZERO, 0, vec![]);
    let cid = chain.accept(Message { gas_limit: used - 1, ..message }, None, Some(0));
    mine(&mut chain, 2);
    assert_eq!(chain.receipt(&cid).unwrap().1.exit_code, exit::OUT_OF_GAS);
    assert_eq!(chain.next_nonce(&wallet), 3, "a failed message uses its nonce");
}

#[test]
fn a_pre_commit_nobody_proves_is_burnt_and_its_number_with_it() {
    let (mut chain, miner) = world();
    let infos = vec![capacity(&chain, 0)];
    pre_commit(&mut chain, miner, infos);
    let (mut state, epoch) = (State::clone(&chain.tip()), chain.head - 1);
    let (balance, burnt) = (state.balance(miner), state.balance(BURN_ACTOR));
    state.end_epoch(epoch + 86_400 + 10 + 960 - 1, 10);
    assert_eq!(state.balance(miner), balance);
    state.end_epoch(epoch + 86_400 + 10 + 960, 10);
    assert_eq!(state.balance(miner), minus(balance, deposit(KIB2)));
    assert_eq!(state.balance(BURN_ACTOR), plus(burnt, deposit(KIB2)));
    let miner = &state.miners[&miner];
    assert!(miner.pre_commits.is_empty() && miner.allocated.contains(&0));
}

fn termination_params(places: Vec<(u64, u64, Vec<u64>)>) -> Vec<u8> {
    let declaration = |(deadline, partition, numbers): (u64, u64, Vec<u64>)| TerminationDeclaration {
        deadline,
        partition,
        sectors: BitField::try_from_bits(numbers).unwrap(),
    };
    let params = TerminateSectorsParams { terminations: places.into_iter().map(declaration).collect() };
    fvm_ipld_encoding::to_vec(&params).unwrap()
}

fn terminate(chain: &mut Chain, miner: u64, places: Vec<(u64, u64, Vec<u64>)>) -> Receipt {
    let params = termination_params(places);
    send(chain, &format!("t0{miner}"), AttoFil::ZERO, method::TERMINATE_SECTORS, params)
}

#[test]
fn a_terminated_sector_costs_a_fee_and_frees_its_pledge() {
    let (mut chain, miner) = world();
    let infos = (0..3).map(|n| capacity(&chain, n)).collect();
    pre_commit(&mut chain, miner, infos);
    mine(&mut chain, 10);
    prove_all(&mut chain, miner, &[0, 1, 2]);
    mine(&mut chain, 4000);
    let place = |chain: &Chain, number: u64| {
        let place = chain.tip().miners[&miner].sectors[&number].place;
        (place.deadline, place.partition)
    };
    let (deadline, partition) = place(&chain, 1);
    for wrong in [
        vec![(48, 0, vec![1])],
        vec![(deadline, partition, vec![])],
        vec![(deadline, partition + 1, vec![1])],
        vec![(deadline, partition, vec![1, 9])],
        vec![(deadline, partition, vec![1]), (deadline, partition, vec![1])],
    ] {
        assert_eq!(terminate(&mut chain, miner, wrong.clone()).exit_code, exit::ILLEGAL_ARGUMENT, "{wrong:?}");
    }
    assert_eq!(chain.tip().miners[&miner].live().count(), 3, "a refused message ends nothing");

    let free = |chain: &Chain| {
        let tip = chain.tip();
        tip.miners[&miner].available(tip.balance(miner))
    };
    let (before, burnt) = (free(&chain), chain.tip().balance(BURN_ACTOR));
    let sector = chain.tip().miners[&miner].sectors[&1].clone();
    let receipt = terminate(&mut chain, miner, vec![(deadline, partition, vec![1])]);
    assert_eq!((receipt.exit_code, receipt.value.as_slice()), (0, [0x81, 0xf5].as_slice()));
    let fee = termination_fee(&sector, chain.head - 1);
    assert!(fee >= AttoFil::from_atto(sector.pledge.as_atto() / 50) && fee < sector.pledge);
    assert_eq!(free(&chain), minus(plus(before, sector.pledge), fee));
    let gas = times(AttoFil::from_atto(100), receipt.gas_used);
    assert_eq!(chain.tip().balance(BURN_ACTOR), plus(burnt, plus(fee, gas)));
    let after = &chain.tip().miners[&miner];
    assert!(after.live().all(|(number, _)| number != 1) && after.allocated.contains(&1) && after.power() == 4096);
    assert_eq!(terminate(&mut chain, miner, vec![(deadline, partition, vec![1])]).exit_code, exit::ILLEGAL_ARGUMENT);
    assert_eq!(terminate(&mut chain, miner, vec![]).exit_code, 0, "nothing was left to do");
}

#[test]
fn a_deadline_that_is_open_or_next_ends_no_sectors() {
    let (mut chain, miner) = world();
    let infos = vec![capacity(&chain, 0)];
    pre_commit(&mut chain, miner, infos);
    mine(&mut chain, 10);
    prove_all(&mut chain, miner, &[0]);
    let place = chain.tip().miners[&miner].sectors[&0].place;
    let is_mutable = |chain: &Chain| chain.tip().miners[&miner].deadline(chain.head + 1).is_mutable(place.deadline);
    while is_mutable(&chain) {
        mine(&mut chain, 1);
    }
    let places = vec![(place.deadline, place.partition, vec![0])];
    let receipt = terminate(&mut chain, miner, places.clone());
    assert_eq!(receipt.exit_code, exit::ILLEGAL_ARGUMENT);
    assert!(receipt.error.contains("immutable deadline"), "{}", receipt.error);
    while !is_mutable(&chain) {
        mine(&mut chain, 1);
    }
    assert_eq!(terminate(&mut chain, miner, places).exit_code, 0);
}

#[test]
fn the_fee_grows_with_age_between_its_bounds() {
    let pledge = AttoFil::from_atto(1_000_000);
    let (proof, place) = (KIB2.seal_proof(), crate::devnet::deadline::Place { deadline: 0, partition: 0 });
    let (condition, comm_r) = (Condition::Active, Hash32([0; 32]));
    let sector = Sector { proof, comm_r, activation: 100, expiration: 1_000_000, pledge, place, condition };
    let days = |days: i64| termination_fee(&sector, 100 + days * 2880).as_atto();
    assert_eq!([days(0), days(1), days(70), days(140), days(500)], [20_000, 20_000, 42_500, 85_000, 85_000]);
}

#[derive(Debug, Clone)]
enum Step {
    Send(i128),
    Create(i128),
    PreCommit(u64, u64),
    Prove(u64, bool),
    Mine(i64),
    Reorg(i64),
    Fault(u64),
    Terminate(u64),
    BaseFee(i128),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2_000_000 * FIL).prop_map(Step::Send),
        (0..FIL).prop_map(Step::Create),
        (0..6_u64, 1..4_u64).prop_map(|(first, count)| Step::PreCommit(first, count)),
        (0..6_u64, any::<bool>()).prop_map(|(number, good)| Step::Prove(number, good)),
        (1..14_i64).prop_map(Step::Mine),
        (1..9_i64).prop_map(Step::Reorg),
        (0..6_u64).prop_map(Step::Fault),
        (0..6_u64).prop_map(Step::Terminate),
        (0..2000_i128).prop_map(Step::BaseFee),
    ]
}

fn walk(chain: &mut Chain, miner: u64, step: Step) {
    let to = format!("t0{miner}");
    let wallet = chain.wallets().next().unwrap();
    let (target, value, number, params) = match step {
        Step::Send(atto) => (to, AttoFil::from_atto(atto), 0, vec![]),
        Step::Create(atto) => {
            ("t04".to_owned(), AttoFil::from_atto(atto), method::CREATE_MINER, create_params(&wallet, 10))
        }
        Step::PreCommit(first, count) => {
            let infos = (first..first + count).map(|n| capacity(chain, n)).collect();
            (to, AttoFil::ZERO, method::PRE_COMMIT_SECTOR_BATCH2, pre_commit_params(infos))
        }
        Step::Prove(n, good) => {
            let bytes = if good { proof(chain, miner, n) } else { vec![0; 192] };
            let params = fvm_ipld_encoding::to_vec(&prove_params(&[(n, bytes)], false)).unwrap();
            (to, AttoFil::ZERO, method::PROVE_COMMIT_SECTORS3, params)
        }
        Step::Terminate(n) => {
            let tip = chain.tip();
            // most of the time there is no such sector
            let place = tip.miners[&miner].sectors.get(&n).map_or((0, 0), |s| (s.place.deadline, s.place.partition));
            (to, AttoFil::ZERO, method::TERMINATE_SECTORS, termination_params(vec![(place.0, place.1, vec![n])]))
        }
        Step::Mine(epochs) => return mine(chain, epochs),
        Step::Reorg(epochs) => {
            let before = chain.head;
            if chain.rollback(epochs, 0).is_ok() {
                mine(chain, before - chain.head + 1);
            }
            return;
        }
        Step::Fault(n) => {
            let change = |state: &mut State| {
                let miner = state.miner_mut(miner).ok_or("no miner")?;
                miner.set_condition(n, Condition::Terminated)
            };
            // most of the time there is no such sector
            return drop(chain.interfere(change));
        }
        Step::BaseFee(atto) => return chain.set_base_fee(AttoFil::from_atto(atto)),
    };
    let message = message(chain, &target, value, number, params);
    chain.accept(message, None, Some(0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn money_is_neither_made_nor_lost(steps in prop::collection::vec(steps(), 1..40)) {
        let (mut chain, miner) = world();
        let total = chain.tip().total_funds();
        for step in steps {
            walk(&mut chain, miner, step);
            let tip = chain.tip();
            prop_assert_eq!(tip.total_funds(), total);
            for (id, miner) in &tip.miners {
                prop_assert!(miner.available(tip.balance(*id)) >= AttoFil::ZERO);
            }
        }
    }
}
