//! Every way of tampering that the ledger knows, on copies of two accounts.

use super::*;
use crate::domain::{
    audit::{About, Act, Actor},
    id::{AccountId, RealmName},
    key::{SecretRing, ServerSecret},
};
use zeroize::Zeroizing;

fn ring(byte: u8) -> SecretRing {
    SecretRing::new(vec![ServerSecret::new(1, Zeroizing::new([byte; 32]))]).unwrap()
}

fn owner(account: &str) -> AccountRef {
    AccountRef { realm: RealmName::new("recurr").unwrap(), account: AccountId::new(account).unwrap() }
}

/// An export of these accounts, each with so many events, made at an instant and signed with a ring.
fn copy(accounts: &[(&str, u64)], at: u64, byte: u8) -> Vec<Entry> {
    let (signer, mut sealing, mut entries) = (ring(byte).audit_signer(), Sealing::default(), Vec::new());
    for (account, length) in accounts {
        let mut chain = Chain::default();
        for number in 1..=*length {
            let event = chain.append(
                Timestamp::from_micros(number),
                &Actor::System,
                Act::KeyUpdated,
                About { fields: &["name"], ..About::default() },
            );
            entries.push(Entry::Event(owner(account), event));
        }
        let checkpoint = Checkpoint { owner: owner(account), chain, at: Timestamp::from_micros(at) };
        sealing.take(&checkpoint);
        entries.push(Entry::Checkpoint(signer.sign(checkpoint)));
    }
    let (accounts, digest) = sealing.finish();
    let realm = RealmName::new("recurr").unwrap();
    let seal = Seal { realm, account: None, accounts, digest, at: Timestamp::from_micros(at) };
    entries.push(Entry::Seal(signer.sign(seal)));
    entries
}

fn usual() -> Vec<Entry> {
    copy(&[("acme", 4), ("beta", 3)], 9, 1)
}

fn judge_with(entries: &[Entry], known: &Known) -> Result<Summary, Broken> {
    let signer = ring(1).audit_signer();
    let trusted = [signer.public_keys()[0].1];
    let mut ledger = Ledger::new(&trusted, known, true);
    for (line, entry) in (1..).zip(entries) {
        ledger.take(line, entry.clone())?;
    }
    ledger.finish(entries.len() as u64)
}

/// The line, the event's number, and the name of the fault.
fn fault(entries: &[Entry]) -> (u64, Option<u64>, &'static str) {
    let broken = judge_with(entries, &Known::default()).expect_err("the copy is broken");
    (broken.line, broken.sequence, broken.fault.name())
}

fn changed(change: impl FnOnce(&mut Vec<Entry>)) -> (u64, Option<u64>, &'static str) {
    let mut entries = usual();
    change(&mut entries);
    fault(&entries)
}

fn event(entry: &mut Entry) -> &mut AuditEvent {
    match entry {
        Entry::Event(_, event) => event,
        _ => panic!("no event"),
    }
}

#[test]
fn what_keygate_wrote_is_whole() {
    let summary = judge_with(&usual(), &Known::default()).unwrap();
    assert_eq!((summary.events, summary.seal.accounts), (7, 2));
    assert_eq!(judge_with(&copy(&[], 9, 1), &Known::default()).unwrap().events, 0);
}

#[test]
fn every_change_of_a_record_shows_at_that_record() {
    assert_eq!(changed(|it| event(&mut it[1]).actor = "somebody".to_owned()), (2, Some(2), "changed"));
    assert_eq!(changed(|it| event(&mut it[1]).sequence = 7), (2, Some(7), "changed"));
    assert_eq!(changed(|it| event(&mut it[3]).previous[0] ^= 1), (4, Some(4), "changed"));
    assert_eq!(changed(|it| event(&mut it[0]).hash[0] ^= 1), (1, Some(1), "changed"));
    // Under another account's name.
    let moved = |it: &mut Vec<Entry>| it[2] = Entry::Event(owner("beta"), event(&mut it[2]).clone());
    assert_eq!(changed(moved), (3, Some(3), "changed"));
}

#[test]
fn what_is_missing_out_of_place_or_too_much_is_told_apart() {
    assert_eq!(changed(|it| drop(it.remove(1))), (2, Some(3), "missing"));
    assert_eq!(changed(|it| it.swap(1, 2)), (2, Some(3), "reordered"));
    assert_eq!(changed(|it| it.insert(3, it[1].clone())), (4, Some(2), "reordered"));

    assert_eq!(changed(|it| it.push(it[0].clone())), (11, None, "unsigned"));
    assert_eq!(changed(|it| drop(it.drain(..5))), (5, None, "missing"));
}

#[test]
fn a_cut_shows_wherever_it_is_made() {
    assert_eq!(changed(|it| drop(it.remove(3))), (4, Some(4), "checkpoint_beyond_chain"));
    assert_eq!(changed(|it| drop(it.remove(4))), (5, Some(5), "cut"));
    assert_eq!(changed(|it| it.truncate(2)), (2, Some(3), "cut"));
    assert_eq!(changed(|it| it.truncate(5)), (5, None, "cut"));
    assert_eq!(changed(|it| drop(it.pop())), (9, None, "cut"));
    assert_eq!(fault(&[]), (0, None, "cut"));
}

/// Makes the hashes of a chain follow from its events again, from the first on.
fn rehash(entries: &mut [Entry]) {
    let mut head = [0; 32];
    for entry in entries {
        let event = event(entry);
        event.previous = head;
        event.hash = event.expected_hash();
        head = event.hash;
    }
}

#[test]
fn a_chain_that_was_made_anew_contradicts_what_was_signed() {
    let rewritten = |it: &mut Vec<Entry>| {
        event(&mut it[0]).actor = "somebody".to_owned();
        rehash(&mut it[..4]);
    };
    assert_eq!(changed(rewritten), (5, Some(4), "rewritten"));
    // With the checkpoint changed to fit, its signature does not hold.
    let and_stated = |it: &mut Vec<Entry>| {
        rewritten(it);
        let head = event(&mut it[3]).hash;
        if let Entry::Checkpoint(signed) = &mut it[4] {
            signed.statement.chain.head = head;
        }
    };
    assert_eq!(changed(and_stated), (5, Some(4), "signature"));
    // With all of it signed anew, by whoever did it.
    assert_eq!(fault(&copy(&[("acme", 4), ("beta", 3)], 9, 2)), (5, Some(4), "unknown_key"));
    // A chain that goes on with another account's end.
    let spliced = |it: &mut Vec<Entry>| {
        event(&mut it[5]).actor = "somebody".to_owned();
        rehash(&mut it[5..8]);
        it[2] = Entry::Event(owner("acme"), event(&mut it[7]).clone());
    };
    assert_eq!(changed(spliced), (3, Some(3), "spliced"));
    // A forged event behind what was signed.
    let longer = |it: &mut Vec<Entry>| {
        let mut more = it[3].clone();
        event(&mut more).sequence = 5;
        it.insert(4, more);
        rehash(&mut it[..5]);
    };
    assert_eq!(changed(longer), (6, Some(5), "unsigned"));
    // One account as it was in an older copy, with the checkpoint of that time.
    let mut older = copy(&[("acme", 2)], 5, 1);
    older.truncate(3);
    let turned_back = |it: &mut Vec<Entry>| drop(it.splice(..5, older));
    assert_eq!(changed(turned_back), (8, None, "spliced"));
}

#[test]
fn a_newer_copy_must_agree_with_the_older_ones() {
    let mut known = Known::default();
    known.learn(judge_with(&usual(), &known).unwrap());
    let later = |accounts: &[(&str, u64)]| {
        let judged = judge_with(&copy(accounts, 20, 1), &known);
        judged.map(|summary| summary.events).map_err(|broken| (broken.line, broken.sequence, broken.fault.name()))
    };
    assert_eq!(later(&[("a", 1), ("acme", 4), ("beta", 9)]), Ok(14));
    assert_eq!(later(&[("acme", 3), ("beta", 3)]), Err((4, Some(4), "checkpoint_beyond_chain")));
    assert_eq!(later(&[("acme", 5)]), Err((7, Some(1), "missing")));
    assert_eq!(later(&[("beta", 3)]), Err((5, Some(1), "missing")));

    let mut other = copy(&[("acme", 6), ("beta", 3)], 20, 1);
    event(&mut other[1]).actor = "somebody".to_owned();
    rehash(&mut other[..6]);
    let broken = judge_with(&other, &known).unwrap_err();
    assert_eq!((broken.line, broken.sequence, broken.fault), (4, Some(4), Fault::Rewritten));
    let early = judge_with(&copy(&[("acme", 4), ("beta", 3)], 1, 1), &known).unwrap_err();
    assert_eq!((early.line, early.fault), (10, Fault::Older));
}
