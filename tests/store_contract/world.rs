//! What a store must bring along to be held to the contract, and the list of its cases.

use keygate::{
    app::ports::{Fence, Found, Freshness, Sought, Store, StoreError},
    domain::{
        account::Account,
        commit::Change,
        id::AccountRef,
        key::{Digest, KeyRecord, KeySnapshot},
        limit::{Charged, Plan, Reading},
        time::Timestamp,
    },
};
use std::{future::Future, sync::Arc, time::Duration};

/// A fresh, empty store and its time.
pub trait World: Sized {
    type Store: Store;

    fn open() -> impl Future<Output = Self>;
    fn store(&self) -> &Self::Store;
    /// The time of day that the store judges deadlines by.
    fn now(&self) -> Timestamp;
    /// Lets time pass, for the store too.
    fn pass(&self, span: Duration) -> impl Future<Output = ()>;

    async fn account(&self, owner: &AccountRef) -> Option<Account> {
        self.store().read_account(owner).await.unwrap()
    }

    /// Makes a key that is found under the digest of the same number.
    async fn create(&self, owner: &AccountRef, number: u64) -> KeyRecord {
        let account = self.account(owner).await;
        let (change, key) = crate::fixtures::creating(owner, account.as_ref(), number, self.now());
        self.commit(&change).await;
        key
    }

    async fn commit(&self, change: &Change) {
        self.store().commit(change).await.unwrap();
    }

    async fn find(&self, digest: &Digest, freshness: Freshness) -> Option<Arc<KeySnapshot>> {
        self.find_any(&[*digest], freshness).await
    }

    async fn find_any(&self, digests: &[Digest], freshness: Freshness) -> Option<Arc<KeySnapshot>> {
        match sought(self.store(), digests, freshness).await.unwrap() {
            Found::Key(key) => Some(key),
            Found::Nothing(_) => None,
        }
    }

    async fn charge(&self, plan: &Plan<'_>) -> Vec<Reading> {
        match self.store().charge(&[], plan).await.unwrap() {
            Charged::Decided(readings) => readings.into_vec(),
            Charged::Stale => panic!("stale without a fence"),
        }
    }

    /// Whether the store confirms that what was read still holds.
    async fn confirms(&self, read: &KeySnapshot) -> bool {
        let realm = crate::fixtures::realm();
        let plan = Plan::new(&realm, Some(&read.owner.account), 1, true);
        let fence = Fence { owner: &read.owner, stamp: read.stamp };
        self.store().charge(&[fence], &plan).await.unwrap() != Charged::Stale
    }
}

/// Asks a store for a key of the realm.
pub async fn sought<S: Store>(store: &S, digests: &[Digest], freshness: Freshness) -> Result<Found, StoreError> {
    store.find_key(&Sought { realm: &crate::fixtures::realm_name(), digests, freshness, uses: false, due: None }).await
}

/// Runs every case of the contract against a world, each in a store of its own.
#[macro_export]
macro_rules! contract {
    ($module:ident, $world:ty) => {
        mod $module {
            $crate::contract!(@cases $world:
                keys: a_created_key_is_found_confirmed_and_located,
                keys: a_stale_reading_is_never_confirmed_and_charges_nothing,
                keys: a_revoked_key_is_found_with_its_true_state_and_leaves_the_working_ones,
                keys: a_rotated_key_is_found_under_both_secrets_until_one_is_forgotten,
                keys: a_change_from_an_old_version_conflicts_and_writes_nothing,
                keys: a_digest_that_leads_to_a_key_is_taken_and_writes_nothing,
                keys: a_dangling_lookup_is_overwritten,
                keys: a_key_is_found_by_whichever_digest_its_secret_is_stored_under,
                keys: a_key_of_one_realm_is_unknown_to_another,
                keys: a_missing_key_is_not_hidden_once_it_is_created,
                records: what_was_never_written_is_absent,
                records: keys_are_read_in_the_order_that_was_asked,
                records: a_listing_is_ordered_filtered_and_paged,
                records: accounts_are_listed_in_order_and_page_by_page,
                records: ten_thousand_keys_are_listed_page_by_page,
                records: an_idempotency_record_is_remembered_until_its_time_is_over,
                records: the_audit_chain_is_kept_whole_and_verifies,
                accounts: an_account_is_confirmed_until_it_changes,
                accounts: organizations_are_read_with_their_members_and_confirmed_until_they_change,
                accounts: an_account_that_is_not_there_is_confirmed_until_it_is,
                accounts: a_charge_rests_on_every_fence_or_charges_nothing,
                entries: entries_are_written_replaced_and_removed_with_their_account,
                entries: entries_from_an_old_version_are_not_written,
                entries: entries_are_listed_in_order_and_page_by_page,
                memos: a_memo_is_written_if_what_is_expected_stands_there,
                memos: memos_of_realms_and_shelves_are_apart,
                memos: memos_are_listed_in_the_order_of_their_names_from_any_on,
                memos: of_many_that_take_a_memo_one_does,
                limits: the_limit_is_admitted_exactly_and_a_denial_costs_nothing,
                limits: all_limits_are_charged_or_none,
                limits: a_shadow_limit_counts_and_never_denies,
                limits: a_look_changes_nothing,
                limits: a_cost_above_the_limit_can_never_succeed,
                limits: a_limit_lowered_or_raised_keeps_what_was_counted,
                limits: another_shape_under_the_same_name_is_another_counter,
                limits: odd_subjects_never_share_a_counter,
                limits: a_counter_named_twice_in_a_plan_is_charged_once,
                limits: an_empty_plan_decides_nothing_and_ping_answers,
                limits: whoever_waits_as_told_succeeds,
            );
        }
    };
    (@cases $world:ty: $($file:ident: $case:ident,)*) => {
        $(#[tokio::test]
        async fn $case() {
            let world = <$world as $crate::world::World>::open().await;
            $crate::$file::$case(&world).await;
        })*
    };
}
